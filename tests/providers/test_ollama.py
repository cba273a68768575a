"""Ollama's own API: what is written, and what is read of its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from alloy.llm import (
    AssistantMessage,
    Audio,
    AuthError,
    CacheMark,
    ContextTooLong,
    Document,
    Image,
    Message,
    NotFound,
    Origin,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Request,
    ServerError,
    Settings,
    StopInfo,
    StreamTruncated,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UnsupportedFeature,
    UserMessage,
)
from alloy.llm.completion import Fold
from alloy.llm.message import StopReason
from alloy.providers.dialect import Profile, Target
from alloy.providers.ollama import OllamaChat
from alloy.providers.reader import Reader
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import ollama_faults

ORIGIN = Origin("ollama.chat", "ollama", "http://localhost:11434", "qwen3")
TARGET = Target(origin=ORIGIN)
PICTURE = Image(b"\x89PNG", media_type="image/png")


def answer(*content: Any, origin: Origin | None = ORIGIN) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=origin)


def body(*messages: Message, profile: Profile | None = None, **fields: Any) -> Any:
    target = Target(origin=ORIGIN, profile=profile or Profile())
    sent = OllamaChat().encode(Request(model="qwen3", messages=messages, **fields), target).json()
    assert ollama_faults(sent) == []
    return sent


# Writing.


def test_the_simplest_request_forbids_to_forget() -> None:
    wire = OllamaChat().encode(Request(model="qwen3", system="Be brief.", messages=[UserMessage("Hello")]), TARGET)

    assert wire.path == "/api/chat"
    assert wire.json() == {
        "model": "qwen3",
        "stream": True,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
        "truncate": False,
        "shift": False,
    }


def test_a_longer_conversation_begins_as_the_shorter_one_did() -> None:
    dialect, said = OllamaChat(), [UserMessage("One"), answer(Text("Two")), UserMessage("Three")]

    short = b"".join(dialect.encode(Request(model="m", tools=TOOLS, messages=said[:1]), TARGET).body)
    long = b"".join(dialect.encode(Request(model="m", tools=TOOLS, messages=said), TARGET).body)

    assert long.startswith(short[: short.index(b"]", short.index(b'"messages"'))])


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (Settings(max_output_tokens=5), {"options": {"num_predict": 5}}),
        (Settings(temperature=0.0), {"options": {"temperature": 0.0}}),
        (Settings(stop=("END",)), {"options": {"stop": ["END"]}}),
        (Settings(temperature=0.0, vendor={"options": {"seed": 7}}), {"options": {"temperature": 0.0, "seed": 7}}),
        (Settings(vendor={"keep_alive": "1h", "truncate": True}), {"keep_alive": "1h", "truncate": True}),
        (Settings(effort="none"), {"think": False}),
        (Settings(effort="minimal"), {"think": "low"}),
        (Settings(effort="medium"), {"think": "medium"}),
        (Settings(effort="xhigh"), {"think": "high"}),
        (Settings(effort="max"), {"think": "max"}),
        (Settings(tool_choice="auto"), {}),
    ],
)
def test_a_setting_has_the_vendors_name(options: Settings, fields: Mapping[str, Any]) -> None:
    usual = body(UserMessage("Hello"), tools=TOOLS)

    assert body(UserMessage("Hello"), tools=TOOLS, settings=options) == {**usual, **fields}


def test_the_window_is_asked_for_in_every_request() -> None:
    sent = body(UserMessage("Hello"), profile=Profile(context_window=8192))

    assert sent["options"] == {"num_ctx": 8192}


def test_output_is_held_to_a_schema() -> None:
    assert body(UserMessage("Hello"), output_schema={"type": "object"})["format"] == {"type": "object"}


def test_tools_that_must_not_be_called_are_not_shown() -> None:
    assert "tools" not in body(UserMessage("Hello"), tools=TOOLS, settings=Settings(tool_choice="none"))


@pytest.mark.parametrize(
    ("options", "feature"),
    [
        (Settings(tool_choice="required"), "tool_choice"),
        (Settings(tool_choice="time"), "tool_choice"),
        (Settings(parallel_tool_calls=False), "parallel_tool_calls"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(options: Settings, feature: str) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        body(UserMessage("Hello"), tools=TOOLS, settings=options)

    assert caught.value.feature == feature


def test_text_is_a_string_and_images_are_beside_it() -> None:
    notes = Document(b"a,b", media_type="text/csv", name="a.csv")

    sent = body(UserMessage(["See", CacheMark(), " ", PICTURE, notes]))

    assert sent["messages"] == [{"role": "user", "content": "See\n\n[a.csv]\na,b", "images": ["iVBORw=="]}]


@pytest.mark.parametrize(
    "item",
    [
        Image(url="https://x.example/a.png"),
        Document(b"%PDF", media_type="application/pdf"),
        Audio(b"RIFF", media_type="audio/wav"),
    ],
)
def test_a_file_that_the_api_does_not_take_is_refused_when_new_and_noted_when_old(item: Any) -> None:
    with pytest.raises(UnsupportedFeature):
        body(UserMessage(["See", item]))
    sent = body(UserMessage(["See", item]), answer(Text("No.")), UserMessage("Forget it"))

    assert "left out" in sent["messages"][0]["content"]


def test_calls_hold_objects_and_results_say_whose_they_are() -> None:
    calls = [ToolCall("c1", "weather", {"of": "Paris"}, arguments_text='{"of": "Paris"}'), ToolCall("c2", "time", {})]
    results = [
        ToolResult("no such place", is_error=True, call_id="c1", name="weather"),
        ToolResult([Text("noon"), PICTURE], call_id="c2", name="time"),
    ]

    sent = body(UserMessage("?"), answer(Thinking("Hm."), *calls), ToolMessage(results), UserMessage("Quick!"))

    assert sent["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "thinking": "Hm.",
            "tool_calls": [
                {"id": "c1", "function": {"name": "weather", "arguments": {"of": "Paris"}}},
                {"id": "c2", "function": {"name": "time", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "Error: no such place", "tool_name": "weather", "tool_call_id": "c1"},
        {
            "role": "tool",
            "content": "noon\n[its files follow in the next message]",
            "tool_name": "time",
            "tool_call_id": "c2",
        },
        {"role": "user", "content": "[the files of the results]\n\nQuick!", "images": ["iVBORw=="]},
    ]


def test_reasoning_of_unknown_origin_is_left_out() -> None:
    sent = body(UserMessage("?"), answer(Thinking("Hm."), Text("Yes."), origin=None), UserMessage("Why?"))

    assert sent["messages"][1] == {"role": "assistant", "content": "Yes."}


def test_neighbours_are_joined() -> None:
    sent = body(UserMessage("One"), UserMessage("Two"), answer(Text("A")), answer(Text("B")), UserMessage("Three"))

    assert [(m["role"], m["content"]) for m in sent["messages"]] == [
        ("user", "One\n\nTwo"),
        ("assistant", "A\n\nB"),
        ("user", "Three"),
    ]


# Reading.


def line(done: bool = False, **fields: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "", **fields.pop("message", {})}
    return {"model": "qwen3:8b", "created_at": "x", "message": message, "done": done, **fields}


def read(*lines: Any) -> AssistantMessage:
    reader = Reader("lines", OllamaChat().decoder(Request(model="m", messages=()), TARGET), "application/x-ndjson")
    fold = Fold(ORIGIN)
    fold.add(reader.feed("".join(json.dumps(one) + "\n" for one in lines).encode()))
    fold.add(reader.feed(b""))
    fold.add(reader.close())
    fold.add(reader.end())
    return fold.message()


END = line(True, done_reason="stop", prompt_eval_count=10, eval_count=5, total_duration=7)


def test_thoughts_text_and_usage_are_read() -> None:
    message = read(
        line(message={"thinking": "H"}),
        line(message={"thinking": "m."}),
        line(message={"content": "Ye"}),
        line(message={"content": "s."}),
        END,
    )

    assert message.content == (Thinking("Hm."), Text("Yes."))
    assert (message.model, message.stop) == ("qwen3:8b", StopInfo(StopReason.END_TURN, "stop"))
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.context_tokens) == (10, 5, 15)
    assert message.usage.raw == {"prompt_eval_count": 10, "eval_count": 5, "total_duration": 7}


def test_calls_on_several_lines_with_equal_index_are_several_calls() -> None:
    first = {"function": {"index": 0, "name": "weather", "arguments": {"of": "Paris"}}}
    second = {"id": "call_9", "function": {"index": 0, "name": "weather", "arguments": '{"of": "Rome"}'}}
    third = {"function": {"index": 0, "name": "time"}}

    message = read(line(message={"tool_calls": [first]}), line(message={"tool_calls": [second, third]}), END)

    assert [(call.name, call.arguments) for call in message.tool_calls] == [
        ("weather", {"of": "Paris"}),
        ("weather", {"of": "Rome"}),
        ("time", {}),
    ]
    ids = [call.id for call in message.tool_calls]
    assert ids[1] == "call_9"
    assert len(set(ids)) == 3
    assert message.stop.reason is StopReason.TOOL_USE


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", StopReason.END_TURN),
        ("length", StopReason.MAX_TOKENS),
        ("load", StopReason.OTHER),
        ("unload", StopReason.OTHER),
        ("a_new_one", StopReason.OTHER),
        ("", StopReason.END_TURN),
        (None, StopReason.END_TURN),
    ],
)
def test_each_reason_to_stop_has_its_neutral_name(word: str | None, reason: StopReason) -> None:
    assert read(line(message={"content": "x"}), line(True, done_reason=word)).stop.reason is reason


def test_no_counts_are_no_usage() -> None:
    assert read(line(message={"content": "x"}), line(True)).usage is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("an error was encountered while running the model", ServerError),
        ("the input length exceeds the context length", ContextTooLong),
    ],
)
def test_an_error_line_is_an_error_that_keeps_what_came_before(text: str, kind: type[ProviderError]) -> None:
    reader = Reader("lines", OllamaChat().decoder(Request(model="m", messages=()), TARGET))
    raw = json.dumps(line(message={"content": "x"})) + "\n" + json.dumps({"error": text}) + "\n"

    came = reader.feed(raw.encode())

    assert [getattr(delta, "text", None) for delta in came] == [None, "x"]
    with pytest.raises(kind, match=text):
        reader.feed(b"")


def test_an_answer_that_is_never_done_is_truncated() -> None:
    with pytest.raises(StreamTruncated):
        read(line(message={"content": "x"}))


# Errors.


@pytest.mark.parametrize(
    ("status", "text", "kind"),
    [
        (404, "model 'nope' not found", NotFound),
        (401, "unauthorized", AuthError),
        (400, "the input length exceeds the context length", ContextTooLong),
        (429, "too many concurrent requests", RateLimited),
        (429, "you (me) have reached your weekly usage limit, upgrade for higher limits", QuotaExhausted),
        (500, "llama runner process has terminated", ServerError),
        (503, "server busy, please try again", Overloaded),
    ],
)
def test_an_error_is_of_its_kind(status: int, text: str, kind: type[ProviderError]) -> None:
    error = OllamaChat().error_from(status, {}, json.dumps({"error": text}).encode(), TARGET)

    assert type(error) is kind
    assert text in str(error)
