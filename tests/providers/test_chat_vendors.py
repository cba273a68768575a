"""Vendors that speak Chat Completions in ways of their own: what their rows make of a request, and what comes back."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest

from alloy.llm import (
    AssistantMessage,
    Audio,
    Document,
    Image,
    Message,
    Opaque,
    Request,
    Settings,
    StopInfo,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from alloy.llm.completion import Fold
from alloy.llm.message import StopReason
from alloy.providers.client import VendorModel
from alloy.providers.dialect import Target
from alloy.providers.framing import Frame
from alloy.providers.vendors import model_for
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import chat_faults

SPECS = {
    "deepseek": "deepseek:deepseek-flash",
    "mistral": "mistral:mistral-large-4",
    "groq": "groq:openai/gpt-oss-120b",
    "openrouter": "openrouter:anthropic/claude-sonnet-5",
}


def model(vendor: str) -> VendorModel:
    return model_for(SPECS[vendor], api_key="k")


def target(vendor: str) -> Target:
    made = model(vendor)
    return Target(origin=made.origin, profile=made.profile)


def body(vendor: str, *messages: Message, **fields: Any) -> Any:
    sent = model(vendor).dialect.encode(Request(model="m", messages=messages, **fields), target(vendor)).json()
    assert chat_faults(sent) == []
    return sent


def answer(vendor: str, *content: Any) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=model(vendor).origin)


def results(*ids: str) -> ToolMessage:
    return ToolMessage([ToolResult("sunny", call_id=id, name="weather") for id in ids])


def read(vendor: str, *chunks: Any) -> AssistantMessage:
    decoder = model(vendor).dialect.decoder(Request(model="m", messages=()), target(vendor))
    fold = Fold(model(vendor).origin)
    for chunk in chunks:
        fold.add(decoder.feed([Frame(json.dumps(chunk))]))
    fold.add(decoder.end())
    return fold.message()


def chunk(delta: Any, finish: str | None = None, **fields: Any) -> Mapping[str, Any]:
    return {"id": "c1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


@pytest.mark.parametrize(
    ("vendor", "effort", "fields"),
    [
        ("deepseek", "none", {"thinking": {"type": "disabled"}}),
        ("deepseek", "minimal", {"reasoning_effort": "low"}),
        ("deepseek", "medium", {"reasoning_effort": "low"}),
        ("deepseek", "xhigh", {"reasoning_effort": "high"}),
        ("mistral", "none", {"reasoning_effort": "none"}),
        ("mistral", "low", {"reasoning_effort": "high"}),
        ("groq", "none", {"reasoning_effort": "low"}),
        ("groq", "max", {"reasoning_effort": "high"}),
        ("openrouter", "xhigh", {"reasoning": {"effort": "xhigh"}}),
    ],
)
def test_an_effort_is_one_that_the_vendor_knows(vendor: str, effort: Any, fields: Mapping[str, Any]) -> None:
    usual = body(vendor, UserMessage("Hello"))

    assert body(vendor, UserMessage("Hello"), settings=Settings(effort=effort)) == {**usual, **fields}


@pytest.mark.parametrize(
    ("vendor", "fields"),
    [
        ("deepseek", {"stream_options": {"include_usage": True}}),
        ("mistral", {}),
        ("groq", {"stream_options": {"include_usage": True}}),
        ("openrouter", {"usage": {"include": True}}),
    ],
)
def test_usage_is_asked_for_as_the_vendor_wants(vendor: str, fields: Mapping[str, Any]) -> None:
    bare = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}

    assert body(vendor, UserMessage("Hello")) == {**bare, **fields}


@pytest.mark.parametrize(
    ("vendor", "name"),
    [
        ("deepseek", "max_tokens"),
        ("mistral", "max_tokens"),
        ("groq", "max_completion_tokens"),
        ("openrouter", "max_tokens"),
    ],
)
def test_the_limit_has_the_vendors_name(vendor: str, name: str) -> None:
    assert body(vendor, UserMessage("Hello"), settings=Settings(max_output_tokens=5))[name] == 5


# DeepSeek.


def test_deepseek_gets_the_reasoning_of_calls_back_be_it_empty() -> None:
    vendor, call = "deepseek", ToolCall("c1", "weather", {})
    thought = Thinking("Hm.", opaque=[Opaque(model(vendor).origin, "reasoning_content", "Hm.")])

    sent = body(
        vendor,
        UserMessage("?"),
        answer(vendor, thought, call),
        results("c1"),
        answer(vendor, ToolCall("c2", "weather", {})),
        results("c2"),
        answer(vendor, Text("Sunny.")),
        UserMessage("Thanks"),
    )

    said = [message for message in sent["messages"] if message["role"] == "assistant"]
    assert [message.get("reasoning_content") for message in said] == ["Hm.", "", None]


def test_deepseek_holds_output_to_json_but_to_no_schema() -> None:
    assert body("deepseek", UserMessage("JSON, please"), output_schema={"type": "object"})["response_format"] == {
        "type": "json_object"
    }


def test_deepseeks_names_of_the_caches_counts_are_read() -> None:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "prompt_cache_hit_tokens": 8, "prompt_cache_miss_tokens": 2}

    message = read("deepseek", chunk({"content": "Yes."}, "stop", usage=usage))

    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.cache_read_tokens) == (10, 8)


# Mistral.


def test_mistral_gets_ids_of_nine_letters_the_same_on_both_sides_and_each_time() -> None:
    said = [
        UserMessage("?"),
        answer("mistral", ToolCall("toolu_01", "weather", {}), ToolCall("abcDEF123", "weather", {})),
        results("toolu_01", "abcDEF123"),
    ]

    first, second = body("mistral", *said)["messages"], body("mistral", *said)["messages"]

    made = [call["id"] for call in first[1]["tool_calls"]]
    assert all(re.fullmatch("[A-Za-z0-9]{9}", id) for id in made)
    assert made[1] == "abcDEF123"
    assert made == [message["tool_call_id"] for message in first[2:]]
    assert first == second


def test_mistral_gets_an_answer_between_a_tool_and_the_user() -> None:
    call = answer("mistral", ToolCall("abcDEF123", "weather", {}))
    picture = ToolResult([Image(b"\x89PNG", media_type="image/png")], call_id="abcDEF123", name="weather")

    steered = body("mistral", UserMessage("?"), call, results("abcDEF123"), UserMessage("Quick!"))["messages"]
    shown = body("mistral", UserMessage("?"), call, ToolMessage([picture]))["messages"]
    plain = body("mistral", UserMessage("?"), call, results("abcDEF123"))["messages"]

    bridge = {"role": "assistant", "content": "OK"}
    assert [message["role"] for message in steered] == ["user", "assistant", "tool", "assistant", "user"]
    assert (steered[3], shown[3]) == (bridge, bridge)
    assert plain == steered[:3]


def test_mistral_is_not_shown_tools_that_it_must_not_call() -> None:
    sent = body("mistral", UserMessage("Hello"), tools=TOOLS, settings=Settings(tool_choice="none"))

    assert not sent.keys() & {"tools", "tool_choice"}


def test_files_have_mistrals_shapes() -> None:
    sent = body(
        "mistral",
        UserMessage(
            [
                Document(b"%PDF", media_type="application/pdf", name="a.pdf"),
                Document(url="https://x.example/b.pdf"),
                Document(file_id="file_1"),
                Audio(b"RIFF", media_type="audio/wav"),
            ]
        ),
    )

    assert sent["messages"][0]["content"] == [
        {"type": "document_url", "document_url": "data:application/pdf;base64,JVBERg==", "document_name": "a.pdf"},
        {"type": "document_url", "document_url": "https://x.example/b.pdf"},
        {"type": "file", "file_id": "file_1"},
        {"type": "input_audio", "input_audio": "UklGRg=="},
    ]


def test_mistrals_chunks_of_thinking_go_back_with_their_signature() -> None:
    def thinks(text: str, **fields: Any) -> Any:
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}], **fields}

    message = read(
        "mistral",
        chunk({"content": [thinks("Let ")]}),
        chunk({"content": [thinks("me see."), {"type": "text", "text": "Ye"}]}),
        chunk({"content": [thinks("", signature="c2ln", closed=True)]}),
        chunk({"content": "s."}, "stop"),
    )
    sent = body("mistral", UserMessage("?"), message, UserMessage("Why?"))

    assert (message.thinking, message.text) == ("Let me see.", "Yes.")
    assert sent["messages"][1]["content"] == [
        thinks("Let me see.", signature="c2ln", closed=True),
        {"type": "text", "text": "Yes."},
    ]


def test_mistrals_word_for_no_id_is_none() -> None:
    call = {"id": "null", "function": {"name": "weather", "arguments": {"of": "Paris"}}}

    (made,) = read("mistral", chunk({"tool_calls": [call]}, "tool_calls")).tool_calls

    assert made.id not in ("", "null")
    assert made.arguments == {"of": "Paris"}


# OpenRouter.


def test_openrouters_reasoning_details_go_back_as_they_came_and_its_cost_is_known() -> None:
    details = [{"type": "reasoning.text", "index": 0, "text": "Hm.", "signature": "c2ln", "format": "x"}]

    message = read(
        "openrouter",
        chunk({"reasoning": "Hm.", "reasoning_details": details}),
        chunk({"content": "Yes."}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2, "cost": 0.25}),
    )
    sent = body("openrouter", UserMessage("?"), message, UserMessage("Why?"))

    assert sent["messages"][1] == {"role": "assistant", "content": "Yes.", "reasoning_details": details}
    assert message.usage is not None
    assert message.usage.cost == Decimal("0.25")
