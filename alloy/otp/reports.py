"""Crash reports: one record of the logger "alloy.otp" for each thing that went wrong.

Each has `extra={"otp": event}`. State appears in none but through `Server.format_status`.
"""

from __future__ import annotations

import logging
import traceback
from typing import TYPE_CHECKING

from alloy.otp.events import ChildExited, GaveUp, PoisonDropped, ShutdownError, Unkillable
from alloy.otp.mailbox import Envelope, ReplyTo
from alloy.otp.policy import is_expected_end
from alloy.otp.reasons import Crash, ExitReason, is_abnormal

if TYPE_CHECKING:
    from alloy.otp.process import Process

logger: logging.Logger = logging.getLogger("alloy.otp")


def report_end(process: Process, reason: ExitReason) -> None:
    """Write the one record of an end that was abnormal, or not what the supervisor had asked for."""
    spec = process.child.spec
    event: ChildExited | ShutdownError
    if process.stopping is not None:
        if is_expected_end(reason, spec.restart, process.stopping):
            return
        event = ShutdownError(spec.id, process.ref, reason)
        process.system.emit(process, event)
        head = f"process {process.ref.label!r} was stopped, but ended with {reason!r}"
    elif is_abnormal(reason):
        event = ChildExited(spec.id, process.ref, reason)
        head = f"process {process.ref.label!r} ended: {reason!r}"
    else:
        return
    if not logger.isEnabledFor(logging.ERROR):
        return
    lines = [head]
    if process.current is not None:
        lines.append(f"last message: {_repr(_message_of(process.current))}")
    lines.append(f"status: {_status_of(process)}")
    if isinstance(reason, Crash):
        lines.append("".join(traceback.format_exception(reason.exc)).rstrip())
    logger.error("%s", "\n".join(lines), extra={"otp": event})


def log_failed_restart(event: ChildExited, error: BaseException) -> None:
    """A child did not come up again."""
    text = "".join(traceback.format_exception(error)).rstrip()
    logger.error("process %r did not start again:\n%s", str(event.id), text, extra={"otp": event})


def log_gave_up(event: GaveUp, max_restarts: int, max_seconds: float) -> None:
    """A supervisor ends, because a child ended too often."""
    logger.error(
        "supervisor %r gave up: child %r ended again, after %d restarts within %g s",
        event.ref.label,
        event.child,
        max_restarts,
        max_seconds,
        extra={"otp": event},
    )


def log_unkillable(event: Unkillable) -> None:
    """A killed process goes on."""
    logger.error(
        "process %r was killed but still runs, at\n%s", event.ref.label, "\n".join(event.stack), extra={"otp": event}
    )


def log_poison(event: PoisonDropped, crashes: int) -> None:
    """A message is dropped that keeps crashing its server."""
    logger.error(
        "message %s dropped: it ended process %r %d times",
        _repr(event.message),
        event.ref.label,
        crashes,
        extra={"otp": event},
    )


def drop_frames(error: BaseException, label: str) -> None:
    """Free what the frames behind `error` hold: whoever keeps the reason would keep it alive.

    Type, message, notes, causes and the place stay. The traceback goes as a whole: to clear its frames
    would, before Python 3.13, also end a coroutine that once caught this error and is still running.
    """
    seen: set[int] = set()
    todo: list[BaseException | None] = [error]
    place = error.__traceback__
    if place is not None:
        while place.tb_next is not None:
            place = place.tb_next
        code = place.tb_frame.f_code
        error.add_note(f"in process {label!r}, {code.co_filename}:{place.tb_lineno} in {code.co_qualname}")
    while todo:
        item = todo.pop()
        if item is None or id(item) in seen:
            continue
        seen.add(id(item))
        item.__traceback__ = None
        todo += [item.__cause__, item.__context__]
        if isinstance(item, BaseExceptionGroup):
            todo += item.exceptions
        todo += getattr(item, "others", ())


def _message_of(envelope: Envelope) -> object:
    return envelope.request if isinstance(envelope, ReplyTo) else getattr(envelope, "message", envelope)


def _status_of(process: Process) -> str:
    try:
        return repr(process.server.format_status())
    except Exception as error:
        return f"<format_status raised {error!r}>"


def _repr(value: object) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(value).__name__}, whose repr raised {error!r}>"
