"""The calls of one answer and what has become of each of them so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
    """Who follows a batch. Both are called in Trio's thread, and must not block."""

    def started(self, job: Job) -> None:
        """The tool is about to be called."""

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
        started_at: by Trio's clock.
        deadline: when it has to end: its own limit or an outer one, whichever is first.
        is_cancelled: `Batch.cancel` ended it.
    """

    job: Job
    scope: trio.CancelScope
    task: trio.lowlevel.Task
    started_at: float
    deadline: float
    is_cancelled: bool = False


class Batch:
    """Some jobs, in the order of the calls, and their results, which are complete at any time.

    Attributes:
        fatal: what a tool raised to end the run; None if none did.
    """

    def __init__(self, jobs: Iterable[Job]) -> None:
        self.jobs: tuple[Job, ...] = tuple(jobs)
        self.fatal: Fatal | None = None
        self._results: list[ToolResult | None] = [None] * len(self.jobs)
        self._running: dict[int, Running] = {}  # by the place of the job; kept when it has ended

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

    # For the executor.

    def begin(self, index: int, running: Running) -> None:
        """A job runs from now on."""
        self._running[index] = running

    def finish(self, index: int, result: ToolResult) -> float:
        """A job has its result; returns how long it ran, 0 if it did not."""
        self._results[index] = result
        running = self._running.get(index)
        return trio.current_time() - running.started_at if running else 0.0

    def unfinished(self) -> list[int]:
        """The places of the jobs without a result."""
        return [index for index, result in enumerate(self._results) if result is None]
