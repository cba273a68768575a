"""Replacing text in a file: exactly what was asked for, or nothing. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Annotated

import attrs

from alloy.tools.errors import ToolError

DIFF_CONTEXT = 3  # lines
SIMILAR = 0.6  # how much of a line must agree for it to be named as the closest
MOST_COMPARED = 5_000  # lines


@attrs.frozen
class Edit:
    """One replacement."""

    old: Annotated[str, "The text to replace, exactly as it stands in the file, and only once unless replace_all."]
    new: Annotated[str, "The text to put in its place."]
    replace_all: Annotated[bool, "Replace every occurrence."] = False


def edited(data: bytes, edits: Sequence[Edit]) -> bytes:
    """Make all edits, each on what the one before left.

    A byte order mark stays. Where a file's lines end in CR LF, so do those of the edits.

    Raises:
        ToolError: it is no text, or one of the edits cannot be made; then none is.
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ToolError(f"it is no UTF-8 text: {error}") from error
    for number, edit in enumerate(edits, 1):
        try:
            text = _replaced(text, edit)
        except ToolError as error:
            raise ToolError(f"edit {number} of {len(edits)}: {error}" if len(edits) > 1 else str(error)) from error
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ToolError(f"the new text cannot be written as UTF-8: {error}") from error


def diff(before: bytes, after: bytes, path: str) -> str:
    """A unified diff of two texts; empty if they differ in line ends only."""
    old, new = _lines(before), _lines(after)
    return "\n".join(difflib.unified_diff(old, new, f"a/{path}", f"b/{path}", n=DIFF_CONTEXT, lineterm=""))


def _lines(data: bytes) -> list[str]:
    # Not splitlines(): that also splits at U+2028 and its like, which editors do not count.
    lines = data.decode("utf-8", "replace").replace("\r\n", "\n").split("\n")
    if lines[-1]:
        lines[-1] += "\n\\ No newline at end of file"
    else:
        del lines[-1]
    return lines


def _replaced(text: str, edit: Edit) -> str:
    if not edit.old:
        raise ToolError("old is empty; use write_file to write a file whole")
    if edit.old == edit.new:
        raise ToolError("old and new are the same; nothing would change")
    old, new = (_with_line_ends(part, text) for part in (edit.old, edit.new))
    places = list(_places(text, old))
    if not places:
        raise ToolError(f"old does not occur in the file{_closest(text, edit.old)}")
    if len(places) > 1 and not edit.replace_all:
        lines = ", ".join(str(text.count("\n", 0, place) + 1) for place in places[:10])
        more = ", …" if len(places) > 10 else ""
        raise ToolError(
            f"old occurs {len(places)} times, on lines {lines}{more}; give more of the text around it, or replace_all"
        )
    return text.replace(old, new)


def _with_line_ends(part: str, text: str) -> str:
    """Write `part` with the line ends that most lines of `text` have."""
    returns = text.count("\r\n")
    if 2 * returns <= text.count("\n"):
        return part
    return part.replace("\r\n", "\n").replace("\n", "\r\n")


def _places(text: str, old: str) -> Iterator[int]:
    """Where `old` begins, also where occurrences overlap: which of those is meant is just as unclear."""
    place = text.find(old)
    while place >= 0:
        yield place
        place = text.find(old, place + 1)


def _closest(text: str, old: str) -> str:
    """A hint at the line that is most like the first line of what was looked for."""
    wanted = next((line.strip() for line in old.split("\n") if line.strip()), "")
    if not wanted:
        return ""
    lines = text.split("\n")[:MOST_COMPARED]
    found = difflib.get_close_matches(wanted, [line.strip() for line in lines], n=1, cutoff=SIMILAR)
    if not found:
        return ""
    number = next(number for number, line in enumerate(lines, 1) if line.strip() == found[0])
    return f"; the closest is line {number}: {lines[number - 1].rstrip()!r}"
