"""Reading the body of an answer: bytes in, deltas out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from alloy.llm.delta import Delta
from alloy.llm.errors import ProtocolError, StreamTruncated
from alloy.providers.dialect import Decoder, loads
from alloy.providers.framing import Framer, Objects, framer

MAX_BODY_BYTES = 64 * 1024 * 1024

# What a decoder raises where the answer is not what the API promises.
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)

_BLANK = b" \t\r\n\xef\xbb\xbf"  # the last three are the byte order mark


class Reader:
    """Reads an answer that is a stream, as was asked for, or one piece of JSON, as some servers send all the same.

    Which of the two it is shows in its first byte; some servers' Content-Type is wrong. A JSON array is a stream
    of its members, as Gemini's is where a proxy loses the wish for events.
    """

    def __init__(self, framing: Literal["sse", "lines"], decoder: Decoder, content_type: str = "") -> None:
        self._framing = framing
        self._decoder = decoder
        self._content_type = content_type
        self._cutter: Framer = framer(framing)
        self._kind: Literal["unknown", "stream", "whole"] = "unknown"
        self._body = bytearray()  # of one piece all, of a stream what it began with
        self._last = b""
        self._has_frames = False
        self._is_json = False  # a stream that begins as its frames do, without a field's name before them

    @property
    def is_complete(self) -> bool:
        """The answer's own end has been read."""
        return self._decoder.is_complete

    def feed(self, chunk: bytes) -> Sequence[Delta]:
        """Take the next bytes of the body and return what they add to the answer.

        Raises:
            ProviderError: the answer says that something went wrong, or cannot be read. Call it without
                bytes after deltas have come, to learn of an error behind them at once.
        """
        if self._kind != "stream":
            self._body += chunk
            if len(self._body) > MAX_BODY_BYTES:
                raise ProtocolError(f"the answer is longer than {MAX_BODY_BYTES} bytes")
            if self._kind == "whole" or not self._finds_stream():
                return ()
            chunk = bytes(self._body)
        self._last = chunk or self._last
        try:
            frames = self._cutter.feed(chunk)
            self._has_frames = self._has_frames or bool(frames)
            return self._decoder.feed(frames)
        except _UNREADABLE as error:
            raise self._unreadable(error, self._last) from error

    def close(self) -> Sequence[Delta]:
        """The body is over: read what it ended with in the middle of a frame.

        Raises:
            ProviderError: as from `feed`.
        """
        frames = self._cutter.close()
        with suppress(*_UNREADABLE):  # cut off half-way; whether that matters `end` tells
            return self._decoder.feed(frames) if frames else ()
        return ()

    def end(self) -> Sequence[Delta]:
        """All has been read, `close` included.

        Raises:
            StreamTruncated: the answer is not complete.
            ProviderError: as from `feed`.
        """
        if self._kind == "whole":
            try:
                return self._decoder.whole(loads(_text(self._body).removeprefix("\ufeff")))
            except _UNREADABLE as error:
                raise self._unreadable(error, self._body) from error
        try:
            return self._decoder.end()
        except StreamTruncated:
            is_stream = self._has_frames or self._is_json or "event-stream" in self._content_type
            if self._kind == "stream" and not is_stream:
                raise ProtocolError("the answer is no stream", body=_text(self._body)) from None
            raise
        except _UNREADABLE as error:
            raise self._unreadable(error, self._last) from error

    def _finds_stream(self) -> bool:
        start = self._body.lstrip(_BLANK)
        first = bytes(start[:1])
        if first == b"<":
            raise ProtocolError("the answer is a page of HTML", body=_text(self._body))
        if first == b"[" and self._framing == "sse":
            member = start[1:].lstrip(_BLANK)[:1]
            self._cutter = Objects()
            self._kind = "unknown" if not member else "stream" if member == b"{" else "whole"
        elif first:
            self._kind = "whole" if first == b"{" and self._framing == "sse" else "stream"
        self._is_json = first in (b"{", b"[")
        return self._kind == "stream"

    def _unreadable(self, error: Exception, body: bytes | bytearray) -> ProtocolError:
        return ProtocolError(f"the answer cannot be read: {error or type(error).__name__}", body=_text(body))


def _text(body: bytes | bytearray) -> str:
    return body.decode("utf-8", "replace")
