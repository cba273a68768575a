"""The results of many tasks as one stream: how many run, in which order they come, and who is too late."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import TYPE_CHECKING, Generic, Literal, TypeAlias, TypeVar

import attrs
import trio

from alloy.otp.child import check_count
from alloy.otp.deadlines import Timer
from alloy.otp.errors import CallTimeout
from alloy.otp.policy import check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import Crash

if TYPE_CHECKING:
    from alloy.otp.task import Task

T = TypeVar("T")
A = TypeVar("A")

OnTimeout: TypeAlias = Literal["exit", "kill_task"]


@attrs.define(eq=False)
class Item(Generic[T]):
    """One task of a stream."""

    task: Task[T]
    streaming: Streaming[T]
    timer: Timer | None = None
    timed_out: CallTimeout | None = None

    @property
    def is_done(self) -> bool:
        """Whether it has an outcome."""
        return not self.task.ref.alive

    @property
    def outcome(self) -> T | Crash:
        """Its result, or what it failed with."""
        return self.task.outcome() if self.timed_out is None else Crash(self.timed_out)

    def wake(self) -> None:
        """The task has ended."""
        if self.timer is not None:
            self.timer.cancel()
        self.streaming.finished(self)

    def expire(self) -> None:
        """The task has used up its time."""
        self.streaming.too_late(self)


class Streaming(Generic[T]):
    """The iterator of `TaskSupervisor.stream`: everything happens while its reader waits for the next."""

    def __init__(
        self,
        start: Callable[[A], Awaitable[Task[T]]],
        items: Iterator[A],
        *,
        max_concurrency: int,
        ordered: bool,
        timeout: float | None,
        on_timeout: OnTimeout,
        window: int | None,
    ) -> None:
        check_count("max_concurrency", max_concurrency, 1)
        if window is not None:
            check_count("window", window, 1)
        if timeout is not None:
            check_seconds("timeout", timeout)
        if on_timeout not in ("exit", "kill_task"):
            raise ValueError(f"on_timeout must be 'exit' or 'kill_task', got {on_timeout!r}")
        self._start_next = self._starter(start, items)
        self._max_concurrency = max_concurrency
        self._ordered = ordered
        self._timeout = timeout
        self._on_timeout = on_timeout
        self._window = window
        self._open: list[Item[T]] = []  # started, not yet read, in the order of the items
        self._exhausted = False
        self._done: list[Item[T]] = []  # ended, not yet read, in the order of finishing
        self._failure: CallTimeout | None = None
        self._change = trio.Event()

    def __aiter__(self) -> Streaming[T]:
        return self

    async def __anext__(self) -> T | Crash:
        await trio.lowlevel.checkpoint()
        while True:
            await self._fill()
            if self._failure is not None:
                raise self._failure
            if (item := self._ready()) is not None:
                self._open.remove(item)
                self._done.remove(item)
                return item.outcome
            if not self._open:
                raise StopAsyncIteration
            self._change = trio.Event()
            await self._change.wait()

    def finished(self, item: Item[T]) -> None:
        """Called by each item, once."""
        self._done.append(item)
        self._change.set()

    def too_late(self, item: Item[T]) -> None:
        """Called by an item whose time is over."""
        process = item.task.ref.process
        if process is None:
            return
        error = CallTimeout(f"an item of task {item.task.ref.label!r} was not done after {self._timeout} s")
        if self._on_timeout == "exit":
            self._failure = error
            self._change.set()
        else:
            item.timed_out = error
            cut_loose(process)

    async def close(self) -> None:
        """Kill what still runs and wait for its end."""
        self._exhausted = True
        running = [process for item in self._open if (process := item.task.ref.process) is not None]
        self._open = []
        for process in running:
            cut_loose(process)
        with trio.CancelScope(shield=True):  # no deadline: no task outlives the block
            for process in running:
                if process.ref.alive:
                    await process.join()

    def _starter(
        self, start: Callable[[A], Awaitable[Task[T]]], items: Iterator[A]
    ) -> Callable[[], Awaitable[Task[T] | None]]:
        async def start_next() -> Task[T] | None:
            for item in items:
                return await start(item)
            return None

        return start_next

    def _ready(self) -> Item[T] | None:
        if not self._ordered:
            return self._done[0] if self._done else None
        return self._open[0] if self._open and self._open[0].is_done else None

    async def _fill(self) -> None:
        while (
            not self._exhausted
            and self._failure is None
            and len(self._open) - len(self._done) < self._max_concurrency
            and (self._window is None or len(self._open) < self._window)
        ):
            task = await self._start_next()
            if task is None:
                self._exhausted = True
                return
            item = Item(task, self)
            self._open.append(item)
            process = task.ref.process
            if process is None:
                self.finished(item)
                continue
            process.notify(item)
            if self._timeout is not None:
                item.timer = process.system.deadlines.after(self._timeout, item.expire)


def cut_loose(process: Process) -> None:
    """Kill a task without harm to whom it is linked with."""
    for peer in tuple(process.links or ()):
        peer.unlink(process)
        process.unlink(peer)
    process.stopping = "brutal_kill"
    process.kill()
