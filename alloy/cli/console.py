"""What a chat needs of a terminal, or of whatever stands in its place."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol, TextIO

import trio

from alloy.cli.pieces import Piece
from alloy.cli.status import Standing


class Console(Protocol):
    """Shows pieces, and brings what the user types.

    Attributes:
        lines: what was typed, a message each; ends where the input does.
        interrupts: one for each Ctrl-C.
        gone: set once the user wants to leave at once, or the terminal is gone.
        interactive: whether somebody sits before it, who may speak while an answer comes.
        standing: asked for what the status line shows.
    """

    lines: trio.MemoryReceiveChannel[str]
    interrupts: trio.MemoryReceiveChannel[None]
    gone: trio.Event
    interactive: bool
    standing: Callable[[], Standing]

    def put(self, piece: Piece) -> None:
        """Show a piece."""
        ...

    def interrupt(self) -> None:
        """As if Ctrl-C had been pressed."""
        ...

    def invite(self, prompt: str) -> None:
        """Now is the user's turn: show this before what is typed. Empty: it is not, though words are welcome."""
        ...

    def hand_back(self, text: str) -> None:
        """Give back what was typed and did not reach anybody."""
        ...


def moves_cursor(place: TextIO) -> bool:
    """Whether it is a terminal that understands more than lines."""
    return place.isatty() and os.environ.get("TERM", "dumb") not in ("", "dumb")


def takes_colour(place: TextIO) -> bool:
    """Whether text may be dimmed and coloured there.

    Source: no-color.org (read 2026-11-24).
    """
    return moves_cursor(place) and not os.environ.get("NO_COLOR")


def nothing_stands() -> Standing:
    """What a console shows before there is a conversation."""
    return Standing(model="")
