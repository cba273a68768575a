"""What waits for a process, in one order: mail, which is bounded, and signals, which never are.

The queue is a Trio memory channel without a bound; a gate in front of it bounds the mail. Thus a full
mailbox refuses no signal, and "a message before the Down of its sender" holds.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeAlias, TypeVar

import trio
from trio.lowlevel import Abort, Task, current_task, enable_ki_protection, reschedule, wait_task_rescheduled

from alloy.otp.context import Carried, marked, snapshot
from alloy.otp.errors import CallTimeout, MailboxFull, ServerExited
from alloy.otp.reasons import ExitReason, error_of

if TYPE_CHECKING:
    from alloy.otp.address import Ref
    from alloy.otp.draining import Drain
    from alloy.otp.process import Process

T = TypeVar("T")


class NoReply:
    """The type of `NO_REPLY`."""

    def __repr__(self) -> str:
        return "NO_REPLY"


NO_REPLY: Any = NoReply()


class ReplyTo(Generic[T]):
    """One call, until it is answered: hand it to anybody, who replies at most once.

    It is the caller's parked task, registered at the target; the first of a reply, the target's end,
    the deadline and the caller's cancellation takes it away, and the others come too late.
    """

    __slots__ = ("caller", "carried", "error", "mailbox", "on_withdraw", "ref", "request", "task", "value")

    def __init__(self, request: Any, mailbox: Mailbox, ref: Ref, caller: Process | None = None) -> None:
        self.task: Task | None = current_task()
        self.request: Any = request
        self.carried: Carried | None = snapshot() if marked else None
        self.mailbox: Mailbox = mailbox
        self.ref: Ref = ref
        self.caller: Process | None = caller  # whose loop waits for it, if any does
        self.value: Any = None
        self.error: BaseException | None = None
        self.on_withdraw: Callable[[], object] | None = None

    def reply(self, value: T) -> bool:
        """Answer the call. False: the caller is gone or was answered, and `value` is dropped."""
        task, self.task = self.task, None
        if task is None:
            return False
        self.value = value
        mailbox = self.mailbox
        mailbox.pending.discard(self)
        if mailbox.drain is not None:
            mailbox.drain.progress()
        reschedule(task)
        return True

    def fail(self, exc: Exception) -> bool:
        """Raise `exc` in the caller; this server lives on. False as for `reply`."""
        if self.task is None:
            return False
        self.error = exc
        return self.reply(None)  # type: ignore[arg-type]  # the error is what counts

    @property
    def is_live(self) -> bool:
        """Whether the caller still waits."""
        return self.task is not None

    def expire(self) -> None:
        """The time of the call is over."""
        self.fail(CallTimeout(f"{self.ref.label!r} did not answer in time: {self.request!r}"))
        self._withdraw()

    def owner_ended(self, ref: Ref, reason: ExitReason) -> None:
        """The target is dead; the caller hears why."""
        error = ServerExited(ref, reason)
        error.__cause__ = error_of(reason)
        self.fail(error)

    def outcome(self) -> T:
        """The reply, for the caller, once it goes on; raises what `fail` was given."""
        if self.error is None:
            value: T = self.value
            self.value = None  # the deadline may know this call for a while yet
            return value
        error, self.error = self.error, None
        try:
            raise error
        finally:
            del error  # else it and this frame would keep each other

    def abort(self, _: Callable[[], Any]) -> Abort:
        """The caller was cancelled: withdraw the request."""
        self.task = None
        self.mailbox.pending.discard(self)
        if self.mailbox.drain is not None:
            self.mailbox.drain.progress()
        self._withdraw()
        return Abort.SUCCEEDED

    def _withdraw(self) -> None:
        self.mailbox.forget(self)
        if self.on_withdraw is not None:
            self.on_withdraw()


class Cast:
    """A message for `handle_cast`."""

    __slots__ = ("carried", "crashes", "message")

    def __init__(self, message: object) -> None:
        self.message: object = message
        self.carried: Carried | None = snapshot() if marked else None
        self.crashes: int = 0  # how many incarnations it has ended


class Info:
    """A message for `handle_info`."""

    __slots__ = ("carried", "crashes", "message")

    def __init__(self, message: object, carried: Carried | None = None) -> None:
        self.message: object = message
        self.carried: Carried | None = carried
        self.crashes: int = 0


class Signal(Protocol):
    """What the loop of a process acts on itself; no mail, so neither counted nor bounded."""

    @property
    def is_urgent(self) -> bool:
        """Whether a suspended process acts on it."""
        ...

    async def act(self, process: Process) -> None:
        """Run in the process's own task, between two messages."""
        ...


Mail: TypeAlias = ReplyTo[Any] | Cast | Info
Envelope: TypeAlias = Mail | Signal


class Room:
    """A task that waits until its message fits."""

    __slots__ = ("envelope", "task")

    def __init__(self, envelope: Cast) -> None:
        self.envelope: Cast = envelope
        self.task: Task = current_task()


