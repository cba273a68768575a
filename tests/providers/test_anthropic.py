"""Anthropic's Messages: what is written, and what is read."""

from __future__ import annotations

import gc
import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from alloy.llm import (
    AssistantMessage,
    Audio,
    CacheMark,
    Document,
    Image,
    Message,
    Opaque,
    Origin,
    Overloaded,
    Request,
    ServerTool,
    Settings,
    StopInfo,
    StreamTruncated,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    Unknown,
    UnsupportedFeature,
    Usage,
    UserMessage,
)
from alloy.llm.completion import Fold
from alloy.llm.delta import Noted
from alloy.llm.message import StopReason
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.dialect import Profile, Target
from alloy.providers.encoding import wire_id
from alloy.providers.framing import Frame
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import messages_faults

ORIGIN = Origin("anthropic.messages", "anthropic", "https://api.anthropic.com", "claude-sonnet-5")
TARGET = Target(origin=ORIGIN)


def body(*messages: Message, target: Target = TARGET, **fields: Any) -> Any:
    request = Request(model="claude-sonnet-5", messages=messages, **fields)
    return AnthropicMessages().encode(request, target).json()


def answer(*content: Any, origin: Origin | None = ORIGIN) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=origin)


def events(*values: Mapping[str, Any]) -> list[Frame]:
    return [Frame(json.dumps(value), value["type"]) for value in values]


def start(**usage: Any) -> Mapping[str, Any]:
    return {"type": "message_start", "message": {"id": "msg_1", "model": "claude", "content": [], "usage": usage}}


