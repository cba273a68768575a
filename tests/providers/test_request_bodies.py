"""What we send, judged by the vendors' own types and by the rules that no type can express."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming
from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

from alloy.llm import (
    AssistantMessage,
    CacheMark,
    Citation,
    Document,
    Image,
    Message,
    Opaque,
    Request,
    ServerTool,
    Settings,
    StopInfo,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from alloy.llm.history import replay, sendable
from alloy.llm.message import StopReason
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.dialect import Dialect, Profile
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.testing.conformance import TOOLS
from alloy.testing.recorded import target_for
from alloy.testing.wire_rules import chat_faults, messages_faults, responses_faults
from providers.strictify import StrictType

MESSAGES = StrictType(MessageCreateParamsStreaming)
CHAT = StrictType(CompletionCreateParamsStreaming)
RESPONSES = StrictType(ResponseCreateParamsStreaming)

Judge = Callable[[Any], Sequence[str]]


def judge_messages(body: Any) -> Sequence[str]:
    return MESSAGES.faults(body) + messages_faults(body)


def judge_chat(body: Any) -> Sequence[str]:
    """The types are OpenAI's; reasoning that other servers want back is not in them."""
    own = [{key: value for key, value in m.items() if not key.startswith("reasoning_")} for m in body["messages"]]
    return CHAT.faults({**body, "messages": own}) + chat_faults(body)


def judge_responses(body: Any) -> Sequence[str]:
    return RESPONSES.faults(body) + responses_faults(body)


DIALECTS = [
    pytest.param(AnthropicMessages(), judge_messages, id="anthropic"),
    pytest.param(ChatCompletions(), judge_chat, id="chat"),
    pytest.param(Responses(), judge_responses, id="responses"),
]
NO_STOP = ("openai.responses",)  # these APIs have no stop sequences


def body_for(dialect: Dialect, request: Request, profile: Profile | None = None) -> Any:
    target = target_for(dialect, profile=profile)
    messages = replay(sendable(request.messages), target.origin, other_model=dialect.keeps_for_other_model)
    wire = dialect.encode(attrs.evolve(request, messages=messages), target)
    assert wire.json() == json.loads(b"".join(wire.body))
    return wire.json()


# The judge itself.

GOOD_MESSAGES: Mapping[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "stream": True,
    "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
}
GOOD_CHAT: Mapping[str, Any] = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hello"}]}


@pytest.mark.parametrize(
    "fault",
    [
        {"max_tokens": "9"},
        {"temperature": 1.0},
        {"messages": [{"role": "user", "content": [{"type": "txt", "text": "Hello"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "Hello", "bold": True}]}]},
        {"messages": [{"role": "tool", "content": "Hello"}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x"}]}]},
        {"tools": [{"name": "weather"}]},
        {"tool_choice": "auto"},
        {"output_config": {"effort": "minimal"}},
    ],
)
def test_the_types_of_anthropic_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert MESSAGES.faults(GOOD_MESSAGES) == []
    assert MESSAGES.faults({**GOOD_MESSAGES, **fault}) != []


GOOD_RESPONSES: Mapping[str, Any] = {
    "model": "m",
    "stream": True,
    "store": False,
    "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello"}]}],
}


@pytest.mark.parametrize(
    "fault",
    [
        {"max_output_tokens": "9"},
        {"messages": []},
        {"stop": ["END"]},
        {"input": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}]},
        {"input": [{"type": "reasoning", "id": "rs_1", "encrypted_content": "x"}]},
        {"input": [{"type": "function_call", "name": "f", "arguments": "{}"}]},
        {"input": [{"type": "function_call_output", "call_id": "c", "output": "x", "is_error": True}]},
        {"tools": [{"type": "function", "name": "weather", "parameters": {}}]},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"reasoning": {"effort": "huge"}},
        {"text": {"format": {"type": "json_schema", "json_schema": {}}}},
    ],
)
def test_the_types_of_openais_responses_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert RESPONSES.faults(GOOD_RESPONSES) == []
    assert RESPONSES.faults({**GOOD_RESPONSES, **fault}) != []


@pytest.mark.parametrize(
    "fault",
    [
        {"stream": "yes"},
        {"max_completion_tokens": "9"},
        {"messages": [{"role": "tool", "content": "no id"}]},
        {
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f"}}]}
            ]
        },
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]},
        {"tools": [{"type": "function", "name": "weather"}]},
        {"tool_choice": {"type": "function", "name": "weather"}},
        {"unknown": 1},
    ],
)
def test_the_types_of_openai_catch_a_planted_fault(fault: Mapping[str, Any]) -> None:
    assert CHAT.faults(GOOD_CHAT) == []
    assert CHAT.faults({**GOOD_CHAT, **fault}) != []


# What we send.


REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Ha."}],
    "content": [],
    "encrypted_content": "ZW5j",
    "status": None,
}


