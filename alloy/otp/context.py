"""Which context travels: the process that runs, and the variables marked to go with each message."""

from __future__ import annotations

from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeAlias

from trio.lowlevel import current_task

if TYPE_CHECKING:
    from alloy.otp.address import Ref
    from alloy.otp.process import Process

Carried: TypeAlias = tuple[tuple[ContextVar[Any], Any], ...]

# Set by each process for its own task; what that task starts inherits it.
current_process: ContextVar[Process | None] = ContextVar("current_process", default=None)

marked: list[ContextVar[Any]] = []
_MISSING: Any = object()


def carried(var: ContextVar[Any]) -> None:
    """Let the value of `var` go with every message: handlers see what it was where the message was sent.

    For the whole program, and for ever; marking twice is marking once. Nothing else of a sender's
    context reaches a handler, a child or a task.
    """
    if not isinstance(var, ContextVar):
        raise TypeError(f"carried() takes a ContextVar, got {var!r}")
    if var not in marked:
        marked.append(var)


def snapshot() -> Carried | None:
    """The marked variables that have a value here; None if there are none."""
    if not marked:
        return None
    values = tuple((var, value) for var in marked if (value := var.get(_MISSING)) is not _MISSING)
    return values or None


def restore(values: Carried) -> list[tuple[ContextVar[Any], Token[Any]]]:
    """Set the variables; `forget` with the answer puts them back."""
    return [(var, var.set(value)) for var, value in values]


def forget(tokens: list[tuple[ContextVar[Any], Token[Any]]]) -> None:
    """Undo `restore`."""
    for var, token in reversed(tokens):
        var.reset(token)


def here(instead: str) -> Process:
    """The process that runs this code, in its own task or one that it started.

    Raises:
        RuntimeError: there is none; `instead` says what works from any task.
    """
    process = current_process.get()
    if process is None:
        raise RuntimeError(f"this works only inside a process; from any other Trio task use {instead}")
    return process


def waiting_loop() -> Process | None:
    """The process whose main task this is, None elsewhere: only that task keeps a mailbox waiting."""
    process = current_process.get()
    return process if process is not None and process.task is current_task() else None


def self_() -> Ref:
    """The process that runs this code.

    Raises:
        RuntimeError: outside of a process.
    """
    return here("wait_down or PubSub.listen with the Ref of a process").ref
