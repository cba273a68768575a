"""Connections: one exchange at a time on each, and the idle ones kept for the next.

HTTP/1.1 itself is h11's, as it is httpx's, but for bodies in chunks. What lies between the two in httpx is left
out: its pool looks at all connections at every request, so that a thousand agents cost ten times what they should,
and it hands on a stream chunk by chunk, where we hand on all that one read of the socket brought.
"""

from __future__ import annotations

import re
import ssl
from collections import deque
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import NamedTuple, Protocol, TypeAlias
from urllib.parse import quote, urlsplit

import attrs
import h11
import trio

from alloy.errors import unwrap
from alloy.llm.errors import ConnectFailed, ProtocolError, StreamTruncated
from alloy.providers.chunked import ChunkedBody
from alloy.providers.timeouts import Patience

KEEP_ALIVE_SECONDS = 60.0
CLOSE_SECONDS = 2.0
MAX_HEAD_BYTES = 256 * 1024

Headers: TypeAlias = list[tuple[bytes, bytes]]


class Server(NamedTuple):
    """Whom a connection is to."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"


class Location(NamedTuple):
    """A URL, taken apart.

    Attributes:
        text: the URL itself.
        server: its server.
        target: what it is asked for: path and query.
        host: the value of the Host header.
    """

    text: str
    server: Server
    target: bytes
    host: str


@lru_cache(maxsize=1024)
def locate(url: str) -> Location:
    """Take a URL apart.

    Raises:
        ValueError: it is no http or https URL, or has a user name in it.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a URL must start with http:// or https:// and name a host, got {url!r}")
    if parts.username is not None:
        raise ValueError(f"a URL must not hold a user name or password (host {parts.hostname!r}); send a header")
    host = parts.hostname if parts.hostname.isascii() else parts.hostname.encode("idna").decode()
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    shown = f"[{host}]" if ":" in host else host
    return Location(
        url,
        Server(parts.scheme, host, port),
        quote(target, safe="/?#[]@!$&'()*+,;=:%~").encode(),
        shown if parts.port is None else f"{shown}:{port}",
    )


class Link(Protocol):
    """A way to one server that carries one exchange at a time.

    Attributes:
        expires_at: by Trio's clock; set when it becomes idle, and it is not used again after.
    """

    expires_at: float

    @property
    def heard(self) -> bool:
        """Whether a byte of the present answer has come."""
        ...

    async def ask(
        self, where: Location, headers: Mapping[str, str], body: Sequence[bytes], patience: Patience
    ) -> tuple[int, Headers]:
        """Send a POST and wait until the answer begins: its status and headers.

        Args:
            where: whom to send it to.
            headers: all of them, in ASCII.
            body: fragments of it.
            patience: bounds the wait.

        Raises:
            ConnectFailed, ReadTimeout, StreamTruncated, ProtocolError: there is none.
        """
        ...

    async def read(self, patience: Patience) -> bytes | None:
        """More of the answer's body; None at its end, and from then on.

        Raises:
            ReadTimeout, StreamTruncated, ProtocolError: it breaks off, or is no HTTP.
        """
        ...

    async def finish(self) -> bool:
        """The body has been read to its end. Return whether another exchange may follow."""
        ...

    def is_alive(self) -> bool:
        """Whether an idle link still has its server."""
        ...

    async def cut(self) -> None:
        """Close it under whoever uses it: a wait ends with `StreamTruncated`. May be called again."""
        ...

    async def aclose(self) -> None:
        """Close it, as its only user. May be called again."""
        ...


