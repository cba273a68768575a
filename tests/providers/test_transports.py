"""Ways that are not a socket of our own: the user's transports, and proxies."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import httpx
import pytest
import trio
from trio.testing import MockClock

from alloy.llm.errors import ConnectFailed, ProtocolError, ReadTimeout, StreamTruncated
from alloy.providers.http import HTTP, handler_transport
from providers.exchange import BODY, Slow, ask, everything, held, ok
from providers.loopback import Exchange, Handler, replies, serve


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectError("no"), ConnectFailed),
        (httpx.ConnectTimeout("no"), ConnectFailed),
        (httpx.PoolTimeout("no"), ConnectFailed),
        (httpx.ProxyError("no"), ConnectFailed),
        (httpx.ReadTimeout("no"), ReadTimeout),
        (httpx.ReadError("no"), StreamTruncated),
        (httpx.RemoteProtocolError("no"), StreamTruncated),
        (httpx.UnsupportedProtocol("no"), ProtocolError),
        (OSError("no"), StreamTruncated),
        (trio.BrokenResourceError(), StreamTruncated),
        (ExceptionGroup("", [ExceptionGroup("", [httpx.ReadError("no")])]), StreamTruncated),
        (ZeroDivisionError("a bug"), ZeroDivisionError),
        (ExceptionGroup("", [ZeroDivisionError("a bug")]), ZeroDivisionError),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_a_transports_errors_are_typed_and_never_httpx(
    error: Exception, expected: type[Exception], at_once: bool
) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield b"1"
        raise error

    async def handler(
        method: str, url: str, headers: Mapping[str, str], content: bytes
    ) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        if at_once:
            raise error
        return 200, {}, body()

    async with HTTP(transport=handler_transport(handler)) as http:
        with pytest.raises(expected) as caught:
            await ask(http, "http://x")

    assert type(caught.value) is expected
    chain: list[BaseException | None] = [caught.value.__cause__, caught.value.__context__]
    assert not any(isinstance(link, httpx.HTTPError) for link in chain)


async def test_a_transport_of_httpx_is_asked_entered_and_closed() -> None:
    events: list[str] = []

    class Transport(httpx.MockTransport):
        async def __aenter__(self) -> Transport:  # type: ignore[override]  # what httpx annotates is no Self
            events.append("entered")
            return self

        async def aclose(self) -> None:
            events.append("closed")

    def handler(request: httpx.Request) -> httpx.Response:
        events.append(f"{request.method} {request.url} {request.content.decode()}")
        return httpx.Response(200, json={"ok": True})

    async with HTTP(transport=Transport(handler)) as http:
        assert await ask(http, "http://x") == b'{"ok":true}'

    assert events == ["entered", 'POST http://x/v1 {"a":1}', "closed"]


async def test_a_transport_that_is_not_asynchronous_is_a_mistake() -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(200, content=iter([b"1"])))

    async with HTTP(transport=transport) as http:
        with pytest.raises(TypeError, match="synchronous"):
            await ask(http, "http://x")


async def test_a_handler_gets_the_request_and_may_answer_in_one_piece() -> None:
    async def handler(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        return 201, {"x-id": "7"}, f"{method} {url} {headers['x']} {body.decode()}".encode()

    async with HTTP(transport=handler_transport(handler)) as http:
        response = await http.post("https://x/v1", {"x": "y"}, BODY)
        body = await everything(response)

    assert (response.status, response.headers["x-id"], body) == (201, "7", b'POST https://x/v1 y {"a":1}')


async def test_leaving_early_closes_a_handlers_body(autojump_clock: MockClock) -> None:
    handler = Slow(0, (0, b"1"), (1, b"2"))

    transport = handler_transport(handler)
    async with HTTP(transport=transport) as http, await http.post("http://x/", {}, BODY) as response:
        await response.receive_some()

    assert handler.closed


async def proxy(exchange: Exchange) -> None:
    """A forwarding proxy that answers itself."""
    await exchange.answer(200, f"via proxy: {exchange.received.target}".encode())


PROXIED = "http://api.vendor.example/v1"


async def test_an_explicit_proxy_gets_every_request_over_one_connection() -> None:
    async with serve(proxy) as server, HTTP(proxy=server.url) as http:
        for _ in range(3):
            response = await http.post("http://127.0.0.1:9/v1", {}, BODY)
            assert await everything(response) == b"via proxy: http://127.0.0.1:9/v1"

    assert server.opened == 1


async def test_the_environments_proxy_is_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with serve(proxy) as server, HTTP() as http:
        monkeypatch.setenv("http_proxy", server.url.removeprefix("http://"))

        assert await everything(await http.post(PROXIED, {}, BODY)) == b"via proxy: " + PROXIED.encode()


async def test_no_proxy_and_loopback_addresses_go_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(exchange: Exchange) -> None:
        raise AssertionError("the proxy was asked")

    async with serve(never) as server, serve(ok) as direct, HTTP() as http:
        monkeypatch.setenv("all_proxy", server.url)
        monkeypatch.setenv("no_proxy", "vendor.example")

        assert await ask(http, direct.url) == b"ok"
        assert await ask(http, direct.url.replace("127.0.0.1", "localhost")) == b"ok"
        with pytest.raises(ConnectFailed):  # tests are offline
            await http.post(PROXIED, {}, BODY)


async def test_a_tunnel_is_asked_for_where_the_server_wants_tls() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(403, b"")

    async with serve(refuse) as server, HTTP(proxy=server.url) as http:
        with pytest.raises(ConnectFailed, match="403"):
            await http.post("https://api.vendor.example/v1", {}, BODY)

    assert (server.received[0].method, server.received[0].target) == ("CONNECT", "api.vendor.example:443")


async def test_a_proxy_that_wants_a_password_or_is_not_there_is_a_failure_to_connect() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(407, b"")

    async with serve(refuse) as server, HTTP(proxy=server.url) as http:
        with pytest.raises(ConnectFailed, match="407"):
            await http.post(PROXIED, {}, BODY)
    async with HTTP(proxy=server.url) as http:
        with pytest.raises(ConnectFailed):
            await http.post(PROXIED, {}, BODY)


async def test_a_socks_proxy_that_cannot_be_used_is_a_failure_to_connect() -> None:
    async with HTTP(proxy="socks5://127.0.0.1:9") as http:  # nobody is there, and the package may not be either
        with pytest.raises(ConnectFailed):
            await http.post(PROXIED, {}, BODY)


@pytest.mark.parametrize("url", ["nonsense", "ftp://x", "socks9://me:hunter2@x"])
def test_what_is_no_proxy_is_refused_and_its_password_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="no URL of a proxy") as caught:
        HTTP(proxy=url)

    assert "hunter2" not in str(caught.value)


async def test_a_proxy_variable_that_is_nonsense_is_a_failure_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "ftp://x")

    async with HTTP() as http:
        with pytest.raises(ConnectFailed, match="environment"):
            await http.post(PROXIED, {}, BODY)


@pytest.mark.parametrize("how", ["leave", "cancel", "cut", "stale"])
async def test_connections_to_a_proxy_come_to_a_clean_end(how: str) -> None:
    async def endless(exchange: Exchange) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        await exchange.raw(head + b"1\r\n1\r\n1\r\n2\r\n")
        await exchange.hang()

    async def cut(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")
        await exchange.reset()

    async def die(exchange: Exchange) -> None:
        await exchange.reset()

    script: dict[str, Handler] = {"cut": cut, "stale": replies(ok, die, ok)}
    async with serve(script.get(how, endless)) as server:
        before = await held()
        async with HTTP(proxy=server.url) as http:
            if how == "leave":
                async with await http.post(PROXIED, {}, BODY) as response:
                    assert await response.receive_some() == b"1"
            elif how == "cancel":
                with trio.move_on_after(0.05) as scope:
                    await ask(http, PROXIED)
                assert scope.cancelled_caught
            elif how == "cut":
                with pytest.raises(StreamTruncated):
                    await ask(http, PROXIED)
            else:
                assert [await ask(http, PROXIED) for _ in range(2)] == [b"ok", b"ok"]
        await server.wait_open(0)
        assert await held() == before