def block(index: int, **fields: Any) -> Mapping[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": fields}


def delta(index: int, type: str, **fields: Any) -> Mapping[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": type, **fields}}


def stop(index: int) -> Mapping[str, Any]:
    return {"type": "content_block_stop", "index": index}


def end(
    reason: str | None = "end_turn", usage: Mapping[str, Any] | None = None, **fields: Any
) -> Sequence[Mapping[str, Any]]:
    return (
        {"type": "message_delta", "delta": {"stop_reason": reason, **fields}, "usage": usage or {"output_tokens": 7}},
        {"type": "message_stop"},
    )


def read(*values: Mapping[str, Any]) -> AssistantMessage:
    decoder = AnthropicMessages().decoder(Request(model="m", messages=()), TARGET)
    fold = Fold(ORIGIN)
    fold.add(decoder.feed(events(*values)))
    fold.add(decoder.end())
    return fold.message()


# Writing: the frame.


def test_a_request_is_for_the_version_of_the_api_that_it_names() -> None:
    wire = AnthropicMessages().encode(Request(model="m", messages=[UserMessage("Hello")]), TARGET)

    assert wire.path == "/v1/messages"
    assert wire.headers == {"anthropic-version": "2026-10-21"}
    assert wire.json() == {
        "model": "m",
        "max_tokens": 32_000,
        "stream": True,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
        "cache_control": {"type": "ephemeral"},
    }


def test_what_stays_equal_comes_before_the_messages() -> None:
    first, second = UserMessage("One"), UserMessage("Three")
    dialect, spoken = AnthropicMessages(), answer(Text("Two"))

    short = dialect.encode(Request(model="m", system="S", tools=TOOLS, messages=[first]), TARGET).body
    long = dialect.encode(Request(model="m", system="S", tools=TOOLS, messages=[first, spoken, second]), TARGET).body

    assert list(json.loads(b"".join(long)))[:6] == ["model", "max_tokens", "stream", "system", "tools", "messages"]
    assert b"".join(long).startswith(b"".join(short).removesuffix(b'],"cache_control":{"type":"ephemeral"}}'))


def test_a_message_is_encoded_once_and_forgotten_with_its_history() -> None:
    dialect = AnthropicMessages()
    history = [UserMessage("Hello"), answer(Text("Hello.")), UserMessage("x" * 1_000)]

    dialect.encode(Request(model="m", messages=history[:1]), TARGET)
    dialect.encode(Request(model="m", messages=history), TARGET)
    assert len(dialect._blocks._known) == 3
    first = dialect._blocks(history[0])
    assert dialect._blocks(history[0]) is first
    history.clear()
    gc.collect()

    assert not dialect._blocks._known


def test_fields_of_the_vendor_win_and_its_tools_are_added() -> None:
    search = {"type": "web_search_20260318", "name": "web_search"}
    options = Settings(vendor={"max_tokens": 5, "tools": [search], "metadata": {"user_id": "u"}})

    sent = body(UserMessage("Hello"), tools=TOOLS, settings=options)

    assert (sent["max_tokens"], sent["metadata"]) == (5, {"user_id": "u"})
    assert [tool["name"] for tool in sent["tools"]] == ["weather", "time", "web_search"]


def test_even_the_messages_may_be_the_vendors() -> None:
    sent = body(UserMessage("Hello"), settings=Settings(vendor={"messages": []}))

    assert sent["messages"] == []


# Writing: settings.


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (Settings(max_output_tokens=5), {"max_tokens": 5}),
        (Settings(stop=("END", "STOP")), {"stop_sequences": ["END", "STOP"]}),
        (Settings(effort="high"), {"output_config": {"effort": "high"}}),
        (Settings(effort="minimal"), {"output_config": {"effort": "low"}}),
        (Settings(effort="none"), {"thinking": {"type": "disabled"}}),
        (Settings(tool_choice="none"), {"tool_choice": {"type": "none"}}),
        (Settings(tool_choice="required"), {"tool_choice": {"type": "any"}}),
        (Settings(tool_choice="time"), {"tool_choice": {"type": "tool", "name": "time"}}),
        (Settings(tool_choice="auto"), {}),
        (Settings(parallel_tool_calls=True), {}),
        (Settings(parallel_tool_calls=False), {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}),
        (
            Settings(parallel_tool_calls=False, tool_choice="time"),
            {"tool_choice": {"type": "tool", "name": "time", "disable_parallel_tool_use": True}},
        ),
        (Settings(parallel_tool_calls=False, tool_choice="none"), {"tool_choice": {"type": "none"}}),
    ],
)
def test_a_setting_has_the_vendors_name(options: Settings, fields: Mapping[str, Any]) -> None:
    usual = body(UserMessage("Hello"), tools=TOOLS)

    assert body(UserMessage("Hello"), tools=TOOLS, settings=options) == {**usual, **fields}


def test_a_choice_of_tools_is_not_sent_without_tools() -> None:
    assert "tool_choice" not in body(UserMessage("Hello"), settings=Settings(tool_choice="required"))


def test_without_a_limit_the_profile_has_one() -> None:
    assert (
        body(UserMessage("Hello"), target=Target(origin=ORIGIN, profile=Profile(max_output_tokens=9)))["max_tokens"]
        == 9
    )


def test_a_schema_of_the_output_is_asked_for() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}

    sent = body(UserMessage("Hello"), output_schema=schema, settings=Settings(effort="max"))

    assert sent["output_config"] == {"effort": "max", "format": {"type": "json_schema", "schema": schema}}


@pytest.mark.parametrize(
    ("options", "profile", "feature"),
    [
        (Settings(temperature=1.0), Profile(), "temperature"),
        (Settings(effort="low"), Profile(efforts=False), "effort"),
        (Settings(stop=("END",)), Profile(stop=False), "stop"),
    ],
)
def test_what_the_model_does_not_take_is_refused_before_it_is_sent(
    options: Settings, profile: Profile, feature: str
) -> None:
    with pytest.raises(UnsupportedFeature, match=f"anthropic:claude-sonnet-5 takes no {feature}") as caught:
        body(UserMessage("Hello"), settings=options, target=Target(origin=ORIGIN, profile=profile))

    assert (caught.value.feature, caught.value.sent, caught.value.retryable) == (feature, False, False)