async def drop(link: Link) -> None:
    """Close a link in bounded time, also while being cancelled."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
        await link.aclose()


class Connection:
    """A `Link` over a socket of our own."""

    def __init__(self, stream: trio.abc.Stream, socket: trio.socket.SocketType) -> None:
        self.expires_at: float = 0.0
        self.heard: bool = False
        self._stream = stream
        self._socket = socket
        self._http = _http()
        self._chunks: ChunkedBody | None = None  # what the answer's body comes in, past h11
        self._ready = b""  # what has come of them with the head
        self._may_stay_open = True  # for what comes in chunks
        self._is_over = False  # the answer has been read
        self._is_cut = False  # the server sends no more

    async def ask(
        self, where: Location, headers: Mapping[str, str], body: Sequence[bytes], patience: Patience
    ) -> tuple[int, Headers]:
        """See `Link.ask`."""
        self.heard = self._is_over = False
        head = _head(where.target, headers)
        self._http.send(_ASKED)
        self._http.send(h11.EndOfMessage())
        return await patience.wait(partial(self._exchange, head, body))

    async def _exchange(self, head: bytes, body: Sequence[bytes]) -> tuple[int, Headers]:
        await self._send(head, body)
        while True:
            event = self._next_event()
            if event is h11.NEED_DATA:
                await self._receive()
                if self._is_cut:
                    raise StreamTruncated("the server closed the connection before it answered")
            elif isinstance(event, h11.Response):  # an informational one has another one after it
                self._begin_body(event)
                return event.status_code, list(event.headers)

    def _begin_body(self, response: h11.Response) -> None:
        self._chunks, self._ready = None, b""
        if response.http_version == b"1.1" and (b"transfer-encoding", b"chunked") in response.headers:
            self._chunks = ChunkedBody()
            said = [value for name, value in response.headers if name == b"connection"]
            self._may_stay_open = not any(b"close" in value.lower() for value in said)
            self._ready = self._feed(self._chunks, self._http.trailing_data[0])

    async def read(self, patience: Patience) -> bytes | None:
        """See `Link.read`. What one read of the socket brought comes at once, in however many chunks it was sent."""
        if self._chunks is not None:
            return await self._read_chunks(self._chunks, patience)
        parts: list[bytes] = []
        while not self._is_over:
            event = self._next_event()
            if isinstance(event, h11.Data):
                parts.append(event.data)
            elif event is not h11.NEED_DATA:
                self._is_over = True
            elif parts:
                break
            else:
                await patience.wait(self._receive)
        return b"".join(parts) if parts or not self._is_over else None

    async def _read_chunks(self, chunks: ChunkedBody, patience: Patience) -> bytes | None:
        data, self._ready = self._ready, b""
        while not data and not chunks.is_over:
            received = await patience.wait(self._receive_some)
            if not received:
                self._is_cut = True
                raise StreamTruncated("the server closed the connection in the middle of its answer")
            data = self._feed(chunks, received)
        return data or None

    def _feed(self, chunks: ChunkedBody, received: bytes) -> bytes:
        try:
            return chunks.feed(received)
        except ValueError as error:
            raise ProtocolError(f"the answer is no HTTP: {error}") from error

    async def _send(self, head: bytes, body: Sequence[bytes]) -> None:
        try:
            await self._stream.send_all(b"".join((head, *body)))  # one copy, which is gone while we wait for the answer
        except trio.BrokenResourceError:
            pass  # a server that refuses a request may close before it has read all of it: see what it says
        except trio.ClosedResourceError as error:
            raise StreamTruncated("the connection has been closed") from error

    async def _receive_some(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise StreamTruncated(f"the connection broke: {error.__cause__ or error}") from error

    async def _receive(self) -> None:
        received = await self._receive_some()
        if received:
            self.heard = True
        else:
            self._is_cut = True
        self._http.receive_data(received)

    def _next_event(self) -> object:
        try:
            return self._http.next_event()
        except h11.RemoteProtocolError as error:
            if self._is_cut:
                raise StreamTruncated(f"the server closed the connection: {error}") from error
            raise ProtocolError(f"the answer is no HTTP: {error}") from error

    async def finish(self) -> bool:
        """See `Link.finish`."""
        http, chunks = self._http, self._chunks
        if chunks is not None:
            self._http = _http()
            return chunks.is_over and not chunks.rest and self._may_stay_open
        if http.our_state is not h11.DONE or http.their_state is not h11.DONE or http.trailing_data != (b"", False):
            return False  # it is to be closed, or has been, or says more than was asked
        http.start_next_cycle()
        return True

    def is_alive(self) -> bool:
        """See `Link.is_alive`."""
        return not self._socket.is_readable()  # a server says nothing unasked: it would be the connection's end

    async def cut(self) -> None:
        """See `Link.cut`."""
        self._socket.close()

    async def aclose(self) -> None:
        """See `Link.aclose`."""
        self._socket.close()


# What h11 is told of every request: that there was one. It would check all headers anew each time.
_ASKED = h11.Request(method=b"POST", target=b"/", headers=[(b"host", b"host")])

_HEADERS = re.compile(r"(?:[-!#$%&'*+.^_`|~0-9A-Za-z]+: [\t\x20-\x7e]*\r\n)+")


def _head(target: bytes, headers: Mapping[str, str]) -> bytes:
    """A request up to its body.

    Raises:
        ValueError: a header cannot be sent. The text does not show it, as it may be the key's.

    Source: RFC 9112, 3 and 5 (read 2026-11-24).
    """
    lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not _HEADERS.fullmatch(lines) or lines.count("\r\n") != len(headers):
        raise ValueError("a header of the request has characters that HTTP cannot carry")
    return b"POST %b HTTP/1.1\r\n%b\r\n" % (target, lines.encode())


def _http() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)


async def connect(server: Server, tls: ssl.SSLContext | None) -> Connection:
    """Connect to a server, with TLS if a context is given.

    Raises:
        ConnectFailed: it cannot be reached, or is not who it claims to be.
    """
    try:
        stream = await trio.open_tcp_stream(server.host, server.port)
        return await _secured(stream, tls, server.host) if tls else Connection(stream, stream.socket)
    except (OSError, UnicodeError, trio.BrokenResourceError) as error:  # UnicodeError: no host is called so
        raise ConnectFailed(f"cannot connect to {server}: {unwrap(error.__cause__ or error)}") from error


async def _secured(stream: trio.SocketStream, tls: ssl.SSLContext, host: str) -> Connection:
    try:
        secure = trio.SSLStream(stream, tls, server_hostname=host, https_compatible=True)
        await secure.do_handshake()
    except BaseException:
        stream.socket.close()
        raise
    return Connection(secure, stream.socket)


@attrs.define(eq=False)
class Pool:
    """The idle links, by server. The one used last is taken first, so that those too many run out of time."""

    _idle: dict[Server, deque[Link]] = attrs.field(factory=dict)

    async def take(self, server: Server) -> Link | None:
        """A link to `server` that is fit for use, or None."""
        idle = self._idle.get(server)
        if not idle:
            return None
        now = trio.current_time()
        while idle and idle[0].expires_at <= now:  # in the order of their ends
            await drop(idle.popleft())
        while idle:
            link = idle.pop()
            if link.is_alive():
                return link
            await drop(link)
        return None

    def put(self, server: Server, link: Link) -> None:
        """Keep a link that has finished its exchange."""
        link.expires_at = trio.current_time() + KEEP_ALIVE_SECONDS
        self._idle.setdefault(server, deque()).append(link)

    async def aclose(self) -> None:
        """Close all."""
        for idle in self._idle.values():
            while idle:
                await drop(idle.pop())
