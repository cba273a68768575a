"""Stopping without cutting anybody off: no new work comes in, what is under way ends, then all stops."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import trio

from alloy.otp.address import Address, Ref, resolve
from alloy.otp.context import current_process, waiting_loop
from alloy.otp.deadlock import check_wait
from alloy.otp.errors import Deadlock, ServerExited
from alloy.otp.messages import system_call
from alloy.otp.policy import check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import Shutdown
from alloy.otp.stopping import stop_process

DRAINING = Shutdown("draining")


class Drain:
    """One drain: the processes in it take work from each other only."""

    def __init__(self) -> None:
        self._progress = trio.Event()

    def is_outsider(self) -> bool:
        """Whether the code that runs belongs to no process of this drain."""
        sender = current_process.get()
        return sender is None or sender.mailbox.drain is not self

    def refuse_outsiders(self, ref: Ref) -> None:
        """Let no call in from outside.

        Raises:
            ServerExited: it comes from outside; the reason is `Shutdown("draining")`.
        """
        if self.is_outsider():
            raise ServerExited(ref, DRAINING)

    def progress(self) -> None:
        """A call was settled."""
        self._progress.set()

    async def wait_progress(self) -> None:
        """Block until one more call was settled."""
        self._progress = trio.Event()
        await self._progress.wait()


async def drain(to: Address, grace: float) -> bool:
    """Take no new work, let what is under way end within `grace` seconds, then stop; True if all ended.

    That holds for the process and everything under it. New calls raise `ServerExited` with
    `Shutdown("draining")`, other messages from outside are dropped; the processes go on working for
    each other. What has not ended by then is stopped as its supervisor would stop it. A permanent child
    is started again by its supervisor afterwards, as after any end. A cancelled drain lets work in again.

    Raises:
        ServerExited: the process is dead.
        Deadlock: a process drains itself, or what waits for it.
    """
    check_seconds("grace", grace)
    top = resolve(to)
    caller = waiting_loop()
    if caller is not None:
        check_wait(caller, top)
        if any(process is caller for process in walk(top)):
            raise Deadlock((caller.ref.label, top.ref.label, caller.ref.label))
    session = Drain()
    try:
        with trio.move_on_after(grace) as scope:
            while not await _is_quiet(top, session):
                await session.wait_progress()
        if top.ref.alive:
            await stop_process(top, top.child.shutdown, Shutdown("drained"))
    finally:
        if top.ref.alive:
            for process in walk(top):
                process.mailbox.drain = None
    return not scope.cancelled_caught


async def _is_quiet(top: Process, session: Drain) -> bool:
    """Wait until all mail is handled; whether no call is left that somebody will answer later."""
    while True:
        for process in walk(top):
            process.mailbox.drain = session
        for process in walk(top):
            with suppress(ServerExited):  # then it has no work left either
                await system_call(process.ref, lambda _: None, timeout=None, is_urgent=False)
        # They may have sent each other mail meanwhile.
        if not any(process.mailbox.size or process.current is not None for process in walk(top)):
            return not any(process.mailbox.pending for process in walk(top))


def walk(top: Process) -> Iterator[Process]:
    """The process and all that live below it."""
    yield top
    for child in tuple(top.living_children()):
        if child.ref.alive:
            yield from walk(child)
