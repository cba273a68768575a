"""A vendor's model over HTTP: what is sent, what is read, and how it fails."""

from __future__ import annotations

import json
import math
import traceback
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from alloy.llm import (
    AssistantMessage,
    AuthError,
    BadRequest,
    Model,
    NotFound,
    Opaque,
    Origin,
    Overloaded,
    ProtocolError,
    ProviderError,
    RateLimited,
    ReadTimeout,
    Request,
    Settings,
    StreamTruncated,
    Text,
    Thinking,
    UnsupportedFeature,
    UserMessage,
)
from alloy.llm.completion import Fold
from alloy.llm.driver import Retry, complete
from alloy.llm.message import StopInfo, StopReason
from alloy.providers.client import ERROR_BODY_BYTES, ERROR_BODY_SECONDS, VendorModel
from alloy.providers.credentials import ApiKey
from alloy.providers.http import HTTP, handler_transport
from alloy.providers.secret import Secret
from alloy.providers.timeouts import SETTLE_SECONDS
from alloy.providers.vendors import model_for
from providers.loopback import Exchange, chunks, replies, serve

KEY = "sk-ant-0123456789"
REQUEST = Request(model="claude-sonnet-5", messages=[UserMessage("hi")])


def event(type: str, **fields: Any) -> bytes:
    return f"event: {type}\ndata: {json.dumps({'type': type, **fields})}\n\n".encode()


START = event("message_start", message={"id": "msg_1", "model": "claude", "content": [], "usage": {"input_tokens": 1}})
BLOCK = event("content_block_start", index=0, content_block={"type": "text", "text": ""})
HELLO = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"})
PING = event("ping")
STOP = event("content_block_stop", index=0)
END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}) + event("message_stop")
ANSWER = START + BLOCK + HELLO + STOP + END
WHOLE = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "model": "claude",
    "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 1, "output_tokens": 2},
}


def claude(base_url: str = "http://127.0.0.1:9", **options: Any) -> VendorModel:
    return model_for("anthropic:claude-sonnet-5", api_key=KEY, base_url=base_url, **options)


async def answer(model: Model, request: Request = REQUEST) -> AssistantMessage:
    fold = Fold(model.origin)
    async with model.stream(request) as deltas:
        async for batch in deltas:
            assert batch
            fold.add(batch)
    return fold.message()


class Played:
    """A transport's handler that plays a body: chunks, and seconds to wait between them."""

    def __init__(
        self,
        *steps: bytes | float,
        status: int = 200,
        headers: Mapping[str, str] = {"content-type": "text/event-stream"},
    ) -> None:
        self.steps = steps
        self.status = status
        self.headers = headers
        self.sent: list[tuple[str, Mapping[str, str], Any]] = []

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        self.sent.append((url, headers, json.loads(body)))
        return self.status, self.headers, self.body()

    async def body(self) -> AsyncIterator[bytes]:
        for step in self.steps:
            if isinstance(step, bytes):
                yield step
            else:
                await trio.sleep(step)

    async def ask(self, model: VendorModel | None = None, request: Request = REQUEST) -> AssistantMessage:
        async with HTTP(transport=handler_transport(self)) as http:
            return await answer((model or claude()).with_http(http), request)


# What is sent


async def test_an_answer_comes_as_deltas_whatever_the_chunks() -> None:
    for size in (1, 7, len(ANSWER)):
        message = await Played(*[ANSWER[i : i + size] for i in range(0, len(ANSWER), size)]).ask()

        assert (message.text, message.stop.reason, message.complete) == ("Hello", StopReason.END_TURN, True)
        assert message.origin == claude().origin


async def test_the_key_goes_where_the_vendor_wants_it() -> None:
    messages, chat = Played(ANSWER), Played(b"{}", status=400)
    with pytest.raises(BadRequest):
        await chat.ask(model_for("openrouter:x", api_key=KEY))
    await messages.ask()

    [(url, headers, _)] = messages.sent
    assert url == "http://127.0.0.1:9/v1/messages"
    assert (headers["x-api-key"], headers["content-type"]) == (KEY, "application/json")
    assert headers["anthropic-version"]
    assert "authorization" not in headers
    assert chat.sent[0][1]["authorization"] == f"Bearer {KEY}"


