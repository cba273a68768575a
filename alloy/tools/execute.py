"""Running the calls of one answer: as many results as calls, in their order, whatever any of them does."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from functools import cached_property, partial
from types import TracebackType
from typing import Any, Self

import attrs
import trio

from alloy.errors import closest_of, sole_error, unwrap
from alloy.llm.content import Outcome, ToolResult
from alloy.tools.batch import Batch, BatchListener, Job, Running
from alloy.tools.context import ToolContext
from alloy.tools.define import Tool
from alloy.tools.errors import Fatal, ToolError
from alloy.tools.paths import PathPolicy, replace_file
from alloy.tools.results import as_result, cut, describe, error_result
from alloy.tools.schema import ValidationError
from alloy.tools.threads import Threads, Work
from alloy.tools.watch import Watch, watching
from alloy.tools.worker import call_in_process

logger: logging.Logger = logging.getLogger("alloy.tools")

SPILL = ".alloy/spill"
SPILL_TIME = 5.0  # seconds that writing a long result to disk may take


class Executor:
    """Runs batches of tool calls, with one limit on threads and processes for all of them together.

    As an async context manager it watches all its batches with one task; otherwise each batch brings its own,
    which costs a little time.

    Args:
        threads: how many `def` tools may run at once.
        processes: how many tools may run in processes of their own at once.
        watch: what watches the calls, for an executor that is no context manager.
    """

    def __init__(self, *, threads: int = 40, processes: int = 8, watch: Watch | None = None) -> None:
        self._threads = Threads(threads)
        self._process_limit = processes
        self._watching: AbstractAsyncContextManager[Watch] | None = None
        self._watch = watch

    @cached_property
    def _processes(self) -> trio.CapacityLimiter:
        return trio.CapacityLimiter(self._process_limit)

    @property
    def stuck_threads(self) -> int:
        """How many threads work on though nobody waits for them any more."""
        return self._threads.stuck

    async def __aenter__(self) -> Self:
        self._watching = watching()
        self._watch = await self._watching.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._watching is not None
        watching, self._watching, self._watch = self._watching, None, None
        return await watching.__aexit__(kind, error, trace)

    async def run(
        self,
        batch: Batch,
        *,
        context: Callable[[Job], ToolContext],
        known: Sequence[str],
        parallel: int = 16,
        timeout: float = 120.0,  # noqa: ASYNC109  # of each call, not of this one
        listener: BatchListener,
        spill: bool | None = None,
    ) -> None:
        """Run all jobs; afterwards, and at any time before, `batch.results()` is complete.

        Neighbours that are marked `concurrent` run at once, all others alone. A tool may raise what it likes: it
        becomes the result of its call, and no other notices. Only `Fatal` ends the batch, as `batch.fatal`.

        Args:
            batch: what to run; made for this one run.
            context: makes what a tool gets; asked only for tools that want it, and to spill.
            known: the names of all tools, for a call of one that there is not.
            parallel: how many calls may run at once.
            timeout: seconds for each call whose tool has no limit of its own.
            listener: is told of each start and end.
            spill: write results that are too long to `.alloy/spill` in the working directory; None to do so if
                one of the tools is called `read_file`, so that the model can read there.

        Raises:
            Exception: the listener's; of tools, none.
        """
        spill = "read_file" in known if spill is None else spill
        async with nullcontext(self._watch) if self._watch is not None else watching() as watch:
            await _Run(self, batch, context, known, parallel, timeout, listener, spill, watch).execute()

    async def call(self, tool: Tool, arguments: dict[str, Any], work: Work[ToolResult]) -> ToolResult:
        """Call a tool where its isolation says."""
        match tool.isolation:
            case "task":
                return as_result(await tool.function(**arguments))
            case "thread":
                return await self._threads.run(work)
            case "process":
                async with self._processes:
                    return await call_in_process(tool.function, arguments)


@attrs.define(eq=False)
class _Run:
    """One batch while it runs.

    Attributes:
        outer: when all of it has to end, by Trio's clock.
        broken: what `ToolContext.report` raised. It is not the tool's error, though it came up through it.
    """

    executor: Executor
    batch: Batch
    context: Callable[[Job], ToolContext]
    known: Sequence[str]
    parallel: int
    timeout: float
    listener: BatchListener
    spill: bool
    watch: Watch
    outer: float = attrs.field(factory=trio.current_effective_deadline)
    broken: Exception | None = None

    async def execute(self) -> None:
        """Run all stretches; whatever happens, every job is finished once."""
        try:
            with self.batch.scope:
                await trio.lowlevel.checkpoint()
                for stretch in _stretches(self.batch.jobs):
                    await self._stretch(stretch)
            if self.broken is not None:
                raise self.broken
        finally:
            for place in self.batch.unfinished():
                self._finish(place, self.batch.result(place))

    async def _stretch(self, places: Sequence[int]) -> None:
        """Run jobs that may run at once; one alone needs no nursery."""
        if len(places) == 1:
            await self._job(places[0])
            return
        waiting = iter(places)

        async def work() -> None:
            for place in waiting:
                await self._job(place)

        with sole_error():
            async with trio.open_nursery() as nursery:
                for _ in range(min(self.parallel, len(places))):
                    nursery.start_soon(work)

    async def _job(self, place: int) -> None:
        if not self.batch.scope.cancel_called:
            self._finish(place, await self.listener.around(self.batch.jobs[place], partial(self._obtain, place)))

    async def _obtain(self, place: int) -> ToolResult:
        """The result of a job, kept from now on."""
        job = self.batch.jobs[place]
        result = (await self._result(place, job)).of_call(job.call)
        self.batch.obtain(place, result)
        return result

    def _finish(self, place: int, result: ToolResult) -> None:
        self.listener.finished(self.batch.jobs[place], result, self.batch.finish(place, result))

    async def _result(self, place: int, job: Job) -> ToolResult:
        call, tool = job.call, job.tool
        if job.settled is not None:
            return job.settled
        if tool is None:
            return unknown_tool(call.name, self.known)
        if call.parse_error is not None:
            return error_result(f"the arguments are no JSON object: {call.parse_error}", Outcome.INVALID)
        try:
            arguments = tool.parse(call.arguments)
        except ValidationError as error:
            return error_result(f"the arguments of {call.name} do not fit: {error}", Outcome.INVALID)
        except Exception as error:  # a check that the tool's author wrote may be broken
            return self._raised(job, error)
        result = await self._call(place, job, tool, arguments)
        return result if len(result.text) <= tool.max_result_chars else await self._fitted(job, tool, result)

    async def _call(self, place: int, job: Job, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        """Call the tool, and make a result of whatever comes of it."""
        now = trio.current_time()
        limit = self.timeout if tool.timeout is None else tool.timeout
        running = Running(
            job=job,
            scope=trio.CancelScope(deadline=now + limit),
            task=trio.lowlevel.current_task(),
            started_at=now,
            outer=self.outer,
        )
        context = self._context(job, running) if tool.context is not None else None
        if context is not None and tool.context is not None:
            arguments[tool.context] = context
        work = Work(lambda: as_result(tool.function(**arguments)))
        self.listener.started(job)
        self.batch.begin(place, running)
        self.watch.add(running)
        try:
            with running.scope:
                return await self.executor.call(tool, arguments, work)
        except BaseException as error:  # the border of the tool: it may raise what it likes
            outer, own = _parted(error)
            if outer is None:
                return self._raised(job, error)
            if own is None:
                raise
            logger.warning("tool %r failed when it was cancelled", job.call.name, exc_info=own)
            raise outer from None
        finally:
            self.watch.remove(running)
            if context is not None:
                # For a thread that is left behind; and so that nothing that holds the context is held by it.
                context.report, context.answer = _ignore, partial(_too_late, job.call.id)
        return _stopped(running, tool, limit, work)

    def _context(self, job: Job, running: Running) -> ToolContext:
        context = self.context(job)
        context.deadline = min(context.deadline, running.deadline)
        report = context.report

        def guarded(data: object) -> None:
            try:
                report(data)
            except Exception as error:
                self.broken = self.broken or error
                self.batch.scope.cancel()
                raise

        in_thread = job.tool is not None and job.tool.isolation == "thread"
        context.report = partial(_from_thread, guarded) if in_thread else guarded
        return context

    def _raised(self, job: Job, error: BaseException) -> ToolResult:
        fatal = error.subgroup(Fatal) if isinstance(error, BaseExceptionGroup) else error
        if fatal is not None and isinstance(first := unwrap(fatal), Fatal) and self.batch.fatal is None:
            self.batch.fatal = first
            self.batch.scope.cancel()
        if not isinstance(error, ToolError | Fatal):
            logger.warning("tool %r failed", job.call.name, exc_info=error)
        return error_result(describe(error))

    async def _fitted(self, job: Job, tool: Tool, result: ToolResult) -> ToolResult:
        """Leave out the middle of a result that is too long, after writing the whole to disk if that is wanted."""
        return cut(result, tool.max_result_chars, await self._spilled(job, result.text) if self.spill else None)

    async def _spilled(self, job: Job, text: str) -> str | None:
        """Write a text to disk and return the path for the model; None if that fails. The result is not lost by it."""
        path = f"{SPILL}/{_file_name(job.call.id)}.txt"
        policy = PathPolicy((self.context(job).working_directory,))

        def write() -> None:
            replace_file(policy.locate(path), text.encode("utf-8", "replace"), trio.from_thread.check_cancelled)

        with trio.move_on_after(SPILL_TIME, shield=True) as scope:
            try:
                await trio.to_thread.run_sync(write)
            except ToolError as error:
                logger.warning("the result of %r is cut, and not kept: %s", job.call.name, error)
                return None
        return None if scope.cancelled_caught else path


def _stretches(jobs: Sequence[Job]) -> Iterator[list[int]]:
    """Cut a batch into stretches that may run at once, as the places of their jobs."""
    stretch: list[int] = []
    for place, job in enumerate(jobs):
        if not job.is_concurrent:
            if stretch:
                yield stretch
            yield [place]
            stretch = []
        else:
            stretch.append(place)
    if stretch:
        yield stretch


def unknown_tool(name: str, known: Sequence[str]) -> ToolResult:
    """The result of a call of a tool that there is not."""
    text = f"there is no tool {name!r}; there are none"
    if known:
        text = f"there is no tool {name!r}{closest_of(name, known) or '.'} The tools are: {', '.join(known)}"
    return error_result(text, Outcome.UNKNOWN_TOOL)


def _parted(error: BaseException) -> tuple[BaseException | None, BaseException | None]:
    """What of an error is not the tool's – a cancel from outside, or ^C – and what is."""
    not_the_tools = (trio.Cancelled, KeyboardInterrupt, GeneratorExit)
    if isinstance(error, BaseExceptionGroup):
        return error.split(not_the_tools)
    return (error, None) if isinstance(error, not_the_tools) else (None, error)