# Writing: messages.


def test_results_come_first_in_the_turn_and_the_users_words_behind() -> None:
    calls = [ToolCall("toolu_1", "weather", {}), ToolCall("toolu_2", "time", {})]
    results = ToolMessage([ToolResult("sunny", call_id="toolu_1"), ToolResult("", call_id="toolu_2", is_error=True)])

    sent = body(UserMessage("Hello"), answer(*calls), results, UserMessage("Quick!"), UserMessage("Please"))

    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]
    assert sent["messages"][2]["content"] == [
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": "sunny"},
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "", "is_error": True},
        {"type": "text", "text": "Quick!"},
        {"type": "text", "text": "Please"},
    ]


def test_a_call_whose_arguments_did_not_parse_goes_back_without_any() -> None:
    call = ToolCall("toolu_1", "weather", {}, arguments_text='{"of": ', parse_error="cut off")

    sent = body(UserMessage("Hello"), answer(call), ToolMessage([ToolResult("bad", call_id="toolu_1", is_error=True)]))

    assert sent["messages"][1]["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}}]


def test_nothing_blank_is_sent() -> None:
    sent = body(UserMessage(["", "Hello", " \n"]), answer(Text("")), UserMessage("?"), answer(Text("\t"), Text("Yes.")))

    texts = [part["text"] for message in sent["messages"] for part in message["content"]]
    assert texts == ["Hello", "?", "Yes."]
    assert messages_faults(sent) == []


def test_the_user_speaks_first_even_where_the_history_begins_with_an_answer() -> None:
    sent = body(answer(Text("Hello.")), UserMessage("And now?"))

    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "user"]


@pytest.mark.parametrize("call_id", ["toolu_1", "call:1", "é" * 100, "", "x" * 65, "a b", "\ud800"])
def test_an_id_is_the_same_for_call_and_result_and_fit_for_the_vendor(call_id: str) -> None:
    sent = body(
        UserMessage("?"), answer(ToolCall(call_id, "time", {})), ToolMessage([ToolResult("x", call_id=call_id)])
    )

    assert messages_faults(sent) == []
    assert sent["messages"][1]["content"][0]["id"] == wire_id(call_id)


def test_ids_that_differ_stay_different() -> None:
    assert len({wire_id(id) for id in ("call:1", "call.1", "call_1", "x" * 65, "x" * 66)}) == 5


def test_reasoning_goes_back_in_order_if_it_is_signed_and_not_otherwise() -> None:
    thoughts = [
        Thinking("First.", opaque=[Opaque(ORIGIN, "signature", "c2ln")]),
        Thinking("", redacted=True, opaque=[Opaque(ORIGIN, "redacted", "cmVk")]),
        Thinking("", opaque=[Opaque(ORIGIN, "signature", "bm90ZXh0")]),
        Thinking("Unsigned."),
    ]

    sent = body(UserMessage("?"), answer(*thoughts, Text("Yes.")))

    assert sent["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "First.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "cmVk"},
        {"type": "thinking", "thinking": "", "signature": "bm90ZXh0"},
        {"type": "text", "text": "Yes."},
    ]


def test_an_unknown_block_goes_back_as_it_came() -> None:
    raw = {"type": "compaction", "content": "what was before"}

    assert body(UserMessage("?"), answer(Unknown(raw), Text("Yes.")))["messages"][1]["content"][0] == raw


def server_call(id: str) -> ServerTool:
    return ServerTool(
        "call", "web_search", id, {"type": "server_tool_use", "id": id, "name": "web_search", "input": {}}
    )


def server_result(id: str) -> ServerTool:
    raw = {"type": "web_search_tool_result", "tool_use_id": id, "content": []}
    return ServerTool("result", "web_search", id, raw)


