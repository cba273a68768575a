"""Asking the model: from the history to a request, and from its answer to the history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from alloy.errors import AlloyError
from alloy.llm.content import JSON
from alloy.llm.driver import complete
from alloy.llm.errors import ContextTooLong, ProviderError, RequestTooLarge, StaleReasoning
from alloy.llm.history import without_reasoning
from alloy.llm.message import AssistantMessage, Message
from alloy.llm.request import Request
from alloy.llm.spending import usage_of
from alloy.llm.transcript import Transcript, kept_with
from alloy.loop.answering import Answering
from alloy.loop.compacting import make_more_room, make_room, make_room_now
from alloy.loop.context import RunContext
from alloy.loop.events import FellBack, MessageFinished, TurnStarted
from alloy.loop.middleware import Halt
from alloy.loop.toolset import fixed_tools, tools_of, with_output_tool
from alloy.loop.work import ModelWork
from alloy.tools import Tool


async def ask(run: RunContext, *, wrap_up: bool = False) -> AssistantMessage | Halt:
    """Ask the model for its next answer and add that to the history; the text of one that broke off is kept too.

    Args:
        run: the run that asks.
        wrap_up: the model may call no tool.

    Raises:
        ProviderError: no model of the chain has answered, after all retries; the others' errors are in `.others`.
        HookError: `before_completion` or a toolset raised.
    """
    fall = run.chain.begin()
    plain = _request(run, wrap_up=wrap_up)
    if await make_room(run, plain):
        plain = _shown_anew(run, plain)
    request = await run.hooks.before_completion(run.state, plain)
    if isinstance(request, Halt):
        return request
    # What a middleware took away cannot be called, and what it added can.
    run.state.tools = tuple(tool for tool in request.tools if isinstance(tool, Tool))
    if fall is not None:
        run.emitter.emit(FellBack, fall.old.name, fall.new.name, fall.error)
    run.emitter.emit(TurnStarted, run.model.name)
    try:
        answer = await _answer(run, request)
    except (ContextTooLong, RequestTooLarge) as error:
        if error.delivered or not await make_more_room(run, plain, error):
            raise
        request = await run.hooks.before_completion(run.state, _shown_anew(run, plain))
        if isinstance(request, Halt):
            return request
        answer = await _answer(run, request)
    return run.state.take(answer, run.model.name)


async def compact(run: RunContext) -> bool:
    """Show the history to the model in short from now on; whether there was anything to shorten.

    Raises:
        HookError: whoever sums up failed, or a toolset.
        BudgetSpent: nothing is left to pay it with.
    """
    return await make_room_now(run, _request(run, wrap_up=False))


def _shown_anew(run: RunContext, request: Request) -> Request:
    return attrs.evolve(request, messages=_as_sent(run, run.state.shown()))


def offered(run: RunContext, *, wrap_up: bool = False) -> tuple[tuple[Tool, ...], Mapping[str, JSON] | None]:
    """The tools of the turn, and the schema that the answer's text is to be held to, if it is.

    Raises:
        HookError: a toolset raised.
    """
    agent = run.state.agent
    tools = fixed_tools(agent.tools)
    if len(tools) < len(agent.tools):
        tools = tools_of(agent.tools, run.state.info())
    tools += tuple(tool for tool in run.skill_tools if tool.name not in {other.name for other in tools})
    if agent.goal is None or (tool := agent.goal.tool) is None:
        return tools, None
    # Asked for in one way of all models of the chain: in the middle of a turn the next one gets the same request.
    if not wrap_up and all(model.holds_to(tool.parameters) for model in run.chain.models):
        return tools, tool.parameters
    return with_output_tool(tools, tool), None


def _request(run: RunContext, *, wrap_up: bool) -> Request:
    agent = run.state.agent
    tools, schema = offered(run, wrap_up=wrap_up)
    return Request(
        model=run.model.origin.model,
        system=run.system,
        messages=_as_sent(run, run.state.shown()),
        tools=tools,
        settings=attrs.evolve(agent.settings, tool_choice="none") if wrap_up else agent.settings,
        output_schema=schema,
    )


async def _answer(run: RunContext, request: Request) -> AssistantMessage:
    """Ask the models of the chain, in their order, until one has answered."""
    if run.recorder is not None:
        await run.recorder.asks(run.model.name)
    while True:
        try:
            answer = await _ask_model(run, request)
        except ProviderError as error:
            fall = run.chain.after(error, run.state.agent.retry)
            if error.partial is not None:
                run.state.usage += usage_of(error.partial)
                if error.partial.content and fall is None:
                    run.state.messages.append(error.partial)
                    run.emitter.emit(MessageFinished, error.partial)
            if fall is None:
                raise
            if error.delivered:
                run.emitter.retracted()
            run.emitter.emit(FellBack, fall.old.name, fall.new.name, fall.error)
            request = attrs.evolve(request, model=fall.new.origin.model)
        else:
            run.chain.answered()
            return answer


async def _ask_model(run: RunContext, request: Request) -> AssistantMessage:
    """Ask the model of the moment; once more without the reasoning of earlier answers, if it is that which it refuses.

    Reasoning is bound to what came before it, and to who asks. It is left out of what is sent, for the rest of the
    run, and stays in the history.
    """
    try:
        return await _complete(run, request)
    except StaleReasoning as error:
        run.emitter.notice("stale_reasoning", {"model": run.model.name, "message": str(error)})
        answers = (message for message in request.messages if isinstance(message, AssistantMessage))
        run.unbound |= {message.id: without_reasoning(message) for message in answers}
        return await _complete(run, attrs.evolve(request, messages=_as_sent(run, request.messages)))


def _as_sent(run: RunContext, messages: Sequence[Message]) -> Sequence[Message]:
    if not run.unbound:
        return messages
    return Transcript((run.unbound.get(message.id, message) for message in messages), kept_with(messages))


async def _complete(run: RunContext, request: Request) -> AssistantMessage:
    """Ask as often as `Agent.retry` allows."""
    run.emitter.answering()
    chain = run.chain
    work = ModelWork(model=chain.model.name, origin=chain.model.origin, request=request)
    answering = Answering(run, request)
    with run.hooks.around(run.state, work):
        try:
            work.answer = answer = await complete(
                chain.model, request, run.state.agent.retry, answering, chain.limiter, has_another=chain.has_another
            )
        except AlloyError:
            raise
        except BaseException:  # cancelled, most likely
            answering.keep()
            raise
    return answer