async def test_without_a_key_none_is_sent() -> None:
    played = Played(b"{}", status=400)

    with pytest.raises(BadRequest):
        await played.ask(model_for("openai-compatible:x", base_url="http://127.0.0.1:9/v1"))

    assert not {"authorization", "x-api-key"} & played.sent[0][1].keys()


async def test_headers_of_the_user_are_sent_and_win_over_ours() -> None:
    played = Played(ANSWER)

    await played.ask(claude(headers={"X-Title": "alloy", "User-Agent": "me", "Host": "proxy.example"}))

    headers = played.sent[0][1]
    assert (headers["x-title"], headers["user-agent"], headers["host"]) == ("alloy", "me", "proxy.example")


@pytest.mark.parametrize("headers", [{"x y": "1"}, {"": "1"}, {"x": "a\nb: hunter2"}, {"x": "ключ hunter2"}])
def test_a_header_that_cannot_be_sent_is_refused_when_the_model_is_made(headers: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="header") as caught:
        claude(headers=headers)

    assert "hunter2" not in str(caught.value)


async def test_foreign_reasoning_is_not_sent_and_our_own_is() -> None:
    model = claude()
    ours, theirs = model.origin, attrs.evolve(model.origin, vendor="other")

    def thought(origin: Origin) -> AssistantMessage:
        thinking = Thinking("hm", opaque=[Opaque(origin, "signature", "abc")])
        return AssistantMessage([thinking, Text("x")], stop=StopInfo(StopReason.END_TURN), origin=origin)

    kinds = []
    for origin in (ours, theirs):
        played = Played(ANSWER)
        history = [UserMessage("a"), thought(origin), UserMessage("b")]
        await played.ask(model, attrs.evolve(REQUEST, messages=history))
        kinds.append([block["type"] for block in played.sent[0][2]["messages"][1]["content"]])

    assert kinds == [["thinking", "text"], ["text"]]


async def test_what_the_model_cannot_do_is_said_before_anything_is_sent() -> None:
    played = Played(ANSWER)

    with pytest.raises(UnsupportedFeature) as caught:
        await played.ask(request=attrs.evolve(REQUEST, settings=Settings(temperature=0.5)))

    assert (played.sent, caught.value.vendor, caught.value.sent) == ([], "anthropic", False)


async def test_without_http_it_says_how_to_get_one() -> None:
    with pytest.raises(RuntimeError, match=r"with_http\(http\)"):
        await answer(claude())


def test_a_model_is_a_value_and_a_model() -> None:
    model = claude()

    assert isinstance(model, Model)
    assert model == claude()
    assert model == model.with_http(HTTP())
    assert len({model, claude()}) == 1
    assert (model.name, model.origin.model) == ("anthropic:claude-sonnet-5", "claude-sonnet-5")


# What is read


async def test_an_answer_in_one_piece_is_read_like_a_stream() -> None:
    for content_type in ("application/json", "text/event-stream"):
        played = Played(json.dumps(WHOLE, indent=1).encode(), headers={"content-type": content_type})

        assert (await played.ask()).text == "Hello"


async def test_the_head_and_the_deltas_come_as_they_arrive(autojump_clock: MockClock) -> None:
    played = Played(START + BLOCK, 10.0, HELLO, 10.0, HELLO, STOP + END)
    times = []

    async with HTTP(transport=handler_transport(played)) as http, claude().with_http(http).stream(REQUEST) as deltas:
        async for _ in deltas:
            times.append(trio.current_time())

    assert [times[0], times[1], times[2]] == [0, 10, 20]


