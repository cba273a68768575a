"""Naming the tools that do not stop when they are told to.

Trio cannot leave a task behind. One that goes on after it was cancelled – shielded, say – holds up its batch, and
all there is to do is to say who it is.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from alloy.errors import sole_error
from alloy.tools.batch import Running

logger: logging.Logger = logging.getLogger("alloy.tools")

INTERVAL = 5.0  # seconds between two entries in the log


class Watch:
    """Looks at the calls under way every few seconds, and logs those that should have stopped, with their stack."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._is_looking = False
        self._running: set[Running] = set()
        self._busy = trio.Event()
        self._idle = trio.Event()

    def add(self, running: Running) -> None:
        """A call begins. With the first one the looking does."""
        if not self._is_looking:
            self._is_looking = True
            self._nursery.start_soon(self._look)
        if not self._running:
            self._idle = trio.Event()
            self._busy.set()
        self._running.add(running)

    def remove(self, running: Running) -> None:
        """A call has ended."""
        self._running.discard(running)
        if not self._running:
            self._busy = trio.Event()
            self._idle.set()

    async def _look(self) -> None:
        """Look, until cancelled. If calls still run then, they have been cancelled too: look until they end."""
        try:
            while True:
                await self._busy.wait()
                await trio.sleep(INTERVAL)
                now = trio.current_time()
                self._log([r for r in self._running if r.scope.cancel_called or now >= r.deadline])
        finally:
            with trio.CancelScope(shield=True):  # no deadline: it ends with the calls
                while self._running:
                    with trio.move_on_after(INTERVAL) as scope:
                        await self._idle.wait()
                    if scope.cancelled_caught:
                        self._log(self._running)

    def _log(self, overdue: list[Running] | set[Running]) -> None:
        for running in overdue:
            stack = traceback.StackSummary.extract(running.task.iter_await_frames())
            logger.warning(
                "tool %r was told to stop and goes on, %.0f s after its start:\n%s",
                running.job.call.name,
                trio.current_time() - running.started_at,
                "".join(stack.format()),
            )


@asynccontextmanager
async def watching() -> AsyncIterator[Watch]:
    """Watch the calls that are added, until the block is left."""
    with sole_error():
        async with trio.open_nursery() as nursery:
            yield Watch(nursery)
            nursery.cancel_scope.cancel()
