"""What any task can send to a process: calls, casts, other messages, exits."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar

import trio
from trio.lowlevel import (
    cancel_shielded_checkpoint,
    checkpoint,
    checkpoint_if_cancelled,
    enable_ki_protection,
    wait_task_rescheduled,
)

from alloy.otp.address import Address, Ref, find, resolve
from alloy.otp.context import current_process, snapshot, waiting_loop
from alloy.otp.deadlines import Timer
from alloy.otp.deadlock import check_wait
from alloy.otp.errors import CallTimeout, MailboxFull, ServerExited
from alloy.otp.mailbox import Cast, Info, ReplyTo
from alloy.otp.policy import check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import ExitReason, Killed, NoProcess, Normal, Stop
from alloy.otp.server import Request

T = TypeVar("T")


@enable_ki_protection
async def call(
    to: Address,
    request: Request[T],
    *,
    timeout: float | None = 5.0,  # noqa: ASYNC109  # as in OTP, and cheaper than a scope
    wait: bool = False,
) -> T:
    """Send `request` to the server and wait for its reply.

    Giving up – by the timeout or by cancellation – withdraws the request: one that still waits is never
    handled, and a reply that comes late is dropped.

    Args:
        to: the server, or a name that leads to it.
        request: what its `handle_call` gets.
        timeout: seconds from now, by Trio's clock, waiting for room included; None or `math.inf` to
            wait for ever.
        wait: where nobody has the name now, wait for the next who takes it, within the same timeout.

    Raises:
        CallTimeout: no reply in time. The server may still act on the request.
        ServerExited: it was dead, or ended before it replied. Its error, if any, is the cause.
        Deadlock: the server waits, directly or through others, for the caller.
        Exception: whatever `ReplyTo.fail` was given.

    Source: Elixir 1.21, GenServer.call/3; read 2026-11-24.
    """
    if timeout is not None:
        check_seconds("timeout", timeout)
        if timeout == math.inf:
            timeout = None
    process = to.process if type(to) is Ref else find(to)
    if process is None:
        if not wait:
            raise ServerExited(to, NoProcess())
        process, timeout = await _wait_registered(to, timeout)
    mailbox = process.mailbox
    if mailbox.drain is not None:
        mailbox.drain.refuse_outsiders(process.ref)
    caller = waiting_loop()
    if caller is None:
        slot: ReplyTo[T] = ReplyTo(request, mailbox, process.ref)
        mailbox.request(slot)
        if timeout is not None:
            process.system.deadlines.add(slot, trio.current_time() + timeout)
        await wait_task_rescheduled(slot.abort)
        return slot.outcome()
    if caller is process or process.waiting_on is not None:
        check_wait(caller, process)
    slot = ReplyTo(request, mailbox, process.ref, caller)
    mailbox.request(slot)
    caller.waiting_on = mailbox
    try:
        if timeout is not None:
            process.system.deadlines.add(slot, trio.current_time() + timeout)
        await wait_task_rescheduled(slot.abort)
        return slot.outcome()
    finally:
        caller.waiting_on = None


async def _wait_registered(to: Address, seconds: float | None) -> tuple[Process, float | None]:
    """The next process to have the address, and what is left of the time."""
    wait_registered: Callable[[], Awaitable[None]] | None = getattr(to, "wait_registered", None)
    if wait_registered is None:
        raise ServerExited(to, NoProcess())  # one incarnation, and it is dead
    deadline = math.inf if seconds is None else trio.current_time() + seconds
    with trio.move_on_at(deadline):
        while True:
            await wait_registered()
            if (process := find(to)) is not None:
                return process, None if seconds is None else max(0.0, deadline - trio.current_time())
    raise CallTimeout(f"nobody took the name {to!r} in time")


async def cast(to: Address, message: object) -> None:
    """Send a message for `handle_cast`; wait for room if there is none, but for nothing else.

    Silent if nobody is there, as in OTP.

    Raises:
        Deadlock: there is no room, and the server waits, directly or through others, for the caller.
    """
    await checkpoint_if_cancelled()
    process = _find_open(to)
    if process is None:
        await cancel_shielded_checkpoint()
    elif process.mailbox.has_room:
        process.mailbox.post(Cast(message))
        await cancel_shielded_checkpoint()
    else:
        await _cast_later(process, Cast(message))


def _find_open(to: Address) -> Process | None:
    """Whom a message reaches: nobody where the process is dead, or draining and the sender is no part of it."""
    process = to.process if type(to) is Ref else find(to)
    if process is None or (process.mailbox.drain is not None and process.mailbox.drain.is_outsider()):
        return None
    return process


async def _cast_later(process: Process, envelope: Cast) -> None:
    caller = waiting_loop()
    if caller is None:
        await process.mailbox.wait_room(envelope)
        return
    check_wait(caller, process)
    caller.waiting_on = process.mailbox
    try:
        await process.mailbox.wait_room(envelope)
    finally:
        caller.waiting_on = None


def send(to: Address, message: object) -> None:
    """Send a message for `handle_info`, at once. Silent if nobody is there.

    Raises:
        MailboxFull: the server has as much mail as its mailbox takes.
    """
    process = _find_open(to)
    if process is not None:
        process.mailbox.post(Info(message, snapshot()))


def send_after(to: Address, message: object, delay: float) -> Timer:
    """Send a message for `handle_info` in `delay` seconds; whoever has the address then gets it.

    The timer belongs to the system of the process that calls this, or else of the target: with neither,
    nothing is sent. A full mailbox drops the message, with a warning.
    """
    check_seconds("delay", delay)
    owner = current_process.get() or find(to)
    if owner is None:
        return Timer(None)
    system, carried = owner.system, snapshot()

    def deliver() -> None:
        process = _find_open(to)
        if process is not None:
            try:
                process.mailbox.post(Info(message, carried))
            except MailboxFull as error:
                system.logger.warning("a message of send_after was dropped: %s", error)

    return system.deadlines.after(delay, deliver)


class SystemCall:
    """A signal that answers a call of the process layer itself, in the target's own task.

    It is no mail, so a full mailbox takes it and a suspended process acts on it.
    """

    __slots__ = ("action", "is_urgent", "slot")

    def __init__(self, slot: ReplyTo[Any], action: Callable[[Process], object], *, is_urgent: bool) -> None:
        self.slot: ReplyTo[Any] = slot
        self.action: Callable[[Process], object] = action
        self.is_urgent: bool = is_urgent

    async def act(self, process: Process) -> None:
        """Do it, unless the caller gave up."""
        if not self.slot.is_live:
            return
        try:
            value = self.action(process)
            if isawaitable(value):
                value = await value
        except Stop:
            raise
        except Exception as error:
            self.slot.fail(error)
        else:
            self.slot.reply(value)


@enable_ki_protection
async def system_call(
    to: Address,
    action: Callable[[Process], object],
    *,
    timeout: float | None,  # noqa: ASYNC109  # as `call`
    is_urgent: bool = True,
) -> Any:
    """Have the process behind `to` run `action(process)` between two messages, and answer its result."""
    if timeout is not None:
        check_seconds("timeout", timeout)
    process = resolve(to)
    caller = waiting_loop()
    if caller is not None:
        check_wait(caller, process)
    slot: ReplyTo[Any] = ReplyTo(action, process.mailbox, process.ref, caller)
    process.mailbox.ask(slot, SystemCall(slot, action, is_urgent=is_urgent))
    if timeout is not None:
        process.system.deadlines.add(slot, trio.current_time() + timeout)
    if caller is None:
        await wait_task_rescheduled(slot.abort)
        return slot.outcome()
    caller.waiting_on = process.mailbox
    try:
        await wait_task_rescheduled(slot.abort)
        return slot.outcome()
    finally:
        caller.waiting_on = None


async def stop(
    to: Address,
    reason: ExitReason = Normal(),  # noqa: B008  # a frozen value
    *,
    timeout: float | None = math.inf,  # noqa: ASYNC109  # as `call`
) -> None:
    """Let the server end with `reason` after the messages that wait before this, and wait for its end.

    Its supervisor restarts it as after any other end: to stop a child for good, `terminate_child`.

    Raises:
        ServerExited: it was dead, or ended with another reason.
        CallTimeout: it did not end in time. It still will, when it gets to it.
        Deadlock: it is the caller, or waits for it.
    """

    def leave(_: Process) -> None:
        raise Stop(reason)

    try:
        # Behind the mail but not held back by suspend: OTP's sys:terminate is a system message too.
        await system_call(to, leave, timeout=timeout)
    except ServerExited as error:
        if error.reason != reason:
            raise


def exit(to: Address, reason: ExitReason) -> None:
    """Send an exit signal; silent if nobody is there.

    `Killed()` ends the process at once, without `terminate`. Any other reason is an `Exit` message to
    a server that traps exits; one that does not ends with it, after `terminate`; `Normal()` from
    another process does nothing.

    Source: Erlang/OTP 25, erlang:exit/2; read 2026-11-24.
    """
    process = find(to)
    if process is None:
        return
    if isinstance(reason, Killed):
        process.kill()
        return
    sender = current_process.get()
    if sender is not None and sender is process.parent:
        process.parent_exit(reason)
    else:
        process.exit_signal(reason, sender.ref if sender is not None else None)


async def wait_down(to: Address) -> ExitReason:
    """Wait until the process has ended, from any Trio task, and return its reason.

    At once for a dead `Ref`, which remembers; `NoProcess()` for a name that nobody has.
    """
    ref = to if type(to) is Ref else to.whereis()
    if ref is None:
        await checkpoint()
        return NoProcess()
    if ref.process is None:
        await checkpoint()
    else:
        await ref.process.join()
    return ref.reason or NoProcess()
