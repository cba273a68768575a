"""One task that keeps the time for a whole system: calls, joins and timers wait without a scope of their own.

A `fail_after` for each call costs as much as the call. Entries of calls that were answered stay in the
heap until half of it is such waste, so that answering costs nothing.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from typing import Any, Protocol

import trio
from trio.lowlevel import Abort, Task, current_task, reschedule, wait_task_rescheduled


class Timed(Protocol):
    """What a deadline is set for."""

    @property
    def is_live(self) -> bool:
        """Whether it still waits."""
        ...

    def expire(self) -> None:
        """Its time is over."""
        ...


class Deadlines:
    """The heap of deadlines and the task that acts on them; exact, by Trio's clock."""

    __slots__ = ("_heap", "_limit", "_order", "_scope")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timed]] = []
        self._order = 0
        self._limit = 64
        self._scope = trio.CancelScope()

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, timed: Timed, deadline: float) -> None:
        """Call `timed.expire` at `deadline` unless it is no longer live then."""
        if deadline == math.inf:
            return
        heap = self._heap
        if len(heap) >= self._limit:
            self._compact()
            heap = self._heap
        self._order += 1
        heapq.heappush(heap, (deadline, self._order, timed))
        if deadline < self._scope.deadline:
            self._scope.deadline = deadline

    def after(self, seconds: float, action: Callable[[], object]) -> Timer:
        """Call `action` in `seconds`, in the task that keeps the time; it must neither block nor raise."""
        timer = Timer(action)
        self.add(timer, trio.current_time() + seconds)
        return timer

    def _compact(self) -> None:
        self._heap = [entry for entry in self._heap if entry[2].is_live]
        heapq.heapify(self._heap)
        self._limit = max(64, 2 * len(self._heap))

    @trio.lowlevel.enable_ki_protection
    async def run(self) -> None:
        """Keep the time until cancelled."""
        while True:
            now = trio.current_time()
            while (heap := self._heap) and (heap[0][0] <= now or not heap[0][2].is_live):
                timed = heapq.heappop(heap)[2]
                if timed.is_live:
                    timed.expire()
            self._scope = trio.CancelScope(deadline=heap[0][0] if heap else math.inf)
            with self._scope:
                await trio.sleep_forever()


class Timer:
    """Something that will be done once, unless cancelled before."""

    __slots__ = ("_action",)

    def __init__(self, action: Callable[[], object] | None) -> None:
        self._action = action

    @property
    def is_live(self) -> bool:
        """Whether it has neither fired nor been cancelled."""
        return self._action is not None

    def cancel(self) -> bool:
        """Take it back; False if it is too late."""
        was_live, self._action = self._action is not None, None
        return was_live

    def expire(self) -> None:
        """Fire now; once."""
        action, self._action = self._action, None
        if action is not None:
            action()


class Parked:
    """The current task, to be woken once: by `wake`, by its deadline, or by its own cancellation."""

    __slots__ = ("_task", "_timed_out")

    def __init__(self) -> None:
        self._task: Task | None = current_task()
        self._timed_out = False

    @property
    def is_live(self) -> bool:
        """Whether the task still waits."""
        return self._task is not None

    def wake(self) -> None:
        """Let the task go on; nothing if it already does."""
        task, self._task = self._task, None
        if task is not None:
            reschedule(task)

    def expire(self) -> None:
        """Let the task go on, and tell it that its time is over."""
        self._timed_out = True
        self.wake()

    async def wait(self, deadlines: Deadlines, seconds: float = math.inf) -> bool:
        """Block until woken; False if `seconds` went by before."""
        if seconds != math.inf:
            deadlines.add(self, trio.current_time() + seconds)
        await wait_task_rescheduled(self._abort)
        return not self._timed_out

    def _abort(self, _: Callable[[], Any]) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
