"""However an exchange ends, nothing of it is left: cancelled, left early, or with the HTTP itself."""

from __future__ import annotations

import random
import ssl

import pytest
import trio

from alloy.llm.errors import StreamTruncated
from alloy.providers.http import HTTP
from providers.exchange import BODY, ask, held
from providers.loopback import Exchange, serve


async def misbehave(exchange: Exchange) -> None:
    """Answer slowly, in pieces, so that a cancel can meet any of them."""
    await trio.sleep(0.001)
    await exchange.start()
    for _ in range(5):
        await trio.sleep(0.001)
        await exchange.send(b"data: 1\n\n")
    await exchange.end()


async def test_three_hundred_cancels_at_random_leave_nothing_behind() -> None:
    draw = random.Random(7)
    async with serve(misbehave) as server:
        before = await held()
        async with HTTP() as http:

            async def one(seconds: float) -> None:
                with trio.move_on_after(seconds):
                    await ask(http, server.url)

            for _ in range(15):
                async with trio.open_nursery() as nursery:
                    for _ in range(20):
                        nursery.start_soon(one, draw.random() * 0.012)

            assert await ask(http, server.url) == b"data: 1\n\n" * 5
        await server.wait_open(0)

        assert await held() == before


async def test_a_cancel_while_connecting_closes_the_socket() -> None:
    tls = ssl.create_default_context()
    async with HTTP(verify=tls) as http:
        # The server takes the connection and never shakes hands.
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        async with listener:
            port = listener.socket.getsockname()[1]
            before = await held()
            with trio.move_on_after(0.05) as scope:
                await http.post(f"https://127.0.0.1:{port}", {}, BODY)

            assert scope.cancelled_caught
            assert await held() == before


@pytest.mark.parametrize("place", ["head", "body", "end"])
async def test_a_cancel_while_reading_closes_the_socket(place: str) -> None:
    async def handler(exchange: Exchange) -> None:
        if place != "head":
            await exchange.start()
            await exchange.send(b"1")
        await exchange.hang()

    async with serve(handler) as server, HTTP() as http:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def cancel() -> None:
                    await server.wait_received(1)
                    await trio.testing.wait_all_tasks_blocked(0.01)
                    scope.cancel()

                nursery.start_soon(cancel)
                async with await http.post(server.url, {}, BODY) as response:
                    await response.receive_some()
                    if place == "end":
                        response.settle()
                    await response.receive_some()

        assert scope.cancelled_caught
        await server.wait_open(0)


async def test_leaving_while_cancelled_closes_the_socket() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(b"1")
        await exchange.hang()

    async with serve(endless) as server, HTTP() as http:
        with trio.CancelScope() as scope:
            async with await http.post(server.url, {}, BODY):
                scope.cancel()
        await server.wait_open(0)


async def test_leaving_http_ends_a_request_that_is_still_being_sent() -> None:
    outcomes: list[Exception] = []

    async def send(http: HTTP, url: str) -> None:
        try:
            await http.post(url, {}, (b"x" * 20_000_000,))
        except StreamTruncated as error:
            outcomes.append(error)

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")  # takes connections and never reads
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    async with listener, trio.open_nursery() as nursery, HTTP() as http:
        nursery.start_soon(send, http, url)
        await trio.testing.wait_all_tasks_blocked(0.01)

    assert len(outcomes) == 1
