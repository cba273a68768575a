"""What the process layer itself puts into mailboxes. Signals are no mail: neither counted nor refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from alloy.otp.address import Ref
from alloy.otp.reasons import ExitReason, Stop

if TYPE_CHECKING:
    from alloy.otp.process import Process


@attrs.frozen
class Exit:
    """To `handle_info` of a server that traps exits: a linked process died, or somebody called `exit`.

    Attributes:
        ref: the sender; None for a task outside of any process.
    """

    ref: Ref | None
    reason: ExitReason


class Notice:
    """A message for `handle_info` that the process layer sends: `Down`, `Exit`, `Lagged` and their like."""

    __slots__ = ("is_dropped", "message")
    is_urgent = False

    def __init__(self, message: object) -> None:
        self.message: object = message
        self.is_dropped: bool = False

    async def act(self, process: Process) -> None:
        """Hand it to the server, unless it was taken back."""
        if not self.is_dropped:
            await process.hand_over(self, process.server.handle_info)


class Exited:
    """To a supervisor: a child has ended, in its own good order among the messages."""

    __slots__ = ("process",)
    is_urgent = False

    def __init__(self, process: Process) -> None:
        self.process: Process = process

    async def act(self, process: Process) -> None:
        """Let the supervisor decide."""
        await process.handle_exit(self.process)


class ParentStop:
    """To a process that traps exits: its supervisor wants it to stop, after all that is queued."""

    __slots__ = ("reason",)
    is_urgent = True

    def __init__(self, reason: ExitReason) -> None:
        self.reason: ExitReason = reason

    async def act(self, process: Process) -> None:
        """Leave the loop."""
        raise Stop(self.reason)
