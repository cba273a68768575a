"""The root: the block, or the program, in which a tree of processes lives."""

from __future__ import annotations

import logging
import math
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.lowlevel import enable_ki_protection

from alloy.errors import sole_error
from alloy.otp.address import Ref
from alloy.otp.child import Child, ChildSpec
from alloy.otp.deadlines import Deadlines, Parked
from alloy.otp.errors import StartFailed, SystemDown
from alloy.otp.events import SystemEvent
from alloy.otp.feed import Feed
from alloy.otp.policy import Restart, check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import ExitReason, Ignore, NoProcess, Normal, Shutdown, error_of, why
from alloy.otp.stopping import StuckReport
from alloy.otp.supervisor import Supervisor


class System:
    """What all processes of a tree share: who keeps the time, and who watches."""

    logger: logging.Logger = logging.getLogger("alloy.otp")

    def __init__(self) -> None:
        self.deadlines: Deadlines = Deadlines()
        self.watches: dict[Feed[SystemEvent], Process] = {}

    def emit(self, process: Process, event: SystemEvent) -> None:
        """Tell whoever watches `process` or one above it."""
        if self.watches:
            above = {process}
            while (parent := process.parent) is not None:
                above.add(parent)
                process = parent
            for feed, watched in tuple(self.watches.items()):
                if watched in above:
                    feed.push(event)

    def report_stuck(self, process: Process) -> None:
        """Say every few seconds where a killed process is, until it has ended."""
        StuckReport(process)

    def ended(self, process: Process) -> None:
        """Nothing will happen to `process` any more."""
        for feed, watched in tuple(self.watches.items()):
            if watched is process:
                del self.watches[feed]
                feed.close()


class Root:
    """The process at the top, and its ordered stop, which begins once, whoever wants it."""

    def __init__(self, server: Supervisor, grace: float) -> None:
        if server._used:
            raise RuntimeError(f"this {type(server).__name__} was opened before; make a new one for each system")
        server._used = True
        self.system: System = System()
        self.grace = grace
        name = type(server).__name__
        spec = ChildSpec(id=name, start=lambda: server, restart=Restart.TEMPORARY, shutdown=grace)
        self.process: Process = server.process_type(server, Child(spec, is_supervisor=True), self.system, None)
        self.shield: trio.CancelScope = trio.CancelScope(shield=True)
        self.stop_began: bool = False
        self.was_asked: bool = False  # by a signal

    @enable_ki_protection
    async def live(self, signals: bool) -> None:
        """Hold the tree and what serves it. A cancel around the block does not reach it: `stop` does."""
        with self.shield:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.system.deadlines.run, name="deadlines")
                self.process.nursery = nursery
                nursery.start_soon(self.process.run, name=self.process.ref.label)
                if signals:
                    nursery.start_soon(self.obey_signals, name="signals")

    @enable_ki_protection
    async def wait_up(self) -> None:
        """Block until all of the tree is up.

        Raises:
            StartFailed: it did not come up.
        """
        if self.process.ref.alive and not self.process.running:
            self.process.starter = parked = Parked()
            await parked.wait(self.system.deadlines)
        if not self.process.running:
            failure = self.process.failure
            detail = "its init raised Ignore" if isinstance(failure, Ignore) else why(failure) if failure else ""
            raise StartFailed(self.process.child.spec.id, detail) from failure

    def begin_stop(self, reason: ExitReason) -> None:
        """Stop the tree in order; what is left when `grace` is over is killed."""
        if not self.stop_began:
            self.stop_began = True
            self.process.shut_down(reason, self.grace)
            if self.grace != math.inf:
                self.system.deadlines.after(self.grace, self.process.kill)

    async def stop(self) -> None:
        """Stop the tree in order and return when every task of it has ended. Ctrl-C meanwhile kills."""
        self.begin_stop(Shutdown())
        interrupt: KeyboardInterrupt | None = None
        with trio.CancelScope(shield=True):
            while self.process.ref.alive:
                try:
                    await self.process.join()
                except KeyboardInterrupt as error:
                    interrupt = error
                    self.process.kill()
        if interrupt is not None:
            raise interrupt

    async def watch(self, body: trio.CancelScope) -> None:
        """Cancel `body` when the root ends."""
        await self.process.join()
        body.cancel(reason="the root supervisor has ended")

    @enable_ki_protection
    async def obey_signals(self) -> None:
        """The first SIGINT or SIGTERM stops the tree in order, a second kills it."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for number in signals:
                if self.stop_began:
                    self.process.kill()
                else:
                    self.was_asked = True
                    self.begin_stop(Shutdown(signal.Signals(number).name))


@asynccontextmanager
async def open_system(root: Supervisor, *, signals: bool = False, grace: float = 30.0) -> AsyncIterator[Ref]:
    """Run a tree of processes for as long as the block runs; its value is the Ref of the root.

    Leaving the block, an error in it and a cancel around it all stop the tree in order first: last
    started, first stopped, each within its `shutdown`. Thus the block can outlast a `move_on_after`
    around it by up to `grace`.

    Args:
        root: a new supervisor; it is used once.
        signals: whether SIGINT and SIGTERM stop the tree in order, a second one at once. Otherwise
            Ctrl-C is a KeyboardInterrupt in the main task, and so an error in the block.
        grace: seconds that the whole stop may take before all that is left is killed.

    Raises:
        StartFailed: the root, or one of its static children, did not come up; nothing is left running.
        SystemDown: the root ended while the block ran, which cancelled the block. A block that had left
            with an error of its own raises that, with a note.
    """
    async with _open_root(root, signals=signals, grace=grace) as opened:
        yield opened.process.ref


@asynccontextmanager
async def _open_root(server: Supervisor, *, signals: bool, grace: float) -> AsyncIterator[Root]:
    if not isinstance(server, Supervisor):
        raise TypeError(f"open_system takes a Supervisor, got {server!r}")
    check_seconds("grace", grace)
    root = Root(server, grace)
    body = trio.CancelScope()
    ended_itself = False
    with sole_error():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(root.live, signals, name="system")
            try:
                await root.wait_up()
                nursery.start_soon(root.watch, body, name="watch root")
                with body:
                    yield root
            except BaseException as error:
                ended_itself = root.process.running and not root.process.ref.alive
                if ended_itself and isinstance(error, Exception):
                    error.add_note(f"the system was down: {root.process.ref.reason!r}")
                raise
            else:
                ended_itself = not root.process.ref.alive
            finally:
                try:
                    await root.stop()
                finally:
                    root.shield.cancel(reason="the system has stopped")
                    nursery.cancel_scope.cancel(reason="the system has stopped")
    if ended_itself:
        reason = root.process.ref.reason or NoProcess()
        raise SystemDown(reason) from error_of(reason)


def run(root: Supervisor, *, signals: bool = True) -> None:
    """Run a tree of processes as the whole program, until a signal or until the root ends.

    Returns after an ordered stop by a signal, or when the root ended by itself in good order. With
    `signals=False`, Ctrl-C is a KeyboardInterrupt after the ordered stop.

    Raises:
        StartFailed: the tree did not come up.
        SystemDown: the root failed or gave up.
    """

    async def main() -> None:
        opened: Root | None = None
        try:
            async with _open_root(root, signals=signals, grace=30.0) as opened:
                await trio.sleep_forever()
        except SystemDown as down:
            in_order = isinstance(down.reason, Normal) or (
                isinstance(down.reason, Shutdown) and down.reason.cause is None
            )
            if not in_order and not (opened is not None and opened.was_asked):
                raise

    trio.run(main)
