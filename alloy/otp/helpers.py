"""Tasks that a server runs beside its loop: their errors are its own, its end is their cancellation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import enable_ki_protection

from alloy.errors import unwrap
from alloy.otp.deadlines import Parked
from alloy.otp.reasons import Crash, Stop

if TYPE_CHECKING:
    from alloy.otp.process import Process


class Helpers:
    """The helper tasks of one process.

    They live in the nursery that the process's own task is in, so that a server without any needs no
    nursery; the process waits for them before it dies.
    """

    __slots__ = ("_gone", "_process", "_scopes", "crash")

    def __init__(self, process: Process) -> None:
        self._process = process
        # Of those under way, with how long each may go on when the process is stopped in good order.
        self._scopes: dict[trio.CancelScope, Callable[[], float] | None] = {}
        self._gone: Parked | None = None  # the process, while it waits for the last to end
        self.crash: Crash | None = None  # of the first of them that failed

    def start(
        self, fn: Callable[..., Awaitable[object]], args: tuple[object, ...], grace: Callable[[], float] | None
    ) -> None:
        """Run `fn(*args)`; at once cancelled if the process is stopping."""
        process = self._process
        if process.nursery is None or not process.ref.alive:
            raise RuntimeError(f"{process.ref.label!r} has ended; it can start no task")
        scope = trio.CancelScope()
        self._scopes[scope] = grace
        if process.run_scope.cancel_called or self._gone is not None:
            scope.cancel(reason="its process is stopping")
        process.nursery.start_soon(self._run, scope, fn, args, name=f"{process.ref.label}: {fn!r}")

    @enable_ki_protection
    async def _run(
        self, scope: trio.CancelScope, fn: Callable[..., Awaitable[object]], args: tuple[object, ...]
    ) -> None:
        try:
            with scope:
                await fn(*args)
        except BaseException as caught:
            error = unwrap(caught)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            # Nothing but cancellation: swallowed, which is legal in the last frame of a task.
            if not is_cancellation(error):
                reason = error.reason if isinstance(error, Stop) else Crash(error)
                self._process.interrupt(reason)
                if isinstance(reason, Crash):
                    self.crash = self.crash or reason
                    for other in self._scopes:
                        other.cancel(reason="another helper of its process failed")
        finally:
            del self._scopes[scope]
            if not self._scopes and self._gone is not None:
                self._gone.wake()

    async def end(self, *, in_order: bool = False) -> None:
        """Cancel them, those with a grace after that if all is in order, and wait until the last has ended."""
        for scope, grace in self._scopes.items():
            if in_order and grace is not None:
                scope.deadline = trio.current_time() + grace()
            else:
                scope.cancel(reason="its process is stopping")
        if self._scopes:
            self._gone = Parked()
            await self._gone.wait(self._process.system.deadlines)


def is_cancellation(error: BaseException) -> bool:
    """Whether `error`, once unwrapped, is nothing but cancellation."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_cancellation(inner) for inner in error.exceptions)
    return isinstance(error, trio.Cancelled)
