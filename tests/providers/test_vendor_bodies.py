"""What the vendors with ways of their own are sent, judged by their types and rules."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs
import pytest
from groq.types.chat.completion_create_params import CompletionCreateParams as GroqParams
from hypothesis import given, settings

from alloy.llm import Message, Request, Settings
from alloy.providers.dialect import Dialect, Profile
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.vendors import VENDORS, model_for
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import chat_faults, gemini_faults, ollama_faults
from providers.sdk_types import gemini_type_faults, mistral_type_faults, ollama_type_faults
from providers.strictify import StrictType
from providers.test_request_bodies import (
    GOOD_CHAT,
    Judge,
    a_whole_conversation,
    body_for,
    histories,
    judge_chat,
)

GROQ = StrictType(GroqParams)


def _without(body: Any, *names: str) -> Any:
    return {key: value for key, value in body.items() if key not in names}


def judge_openrouter(body: Any) -> Sequence[str]:
    """OpenRouter's own fields are in nobody's types."""
    return judge_chat(_without(body, "usage", "reasoning"))


def judge_deepseek(body: Any) -> Sequence[str]:
    answers = [message for message in body["messages"] if "tool_calls" in message]
    bare = [f"calls without reasoning: {one}" for one in answers if "reasoning_content" not in one]
    return [*bare, *judge_chat(_without(body, "thinking"))]


def judge_groq(body: Any) -> Sequence[str]:
    """It takes no documents, which is for the user to know; and its types forget an option that their texts name."""
    messages = [
        {**_without(m, "reasoning_details"), "content": [p for p in m["content"] if p["type"] != "file"]}
        if isinstance(m["content"], list)
        else _without(m, "reasoning_details")
        for m in body["messages"]
    ]
    return GROQ.faults({**_without(body, "stream_options"), "messages": messages}) + chat_faults(body)


def judge_mistral(body: Any) -> Sequence[str]:
    """Beside its types: its kind of ids, and an answer between a tool and the user."""
    messages = [_without(message, "reasoning_details") for message in body["messages"]]
    faults = mistral_type_faults({**body, "messages": messages}) + chat_faults(body)
    roles = [message["role"] for message in messages]
    faults += ["the user speaks after a tool" for pair in pairwise(roles) if pair == ("tool", "user")]
    ids = [call["id"] for message in messages for call in message.get("tool_calls", ())]
    return faults + [f"the id {id!r} is refused" for id in ids if not re.fullmatch("[A-Za-z0-9]{9}", id)]


def judge_gemini(body: Any) -> Sequence[str]:
    return gemini_type_faults(body) + gemini_faults(body)


def judge_gemini_3(body: Any) -> Sequence[str]:
    """Beside the rest: the first call of each answer is signed."""
    calls = [[part for part in content["parts"] if "functionCall" in part] for content in body["contents"]]
    bare = [f"not signed: {made[0]}" for made in calls if made and "thoughtSignature" not in made[0]]
    return [*bare, *judge_gemini(body)]


def judge_ollama(body: Any) -> Sequence[str]:
    return ollama_type_faults(body) + ollama_faults(body)


# A dialect as a vendor speaks it, who judges, and the settings that the vendor refuses.
ROWS = [
    pytest.param(ChatCompletions(), judge_chat, Profile(max_tokens_field="max_completion_tokens"), {}, id="openai"),
    pytest.param(ChatCompletions(), judge_openrouter, VENDORS["openrouter"].profile, {}, id="openrouter"),
    pytest.param(
        ChatCompletions(), judge_groq, model_for("groq:openai/gpt-oss-20b", api_key="k").profile, {}, id="groq"
    ),
    pytest.param(ChatCompletions(), judge_deepseek, VENDORS["deepseek"].profile, {}, id="deepseek"),
    pytest.param(ChatCompletions(), judge_mistral, VENDORS["mistral"].profile, {}, id="mistral"),
    pytest.param(Gemini(), judge_gemini_3, VENDORS["google"].profile, {"parallel_tool_calls": None}, id="gemini 3"),
    pytest.param(
        Gemini(),
        judge_gemini,
        model_for("google:gemini-2.5-flash", api_key="k").profile,
        {"parallel_tool_calls": None},
        id="gemini 2",
    ),
    pytest.param(
        OllamaChat(),
        judge_ollama,
        VENDORS["ollama"].profile,
        {"parallel_tool_calls": None, "tool_choice": None},
        id="ollama",
    ),
]


# The judges themselves.

GOOD_GEMINI: Mapping[str, Any] = {
    "contents": [
        {"role": "user", "parts": [{"text": "Weather?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "weather", "response": {"output": "sunny"}}}]},
    ],
    "generationConfig": {"maxOutputTokens": 9},
}


@pytest.mark.parametrize(
    "fault",
    [
        {"contents": [{"role": "user", "parts": [{"txt": "Hello"}]}]},
        {"contents": [{"role": "user", "parts": [{"inlineData": {"mimeType": "image/png", "data": "***"}}]}]},
        {"contents": [{"role": "user", "parts": [{"functionResponse": {"name": "f", "response": "boom"}}]}]},
        {"toolConfig": {"functionCallingConfig": {"mode": "REQUIRED"}}},
        {"generationConfig": {"maxTokens": 9}},
        {"generationConfig": {"thinkingConfig": {"thinkingLevel": "A_LOT"}}},
        {"tools": [{"functionDeclarations": [{"title": "f"}]}]},
        {"unknown": 1},
    ],
)
def test_the_types_of_google_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert judge_gemini(GOOD_GEMINI) == []
    assert gemini_type_faults({**GOOD_GEMINI, **fault}) != []


TEXT, CALL = {"text": "Hello"}, {"functionCall": {"name": "weather", "args": {}}}
RESULT: Mapping[str, Any] = {"functionResponse": {"name": "weather", "response": {"output": "sunny"}}}


@pytest.mark.parametrize(
    "contents",
    [
        [("model", [TEXT])],
        [("user", [])],
        [("user", [{"text": " "}])],
        [("user", [TEXT]), ("user", [TEXT])],
        [("user", [TEXT]), ("model", [CALL])],
        [("user", [TEXT]), ("model", [CALL]), ("user", [TEXT])],
        [("user", [TEXT]), ("model", [CALL, CALL]), ("user", [RESULT])],
        [("user", [TEXT]), ("model", [CALL]), ("user", [RESULT, TEXT])],
        [("user", [TEXT, CALL]), ("user", [RESULT])],
        [("user", [TEXT]), ("model", [CALL]), ("user", [{"functionResponse": {"name": "time", "response": {}}}])],
        [
            ("user", [TEXT]),
            ("model", [CALL]),
            ("user", [{"functionResponse": {"name": "weather", "response": {"output": {"$ref": "x"}}}}]),
        ],
    ],
)
def test_the_rules_of_gemini_catch_a_planted_fault(contents: Sequence[tuple[str, Sequence[Any]]]) -> None:
    assert gemini_faults({"contents": [{"role": role, "parts": parts} for role, parts in contents]}) != []


@pytest.mark.parametrize(
    "fault",
    [
        {"stream_options": {"include_usage": True}},
        {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "x"}}]}]},
        {"messages": [{"role": "user", "content": "Hello", "name": "me"}]},
    ],
)
def test_the_types_of_mistral_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert mistral_type_faults(GOOD_CHAT) == []
    assert mistral_type_faults({**GOOD_CHAT, **fault}) != []


@pytest.mark.parametrize(
    "fault",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        {"messages": [{"role": "assistant", "content": "", "tool_calls": [{"name": "f"}]}]},
        {"messages": [{"role": "tool", "content": "x", "tool": "f"}]},
        {"tool_choice": "auto"},
        {"think": {"effort": "high"}},
    ],
)
def test_the_types_of_ollama_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert judge_ollama(GOOD_CHAT) == []
    assert ollama_type_faults({**GOOD_CHAT, **fault}) != []


# What we send.


@pytest.mark.parametrize(("dialect", "judge", "profile", "refused"), ROWS)
@pytest.mark.parametrize(
    "options",
    [
        Settings(),
        Settings(max_output_tokens=9, tool_choice="weather", parallel_tool_calls=False, stop=("END",), cache=False),
        Settings(tool_choice="required", effort="high", temperature=0.5),
        Settings(tool_choice="none", effort="none"),
        Settings(tool_choice="auto", parallel_tool_calls=True, effort="minimal"),
        Settings(effort="max"),
    ],
)
def test_a_conversation_with_everything_in_it_fits(
    dialect: Dialect, judge: Judge, profile: Profile, refused: Mapping[str, Any], options: Settings
) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    request = Request(
        model="m",
        system="Be brief.",
        messages=a_whole_conversation(dialect),
        tools=TOOLS,
        settings=attrs.evolve(options, **refused),
        output_schema=schema,
    )

    assert judge(body_for(dialect, request, profile)) == []


@pytest.mark.parametrize(("dialect", "judge", "profile", "refused"), ROWS)
@given(history=histories())
@settings(max_examples=50)
def test_any_history_is_sent_in_a_form_that_the_vendor_takes(
    dialect: Dialect, judge: Judge, profile: Profile, refused: Mapping[str, Any], history: list[Message]
) -> None:
    assert judge(body_for(dialect, Request(model="m", messages=history, tools=TOOLS), profile)) == []
