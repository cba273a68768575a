"""Texts made fit for a terminal: without what would steer it, cut, and folded. Pure."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from alloy.llm.content import ToolCall

WIDTH = 100  # characters of a call's arguments or of one line of a result
FOLDED = 5  # lines of a result that are shown
GAP = "  "  # between two columns
LEAST = 24  # characters of a second column, for it to stand beside the first

# Control characters but newline and tab, marks that turn the direction of writing, and halves of characters.
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff]")


def printable(text: str) -> str:
    """The text without what a model or a file could use to steer the user's terminal."""
    return _STEERING.sub("�", text.replace("\r\n", "\n"))


def one_line(text: str, width: int = WIDTH) -> str:
    """The text in one line, cut to `width` characters."""
    text = printable(text).replace("\n", "⏎").replace("\t", " ")
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def arguments_line(call: ToolCall) -> str:
    """A call's arguments, as in a Python call, cut to `WIDTH`; as the model wrote them where they do not parse."""
    if call.parse_error is not None:
        return one_line(call.arguments_text)
    return one_line(", ".join(f"{name}={value!r}" for name, value in call.arguments.items()))


def first_line(text: str) -> str:
    """The first line of a text, cut to `WIDTH`, and how many lines more there are."""
    lines = text.splitlines()
    more = f" ({_more(len(lines) - 1)})" if len(lines) > 1 else ""
    return one_line(lines[0] if lines else "") + more


def folded(text: str, limit: int = FOLDED, *, width: int | None = WIDTH) -> tuple[str, ...]:
    """The first `limit` lines of a text, each cut to `width`, and a last one that says how many there are more.

    One line more than `limit` is shown, not counted: it would take the same place.
    """
    lines = text.rstrip("\n").split("\n") if text.strip() else []
    more = [f"… ({_more(len(lines) - limit)})"] if len(lines) > limit + 1 else []
    shown = lines[:limit] if more else lines
    return (*(line if width is None else one_line(line, width) for line in shown), *more)


def _more(count: int) -> str:
    return f"+{count} line{'s' if count != 1 else ''}"


def count_of(number: int) -> str:
    """A number of tokens as people say it: 950, 12.3k, 1.2M."""
    if number < 1000:
        return str(number)
    if number < 999_950:
        return f"{number / 1000:.1f}k"
    return f"{number / 1_000_000:.1f}M"


def columns(rows: Iterable[tuple[str, str]], width: int | None = None) -> str:
    """Two columns, the first as wide as its widest entry.

    Where `width` leaves too little for the second, it stands below the first, indented.
    """
    listed = list(rows)
    left_width = max((len(left) for left, _ in listed), default=0)
    room = 0 if width is None else width - left_width - len(GAP)
    if width is None or room >= max((len(right) for _, right in listed), default=0):
        return "\n".join(f"{left:<{left_width}}{GAP}{right}".rstrip() for left, right in listed)
    if room < LEAST:
        below = [left + "".join(f"\n{GAP}{line}" for line in _wrap(right, width - len(GAP))) for left, right in listed]
        return "\n".join(below)
    lines = []
    for left, right in listed:
        first, *more = _wrap(right, room) or [""]
        lines.append(f"{left:<{left_width}}{GAP}{first}".rstrip())
        lines += [" " * left_width + GAP + line for line in more]
    return "\n".join(lines)


def _wrap(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, max(1, width))