def test_a_paused_answer_goes_back_with_its_open_call_and_is_one_turn_with_its_continuation() -> None:
    paused = answer(Text("Searching."), server_call("s_1"))

    waiting = body(UserMessage("?"), paused)
    done = body(UserMessage("?"), paused, answer(server_result("s_1"), Text("Found.")), UserMessage("More"))

    assert [block["type"] for block in waiting["messages"][-1]["content"]] == ["text", "server_tool_use"]
    assert [block["type"] for block in done["messages"][1]["content"]] == [
        "text",
        "server_tool_use",
        "web_search_tool_result",
        "text",
    ]


def test_a_servers_call_that_nothing_can_answer_any_more_is_left_out() -> None:
    sent = body(UserMessage("?"), answer(server_call("s_1")), UserMessage("Never mind"), answer(Text("Fine.")))

    assert [message["role"] for message in sent["messages"]] == ["user", "assistant"]
    assert "s_1" not in json.dumps(sent)


def test_a_servers_call_that_waits_for_our_results_stays() -> None:
    waiting = answer(server_call("s_1"), ToolCall("toolu_1", "time", {}))

    sent = body(UserMessage("?"), waiting, ToolMessage([ToolResult("noon", call_id="toolu_1")]))

    assert sent["messages"][1]["content"][0]["id"] == "s_1"


def test_files_go_by_bytes_by_url_and_by_id() -> None:
    sent = body(
        UserMessage(
            [
                Image(b"\x89PNG", media_type="image/png"),
                Image(url="https://x.example/a.png"),
                Image(file_id="file_1"),
                Document(b"%PDF", media_type="application/pdf", name="a.pdf"),
                Document(b"a,b", media_type="text/csv", name="a.csv"),
                Document(url="https://x.example/a.pdf"),
            ]
        )
    )

    assert sent["messages"][0]["content"] == [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
        {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
            "title": "a.pdf",
        },
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}, "title": "a.csv"},
        {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
    ]


def test_a_result_with_a_picture_holds_it() -> None:
    picture = Image(b"\x89PNG", media_type="image/png")
    results = ToolMessage([ToolResult([Text("a dot"), Text(""), picture], call_id="toolu_1")])

    sent = body(UserMessage("?"), answer(ToolCall("toolu_1", "draw", {})), results)

    assert [part["type"] for part in sent["messages"][2]["content"][0]["content"]] == ["text", "image"]


@pytest.mark.parametrize("item", [Audio(b"RIFF", media_type="audio/wav"), Image(b"BM", media_type="image/bmp")])
def test_a_file_that_the_vendor_does_not_take_is_refused_when_new_and_noted_when_old(item: Any) -> None:
    new = UserMessage(["What is this?", item])

    with pytest.raises(UnsupportedFeature, match=item.media_type):
        body(new)
    sent = body(new, UserMessage("Forget it"))

    assert f"{item.media_type}: left out" in sent["messages"][0]["content"][1]["text"]


def test_a_picture_that_another_vendors_model_made_is_noted() -> None:
    sent = body(UserMessage("Draw"), answer(Image(b"\x89PNG", media_type="image/png"), Text("Done.")))

    assert messages_faults(sent) == []
    assert sent["messages"][1]["content"][0]["type"] == "text"


def test_lone_surrogates_do_no_harm() -> None:
    sent = body(UserMessage("a\ud800b"), answer(ToolCall("toolu_1", "x", {"y": "\udfff"})),
                ToolMessage([ToolResult("\ud83d", call_id="toolu_1")]), system="\ud800")  # fmt: skip

    assert sent["system"] == "?"
    assert sent["messages"][0]["content"][0]["text"] == "a?b"


# Writing: cache marks.


def marks_in(sent: Any) -> list[tuple[str, str]]:
    return [
        (part["text"], part["cache_control"].get("ttl", "5m"))
        for message in sent["messages"]
        for part in message["content"]
        if "cache_control" in part
    ]


def marked(text: str, ttl: str = "5m") -> Sequence[Any]:
    return Text(text), CacheMark(ttl)


