"""What several tests of tools need: a way to run calls, and to look for what is left behind."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from alloy.llm.content import ToolCall, ToolResult
from alloy.tools import Batch, Executor, Job, Tool, ToolContext


@attrs.define(eq=False)
class Log:
    """A listener that remembers."""

    started_ids: list[str] = attrs.field(factory=list)
    finished_ids: list[str] = attrs.field(factory=list)
    durations: dict[str, float] = attrs.field(factory=dict)
    reports: list[object] = attrs.field(factory=list)

    async def around(self, job: Job, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        return await run()

    def started(self, job: Job) -> None:
        self.started_ids.append(job.call.id)

    def finished(self, job: Job, result: ToolResult, duration: float) -> None:
        assert (result.call_id, result.name) == (job.call.id, job.call.name)
        self.finished_ids.append(job.call.id)
        self.durations[job.call.id] = duration


def call(id: str, name: str, /, **arguments: Any) -> ToolCall:
    return ToolCall(id, name, arguments)


class Calls(Batch):
    """A batch that knows the names of all tools, also of those that are not called."""

    known: Sequence[str] = ()


def batch_of(tools: Iterable[Tool], *calls: ToolCall) -> Calls:
    by_name = {tool.name: tool for tool in tools}
    batch = Calls([Job(call=call, tool=by_name.get(call.name)) for call in calls])
    batch.known = sorted(by_name)
    return batch


async def run(
    batch: Batch,
    *,
    executor: Executor | None = None,
    log: Log | None = None,
    working_directory: Path = Path(),
    **options: Any,
) -> tuple[ToolResult, ...]:
    """Run a batch and return its results, each of which must have been told to the log exactly once."""
    log = log or Log()

    def context(job: Job) -> ToolContext:
        return ToolContext(call_id=job.call.id, working_directory=working_directory, report=log.reports.append)

    known = batch.known if isinstance(batch, Calls) else ()
    await (executor or Executor()).run(batch, context=context, known=known, listener=log, **options)
    assert sorted(log.finished_ids) == sorted(job.call.id for job in batch.jobs)
    return batch.results()


def alive(mark: str) -> list[int]:
    """The processes whose command line holds `mark`; those that have ended do not count."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                command = (process / "cmdline").read_bytes()
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            except OSError:
                continue
            if mark.encode() in command and state not in "ZX":
                found.append(int(process.name))
    return found


async def wait_none_alive(mark: str) -> None:
    """Wait, a second at most, until no process has `mark` in its command line."""
    await wait_until(lambda: not alive(mark), seconds=1)


async def wait_until(check: Callable[[], object], *, seconds: float = 5) -> None:
    """Wait for what happens outside of Trio: processes, threads, files."""
    with trio.fail_after(seconds):
        while not check():  # noqa: ASYNC110
            await trio.sleep(0.01)


def names(folder: Path) -> list[str]:
    """What is in a folder, in alphabetical order."""
    return sorted(path.name for path in folder.iterdir())
