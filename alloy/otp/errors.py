"""What `alloy.otp` raises.

OtpError
├─ ServerExited              the target of a call is dead, or died before it replied
├─ CallTimeout               no reply in time; also a trio.TooSlowError
├─ Deadlock                  the call could never have been answered
├─ MailboxFull               `send` to a mailbox without room
├─ StartFailed               a child did not come up
├─ ChildError                an administration call a supervisor cannot serve
├─ AlreadyRegistered         the key has an owner
├─ RestartIntensityExceeded  the cause inside a supervisor's exit reason when it gave up
└─ SystemDown                the root ended while its block ran
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Literal, TypeAlias

import trio

from alloy.errors import AlloyError
from alloy.otp.reasons import how

if TYPE_CHECKING:
    from alloy.otp.address import Address, Ref
    from alloy.otp.reasons import ExitReason

ChildErrorCode: TypeAlias = Literal[
    "already_started", "already_present", "running", "restarting", "not_found", "max_children"
]


class OtpError(AlloyError):
    """Any failure that the process layer reports."""


class ServerExited(OtpError):
    """The target is dead or missing, or it ended before it replied; its error, if any, is the cause.

    Attributes:
        ref: the process; where a name had no owner, the address that was asked.
        reason: why it ended; `NoProcess()` where it was dead before.
    """

    def __init__(self, ref: Address, reason: ExitReason) -> None:
        super().__init__(f"{getattr(ref, 'label', ref)!r} {how(reason)}")
        self.ref = ref
        self.reason = reason


class CallTimeout(OtpError, trio.TooSlowError):
    """No reply in time. The request is withdrawn if it still waits, else the server may act on it."""


class Deadlock(OtpError):
    """The call would have waited for ever.

    Attributes:
        path: labels, from the caller along who waits for whom, back to the caller.
    """

    def __init__(self, path: tuple[str, ...]) -> None:
        super().__init__(f"these processes would wait for each other for ever: {' -> '.join(path)}")
        self.path = path


class MailboxFull(OtpError):
    """`send` never waits, and the mailbox has no room."""


class StartFailed(OtpError):
    """A process did not come up; what its `init` raised is the cause.

    Attributes:
        id: of the child that failed.
    """

    def __init__(self, id: Hashable, detail: str = "") -> None:
        super().__init__(f"{id!r} did not start" + (f": {detail}" if detail else ""))
        self.id = id


class ChildError(OtpError):
    """A supervisor cannot do what it was asked; nothing has changed.

    Attributes:
        code: OTP's own word for it.
        ref: the running child of the same id, for "already_started".
    """

    def __init__(self, code: ChildErrorCode, ref: Ref | None = None, *, id: object = None) -> None:
        super().__init__(f"child {id!r}: {code}" if id is not None else code)
        self.code: ChildErrorCode = code
        self.ref = ref


class AlreadyRegistered(OtpError):
    """The key of a unique registry has an owner.

    Attributes:
        key: as it was given.
        ref: the owner.
    """

    def __init__(self, key: Hashable, ref: Ref) -> None:
        super().__init__(f"{key!r} is registered by {ref!r}; unregister it there or choose another key")
        self.key = key
        self.ref = ref


class RestartIntensityExceeded(OtpError):
    """A supervisor gave up: one restart too many. The child's error is the cause.

    Attributes:
        child: the id of the child that tipped it.
    """

    def __init__(self, child: Hashable, max_restarts: int, max_seconds: float) -> None:
        restarts = "1 restart" if max_restarts == 1 else f"{max_restarts} restarts"
        super().__init__(f"child {child!r} ended again, after {restarts} within {max_seconds:g} s")
        self.child = child


class SystemDown(OtpError):
    """The root process ended while the block of `open_system` ran; its child's error is the cause.

    The message says which child it was, how often it was restarted, and its last error.

    Attributes:
        reason: what the root ended with.
    """

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(f"the root supervisor {how(reason)}")
        self.reason = reason
