"""Pieces as text with colours, by rich: what is done and can be printed, and the tail that still grows."""

from __future__ import annotations

import io
import os
import re

from rich.console import Console, RenderableType
from rich.markdown import Markdown
from rich.text import Text

from alloy.cli.markdown import finished, last_lines
from alloy.cli.pieces import Asked, Final, Note, Piece, Problem, Returned, Said, Shown, Table, Thought, Typed, Whole
from alloy.cli.text import columns, folded, printable

NARROWEST = 10  # columns; below it rich has no room for a list's marks


class Painter:
    """Collects pieces, and gives them out painted."""

    def __init__(self) -> None:
        self._done: list[Piece] = []
        self._growing = ""
        self._thinking = False

    def put(self, piece: Piece) -> None:
        """Take a piece."""
        match piece:
            case Said(text):
                self._grow(text, thinking=False)
            case Thought(text):
                self._grow(text, thinking=True)
            case Whole():
                self._end()
            case Final():
                pass  # it was shown as it came
            case _:
                self._end()
                self._done.append(piece)

    def take(self, width: int, height: int, *, whole: bool) -> tuple[str, str]:
        """What is to be printed now, and how the end of it that still grows looks in `height` lines."""
        width = max(NARROWEST, width)
        if whole:
            self._end()
        elif (cut := finished(self._growing)) > 0:
            self._done.append(self._piece(self._growing[:cut]))
            self._growing = self._growing[cut:]
        done, self._done = self._done, []
        printed = "".join(self._painted(piece, width) for piece in done)
        tail = "" if not self._growing.strip() else self._tail(width, height)
        return printed, tail

    def _grow(self, text: str, *, thinking: bool) -> None:
        if thinking is not self._thinking:
            self._end()
            self._thinking = thinking
        self._growing += text

    def _end(self) -> None:
        if self._growing.strip():
            self._done.append(self._piece(self._growing))
        self._growing = ""

    def _piece(self, text: str) -> Said | Thought:
        return Thought(text) if self._thinking else Said(text)

    def _tail(self, width: int, height: int) -> str:
        lines = _ansi(_look(self._piece(last_lines(self._growing, height, 2 * width)), width), width).splitlines()
        return "\n".join(["", *lines[-height:]])

    def _painted(self, piece: Piece, width: int) -> str:
        gap = "\n" if isinstance(piece, Said | Thought | Asked | Typed | Shown | Table) else ""
        return f"{gap}{_ansi(_look(piece, width), width)}\n"


def _look(piece: Piece, width: int) -> RenderableType:
    match piece:
        case Said(text):
            return Markdown(text, code_theme="ansi_dark", hyperlinks=False)
        case Thought(text):
            return Text(text.strip("\n"), style="dim italic")
        case Note(text):
            return Text(printable(text), style="dim")
        case Returned(head, lines, failed):
            text = f"{head}: {lines[0]}" if len(lines) == 1 else "\n    ".join((head, *lines))
            return Text(text, style="dim red" if failed else "dim")
        case Problem(text):
            return Text(printable(text), style="bold red")
        case Asked(question, lines):
            return Text("\n    ".join((question, *lines)), style="bold yellow")
        case Typed(text):
            return Text("> " + "\n  ".join(folded(printable(text), width=None)), style="bold")
        case Shown(text):
            return Text(printable(text))
        case Table(rows):
            return Text(printable(columns(rows, width)))
        case _:
            return Text("")


def _ansi(look: RenderableType, width: int) -> str:
    """The look of it as text for the terminal, without empty lines around it or blanks behind its lines."""
    file = io.StringIO()
    console = Console(
        file=file,
        width=width,
        force_terminal=True,
        no_color=bool(os.environ.get("NO_COLOR")),
        highlight=False,
        emoji=False,
        markup=False,
    )
    console.print(look, end="")
    text = re.sub(r"[ \t]+$", "", file.getvalue(), flags=re.MULTILINE)
    return text.strip("\n")
