"""Recorded traffic, played again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from alloy.llm import Origin, Overloaded, ProtocolError, Request, StreamTruncated, UserMessage
from alloy.llm.completion import Fold
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.client import VendorModel
from alloy.providers.http import HTTP
from alloy.testing.recorded import Split, decode, pieces, replay

STREAM = (
    'data: {"type":"message_start","message":{"usage":{"input_tokens":1}}}\r\n\r\n'
    'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Grüße 😀"}}\r\n\r\n'
    'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":2}}\r\n\r\n'
    'data: {"type":"message_stop"}\r\n\r\n'
)


def exchange(body: Any = STREAM, status: int = 200, **fields: Any) -> Mapping[str, Any]:
    return {"request": {}, "response": {"status": status, "headers": {}, "body": body, "stream": True, **fields}}


def model(http: HTTP) -> VendorModel:
    return VendorModel(
        name="anthropic:m",
        origin=Origin("anthropic.messages", "anthropic", "https://a.example", "m"),
        dialect=AnthropicMessages(),
        base_url="https://a.example",
        http=http,
    )


async def ask(http: HTTP, text: str) -> str:
    fold = Fold()
    async with model(http).stream(Request(model="m", messages=[UserMessage(text)])) as answer:
        async for deltas in answer:
            fold.add(deltas)
    return fold.message().text


@pytest.mark.parametrize("split", [None, 1, 7, 10_000, "recorded", [3, 0, 5]])
async def test_exchanges_are_served_in_order_and_requests_are_kept(split: Split) -> None:
    second = {"type": "message", "content": [{"type": "text", "text": "Done."}], "stop_reason": "end_turn", "usage": {}}
    recording = {"exchanges": [exchange(chunk_sizes=[10, 20]), exchange(second, stream=False)]}
    transport = replay(recording, split=split)

    async with HTTP(transport=transport) as http:
        answers = [await ask(http, "One"), await ask(http, "Two")]

    assert answers == ["Grüße 😀", "Done."]
    assert [request.body["messages"][0]["content"][0]["text"] for request in transport.requests] == ["One", "Two"]
    first = transport.requests[0]
    assert (first.method, first.url) == ("POST", "https://a.example/v1/messages")
    assert first.headers["anthropic-version"] == "2026-10-21"


async def test_a_recording_may_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "recording.json"
    file.write_text(json.dumps({"exchanges": [exchange()]}), "utf-8")

    async with HTTP(transport=replay(file)) as http:
        assert await ask(http, "One") == "Grüße 😀"


async def test_a_request_too_many_is_named() -> None:
    async with HTTP(transport=replay({"exchanges": [exchange()]})) as http:
        await ask(http, "One")

        with pytest.raises(AssertionError, match=r"has 1 exchanges.*https://a\.example/v1/messages.*'Two'"):
            await ask(http, "Two")


@pytest.mark.parametrize(
    ("split", "sizes"),
    [
        (None, [10]),
        (3, [3, 3, 3, 1]),
        (10, [10]),
        ([4, 0, 2], [4, 2, 4]),
        ([4, 99], [4, 6]),
        ("recorded", [9, 1]),
        ([], [10]),
    ],
)
def test_a_body_is_cut_as_it_is_asked_for(split: Split, sizes: Sequence[int]) -> None:
    body = "0123456789"

    cut = list(pieces({"body": body, "chunk_sizes": [9]}, split))

    assert [len(piece) for piece in cut if piece] == sizes
    assert b"".join(cut).decode() == body


def test_without_http_a_response_is_a_message_or_an_error() -> None:
    dialect = AnthropicMessages()

    good = decode(dialect, exchange(), split=1)
    refused = decode(dialect, exchange({"error": {"type": "overloaded_error", "message": "x"}}, status=529))
    cut = decode(dialect, exchange(STREAM[:-60]))
    page = decode(dialect, exchange("<html>", stream=False))

    assert good.message is not None
    assert (good.message.text, good.error) == ("Grüße 😀", None)
    assert isinstance(refused.error, Overloaded)
    assert isinstance(cut.error, StreamTruncated)
    assert cut.error.partial is not None
    assert cut.error.partial.text == "Grüße 😀"
    assert isinstance(page.error, ProtocolError)
