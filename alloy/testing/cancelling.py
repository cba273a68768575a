"""Cancelling some work at each of its waits, one after the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import trio


@attrs.define(eq=False)
class Cut(trio.abc.Instrument):
    """Some work that was cancelled while it waited for the so-manieth time; false if it never waited so often."""

    wait: int = 0
    returned: bool = False
    _waits: int = 0
    _scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _task: trio.lowlevel.Task = attrs.field(factory=trio.lowlevel.current_task)

    def __bool__(self) -> bool:
        return self._waits >= self.wait

    async def next(self, work: Callable[[], Awaitable[object]]) -> Cut:
        """Do the work, and cancel it one wait later than this one did."""
        cut = Cut(self.wait + 1)
        with cut._scope:
            trio.lowlevel.add_instrument(cut)
            try:
                await work()
                cut.returned = True
            finally:
                trio.lowlevel.remove_instrument(cut)
        return cut

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task is self._task:
            self._waits += 1
            if self._waits == self.wait:
                self._scope.cancel(reason="to see what is left")