@pytest.mark.parametrize(
    ("body", "content_type", "shown"),
    [
        (b"<html>Sign in</html>", "text/html", "Sign in"),
        (b"Sign in", "text/plain", "Sign in"),
        (b'{"type": "message"', "application/json", "message"),
        (b'{"surprise": 1}', "application/json", "surprise"),
        (START + b"data: {nonsense}\n\n" + END, "text/event-stream", "nonsense"),
        (START + b'data: {"type": "content_block_delta"}\n\n' + END, "text/event-stream", "content_block_delta"),
    ],
)
async def test_what_cannot_be_read_is_a_protocol_error_that_shows_its_start(
    body: bytes, content_type: str, shown: str
) -> None:
    with pytest.raises(ProtocolError) as caught:
        await Played(body, headers={"content-type": content_type, "request-id": "req_7"}).ask()

    error = caught.value
    assert shown in error.body
    assert (error.vendor, error.model, error.request_id) == ("anthropic", "claude-sonnet-5", "req_7")
    assert error.in_stream


async def test_an_error_keeps_only_the_start_of_a_long_body() -> None:
    with pytest.raises(ProtocolError) as caught:
        await Played(b"<html>" + b"x" * 100_000).ask()

    assert len(caught.value.body) == 2048


async def test_an_error_in_the_stream_comes_after_what_came_before_it_and_at_once(autojump_clock: MockClock) -> None:
    async def gather(http: HTTP) -> None:
        async with claude().with_http(http).stream(REQUEST) as deltas:
            async for batch in deltas:
                fold.add(batch)

    fold = Fold()
    error = event("error", error={"type": "overloaded_error", "message": "busy"})
    async with HTTP(transport=handler_transport(Played(START + BLOCK + HELLO + error, math.inf))) as http:
        with pytest.raises(Overloaded, match="busy") as caught:
            await gather(http)

    assert (caught.value.in_stream, trio.current_time()) == (True, 0)
    assert fold.has_content


@pytest.mark.parametrize("body", [b"", START, START + BLOCK + HELLO, START + BLOCK + HELLO + STOP, ANSWER[:-20]])
async def test_a_cut_stream_is_never_a_success(body: bytes) -> None:
    with pytest.raises(StreamTruncated) as caught:
        await Played(body).ask()

    assert (caught.value.vendor, caught.value.in_stream) == ("anthropic", True)


@pytest.mark.parametrize("body", [START + BLOCK + HELLO, ANSWER])
async def test_a_broken_connection_is_never_a_success_whatever_had_come(body: bytes) -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.start(200, {"request-id": "req_7"})
        await exchange.send(body)

    async with serve(cut) as server, HTTP() as http:
        with pytest.raises(StreamTruncated) as caught:
            await answer(claude(server.url).with_http(http))

    error = caught.value
    assert (error.vendor, error.model, error.request_id) == ("anthropic", "claude-sonnet-5", "req_7")


async def test_pings_are_no_content(autojump_clock: MockClock) -> None:
    pings = [step for _ in range(20) for step in (50.0, PING)]

    with pytest.raises(ReadTimeout) as caught:
        await Played(START + BLOCK, 10.0, HELLO, *pings).ask()

    assert (caught.value.phase, trio.current_time()) == ("no_content", 310)


def sse(**event: Any) -> bytes:
    return f"data: {json.dumps(event)}\n\n".encode()


THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": []}
BEGUN = sse(type="response.created", response={"id": "resp_1", "model": "gpt-5", "status": "in_progress"}) + sse(
    type="response.output_item.added", output_index=0, item=THOUGHT
)
DONE = (
    sse(type="response.output_item.done", output_index=0, item={**THOUGHT, "encrypted_content": "ZW5j"})
    + sse(type="response.output_text.delta", output_index=1, content_index=0, item_id="msg_1", delta="Well.")
    + sse(type="response.completed", response={"status": "completed", "usage": None, "output": []})
)


async def test_a_model_that_thinks_silently_is_waited_for_as_long_as_it_may_say_nothing(
    autojump_clock: MockClock,
) -> None:
    gpt = model_for("openai:gpt-5", api_key=KEY)

    message = await Played(BEGUN, 299.0, DONE).ask(gpt)
    began = trio.current_time()
    with pytest.raises(ReadTimeout) as caught:
        await Played(BEGUN, math.inf).ask(gpt)

    assert message.text == "Well."
    assert (caught.value.phase, trio.current_time() - began) == ("no_content", 300.0)


