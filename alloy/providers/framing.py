"""Cutting a stream's bytes into frames. Pure, and the same for any split of the bytes."""

from __future__ import annotations

import re
from typing import Literal, Protocol

import attrs

MAX_FRAME_BYTES = 64 * 1024 * 1024

_BOM = b"\xef\xbb\xbf"


@attrs.define
class Frame:
    """One server-sent event or one line.

    Attributes:
        data: its text; for an event the data lines, joined with newlines. Never empty.
        event: the event's name, empty if it has none.
    """

    data: str
    event: str = ""


class Framer(Protocol):
    """Cuts one stream. Invalid UTF-8 is replaced, never an error."""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that are complete by now.

        Raises:
            ValueError: a frame is longer than the framer allows.
        """
        ...

    def close(self) -> list[Frame]:
        """The stream is over: return what it ended with, though its end is missing; at most one frame."""
        ...


def framer(kind: Literal["sse", "lines"], *, max_bytes: int = MAX_FRAME_BYTES) -> Framer:
    """A fresh framer for one stream; `max_bytes` bounds a frame."""
    return SSE(max_bytes) if kind == "sse" else Lines(max_bytes)


class LineCutter:
    """Cuts bytes into lines that end in LF, CRLF or CR, and nowhere else: U+2028 and its like are text."""

    __slots__ = ("_after_cr", "_begun", "_max_bytes", "_parts", "_size")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []  # the unfinished line; joined once it ends, as one join a chunk is quadratic
        self._size = 0
        self._after_cr = False  # an LF that comes next belongs to the CR before it
        self._begun = False

    def cut(self, chunk: bytes) -> list[bytes]:
        """Take the next bytes and return the lines that they finish, without their ends.

        Raises:
            ValueError: the unfinished line is too long.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 10:
                chunk = chunk[1:]
        lines = chunk.splitlines()  # of bytes: LF, CRLF and CR only
        tail = b""
        if chunk.endswith(b"\r"):
            self._after_cr = True
        elif lines and not chunk.endswith(b"\n"):
            tail = lines.pop()
        if lines:
            if self._parts:
                lines[0] = b"".join([*self._parts, lines[0]])
                self._parts.clear()
                self._size = 0
            if not self._begun:
                self._begun = True
                lines[0] = lines[0].removeprefix(_BOM)
        if tail:
            self._parts.append(tail)
            self._size += len(tail)
            if self._size > self._max_bytes:
                raise ValueError(f"a line of the stream is longer than {self._max_bytes} bytes")
        return lines

    def rest(self) -> bytes:
        """The unfinished line; empty if there is none."""
        line = b"".join(self._parts)
        self._parts.clear()
        return line if self._begun else line.removeprefix(_BOM)


class Lines:
    """Reads a line as a frame, as newline-delimited JSON has it; blank lines are skipped."""

    __slots__ = ("_cutter",)

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._cutter = LineCutter(max_bytes)

    def feed(self, chunk: bytes) -> list[Frame]:
        """See `Framer.feed`."""
        return [Frame(line.decode("utf-8", "replace")) for line in self._cutter.cut(chunk) if line.strip()]

    def close(self) -> list[Frame]:
        """See `Framer.close`."""
        line = self._cutter.rest()
        return [Frame(line.decode("utf-8", "replace"))] if line.strip() else []


_MARK, _MARK_IN_STRING = re.compile(rb'["{}]'), re.compile(rb'["\\]')


class Objects:
    """Reads each JSON object as a frame, however it is laid out; what is between them is skipped, as an array's commas.

    Attributes:
        is_open: an object has begun and not ended.
    """

    __slots__ = ("_depth", "_is_escaped", "_is_string", "_max_bytes", "_parts", "_size")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max_bytes = max_bytes
        self._parts: list[bytes] = []  # of the object that is open
        self._size = 0
        self._depth = 0
        self._is_string = False
        self._is_escaped = False  # by a backslash that the last chunk ended with

    @property
    def is_open(self) -> bool:
        return self._depth > 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """See `Framer.feed`."""
        frames: list[Frame] = []
        start, place = 0, 0  # of what is still to be kept, of what is still to be looked at
        if self._is_escaped and chunk:
            self._is_escaped, place = False, 1
        while mark := (_MARK_IN_STRING if self._is_string else _MARK).search(chunk, place):
            place = mark.end()
            match mark[0]:
                case b'"':
                    self._is_string = not self._is_string
                case b"\\":
                    self._is_escaped = place == len(chunk)
                    place += 1
                case b"{":
                    self._depth += 1
                    if self._depth == 1:
                        start = mark.start()
                case _ if self._depth:
                    self._depth -= 1
                    if not self._depth:
                        text = b"".join([*self._parts, chunk[start:place]])
                        frames.append(Frame(text.decode("utf-8", "replace")))
                        self._parts.clear()
                        self._size = 0
        if self._depth:
            self._parts.append(chunk[start:])
            self._size += len(chunk) - start
            if self._size > self._max_bytes:
                raise ValueError(f"an object of the stream is longer than {self._max_bytes} bytes")
        return frames

    def close(self) -> list[Frame]:
        """See `Framer.close`. An object without its end is no frame."""
        return []


class SSE:
    """Reads server-sent events. Comments, unknown fields and events without data are skipped.

    Two differences from the specification. An event that the end of the stream cuts off before its blank
    line is handed out by `close`, because some servers leave that line out; whoever reads it finds out
    whether it is whole. And a JSON object that stands bare between the events, on one line or several, is
    an event too: that is how Gemini says that it failed.

    Source: HTML Standard, "Server-sent events", 9.2.6 (read 2026-11-24); google-genai 3.4.0, which reads bare
        objects (read 2026-11-22).
    """

    __slots__ = ("_bare", "_cutter", "_data", "_event", "_max_bytes", "_size")

    def __init__(self, max_bytes: int = MAX_FRAME_BYTES) -> None:
        self._bare = Objects(max_bytes)
        self._cutter = LineCutter(max_bytes)
        self._max_bytes = max_bytes
        self._data: list[bytes] = []
        self._size = 0
        self._event = ""

    def feed(self, chunk: bytes) -> list[Frame]:
        """See `Framer.feed`."""
        frames = self._read(self._cutter.cut(chunk))
        if not self._data or frames:
            self._size = 0
        if self._data:
            self._size += len(chunk)
            if self._size > self._max_bytes:
                raise ValueError(f"an event of the stream is longer than {self._max_bytes} bytes")
        return frames

    def close(self) -> list[Frame]:
        """See `Framer.close`."""
        return self._read([self._cutter.rest(), b""])

    def _read(self, lines: list[bytes]) -> list[Frame]:
        frames: list[Frame] = []
        data, event = self._data, self._event
        for line in lines:
            if line.startswith(b"data: "):  # nearly all lines are
                data.append(line[6:])
            elif line and (self._bare.is_open or (line[:1] == b"{" and not data)):
                frames += self._bare.feed(line + b"\n")
            elif line:
                name, _, value = line.partition(b":")
                if name == b"data":
                    data.append(value.removeprefix(b" "))
                elif name == b"event":
                    event = value.removeprefix(b" ").decode("utf-8", "replace")
            else:
                text = data[0] if len(data) == 1 else b"\n".join(data)
                if text:
                    frames.append(Frame(text.decode("utf-8", "replace"), event))
                data.clear()
                event = ""
                if self._bare.is_open:  # it was none
                    self._bare = Objects(self._max_bytes)
        self._event = event
        return frames
