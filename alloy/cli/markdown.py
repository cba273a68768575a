"""Where the Markdown of an answer that still grows can be cut. Pure.

What stands before the cut will never look different, whatever comes; it is printed once. Only the rest is
drawn again and again.
"""

from __future__ import annotations

import re

_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ITEM = re.compile(r" {0,3}([-*+]|\d+[.)])\s")


def finished(text: str) -> int:
    """How many characters at the head of `text` are whole blocks.

    A block is over where a line begins another after an empty line: not inside a fence, and not within a list,
    whose items may be apart.
    """
    cut = offset = 0
    fence = ""
    empty_before = in_list = False
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        starts_block = empty_before and bool(bare) and not fence
        is_item = _ITEM.match(line) is not None
        if starts_block and not line.startswith((" ", "\t")) and not (in_list and (is_item or _may_be_item(line))):
            cut = offset
            in_list = False
        if not fence and is_item:
            in_list = True
        fence = _fence_after(line, fence)
        empty_before = not bare
        offset += len(line)
    return cut


def _may_be_item(line: str) -> bool:
    """Whether a line that has not ended yet could become the next item of a list."""
    return not line.endswith("\n") and re.fullmatch(r" {0,3}([-*+]|\d+[.)]?)", line) is not None


def _fence_after(line: str, fence: str) -> str:
    """The fence that is open after this line; empty if none is."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    if not fence:
        return match[1]
    closes = match[1][0] == fence[0] and len(match[1]) >= len(fence) and not line[match.end() :].strip()
    return "" if closes else fence


def last_lines(text: str, count: int, width: int) -> str:
    """The end of a block that is being written, enough to fill `count` lines of `width`; a fence stays one."""
    lines = text.split("\n")
    fence = lines[0] if _FENCE.match(lines[0]) else None
    shown = "\n".join(lines[-count:])[-count * width :]
    return shown if fence is None or len(lines) <= count else f"{fence}\n{shown}"
