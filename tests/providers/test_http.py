"""HTTP as its callers see it: requests, answers, and connections that are used again."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping

import httpx
import pytest
import trio

from alloy.llm.errors import ProtocolError, StreamTruncated
from alloy.providers.http import HTTP
from providers.exchange import BODY, ask, everything, ok
from providers.loopback import Exchange, chunks, replies, serve


async def test_a_request_arrives_as_it_was_written() -> None:
    async with serve(ok) as server, HTTP() as http:
        response = await http.post(server.url + "/v1/x?y=1", {"authorization": "Bearer k"}, BODY)
        async with response:
            pass

    [received] = server.received
    assert (received.method, received.target, received.body) == ("POST", "/v1/x?y=1", b'{"a":1}')
    assert received.headers == {
        "host": f"127.0.0.1:{server.port}",
        "accept-encoding": "identity",
        "content-length": "7",
        "authorization": "Bearer k",
    }


async def test_an_answer_has_its_status_headers_and_body() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.answer(429, b"slow down", {"Retry-After": "3", "X-Id": "a"})

    async with serve(handler) as server, HTTP() as http:
        response = await http.post(server.url, {}, BODY)
        body = await everything(response)

    assert (response.status, body) == (429, b"slow down")
    assert (response.headers["retry-after"], response.headers["x-id"]) == ("3", "a")


async def test_entering_and_reading_are_checkpoints() -> None:
    async with serve(chunks(b"1")) as server, HTTP() as http:
        with trio.testing.assert_checkpoints():
            response = await http.post(server.url, {}, BODY)
        await everything(response)


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "x-gzip"])
async def test_an_encoding_that_was_not_asked_for_is_undone(encoding: str) -> None:
    text = b"data: 1\n\n" * 1000
    packed = zlib.compress(text) if encoding == "deflate" else gzip.compress(text)
    parts = [packed[i : i + 7] for i in range(0, len(packed), 7)]

    async with serve(chunks(*parts, headers={"content-encoding": encoding})) as server, HTTP() as http:
        assert await ask(http, server.url) == text
        assert await ask(http, server.url) == text
        assert server.opened == 1


@pytest.mark.parametrize(
    ("encoding", "body", "error"),
    [
        ("br", b"x", ProtocolError),
        ("gzip", b"no gzip", ProtocolError),
        ("gzip", gzip.compress(b"x" * 1000)[:-9], StreamTruncated),
    ],
)
async def test_an_encoding_that_cannot_be_read_is_an_error(encoding: str, body: bytes, error: type[Exception]) -> None:
    async with serve(chunks(body, headers={"content-encoding": encoding})) as server, HTTP() as http:
        with pytest.raises(error):
            await ask(http, server.url)


@pytest.mark.parametrize("headers", [{"x": "a\nb"}, {"x": "1\r\ny: hunter2"}, {"x": "ключ-hunter2"}, {"x y": "1"}])
@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_header_that_cannot_be_sent_is_refused_without_its_value(
    headers: Mapping[str, str], in_memory: bool
) -> None:
    async with serve(ok) as server, HTTP(transport=httpx.AsyncHTTPTransport() if in_memory else None) as http:
        with pytest.raises(ValueError, match="header") as caught:
            await http.post(server.url, headers, BODY)

    assert "hunter2" not in repr(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


async def test_a_thousand_requests_need_one_connection() -> None:
    async with serve(chunks(b"1", b"2")) as server, HTTP() as http:
        for _ in range(1000):
            assert await ask(http, server.url) == b"12"

    assert (server.opened, len(server.received)) == (1, 1000)


async def test_requests_at_once_have_a_connection_each_and_share_them_later() -> None:
    async with serve(ok) as server, HTTP() as http:
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ask, http, server.url)
        assert server.opened == 20


async def test_a_connection_that_the_server_closed_meanwhile_is_not_used() -> None:
    async def once(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok", {"connection": "close"})

    async def rudely(exchange: Exchange) -> None:
        await exchange.answer(200, b"ok")
        await exchange.reset()

    async with serve(replies(once, rudely, ok)) as server, HTTP() as http:
        for _ in range(3):
            assert await ask(http, server.url) == b"ok"
            await trio.testing.wait_all_tasks_blocked()

    assert (server.opened, len(server.received)) == (3, 3)


async def test_a_connection_that_dies_under_the_request_is_replaced_once() -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.reset()

    async with serve(replies(ok, die, ok)) as server, HTTP() as http:
        assert await ask(http, server.url) == b"ok"
        assert await ask(http, server.url) == b"ok"

    assert [received.connection for received in server.received] == [1, 1, 2]


async def test_a_request_is_not_sent_a_third_time() -> None:
    async def die(exchange: Exchange) -> None:
        await exchange.reset()

    async with serve(replies(ok, die)) as server, HTTP() as http:
        await ask(http, server.url)
        with pytest.raises(StreamTruncated):
            await ask(http, server.url)

    assert len(server.received) == 3


async def test_a_request_is_not_sent_again_once_a_byte_has_come_or_on_a_new_connection() -> None:
    async def begin(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 2")

    async with serve(replies(begin, ok, begin, begin)) as server, HTTP() as http:
        with pytest.raises(StreamTruncated):
            await ask(http, server.url)
        await ask(http, server.url)
        with pytest.raises(StreamTruncated):
            await ask(http, server.url)

    assert len(server.received) == 3


async def test_an_answer_to_a_request_that_was_not_read_in_full_is_heard() -> None:
    async def refuse(stream: trio.SocketStream) -> None:
        await stream.receive_some(1000)
        await stream.send_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    async with trio.open_nursery() as nursery, HTTP() as http:
        nursery.start_soon(trio.serve_listeners, refuse, listeners)
        response = await http.post(url, {}, (b"x" * 20_000_000,))
        await everything(response)
        nursery.cancel_scope.cancel()

    assert response.status == 413


async def test_leaving_early_closes_the_connection() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")
        await exchange.hang()

    async with serve(endless) as server, HTTP() as http:
        async with await http.post(server.url, {}, BODY) as response:
            assert await response.receive_some() == b"1"
        await server.wait_open(0)


async def test_an_error_in_the_block_closes_the_connection_though_the_body_was_read() -> None:
    async def fail_after_all(http: HTTP, url: str) -> None:
        async with await http.post(url, {}, BODY) as response:
            while await response.receive_some():
                pass
            raise KeyError

    async with serve(ok) as server, HTTP() as http:
        with pytest.raises(KeyError):
            await fail_after_all(http, server.url)
        await server.wait_open(0)


async def test_leaving_http_closes_idle_and_busy_connections() -> None:
    async with serve(replies(ok, ok, Exchange.hang)) as server, trio.open_nursery() as nursery:
        async with HTTP() as http:
            async with trio.open_nursery() as both:
                both.start_soon(ask, http, server.url)
                both.start_soon(ask, http, server.url)
            results: list[Exception] = []

            async def wait() -> None:
                try:
                    await ask(http, server.url)
                except StreamTruncated as error:
                    results.append(error)

            nursery.start_soon(wait)
            await server.wait_received(3)
        await server.wait_open(0)
        nursery.cancel_scope.deadline = trio.current_time() + 5

    assert len(results) == 1


async def test_http_works_only_inside_its_block_and_says_what_to_do() -> None:
    http = HTTP()

    with pytest.raises(RuntimeError, match="async with HTTP"):
        await http.post("http://127.0.0.1/", {}, BODY)
    async with http:
        with pytest.raises(RuntimeError, match="open already"):
            await http.__aenter__()
    with pytest.raises(RuntimeError, match="closed"):
        await http.post("http://127.0.0.1/", {}, BODY)
    with pytest.raises(RuntimeError, match="closed already"):
        await http.__aenter__()
