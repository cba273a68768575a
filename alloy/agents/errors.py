"""What an agent server may refuse."""

from __future__ import annotations

from typing import Any

from alloy.errors import AlloyError


class Busy(AlloyError):
    """A run is on, and this has to wait for its end. `request_id` is that run's."""

    def __init__(self, message: str = "", *, request_id: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.request_id = request_id


class QueueFull(AlloyError):
    """As many requests wait as may. `limit` is how many."""

    def __init__(self, message: str = "", *, limit: int = 0, result: Any = None) -> None:
        super().__init__(message, result=result)
        self.limit = limit