def test_a_mark_stands_on_the_block_before_it() -> None:
    sent = body(UserMessage([CacheMark(), *marked("One", "1h"), "Two", *marked("Three"), "Four"]))

    assert marks_in(sent) == [("One", "1h"), ("Three", "5m")]
    assert sent["cache_control"] == {"type": "ephemeral"}


def test_of_too_many_marks_the_oldest_are_dropped() -> None:
    content = [part for text in "abcdef" for part in marked(text)]

    automatic = body(UserMessage([*content, "end"]))
    own = body(UserMessage([*content, "end"]), settings=Settings(cache=False))

    assert marks_in(automatic) == [("d", "5m"), ("e", "5m"), ("f", "5m")]
    assert marks_in(own) == [("c", "5m"), ("d", "5m"), ("e", "5m"), ("f", "5m")]
    assert "cache_control" not in own


def test_a_mark_on_the_last_block_takes_the_place_of_the_automatic_one() -> None:
    sent = body(UserMessage([part for text in "abcde" for part in marked(text)]))

    assert [text for text, _ in marks_in(sent)] == ["b", "c", "d", "e"]
    assert "cache_control" not in sent


def test_a_long_mark_behind_a_short_one_becomes_short() -> None:
    sent = body(UserMessage([*marked("a", "1h"), *marked("b"), *marked("c", "1h"), "end"]))

    assert marks_in(sent) == [("a", "1h"), ("b", "5m"), ("c", "5m")]


# Reading.


