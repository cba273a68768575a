"""The one thread of a store that writes, in the order in which it is asked, and several commits in one go."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

import attrs
import trio

_log = logging.getLogger("alloy.stores")

T = TypeVar("T")
Item = TypeVar("Item")
_AT_ONCE = 1_000  # jobs in one go
_STOP = 30.0  # seconds for what is under way, when the store is closed


@attrs.define(eq=False)
class Job(Generic[Item]):
    """Something to write, and who waits for it.

    Attributes:
        item: to be committed with others.
        function: or to be called, alone.
    """

    item: Item | None = None
    function: Callable[[], Any] | None = None
    task: trio.lowlevel.Task | None = None
    result: Any = None
    error: BaseException | None = None
    is_taken: bool = False
    is_withdrawn: bool = False


class Writer(Generic[Item]):
    """A thread. An async context manager; leaving it waits for what is under way.

    What is cancelled before the thread takes it up is not done; what is cancelled later is done all the
    same, and returns. So whoever gets `Cancelled` knows that nothing happened.
    """

    def __init__(
        self, name: str, commit: Callable[[Sequence[Job[Item]]], None], *, idle: Callable[[], None], every: float
    ) -> None:
        """Make it, without the thread.

        Args:
            name: of the thread.
            commit: writes the items of all jobs, and sets `error` on those that it cannot write.
            idle: called from time to time, whatever else there is to do.
            every: about so many seconds.
        """
        self._commit = commit
        self._idle = idle
        self._every = every
        self._jobs: queue.SimpleQueue[Job[Item] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()  # for is_taken and is_withdrawn: both sides change them
        self._thread = threading.Thread(target=self._work, name=f"alloy {name}", daemon=True)
        self._next_idle = 0.0

    def start(self) -> None:
        """Start the thread; call it inside Trio."""
        self._trio = trio.lowlevel.current_trio_token()
        self._next_idle = time.monotonic() + self._every
        self._thread.start()

    async def stop(self) -> None:
        """Let the thread do what it has, and end."""
        self._jobs.put(None)
        with trio.move_on_after(_STOP, shield=True):
            await trio.to_thread.run_sync(self._thread.join, abandon_on_cancel=True)

    async def call(self, function: Callable[[], T]) -> T:
        """Call a function in the thread, and return what it returns.

        Raises:
            Exception: whatever it raises.
        """
        result: T = await self._done(Job(function=function))
        return result

    async def commit(self, item: Item) -> None:
        """Write something, perhaps together with what others write.

        Raises:
            StoreError: it was not written.
        """
        await self._done(Job(item=item))

    async def _done(self, job: Job[Item]) -> Any:
        job.task = trio.lowlevel.current_task()
        self._jobs.put(job)

        def withdraw(_: object) -> trio.lowlevel.Abort:
            with self._lock:
                job.is_withdrawn = not job.is_taken
            return trio.lowlevel.Abort.SUCCEEDED if job.is_withdrawn else trio.lowlevel.Abort.FAILED

        await trio.lowlevel.wait_task_rescheduled(withdraw)
        if job.error is not None:
            raise job.error
        return job.result

    # In the thread.

    def _work(self) -> None:
        is_over = False
        while not is_over:
            try:
                jobs = [self._jobs.get(timeout=self._every)]
            except queue.Empty:
                self._look_up()
                continue
            while jobs[-1] is not None and len(jobs) < _AT_ONCE and not self._jobs.empty():
                jobs.append(self._jobs.get())
            is_over = jobs[-1] is None
            self._do([job for job in jobs if job is not None and self._take(job)])
            self._look_up()

    def _look_up(self) -> None:
        """Do what is due from time to time."""
        if (now := time.monotonic()) < self._next_idle:
            return
        self._next_idle = now + self._every
        try:
            self._idle()
        except OSError:
            _log.exception("%s could not show that it lives", self._thread.name)

    def _take(self, job: Job[Item]) -> bool:
        with self._lock:
            job.is_taken = not job.is_withdrawn
        return job.is_taken

    def _do(self, jobs: Sequence[Job[Item]]) -> None:
        together: list[Job[Item]] = []
        for job in jobs:
            if job.function is None:
                together.append(job)
            else:
                self._finish(together)
                together = []
                self._call(job)
        self._finish(together)

    def _call(self, job: Job[Item]) -> None:
        assert job.function is not None
        try:
            job.result = job.function()
        except Exception as error:
            job.error = error
        self._wake([job])

    def _finish(self, jobs: Sequence[Job[Item]]) -> None:
        if not jobs:
            return
        try:
            self._commit(jobs)
        except Exception as error:
            for job in jobs:
                job.error = job.error or error
        self._wake(jobs)

    def _wake(self, jobs: Sequence[Job[Item]]) -> None:
        def wake() -> None:
            for job in jobs:
                assert job.task is not None
                trio.lowlevel.reschedule(job.task)

        with contextlib.suppress(trio.RunFinishedError):  # nobody is left to be woken
            self._trio.run_sync_soon(wake)
