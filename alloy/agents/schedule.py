"""Agents that work by the clock: a server that runs one every so many seconds."""

from __future__ import annotations

import inspect
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import attrs
import trio

from alloy import otp
from alloy.api import Connections, SharedHTTP, model
from alloy.errors import AlloyError
from alloy.llm.message import Prompt, UserMessage, as_user_message
from alloy.loop.agent import Agent
from alloy.loop.means import Means
from alloy.loop.result import Result, Status
from alloy.loop.run import Run
from alloy.tools import Executor

_log = logging.getLogger("alloy.agents")

Overlap: TypeAlias = Literal["skip", "queue"]


def schedule_child(
    agent: Agent[Any],
    prompt: Prompt,
    *,
    every: float,
    jitter: float = 0.0,
    overlap: Overlap = "skip",
    on_result: Callable[[Result[Any]], object] | None = None,
    id: object = None,
    restart: str | otp.Restart = "transient",
    deps: object = None,
    http: SharedHTTP | None = None,
) -> otp.ChildSpec:
    """A child spec, to run an agent by the clock under any supervisor. Each run is a conversation of its own.

    The times are `every`, `2 * every`, … after the start, however long the runs take. Stopping the server cancels
    the run in flight, without `on_result`. A crash of the server begins the plan anew.

    Args:
        agent: whom to run.
        prompt: what it is told each time.
        every: seconds between two times; the first run is after as many.
        jitter: each time is put off by a random part, drawn evenly from 0 to this, of `every`; at most 1.
        overlap: what becomes of a time that comes while a run is on: `"skip"` passes it over; `"queue"` makes up for
            it afterwards, for each such time with a run of its own, so runs that always take longer than `every`
            fall ever further behind. Two runs are never on at once.
        on_result: called, sync or async, with the result of each run, also of one that ended in an error; an error
            in it is logged. The next run waits for it. Without it a run that ends in an error is logged.
        id: of the child, unique under its supervisor; by default `"schedule of <the agent's name>"`.
        restart: when the server is started again.
        deps: for the agent's tools.
        http: connections to share; otherwise the server has its own.

    Raises:
        TypeError: an argument is of the wrong kind.
        ValueError: one is out of its bounds.
    """
    if not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent, got {agent!r}")
    for name, value in (("every", every), ("jitter", jitter)):
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, got {value!r}")
    if not 0 < every < float("inf"):
        raise ValueError(f"every must be finite and more than 0 seconds, got {every!r}")
    if not 0 <= jitter <= 1:
        raise ValueError(f"jitter must be a part of every, from 0 to 1, got {jitter!r}")
    if overlap not in get_args(Overlap):
        raise ValueError(f"overlap must be 'skip' or 'queue', got {overlap!r}")
    if on_result is not None and not callable(on_result):
        raise TypeError(f"on_result must be callable, got {on_result!r}")
    start = partial(Schedule, agent, as_user_message(prompt), every, jitter, overlap, on_result, deps, http)
    return otp.ChildSpec(start=start, id=f"schedule of {agent.name}" if id is None else id, restart=restart)


@attrs.define(eq=False)
class Schedule(otp.Server):
    """One incarnation of a schedule, kept by a task beside the mailbox."""

    agent: Agent[Any]
    prompt: UserMessage
    every: float
    jitter: float
    overlap: Overlap
    on_result: Callable[[Result[Any]], object] | None
    deps: object
    http: SharedHTTP | None

    def format_status(self) -> object:
        """Nothing of what is said, nor any key."""
        return {"agent": self.agent.name, "every": self.every}

    async def init(self) -> None:
        """Make sure that the agent can work at all, then wait for its first time.

        Raises:
            MissingKey, ValueError: its model cannot be asked.
        """
        if isinstance(self.agent.model, str):
            model(self.agent.model)
        self.start_soon(self._keep_to_plan)

    async def _keep_to_plan(self) -> None:
        began = trio.current_time()
        number = 1
        async with Connections(self.http) as connections, Executor() as executor:
            means = Means(connections=connections, executor=executor)
            while True:
                due = began + self.every * (number + self.jitter * random.random())
                if self.overlap == "queue" or due >= trio.current_time():
                    await trio.sleep_until(due)
                    await self._deliver(await self._run(means))
                number = self._after(number, trio.current_time() - began)

    def _after(self, number: int, passed: float) -> int:
        """The number of the next time; with "skip" of the first that may still be to come."""
        return number + 1 if self.overlap == "queue" else max(number + 1, int(passed // self.every))

    async def _run(self, means: Means) -> Result[Any]:
        """One run. What is not an AlloyError is a bug, and crashes the server."""
        try:
            run = await Run.prepare(self.agent, self.prompt, means=means, tapes=(), deps=self.deps)
            return await run.execute(trio.CancelScope())
        except AlloyError as error:
            return error.result or Result(status=Status.ERROR, error=error, agent=self.agent.name)

    async def _deliver(self, result: Result[Any]) -> None:
        """Call the user's function, sync or async; an error of it is logged and changes nothing."""
        if self.on_result is None:
            if result.error is not None:
                _log.warning("a run of the schedule of %r ended in an error: %s", self.agent.name, result.error)
            return
        try:
            answer = self.on_result(result)
            if inspect.isawaitable(answer):
                await answer
        except Exception:
            _log.exception("on_result of the schedule of %r failed", self.agent.name)
