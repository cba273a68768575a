"""What a supervisor is told about a child, and what it keeps of one."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any, Literal

import attrs

from alloy.otp.address import Ref
from alloy.otp.deadlines import Timer
from alloy.otp.mailbox import Mailbox
from alloy.otp.policy import Restart, ShutdownPolicy, check_seconds
from alloy.otp.server import Server

if TYPE_CHECKING:
    from alloy.otp.process import Process


def as_restart(value: Restart | str) -> Restart:
    """The enum of its name."""
    try:
        return Restart(value)
    except ValueError:
        raise ValueError(f"restart must be one of {', '.join(map(repr, map(str, Restart)))}, got {value!r}") from None


def check_count(name: str, value: object, least: int) -> None:
    """Refuse what is no whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, got {value!r}")
    if value < least:
        raise ValueError(f"{name} must be {least} or more, got {value!r}")


@attrs.frozen(kw_only=True)
class ChildSpec:
    """How to start, restart and stop one child.

    Attributes:
        start: makes a fresh `Server` for each incarnation; a class will do. None only in what a
            supervisor shows of a temporary child, whose arguments it does not keep.
        id: unique among the children of a static supervisor; None is the name of `start`.
        restart: when it is started again.
        shutdown: seconds it may take to stop before it is killed; `math.inf` waits for ever,
            "brutal_kill" kills at once. None is 5.0, for supervisors `math.inf`.
        significant: whether its end may end the supervisor (`Supervisor.auto_shutdown`).
        mailbox: how many messages may wait; signals are not counted.
        start_timeout: seconds that `init` may take before it is killed.
        keep_mailbox: whether messages that wait outlive a restart. The call in flight fails; a cast or
            other message in flight is tried again by the next incarnation.
        batch: how many messages it may handle without a checkpoint between them. More than 1 makes a busy
            server faster and everybody else wait longer.
        poison_limit: how many incarnations one message may end before it is dropped, with a report.
    """

    start: Callable[[], Server] | None
    id: Hashable = None
    restart: Restart = attrs.field(default=Restart.PERMANENT, converter=as_restart)
    shutdown: ShutdownPolicy | None = None
    significant: bool = False
    mailbox: int = 1024
    start_timeout: float = math.inf
    keep_mailbox: bool = False
    poison_limit: int = 2
    batch: int = 1

    def __attrs_post_init__(self) -> None:
        if self.start is not None and not callable(self.start):
            raise TypeError(f"start must be callable and return a Server, got {self.start!r}")
        if self.id is None:
            object.__setattr__(self, "id", name_of(self.start))
        try:
            hash(self.id)
        except TypeError:
            raise TypeError(f"id must be hashable, got {self.id!r}") from None
        if isinstance(self.shutdown, str):
            if self.shutdown != "brutal_kill":
                raise ValueError(f"shutdown must be seconds or 'brutal_kill', got {self.shutdown!r}")
        elif self.shutdown is not None:
            check_seconds("shutdown", self.shutdown)
        if self.significant and self.restart is Restart.PERMANENT:
            raise ValueError("significant must be False for a permanent child: it never ends by itself for good")
        check_count("mailbox", self.mailbox, 1)
        check_count("poison_limit", self.poison_limit, 1)
        check_count("batch", self.batch, 1)
        check_seconds("start_timeout", self.start_timeout)


def name_of(start: Any) -> str:
    """What a child is called whose spec has no id."""
    while isinstance(start, functools.partial):
        start = start.func
    name = getattr(start, "__name__", None)
    return name if isinstance(name, str) else type(start).__name__


@attrs.frozen
class ChildInfo:
    """One child as its supervisor sees it; `ref` is None while it is stopped."""

    id: Hashable
    ref: Ref | Literal["restarting"] | None
    spec: ChildSpec


@attrs.frozen
class Counts:
    """How many children a supervisor has.

    Attributes:
        specs: all it knows.
        active: those that run.
        supervisors: the supervisors among the specs, running or not.
        workers: the others.
    """

    specs: int
    active: int
    supervisors: int
    workers: int


@attrs.define(eq=False)
class Child:
    """A child of a supervisor through all its incarnations.

    Attributes:
        key: what the supervisor finds it by: its id, or for a dynamic one nothing that users see.
        process: the incarnation that is alive, starting or being stopped.
        mailbox: kept for the next incarnation; None unless `keep_mailbox`.
        retry: the pending attempt to start it again; an older one that arrives is ignored.
        failures: restarts in a row, for the back-off.
        started_at: when the last incarnation began.
        last_ref: of the last incarnation that ran; `failed_ref` of the last that did not come up.
        error: behind the last end that asks for a restart.
        shown: `full_spec`, once somebody has asked for it.
    """

    spec: ChildSpec
    key: Hashable = None
    is_supervisor: bool = False
    process: Process | None = None
    mailbox: Mailbox | None = None
    retry: object | None = None
    timer: Timer | None = None
    failures: int = 0
    started_at: float = 0.0
    restarts: int = 0
    last_ref: Ref | None = None
    failed_ref: Ref | None = None
    error: BaseException | None = None
    shown: ChildSpec | None = None

    @property
    def shutdown(self) -> ShutdownPolicy:
        """How long it may take to stop."""
        if self.spec.shutdown is not None:
            return self.spec.shutdown
        return math.inf if self.is_supervisor else 5.0

    @property
    def is_restarting(self) -> bool:
        """Whether it will be started again, later."""
        return self.retry is not None

    def cancel_retry(self) -> None:
        """Take the pending restart back."""
        self.retry = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def info(self) -> ChildInfo:
        """What the supervisor tells about it."""
        ref: Ref | Literal["restarting"] | None = "restarting" if self.is_restarting else None
        if self.process is not None:
            ref = self.process.ref
        return ChildInfo(self.spec.id, ref, self.full_spec())

    def full_spec(self) -> ChildSpec:
        """The spec with the defaults filled in."""
        if self.spec.shutdown is not None:
            return self.spec
        if self.shown is None:
            self.shown = attrs.evolve(self.spec, shutdown=self.shutdown)
        return self.shown


def make_server(start: Callable[[], Server] | None) -> Server:
    """Call `start`, and refuse what is no server.

    Raises:
        TypeError: it returned something else.
    """
    if start is None:
        raise TypeError("the spec has no start: it is that of a temporary child, which is not kept")
    server: object = start()
    if isinstance(server, Server):
        return server
    if inspect.iscoroutine(server):
        server.close()
    raise TypeError(f"start must return a Server, got {server!r}")
