"""Middleware: code that watches a run and may change its course."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import attrs

from alloy.llm.content import JSON, ToolCall
from alloy.llm.message import AssistantMessage, Prompt
from alloy.llm.request import Request
from alloy.loop.errors import HookError
from alloy.loop.session import Session
from alloy.loop.state import RunInfo, State

_log = logging.getLogger("alloy.loop")


@attrs.frozen
class Block:
    """Do not run this call; the model is told `reason`."""

    reason: str


@attrs.frozen
class Edit:
    """Run the call with these arguments instead; the model's history then shows them."""

    arguments: Mapping[str, JSON]


@attrs.frozen
class Halt:
    """End the run with status `halted`."""

    reason: str


@attrs.frozen
class Continue:
    """Do not end yet: go on with this prompt."""

    prompt: Prompt


CallVerdict: TypeAlias = Block | Edit | Halt | None


class Middleware:
    """Override the hooks you want. They run in the order of `Agent.middleware`; None changes nothing.

    A hook that raises, or returns what it may not, ends the run with a `HookError`.
    """

    async def session_start(self, session: Session) -> Halt | None:
        """A run begins, or an agent server its life. A halt keeps it from beginning."""

    async def before_completion(self, run: RunInfo, request: Request) -> Request | Halt | None:
        """A model is about to be asked. A request that is returned takes the place of this one."""

    async def before_tool_call(self, run: RunInfo, call: ToolCall) -> CallVerdict:
        """A tool is about to run. All calls of an answer are vetted, in order, before any of them starts.

        Not asked about calls that cannot run: of an unknown tool, or with arguments that are no JSON object.
        """

    async def after_completion(self, run: RunInfo, message: AssistantMessage) -> Halt | Continue | None:
        """The model has given its final answer: it asks for no tool."""

    async def session_end(self, session: Session) -> None:
        """The run, or the agent server, is at its end. An error here is logged and changes nothing."""


_ALLOWED: Mapping[str, tuple[type, ...]] = {
    "session_start": (Halt,),
    "before_completion": (Request, Halt),
    "before_tool_call": (Block, Edit, Halt),
    "after_completion": (Halt, Continue),
    "session_end": (),
}


class Hooks:
    """The middleware of one agent, asked in order."""

    def __init__(self, middleware: Sequence[Middleware]) -> None:
        self._by_hook = {
            hook: tuple(m for m in middleware if getattr(type(m), hook) is not getattr(Middleware, hook))
            for hook in _ALLOWED
        }

    async def session_start(self, session: Session) -> Halt | None:
        """The first halt."""
        for middleware in self._by_hook["session_start"]:
            if (halt := await self._ask(middleware, "session_start", session)) is not None:
                assert isinstance(halt, Halt)
                return halt
        return None

    async def session_end(self, session: Session) -> None:
        """Tell all; what goes wrong is logged."""
        for middleware in self._by_hook["session_end"]:
            try:
                await self._ask(middleware, "session_end", session)
            except HookError as error:
                _log.error("%s", error, exc_info=error)

    async def before_completion(self, state: State, request: Request) -> Request | Halt:
        """The request as all middleware want it, or the first halt."""
        for middleware in self._by_hook["before_completion"]:
            answer = await self._ask(middleware, "before_completion", state.info(), request)
            if isinstance(answer, Halt):
                return answer
            request = answer or request
        return request

    async def before_tool_call(self, state: State, call: ToolCall) -> tuple[ToolCall, Block | Halt | None]:
        """The call as edited, and the first block or halt; later middleware are not asked then."""
        for middleware in self._by_hook["before_tool_call"]:
            match await self._ask(middleware, "before_tool_call", state.info(), call):
                case Edit(arguments):
                    call = attrs.evolve(call, arguments=dict(arguments), arguments_text="")
                case Block() | Halt() as verdict:
                    return call, verdict
        return call, None

    async def after_completion(self, state: State, message: AssistantMessage) -> Halt | Continue | None:
        """The first that wants something else than to end."""
        for middleware in self._by_hook["after_completion"]:
            answer: Halt | Continue | None = await self._ask(middleware, "after_completion", state.info(), message)
            if answer is not None:
                return answer
        return None

    async def _ask(self, middleware: Middleware, hook: str, *args: object) -> Any:
        name = type(middleware).__name__
        try:
            answer = await getattr(middleware, hook)(*args)
        except Exception as error:
            raise HookError(
                f"{hook} of {name} raised {type(error).__name__}: {error}", hook=hook, middleware=name
            ) from error
        allowed = _ALLOWED[hook]
        if answer is not None and not isinstance(answer, allowed):
            names = " or ".join([", ".join(cls.__name__ for cls in allowed), "None"] if allowed else ["None"])
            wrong = TypeError(f"{hook} may return {names}, got {answer!r}")
            raise HookError(
                f"{hook} of {name} returned {answer!r}; it may return {names}", hook=hook, middleware=name
            ) from wrong
        return answer
