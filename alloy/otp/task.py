"""Tasks: one function each, run as a supervised process, with a result that can be waited for.

Source: Elixir 1.21, Task and Task.Supervisor; read 2026-11-24.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Generic, TypeVar, cast

import attrs
import trio

from alloy.otp.address import Ref
from alloy.otp.administration import start_child
from alloy.otp.child import ChildSpec, name_of
from alloy.otp.context import Carried, here, restore, snapshot
from alloy.otp.dynamic import DynamicProcess, DynamicSupervisor
from alloy.otp.errors import CallTimeout, ServerExited, StartFailed
from alloy.otp.links import link as link_with
from alloy.otp.policy import Restart, ShutdownPolicy, check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import UNSET, Crash, ExitReason, Killed, Shutdown, Unset, error_of
from alloy.otp.server import Server
from alloy.otp.stopping import stop_process
from alloy.otp.stream import OnTimeout, Streaming

T = TypeVar("T")
A = TypeVar("A")


class TaskProcess(Process):
    """A process that runs one function instead of a loop; messages to it are read by nobody."""

    __slots__ = ()

    async def initialise(self) -> None:
        """Tie it to its owner, if that is wanted, before it can fail."""
        owner = cast("TaskServer", self.server).owner
        if owner is not None:
            link_with(owner)

    async def serve(self) -> None:
        """Run the function; returning is the normal end."""
        server = cast("TaskServer", self.server)
        args, server.args = server.args, ()
        if server.carried is not None:
            restore(server.carried)
        server.result = await server.fn(*args)


class TaskServer(Server):
    """What a `Task` runs."""

    process_type: ClassVar[type[Process]] = TaskProcess

    def __init__(self, fn: Callable[..., Awaitable[Any]], args: tuple[object, ...], owner: Ref | None) -> None:
        self.fn = fn
        self.owner = owner  # whom it is linked with
        self.args = args
        self.carried: Carried | None = snapshot()
        self.result: Any = UNSET

    def format_status(self) -> object:
        """The function, without its arguments."""
        return self.fn


class Task(Generic[T]):
    """A function under way, or done.

    Attributes:
        ref: its process.
    """

    def __init__(self, ref: Ref, server: TaskServer) -> None:
        self.ref = ref
        self._server: TaskServer | None = server

    def __repr__(self) -> str:
        return f"<Task {self.ref!r}>"

    async def wait(self, timeout: float | None = 5.0) -> T:  # noqa: ASYNC109  # as `call`
        """Wait for the result; the same again if asked again.

        Raises:
            CallTimeout: not done in time. It goes on; wait again, or `shutdown`.
            ServerExited: it ended without a result; its error is the cause.
            RuntimeError: the task is ignored.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        if self._server is None:
            raise RuntimeError(f"{self!r} is ignored; its result was given up")
        process = self.ref.process
        if process is None:
            await trio.lowlevel.checkpoint()
        elif not await process.join(math.inf if timeout is None else timeout):
            raise CallTimeout(f"task {self.ref.label!r} is not done after {timeout} s")
        if isinstance(self._server.result, Unset):
            raise self._exited()
        result: T = self._server.result
        return result

    async def shutdown(self, policy: ShutdownPolicy = 5.0) -> T | None:
        """Stop the task and wait for its end; its result if it had one, None if it was stopped.

        Args:
            policy: seconds it may take before it is killed, or "brutal_kill".

        Raises:
            ServerExited: it failed, or had to be killed because its time ran out.
        """
        if policy != "brutal_kill":
            check_seconds("policy", policy)
        process = self.ref.process
        if process is None:
            await trio.lowlevel.checkpoint()
        else:
            await stop_process(process, policy, Shutdown())
        if self._server is not None and not isinstance(self._server.result, Unset):
            result: T = self._server.result
            return result
        reason = self.ref.reason
        if isinstance(reason, Shutdown) or (policy == "brutal_kill" and isinstance(reason, Killed)):
            return None
        raise self._exited()

    def ignore(self) -> None:
        """Give up the result; the task goes on."""
        self._server = None

    def outcome(self) -> T | Crash:
        """How a task that has ended did so, for streams."""
        if self._server is not None and not isinstance(self._server.result, Unset):
            result: T = self._server.result
            return result
        reason = self.ref.reason
        return reason if isinstance(reason, Crash) else Crash(self._exited())

    def _exited(self) -> ServerExited:
        reason: ExitReason = self.ref.reason or Killed()
        error = ServerExited(self.ref, reason)
        error.__cause__ = error_of(reason)
        return error


