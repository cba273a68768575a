"""Whom a message is for: a `Ref` is one incarnation of a process, an `Address` anything that finds one."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Protocol, TypeVar, runtime_checkable

import attrs

from alloy.otp.errors import ServerExited
from alloy.otp.reasons import ExitReason, NoProcess

if TYPE_CHECKING:
    from alloy.otp.process import Process

R_co = TypeVar("R_co", covariant=True)

_ids = count(1)


@runtime_checkable
class Address(Protocol):
    """Whatever messages can be sent to; resolved anew for each message.

    An address that `call(..., wait=True)` shall wait for has a further method,
    `async wait_registered() -> None`, that returns once `whereis` may find a process.
    """

    def whereis(self) -> Ref | None:
        """The process that has this address now; None if there is none."""
        ...


@attrs.define(eq=False, repr=False, init=False)
class Ref:
    """One incarnation of a process. Once that has ended, the Ref is dead for ever; it remembers the reason.

    Attributes:
        id: unique within the program.
        label: the child id as text, for people.
        reason: why the process ended; None while it is alive.
    """

    id: int
    label: str
    reason: ExitReason | None
    process: Process | None  # cleared at the end, so that a Ref keeps nothing of a dead server

    def __init__(self, label: str, process: Process) -> None:
        self.id = next(_ids)
        self.label = label
        self.reason = None
        self.process = process

    def __repr__(self) -> str:
        return f"<Ref {self.id} {self.label!r} {'alive' if self.reason is None else self.reason!r}>"

    @property
    def alive(self) -> bool:
        """Whether messages can still reach it."""
        return self.process is not None

    def whereis(self) -> Ref | None:
        """Itself while alive, so that a Ref is an `Address`."""
        return self if self.process is not None else None


def find(to: Address) -> Process | None:
    """The living process behind an address; None if there is none."""
    ref = to if type(to) is Ref else _whereis(to)
    return None if ref is None else ref.process


def resolve(to: Address) -> Process:
    """The living process behind an address.

    Raises:
        ServerExited: there is none; the reason is `NoProcess()`.
    """
    process = find(to)
    if process is None:
        raise ServerExited(to, NoProcess())
    return process


def _whereis(to: Address) -> Ref | None:
    if not hasattr(to, "whereis"):
        raise TypeError(f"messages go to a Ref or a Via, not to {to!r}")
    return to.whereis()
