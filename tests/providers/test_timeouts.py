"""The limits on waiting: on a clock of their own, so they are exact."""

from __future__ import annotations

import math

import pytest
import trio
from trio.testing import MockClock

from alloy.llm.errors import ConnectFailed, ReadTimeout
from alloy.providers.http import HTTP, handler_transport
from alloy.providers.response import SETTLE_BYTES
from alloy.providers.timeouts import SETTLE_SECONDS, Timeouts
from providers.exchange import BODY, Slow, ask, ok
from providers.loopback import Exchange, chunks, replies, serve


async def read(http: HTTP) -> None:
    """Ask, and read all, of which some is content."""
    async with await http.post("http://x/", {}, BODY) as response:
        while chunk := await response.receive_some():
            if chunk == b"content":
                response.content_came()


LIMITS = Timeouts(first_byte=120, silence=60, no_content=300)


@pytest.mark.parametrize(
    ("handler", "phase", "at"),
    [
        (Slow(math.inf), "first_byte", 120),
        (Slow(100, (math.inf, b"")), "silence", 160),
        (Slow(0, (59, b"ping"), (61, b"late")), "silence", 119),
        (Slow(0, *[(50, b"ping")] * 10), "no_content", 300),
        (Slow(0, (50, b"content"), *[(50, b"ping")] * 10), "no_content", 350),
        (Slow(0, *[(50, b"content")] * 10, *[(50, b"ping")] * 10), "no_content", 800),
    ],
)
async def test_the_limits_on_waiting_are_exact(handler: Slow, phase: str, at: float, autojump_clock: MockClock) -> None:
    async with HTTP(transport=handler_transport(handler), timeouts=LIMITS) as http:
        with pytest.raises(ReadTimeout) as caught:
            await read(http)

    assert (caught.value.phase, trio.current_time()) == (phase, at)
    assert handler.closed or handler.head == math.inf


async def test_an_answer_just_within_the_limits_comes_through(autojump_clock: MockClock) -> None:
    handler = Slow(119, (59, b"1"), (59, b"2"))

    async with HTTP(transport=handler_transport(handler), timeouts=LIMITS) as http:
        assert await ask(http, "http://x") == b"12"


async def test_time_that_the_reader_takes_does_not_count(autojump_clock: MockClock) -> None:
    handler = Slow(0, *[(1, b"ping")] * 200)

    transport = handler_transport(handler)
    async with HTTP(transport=transport, timeouts=LIMITS) as http, await http.post("http://x/", {}, BODY) as response:
        while await response.receive_some():  # noqa: ASYNC110  # not what waits here
            await trio.sleep(1000)

    assert trio.current_time() == 200 * 1001


async def test_a_limit_and_a_callers_deadline_are_told_apart(autojump_clock: MockClock) -> None:
    async with HTTP(transport=handler_transport(Slow(math.inf)), timeouts=LIMITS) as http:
        with pytest.raises(trio.TooSlowError), trio.fail_after(119):
            await ask(http, "http://x")


async def test_without_limits_a_request_waits(autojump_clock: MockClock) -> None:
    none = Timeouts(connect=math.inf, first_byte=math.inf, silence=math.inf, no_content=math.inf)

    async with HTTP(transport=handler_transport(Slow(1e6, (1e6, b"1"))), timeouts=none) as http:
        assert await ask(http, "http://x") == b"1"


async def test_the_limits_hold_on_a_real_socket() -> None:
    async def pings(exchange: Exchange) -> None:
        await exchange.start()
        while True:
            await exchange.send(b"ping")
            await trio.sleep(0.01)

    async def mute(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")
        await exchange.hang()

    limits = Timeouts(first_byte=0.1, silence=0.05, no_content=0.1)
    async with serve(replies(Exchange.hang, mute, pings)) as server, HTTP(timeouts=limits) as http:
        phases = []
        for _ in range(3):
            with pytest.raises(ReadTimeout) as caught:
                await ask(http, server.url)
            phases.append(caught.value.phase)
        await server.wait_open(0)

    assert phases == ["first_byte", "silence", "no_content"]


async def test_a_server_that_never_shakes_hands_is_a_failure_to_connect() -> None:
    async with serve(ok) as server, HTTP(timeouts=Timeouts(connect=0.05)) as http:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            with pytest.raises(ConnectFailed, match=r"within 0\.05 s"):
                await http.post(f"https://127.0.0.1:{listener.socket.getsockname()[1]}", {}, BODY)
        assert await ask(http, server.url) == b"ok"


async def test_once_settled_the_end_may_take_a_few_seconds_and_no_more(autojump_clock: MockClock) -> None:
    handler = Slow(0, (0, b"all"), (2, b"usage"), (2, b"more"), (2, b"never read"))

    transport = handler_transport(handler)
    async with HTTP(transport=transport) as http, await http.post("http://x/", {}, BODY) as response:
        assert await response.receive_some() == b"all"
        response.settle()
        response.settle()
        assert [await response.receive_some() for _ in range(4)] == [b"usage", b"more", b"", b""]

    assert (trio.current_time(), handler.closed) == (SETTLE_SECONDS, True)


async def test_once_settled_only_so_many_bytes_are_read() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start()
        while True:
            await exchange.send(b"x" * 60_000)

    async with serve(endless) as server, HTTP() as http:
        async with await http.post(server.url, {}, BODY) as response:
            response.settle()
            size = 0
            while chunk := await response.receive_some():
                size += len(chunk)
        await server.wait_open(0)

    assert SETTLE_BYTES - 100_000 < size <= SETTLE_BYTES


async def test_a_body_that_ends_after_it_was_settled_leaves_its_connection_usable() -> None:
    async with serve(chunks(b"1", b"2")) as server, HTTP() as http:
        for _ in range(2):
            async with await http.post(server.url, {}, BODY) as response:
                response.settle()
                while await response.receive_some():
                    pass

    assert server.opened == 1


@pytest.mark.parametrize("field", ["connect", "first_byte", "silence", "no_content"])
@pytest.mark.parametrize("value", [0, -1, math.nan])
def test_a_limit_must_be_above_zero(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{field} must be more than 0"):
        Timeouts(**{field: value})
