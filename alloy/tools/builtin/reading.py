"""What a model sees of a file: a page of numbered lines, or an image. Blocks; belongs in a thread."""

from __future__ import annotations

import mimetypes
import os
import re
from collections.abc import Callable
from typing import BinaryIO

from alloy.llm.content import Image, ToolResult
from alloy.tools.errors import ToolError

PAGE_CHARS = 29_000  # of all lines; less than a result may have, so that the end of a page is never cut out
LINE_CHARS = 2_000
IMAGE_BYTES = 5 << 20  # the vendors take no more
SAMPLE_BYTES = 8 << 10
READ_BYTES = 64 << 10
BYTE_ORDER_MARK = "\ufeff"

_PICTURES = {
    "image/png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "image/jpeg": re.compile(rb"\xff\xd8\xff"),
    "image/gif": re.compile(rb"GIF8[79]a"),
    "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
}


def read(file: BinaryIO, name: str, offset: int, limit: int, check: Callable[[], None]) -> str | ToolResult:
    """Read a page of text, or an image.

    Args:
        file: open at its start.
        name: what it is called, for messages.
        offset: the first line wanted, from 1.
        limit: the most lines.
        check: is called every now and then, and may raise to stop.

    Raises:
        ToolError: it is neither text nor a picture that can be shown.
    """
    start = file.read(SAMPLE_BYTES)
    size = os.fstat(file.fileno()).st_size
    if media_type := next((kind for kind, pattern in _PICTURES.items() if pattern.match(start)), None):
        if size > IMAGE_BYTES:
            raise ToolError(f"{name!r} is an {media_type} of {size} bytes; more than {IMAGE_BYTES} cannot be shown")
        return ToolResult([Image(start + file.read(), media_type=media_type, name=os.path.basename(name))])
    if b"\0" in start:
        kind = mimetypes.guess_type(name)[0] or "of an unknown type"
        raise ToolError(f"{name!r} is binary, {kind}, {size} bytes; only text and images can be read")
    file.seek(0)
    return _page(file, offset, limit, check)


def _page(file: BinaryIO, offset: int, limit: int, check: Callable[[], None]) -> str:
    lines: list[str] = []
    chars = 0
    number = 0
    while (line := _line(file, check)) is not None:
        number += 1
        if number < offset:
            continue
        shown = f"{number:6}\t{line if number > 1 else line.removeprefix(BYTE_ORDER_MARK)}"
        if len(lines) == limit or (lines and chars + len(shown) > PAGE_CHARS):
            return "\n".join([*lines, f"[more lines follow; read on with offset={number}]"])
        lines.append(shown)
        chars += len(shown) + 1
    if number == 0:
        return "[the file is empty]"
    return "\n".join(lines) or f"[the file has {number} lines; offset={offset} is past its end]"


def _line(file: BinaryIO, check: Callable[[], None]) -> str | None:
    """Read one line, up to the line feed; of a very long one only the start is kept. None at the end of the file.

    Lines end at a line feed only, as in editors; `splitlines` knows many more ends.
    """
    kept, total = b"", 0
    while part := file.readline(READ_BYTES):
        check()
        total += len(part)
        if len(kept) < 4 * LINE_CHARS:  # bytes of that many characters
            kept += part
        if part.endswith(b"\n"):
            break
    if not total:
        return None
    line = kept.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8", "replace")
    if len(line) <= LINE_CHARS and total == len(kept):
        return line
    return f"{line[:LINE_CHARS]} [… the line has {total} bytes …]"
