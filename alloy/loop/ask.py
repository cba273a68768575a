"""Asking the model: from the history to a request, and from its answer to the history."""

from __future__ import annotations

import attrs

from alloy.llm.driver import complete
from alloy.llm.errors import ProviderError
from alloy.llm.message import AssistantMessage
from alloy.llm.request import Request
from alloy.llm.usage import Usage
from alloy.loop.context import RunContext
from alloy.loop.events import MessageFinished, TurnStarted
from alloy.loop.middleware import Halt


async def ask(run: RunContext, *, wrap_up: bool = False) -> AssistantMessage | Halt:
    """Ask the model for its next answer and add that to the history; the text of one that broke off is kept too.

    Args:
        run: the run that asks.
        wrap_up: the model may call no tool.

    Raises:
        ProviderError: there is no answer, after all retries.
        HookError: `before_completion` raised.
    """
    request = await run.hooks.before_completion(run.state, _request(run, wrap_up=wrap_up))
    if isinstance(request, Halt):
        return request
    run.emitter.emit(TurnStarted, run.model.name)
    return run.state.take(await _answer(run, request), run.model.name)


def _request(run: RunContext, *, wrap_up: bool) -> Request:
    agent = run.state.agent
    return Request(
        model=run.model.origin.model,
        system=run.system,
        messages=run.state.sendable(),
        tools=agent.tools,
        settings=attrs.evolve(agent.settings, tool_choice="none") if wrap_up else agent.settings,
    )


async def _answer(run: RunContext, request: Request) -> AssistantMessage:
    run.emitter.answering()
    try:
        return await complete(run.model, request, run.state.agent.retry, run.emitter, run.means.connections.limiter)
    except ProviderError as error:
        if error.partial is not None:
            run.state.usage += usage_of(error.partial)
            if error.partial.content:
                run.state.messages.append(error.partial)
                run.emitter.emit(MessageFinished, error.partial)
        raise


def usage_of(message: AssistantMessage) -> Usage:
    """What one request used."""
    return attrs.evolve(message.usage or Usage(), requests=1)
