"""Sending requests and reading their answers: time limits, typed errors, connections that are used again.

Callers need `HTTP` and nothing of httpx, which is known here and nowhere else.
"""

from __future__ import annotations

import functools
import ipaddress
import math
import ssl
import urllib.request
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Literal, Self, TypeAlias, TypeVar

import httpx
import trio

from alloy.errors import unwrap
from alloy.llm.errors import ConnectFailed, ProtocolError, ReadTimeout, StreamTruncated
from alloy.llm.limiter import Limiter
from alloy.providers.pool import KEEP_ALIVE_SECONDS, Headers, Link, Location, Pool, Server, connect, drop, locate
from alloy.providers.response import Response
from alloy.providers.timeouts import Patience, Timeouts

T = TypeVar("T")

Handler: TypeAlias = Callable[
    [str, str, Mapping[str, str], bytes],
    Awaitable[tuple[int, Mapping[str, str], bytes | AsyncIterable[bytes]]],
]


class HTTP:
    """The connections to the vendors, for all the runs that share it. An async context manager.

    Leaving the block closes every connection, also under an answer that is still being read. Connections
    are not limited in number. All of a process share one TLS context, made at the first https request.

    Args:
        limiter: bounds the calls of all who share this; without one only a vendor's own 429 makes them wait.
        timeouts: the limits on each request.
        proxy: the URL of a proxy for all requests. Without one the environment's proxy variables are
            followed, but never to a loopback address.
        verify: False trusts every certificate; a context decides for itself.
        transport: is asked in place of the network. It is entered and closed together with this object.

    Raises:
        ValueError: `proxy` is no URL of a proxy.
    """

    def __init__(
        self,
        *,
        limiter: Limiter | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008  # a frozen value
        proxy: str | None = None,
        verify: bool | ssl.SSLContext = True,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        for name, value, kind in (("limiter", limiter, Limiter | None), ("timeouts", timeouts, Timeouts)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} must be a {name.capitalize()}, got {value!r}")
        self.limiter: Limiter = limiter or Limiter()
        self.timeouts = timeouts
        self._proxy = None if proxy is None else _proxy(proxy)
        self._verify = verify
        self._transport = transport
        self._pool = Pool()
        self._busy: set[Link] = set()
        self._state: Literal["new", "open", "closed"] = "new"

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise RuntimeError(f"this HTTP is {self._state} already; make another one")
        if self._transport is not None:
            await self._transport.__aenter__()
        self._state = "open"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = "closed"
        await self._pool.aclose()
        for link in tuple(self._busy):
            await link.cut()
        if self._transport is not None:
            await self._transport.__aexit__(kind, error, traceback)

    async def post(self, url: str, headers: Mapping[str, str], body: Sequence[bytes]) -> Response:
        """Send a POST and wait until its answer begins. Whoever gets the response leaves it: `async with`.

        A request on a kept connection that the server was just closing is sent again, once, on a new one.

        Args:
            url: of http or https.
            headers: with names in lower case. Content-Length is added, Host and Accept-Encoding if they are missing.
            body: fragments of it.

        Raises:
            ConnectFailed, ReadTimeout, StreamTruncated, ProtocolError: there is no answer.
            ValueError: the URL or a header cannot be sent.
            RuntimeError: this object is not open.
        """
        self._check_open()
        where = locate(url)
        headers = _all_headers(where, headers, body)
        link = await self._pool.take(where.server)
        if link is not None:
            try:
                return await self._ask(link, where, headers, body)
            except StreamTruncated:
                if link.heard or self._state == "closed":  # else the server closed before it saw the request
                    raise
        return await self._ask(await self._open(where.server), where, headers, body)

    def _check_open(self) -> None:
        if self._state == "new":
            raise RuntimeError("this HTTP has not been entered; use it inside `async with HTTP() as http:`")
        if self._state == "closed":
            raise RuntimeError("this HTTP is closed; use it inside its `async with` block only")

    async def _open(self, server: Server) -> Link:
        if self._transport is not None:
            return TransportLink(self._transport, self.timeouts, is_own=False)
        proxy = self._proxy or _environment_proxy(server)
        tls = self._tls() if server.scheme == "https" else None
        if proxy is None:
            with trio.CancelScope(deadline=trio.current_time() + self.timeouts.connect):
                return await connect(server, tls)
            raise ConnectFailed(f"cannot connect to {server}: no connection within {self.timeouts.connect:g} s")
        try:
            transport = httpx.AsyncHTTPTransport(proxy=proxy, verify=tls or False, trust_env=False, limits=_SINGLE)
        except ImportError as error:  # SOCKS needs another package
            raise ConnectFailed(f"the proxy {proxy.url.scheme}://{proxy.url.host} cannot be used: {error}") from error
        return TransportLink(transport, self.timeouts, is_own=True)

    def _tls(self) -> ssl.SSLContext:
        if isinstance(self._verify, ssl.SSLContext):
            self._verify.set_alpn_protocols(["http/1.1"])
            return self._verify
        return tls_context(self._verify)

    async def _ask(self, link: Link, where: Location, headers: Mapping[str, str], body: Sequence[bytes]) -> Response:
        patience = Patience(self.timeouts)
        release = functools.partial(self._release, where.server, link)
        self._busy.add(link)
        try:
            self._check_open()  # it may have been closed while the link was made
            status, raw = await link.ask(where, headers, body, patience)
            if status == 407:
                raise ConnectFailed("the proxy refuses the request: 407 Proxy Authentication Required")
        except BaseException:
            await release(is_over=False)
            raise
        patience.answer_began()
        return Response(status, raw, link, patience, release)

    async def _release(self, server: Server, link: Link, *, is_over: bool) -> None:
        """Keep the link if its exchange is over and another may follow; else close it."""
        kept = False
        try:
            kept = is_over and await link.finish() and self._state == "open"
        finally:
            self._busy.discard(link)
            if kept:
                self._pool.put(server, link)
            else:
                await drop(link)


class TransportLink:
    """A `Link` over an httpx transport: one that the user gave, or our own to a proxy."""

    def __init__(self, transport: httpx.AsyncBaseTransport, timeouts: Timeouts, *, is_own: bool) -> None:
        self.expires_at: float = 0.0
        self._transport = transport
        self._is_own = is_own
        connect = None if math.isinf(timeouts.connect) else timeouts.connect
        self._extensions = {"timeout": {"connect": connect, "read": None, "write": None, "pool": None}}
        self._stream: httpx.AsyncByteStream | None = None
        self._body: AsyncIterator[bytes] | None = None

    @property
    def heard(self) -> bool:
        """See `Link.heard`."""
        return self._stream is not None

    async def ask(
        self, where: Location, headers: Mapping[str, str], body: Sequence[bytes], patience: Patience
    ) -> tuple[int, Headers]:
        """See `Link.ask`."""
        self._stream = self._body = None
        content = b"".join(body)
        request = httpx.Request("POST", where.text, headers=headers, content=content, extensions=self._extensions)
        response = await _typed(patience, lambda: self._transport.handle_async_request(request))
        if not isinstance(response.stream, httpx.AsyncByteStream):
            raise TypeError(f"the transport answered with the body of a synchronous response: {response.stream!r}")
        self._stream = response.stream
        self._body = aiter(self._stream)
        return response.status_code, response.headers.raw

    async def read(self, patience: Patience) -> bytes | None:
        """See `Link.read`."""
        body = self._body
        assert body is not None
        return await _typed(patience, lambda: anext(body, None))

    async def finish(self) -> bool:
        """See `Link.finish`."""
        assert self._stream is not None
        await self._stream.aclose()
        self._stream = self._body = None
        return self._is_own

    def is_alive(self) -> bool:
        """See `Link.is_alive`."""
        return True  # httpx looks itself, and connects anew

    async def cut(self) -> None:
        """See `Link.cut`."""
        if self._is_own:
            await self._transport.aclose()

    async def aclose(self) -> None:
        """See `Link.aclose`."""
        await self.cut()
        if self._body is None or self._stream is None:
            return
        if self._is_own:
            # httpcore's generators have to come to their end, as Trio warns of each that is left half-way.
            # Without their socket they do so at once.
            with suppress(*_FOREIGN):
                while await anext(self._body, None) is not None:
                    pass
        elif isinstance(self._body, AsyncGenerator):
            await self._body.aclose()
        await self._stream.aclose()


_SINGLE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_SECONDS)

