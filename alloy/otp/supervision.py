"""The process of a supervisor: one loop that takes every decision, in order, and the nursery its children live in."""

from __future__ import annotations

import contextvars
import random
from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import attrs
import trio

from alloy.otp.address import Ref
from alloy.otp.child import Child, ChildSpec, make_server
from alloy.otp.deadlines import Parked
from alloy.otp.errors import ChildError, OtpError, RestartIntensityExceeded, ServerExited, StartFailed
from alloy.otp.events import ChildExited, GaveUp, Restarting
from alloy.otp.mailbox import NO_REPLY, ReplyTo
from alloy.otp.policy import Restart, RestartWindow, Strategy, ends_supervisor
from alloy.otp.process import Process
from alloy.otp.reasons import Crash, ExitReason, Ignore, NoProcess, Normal, Shutdown, Stop, error_of, why
from alloy.otp.reports import drop_frames, log_failed_restart, log_gave_up
from alloy.otp.server import Request, Server
from alloy.otp.stopping import stop_process

if TYPE_CHECKING:
    from alloy.otp.supervisor import Supervisor

T = TypeVar("T")


class Administration(Request[T]):
    """A request that a supervisor itself serves; no `handle_call` sees it."""

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> T:
        """Run in the supervisor's own task."""
        raise NotImplementedError


class Retry:
    """To the supervisor itself: try again to start a child, unless something else was done with it since."""

    __slots__ = ("child",)
    is_urgent = False

    def __init__(self, child: Child) -> None:
        self.child: Child = child

    async def act(self, process: Process) -> None:
        """Restart it; that is a decision like the first."""
        if self.child.retry is self:
            assert isinstance(process, SupervisorProcess)
            await process.restart(self.child)


