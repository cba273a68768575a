"""One accepted request, from the moment it is accepted to the moment it has its one outcome."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from contextvars import Context
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.errors import closest_of
from alloy.llm.budget import Budget, as_budget, current_budget
from alloy.llm.message import UserMessage
from alloy.llm.usage import Usage
from alloy.loop.agent import Agent, as_fields
from alloy.loop.emitter import Callback, Watcher
from alloy.loop.means import Working
from alloy.loop.records import RunEnded, told
from alloy.loop.recovery import Recovered, StoredRun
from alloy.loop.result import Result, Status
from alloy.loop.resuming import usage_with

# A handler of any server works at the expense of whoever asked.
otp.carried(current_budget)

PER_RUN = ("on_event", "output", "until_tool", "settings", "limits", "max_turns", "deps", "budget")


@attrs.frozen(kw_only=True)
class PerRun:
    """What a request may have other than its agent."""

    watchers: tuple[Watcher, ...] = ()
    changes: Mapping[str, Any] = attrs.field(factory=dict)
    deps: object = None
    has_deps: bool = False
    budget: Budget | None = None


def per_run(options: Mapping[str, Any], agent: Agent[Any], *watchers: Watcher) -> PerRun:
    """Check what a caller gives beside the prompt.

    Raises:
        TypeError: an option is none of those that a request may have, which names the closest, or of the wrong kind.
        ValueError: one does not fit the agent.
    """
    for name in options:
        if name not in PER_RUN:
            raise TypeError(f"unknown option {name!r}{closest_of(name, PER_RUN)}; known: {', '.join(PER_RUN)}")
    if (on_event := options.get("on_event")) is not None:
        if not callable(on_event):
            raise TypeError(f"on_event must be callable, got {on_event!r}")
        watchers = (Callback(on_event), *watchers)
    changes = as_fields({k: v for k, v in options.items() if k not in ("on_event", "deps", "budget")}, agent.limits)
    agent.evolve(**changes)
    return PerRun(
        watchers=watchers,
        changes=changes,
        deps=options.get("deps"),
        has_deps="deps" in options,
        budget=as_budget(options.get("budget")),
    )


@attrs.define(eq=False, kw_only=True)
class Entry:
    """A request and its outcome: a result, an error, or the incarnation that died with it.

    Attributes:
        prompt: None to have the history shown in short, and nothing else.
        caller: the run that asks; None from outside any run.
        asked_in: the context of the task that asks, until it is done.
        ends_by: by Trio's clock: until then it may wait for its turn.
        scope: of its run, once that is on.
        stored: what its run had reached in an earlier process; None if it has not begun.
        is_withdrawn: whoever asked gave up before it was accepted.
    """

    id: str
    prompt: UserMessage | None
    options: PerRun
    caller: Working | None = None
    asked_in: Context | None = None
    ends_by: float = math.inf
    scope: trio.CancelScope | None = None
    stored: StoredRun | None = None
    is_withdrawn: bool = False
    done: trio.Event = attrs.field(factory=trio.Event)
    _result: Result[Any] | None = None
    _later: Callable[[], Result[Any]] | None = None  # makes the result when it is asked for
    _error: BaseException | None = None
    _died_with: otp.Ref | None = None

    @property
    def is_finished(self) -> bool:
        """Whether its run came to an end of its own, uncut."""
        return self._result is not None and self._result.status is not Status.CANCELLED

    def finish(self, result: Result[Any]) -> None:
        """It has its result."""
        self._result = result
        self.done.set()

    def finish_later(self, make: Callable[[], Result[Any]]) -> None:
        """It has had its result for long; who asks for it gets what `make` makes of what is stored."""
        self._later = make
        self.done.set()

    def ended(self, was: Recovered, status: Status, error: Exception | None = None) -> RunEnded:
        """How its end is written down if its run does not do that, because it cannot begin, or not go on."""
        return RunEnded(
            run_id="" if self.stored is None else self.stored.begun.run_id,
            status=str(status),
            request_id=self.id,
            error=None if error is None else told(error),
            usage=Usage() if self.stored is None else usage_with(self.stored, was),
        )

    def fail(self, error: BaseException) -> None:
        """It will have no result, because of `error`."""
        self._error = error
        self.done.set()

    def die_with(self, ref: otp.Ref) -> None:
        """The server that worked on it is about to end."""
        self._died_with = ref
        self.done.set()

    async def outcome(self) -> Result[Any]:
        """Its result, once it is done.

        Raises:
            ServerExited: the server ended while it worked on this, or will not come back to it.
        """
        await self.done.wait()
        if self._died_with is not None:
            reason = await otp.wait_down(self._died_with)
            cause = reason.exc if isinstance(reason, otp.Crash) else None
            raise otp.ServerExited(self._died_with, reason) from cause
        if self._error is not None:
            raise self._error
        if self._result is None:
            assert self._later is not None
            self._result = self._later()
        return self._result
