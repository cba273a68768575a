"""Middleware: code that watches a run and may change its course."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, TypeAlias

import attrs

from alloy.errors import AlloyError
from alloy.llm.content import ToolCall, ToolResult
from alloy.llm.message import AssistantMessage, Prompt, ToolMessage
from alloy.llm.request import Request
from alloy.loop.approval import Decision, Edit, Pending
from alloy.loop.errors import HookError
from alloy.loop.session import Session
from alloy.loop.state import RunInfo, State
from alloy.loop.work import Around, Work
from alloy.tools.results import as_result

_log = logging.getLogger("alloy.loop")


@attrs.frozen
class Block:
    """Do not run this call; the model is told `reason`."""

    reason: str


@attrs.frozen
class Halt:
    """End the run with status `halted`."""

    reason: str


@attrs.frozen
class Continue:
    """Do not end yet: go on with this prompt."""

    prompt: Prompt


Approver: TypeAlias = Callable[[Pending], Decision | bool | Awaitable[Decision | bool]]


@attrs.frozen
class Ask:
    """Run the call only if somebody approves of it.

    Attributes:
        question: for whoever decides; empty to show the call itself, as it is when all middleware have seen it.
        approver: is asked at once, sync or async: True and `Approve()` let the call run, False and `Deny(…)` do not,
            `Edit(…)` lets it run with other arguments. None to ask whoever watches the agent's `AgentRef.pending`.
        expires: seconds, after which the call is denied; None for no limit.

    Raises:
        ValueError: `expires` is 0 or less.
    """

    question: str = ""
    approver: Approver | None = attrs.field(default=None, kw_only=True)
    expires: float | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.expires is not None and not self.expires > 0:
            raise ValueError(f"expires must be more than 0 seconds, or None, got {self.expires!r}")


CallVerdict: TypeAlias = Block | Edit | Ask | Halt | None


class Middleware:
    """Override the hooks you want. They run in the order of `Agent.middleware`; None changes nothing.

    A hook that raises, or returns what it may not, ends the run with a `HookError`.

    Attributes:
        inherited: it also watches the runs of agents that work for this one, after their own middleware; except
            `session_start` and `session_end`, which are for the agent's own. One that equals a middleware of that
            agent is not asked twice.
    """

    inherited: ClassVar[bool] = False

    async def session_start(self, session: Session) -> Halt | None:
        """A run begins, or an agent server its life. A halt keeps it from beginning."""

    async def before_completion(self, run: RunInfo, request: Request) -> Request | Halt | None:
        """A model is about to be asked. A request that is returned takes the place of this one."""

    async def after_tool_request(self, run: RunInfo, message: AssistantMessage) -> Halt | None:
        """The model's answer asks for tools. None of its calls has been vetted yet."""

    async def before_tool_call(self, run: RunInfo, call: ToolCall) -> CallVerdict:
        """A tool is about to run. All calls of an answer are vetted, in order, before any of them starts.

        An edited call is what later middleware see; a block or halt ends the asking, an ask does not.
        Not asked about calls that cannot run: of an unknown tool, or with arguments that are no JSON object.
        """

    async def after_tool_call(self, run: RunInfo, call: ToolCall, result: ToolResult) -> ToolResult | Halt | None:
        """A call has its result, which a result that is returned replaces, as it is; calls that did not run included.

        Asked as soon as that call is over: of calls that run side by side in the order in which they end. A halt
        stops those that still run.
        """

    async def after_tool_execution(self, run: RunInfo, message: ToolMessage) -> Halt | None:
        """All calls of an answer have their results, which stand in the history."""

    async def after_completion(self, run: RunInfo, message: AssistantMessage) -> Halt | Continue | None:
        """The model has given its final answer: it asks for no tool."""

    async def on_error(self, run: RunInfo, error: AlloyError) -> Halt | None:
        """The run is about to end with status `error`. A halt makes it end as `halted`; the error is not raised then.

        Not asked about errors that something else is tried after, nor about cancellation.
        """

    async def session_end(self, session: Session) -> None:
        """The run, or the agent server, is at its end. An error here is logged and changes nothing."""

    def around(self, run: RunInfo, work: Work) -> AbstractContextManager[object] | None:
        """A block to do a piece of work in, for those who measure: a `RunWork`, `ModelWork` or `ToolWork`.

        It is entered and left in the task that does the work, so what it sets in a ContextVar holds for that, and
        for all that is called there. When it is left, `work` has what came of it; an error or a cancellation passes
        through. It changes nothing: an error of its own is logged, and it can swallow none.
        """
        return None


