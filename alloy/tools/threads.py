"""Sync tools in threads, which cannot be stopped, but counted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property
from typing import Any, Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class Work(Generic[T]):
    """One call of a function in a thread.

    Attributes:
        is_begun: the function has been entered.
        is_over: it has returned or raised.
        is_abandoned: nobody waits for it any more.
    """

    function: Callable[[], T]
    is_begun: bool = False
    is_over: bool = False
    is_abandoned: bool = False


class Threads:
    """Runs functions in threads, at most so many at once.

    A call that is cancelled is left behind: its thread goes on, keeps its place, and is counted as stuck until
    it ends.

    Attributes:
        stuck: how many threads work on for nobody.
    """

    def __init__(self, limit: int) -> None:
        self.stuck: int = 0
        self._limit = limit
        self._lock = threading.Lock()  # for stuck and the states of the works: both sides change them

    @cached_property
    def _limiter(self) -> trio.CapacityLimiter:
        return trio.CapacityLimiter(self._limit)

    async def run(self, work: Work[T]) -> T:
        """Do the work in a thread, which sees our context variables.

        Raises:
            Exception: whatever the function raised.
        """
        try:
            return await trio.to_thread.run_sync(self._do, work, abandon_on_cancel=True, limiter=self._limiter)
        finally:
            with self._lock:
                work.is_abandoned = True
                self.stuck += work.is_begun and not work.is_over

    def _do(self, work: Work[T]) -> Any:
        with self._lock:
            if work.is_abandoned:
                return None  # cancelled while the thread was starting: nobody will see this
            work.is_begun = True
        try:
            return work.function()
        finally:
            with self._lock:
                work.is_over = True
                self.stuck -= work.is_abandoned
