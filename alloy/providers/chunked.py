"""Bodies in chunks, as streams come. Pure, and the same for any split of the bytes.

h11 reads them too, at a hundred times the cost of the bytes: it makes an event of each chunk, and a server sends
a chunk for each word.
"""

from __future__ import annotations

import re

MAX_LINE_BYTES = 16 * 1024

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?\r\n")


class ChunkedBody:
    """Reads one body.

    Attributes:
        is_over: its end has come.
        rest: what came behind that.

    Source: RFC 9112, 7.1 (read 2026-11-24).
    """

    __slots__ = ("_held", "_in_trailer", "_left", "is_over", "rest")

    def __init__(self) -> None:
        self.is_over: bool = False
        self.rest: bytes = b""
        self._held = b""  # a line that is not complete
        self._left = 0  # bytes of a chunk that are still to come, with its end of line
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes and return what they hold of the body.

        Raises:
            ValueError: these are no chunks.
        """
        if self._held:
            data, self._held = self._held + data, b""
        at, end, parts = 0, len(data), []
        while at < end and not self.is_over:
            if self._left > 2:
                stop = at + self._left - 2
                parts.append(data[at:stop])
                self._left -= min(stop, end) - at
                at = min(stop, end)
            elif self._left:
                at = self._end_of_chunk(data, at)
            elif self._in_trailer:
                at = self._trailer_line(data, at)
            elif found := _SIZE.match(data, at):
                at = found.end()
                size = int(found[1], 16)
                stop = at + size
                if size and data[stop : stop + 2] == b"\r\n":  # whole, as most are
                    parts.append(data[at:stop])
                    at = stop + 2
                else:
                    self._left = size + 2 if size else 0
                    self._in_trailer = not size
            else:
                at = self._hold(data, at)
        if self.is_over:
            self.rest += data[at:]
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _end_of_chunk(self, data: bytes, at: int) -> int:
        wanted = b"\r\n"[-self._left :]
        got = data[at : at + self._left]
        if not wanted.startswith(got):
            raise ValueError(f"a chunk is longer than it says: {got!r} follows it")
        self._left -= len(got)
        return at + len(got)

    def _trailer_line(self, data: bytes, at: int) -> int:
        end = data.find(b"\r\n", at)
        if end < 0:
            return self._hold(data, at)
        self.is_over = end == at
        return end + 2

    def _hold(self, data: bytes, at: int) -> int:
        """Keep a line until its end comes, if it still may."""
        line = data[at:]
        if b"\n" in line or len(line) > MAX_LINE_BYTES:
            raise ValueError(f"no size of a chunk: {line[:40]!r}")
        self._held = line
        return len(data)