# What a transport may raise that is no fault of the program.
_FOREIGN = (httpx.HTTPError, OSError, trio.BrokenResourceError, trio.ClosedResourceError, BaseExceptionGroup)


async def _typed(patience: Patience, receive: Callable[[], Awaitable[T]]) -> T:
    try:
        return await patience.wait(receive)
    except _FOREIGN as error:
        fault = _fault(unwrap(error))
    # Out here, so that it does not drag the transport's error along, which may hold the request and its key.
    raise fault


def _fault(error: BaseException) -> BaseException:
    """What stands for an error of a transport: the one place where httpx's errors become ours."""
    match error:
        case httpx.ConnectError() | httpx.ConnectTimeout() | httpx.PoolTimeout() | httpx.ProxyError():
            return ConnectFailed(f"cannot connect: {error}")
        case httpx.TimeoutException():
            return ReadTimeout(f"the transport's own limit passed: {error}")
        case httpx.LocalProtocolError():  # its text shows the header, which may be the key's
            return ValueError("a header of the request has characters that HTTP cannot carry")
        case httpx.UnsupportedProtocol() | httpx.DecodingError():
            return ProtocolError(str(error))
        case httpx.HTTPError() | OSError() | trio.BrokenResourceError() | trio.ClosedResourceError():
            return StreamTruncated(f"the connection broke: {error or type(error).__name__}")
        case _:
            return error