@pytest.mark.parametrize("spec", ["openai:gpt-4o", "anthropic:claude-sonnet-5"])
async def test_a_model_that_does_not_may_not_be_silent(spec: str, autojump_clock: MockClock) -> None:
    begun = BEGUN if spec.startswith("openai") else START

    with pytest.raises(ReadTimeout) as caught:
        await Played(begun, math.inf).ask(model_for(spec, api_key=KEY))

    assert (caught.value.phase, trio.current_time()) == ("silence", 60.0)


async def test_a_model_that_shows_its_thoughts_may_think_for_as_long_as_it_likes(autojump_clock: MockClock) -> None:
    thinking = event("content_block_start", index=0, content_block={"type": "thinking", "thinking": ""})
    thought = event("content_block_delta", index=0, delta={"type": "thinking_delta", "thinking": "Hm. "})
    thoughts = [step for _ in range(100) for step in (59.0, thought)]

    message = await Played(START + thinking, *thoughts, STOP + END).ask()

    assert len(message.thinking) == 400


async def test_what_a_base_url_holds_of_a_query_stands_behind_the_paths() -> None:
    played = Played(ANSWER)

    await played.ask(claude("https://host/v1?version=7"))

    assert played.sent[0][0] == "https://host/v1/messages?version=7"


async def test_a_server_that_never_ends_a_complete_answer_costs_a_few_seconds(autojump_clock: MockClock) -> None:
    message = await Played(ANSWER, math.inf).ask()

    assert (message.text, trio.current_time()) == ("Hello", SETTLE_SECONDS)


async def test_a_complete_answer_leaves_its_connection_for_the_next() -> None:
    async with serve(chunks(START, BLOCK + HELLO, STOP, END)) as server, HTTP() as http:
        model = claude(server.url).with_http(http)
        for _ in range(20):
            assert (await answer(model)).text == "Hello"

        assert server.opened == 1


async def test_leaving_early_closes_the_connection() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start()
        await exchange.send(START + BLOCK + HELLO)
        await exchange.hang()

    async with serve(endless) as server, HTTP() as http:
        async with claude(server.url).with_http(http).stream(REQUEST) as deltas:
            async for _ in deltas:
                break
        await server.wait_open(0)


# Refusals


@pytest.mark.parametrize(
    ("status", "type", "error"),
    [
        (400, "invalid_request_error", BadRequest),
        (401, "authentication_error", AuthError),
        (404, "not_found_error", NotFound),
        (429, "rate_limit_error", RateLimited),
        (529, "overloaded_error", Overloaded),
    ],
)
async def test_a_refusal_is_of_its_kind(status: int, type: str, error: type[ProviderError]) -> None:
    body = json.dumps({"type": "error", "error": {"type": type, "message": "because"}}).encode()

    with pytest.raises(error, match="because") as caught:
        await Played(body, status=status, headers={"request-id": "req_7"}).ask()

    assert type in caught.value.body
    assert (caught.value.status, caught.value.request_id, caught.value.in_stream) == (status, "req_7", False)


async def test_a_refusal_that_was_read_leaves_its_connection_for_the_next() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.answer(529, b"{}")

    async with serve(replies(refuse, refuse, chunks(ANSWER))) as server, HTTP() as http:
        retry = Retry(base=0)
        await complete(claude(server.url).with_http(http), REQUEST, retry, Quiet())

        assert (server.opened, len(server.received)) == (1, 3)


class Quiet:
    """Listens to nothing."""

    def deltas(self, fold: Fold, deltas: Sequence[object]) -> None:
        pass

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        pass

    def retracted(self) -> None:
        pass

    async def room(self) -> None:
        pass


async def test_the_body_of_a_refusal_is_bounded_in_size() -> None:
    async def endless(exchange: Exchange) -> None:
        await exchange.start(500)
        while True:
            await exchange.send(b"x" * 10_000)
            sizes.append(10_000)

    sizes: list[int] = []
    async with serve(endless) as server, HTTP() as http:
        with pytest.raises(ProviderError) as caught:
            await answer(claude(server.url).with_http(http))
        await server.wait_open(0)

    assert caught.value.status == 500
    assert sum(sizes) < ERROR_BODY_BYTES + 10_000_000  # what the kernel's buffers hold comes on top


