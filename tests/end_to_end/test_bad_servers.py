"""Servers that break, lie, refuse or fall silent: the right typed error, or another try, in virtual time."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeAlias

import pytest
import trio
import trio.testing

import alloy
from alloy import Status
from alloy.providers.http import handler_transport
from end_to_end.vendors import messages_events, sse

Answer: TypeAlias = "tuple[int, Mapping[str, str], bytes | list[bytes | float]]"

WHOLE = list(sse(messages_events("all|well")))
STREAM = {"content-type": "text/event-stream"}


def stream(*items: bytes | float) -> Answer:
    return (200, STREAM, list(items))


def error(kind: str, message: str = "no", **fields: Any) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message, **fields}}).encode()


class Server:
    """Answers each request with the next of these; a number in a body is a silence of so many seconds."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes | AsyncIterator[bytes]]:
        self.asked.append(trio.current_time())
        status, head, content = self.answers.pop(0)
        if isinstance(content, bytes):
            return status, head, content
        if content and isinstance(content[0], float):
            await trio.sleep(content.pop(0))  # type: ignore[arg-type]

        async def pieces() -> AsyncIterator[bytes]:
            for item in content:
                if isinstance(item, float):
                    await trio.sleep(item)
                else:
                    yield item

        return status, head, pieces()


async def ask(server: Server, **options: Any) -> alloy.Result[Any]:
    async with alloy.HTTP(transport=handler_transport(server)) as http:
        model = alloy.model("anthropic:claude-test", api_key="sk-test")
        return await alloy.run("x", model=model, http=http, **options)


@pytest.mark.parametrize(
    ("answer", "waited"),
    [
        ((429, {"retry-after": "7"}, error("rate_limit_error")), 7.0),
        ((429, {"retry-after": "0.5"}, error("rate_limit_error")), 0.5),
        ((429, {"retry-after-ms": "1500"}, error("rate_limit_error")), 1.5),
        (
            (
                429,
                {"date": "Tue, 24 Nov 2026 10:00:00 GMT", "retry-after": "Tue, 24 Nov 2026 10:00:09 GMT"},
                error("rate_limit_error"),
            ),
            9.0,
        ),
        ((429, {}, error("rate_limit_error", "Please try again in 2.5s.")), 2.5),
        ((429, {}, error("rate_limit_error", "Please try again in 350ms")), 0.35),
        ((529, {"retry-after": "3"}, error("overloaded_error")), 3.0),
        ((503, {"retry-after": "3"}, b"<html><title>Service Unavailable</title></html>"), 3.0),
        ((502, {"retry-after": "3"}, b""), 3.0),
        ((408, {"retry-after": "3"}, b""), 3.0),
    ],
)
async def test_what_may_pass_is_tried_again_after_the_wait_that_the_server_asks_for(
    answer: Answer, waited: float, autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(answer, stream(*WHOLE))

    result = await ask(server)

    assert result.text == "allwell"
    assert server.asked == [0.0, pytest.approx(waited)]


async def test_a_wait_without_an_order_is_random_and_grows(autojump_clock: trio.testing.MockClock) -> None:
    server = Server(*[(500, {}, b"")] * 3, stream(*WHOLE))

    await ask(server)

    waits = [later - earlier for earlier, later in zip(server.asked, server.asked[1:], strict=False)]
    assert all(0 <= wait <= bound for wait, bound in zip(waits, (1.0, 2.0, 4.0), strict=True))
    assert len(set(waits)) == 3


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, {}, error("authentication_error")), alloy.AuthError),
        ((403, {}, error("permission_error")), alloy.AuthError),
        ((404, {}, error("not_found_error", "model: claude-test")), alloy.NotFound),
        ((400, {}, error("invalid_request_error")), alloy.BadRequest),
        ((400, {}, b""), alloy.BadRequest),
        ((422, {}, b"<html>"), alloy.BadRequest),
        ((413, {}, b"<html><title>413 Request Entity Too Large</title>"), alloy.RequestTooLarge),
        (
            (400, {}, error("invalid_request_error", "prompt is too long: 213462 tokens > 200000 maximum")),
            alloy.ContextTooLong,
        ),
        (
            (429, {}, error("rate_limit_error", details={"error_code": "enforced_spend_limit_reached"})),
            alloy.QuotaExhausted,
        ),
        ((402, {}, error("billing_error")), alloy.QuotaExhausted),
        ((429, {"retry-after": "3600"}, error("rate_limit_error")), alloy.RateLimited),
        ((200, {"content-type": "text/html"}, b"<html><title>Welcome</title></html>"), alloy.ProtocolError),
        ((200, STREAM, b"<html><title>Log in</title></html>"), alloy.ProtocolError),
        ((200, {"content-type": "application/json"}, error("api_error")), alloy.ServerError),
        (stream(b"event: x\ndata: {nonsense\n\n", b"data: {}\n\n"), alloy.ProtocolError),
        ((302, {"location": "https://elsewhere"}, b""), alloy.NotFound),
        (stream(*WHOLE[:3], b"data: " + error("overloaded_error") + b"\n\n"), alloy.Overloaded),
        (stream(*WHOLE[:3]), alloy.StreamTruncated),
        (stream(*WHOLE[:-1]), alloy.StreamTruncated),
    ],
)
async def test_what_does_not_pass_is_its_own_error_at_once(
    answer: Answer, expected: type[alloy.ProviderError], autojump_clock: trio.testing.MockClock
) -> None:
    server = Server(answer)

    with pytest.raises(expected) as caught:
        await ask(server, retry=alloy.Retry(attempts=1 if expected is alloy.ServerError else 4))

    assert type(caught.value) is expected
    assert (len(server.asked), trio.current_time()) == (1, 0.0)
    assert (caught.value.vendor, caught.value.model) == ("anthropic", "claude-test")
    assert caught.value.result is not None
    assert caught.value.result.status is Status.ERROR


@pytest.mark.parametrize(
    ("answer", "phase", "after"),
    [
        (stream(1000.0, *WHOLE), "first_byte", 120.0),
        (stream(*WHOLE[:3], 1000.0), "silence", 60.0),
        (stream(*WHOLE[:1], *[b": ping\n\n", 30.0] * 40), "no_content", 300.0),
        (stream(*WHOLE[:1], *[b'event: ping\ndata: {"type": "ping"}\n\n', 30.0] * 40), "no_content", 300.0),
    ],
)
async def test_each_kind_of_silence_has_its_limit(
    answer: Answer, phase: str, after: float, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(alloy.ReadTimeout) as caught:
        await ask(Server(answer), retry=alloy.Retry(attempts=1))

    assert (caught.value.phase, trio.current_time()) == (phase, after)


async def test_a_server_that_cannot_be_reached_is_tried_four_times() -> None:
    model = alloy.model("anthropic:claude-test", api_key="k", base_url="http://127.0.0.1:9")
    tries: list[alloy.Event] = []

    with pytest.raises(alloy.ConnectFailed) as caught:
        await alloy.run("x", model=model, retry=alloy.Retry(base=0.0), on_event=tries.append)

    assert caught.value.sent is False
    assert sum(isinstance(event, alloy.Retrying) for event in tries) == 3


async def test_after_some_of_an_answer_only_a_restart_that_is_asked_for_tries_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(stream(*WHOLE[:4]), stream(*WHOLE))

    result = await ask(server, retry=alloy.Retry(on_partial="restart"))

    assert result.text == "allwell"
    assert len(server.asked) == 2


async def test_before_the_first_content_a_broken_stream_is_tried_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    server = Server(stream(*WHOLE[:1]), stream(*WHOLE))

    assert (await ask(server)).text == "allwell"
