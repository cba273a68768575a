"""A conversation may change its vendor in the middle, and come back: whoever is asked takes the whole history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pytest

import recordings
from alloy.llm import AssistantMessage, Message, Request, ToolMessage, ToolResult, UserMessage
from alloy.llm.history import replay, sendable, with_unique_ids
from alloy.providers.client import VendorModel
from alloy.providers.dialect import Target
from alloy.providers.vendors import VENDORS, model_for
from alloy.testing.conformance import TOOLS
from alloy.testing.recorded import decode
from alloy.testing.wire_rules import WIRE_RULES
from providers.test_vendor_bodies import judge_gemini_3, judge_mistral, judge_ollama
from recordings import needs_recordings

pytestmark = needs_recordings

WIRES = {
    "anthropic": "anthropic-messages",
    "openai": "openai-responses",
    "openrouter": "openai-chat",
    "groq": "openai-chat",
    "deepseek": "openai-chat",
    "mistral": "openai-chat",
    "google": "gemini",
    "ollama": "ollama-chat",
}
JUDGES = {"google": judge_gemini_3, "mistral": judge_mistral, "ollama": judge_ollama}
NAMES = [name for name in WIRES if name in VENDORS]


def model(name: str) -> VendorModel:
    return model_for(f"{name}:gemini-3-flash" if name == "google" else f"{name}:model", api_key="k")


def answers(name: str) -> Iterator[AssistantMessage]:
    """What a vendor answered in recordings, as if we had asked `model(name)`; those with calls and reasoning first."""
    asked = model(name)
    target = Target(origin=asked.origin, profile=asked.profile)
    made: list[AssistantMessage] = []
    for recording in map(recordings.load, recordings.names(WIRES[name])):
        if recording["provider"] == name:
            for exchange in recording["exchanges"]:
                if exchange["response"]["status"] == 200 and exchange["request"].get("body"):
                    decoded = decode(asked.dialect, exchange, target=target)
                    made += [decoded.message] if decoded.message and decoded.message.content else []
    made.sort(key=lambda message: (-len(message.tool_calls), -sum(len(item.opaque) for item in message.content)))
    yield from made[:6]


def conversation(*vendors: str) -> list[Message]:
    """Each of the vendors answers in turn; calls get their results."""
    history: list[Message] = []
    taken: set[str] = set()
    for name in vendors:
        for message in answers(name):
            unique = with_unique_ids(message, taken)
            results = [ToolResult("done", call_id=call.id, name=call.name) for call in unique.tool_calls]
            history += [UserMessage("Go on"), unique, ToolMessage(results)]
    return [*history, UserMessage("And now?")]


def sent_by(name: str, history: Sequence[Message]) -> Any:
    asked = model(name)
    target = Target(origin=asked.origin, profile=asked.profile)
    messages = replay(sendable(history), asked.origin, other_model=asked.dialect.keeps_for_other_model)
    request = Request(model=asked.origin.model, system="Be brief.", messages=messages, tools=TOOLS)
    return asked.dialect.encode(request, target).json()


def strings(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value
        case Mapping():
            for inner in value.values():
                yield from strings(inner)
        case list() | tuple():
            for inner in value:
                yield from strings(inner)


def held(history: Sequence[Message], name: str | None = None) -> set[str]:
    """Signatures and encrypted reasoning in a history, of one vendor or of all."""
    items = [item for message in history if isinstance(message, AssistantMessage) for item in message.content]
    secret = ("signature", "redacted", "reasoning", "reasoning_details", "encrypted", "thinking")
    return {
        text
        for item in items
        for opaque in item.opaque
        if opaque.type in secret and (name is None or opaque.origin.vendor == name)
        for text in strings(opaque.data)
        if len(text) > 100 and " " not in text
    }


@pytest.mark.parametrize("first", NAMES)
@pytest.mark.parametrize("second", NAMES)
def test_another_vendor_takes_the_history_and_sees_no_signature_of_the_first(first: str, second: str) -> None:
    history = conversation(first)
    judge = JUDGES.get(second) or WIRE_RULES[model(second).dialect.name]

    body = sent_by(second, history)

    assert judge(body) == []
    if first != second:
        assert not held(history) & set(strings(body))


@pytest.mark.parametrize("name", NAMES)
def test_a_vendor_that_is_asked_again_gets_its_own_state_back_and_no_other(name: str) -> None:
    others = [other for other in NAMES if other != name]
    history = conversation(name, *others, name)
    judge = JUDGES.get(name) or WIRE_RULES[model(name).dialect.name]

    body = sent_by(name, history)
    sent = set(strings(body))

    assert judge(body) == []
    assert held(history, name) <= sent
    assert not (held(history) - held(history, name)) & sent


def test_the_recordings_hold_state_of_several_vendors() -> None:
    assert sum(bool(held(conversation(name))) for name in NAMES) >= 3


def test_state_of_another_endpoint_of_the_same_vendor_stays_away() -> None:
    history = conversation("google")
    elsewhere = attrs.evolve(model("google").origin, endpoint="https://elsewhere.example")

    messages = replay(sendable(history), elsewhere)

    assert held(history)
    assert not held(messages)