def test_a_stream_becomes_a_message() -> None:
    message = read(
        start(input_tokens=10, output_tokens=1),
        {"type": "ping"},
        block(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm."),
        delta(0, "signature_delta", signature="c2ln"),
        stop(0),
        block(1, type="text", text=""),
        delta(1, "text_delta", text="Hel"),
        delta(1, "text_delta", text="lo"),
        stop(1),
        block(2, type="tool_use", id="toolu_1", name="weather", input={}),
        delta(2, "input_json_delta", partial_json=""),
        delta(2, "input_json_delta", partial_json='{"of":'),
        delta(2, "input_json_delta", partial_json=' "Paris"}'),
        stop(2),
        *end("tool_use"),
    )

    assert message.content == (
        Thinking("Hm.", opaque=[Opaque(ORIGIN, "signature", "c2ln")]),
        Text("Hello"),
        ToolCall("toolu_1", "weather", {"of": "Paris"}, arguments_text='{"of": "Paris"}'),
    )
    assert (message.stop.reason, message.model, message.response_id) == ("tool_use", "claude", "msg_1")


@pytest.mark.parametrize(
    "parts",
    [[], [""], ["", ""], ["{}"]],
)
def test_a_call_without_arguments_has_none(parts: Sequence[str]) -> None:
    message = read(
        start(),
        block(0, type="tool_use", id="toolu_1", name="now", input={}),
        *(delta(0, "input_json_delta", partial_json=part) for part in parts),
        stop(0),
        *end("tool_use"),
    )

    assert message.tool_calls[0].arguments == {}
    assert message.tool_calls[0].parse_error is None


def test_a_call_may_come_whole_and_keeps_who_made_it() -> None:
    caller = {"type": "code_execution_20260120", "tool_id": "srvtoolu_1"}
    call = block(0, type="tool_use", id="toolu_1", name="weather", input={"of": "Paris"}, caller=caller)

    message = read(start(), call, stop(0), *end("tool_use"))
    sent = body(UserMessage("?"), message, ToolMessage([ToolResult("sunny", call_id="toolu_1")]))

    assert message.tool_calls[0].arguments == {"of": "Paris"}
    assert sent["messages"][1]["content"][0] == call["content_block"]


def test_what_a_server_tool_asks_and_answers_is_kept_as_it_came() -> None:
    result = {"type": "web_search_tool_result", "tool_use_id": "s_1", "content": {"type": "error", "error_code": "x"}}

    message = read(
        start(),
        block(0, type="server_tool_use", id="s_1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query":'),
        delta(0, "input_json_delta", partial_json='"x"}'),
        stop(0),
        block(1, **result),
        stop(1),
        *end(),
    )

    call = {"type": "server_tool_use", "id": "s_1", "name": "web_search", "input": {"query": "x"}}
    assert message.content == (
        ServerTool("call", "web_search", "s_1", call),
        ServerTool("result", "web_search", "s_1", result),
    )


def test_blocks_deltas_and_events_that_nobody_knows_break_nothing() -> None:
    message = read(
        start(),
        {"type": "weather_report", "sun": True},
        block(0, type="hologram", size=3, content=None),
        delta(0, "hologram_delta", content="abc", size=4),
        delta(0, "hologram_delta", content="def"),
        block(1, type="text", text="Hello"),
        delta(1, "sparkle_delta", sparkle="*"),
        delta(1, "text_delta", text="!"),
        *end("dozing"),
    )

    assert message.content == (Unknown({"type": "hologram", "size": 4, "content": "abcdef"}), Text("Hello!"))
    assert (message.stop.reason, message.stop.raw) == ("other", "dozing")


def test_citations_are_read_and_go_back_to_where_they_came_from_only() -> None:
    raw = {"type": "web_search_result_location", "cited_text": "c", "url": "u", "title": "t", "encrypted_index": "e"}

    message = read(
        start(),
        block(0, type="text", text="", citations=[]),
        delta(0, "citations_delta", citation=raw),
        delta(0, "text_delta", text="Yes."),
        stop(0),
        *end(),
    )
    there = body(UserMessage("?"), message)["messages"][1]["content"][0]
    elsewhere = body(UserMessage("?"), attrs.evolve(message, origin=None))["messages"][1]["content"][0]

    (cited,) = message.content[0].citations  # type: ignore[union-attr]  # it is a Text
    assert (cited.text, cited.url, cited.title) == ("c", "u", "t")
    assert there == {"type": "text", "text": "Yes.", "citations": [raw]}
    assert elsewhere == {"type": "text", "text": "Yes."}


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", "end_turn"),
        ("tool_use", "tool_use"),
        ("max_tokens", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("refusal", "refusal"),
        ("pause_turn", "pause"),
        ("model_context_window_exceeded", "context_window"),
        ("something_new", "other"),
    ],
)
def test_a_stop_has_a_reason_of_ours_and_keeps_the_vendors_word(word: str, reason: str) -> None:
    message = read(start(), block(0, type="text", text="Hi"), *end(word, stop_sequence="END"))

    assert (message.stop.reason, message.stop.raw, message.stop.sequence) == (reason, word, "END")


def test_a_refusal_says_why() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": None}

    message = read(
        start(), block(0, type="text", text="I"), *end("refusal", stop_details=details, container={"id": "c"})
    )

    assert message.text == "I"
    assert message.stop.detail == {"stop_details": details, "container": {"id": "c"}}


def test_reasoning_that_the_vendor_dropped_is_told() -> None:
    dropped = [{"type": "thinking_dropped", "reason": "prefix_mismatch"}]
    decoder = AnthropicMessages().decoder(Request(model="m", messages=()), TARGET)
    begin = {"type": "message_start", "message": {"usage": {}, "input_transformations": dropped}}

    assert Noted("input_transformations", dropped) in decoder.feed(events(begin))


# Reading: usage.


def test_usage_at_the_end_replaces_that_of_the_start_and_what_is_missing_stays() -> None:
    begin = start(
        input_tokens=10,
        cache_read_input_tokens=100,
        cache_creation_input_tokens=20,
        cache_creation={"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
        output_tokens=1,
    )
    last = {
        "input_tokens": None,
        "output_tokens": 50,
        "output_tokens_details": {"thinking_tokens": 30},
        "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
    }

    usage = read(begin, block(0, type="text", text="Hi"), *end(usage=last)).usage

    assert usage == Usage(
        input_tokens=130,
        output_tokens=50,
        cache_read_tokens=100,
        cache_write_tokens=20,
        cache_write_1h_tokens=15,
        reasoning_tokens=30,
        requests=1,
        server_tool_calls={"web_search": 2},
        context_tokens=180,
        raw=usage.raw if usage else None,
    )


def test_the_window_holds_what_the_models_last_pass_left() -> None:
    passes = [
        {"type": "message", "input_tokens": 100, "output_tokens": 10},
        {"type": "message", "input_tokens": 150, "cache_read_input_tokens": 20, "output_tokens": 5},
        {"type": "advisor_message", "input_tokens": 999, "output_tokens": 9},
    ]

    usage = read(start(), *end(usage={"input_tokens": 250, "output_tokens": 15, "iterations": passes})).usage

    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.context_tokens) == (250, 15, 175)


# Reading: what goes wrong.


def decode(*frames: Frame) -> tuple[list[Any], Any]:
    decoder = AnthropicMessages().decoder(Request(model="m", messages=()), TARGET)
    return [*decoder.feed(frames)], decoder


def test_an_error_in_the_stream_comes_after_what_was_read_before_it() -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
    deltas, decoder = decode(*events(start(), delta(0, "text_delta", text="Hel"), error))

    with pytest.raises(Overloaded) as caught:
        decoder.feed(())
    with pytest.raises(Overloaded):
        decoder.end()

    assert deltas[-1].text == "Hel"
    assert (caught.value.status, caught.value.in_stream, caught.value.request_id) == (529, True, "req_1")


def test_a_cut_stream_is_never_a_success() -> None:
    whole = events(start(), block(0, type="text", text="Hi"), stop(0), *end())

    for length in range(len(whole)):
        decoder = AnthropicMessages().decoder(Request(model="m", messages=()), TARGET)
        decoder.feed(whole[:length])
        with pytest.raises(StreamTruncated) as caught:
            decoder.end()
        assert caught.value.in_stream


@pytest.mark.parametrize(
    "data",
    ["{", "null", "[]", '"text"', "{}", '{"type": "content_block_delta"}', '{"type": "message_start", "message": 1}',
     '{"type": "content_block_delta", "index": 0, "delta": []}', "[" * 100_000],
)  # fmt: skip
def test_a_frame_of_another_shape_is_a_value_error(data: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        decode(Frame(data))


def test_a_frame_that_was_cut_off_at_the_very_end_is_a_cut_stream() -> None:
    _, decoder = decode(*events(start()))
    with pytest.raises(ValueError, match=r"\S"):
        decoder.feed([Frame('{"type": "content_blo')])

    with pytest.raises(StreamTruncated):
        decoder.end()


def test_an_answer_in_one_piece_reads_like_the_same_in_many() -> None:
    content = [
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "text", "text": "Hello", "citations": None},
        {"type": "tool_use", "id": "toolu_1", "name": "time", "input": {"of": "day"}},
        {"type": "hologram"},
    ]
    usage = {"input_tokens": 3, "output_tokens": 4}
    whole = {"type": "message", "id": "msg_1", "model": "claude", "content": content, "stop_reason": "tool_use"}
    decoder = AnthropicMessages().decoder(Request(model="m", messages=()), TARGET)
    fold = Fold(ORIGIN)

    fold.add(decoder.whole({**whole, "usage": usage}))
    fold.add(decoder.end())
    message = fold.message()

    assert [type(item) for item in message.content] == [Thinking, Text, ToolCall, Unknown]
    assert message.tool_calls[0].arguments == {"of": "day"}
    assert message.usage is not None
    assert message.usage.total_tokens == 7


def test_an_error_in_place_of_an_answer_is_raised() -> None:
    _, decoder = decode()

    with pytest.raises(Overloaded):
        decoder.whole({"type": "error", "error": {"type": "overloaded_error", "message": "x"}})
    with pytest.raises(ValueError, match="unexpected"):
        decoder.whole({"object": "list"})
