"""Connections: what is read from a socket, and which of them are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import trio
from trio.testing import MockClock

from alloy.llm.errors import ConnectFailed, ProtocolError, StreamTruncated
from alloy.providers.pool import KEEP_ALIVE_SECONDS, Connection, Headers, Location, Pool, Server, connect, locate
from alloy.providers.timeouts import Patience, Timeouts
from providers.loopback import Exchange, serve

HERE = Server("http", "127.0.0.1", 80)


@pytest.mark.parametrize(
    ("url", "server", "target", "host"),
    [
        ("https://api.x.com/v1/chat", Server("https", "api.x.com", 443), b"/v1/chat", "api.x.com"),
        ("http://127.0.0.1:8000/v1", Server("http", "127.0.0.1", 8000), b"/v1", "127.0.0.1:8000"),
        ("http://[::1]:11434/api/chat", Server("http", "::1", 11434), b"/api/chat", "[::1]:11434"),
        ("https://x.com", Server("https", "x.com", 443), b"/", "x.com"),
        ("https://X.com/a?alt=sse&b=%20", Server("https", "x.com", 443), b"/a?alt=sse&b=%20", "x.com"),
        ("https://x.com/models/a b:ü", Server("https", "x.com", 443), b"/models/a%20b:%C3%BC", "x.com"),
        ("https://bücher.de/", Server("https", "xn--bcher-kva.de", 443), b"/", "xn--bcher-kva.de"),
    ],
)
def test_a_url_is_taken_apart(url: str, server: Server, target: bytes, host: str) -> None:
    assert locate(url) == Location(url, server, target, host)


@pytest.mark.parametrize("url", ["x.com/v1", "ftp://x.com", "http://", "http://x.com:port/", ""])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"http|Port"):
        locate(url)


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ValueError, match="must not hold a user") as caught:
        locate("https://me:hunter2@x.com/")

    assert "hunter2" not in str(caught.value)


class Idle:
    """A link that does nothing but tell whether it was closed."""

    def __init__(self, *, alive: bool = True) -> None:
        self.expires_at = 0.0
        self.alive = alive
        self.closed = False

    heard = False

    async def ask(
        self, where: Location, headers: Mapping[str, str], body: Sequence[bytes], patience: Patience
    ) -> tuple[int, Headers]:
        raise AssertionError("an idle link is not asked")

    async def read(self, patience: Patience) -> bytes | None:
        raise AssertionError("an idle link is not read")

    async def finish(self) -> bool:
        raise AssertionError("an idle link has finished")

    def is_alive(self) -> bool:
        return self.alive

    async def cut(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


async def test_the_link_used_last_is_taken_first() -> None:
    pool, first, second = Pool(), Idle(), Idle()
    pool.put(HERE, first)
    pool.put(HERE, second)

    assert [await pool.take(HERE) for _ in range(3)] == [second, first, None]


async def test_a_link_is_only_for_its_server() -> None:
    pool = Pool()
    pool.put(HERE, Idle())

    assert await pool.take(HERE._replace(port=81)) is None
    assert await pool.take(HERE._replace(scheme="https")) is None


async def test_links_expire_and_are_closed_when_the_server_is_next_asked_for(autojump_clock: MockClock) -> None:
    pool, old, new = Pool(), Idle(), Idle()
    pool.put(HERE, old)
    await trio.sleep(KEEP_ALIVE_SECONDS - 1)
    pool.put(HERE, new)
    await trio.sleep(1)

    assert await pool.take(HERE) is new
    assert (old.closed, new.closed) == (True, False)


async def test_dead_links_are_passed_over_and_closed() -> None:
    pool, good, dead = Pool(), Idle(), Idle(alive=False)
    pool.put(HERE, good)
    pool.put(HERE, dead)

    assert await pool.take(HERE) is good
    assert dead.closed


async def test_closing_the_pool_closes_all_links() -> None:
    pool, links = Pool(), [Idle(), Idle()]
    pool.put(HERE, links[0])
    pool.put(HERE._replace(port=81), links[1])

    await pool.aclose()

    assert all(link.closed for link in links)


async def ask(raw: list[bytes]) -> tuple[int, list[tuple[bytes, bytes]], bytes, bool]:
    """What a connection makes of these bytes, a packet each: status, headers, body, and whether it can be kept."""

    async def handler(exchange: Exchange) -> None:
        for packet in raw:
            await exchange.raw(packet)
            await trio.testing.wait_all_tasks_blocked()

    async with serve(handler) as server:
        where = locate(server.url)
        patience = Patience(Timeouts())
        connection = await connect(where.server, None)
        try:
            status, headers = await connection.ask(where, {"host": where.host}, [], patience)
            body = b""
            while (part := await connection.read(patience)) is not None:
                body += part
            return status, headers, body, await connection.finish()
        finally:
            await connection.aclose()


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("raw", "body", "kept"),
    [
        ([OK + b"Content-Length: 2\r\n\r\nok"], b"ok", True),
        ([OK + b"Content-Length: 2\r\n\r\n", b"o", b"k"], b"ok", True),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"], b"ok", True),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2;x=y\r\no", b"k\r\n0\r\nTrailer: x\r\n\r\n"], b"ok", True),
        ([OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok"], b"ok", False),
        ([OK + b"\r\nok"], b"ok", False),
        ([b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"], b"ok", False),
        ([OK + b"Content-Length: 2\r\n\r\nok and more"], b"ok", False),
        ([b"HTTP/1.1 100 Continue\r\n\r\n", OK + b"Content-Length: 2\r\n\r\nok"], b"ok", True),
        ([b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"], b"", True),
        ([b"HTTP/1.1 204 No Content\r\n\r\n"], b"", True),
        ([OK[:7], OK[7:] + b"X-Long: " + b"x" * 100_000 + b"\r\n", b"Content-Length: 0\r\n\r\n"], b"", True),
    ],
)
async def test_an_answer_is_read_however_it_is_sent(raw: list[bytes], body: bytes, kept: bool) -> None:
    _, _, read, reusable = await ask(raw)

    assert (read, reusable) == (body, kept)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ([], StreamTruncated),
        ([OK], StreamTruncated),
        ([OK + b"Content-Length: 3\r\n\r\nok"], StreamTruncated),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n"], StreamTruncated),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\no"], StreamTruncated),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n"], ProtocolError),
        ([b"SSH-2.0-OpenSSH_9.6\r\n\r\n"], ProtocolError),
        ([OK + b"X: " + b"x" * 300_000], ProtocolError),
    ],
)
async def test_a_cut_answer_and_one_that_is_no_http_are_told_apart(raw: list[bytes], error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(raw)


async def test_all_chunks_of_one_read_come_together() -> None:
    async def handler(exchange: Exchange) -> None:
        await exchange.raw(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 500 + b"0\r\n\r\n")

    async with serve(handler) as server:
        where, patience = locate(server.url), Patience(Timeouts())
        connection = await connect(where.server, None)
        await connection.ask(where, {"host": where.host}, [], patience)

        assert await connection.read(patience) == b"x" * 500
        assert await connection.read(patience) is None
        assert await connection.read(patience) is None
        await connection.aclose()


async def test_nobody_there_is_a_failure_to_connect() -> None:
    async with serve(Exchange.hang) as server:
        gone = locate(server.url).server

    with pytest.raises(ConnectFailed, match=r"cannot connect to http://127\.0\.0\.1:.*refused") as caught:
        await connect(gone, None)

    assert not caught.value.sent


async def test_a_name_that_no_host_can_have_is_a_failure_to_connect() -> None:
    with pytest.raises(ConnectFailed, match="cannot connect"):
        await connect(locate("http://a..b/").server, None)


async def test_an_idle_connection_is_alive_until_the_server_closes_it() -> None:
    stop = trio.Event()

    async def handler(exchange: Exchange) -> None:
        await exchange.answer(200)
        await stop.wait()
        await exchange.reset()

    async with serve(handler) as server:
        where, patience = locate(server.url), Patience(Timeouts())
        connection: Connection = await connect(where.server, None)
        await connection.ask(where, {"host": where.host}, [], patience)
        assert await connection.read(patience) is None
        assert await connection.finish()

        assert connection.is_alive()
        stop.set()
        await server.wait_open(0)
        assert not connection.is_alive()
        await connection.aclose()