class Mailbox:
    """The one queue of a process, and the calls that wait for it.

    Attributes:
        owner: the process that reads it; the next incarnation, where the mailbox is kept.
        size: how much mail is inside, `held` included; at most `capacity`.
        held: what comes before the channel: set aside while suspended, or left by the last incarnation.
    """

    __slots__ = ("capacity", "closed", "drain", "held", "inlet", "outlet", "owner", "pending", "size", "waiting")

    def __init__(self, capacity: int, owner: Process) -> None:
        # Unbounded, because signals must always fit; `size` bounds the mail.
        self.inlet: trio.MemorySendChannel[Envelope]
        self.outlet: trio.MemoryReceiveChannel[Envelope]
        self.inlet, self.outlet = trio.open_memory_channel[Envelope](float("inf"))
        self.capacity: int = capacity
        self.owner: Process = owner
        self.size: int = 0
        self.held: deque[Envelope] | None = None
        self.pending: set[ReplyTo[Any]] = set()
        self.closed: bool = False
        self.drain: Drain | None = None
        # Senders for whom there is no room, in the order they came.
        self.waiting: OrderedDict[ReplyTo[Any] | Room, None] | None = None

    @property
    def has_room(self) -> bool:
        """Whether mail sent now would be taken at once."""
        return self.size < self.capacity and not self.waiting

    def signal(self, signal: Signal) -> None:
        """Queue a signal; nothing if the process is dead."""
        if not self.closed:
            self.inlet.send_nowait(signal)

    def post(self, mail: Mail) -> None:
        """Queue mail at once.

        Raises:
            MailboxFull: there is no room.
        """
        if self.closed:
            return
        if self.size >= self.capacity or self.waiting:
            raise MailboxFull(
                f"the mailbox of {self.owner.ref.label!r} holds its {self.capacity} messages; "
                "use cast, which waits for room, or a larger ChildSpec(mailbox=…)"
            )
        self.size += 1
        self.inlet.send_nowait(mail)

    def request(self, call: ReplyTo[Any]) -> None:
        """Queue a call, or let it wait for room: its task parks either way."""
        self.pending.add(call)
        if self.size < self.capacity and not self.waiting:
            self.size += 1
            self.inlet.send_nowait(call)
        else:
            self._wait(call)

    def ask(self, call: ReplyTo[Any], signal: Signal) -> None:
        """Queue a signal that answers `call`."""
        self.pending.add(call)
        self.inlet.send_nowait(signal)

    @enable_ki_protection
    async def wait_room(self, cast: Cast) -> None:
        """Block until `cast` is queued, or the process is dead; cancelled, it is in no queue."""
        room = Room(cast)
        self._wait(room)

        def abort(_: Callable[[], Any]) -> Abort:
            self.forget(room)
            return Abort.SUCCEEDED

        await wait_task_rescheduled(abort)

    def taken(self) -> None:
        """One piece of mail has left the queue: let the next sender in."""
        self.size -= 1
        if self.waiting:
            waiting, _ = self.waiting.popitem(last=False)
            self.size += 1
            if isinstance(waiting, Room):
                self.inlet.send_nowait(waiting.envelope)
                reschedule(waiting.task)
            else:
                self.inlet.send_nowait(waiting)

    def forget(self, waiting: ReplyTo[Any] | Room) -> None:
        """A sender gave up waiting for room; nothing if it did not wait."""
        if self.waiting:
            self.waiting.pop(waiting, None)

    def hold(self, envelope: Envelope) -> None:
        """Set aside what was received, behind what was set aside before."""
        if self.held is None:
            self.held = deque()
        self.held.append(envelope)

    def _wait(self, waiting: ReplyTo[Any] | Room) -> None:
        if self.waiting is None:
            self.waiting = OrderedDict()
        self.waiting[waiting] = None

    def close(self, ref: Ref, reason: ExitReason) -> None:
        """End it: casts that wait for room return, every caller hears why."""
        self.closed = True
        self.inlet.close()
        self.outlet.close()
        self.held = None
        waiting, self.waiting = self.waiting, None
        for sender in waiting or ():
            if isinstance(sender, Room):
                reschedule(sender.task)
        for call in tuple(self.pending):
            call.owner_ended(ref, reason)

    def keep(self, in_flight: Envelope | None, ref: Ref, reason: ExitReason) -> None:
        """Make it ready for the next incarnation: mail stays, in order, `in_flight` first.

        Signals were for the dead one. A call that a handler had taken hears of the end.
        """
        rest = [*(self.held or ())]
        while True:
            try:
                rest.append(self.outlet.receive_nowait())
            except trio.WouldBlock:
                break
        self.held = deque(item for item in rest if isinstance(item, (ReplyTo, Cast, Info)))
        if isinstance(in_flight, (Cast, Info)):
            self.held.appendleft(in_flight)
            self.size += 1
        kept = {item for item in self.held if isinstance(item, ReplyTo)}
        for call in tuple(self.pending):
            if call not in kept and call not in (self.waiting or ()):
                call.owner_ended(ref, reason)