@functools.cache
def tls_context(verify: bool = True) -> ssl.SSLContext:
    """The one TLS context of this process that verifies certificates, or does not."""
    # It blocks for some 40 ms, once in the life of a process.
    context = httpx.create_ssl_context(verify=verify)
    context.set_alpn_protocols(["http/1.1"])
    return context


def _all_headers(where: Location, headers: Mapping[str, str], body: Sequence[bytes]) -> Mapping[str, str]:
    length = str(sum(map(len, body)))
    complete = {"host": where.host, "accept-encoding": "identity", **headers, "content-length": length}
    for name, value in complete.items():
        if not (name.isascii() and value.isascii()):  # the value may be the key
            raise ValueError(f"the header {name!r} has characters that are not ASCII")
    return complete


def _environment_proxy(server: Server) -> httpx.Proxy | None:
    if _is_loopback(server.host):
        return None
    proxies = urllib.request.getproxies()
    url = proxies.get(server.scheme) or proxies.get("all")
    if not url or urllib.request.proxy_bypass(f"{server.host}:{server.port}"):
        return None
    try:
        return _proxy(url if "://" in url else f"http://{url}")
    except ValueError as error:
        raise ConnectFailed(f"the proxy variables of the environment cannot be used: {error}") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _proxy(url: str) -> httpx.Proxy:
    try:
        return httpx.Proxy(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise ValueError(f"no URL of a proxy, such as http://host:port: {error}") from None


class HandlerTransport(httpx.AsyncBaseTransport):
    """See `handler_transport`."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Ask the handler."""
        body = await request.aread()
        status, headers, content = await self._handler(request.method, str(request.url), dict(request.headers), body)
        if isinstance(content, bytes):
            return httpx.Response(status, headers=headers, content=content)
        return httpx.Response(status, headers=headers, stream=HandlerStream(content))


class HandlerStream(httpx.AsyncByteStream):
    """A body that a handler makes as it is read."""

    def __init__(self, content: AsyncIterable[bytes]) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._content)


def handler_transport(handler: Handler) -> httpx.AsyncBaseTransport:
    """A transport for `HTTP(transport=…)` that answers from memory.

    Args:
        handler: `await handler(method, url, headers, body)` returns status, headers and body; a body that
            is no bytes is iterated as it is read, one chunk at a time.
    """
    return HandlerTransport(handler)