_ALLOWED: Mapping[str, tuple[type, ...]] = {
    "session_start": (Halt,),
    "before_completion": (Request, Halt),
    "after_tool_request": (Halt,),
    "before_tool_call": (Block, Edit, Ask, Halt),
    "after_tool_call": (ToolResult, Halt),
    "after_tool_execution": (Halt,),
    "after_completion": (Halt, Continue),
    "on_error": (Halt,),
    "session_end": (),
}
_OF_SESSIONS = ("session_start", "session_end")


@attrs.frozen
class Vetted:
    """What the middleware make of a call: the call as edited, who is to be asked, and the block or halt, if any."""

    call: ToolCall
    asks: tuple[Ask, ...] = ()
    verdict: Block | Halt | None = None


_NOTHING = nullcontext()


class Hooks:
    """The middleware of one agent, asked in order, and after them those of the agents it works for.

    Attributes:
        inherited: those that also watch whoever works for this agent.
    """

    def __init__(self, middleware: Sequence[Middleware], inherited: Sequence[Middleware] = ()) -> None:
        everybody = (*middleware, *(m for m in inherited if m not in middleware))
        self.inherited: tuple[Middleware, ...] = tuple(m for m in everybody if m.inherited)
        self._around = tuple(m for m in everybody if type(m).around is not Middleware.around)
        self._by_hook = {
            hook: tuple(
                m
                for m in (middleware if hook in _OF_SESSIONS else everybody)
                if getattr(type(m), hook) is not getattr(Middleware, hook)
            )
            for hook in _ALLOWED
        }

    def has(self, hook: str) -> bool:
        """Somebody has this hook: where every tool call asks, nobody should cost nothing."""
        return bool(self._by_hook[hook])

    @property
    def is_watched(self) -> bool:
        """Somebody puts blocks around pieces of work."""
        return bool(self._around)

    def around(self, state: State, work: Work) -> AbstractContextManager[object]:
        """A block for a piece of work, in which all who measure watch it."""
        return Around([(m, state.info()) for m in self._around], work) if self._around else _NOTHING

    async def session_start(self, session: Session) -> Halt | None:
        """The first halt."""
        halt: Halt | None = await self._first("session_start", session)
        return halt

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

    async def after_tool_request(self, state: State, message: AssistantMessage) -> Halt | None:
        """The first halt."""
        halt: Halt | None = await self._first("after_tool_request", state, message)
        return halt

    async def before_tool_call(self, state: State, call: ToolCall) -> Vetted:
        """The call as edited and whom to ask, or the first block or halt; later middleware are not asked then."""
        asks: list[Ask] = []
        for middleware in self._by_hook["before_tool_call"]:
            match await self._ask(middleware, "before_tool_call", state.info(), call):
                case Edit(arguments):
                    call = edited(call, arguments)
                case Ask() as ask:
                    asks.append(ask)
                case Block() | Halt() as verdict:
                    return Vetted(call, verdict=verdict)
        return Vetted(call, tuple(asks))

    async def after_tool_call(self, state: State, call: ToolCall, result: ToolResult) -> tuple[ToolResult, Halt | None]:
        """The result as all middleware want it, or the first halt; later middleware are not asked then."""
        for middleware in self._by_hook["after_tool_call"]:
            match await self._ask(middleware, "after_tool_call", state.info(), call, result):
                case ToolResult() as other:
                    result = attrs.evolve(as_result(other), call_id=call.id, name=call.name)
                case Halt() as halt:
                    return result, halt
        return result, None

    async def after_tool_execution(self, state: State, message: ToolMessage) -> Halt | None:
        """The first halt."""
        halt: Halt | None = await self._first("after_tool_execution", state, message)
        return halt

    async def after_completion(self, state: State, message: AssistantMessage) -> Halt | Continue | None:
        """The first that wants something else than to end."""
        answer: Halt | Continue | None = await self._first("after_completion", state, message)
        return answer

    async def on_error(self, state: State, error: AlloyError) -> Halt | None:
        """The first halt."""
        halt: Halt | None = await self._first("on_error", state, error)
        return halt

    async def _first(self, hook: str, about: State | Session, *args: object) -> Any:
        """The first answer that is not None; later middleware are not asked then."""
        for middleware in self._by_hook[hook]:
            seen = about.info() if isinstance(about, State) else about
            if (answer := await self._ask(middleware, hook, seen, *args)) is not None:
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


def edited(call: ToolCall, arguments: Mapping[str, Any]) -> ToolCall:
    """The call with other arguments."""
    return attrs.evolve(call, arguments=dict(arguments), arguments_text="")
