"""Naming the tools that do not stop when they are told to.

Trio cannot leave a task behind. One that goes on after it was cancelled – shielded, say – holds up its batch, and
all there is to do is to say who it is.
"""

from __future__ import annotations

import logging
import math
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar

import trio

from alloy.errors import sole_error
from alloy.tools.batch import Running

logger: logging.Logger = logging.getLogger("alloy.tools")

INTERVAL = 5.0  # seconds between two entries in the log


# Whether the calls of the current task have been told to stop by somebody further out.
told_to_stop: ContextVar[Callable[[], bool]] = ContextVar("alloy.tools.told_to_stop", default=lambda: False)


class Watch:
    """Looks at the calls under way every few seconds, and logs those that should have stopped, with their stack.

    Args:
        after: calls a function in so many seconds.
        is_over: whether all calls have been told to stop.
    """

    def __init__(
        self, after: Callable[[float, Callable[[], None]], object], is_over: Callable[[], bool] = lambda: False
    ) -> None:
        self._after = after
        self._is_over = is_over
        self._running: dict[Running, Callable[[], bool]] = {}
        self._is_planned = False

    def add(self, running: Running) -> None:
        """A call begins, in the current task."""
        self._running[running] = told_to_stop.get()
        self._plan()

    def remove(self, running: Running) -> None:
        """A call has ended."""
        self._running.pop(running, None)

    def _plan(self) -> None:
        if self._running and not self._is_planned:
            self._is_planned = True
            self._after(INTERVAL, self._look)

    def _look(self) -> None:
        self._is_planned = False
        now, is_over = trio.current_time(), self._is_over()
        for running, is_told in self._running.items():
            if is_over or running.scope.cancel_called or now >= running.deadline or is_told():
                _log(running, now)
        self._plan()


def _log(running: Running, now: float) -> None:
    stack = traceback.StackSummary.extract(running.task.iter_await_frames())
    logger.warning(
        "tool %r was told to stop and goes on, %.0f s after its start:\n%s",
        running.job.call.name,
        now - running.started_at,
        "".join(stack.format()),
    )


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Watch the calls that are added, until the block is left, with a task of its own."""
    with sole_error():
        async with trio.open_nursery() as nursery:
            timer = _Timer(nursery)
            try:
                yield Watch(timer.after, lambda: timer.is_over)
            finally:
                timer.scope.cancel()


class _Timer:
    """Keeps the time of a watch, also when the block was cancelled: calls that go on then are what it is for."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.is_over: bool = False
        self.scope: trio.CancelScope = trio.CancelScope()
        self._nursery = nursery

    def after(self, seconds: float, action: Callable[[], None]) -> None:
        self.scope = trio.CancelScope(shield=True)
        self._nursery.start_soon(self._wait, self.scope, seconds, action)

    async def _wait(self, scope: trio.CancelScope, seconds: float, action: Callable[[], None]) -> None:
        with scope:
            await trio.sleep(seconds)
        if not scope.cancel_called:
            self.is_over = trio.current_effective_deadline() == -math.inf
            action()
