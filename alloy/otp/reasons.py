"""Why a process ended: exit reasons are values, and what a callback raises to end its process."""

from __future__ import annotations

from typing import Final, TypeAlias, assert_never

import attrs


@attrs.frozen
class Normal:
    """The process had done its work."""


@attrs.frozen
class Shutdown:
    """The process was asked to stop, or stopped itself in an orderly way.

    Attributes:
        detail: anything that says more, for whoever reads the reason.
        cause: what made a supervisor give up (`RestartIntensityExceeded`); no part of equality.
    """

    detail: object = None
    cause: BaseException | None = attrs.field(default=None, eq=False, repr=False, kw_only=True)


@attrs.frozen
class Killed:
    """The process was ended without a chance to clean up, or a linked peer was."""


@attrs.frozen(eq=False)
class Crash:
    """An error left a callback of the process.

    Attributes:
        exc: that error, without the frames it came through (a note names the innermost); a group of
            one is that one, of several the first, with the rest in its notes or its `others`.
    """

    exc: BaseException


@attrs.frozen
class NoProcess:
    """There is no such process, or it ended before it was asked about."""


ExitReason: TypeAlias = Normal | Shutdown | Killed | Crash | NoProcess


def is_abnormal(reason: ExitReason) -> bool:
    """Whether a transient child is restarted after `reason`, and a report written.

    Source: Erlang/OTP 25, supervisor(3), "Restart"; read 2026-11-24.
    """
    return not isinstance(reason, (Normal, Shutdown))


def error_of(reason: ExitReason) -> BaseException | None:
    """The error behind `reason`, to raise another from; None where there is none."""
    match reason:
        case Crash(exc=error):
            return error
        case Shutdown(cause=BaseException() as error):
            return error.__cause__ or error
        case Shutdown(detail=BaseException() as error):
            return error
        case _:
            return None


def how(reason: ExitReason) -> str:
    """What a reason says of its process, as the rest of a sentence that begins with the name."""
    match reason:
        case Normal():
            return "has ended"
        case Shutdown(cause=BaseException() as cause):
            last = error_of(reason)
            return f"is down: {cause}" + ("" if last is None or last is cause else f"; the last error: {why(last)}")
        case Shutdown(detail=None):
            return "was stopped"
        case Shutdown(detail=detail):
            return f"was stopped: {why(detail) if isinstance(detail, BaseException) else detail}"
        case Killed():
            return "was killed"
        case Crash(exc=error):
            return f"crashed: {why(error)}"
        case NoProcess():
            return "is no running process"
        case _:
            assert_never(reason)


class Unset:
    """The type of `UNSET`: an argument that was not given, where None is a value."""

    def __repr__(self) -> str:
        return "<unset>"


UNSET: Final = Unset()


class Stop(Exception):
    """Raised by any callback to end its process.

    Args:
        reason: what the process ends with.
        reply: the answer to the call being handled, sent after `terminate` has run. Without one the
            caller gets `ServerExited` with the reason.
    """

    def __init__(self, reason: ExitReason = Normal(), *, reply: object = UNSET) -> None:
        super().__init__(reason)
        self.reason = reason
        self.reply = reply


class Ignore(Exception):
    """Raised by `init`: there is nothing to run, and that is no error."""


def why(error: BaseException) -> str:
    """What an error says, in one line: of a `Stop` its reason, else type and message."""
    if isinstance(error, Stop):
        detail = error.reason.detail if isinstance(error.reason, Shutdown) else None
        return str(detail) if detail is not None else repr(error.reason)
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
