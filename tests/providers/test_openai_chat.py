"""Chat Completions: what is written, and what is read of the many ways in which servers answer."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

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
    ProviderError,
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
    Unknown,
    UnsupportedFeature,
    Usage,
    UserMessage,
    Video,
)
from alloy.llm.completion import Fold
from alloy.llm.message import StopReason
from alloy.providers.dialect import Profile, Target
from alloy.providers.framing import Frame
from alloy.providers.openai_chat import ChatCompletions
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import chat_faults

ORIGIN = Origin("openai.chat", "acme", "https://acme.example/v1", "m")
TARGET = Target(origin=ORIGIN)
PICTURE = Image(b"\x89PNG", media_type="image/png")
PICTURE_PART = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}}


def body(*messages: Message, profile: Profile | None = None, **fields: Any) -> Any:
    target = Target(origin=ORIGIN, profile=profile or Profile())
    return ChatCompletions().encode(Request(model="m", messages=messages, **fields), target).json()


def answer(*content: Any) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=ORIGIN)


def results(*made: ToolResult) -> ToolMessage:
    return ToolMessage(made)


def chunk(delta: Any = None, finish: str | None = None, **fields: Any) -> Mapping[str, Any]:
    return {"id": "c1", "model": "m-1", "choices": [{"index": 0, "delta": delta, "finish_reason": finish}], **fields}


def frames(*chunks: Mapping[str, Any] | str) -> list[Frame]:
    return [Frame(one if isinstance(one, str) else json.dumps(one)) for one in chunks]


def read(*chunks: Mapping[str, Any] | str, profile: Profile | None = None) -> AssistantMessage:
    """Read a stream, one batch for each chunk, and check that all in one batch is the same."""
    target = Target(origin=ORIGIN, profile=profile or Profile())
    request = Request(model="m", messages=())
    apart, together = ChatCompletions().decoder(request, target), ChatCompletions().decoder(request, target)
    fold = Fold(ORIGIN)
    deltas = [delta for frame in frames(*chunks) for delta in apart.feed([frame])]
    assert deltas == together.feed(frames(*chunks))
    fold.add(deltas)
    fold.add(apart.end())
    return fold.message()


def call(index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    made = {"index": index, "id": id, "type": "function", "function": function}
    return {key: value for key, value in made.items() if value is not None}


def called(message: AssistantMessage) -> list[tuple[str, Any]]:
    return [(call.name, dict(call.arguments)) for call in message.tool_calls]


# Writing: the frame.


def test_a_request_is_as_small_as_it_can_be() -> None:
    wire = ChatCompletions().encode(Request(model="m", system="Be brief.", messages=[UserMessage("Hello")]), TARGET)

    assert (wire.path, wire.headers) == ("/chat/completions", {})
    assert wire.json() == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    }


def test_a_longer_conversation_begins_as_the_shorter_one_did() -> None:
    dialect, said = ChatCompletions(), [UserMessage("One"), answer(Text("Two")), UserMessage("Three")]

    short = dialect.encode(Request(model="m", tools=TOOLS, messages=said[:1]), TARGET).body
    long = dialect.encode(Request(model="m", tools=TOOLS, messages=said), TARGET).body

    assert b"".join(long).startswith(b"".join(short).removesuffix(b"]}"))


@pytest.mark.parametrize(
    ("options", "profile", "fields"),
    [
        (Settings(max_output_tokens=5), Profile(), {"max_tokens": 5}),
        (
            Settings(max_output_tokens=5),
            Profile(max_tokens_field="max_completion_tokens"),
            {"max_completion_tokens": 5},
        ),
        (Settings(temperature=0.0), Profile(), {"temperature": 0.0}),
        (Settings(effort="none"), Profile(), {"reasoning_effort": "none"}),
        (Settings(stop=("END",)), Profile(), {"stop": ["END"]}),
        (Settings(tool_choice="none"), Profile(), {"tool_choice": "none"}),
        (Settings(tool_choice="required"), Profile(), {"tool_choice": "required"}),
        (
            Settings(tool_choice="time"),
            Profile(),
            {"tool_choice": {"type": "function", "function": {"name": "time"}}},
        ),
        (Settings(tool_choice="auto"), Profile(), {}),
        (Settings(parallel_tool_calls=False), Profile(), {"parallel_tool_calls": False}),
        (Settings(vendor={"seed": 7, "temperature": 2}, temperature=1.0), Profile(), {"seed": 7, "temperature": 2}),
    ],
)
def test_a_setting_has_the_vendors_name(options: Settings, profile: Profile, fields: Mapping[str, Any]) -> None:
    usual = body(UserMessage("Hello"), tools=TOOLS)

    assert body(UserMessage("Hello"), tools=TOOLS, settings=options, profile=profile) == {**usual, **fields}


def test_tools_are_nested_and_strict_only_where_the_server_knows_it() -> None:
    plain = body(UserMessage("Hello"), tools=TOOLS[:1], output_schema={"type": "object"})
    strict = body(UserMessage("Hello"), tools=TOOLS[:1], output_schema={"type": "object"}, profile=Profile(strict=True))

    assert list(plain["tools"][0]["function"]) == ["name", "description", "parameters"]
    assert strict["tools"][0]["function"]["strict"] is True
    assert plain["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "output", "schema": {"type": "object"}},
    }
    assert strict["response_format"]["json_schema"]["strict"] is True


def test_usage_is_not_asked_for_where_the_server_sends_it_unasked() -> None:
    assert "stream_options" not in body(UserMessage("Hello"), profile=Profile(usage_option="none"))


def test_the_system_prompt_has_the_role_of_the_profile() -> None:
    sent = body(UserMessage("Hello"), system="S", profile=Profile(system_role="developer"))

    assert sent["messages"][0] == {"role": "developer", "content": "S"}


@pytest.mark.parametrize(
    ("options", "profile", "feature"),
    [
        (Settings(temperature=1.0), Profile(temperature=False), "temperature"),
        (Settings(effort="low"), Profile(efforts=False), "effort"),
        (Settings(stop=("END",)), Profile(stop=False), "stop"),
    ],
)
def test_what_the_model_does_not_take_is_refused_before_it_is_sent(
    options: Settings, profile: Profile, feature: str
) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        body(UserMessage("Hello"), settings=options, profile=profile)

    assert caught.value.feature == feature


# Writing: messages.


def test_text_is_a_string_and_only_other_things_make_a_list() -> None:
    text = body(UserMessage(["One", CacheMark(), "", "Two"]))
    mixed = body(UserMessage(["One", " ", PICTURE]))

    assert text["messages"] == [{"role": "user", "content": "One\n\nTwo"}]
    assert mixed["messages"] == [{"role": "user", "content": [{"type": "text", "text": "One"}, PICTURE_PART]}]


def test_files_go_as_the_api_has_them() -> None:
    sent = body(
        UserMessage(
            [
                Image(url="https://x.example/a.png"),
                Document(b"%PDF", media_type="application/pdf", name="a.pdf"),
                Document(file_id="file_1"),
                Document(b"a,b", media_type="text/csv", name="a.csv"),
                Audio(b"RIFF", media_type="audio/wav"),
            ]
        )
    )

    assert sent["messages"][0]["content"] == [
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="}},
        {"type": "file", "file": {"file_id": "file_1"}},
        {"type": "text", "text": "[a.csv]\na,b"},
        {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    ]


@pytest.mark.parametrize(
    "item", [Video(b"x", media_type="video/mp4"), Audio(url="https://x.example/a.wav"), Image(file_id="file_1")]
)
def test_a_file_that_the_api_does_not_take_is_refused_when_new_and_noted_when_old(item: Any) -> None:
    with pytest.raises(UnsupportedFeature):
        body(UserMessage(["See", item]))
    sent = body(UserMessage(["See", item]), answer(Text("No.")), UserMessage("Forget it"))

    assert "left out" in sent["messages"][0]["content"][1]["text"]


def test_calls_go_back_with_their_own_text_and_results_behind_them() -> None:
    own = ToolCall("c1", "weather", {"of": "Paris"}, arguments_text='{ "of":"Paris" }')
    made = ToolCall("c2", "weather", {"of": "Rome"})
    bad = ToolCall("c3", "weather", {}, arguments_text='{"of', parse_error="cut off")
    none = ToolCall("c4", "time", {}, arguments_text="null")

    sent = body(
        UserMessage("?"),
        answer(own, made, bad, none),
        results(
            ToolResult("sunny", call_id="c1"),
            ToolResult("", call_id="c2"),
            ToolResult("bad", call_id="c3", is_error=True),
            ToolResult("noon", call_id="c4"),
        ),
    )

    calls = sent["messages"][1]["tool_calls"]
    assert sent["messages"][1]["content"] is None
    assert [call["function"]["arguments"] for call in calls] == ['{ "of":"Paris" }', '{"of":"Rome"}', '{"of', "{}"]
    assert sent["messages"][2:] == [
        {"role": "tool", "tool_call_id": "c1", "content": "sunny"},
        {"role": "tool", "tool_call_id": "c2", "content": ""},
        {"role": "tool", "tool_call_id": "c3", "content": "Error: bad"},
        {"role": "tool", "tool_call_id": "c4", "content": "noon"},
    ]


def test_pictures_of_results_follow_in_the_users_name_before_what_the_user_says() -> None:
    calls = [ToolCall("c1", "draw", {}), ToolCall("c2", "draw", {})]
    drawn = results(
        ToolResult([Text("one"), PICTURE], call_id="c1", name="draw"), ToolResult("none", call_id="c2", name="draw")
    )

    sent = body(UserMessage("?"), answer(*calls), drawn, UserMessage("Nice"))

    assert [message["role"] for message in sent["messages"]] == ["user", "assistant", "tool", "tool", "user"]
    assert sent["messages"][2]["content"] == "one\n[its files follow in the next message]"
    assert sent["messages"][4]["content"] == [
        {"type": "text", "text": "[the files of draw's result]"},
        PICTURE_PART,
        {"type": "text", "text": "Nice"},
    ]


def test_neighbours_of_one_role_are_joined() -> None:
    sent = body(
        UserMessage("One"),
        UserMessage("Two"),
        answer(Text("Three.")),
        answer(Thinking("Hm."), Text("Four.")),
        UserMessage("Five"),
        answer(Thinking("Nothing to say.")),
        UserMessage([PICTURE]),
    )

    assert sent["messages"] == [
        {"role": "user", "content": "One\n\nTwo"},
        {"role": "assistant", "content": "Three.Four."},
        {"role": "user", "content": [{"type": "text", "text": "Five"}, PICTURE_PART]},
    ]


def test_reasoning_goes_back_where_the_server_wants_it_back() -> None:
    details = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "index": 0}]
    held = [Opaque(ORIGIN, "reasoning_details", details), Opaque(ORIGIN, "reasoning_content", "Hm.")]

    sent = body(UserMessage("?"), answer(Thinking("Hm.", opaque=held), Text("Yes.")), UserMessage("Why?"))
    bare = body(UserMessage("?"), answer(Thinking("Hm."), Text("Yes.")), UserMessage("Why?"))

    assert sent["messages"][1] == {
        "role": "assistant",
        "content": "Yes.",
        "reasoning_details": details,
        "reasoning_content": "Hm.",
    }
    assert bare["messages"][1] == {"role": "assistant", "content": "Yes."}


def test_a_part_that_nobody_knows_goes_back_as_it_came() -> None:
    raw = {"type": "reference", "reference_ids": [1]}

    sent = body(UserMessage("?"), answer(Text("See"), Unknown(raw)), UserMessage("Why?"))

    assert sent["messages"][1]["content"] == [{"type": "text", "text": "See"}, raw]


def test_lone_surrogates_do_no_harm() -> None:
    odd = ToolCall("c\udfff", "x", {"y": "\udfff"}, arguments_text='{"y":"\udfff"}')

    sent = body(UserMessage("a\ud800b"), answer(odd), results(ToolResult("\ud83d", call_id="c\udfff")))

    assert chat_faults(sent) == []
    assert sent["messages"][0]["content"] == "a?b"


# Reading: text and reasoning.


def test_a_stream_becomes_a_message() -> None:
    message = read(
        chunk({"role": "assistant", "content": ""}),
        chunk({"content": "Hel"}),
        chunk({"content": "lo"}),
        chunk({}, "stop"),
        chunk({}, None, choices=[], usage={"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}),
        "[DONE]",
    )

    assert message.content == (Text("Hello"),)
    assert (message.model, message.response_id, message.stop.reason) == ("m-1", "c1", "end_turn")
    assert message.usage is not None
    assert message.usage.total_tokens == 5


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": []},
        {"choices": None},
        {"choices": [], "prompt_filter_results": []},
        {"id": "x", "usage": None},
        chunk(None),
        chunk({}),
        chunk({"content": None, "refusal": None, "tool_calls": None}),
        chunk({"content": "", "reasoning": None, "reasoning_details": []}),
        {"choices": [{"delta": {"content": "another"}, "index": 1}]},
        {"choices": [{"finish_reason": "", "index": 0}]},
        chunk({"content": ""}, p="abcdef", obfuscation="x"),
        {"x_groq": {"id": "req_1"}, "choices": []},
    ],
)
def test_chunks_that_say_nothing_change_nothing(odd: Mapping[str, Any]) -> None:
    message = read(odd, chunk({"content": "A"}), odd, chunk({"content": "B"}, "stop"), odd, "[DONE]")

    assert message.content == (Text("AB"),)
    assert message.stop.reason == "end_turn"


def test_the_chunk_that_ends_may_hold_text_and_calls_as_well() -> None:
    message = read(chunk({"content": "A", "tool_calls": [call(0, "c1", "now", "{}")]}, "tool_calls"))

    assert message.text == "A"
    assert called(message) == [("now", {})]


def test_the_first_name_that_reasoning_goes_by_counts() -> None:
    detail = {"type": "reasoning.text", "text": "Hm.", "index": 0}

    both = read(chunk({"reasoning_content": "Hm.", "reasoning": "Hm.", "reasoning_details": [detail]}, "stop"))
    only = read(chunk({"reasoning_details": [detail]}), chunk({"reasoning_details": [detail]}, "stop"))

    assert both.thinking == "Hm."
    assert only.thinking == "Hm.Hm."


def test_reasoning_and_text_may_alternate_in_lists_of_parts() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}], "closed": True}

    message = read(
        chunk({"content": [thought]}),
        chunk({"content": [{"type": "thinking", "thinking": "So."}, {"type": "text", "text": "1"}]}),
        chunk({"content": "44"}),
        chunk({"content": [{"type": "reference", "reference_ids": [1]}, "!"]}, "stop"),
    )

    assert (message.thinking, message.text) == ("Hm.So.", "144!")
    assert message.content[2] == Unknown({"type": "reference", "reference_ids": [1]})


def test_reasoning_details_are_put_together_by_index_and_type_and_kept() -> None:
    def details(*made: Mapping[str, Any]) -> Mapping[str, Any]:
        return chunk({"content": "", "reasoning_details": list(made)})

    text = {"type": "reasoning.text", "index": 0, "format": "anthropic-claude-v1"}
    secret = {"type": "reasoning.encrypted", "index": 0}
    message = read(
        details({**text, "text": "Let "}),
        details({**text, "text": "me see."}),
        details({**text, "signature": "c2ln", "text": None}),
        details({**secret, "data": "ZQ==", "id": "call_1"}, {**secret, "data": "Zg==", "id": "call_2"}),
        chunk({"content": "Yes."}, "stop"),
    )

    (held,) = message.content[0].opaque
    assert held == Opaque(
        ORIGIN,
        "reasoning_details",
        [
            {**text, "text": "Let me see.", "signature": "c2ln"},
            {**secret, "data": "ZQ==", "id": "call_1"},
            {**secret, "data": "Zg==", "id": "call_2"},
        ],
    )


def test_reasoning_content_is_kept_to_go_back() -> None:
    message = read(
        chunk({"reasoning_content": "Let "}), chunk({"reasoning_content": "me."}), chunk({"content": "A"}, "stop")
    )

    assert message.content[0] == Thinking("Let me.", opaque=[Opaque(ORIGIN, "reasoning_content", "Let me.")])


def test_tags_in_the_text_are_text() -> None:
    assert read(chunk({"content": "<think>Hm.</think>Yes."}, "stop")).text == "<think>Hm.</think>Yes."


def test_where_the_text_comes_from_is_kept() -> None:
    raw = {"type": "url_citation", "url_citation": {"url": "u", "title": "t", "start_index": 0}}

    message = read(chunk({"annotations": [raw]}), chunk({"content": "See u."}, "stop"))

    (item,) = message.content
    assert isinstance(item, Text)
    assert item.text == "See u."
    assert [(cited.url, cited.title, cited.raw) for cited in item.citations] == [("u", "t", raw)]


# Reading: calls.


@pytest.mark.parametrize(
    "fragments",
    [
        pytest.param(
            [[call(0, "c1", "a", "")], [call(0, arguments='{"x":')], [call(0, arguments="1}")], [call(1, "c2", "b")]],
            id="by index",
        ),
        pytest.param(
            [[call(0, "c1", "a"), call(1, "c2", "b")], [call(1, arguments="{")], [call(0, arguments='{"x":1}')],
             [call(1, arguments="}")]],
            id="interleaved",
        ),
        pytest.param(
            [[call(None, "c1", "a", '{"x":')], [call(None, arguments="1}")], [call(None, "c2", "b", "{}")]],
            id="no index",
        ),
        pytest.param(
            [[call(None, "c1", "a", '{"x":')], [call(None, "c2", "b", "{}")], [call(None, "c1", arguments="1}")]],
            id="no index but ids",
        ),
        pytest.param(
            [[call(0, "c1", "a", '{"x":1}')], [call(0, "c2", "b", "{}")]],
            id="always index 0",
        ),
        pytest.param(
            [[call(0, "c1", "a", '{"x"')], [call(0, "c1", "a", ":1}")], [call(1, "c2", "b"), call(1, "c2", "b", "{}")]],
            id="name and id repeated",
        ),
        pytest.param(
            [[call(0, "c1", "a", {"x": 1}), call(1, "c2", "b", {})]],
            id="objects",
        ),
        pytest.param([[call(0, "c1", "a", '{"x":1}'), call(1, "c2", "b", "null")]], id="null as text"),
        pytest.param(
            [[call(0, "c1", "a", '{"x":1}'), {"index": 1, "id": "c2", "function": {"name": "b", "arguments": None}}]],
            id="null",
        ),
        pytest.param([[call(None, None, "a", '{"x":1}'), call(None, None, "b")]], id="no index, no ids"),
        pytest.param([[call(None, "", "a", '{"x":1}')], [call(None, "", "b", "{}")]], id="empty ids"),
        pytest.param([[call(0, None, "a", '{"x":')], [call(0, None, "a", "1}")], [call(1, "null", "b")]], id="no ids"),
        pytest.param([[call(0, "c1", None, '{"x":')], [call(0, "c1", "a", "1}")], [call(1, "c2", "b")]], id="late"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("finish", ["tool_calls", "stop", "function_call", "eos", "odd", None])
def test_calls_are_read_however_they_are_cut(fragments: Sequence[Any], finish: str | None) -> None:
    message = read(*(chunk({"tool_calls": part}) for part in fragments), chunk({}, finish), "[DONE]")

    assert called(message) == [("a", {"x": 1}), ("b", {})]
    assert message.stop.reason == "tool_use"
    assert all(message.tool_calls[n].id and message.tool_calls[n].parse_error is None for n in (0, 1))
    assert message.tool_calls[0].id != message.tool_calls[1].id


def test_calls_of_one_name_without_ids_are_told_apart_by_whole_arguments() -> None:
    message = read(
        chunk({"tool_calls": [call(0, "", "a", '{"x":1}')]}),
        chunk({"tool_calls": [call(0, "", "a", '{"x":2}')]}),
        chunk({"tool_calls": [call(0, "", "a", {"x": 3})]}),
        chunk({}, "tool_calls"),
    )

    assert called(message) == [("a", {"x": 1}), ("a", {"x": 2}), ("a", {"x": 3})]


def test_ids_of_the_server_are_kept_as_they_are() -> None:
    message = read(
        chunk({"tool_calls": [call(0, "0", "a", "{}"), call(1, "chatcmpl-tool-" + "f" * 40, "b", "{}")]}, "stop")
    )

    assert [call.id for call in message.tool_calls] == ["0", "chatcmpl-tool-" + "f" * 40]


def test_arguments_that_do_not_parse_are_kept_and_said_to_be_wrong() -> None:
    message = read(chunk({"tool_calls": [call(0, "c1", "a", '{"x": "y"')]}, "tool_calls"))

    (made,) = message.tool_calls
    assert (made.arguments, made.arguments_text) == ({}, '{"x": "y"')
    assert made.parse_error is not None


def test_a_call_that_was_cut_by_the_limit_is_not_to_be_run() -> None:
    message = read(chunk({"tool_calls": [call(0, "c1", "a", '{"x": "y"')]}, "length"))

    assert message.stop.reason == "max_tokens"


def test_text_and_calls_keep_the_order_in_which_they_began() -> None:
    message = read(
        chunk({"reasoning": "Hm."}),
        chunk({"tool_calls": [call(0, "c1", "a", "{}")]}),
        chunk({"content": "So."}),
        chunk({"tool_calls": [call(1, "c2", "b", "{}")], "content": " Yes."}, "stop"),
    )

    assert [type(item).__name__ for item in message.content] == ["Thinking", "ToolCall", "Text", "ToolCall"]
    assert message.text == "So. Yes."


# Reading: the end.


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", "end_turn"),
        ("eos", "end_turn"),
        ("end", "end_turn"),
        ("length", "max_tokens"),
        ("model_length", "context_window"),
        ("content_filter", "content_filter"),
        ("something_new", "other"),
    ],
)
def test_a_stop_has_a_reason_of_ours_and_keeps_the_servers_word(word: str, reason: str) -> None:
    message = read(chunk({"content": "A"}, word), chunk({}, None), chunk({}, ""), chunk({}, word))

    assert (message.stop.reason, message.stop.raw) == (reason, word)


def test_without_a_reason_the_marker_of_the_end_will_do() -> None:
    message = read(chunk({"content": "A"}), "[DONE]")

    assert (message.stop.reason, message.stop.raw) == ("end_turn", None)


def test_a_refusal_is_one_whatever_reason_the_server_gives() -> None:
    message = read(chunk({"content": "", "refusal": "I can"}), chunk({"refusal": "not."}), chunk({}, "stop"))

    assert (message.text, message.stop.reason) == ("", "refusal")
    assert message.stop.detail == {"refusal": "I cannot."}


def test_the_word_of_the_server_behind_is_kept() -> None:
    choice = {"index": 0, "delta": {"content": "A"}, "finish_reason": "stop", "native_finish_reason": "STOP"}

    assert read({"choices": [choice]}).stop.detail == {"native_finish_reason": "STOP"}


@pytest.mark.parametrize("length", range(4))
def test_a_cut_stream_is_never_a_success(length: int) -> None:
    sent = frames(chunk({"role": "assistant"}), chunk({"content": "A"}), chunk({"content": "B"}, ""), chunk({}))
    decoder = ChatCompletions().decoder(Request(model="m", messages=()), TARGET)
    decoder.feed(sent[:length])

    with pytest.raises(StreamTruncated) as caught:
        decoder.end()

    assert (caught.value.vendor, caught.value.in_stream) == ("acme", True)


@pytest.mark.parametrize(
    ("last", "kind", "status"),
    [
        ({"error": {"message": "out of memory", "code": 500}}, ServerError, 500),
        (
            {"error": {"message": "gone", "code": "server_error"}, "choices": [{"finish_reason": "error"}]},
            ServerError,
            500,
        ),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "error"}]}, ServerError, 500),
        (
            {"choices": [{"index": 0, "delta": {"content": "B"}, "error": {"code": 502, "message": "x"}}]},
            ServerError,
            502,
        ),
        ({"choices": [{"index": 0, "delta": {}, "finish_reason": "insufficient_system_resource"}]}, Overloaded, 503),
        ({"error": "text"}, ServerError, 500),
        ({"x_groq": {"error": "over capacity"}, "choices": []}, ServerError, 500),
    ],
)
def test_an_error_in_the_stream_comes_after_what_was_read_before_it(
    last: Mapping[str, Any], kind: type[ProviderError], status: int
) -> None:
    decoder = ChatCompletions().decoder(Request(model="m", messages=()), TARGET)

    deltas = decoder.feed(frames(chunk({"content": "A"}), last, "[DONE]"))
    with pytest.raises(kind) as caught:
        decoder.end()

    assert getattr(deltas[1], "text", None) == "A"
    assert (type(caught.value), caught.value.status, caught.value.in_stream) == (kind, status, True)


def test_an_event_that_is_named_an_error_is_one() -> None:
    decoder = ChatCompletions().decoder(Request(model="m", messages=()), TARGET)

    with pytest.raises(ServerError, match="went wrong"):
        decoder.feed([Frame('{"message": "went wrong"}', "error")])


@pytest.mark.parametrize(
    "data", ["{", "null", "[]", '"x"', '{"choices": {}}x', '{"choices": [1]}', '{"choices": [{"delta": 1}]}']
)
def test_a_frame_of_another_shape_is_a_value_error(data: str) -> None:
    decoder = ChatCompletions().decoder(Request(model="m", messages=()), TARGET)

    with pytest.raises(ValueError, match=r"\S"):
        decoder.feed([Frame(data)])


# Reading: usage.

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk({"content": "A"}, "stop"), {"choices": [], "usage": USAGE}],
        [chunk({"content": "A"}, "stop", usage=USAGE)],
        [chunk({"content": "A"}, "stop"), chunk({"content": ""}, usage=USAGE)],
        [chunk({"content": "A"}, usage={**USAGE, "completion_tokens": 1}), chunk({}, "stop", usage=USAGE)],
        [chunk({"content": "A"}, usage=None), chunk({}, "stop", usage=None), {"choices": [], "usage": USAGE}],
        [chunk({"content": "A"}), {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}]}],
        [chunk({"content": "A"}), chunk({}, "stop", x_groq={"usage": USAGE})],
    ],
)
def test_usage_is_found_wherever_it_stands_and_never_added_up(chunks: Sequence[Mapping[str, Any]]) -> None:
    assert read(*chunks).usage == Usage(input_tokens=10, output_tokens=5, requests=1, context_tokens=15, raw=USAGE)


def test_usage_that_was_not_reported_is_none() -> None:
    assert read(chunk({"content": "A"}, "stop")).usage is None


@pytest.mark.parametrize(
    ("raw", "counts"),
    [
        (
            {**USAGE, "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2}},
            {"cache_read_tokens": 4, "cache_write_tokens": 2, "input_tokens": 10},
        ),
        ({**USAGE, "prompt_cache_hit_tokens": 4, "prompt_cache_miss_tokens": 6}, {"cache_read_tokens": 4}),
        ({**USAGE, "completion_tokens_details": {"reasoning_tokens": 3}}, {"output_tokens": 5, "reasoning_tokens": 3}),
        (
            {**USAGE, "total_tokens": 115, "completion_tokens_details": {"reasoning_tokens": 100}},
            {"output_tokens": 105, "reasoning_tokens": 100, "context_tokens": 115},
        ),
        ({**USAGE, "total_tokens": 585}, {"output_tokens": 5}),
        ({**USAGE, "prompt_tokens_details": None, "completion_tokens_details": None}, {"output_tokens": 5}),
    ],
)
def test_usage_is_brought_to_one_meaning(raw: Mapping[str, Any], counts: Mapping[str, int]) -> None:
    usage = read(chunk({"content": "A"}, "stop", usage=raw)).usage

    assert {name: getattr(usage, name) for name in counts} == counts


def test_a_cost_is_believed_only_where_it_is_known_to_be_in_dollars() -> None:
    last = chunk({"content": "A"}, "stop", usage={**USAGE, "cost": 0.00333825})

    known, unknown = read(last, profile=Profile(reports_cost=True)).usage, read(last).usage

    assert known is not None
    assert unknown is not None
    assert (known.cost, unknown.cost) == (Decimal("0.00333825"), None)


# Reading: an answer in one piece.


def whole(value: Any) -> AssistantMessage:
    decoder = ChatCompletions().decoder(Request(model="m", messages=()), TARGET)
    fold = Fold(ORIGIN)
    fold.add(decoder.whole(value))
    return fold.message()


def test_an_answer_in_one_piece_reads_like_a_stream() -> None:
    spoken = {
        "role": "assistant",
        "content": "Hello",
        "reasoning": "Hm.",
        "refusal": None,
        "audio": {"data": "", "id": ""},
        "function_call": {"name": "", "arguments": ""},
        "executed_tools": [{"index": 0}],
        "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "a", "arguments": "{}"}, "custom": {"name": ""}},
            {"id": "c2", "type": "custom", "custom": {"name": "b", "input": "4 + 4"}},
        ],
    }

    message = whole({"id": "c1", "model": "m-1", "choices": [{"message": spoken, "finish_reason": ""}], "usage": USAGE})

    assert (message.text, message.thinking, message.stop.reason) == ("Hello", "Hm.", "tool_use")
    assert [(call.name, call.arguments_text, call.parse_error is None) for call in message.tool_calls] == [
        ("a", "{}", True),
        ("b", "4 + 4", False),
    ]
    assert message.usage is not None


def test_of_a_delta_and_a_message_the_whole_answer_reads_the_message() -> None:
    choice = {"index": 0, "delta": {"content": ""}, "message": {"content": "Hello"}, "finish_reason": "stop"}

    assert whole({"choices": [choice]}).text == "Hello"


def test_an_error_in_place_of_an_answer_is_raised() -> None:
    with pytest.raises(ServerError, match="upstream"):
        whole({"error": {"message": "upstream", "code": 502}, "user_id": "u"})
    with pytest.raises(ServerError, match="stream"):
        whole({"choices": [{"message": {"content": "half"}, "error": {"code": 502, "message": "stream"}}]})


@pytest.mark.parametrize("value", [{"choices": []}, {"choices": None}, {}, [], None, "x", {"choices": [1]}])
def test_an_answer_of_another_shape_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        whole(value)