def _stopped(running: Running, tool: Tool, limit: float, work: Work[ToolResult]) -> ToolResult:
    """The result of a call that was stopped before it gave one."""
    match tool.isolation:
        case "thread" if not work.is_begun:
            aftermath = "no thread was free, so it did not run"
        case "thread":
            aftermath = "its thread cannot be stopped: the work may continue"
        case "process":
            aftermath = "its process was killed; it may have had effects"
        case _:
            aftermath = "it was stopped; it may have had effects"
    if running.is_cancelled:
        return error_result(f"cancelled: {aftermath}", Outcome.CANCELLED)
    return error_result(f"timed out after {limit:g} s: {aftermath}", Outcome.TIMED_OUT)


def _from_thread(report: Callable[[object], None], data: object) -> None:
    trio.from_thread.run_sync(report, data)


def _ignore(data: object) -> None:
    """Where nobody listens any more."""


async def _too_late(call_id: str, question: str) -> str:
    raise ToolError(f"the call {call_id!r} is over, so it cannot ask {question!r}")


def _file_name(call_id: str) -> str:
    """A name that is safe whatever the vendor's id is, and not the same for two ids."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "_", call_id)[:64]
    return safe if safe == call_id else f"{safe}-{hashlib.sha256(call_id.encode('utf-8', 'replace')).hexdigest()[:8]}"
