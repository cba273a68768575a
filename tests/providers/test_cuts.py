"""A stream that is cut anywhere is never taken for a whole one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alloy.llm.completion import Fold
from alloy.llm.errors import ProtocolError, ProviderError, StreamTruncated
from alloy.llm.message import AssistantMessage, UserMessage
from alloy.llm.request import Request
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.dialect import Dialect
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.reader import Reader
from recordings import load, names, needs_recordings, target_of

WIRES: dict[str, Dialect] = {
    "anthropic-messages": AnthropicMessages(),
    "openai-chat": ChatCompletions(),
    "gemini": Gemini(),
    "ollama-chat": OllamaChat(),
}
REQUEST = Request(model="m", messages=[UserMessage("x")])


def streams(wire: str) -> Iterator[tuple[str, bytes]]:
    """The streamed answers of every tenth recording that has some; where there are few, of every other one."""
    kept = [
        (name, response["body"].encode())
        for name in names(wire)
        if not name.startswith("documented/")
        for response in (exchange["response"] for exchange in load(name)["exchanges"])
        if response.get("stream") and response["status"] == 200
    ]
    yield from kept[:: 10 if len(kept) > 50 else 2]


def read(dialect: Dialect, name: str, body: bytes) -> AssistantMessage:
    """The answer that a body holds."""
    target = target_of(load(name), dialect.name)
    decoder = dialect.decoder(REQUEST, target)
    reader = Reader(dialect.framing, decoder, "text/event-stream")
    fold = Fold(target.origin)
    fold.add(reader.feed(body))
    fold.add(reader.feed(b""))
    fold.add(reader.close())
    fold.add(reader.end())
    return fold.message()


def same(a: AssistantMessage, b: AssistantMessage) -> bool:
    """Whether two answers say the same; what a server adds behind its end mark, such as usage, may be missing."""
    return (a.text, a.thinking, a.stop.reason) == (b.text, b.thinking, b.stop.reason) and [
        (call.id, call.name, call.arguments) for call in a.tool_calls
    ] == [(call.id, call.name, call.arguments) for call in b.tool_calls]


@needs_recordings
@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("wire", WIRES)
def test_a_stream_cut_at_any_byte_is_an_error_or_has_said_all(wire: str, step: int) -> None:
    dialect = WIRES[wire]
    cuts = wholes = 0
    for name, body in streams(wire):
        try:
            whole = read(dialect, name, body)
        except ProviderError:
            continue  # a recorded failure
        minted = any(not call.id or (call.id.startswith("call_") and len(call.id) == 21) for call in whole.tool_calls)
        for place in range(0, len(body), step):
            try:
                cut = read(dialect, name, body[:place])
            except StreamTruncated:
                cuts += 1
            except ProtocolError:
                pytest.fail(f"{name} cut at {place} is called unreadable, not cut")
            else:
                wholes += 1
                assert minted or same(cut, whole), f"{name} cut at {place} is taken for whole"

    assert cuts > 5 * wholes  # whole without what a server adds behind its end mark