class SupervisorProcess(Process):
    """The process of a `Supervisor`.

    Invariants: `children` is in start order; a child's `process` is set exactly while its task may
    run; nobody but this task changes either.
    """

    __slots__ = ("children", "context", "nest", "window")

    keeps_specs: ClassVar[bool] = True  # of children that ended for good, unless they are temporary

    def __init__(self, server: Server, child: Child, system: Any, parent: Process | None) -> None:
        super().__init__(server, child, system, parent)
        self.children: dict[Hashable, Child] = {}
        self.window: RestartWindow = RestartWindow(3, 5.0)  # the server's own, once its init has run
        self.nest: trio.Nursery | None = None

    @property
    def flags(self) -> Supervisor:
        """The server, which is what says how to supervise."""
        return cast("Supervisor", self.server)

    async def live(self) -> ExitReason:
        """As any process, with the children's nursery around both running and stopping."""
        self.context: contextvars.Context = contextvars.copy_context()  # what children start with, whoever causes it
        async with trio.open_nursery() as self.nest:
            reason = await super().live()
            # Nothing is left by now but what a failure of our own code left behind.
            self.nest.cancel_scope.cancel(reason="the supervisor has ended")
        return reason

    async def initialise(self) -> None:
        """The server's own init, then the children, one after the other."""
        await self.server.init()
        self.flags.validate()
        self.window = RestartWindow(self.flags.max_restarts, self.flags.max_seconds)
        for spec in self.flags.children:
            child = self.children[spec.id] = Child(spec, key=spec.id)
            try:
                await self.start(child)
            except Ignore:
                self.ended_for_good(child)

    async def wind_down(self, reason: ExitReason) -> None:
        """Stop the children, then let the server clean up."""
        await self.stop_all()
        await super().wind_down(reason)

    def finish(self, reason: ExitReason, *, escapes: bool = False) -> None:
        """As any process; mailboxes kept for children that will not come back are closed."""
        for child in self.children.values():
            self.close_mailbox(child, reason)
        super().finish(reason, escapes=escapes)

    async def handle_request(self, call: ReplyTo[Any]) -> object:
        """Administration is served here, anything else by the server."""
        if isinstance(call.request, Administration):
            try:
                return await call.request.serve(self, call)
            except (OtpError, TypeError, ValueError) as error:  # what the caller asked for cannot be done
                call.fail(error)
                return NO_REPLY
        return await super().handle_request(call)

    # Who is a child

    def admit(self, spec: ChildSpec) -> Child:
        """Make room for a new child.

        Raises:
            ChildError: there is none.
            ValueError: the spec does not fit.
        """
        self.flags.check_child(spec)
        if (known := self.children.get(spec.id)) is not None:
            if known.process is not None:
                raise ChildError("already_started", known.process.ref, id=spec.id)
            raise ChildError("already_present", id=spec.id)
        child = self.children[spec.id] = Child(spec, key=spec.id)
        return child

    def find(self, id: Hashable) -> Child:
        """The child with this id.

        Raises:
            ChildError: there is none.
        """
        if (child := self.children.get(id)) is None:
            raise ChildError("not_found", id=id)
        return child

    def find_to_stop(self, which: Hashable) -> Child:
        """The child that `terminate_child` means."""
        return self.find(which)

    # Starting

    async def start(self, child: Child) -> Ref:
        """Start a child and wait for its init.

        Raises:
            Ignore: init raised it.
            StartFailed: anything else that `start` or `init` raised is its cause.
        """
        child.cancel_retry()
        try:
            server = make_server(child.spec.start)
        except Exception as error:
            raise StartFailed(child.spec.id, why(error)) from error
        process = server.process_type(server, child, self.system, self)
        child.is_supervisor = isinstance(process, SupervisorProcess)
        child.shown = None
        if child.spec.keep_mailbox:
            child.mailbox = process.mailbox
        assert self.nest is not None
        child.process = process
        child.started_at = trio.current_time()
        process.nursery = self.nest
        process.starter = parked = Parked()
        self.context.run(self._spawn, process)
        self.wait_for(process.mailbox)
        try:
            if not await parked.wait(self.system.deadlines, child.spec.start_timeout):
                process.kill()
                await self._gone(process)
                process.failure = trio.TooSlowError(f"init took more than {child.spec.start_timeout:g} s")
        finally:
            self.wait_over()
        if process.running:
            child.last_ref = process.ref
            self.child_started(process.ref)
            if child.spec.restart is Restart.TEMPORARY:
                child.spec = attrs.evolve(child.spec, start=None)  # keep nothing of its arguments
                child.shown = None
            return process.ref
        child.process = None
        child.failed_ref = process.ref
        match process.failure:
            case Ignore() as ignore:
                raise ignore
            case None:
                cause: BaseException = ServerExited(process.ref, process.ref.reason or NoProcess())
            case cause:
                pass
        raise StartFailed(child.spec.id, why(cause)) from cause

    def _spawn(self, process: Process) -> None:
        assert self.nest is not None
        self.nest.start_soon(process.run, name=process.ref.label)

    async def _gone(self, process: Process) -> None:
        await stop_process(process, "brutal_kill", NoProcess())

    def child_started(self, ref: Ref) -> None:
        """A child is up, for the first time or again."""

    # Ends and restarts

    async def handle_exit(self, process: Process) -> None:
        """Decide about a child that ended by itself."""
        child = process.child
        if child.process is not process or process.ref.reason is None:
            return  # stopped or replaced while its signal was under way
        child.process = None
        reason = process.ref.reason
        if child.spec.restart.wants_after(reason):
            child.error = error_of(reason)
            await self.restart_later(child)
            return
        self.close_mailbox(child, reason)
        self.ended_for_good(child)
        if child.spec.significant:
            others = any(
                other.spec.significant and (other.process is not None or other.is_restarting)
                for other in self.children.values()
            )
            if ends_supervisor(self.flags.auto_shutdown, others):
                raise Stop(Shutdown())

    def ended_for_good(self, child: Child) -> None:
        """A child that will not be restarted is forgotten, or kept as stopped."""
        if not self.keeps_specs or child.spec.restart is Restart.TEMPORARY:
            self.forget(child)

    async def restart_later(self, child: Child) -> None:
        """Restart a child, after its back-off if there is one."""
        backoff = self.flags.backoff
        if backoff is None:
            await self.restart(child)
            return
        if trio.current_time() - child.started_at > self.flags.max_seconds:
            child.failures = 0
        child.failures += 1
        delay = backoff.delay(child.failures, random.random())
        retry = child.retry = Retry(child)
        child.timer = self.system.deadlines.after(delay, lambda: self.mailbox.signal(retry))
        self.system.emit(self, Restarting(child.spec.id, delay))

    async def restart(self, child: Child) -> None:
        """Restart a child, and its siblings as the strategy says; that counts as one.

        Raises:
            Stop: it would be one restart too many; the reason is a `Shutdown` with the cause.
        """
        flags = self.flags
        if not self.window.allows_one_at(trio.current_time()):
            self._give_up(child)
        if flags.backoff is None:
            self.system.emit(self, Restarting(child.spec.id, 0.0))
        group = [child]
        if flags.strategy is not Strategy.ONE_FOR_ONE:  # which need not look at ten thousand siblings
            group = [self.children[key] for key in flags.strategy.affected(tuple(self.children), child.key)]
        for member in reversed(group):
            await self.stop(member, for_good=False)
            if member.spec.restart is Restart.TEMPORARY:
                self.forget(member)
        for member in group:
            if member.key not in self.children:
                continue
            if not await self.start_again(member):
                return

    async def start_again(self, child: Child) -> bool:
        """Start a child in a restart. False: it failed, and another attempt is under way."""
        try:
            await self.start(child)
        except Ignore:
            self.ignored(child)
        except StartFailed as error:
            child.error = error.__cause__
            await self._try_again(child, error)
            return False
        child.restarts += 1
        return True

    def ignored(self, child: Child) -> None:
        """The init of a restarted child raised Ignore."""
        self.close_mailbox(child, Normal())
        self.ended_for_good(child)

    async def _try_again(self, child: Child, error: StartFailed) -> None:
        event = ChildExited(child.spec.id, child.failed_ref or self.ref, Crash(error.__cause__ or error))
        log_failed_restart(event, error)
        self.system.emit(self, event)
        drop_frames(error, self.ref.label)
        if self.flags.backoff is not None:
            await self.restart_later(child)
            return
        # Not at once but by a message of its own, so that it can be stopped or asked meanwhile.
        child.retry = Retry(child)
        self.mailbox.signal(child.retry)

    def _give_up(self, child: Child) -> None:
        flags = self.flags
        error = RestartIntensityExceeded(child.spec.id, flags.max_restarts, flags.max_seconds)
        error.__cause__ = child.error
        event = GaveUp(self.ref, child.spec.id)
        log_gave_up(event, flags.max_restarts, flags.max_seconds)
        self.system.emit(self, event)
        child.cancel_retry()
        raise Stop(Shutdown(cause=error))

    # Stopping

    async def stop(self, child: Child, *, for_good: bool = True) -> None:
        """Stop a child within its time, if it runs, and take a pending restart back."""
        child.cancel_retry()
        if (process := child.process) is not None:
            self.wait_for(process.mailbox)
            try:
                await stop_process(process, child.shutdown, Shutdown())
            finally:
                self.wait_over()
            child.process = None
        if for_good:
            self.close_mailbox(child, Shutdown())

    async def stop_all(self) -> None:
        """Stop the children, last started first."""
        for child in reversed(tuple(self.children.values())):
            await self.stop(child)

    def forget(self, child: Child) -> None:
        """Know a child no more."""
        self.close_mailbox(child, Shutdown())
        self.children.pop(child.key, None)

    def close_mailbox(self, child: Child, reason: ExitReason) -> None:
        """Nobody will read what was kept for the next incarnation."""
        mailbox, child.mailbox = child.mailbox, None
        if mailbox is not None and not mailbox.closed:
            mailbox.close(mailbox.owner.ref, reason)

    def living_children(self) -> Iterable[Process]:
        """Those whose task may run, in start order."""
        return [child.process for child in self.children.values() if child.process is not None]
