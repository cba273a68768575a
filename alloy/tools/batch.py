"""The calls of one answer and what has become of each of them so far."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol

import attrs
import trio

from alloy.llm.content import JSON, Outcome, ToolCall, ToolResult
from alloy.llm.history import synthetic_result
from alloy.tools.define import Tool
from alloy.tools.errors import Fatal


@attrs.frozen(kw_only=True)
class Job:
    """One call, and what is to be done about it.

    Attributes:
        tool: what is called; None if there is no such tool.
        settled: the result that was decided without running it; None to run it.
        edited_from: the arguments that the model gave, where the call has others now.
    """

    call: ToolCall
    tool: Tool | None
    settled: ToolResult | None = None
    edited_from: Mapping[str, JSON] | None = None

    @property
    def is_concurrent(self) -> bool:
        """It may run beside its neighbours, or does not run at all."""
        return self.settled is not None or self.tool is None or self.tool.concurrent


class BatchListener(Protocol):
    """Who follows a batch, in Trio's thread. `started` and `finished` must not block."""

    async def around(self, job: Job, run: Callable[[], Awaitable[ToolResult]], /) -> ToolResult:
        """Do a job by calling `run`, and return its result, or another in its place.

        Called in the job's task, once for each job that is reached, also for one that is settled.
        """
        ...

    def started(self, job: Job) -> None:
        """The tool is about to be called, in this task. Always inside of `around`."""

    def finished(self, job: Job, result: ToolResult, duration: float) -> None:
        """The job has its result, after `duration` seconds.

        Called exactly once for each job, also for those that never started.
        """


@attrs.define(eq=False, kw_only=True)
class Running:
    """A call under way.

    Attributes:
        scope: what ends it.
        task: what runs it.
        started_at, ended_at: by Trio's clock; None while it runs.
        outer: when it has to end whatever its own limit is.
        is_cancelled: `Batch.cancel` ended it.
    """

    job: Job
    scope: trio.CancelScope
    task: trio.lowlevel.Task
    started_at: float
    outer: float
    ended_at: float | None = None
    is_cancelled: bool = False
    _holds: int = 0  # a tool may wait for several answers at once
    _held: tuple[float, float] = (0.0, 0.0)  # since when, and the limit at that time

    @property
    def deadline(self) -> float:
        """When it has to end: its own limit or an outer one, whichever is first."""
        return min(self.scope.deadline, self.outer)

    @contextmanager
    def on_hold(self) -> Iterator[None]:
        """Inside the block its own limit does not run: it waits for somebody who may take all day."""
        if not self._holds:
            self._held = (trio.current_time(), self.scope.deadline)
            self.scope.deadline = math.inf
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1
            if not self._holds:
                since, limit = self._held
                self.scope.deadline = limit + trio.current_time() - since


class Batch:
    """Some jobs, in the order of the calls, and their results, which are complete at any time.

    Attributes:
        fatal: what a tool raised to end the run; None if none did.
        scope: ends all of it, when a tool is fatal, or whoever follows the calls has failed or wants no more.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs: tuple[Job, ...] = tuple(jobs)
        self.fatal: Fatal | None = None
        self.scope: trio.CancelScope = trio.CancelScope()
        self._results: list[ToolResult | None] = [None] * len(self.jobs)
        self._running: dict[int, Running] = {}  # by the place of the job; kept when it has ended
        self._finished: set[int] = set()
        self._places = {id(job): place for place, job in enumerate(self.jobs)}  # they live as long as this does

    def results(self) -> tuple[ToolResult, ...]:
        """The result of each job, in order; one that has none yet has that of a batch that ends now."""
        return tuple(self.result(index) for index in range(len(self.jobs)))

    def result(self, index: int) -> ToolResult:
        """The result of one job."""
        if (result := self._results[index]) is not None:
            return result
        outcome = Outcome.CANCELLED if index in self._running else Outcome.NOT_STARTED
        return synthetic_result(self.jobs[index].call, outcome)

    @property
    def running(self) -> tuple[str, ...]:
        """The names of the tools that run now."""
        return tuple(call.job.call.name for index, call in self._running.items() if self._results[index] is None)

    def cancel(self, call_id: str) -> bool:
        """Stop a call that runs; its result is `cancelled`, and the others go on. False if it does not run."""
        found = False
        for index, running in self._running.items():
            if running.job.call.id == call_id and self._results[index] is None:
                running.is_cancelled = found = True
                running.scope.cancel()
        return found

    def find(self, call_id: str) -> Running | None:
        """A call that runs, by its id."""
        found = (r for i, r in self._running.items() if r.job.call.id == call_id and self._results[i] is None)
        return next(found, None)

    def has_begun(self, index: int) -> bool:
        """Whether a job's tool was called."""
        return index in self._running

    def is_over(self, index: int) -> bool:
        """Whether a job has a result of its own."""
        return self._results[index] is not None

    def place(self, job: Job) -> int:
        """Where a job of this batch stands in it."""
        return self._places[id(job)]

    # For the executor.

    def begin(self, index: int, running: Running) -> None:
        """A job runs from now on."""
        self._running[index] = running

    def obtain(self, index: int, result: ToolResult) -> None:
        """A job has this result, unless another takes its place; it is over, and stays known if the rest is cut."""
        self._results[index] = result
        if (running := self._running.get(index)) is not None:
            running.ended_at = trio.current_time()

    def finish(self, index: int, result: ToolResult) -> float:
        """A job has its result for good; returns how long it ran, 0 if it did not."""
        self._results[index] = result
        self._finished.add(index)
        if (running := self._running.get(index)) is None:
            return 0.0
        return (trio.current_time() if running.ended_at is None else running.ended_at) - running.started_at

    def unfinished(self) -> list[int]:
        """The places of the jobs that are not finished."""
        return [index for index in range(len(self.jobs)) if index not in self._finished]
