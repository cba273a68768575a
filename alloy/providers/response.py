"""An answer while it is read."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Protocol, Self

from alloy.llm.errors import ProtocolError, ReadTimeout, StreamTruncated
from alloy.providers.pool import Headers, Link
from alloy.providers.timeouts import Patience

SETTLE_BYTES = 1024 * 1024


class Release(Protocol):
    """Takes back what an exchange went over."""

    async def __call__(self, *, is_over: bool) -> None: ...


class Response:
    """An answer that has begun. Leaving its block keeps the connection if the body was read to its end, else closes it.

    Attributes:
        status: of HTTP.
        headers: names in lower case; the values of one name are joined by commas.
    """

    def __init__(self, status: int, headers: Headers, link: Link, patience: Patience, release: Release) -> None:
        self.status = status
        self.headers: Mapping[str, str] = header_map(headers)
        self._link = link
        self._patience = patience
        self._release = release
        encoding = self.headers.get("content-encoding", "identity")
        self._inflate = None if encoding in ("", "identity") else Inflater(encoding)
        self._room = math.inf  # bytes that may still come
        self._is_over = False  # the body has come to its end
        self._is_done = False  # nothing is read any more

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._release(is_over=self._is_over and kind is None)

    def content_came(self) -> None:
        """Tell that some of what was read is content, for the limit `no_content`."""
        self._patience.content_came()

    def allow_silence(self) -> None:
        """Tell that the server may send nothing for as long as it may send no content."""
        self._patience.allow_silence()

    def settle(self) -> None:
        """Tell that all that matters has been read: the body ends soon, or is taken to have ended."""
        if not self._patience.is_settling:
            self._patience.settle()
            self._room = SETTLE_BYTES

    async def receive_some(self) -> bytes:
        """More of the body; empty at its end.

        Raises:
            ReadTimeout: the server was silent for too long, or sent no content.
            StreamTruncated: the connection broke before the end.
            ProtocolError: the body is not HTTP, or its encoding cannot be read.
        """
        while not self._is_done:
            try:
                chunk = await self._link.read(self._patience)
            except ReadTimeout:
                if not self._patience.is_settling:
                    raise
                self._is_done = True
                break
            if chunk is None:
                self._is_over = self._is_done = True
                return self._inflate.finish() if self._inflate else b""
            self._room -= len(chunk)
            if self._room < 0:
                self._is_done = True
                break
            if self._inflate:
                chunk = self._inflate.feed(chunk)
            if chunk:
                return chunk
        return b""


class Inflater:
    """Undoes gzip and deflate, which a server may use though it was not asked to."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._zlib = zlib.decompressobj(zlib.MAX_WBITS | 32)  # either header

    def feed(self, chunk: bytes) -> bytes:
        """What the next bytes stand for; maybe nothing yet.

        Raises:
            ProtocolError: the encoding is another one, or the bytes are not of it.
        """
        if self._encoding not in ("gzip", "x-gzip", "deflate"):
            raise ProtocolError(f"the answer is encoded as {self._encoding!r}, which cannot be read")
        try:
            return self._zlib.decompress(chunk)
        except zlib.error as error:
            raise ProtocolError(f"the answer is not the {self._encoding} that it claims to be: {error}") from error

    def finish(self) -> bytes:
        """What was held back.

        Raises:
            StreamTruncated: the end is missing.
        """
        rest = self._zlib.flush()
        if not self._zlib.eof:
            raise StreamTruncated(f"the answer ends in the middle of its {self._encoding}")
        return rest


def header_map(raw: Headers) -> Mapping[str, str]:
    """Headers as they came, as a mapping: names in lower case, the values of one name joined by commas."""
    headers: dict[str, str] = {}
    for key, value in raw:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers
