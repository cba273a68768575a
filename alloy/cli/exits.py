"""The numbers that tell a shell how it ended."""

from __future__ import annotations

from typing import Any

from alloy.loop.result import Result, Status

COMPLETED, FAILED, USAGE, LIMITED, INTERRUPTED = 0, 1, 2, 3, 130


def exit_code(result: Result[Any]) -> int:
    """The number for a run that ended like this."""
    match result.status:
        case Status.COMPLETED:
            return COMPLETED
        case Status.ERROR:
            return FAILED
        case _:
            return LIMITED
