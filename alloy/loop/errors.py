"""What ends a run but is no fault of a model or a tool."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from alloy.errors import AlloyError
from alloy.llm.message import StopInfo


class HookError(AlloyError):
    """A middleware, `on_event` or a `system_prompt` callable raised, or returned what it may not; see the cause.

    Attributes:
        hook: its name, such as `"before_tool_call"`; `"ask"` for who was asked to approve of a call.
        middleware: the middleware's class name; empty for a plain callable.
    """

    def __init__(self, message: str = "", *, hook: str = "", middleware: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.hook = hook
        self.middleware = middleware


class OutputMissing(AlloyError):
    """The model stopped for good before it gave the output that was asked for. `stop` says how."""

    def __init__(self, message: str = "", *, stop: StopInfo | None = None, result: Any = None) -> None:
        super().__init__(message, result=result)
        self.stop = stop


class RunIncomplete(AlloyError):
    """`Result.unwrap()` of a run that is neither completed nor failed. `status` says what it is."""

    def __init__(self, message: str = "", *, status: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.status = status


class DelegationTooDeep(AlloyError):
    """An agent that works for an agent that works for … too many others. `path` has the names, the root's first."""

    def __init__(self, message: str = "", *, path: tuple[str, ...] = (), result: Any = None) -> None:
        super().__init__(message, result=result)
        self.path = path


class UnknownMember(AlloyError, KeyError):
    """A team has no member of this name. `known` lists those it has."""

    def __init__(self, message: str = "", *, name: str = "", known: tuple[str, ...] = (), result: Any = None) -> None:
        super().__init__(message, result=result)
        self.name = name
        self.known = known

    def __str__(self) -> str:  # a KeyError would show the repr
        return str(self.args[0])


class UnknownRequest(AlloyError, KeyError):
    """No request of this id is known any more, or ever was; or none to cancel, or to decide on."""

    def __init__(self, message: str = "", *, request_id: str | None = None, result: Any = None) -> None:
        super().__init__(message, result=result)
        self.request_id = request_id

    def __str__(self) -> str:  # a KeyError would show the repr
        return str(self.args[0])


class StoreError(AlloyError):
    """A store could not read or write; what was not acknowledged may be missing, nothing else is."""


class Fenced(StoreError):
    """Another owner drives the session: it may not be opened, or may no longer be written to, here."""


class UnknownSession(StoreError):
    """The store has no session of this id."""

    def __init__(self, message: str = "", *, id: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.id = id


class CorruptStore(StoreError):
    """What is stored is not what was written: a checksum, an order or a form does not hold.

    Attributes:
        place: where, for a person: the file and the line, or the session and the entry.
    """

    def __init__(self, message: str = "", *, place: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.place = place


class UnknownVersion(StoreError):
    """It was written in a version that this alloy does not read, and nothing is guessed. `version` is that."""

    def __init__(self, message: str = "", *, version: Any = None, result: Any = None) -> None:
        super().__init__(message, result=result)
        self.version = version


def unknown_member(name: str, known: Iterable[str]) -> UnknownMember:
    """The error for a name that no member has."""
    names = tuple(known)
    there = ", ".join(map(repr, names)) or "none"
    return UnknownMember(f"the team has no member {name!r}; it has {there}", name=name, known=names)
