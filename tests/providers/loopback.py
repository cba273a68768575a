r"""A small HTTP/1.1 server on a loopback address, for tests that want a real socket.

A handler answers each request, in as many chunks as it likes, and may break off, hang, or speak no HTTP
at all:

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, {"content-type": "text/event-stream"})
        await exchange.send(b"data: 1\n\n")
        await exchange.end()

    async with serve(handler) as server:
        ... server.url ...
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeAlias

import h11
import trio

from alloy.errors import sole_error


@dataclass(frozen=True)
class Received:
    """A request. `connection` numbers the connections from 1, in the order in which they were opened."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


class Exchange:
    """One request, and the means to answer it."""

    def __init__(self, received: Received, stream: trio.abc.Stream, sock: socket.socket, http: h11.Connection) -> None:
        self.received = received
        self._stream = stream
        self._socket = sock
        self._http = http

    async def answer(self, status: int, body: bytes = b"", headers: Mapping[str, str] = {}) -> None:
        """All at once."""
        await self.start(status, {"content-length": str(len(body)), **headers})
        await self.send(body)
        await self.end()

    async def start(self, status: int = 200, headers: Mapping[str, str] = {}) -> None:
        """The head. Without a content-length the body is chunked."""
        await self._send(h11.Response(status_code=status, headers=list(headers.items())))

    async def send(self, data: bytes) -> None:
        """One chunk."""
        await self._send(h11.Data(data=data))

    async def end(self) -> None:
        await self._send(h11.EndOfMessage())

    async def raw(self, data: bytes) -> None:
        """Bytes as they are. The connection is closed after them, unless the handler ends the answer properly."""
        await self._stream.send_all(data)

    async def hang(self) -> None:
        """Say nothing until the client has closed the connection."""
        while await self._stream.receive_some(65536):
            pass

    async def reset(self) -> None:
        """Break off with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await trio.aclose_forcefully(self._stream)

    async def _send(self, event: h11.Event) -> None:
        await self._stream.send_all(self._http.send(event) or b"")


Handler: TypeAlias = Callable[[Exchange], Awaitable[None]]


@dataclass
class Server:
    """What is known of a server that runs.

    Attributes:
        received: every request.
        opened: how many connections were ever made.
        open: how many there are.
    """

    handler: Handler
    port: int
    scheme: str
    received: list[Received] = field(default_factory=list)
    opened: int = 0
    open: int = 0
    _changed: trio.Event = field(default_factory=trio.Event)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    async def wait_open(self, number: int) -> None:
        """Wait until this many connections are open; a test that waits for ever has found a leak."""
        with trio.fail_after(10):
            while self.open != number:
                await self._changed.wait()

    async def wait_received(self, number: int) -> None:
        """Wait until this many requests have come."""
        with trio.fail_after(10):
            while len(self.received) < number:
                await self._changed.wait()

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()

    async def serve(self, stream: trio.abc.Stream, sock: socket.socket) -> None:
        self.opened += 1
        self.open += 1
        self._notify()
        try:
            await self._serve(stream, sock, self.opened)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            pass  # the client has gone, or the handler has left HTTP
        finally:
            self.open -= 1
            self._notify()
            await trio.aclose_forcefully(stream)

    async def _serve(self, stream: trio.abc.Stream, sock: socket.socket, connection: int) -> None:
        http = h11.Connection(h11.SERVER)
        while (received := await _receive(http, stream, connection)) is not None:
            self.received.append(received)
            self._notify()
            await self.handler(Exchange(received, stream, sock, http))
            if http.our_state is not h11.DONE:
                return
            http.start_next_cycle()


async def _receive(http: h11.Connection, stream: trio.abc.Stream, connection: int) -> Received | None:
    request: h11.Request | None = None
    body = bytearray()
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            request = event
        elif isinstance(event, h11.Data):
            body += event.data
        elif isinstance(event, h11.EndOfMessage) and request is not None:
            headers = {name.decode(): value.decode() for name, value in request.headers}
            return Received(request.method.decode(), request.target.decode(), headers, bytes(body), connection)
        else:
            return None


@asynccontextmanager
async def serve(handler: Handler, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    """Run a server. Leaving the block closes its connections."""
    with sole_error():
        async with trio.open_nursery() as nursery:
            [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
            server = Server(handler, listener.socket.getsockname()[1], "https" if tls else "http")

            async def accept(plain: trio.SocketStream) -> None:
                stream: trio.abc.Stream = plain
                if tls is not None:
                    stream = trio.SSLStream(plain, tls, server_side=True, https_compatible=True)
                await server.serve(stream, plain.socket)

            nursery.start_soon(trio.serve_listeners, accept, [listener])
            yield server
            nursery.cancel_scope.cancel("the test is over")


def replies(*handlers: Handler) -> Handler:
    """The first handler for the first request, and so on; the last one for all that follow."""
    left = list(handlers)

    async def handler(exchange: Exchange) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(exchange)

    return handler


def chunks(*data: bytes, headers: Mapping[str, str] = {"content-type": "text/event-stream"}) -> Handler:
    """A handler that streams these chunks, each in a packet of its own if the kernel likes."""

    async def handler(exchange: Exchange) -> None:
        await exchange.start(200, headers)
        for chunk in data:
            await exchange.send(chunk)
        await exchange.end()

    return handler
