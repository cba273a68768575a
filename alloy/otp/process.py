"""A process: one Trio task whose outermost frame is ours, so that how it ends is a value.

    kill scope ── (a supervisor: nursery of the children) ─┬─ run scope: init, then one message after another
                                                           └─ terminate, then the exit path

Shutdown cancels the run scope; `terminate` runs outside of it, so it may await as long as it has time, and
killing, which cancels the outer scope, still reaches it. Only KeyboardInterrupt and SystemExit leave.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import attrs
import trio
from trio.lowlevel import Task, current_task, enable_ki_protection

from alloy.errors import unwrap
from alloy.otp.address import Ref
from alloy.otp.context import current_process, forget, restore
from alloy.otp.deadlines import Parked
from alloy.otp.events import ChildStarted
from alloy.otp.exit_path import walk_exit_path
from alloy.otp.helpers import Helpers, is_cancellation
from alloy.otp.mailbox import NO_REPLY, Cast, Envelope, Info, Mailbox, ReplyTo
from alloy.otp.reasons import UNSET, Crash, ExitReason, Ignore, Killed, Normal, Shutdown, Stop, is_abnormal
from alloy.otp.signals import Exit, Notice, ParentStop

if TYPE_CHECKING:
    from alloy.otp.child import Child
    from alloy.otp.links import Monitor
    from alloy.otp.policy import ShutdownPolicy
    from alloy.otp.server import Server
    from alloy.otp.system import System

Hook: TypeAlias = Callable[[str, object], None]


class Holding(Protocol):
    """Whatever a process is entered in under its name: a registry, the topics of a PubSub."""

    def release(self, process: Process) -> None:
        """Strike the process out; it is dead."""
        ...


class Waker(Protocol):
    """Whoever waits for the end of a process."""

    def wake(self) -> None:
        """It has ended."""
        ...


@attrs.define(eq=False, repr=False)
class Process:
    """One incarnation of a server: its task, its mailbox, and all that hangs on its life."""

    server: Server
    child: Child
    system: System
    parent: Process | None
    ref: Ref = attrs.field(init=False)
    mailbox: Mailbox = attrs.field(init=False)
    kill_scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    run_scope: trio.CancelScope = attrs.field(init=False, factory=trio.CancelScope)
    task: Task | None = attrs.field(init=False, default=None)
    # The nursery its task is in, for its helpers.
    nursery: trio.Nursery | None = attrs.field(init=False, default=None)
    # Who waits for init, and what that raised.
    starter: Parked | None = attrs.field(init=False, default=None)
    failure: BaseException | None = attrs.field(init=False, default=None)
    # Init is done; stays true to the end.
    running: bool = attrs.field(init=False, default=False)
    # Why the run scope was cancelled; how the supervisor is stopping it.
    requested: ExitReason | None = attrs.field(init=False, default=None)
    stopping: ShutdownPolicy | None = attrs.field(init=False, default=None)
    # A reply that waits for terminate.
    parting: tuple[ReplyTo[Any], object] | None = attrs.field(init=False, default=None)
    # What a handler has, or had when it failed.
    current: Envelope | None = attrs.field(init=False, default=None)
    # Whom the main task waits for.
    waiting_on: Mailbox | tuple[Mailbox, ...] | None = attrs.field(init=False, default=None)
    suspended: bool = attrs.field(init=False, default=False)

    def wait_for(self, others: Mailbox | tuple[Mailbox, ...]) -> None:
        """The main task waits for these from now on."""
        self.waiting_on = others

    def wait_over(self) -> None:
        """The main task waits for nobody any more."""
        self.waiting_on = None

    # The loop must look at `requested` and `suspended`.
    attention: bool = attrs.field(init=False, default=False)
    # The rest is rarely used, and made when it is.
    idle: tuple[float, object] | None = attrs.field(init=False, default=None)
    continuations: deque[object] | None = attrs.field(init=False, default=None)
    hook: Hook | None = attrs.field(init=False, default=None)
    helpers: Helpers | None = attrs.field(init=False, default=None)
    # Who waits for the end; monitors on this process, and of this process on others.
    joiners: dict[Waker, None] | None = attrs.field(init=False, default=None)
    monitors: dict[Monitor, None] | None = attrs.field(init=False, default=None)
    monitoring: dict[Monitor, None] | None = attrs.field(init=False, default=None)
    links: dict[Process, None] | None = attrs.field(init=False, default=None)
    holdings: dict[Holding, None] | None = attrs.field(init=False, default=None)

    def __attrs_post_init__(self) -> None:
        self.ref = Ref(str(self.child.spec.id), self)
        self.mailbox = self.child.mailbox or Mailbox(self.child.spec.mailbox, self)
        self.mailbox.owner = self

    # The frame

    @enable_ki_protection
    async def run(self) -> None:
        """Live and die: the outermost frame of the task."""
        self.task = current_task()
        current_process.set(self)
        reason: ExitReason = Killed()
        escapes = False
        try:
            with self.kill_scope:
                reason = await self.live()
        except BaseException as caught:
            error = unwrap(caught)
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                reason, escapes = Crash(error), True
                raise
            # Nothing but cancellation: swallowed, which is legal in the last frame of a task.
            if not is_cancellation(error):
                reason = Crash(error)
        finally:
            try:
                if self.helpers is not None:
                    with trio.CancelScope(shield=True):  # no deadline: a helper must not outlive its process
                        await self.helpers.end()
            finally:
                self.finish(reason, escapes=escapes)

    async def live(self) -> ExitReason:
        """Run, then clean up; the answer is why it ended."""
        reason: ExitReason
        try:
            with self.run_scope:
                await self.initialise()
                if self.kill_scope.cancel_called:
                    await trio.lowlevel.checkpoint_if_cancelled()  # init had shielded itself
                self._report_running()
                await self.serve()
            reason = (self.requested or Shutdown()) if self.run_scope.cancelled_caught else Normal()
        except BaseException as caught:
            reason = self._reason_for(unwrap(caught))
        if self.helpers is not None:
            await self.helpers.end(in_order=not is_abnormal(reason))
            if self.helpers.crash is not None and not is_abnormal(reason):
                reason = self.helpers.crash  # of one that failed while it was being stopped
        if trio.current_effective_deadline() == -math.inf:  # killed, or a supervisor further up is
            return reason if isinstance(reason, Crash) else Killed()
        try:
            await self.wind_down(reason)
        except Exception as caught:
            error = unwrap(caught)
            reason = error.reason if isinstance(error, Stop) else Crash(error)
        return reason

    def _reason_for(self, error: BaseException) -> ExitReason:
        if isinstance(error, (KeyboardInterrupt, SystemExit)) or is_cancellation(error):
            raise error
        if not self.running:
            self.failure = error
        match error:
            case Stop(reason=reason, reply=reply):
                if isinstance(self.current, ReplyTo) and reply is not UNSET:
                    self.parting = (self.current, reply)
                if not isinstance(reason, Crash):
                    self.current = None  # it was handled
                return reason
            case Ignore() if not self.running:
                return Normal()
            case _:
                return Crash(error)

    def _report_running(self) -> None:
        self.running = True
        if self.starter is not None:
            self.starter.wake()
            self.starter = None
        self.system.emit(self, ChildStarted(self.child.spec.id, self.ref))

    def finish(self, reason: ExitReason, *, escapes: bool = False) -> None:
        """Be dead, and let everybody know; with `escapes`, an exception is on its way that ends the program."""
        walk_exit_path(self, reason, escapes=escapes)

    # What supervisors do otherwise

    async def initialise(self) -> None:
        """What the starter waits for."""
        await self.server.init()

    async def wind_down(self, reason: ExitReason) -> None:
        """What is still done once nothing is received any more."""
        if self.running:
            await self.server.terminate(reason)

    def handle_request(self, call: ReplyTo[Any]) -> Awaitable[object]:
        """Answer a call; NO_REPLY where somebody else will."""
        return self.server.handle_call(call.request, call)

    async def handle_exit(self, process: Process) -> None:
        """A child has ended."""

    def living_children(self) -> Iterable[Process]:
        """The processes directly under this one."""
        return ()

    # The loop

    async def serve(self) -> None:
        """Handle one message after another, with a checkpoint before each, or before each `batch` of them."""
        mailbox = self.mailbox
        receive = mailbox.outlet.receive
        batch = self.child.spec.batch
        at_once = 0  # how many more without a checkpoint
        if self.continuations:
            await self._continue()
        while True:
            if mailbox.held or self.idle is not None:
                envelope = await self._next()
            elif at_once and (queued := self._queued()) is not None:
                envelope = queued
                at_once -= 1
            else:
                envelope = await receive()
                at_once = batch - 1
            if self.attention and not await self._admits(envelope):
                continue
            kind = type(envelope)
            if kind is ReplyTo:
                if mailbox.waiting:
                    mailbox.taken()
                else:
                    mailbox.size -= 1
                await self._answer(envelope)  # type: ignore[arg-type]  # its type was looked at
            elif kind is Cast:
                mailbox.taken()
                await self.hand_over(envelope, self.server.handle_cast)  # type: ignore[arg-type]  # as above
            elif kind is Info:
                mailbox.taken()
                await self.hand_over(envelope, self.server.handle_info)  # type: ignore[arg-type]  # as above
            else:
                await envelope.act(self)  # type: ignore[union-attr]  # as above

    def _queued(self) -> Envelope | None:
        try:
            return self.mailbox.outlet.receive_nowait()
        except trio.WouldBlock:
            return None

    async def _next(self) -> Envelope:
        held = self.mailbox.held
        if held and not self.suspended:
            await trio.lowlevel.checkpoint()
            return held.popleft()  # after the last checkpoint, so that no cancel can lose it
        if self.idle is None or self.suspended:
            return await self.mailbox.outlet.receive()
        await trio.lowlevel.checkpoint()
        if (queued := self._queued()) is not None:
            return queued  # whatever the time is: it came first
        deadline, message = self.idle
        with trio.move_on_at(deadline):
            return await self.mailbox.outlet.receive()  # may arrive in the tick of the deadline: then it counts
        self.idle = None
        return Notice(message)

    async def _admits(self, envelope: Envelope) -> bool:
        """Whether to act on it now; else it is put back, or aside, in order."""
        if self.suspended:
            if getattr(envelope, "is_urgent", False):
                return True
            self.mailbox.hold(envelope)
            return False
        if self.requested is not None or self.kill_scope.cancel_called:
            # Received in the tick of the cancel. Beginning it would lose it at its first checkpoint.
            held = self.mailbox.held = self.mailbox.held or deque()
            held.appendleft(envelope)
            await trio.lowlevel.checkpoint_if_cancelled()
        return True

    async def _answer(self, call: ReplyTo[Any]) -> None:
        if call.task is None:
            return  # the caller gave up; the work would be for nobody
        self.current = call
        self.idle = None
        if self.hook is not None:
            self.trace("in", call.request)
        tokens = restore(call.carried) if call.carried is not None else None
        try:
            value = await self.handle_request(call)
            if value is not NO_REPLY:
                call.reply(value)
                if self.hook is not None:
                    self.trace("out", value)
            elif call.caller is not None:
                # Who answers now is anybody's guess, so the caller no longer waits for this loop.
                call.caller.waiting_on = None
            if self.continuations:
                await self._continue()
        finally:
            if tokens is not None:
                forget(tokens)
        self.current = None

    async def hand_over(self, envelope: Cast | Info | Notice, handler: Callable[[Any], Awaitable[None]]) -> None:
        """Run a handler that answers nothing, and what it asked to go on with."""
        self.current = envelope
        self.idle = None
        if self.hook is not None:
            self.trace("in", envelope.message)
        carried = getattr(envelope, "carried", None)
        tokens = restore(carried) if carried is not None else None
        try:
            await handler(envelope.message)
            if self.continuations:
                await self._continue()
        finally:
            if tokens is not None:
                forget(tokens)
        self.current = None

    async def _continue(self) -> None:
        while self.continuations:
            await self.server.handle_continue(self.continuations.popleft())

    def trace(self, direction: str, message: object) -> None:
        """Tell the trace hook; one that raises is logged and removed."""
        if self.hook is not None:
            try:
                self.hook(direction, message)
            except Exception:
                self.hook = None
                self.system.logger.exception("trace hook of %r removed: it raised", self.ref.label)

    # What ends it

    def exit_signal(self, reason: ExitReason, sender: Ref | None) -> None:
        """A linked peer died, or somebody called `exit` with anything but Killed."""
        if not self.ref.alive:
            return
        if self.server.trap_exit:
            self.mailbox.signal(Notice(Exit(sender, reason)))
        elif not isinstance(reason, Normal) or sender is self.ref:
            self.interrupt(reason)

    def interrupt(self, reason: ExitReason) -> None:
        """Cut the running part; `terminate` follows. The first reason counts."""
        if self.requested is None:
            self.requested = reason
        self.attention = True
        self.run_scope.cancel(reason=repr(reason))

    def shut_down(self, reason: ExitReason, policy: ShutdownPolicy) -> None:
        """The supervisor wants it to stop: at once, or when it has done what is queued if it traps exits."""
        self.stopping = policy
        self.parent_exit(reason)

    def parent_exit(self, reason: ExitReason) -> None:
        """An exit signal of the supervisor: to a server that traps exits it is the end, but in turn."""
        if not self.ref.alive:
            return
        if self.running and self.server.trap_exit:
            self.mailbox.signal(ParentStop(reason))
        else:
            self.interrupt(reason)

    def kill(self) -> None:
        """End it without `terminate`. It cannot be forced; while it goes on, that is reported."""
        if self.ref.alive and not self.kill_scope.cancel_called:
            self.attention = True
            self.kill_scope.cancel(reason="killed")
            self.system.report_stuck(self)

    @enable_ki_protection
    async def join(self, seconds: float = float("inf")) -> bool:
        """Block until it is dead; False if `seconds` went by before."""
        if not self.ref.alive:
            await trio.lowlevel.checkpoint()
            return True
        parked = Parked()
        self.notify(parked)
        try:
            return await parked.wait(self.system.deadlines, seconds) or not self.ref.alive
        finally:
            self.ignore(parked)

    def notify(self, waker: Waker) -> None:
        """Wake `waker` when it ends."""
        if self.joiners is None:
            self.joiners = {}
        self.joiners[waker] = None

    def ignore(self, waker: Waker) -> None:
        """Do not wake it any more."""
        if self.joiners is not None:
            self.joiners.pop(waker, None)

    # What it is tied to

    def unlink(self, peer: Process) -> None:
        """Forget a link, on this side."""
        if self.links is not None:
            self.links.pop(peer, None)

    def enter(self, holding: Holding) -> None:
        """Remember to be struck out of `holding`."""
        if self.holdings is None:
            self.holdings = {}
        self.holdings[holding] = None
