"""Monitors and links: how a process hears of another's end, or shares it.

Source: Erlang/OTP 25, erlang(3), link/1, monitor/2; read 2026-11-24.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from alloy.otp.address import Address, find, resolve
from alloy.otp.context import here
from alloy.otp.reasons import ExitReason, NoProcess
from alloy.otp.signals import Notice

if TYPE_CHECKING:
    from alloy.otp.process import Process


@attrs.define(eq=False, repr=False, init=False)
class Monitor:
    """A one-way watch of one process on another; each gives exactly one `Down`.

    Attributes:
        ref: what is watched.
    """

    ref: Address
    owner: Process
    target: Process | None
    notice: Notice | None

    def __init__(self, ref: Address, owner: Process, target: Process | None) -> None:
        self.ref = ref
        self.owner = owner
        self.target = target
        self.notice = None  # the Down, once it is under way

    def __repr__(self) -> str:
        return f"<Monitor of {self.ref!r}>"

    def fire(self, ref: Address, reason: ExitReason) -> None:
        """Tell the owner."""
        self.target = None
        if self.owner.monitoring is not None:
            self.owner.monitoring.pop(self, None)
        self.notice = Notice(Down(self, ref, reason))
        self.owner.mailbox.signal(self.notice)

    def withdraw(self) -> None:
        """Watch no more."""
        if self.target is not None and self.target.monitors is not None:
            self.target.monitors.pop(self, None)
        self.target = None


@attrs.frozen
class Down:
    """To `handle_info`: a monitored process has ended, after all that it had sent before."""

    monitor: Monitor
    ref: Address
    reason: ExitReason


def monitor(ref: Address) -> Monitor:
    """Get a `Down` when the process ends; at once, with `NoProcess()`, if it is dead. Only inside a process.

    Each call is a monitor of its own, with a `Down` of its own.
    """
    owner = here("wait_down")
    target = find(ref)
    if target is None:
        watch = Monitor(ref, owner, None)
        watch.fire(ref, NoProcess())
        return watch
    watch = Monitor(target.ref, owner, target)
    if target.monitors is None:
        target.monitors = {}
    target.monitors[watch] = None
    if owner.monitoring is None:
        owner.monitoring = {}
    owner.monitoring[watch] = None
    return watch


def demonitor(m: Monitor, *, flush: bool = True) -> None:
    """End a monitor; with `flush`, a `Down` that waits in the mailbox is dropped. Only inside a process."""
    here("nothing: a monitor belongs to a process")
    m.withdraw()
    if m.owner.monitoring is not None:
        m.owner.monitoring.pop(m, None)
    if flush and m.notice is not None:
        m.notice.is_dropped = True


def link(a: Address, b: Address | None = None) -> None:
    """Tie two processes: an abnormal end of one ends the other, or is an `Exit` to it. Only inside a process.

    Twice is once. With one argument the other is the calling process. A normal end is an `Exit` to a
    peer that traps exits, and nothing to any other.

    Raises:
        ServerExited: one of them is dead, with `NoProcess()`.
    """
    me = here("wait_down")
    first = resolve(a)
    second = me if b is None else resolve(b)
    if first is second:
        return
    for one, other in ((first, second), (second, first)):
        if one.links is None:
            one.links = {}
        one.links[other] = None


def unlink(a: Address, b: Address | None = None) -> None:
    """Undo `link`; nothing if there is none. Only inside a process."""
    me = here("wait_down")
    first, second = find(a), me if b is None else find(b)
    if first is not None and second is not None:
        first.unlink(second)
        second.unlink(first)