def a_whole_conversation(dialect: Dialect) -> list[Message]:
    origin = target_for(dialect).origin
    picture = Image(b"\x89PNG\r\n", media_type="image/png", name="dot.png")
    paper = Document(b"%PDF-1.7", media_type="application/pdf", name="paper.pdf")
    notes = Document("Grüße\n".encode(), media_type="text/markdown", name="notes.md")
    calls = [
        ToolCall("toolu_1", "weather", {"of": "Paris"}, arguments_text='{"of": "Paris"}'),
        ToolCall("x" * 80, "time", {}),
    ]
    answer = AssistantMessage(
        [
            Thinking("Hm.", opaque=[Opaque(origin, "signature", "c2ln")]),
            Thinking("", redacted=True, opaque=[Opaque(origin, "redacted", "cmVk")]),
            Thinking("", opaque=[Opaque(origin, "reasoning_details", [{"type": "reasoning.text", "text": "Hm."}])]),
            Thinking("Ha.", summary=True, opaque=[Opaque(origin, "reasoning", REASONING, id="rs_1")]),
            Thinking("never signed"),
            Text(
                "Let me see.",
                citations=[
                    Citation(
                        "cited",
                        raw={
                            "type": "char_location",
                            "cited_text": "c",
                            "document_index": 0,
                            "document_title": None,
                            "start_char_index": 0,
                            "end_char_index": 1,
                            "file_id": None,
                        },
                    )
                ],
            ),
            *calls,
        ],
        stop=StopInfo(StopReason.TOOL_USE),
        origin=origin,
    )
    return [
        UserMessage(
            [
                "What are these?",
                picture,
                CacheMark("1h"),
                paper,
                notes,
                CacheMark(),
                Image(url="https://x.example/a.png"),
            ]
        ),
        answer,
        ToolMessage(
            [
                ToolResult("sunny", call_id="toolu_1", name="weather"),
                ToolResult([Text("no"), picture], is_error=True, call_id="x" * 80, name="time"),
            ]
        ),
        UserMessage(["Quickly, please", CacheMark()], source="steer"),
    ]


@pytest.mark.parametrize(("dialect", "judge"), DIALECTS)
@pytest.mark.parametrize(
    "options",
    [
        Settings(),
        Settings(max_output_tokens=9, tool_choice="weather", parallel_tool_calls=False, stop=("END",), cache=False),
        Settings(tool_choice="required", effort="high"),
        Settings(tool_choice="none", effort="none"),
        Settings(tool_choice="auto", parallel_tool_calls=True, effort="minimal"),
    ],
)
def test_a_conversation_with_everything_in_it_fits(dialect: Dialect, judge: Judge, options: Settings) -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    messages = a_whole_conversation(dialect)
    options = attrs.evolve(options, stop=()) if dialect.name in NO_STOP else options
    request = Request(
        model="m", system="Be brief.", messages=messages, tools=TOOLS, settings=options, output_schema=schema
    )

    assert judge(body_for(dialect, request)) == []
    assert judge(body_for(dialect, request, Profile(strict=True, max_tokens_field="max_completion_tokens"))) == []


def test_what_a_server_ran_itself_goes_back_and_fits() -> None:
    dialect = AnthropicMessages()
    origin = target_for(dialect).origin
    call = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "x"}}
    found = {
        "type": "web_search_result",
        "url": "https://x.example",
        "title": "t",
        "encrypted_content": "e",
        "page_age": None,
    }
    result = {"type": "web_search_tool_result", "tool_use_id": "srvtoolu_1", "content": [found]}
    answer = AssistantMessage(
        [
            ServerTool("call", "web_search", "srvtoolu_1", call),
            ServerTool("result", "web_search", "srvtoolu_1", result),
            Text("Found."),
        ],
        stop=StopInfo(StopReason.END_TURN),
        origin=origin,
    )
    request = Request(model="m", messages=[UserMessage("Search"), answer, UserMessage("More")])

    body = body_for(dialect, request)

    assert judge_messages(body) == []
    assert body["messages"][1]["content"][:2] == [call, result]


# Any history at all.

texts = st.text(max_size=12) | st.sampled_from(["", " ", "\n", "\ud800", "\u2028", "Hello"])
ids = st.sampled_from(["toolu_1", "call:2", "", "x" * 70, "é", "0"]) | st.text(min_size=1, max_size=5)
arguments = st.dictionaries(
    st.text(max_size=3), st.none() | st.booleans() | st.integers() | st.text(max_size=3), max_size=2
)
pictures = st.just(Image(b"\x89PNG", media_type="image/png")) | st.just(Image(b"BM", media_type="image/bmp"))


@st.composite
def answers(draw: st.DrawFn) -> AssistantMessage:
    calls = draw(st.lists(st.tuples(ids, arguments), max_size=3, unique_by=lambda call: call[0]))
    said = draw(st.lists(st.builds(Text, texts) | st.builds(Thinking, texts), max_size=2))
    made = [ToolCall(id or "empty", "weather", given) for id, given in calls]
    return AssistantMessage([*said, *made], stop=StopInfo(StopReason.OTHER), complete=draw(st.booleans()))


@st.composite
def histories(draw: st.DrawFn) -> list[Message]:
    """Users, answers and results in any order: results in part, in another order, or of no call."""
    history: list[Message] = []
    for _ in range(draw(st.integers(0, 6))):
        match draw(st.sampled_from(["user", "answer", "results"])):
            case "user":
                content = st.lists(
                    st.builds(Text, texts) | pictures | st.builds(CacheMark, st.sampled_from(["5m", "1h"])), max_size=3
                )
                history.append(UserMessage(draw(content)))
            case "answer":
                history.append(draw(answers()))
            case "results":
                before = history[-1] if history and isinstance(history[-1], AssistantMessage) else None
                called = [call.id for call in before.tool_calls] if before else ["nobody"]
                content = texts | st.lists(st.builds(Text, texts) | pictures, max_size=2)
                history.append(
                    ToolMessage(
                        [
                            ToolResult(draw(content), call_id=id, is_error=draw(st.booleans()))
                            for id in draw(st.permutations(called))[: draw(st.integers(0, 3))]
                        ]
                    )
                )
    return [*history, UserMessage("And now?")]


@pytest.mark.parametrize(("dialect", "judge"), DIALECTS)
@given(history=histories())
@settings(max_examples=150)
def test_any_history_is_sent_in_a_form_that_the_vendor_takes(
    dialect: Dialect, judge: Judge, history: list[Message]
) -> None:
    assert judge(body_for(dialect, Request(model="m", messages=history, tools=TOOLS))) == []