class TaskSupervisorProcess(DynamicProcess):
    """The process of a `TaskSupervisor`."""

    __slots__ = ()

    async def initialise(self) -> None:
        """Let the instance know where it runs, so that its methods can be called."""
        cast("TaskSupervisor", self.server)._ref = self.ref
        await super().initialise()


@attrs.define(kw_only=True, eq=False)
class TaskSupervisor(DynamicSupervisor):
    """A dynamic supervisor of tasks. Its methods work once it runs, from any Trio task."""

    process_type: ClassVar[type[Process]] = TaskSupervisorProcess

    _ref: Ref | None = attrs.field(default=None, init=False, repr=False)

    async def start(self, fn: Callable[..., Awaitable[T]], *args: object, link: bool = False) -> Task[T]:
        """Run `fn(*args)` as a temporary child, with the marked ContextVars of the caller.

        Args:
            fn: an async function.
            *args: what it is called with.
            link: tie the task to the calling process: an abnormal end of either ends the other.

        Raises:
            ChildError: "max_children".
            ServerExited: this supervisor does not run.
            RuntimeError: `link` outside of a process.
        """
        owner = here("start(…, link=False)").ref if link else None
        return await self._start(fn, args, owner)

    async def _start(self, fn: Callable[..., Awaitable[T]], args: tuple[object, ...], owner: Ref | None) -> Task[T]:
        if self._ref is None:
            raise RuntimeError(f"this {type(self).__name__} does not run; put it under a supervisor or open_system")
        server = TaskServer(fn, args, owner)
        ref = await start_child(
            self._ref, ChildSpec(start=lambda: server, id=name_of(fn), restart=Restart.TEMPORARY, mailbox=1)
        )
        if ref is None:
            raise StartFailed(name_of(fn))
        return Task(ref, server)

    @asynccontextmanager
    async def stream(
        self,
        fn: Callable[[A], Awaitable[T]],
        items: Iterable[A],
        *,
        max_concurrency: int = 8,
        ordered: bool = True,
        timeout: float | None = 5.0,  # noqa: ASYNC109  # of each item
        on_timeout: OnTimeout = "exit",
        link: bool = True,
        window: int | None = None,
    ) -> AsyncIterator[AsyncIterator[T | Crash]]:
        """Iterate over `fn(item)` of each item, each in a task of its own; leaving the block kills the rest.

        Items are taken from `items` as tasks are started, and tasks are started while the reader waits.

        Args:
            fn: an async function of one item.
            items: taken one by one; an error in it is raised in the reader.
            max_concurrency: how many tasks may run at a time.
            ordered: whether results come in the order of the items, or as they are done.
            timeout: seconds for each item, from its start; None for no limit.
            on_timeout: an item over its limit raises `CallTimeout` in the reader ("exit"), or is
                `Crash(CallTimeout)` and its task is killed ("kill_task").
            link: whether an item that fails ends the calling process, which must be one, too.
                Without, it is a `Crash` among the results.
            window: how many items may be started and not yet read; the bound of what waits behind a
                slow head in order. None is no bound, as in Elixir.

        Raises:
            CallTimeout: see `on_timeout`.
            ChildError: "max_children".
        """
        owner = here("stream(…, link=False)").ref if link else None

        async def start(item: A) -> Task[T]:
            return await self._start(fn, (item,), owner)

        streaming = Streaming(
            start,
            iter(items),
            max_concurrency=max_concurrency,
            ordered=ordered,
            timeout=timeout,
            on_timeout=on_timeout,
            window=window,
        )
        try:
            yield streaming
        finally:
            await streaming.close()