async def test_the_body_of_a_refusal_is_bounded_in_time(autojump_clock: MockClock) -> None:
    drops = [step for _ in range(100) for step in (b" ", 1.0)]

    with pytest.raises(RateLimited):
        await Played(*drops, status=429).ask()

    assert trio.current_time() == ERROR_BODY_SECONDS


async def test_a_refusal_whose_body_breaks_off_is_still_of_its_kind() -> None:
    async def cut(exchange: Exchange) -> None:
        await exchange.start(429, {"content-length": "100"})
        await exchange.send(b"{")
        await exchange.reset()

    async with serve(cut) as server, HTTP() as http:
        with pytest.raises(RateLimited):
            await answer(claude(server.url).with_http(http))


async def test_a_redirect_is_not_followed_but_named() -> None:
    played = Played(status=308, headers={"location": "https://elsewhere/v1"})

    with pytest.raises(NotFound, match="redirects to 'https://elsewhere/v1'") as caught:
        await played.ask()

    assert (len(played.sent), caught.value.status) == (1, 308)


# Keys


def shown(error: BaseException) -> str:
    """All that anybody gets to see of an error, and of those behind it."""
    texts = ["".join(traceback.format_exception(error))]
    link: BaseException | None = error
    while link is not None:
        texts += [repr(link), str(link), repr(link.args), repr(vars(link))]
        link = link.__cause__ or link.__context__
    return "\n".join(texts)


ECHO = f"your key {KEY}, sent as Bearer {KEY}, is wrong"


@pytest.mark.parametrize(
    "played",
    [
        Played(json.dumps({"error": {"type": KEY, "message": ECHO}}).encode(), status=401),
        Played(ECHO.encode(), status=500),
        Played(b"x" * 490 + ECHO.encode(), status=500),
        Played(b"x" * 2040 + ECHO.encode(), status=500),
        Played(f"<html>{ECHO}".encode()),
        Played(ECHO.encode(), headers={}),
        Played(START + f"data: {ECHO}\n\n".encode()),
        Played(START + event("error", error={"type": "api_error", "message": ECHO})),
        Played(START + event("content_block_delta", **{KEY: 1})),
        Played(json.dumps({KEY: ECHO}).encode()),
        Played(b"{" + ECHO.encode()),
        Played(status=302, headers={"location": f"https://elsewhere/?key={KEY}"}),
        Played(status=500, headers={"request-id": KEY}),
    ],
)
async def test_a_server_that_sends_the_key_back_does_not_get_it_into_an_error(played: Played) -> None:
    with pytest.raises(ProviderError) as caught:
        await played.ask()

    assert KEY not in shown(caught.value)
    assert KEY[:10] not in shown(caught.value)


async def test_the_keys_in_headers_of_the_user_are_secret_too() -> None:
    token = "hunter2" * 2
    model = claude(headers={"X-Gateway-Token": f"Basic {token}", "X-Title": "alloy"})

    with pytest.raises(ProviderError) as caught:
        await Played(f"alloy: bad token {token}".encode(), status=401).ask(model)

    assert token not in shown(caught.value)
    assert "alloy: bad token [secret]" in caught.value.body


async def test_a_transport_that_fails_does_not_get_the_key_into_an_error() -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadError(f"cannot read with {KEY}", request=request)

    async with HTTP(transport=httpx.MockTransport(fail)) as http:
        with pytest.raises(StreamTruncated) as caught:
            await answer(claude().with_http(http))

    assert KEY not in shown(caught.value)


def test_a_model_shows_no_key() -> None:
    model = claude(headers={"X-Gateway-Token": "hunter2-hunter2"}).with_http(HTTP())

    assert KEY not in repr(model)
    assert "hunter2" not in repr(model)


def test_a_key_is_compared_and_kept_as_a_secret() -> None:
    assert claude().credentials == ApiKey(Secret(KEY), "x-api-key")
