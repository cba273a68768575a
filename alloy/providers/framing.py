"""Cutting a stream's bytes into frames. Pure, and the same for any split of the bytes."""

from __future__ import annotations

import attrs


@attrs.frozen
class Frame:
    """One server-sent event or one line.

    Attributes:
        data: its text; for an event the data lines, joined with newlines.
        event: the event's name, empty if it has none.
    """

    data: str
    event: str = ""
