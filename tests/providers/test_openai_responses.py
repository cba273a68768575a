"""OpenAI's Responses: what is written, and what is read of the ways in which servers answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alloy.llm import (
    AssistantMessage,
    Audio,
    BadRequest,
    CacheMark,
    Citation,
    ContentRejected,
    ContextTooLong,
    Document,
    Image,
    Message,
    Opaque,
    Origin,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Request,
    ServerError,
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
    Video,
)
from alloy.llm.codec import from_json, to_json
from alloy.llm.completion import Fold
from alloy.llm.delta import Delta, Noted
from alloy.llm.history import replay, sendable
from alloy.llm.message import StopReason
from alloy.providers.dialect import Profile, Target
from alloy.providers.framing import Frame
from alloy.providers.openai_responses import Responses
from alloy.providers.openai_responses_decode import usage_of
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import responses_faults
from providers.test_request_bodies import judge_responses

ORIGIN = Origin("openai.responses", "acme", "https://acme.example/v1", "m")
TARGET = Target(origin=ORIGIN)
PICTURE = Image(b"\x89PNG", media_type="image/png")
PICTURE_PART = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,iVBORw=="}
REASONING = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [{"type": "summary_text", "text": "Hm."}],
    "encrypted_content": "ZW5j",
}


def wire(*messages: Message, profile: Profile | None = None, **fields: Any) -> Any:
    target = Target(origin=ORIGIN, profile=profile or Profile())
    return Responses().encode(Request(model="m", messages=messages, **fields), target).json()


def items(*messages: Message) -> Any:
    return wire(*messages)["input"]


def user(text: str) -> Any:
    return {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}


def answer(*content: Any) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=ORIGIN)


def of(type: str, id: str | None = None, data: Any = None, **extra: Any) -> list[Opaque]:
    return [Opaque(ORIGIN, type, data, id=id, extra=extra)]


# Reading.


def frames(*events: Mapping[str, Any] | str) -> list[Frame]:
    return [Frame(one if isinstance(one, str) else json.dumps(one)) for one in events]


def read(*events: Mapping[str, Any] | str, profile: Profile | None = None) -> AssistantMessage:
    """Read a stream, one batch for each event, and check that all in one batch is the same."""
    target = Target(origin=ORIGIN, profile=profile or Profile())
    request = Request(model="m", messages=())
    apart, together = Responses().decoder(request, target), Responses().decoder(request, target)
    deltas = [delta for frame in frames(*events) for delta in apart.feed([frame])]
    assert deltas == together.feed(frames(*events))
    return folded([*deltas, *apart.end()])


def folded(deltas: list[Delta]) -> AssistantMessage:
    fold = Fold(ORIGIN)
    fold.add(deltas)
    return fold.message()


def whole(body: Any, profile: Profile | None = None) -> AssistantMessage:
    target = Target(origin=ORIGIN, profile=profile or Profile())
    return folded(list(Responses().decoder(Request(model="m", messages=()), target).whole(body)))


def event(kind: str, **fields: Any) -> Mapping[str, Any]:
    return {"type": f"response.{kind}", "sequence_number": 1, **fields}


def added(number: int, item: Mapping[str, Any]) -> Mapping[str, Any]:
    return event("output_item.added", output_index=number, item=item)


def done(number: int, item: Mapping[str, Any]) -> Mapping[str, Any]:
    return event("output_item.done", output_index=number, item=item)


def says(text: str, number: int = 0, content: int = 0) -> Mapping[str, Any]:
    return event("output_text.delta", output_index=number, content_index=content, item_id="msg_1", delta=text)


def argues(text: str, number: int = 0) -> Mapping[str, Any]:
    return event("function_call_arguments.delta", output_index=number, item_id="fc_1", delta=text)


def message(*texts: str, **fields: Any) -> Mapping[str, Any]:
    content = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": content, **fields}


def calls(arguments: str, **fields: Any) -> Mapping[str, Any]:
    made = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "arguments": arguments}
    return {**made, "status": "completed", **fields}


def ends(kind: str = "completed", **fields: Any) -> Mapping[str, Any]:
    return event(kind, response={"id": "resp_1", "model": "m-1", "status": kind, "output": [], **fields})


CREATED = event("created", response={"id": "resp_1", "model": "m-1", "status": "in_progress", "output": []})


# Writing: the frame.


def test_a_request_keeps_nothing_at_the_server_and_asks_for_what_must_come_back() -> None:
    made = Responses().encode(Request(model="m", system="Be brief.", messages=[UserMessage("Hello")]), TARGET)

    assert (made.path, made.headers) == ("/responses", {})
    assert made.json() == {
        "model": "m",
        "stream": True,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "instructions": "Be brief.",
        "input": [user("Hello")],
    }


def test_a_longer_conversation_begins_as_the_shorter_one_did() -> None:
    dialect, said = Responses(), [UserMessage("One"), answer(Text("Two")), UserMessage("Three")]

    short = dialect.encode(Request(model="m", tools=TOOLS, messages=said[:1]), TARGET).body
    long = dialect.encode(Request(model="m", tools=TOOLS, messages=said), TARGET).body

    assert b"".join(long).startswith(b"".join(short).removesuffix(b"]}"))


def test_a_message_is_encoded_once() -> None:
    dialect, said = Responses(), UserMessage("One")
    request = Request(model="m", messages=[said])

    first, second = dialect.encode(request, TARGET).body, dialect.encode(request, TARGET).body

    assert any(one is other for one in first for other in second if b"One" in one)


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (Settings(max_output_tokens=5), {"max_output_tokens": 5}),
        (Settings(temperature=0.0), {"temperature": 0.0}),
        (Settings(effort="high"), {"reasoning": {"effort": "high"}}),
        (Settings(tool_choice="none"), {"tool_choice": "none"}),
        (Settings(tool_choice="required"), {"tool_choice": "required"}),
        (Settings(tool_choice="time"), {"tool_choice": {"type": "function", "name": "time"}}),
        (Settings(tool_choice="auto"), {}),
        (Settings(parallel_tool_calls=False), {"parallel_tool_calls": False}),
        (
            Settings(vendor={"prompt_cache_key": "session", "store": True}),
            {"prompt_cache_key": "session", "store": True},
        ),
    ],
)
def test_a_setting_has_the_vendors_name(options: Settings, fields: Mapping[str, Any]) -> None:
    usual = wire(UserMessage("Hello"), tools=TOOLS)

    assert wire(UserMessage("Hello"), tools=TOOLS, settings=options) == {**usual, **fields}


def test_tools_are_flat_and_say_always_whether_they_are_strict() -> None:
    schema = {"type": "object", "properties": {}, "additionalProperties": False}
    plain = wire(UserMessage("Hello"), tools=TOOLS[:1], output_schema=schema)
    strict = wire(UserMessage("Hello"), tools=TOOLS[:1], output_schema=schema, profile=Profile(strict=True))

    tool = {"type": "function", "name": "weather", "description": "Looks up the weather.", "parameters": schema}
    assert plain["tools"] == [{**tool, "strict": False}]
    assert strict["tools"] == [{**tool, "strict": True}]
    assert plain["text"] == {
        "format": {"type": "json_schema", "name": "output", "schema": schema, "strict": True},
    }
    assert strict["text"] == plain["text"]


def test_an_output_schema_that_cannot_be_enforced_is_a_wish() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer", "minimum": 1}}, "additionalProperties": False}
    wish = wire(UserMessage("Hello"), output_schema=schema)
    strict = wire(UserMessage("Hello"), output_schema=schema, profile=Profile(strict=True))

    assert wish["text"]["format"]["strict"] is False
    assert strict["text"]["format"]["strict"] is True


def test_tools_of_the_vendor_come_behind_ours() -> None:
    search = {"type": "web_search"}

    sent = wire(UserMessage("Hello"), tools=TOOLS[:1], settings=Settings(vendor={"tools": [search]}))

    assert [tool.get("name", tool["type"]) for tool in sent["tools"]] == ["weather", "web_search"]


@pytest.mark.parametrize(
    ("needs", "effort", "is_taken"),
    [
        ("any", None, True),
        ("any", "high", True),
        ("default", None, True),
        ("default", "none", True),
        ("default", "low", False),
        ("none", None, False),
        ("none", "none", True),
        ("none", "low", False),
    ],
)
def test_a_model_that_reasons_takes_no_temperature(needs: Any, effort: Any, is_taken: bool) -> None:
    def send() -> Any:
        options = Settings(temperature=0.5, effort=effort)
        return wire(UserMessage("Hello"), settings=options, profile=Profile(temperature_needs=needs))

    if is_taken:
        assert send()["temperature"] == 0.5
    else:
        with pytest.raises(UnsupportedFeature, match="temperature"):
            send()


@pytest.mark.parametrize(
    ("options", "profile", "feature"),
    [
        (Settings(stop=("END",)), Profile(), "stop"),
        (Settings(temperature=1.0), Profile(temperature=False), "temperature"),
        (Settings(effort="low"), Profile(efforts=False), "effort"),
        (Settings(max_output_tokens=9), Profile(limits_output=False), "max_output_tokens"),
    ],
)
def test_what_the_api_does_not_take_is_refused_before_it_is_sent(
    options: Settings, profile: Profile, feature: str
) -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        wire(UserMessage("Hello"), settings=options, profile=profile)

    assert (caught.value.feature, caught.value.sent) == (feature, False)


def test_a_model_that_does_not_reason_is_not_asked_for_reasoning() -> None:
    assert "include" not in wire(UserMessage("Hello"), profile=Profile(encrypted_reasoning=False))


# Writing: messages.


def test_what_the_user_says_is_a_list_of_parts_without_blanks() -> None:
    assert items(UserMessage(["One", CacheMark(), " ", PICTURE]), UserMessage([" "])) == [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "One"}, PICTURE_PART]}
    ]


def test_files_go_as_the_api_has_them() -> None:
    [sent] = items(
        UserMessage(
            [
                Image(url="https://x.example/a.png"),
                Image(file_id="file_1"),
                Document(b"%PDF", media_type="application/pdf"),
                Document(b"%PDF", media_type="application/pdf", name="a.pdf"),
                Document(url="https://x.example/a.pdf"),
                Document(file_id="file_2"),
                Document(b"a,b", media_type="text/csv", name="a.csv"),
            ]
        )
    )

    assert sent["content"] == [
        {"type": "input_image", "detail": "auto", "image_url": "https://x.example/a.png"},
        {"type": "input_image", "detail": "auto", "file_id": "file_1"},
        {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        {"type": "input_file", "file_url": "https://x.example/a.pdf"},
        {"type": "input_file", "file_id": "file_2"},
        {"type": "input_text", "text": "[a.csv]\na,b"},
    ]


@pytest.mark.parametrize(
    "item",
    [
        Video(b"x", media_type="video/mp4"),
        Audio(b"x", media_type="audio/wav"),
        Image(b"BM", media_type="image/bmp"),
    ],
)
def test_a_file_that_the_api_does_not_take_is_refused_when_new_and_noted_when_old(item: Any) -> None:
    with pytest.raises(UnsupportedFeature):
        items(UserMessage(["See", item]))
    sent = items(UserMessage(["See", item]), answer(Text("No.")), UserMessage("Forget it"))

    assert "left out" in sent[0]["content"][1]["text"]


def test_an_answer_goes_back_item_by_item_with_its_ids_and_phases() -> None:
    sent = items(
        UserMessage("?"),
        answer(
            Thinking("Hm.", summary=True, opaque=of("reasoning", "rs_1", REASONING)),
            Thinking("Hm?", summary=True, opaque=of("reasoning", "rs_1")),
            Text("One", opaque=of("message", "msg_1", phase="commentary")),
            Text("Two", opaque=of("message", "msg_1", phase="commentary")),
            Text("Three", opaque=of("message", "msg_2", phase="final_answer")),
            ToolCall("call_1", "f", {}, arguments_text='{ "a":1 }', opaque=of("function_call", "fc_1", namespace="n")),
        ),
        ToolMessage([ToolResult("x", call_id="call_1")]),
    )

    part = {"type": "output_text", "annotations": []}
    head = {"type": "message", "role": "assistant", "status": "completed"}
    assert sent[1:] == [
        REASONING,
        {**head, "id": "msg_1", "phase": "commentary", "content": [{**part, "text": "One"}, {**part, "text": "Two"}]},
        {**head, "id": "msg_2", "phase": "final_answer", "content": [{**part, "text": "Three"}]},
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "call_1",
            "name": "f",
            "namespace": "n",
            "arguments": '{ "a":1 }',
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "x"},
    ]


def test_an_answer_of_another_server_goes_back_without_reasoning_ids_and_phases() -> None:
    elsewhere = attrs.evolve(ORIGIN, endpoint="https://other.example")
    given = AssistantMessage(
        [
            Thinking("Hm.", opaque=[Opaque(elsewhere, "reasoning", REASONING, id="rs_1")]),
            Text("One", opaque=[Opaque(elsewhere, "message", None, id="msg_1", extra={"phase": "commentary"})]),
            ToolCall("call_1", "f", {"a": 1}, opaque=[Opaque(elsewhere, "function_call", None, id="fc_1")]),
            ServerTool("call", "web_search", "ws_1", {"type": "web_search_call", "id": "ws_1"}),
            Unknown({"type": "odd"}, opaque=[Opaque(elsewhere, "item", None, id="odd_1")]),
            Unknown(
                {"type": "compaction", "encrypted_content": "x"}, opaque=[Opaque(elsewhere, "item", None, id="cmp_1")]
            ),
        ],
        stop=StopInfo(StopReason.TOOL_USE),
        origin=elsewhere,
    )

    assert items(*replay([given], ORIGIN)) == [
        {"type": "message", "role": "assistant", "content": "One"},
        {
            "type": "message",
            "role": "assistant",
            "content": "[web_search: call of a tool that acme ran]",
        },
        {"type": "odd"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": '{"a":1}'},
    ]


def test_reasoning_goes_to_another_model_of_the_same_server() -> None:
    older = attrs.evolve(ORIGIN, model="older")
    thought = Thinking("Hm.", opaque=[Opaque(older, "reasoning", REASONING, id="rs_1")])
    given = AssistantMessage([thought, Text("One")], stop=StopInfo(StopReason.END_TURN), origin=older)

    kept = replay([given], ORIGIN, other_model=Responses().keeps_for_other_model)

    assert [item["type"] for item in items(*kept)] == ["reasoning", "message"]


@pytest.mark.parametrize("lost", [{"encrypted_content": None}, {"encrypted_content": "", "content": []}])
def test_without_all_of_its_reasoning_an_answer_goes_back_without_ids(lost: Mapping[str, Any]) -> None:
    sent = items(
        answer(
            Thinking("", opaque=of("reasoning", "rs_0", REASONING)),
            Thinking("", opaque=of("reasoning", "rs_1", {**REASONING, **lost})),
            Text("One", opaque=of("message", "msg_1", phase="commentary")),
            ServerTool("call", "web_search", "ws_1", {"type": "web_search_call", "id": "ws_1"}),
            Unknown({"type": "odd"}, opaque=of("item", "odd_1")),
            ToolCall("call_1", "f", {}, opaque=of("function_call", "fc_1")),
        )
    )

    assert sent == [
        {"type": "message", "role": "assistant", "phase": "commentary", "content": "One"},
        {"type": "odd"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
    ]


def test_a_model_that_does_not_reason_gets_neither_reasoning_nor_the_ids_that_belong_to_it() -> None:
    dialect = Responses()
    thought = Thinking("", opaque=of("reasoning", "rs_1", REASONING))
    request = Request(model="m", messages=[answer(thought, Text("One", opaque=of("message", "msg_1")))])
    simple = Target(origin=ORIGIN, profile=Profile(encrypted_reasoning=False))

    sent = [dialect.encode(request, target).json()["input"] for target in (TARGET, simple, TARGET)]

    assert sent[1] == [{"type": "message", "role": "assistant", "content": "One"}]
    assert sent[0] == sent[2]
    assert [item["id"] for item in sent[0]] == ["rs_1", "msg_1"]


def test_reasoning_in_plain_text_goes_back_as_well() -> None:
    plain = {"id": "x", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}

    sent = items(answer(Thinking("Hm.", opaque=of("reasoning", "x", {**plain, "encrypted_content": None})), Text("A")))

    assert sent[0] == plain


def test_reasoning_that_led_to_nothing_does_not_go_back() -> None:
    thought = Thinking("Hm.", opaque=of("reasoning", "rs_1", REASONING))

    assert items(UserMessage("?"), answer(thought), UserMessage("Well?")) == [user("?"), user("Well?")]
    assert [item["type"] for item in items(answer(thought, Text("A"), thought))] == ["reasoning", "message"]


@pytest.mark.parametrize(
    ("thought", "order"),
    [
        ([], ["message", "message", "function_call"]),
        (
            [Thinking("", opaque=of("reasoning", "rs_1", REASONING))],
            ["reasoning", "message", "function_call", "message"],
        ),
    ],
)
def test_calls_come_last_in_an_answer_but_where_encrypted_reasoning_sets_the_order(
    thought: list[Thinking], order: list[str]
) -> None:
    sent = items(answer(*thought, Text("One"), ToolCall("call_1", "f", {}), Text("Two")))

    assert [item["type"] for item in sent] == order


def test_what_the_vendor_ran_and_what_nobody_knows_goes_back_as_it_came() -> None:
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "x"},
    }
    odd = {"type": "program", "code": "x", "fingerprint": "f"}

    sent = items(answer(ServerTool("call", "web_search", "ws_1", search), Unknown(odd, opaque=of("item", "prog_1"))))

    assert sent == [search, {**odd, "id": "prog_1"}]


def test_an_error_is_one_by_its_text_and_files_may_stand_in_a_result() -> None:
    made = [ToolCall(f"c{n}", "f", {}) for n in range(4)]
    given = ToolMessage(
        [
            ToolResult("", call_id="c0"),
            ToolResult("bad", call_id="c1", is_error=True),
            ToolResult([Text("one"), PICTURE, Text(" ")], call_id="c2"),
            ToolResult(
                [PICTURE, Document(b"%PDF", media_type="application/pdf", name="a.pdf")], call_id="c3", is_error=True
            ),
        ]
    )

    sent = wire(UserMessage("?"), answer(*made), given)

    assert [item["output"] for item in sent["input"][5:]] == [
        "",
        "Error: bad",
        [{"type": "input_text", "text": "one"}, PICTURE_PART],
        [
            {"type": "input_text", "text": "Error:"},
            PICTURE_PART,
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
        ],
    ]
    assert judge_responses(sent) == []


def test_a_custom_tool_gets_its_text_and_gives_a_result_of_its_own_kind() -> None:
    free = ToolCall(
        "c1", "calc", {}, arguments_text="4 + 4", parse_error="no JSON", opaque=of("custom_tool_call", "ctc_1")
    )
    plain = ToolCall("c2", "f", {"a": 1})
    given = ToolMessage([ToolResult("8", call_id="c1"), ToolResult("x", call_id="c2")])

    sent = wire(UserMessage("?"), answer(free, plain), given)

    assert sent["input"][1:] == [
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "calc", "input": "4 + 4"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": '{"a":1}'},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "8"},
        {"type": "function_call_output", "call_id": "c2", "output": "x"},
    ]
    assert judge_responses(sent) == []


def test_ids_of_calls_are_made_to_fit_the_same_on_both_sides() -> None:
    long = ToolCall("x" * 80, "f", {}, arguments_text="null")

    sent = items(UserMessage("?"), answer(long), ToolMessage([ToolResult("1", call_id=long.id)]))

    assert sent[1]["call_id"] == sent[2]["call_id"]
    assert (len(sent[1]["call_id"]), sent[1]["arguments"]) == (64, "{}")


def test_lone_surrogates_do_no_harm() -> None:
    odd = ToolCall("c\udfff", "x", {"y": "\udfff"}, arguments_text='{"y":"\udfff"}')

    sent = wire(UserMessage("a\ud800b"), answer(odd), ToolMessage([ToolResult("\ud83d", call_id="c\udfff")]))

    assert judge_responses(sent) == []


# Reading: streams.


def test_a_stream_becomes_a_message() -> None:
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    made = read(
        CREATED,
        event("in_progress", response={"id": "resp_1", "model": "m-1"}),
        added(0, message()),
        event("content_part.added", output_index=0, content_index=0, part={"type": "output_text", "text": ""}),
        says("Hel"),
        says("lo"),
        event("output_text.done", output_index=0, content_index=0, text="Hello"),
        done(0, message("Hello", phase="final_answer")),
        ends(output=[message("Hello", phase="final_answer")], usage=usage),
        "[DONE]",
    )

    assert made.content == (Text("Hello", opaque=of("message", "msg_1", phase="final_answer")),)
    assert (made.model, made.response_id, made.stop) == ("m-1", "resp_1", StopInfo(StopReason.END_TURN, "completed"))
    assert made.usage is not None
    assert (made.usage.total_tokens, made.usage.requests) == (5, 1)


@pytest.mark.parametrize(
    "odd",
    [
        {"type": "keepalive"},
        {"type": "response.reasoning_part.added", "output_index": 0},
        {"type": "response.web_search_call.searching", "output_index": 0},
        event("output_text.annotation.added", output_index=0, content_index=0, annotation={"type": "url_citation"}),
        {},
        "[DONE]",
    ],
)
def test_events_that_nobody_knows_change_nothing(odd: Any) -> None:
    assert read(odd, CREATED, odd, says("A"), odd, says("B"), odd, ends(), odd).content == (Text("AB"),)


def test_what_came_in_no_deltas_is_in_the_item_that_is_done_or_in_the_response() -> None:
    search = {"type": "web_search_call", "id": "ws_1"}
    output = [REASONING, search, message("Hello", id="msg_2"), calls('{"of": "Paris"}')]

    from_items = read(*(done(number, item) for number, item in enumerate(output)), ends())
    from_response = read(ends(output=output))
    from_whole = whole({"id": "resp_1", "model": "m-1", "status": "completed", "output": output})

    assert from_items.content == from_response.content == from_whole.content
    assert [type(item).__name__ for item in from_items.content] == ["Thinking", "ServerTool", "Text", "ToolCall"]
    assert from_items.tool_calls[0].arguments == {"of": "Paris"}


def test_what_an_item_says_when_it_is_done_counts() -> None:
    made = read(
        added(0, message()),
        says("Half an ans"),
        done(0, message("The answer.")),
        added(1, calls("")),
        argues('{"of": "Par', 1),
        done(1, calls('{"of": "Paris"}')),
        ends(),
    )

    assert made.text == "The answer."
    assert (made.tool_calls[0].arguments, made.tool_calls[0].parse_error) == ({"of": "Paris"}, None)


def test_encrypted_reasoning_is_that_of_the_item_that_is_done() -> None:
    early = {**REASONING, "encrypted_content": "early", "summary": []}

    made = read(
        added(0, early), done(0, REASONING), says("A", 1), ends(output=[{**REASONING, "encrypted_content": "x"}])
    )

    assert made.content[0].opaque == tuple(of("reasoning", "rs_1", REASONING))


def test_each_summary_and_each_thought_is_an_item() -> None:
    def summary(text: str, index: int) -> Mapping[str, Any]:
        return event("reasoning_summary_text.delta", output_index=0, summary_index=index, delta=text)

    thought = event("reasoning_text.delta", output_index=0, content_index=0, delta="Raw.")
    item = {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "One."}, {"type": "summary_text", "text": "Two."}],
        "content": [{"type": "reasoning_text", "text": "Raw."}],
    }
    streamed = read(
        added(0, item), summary("On", 0), summary("e.", 0), summary("Two.", 1), thought, done(0, item), ends()
    )

    assert streamed.content == (
        Thinking("One.", summary=True, opaque=of("reasoning", "rs_1", item)),
        Thinking("Two.", summary=True, opaque=of("reasoning", "rs_1")),
        Thinking("Raw.", opaque=of("reasoning", "rs_1")),
    )
    assert whole({"output": [item]}).content == streamed.content


def test_reasoning_that_does_not_show_itself_is_kept_before_its_call() -> None:
    silent = {**REASONING, "summary": []}

    made = read(added(0, silent), done(0, silent), added(1, calls("")), argues("{}", 1), done(1, calls("{}")), ends())

    assert made.content[0] == Thinking("", opaque=of("reasoning", "rs_1", silent))
    assert made.stop.reason == "tool_use"


def test_nothing_has_been_delivered_while_the_model_has_only_begun_to_think() -> None:
    decoder, fold = Responses().decoder(Request(model="m", messages=()), TARGET), Fold(ORIGIN)

    fold.add(decoder.feed(frames(CREATED, added(0, REASONING), added(1, message()))))

    assert not fold.has_content


def test_calls_are_told_apart_by_their_item() -> None:
    other = {"id": "fc_2", "call_id": "call_2", "name": "time"}
    made = read(
        added(0, calls("")),
        added(1, calls("", **other)),
        argues('{"a"', 0),
        argues("{", 1),
        argues(": 1}", 0),
        argues("}", 1),
        done(0, calls('{"a": 1}')),
        done(1, calls("{}", **other)),
        ends(),
    )

    assert [(call.id, call.name, dict(call.arguments)) for call in made.tool_calls] == [
        ("call_1", "weather", {"a": 1}),
        ("call_2", "time", {}),
    ]
    assert made.tool_calls[1].opaque == tuple(of("function_call", "fc_2"))


def test_arguments_may_come_in_their_own_last_event_only() -> None:
    last = event("function_call_arguments.done", output_index=0, item_id="fc_1", arguments='{"of": "Paris"}')

    made = read(added(0, calls("")), last, ends())

    assert made.tool_calls[0].arguments == {"of": "Paris"}


def test_arguments_that_were_cut_are_no_arguments() -> None:
    cut = {"incomplete_details": {"reason": "max_output_tokens"}}

    made = read(added(0, calls("")), argues('{"of": "Par'), done(0, calls('{"of": "Par')), ends("incomplete", **cut))

    assert made.stop == StopInfo(StopReason.MAX_TOKENS, "max_output_tokens")
    assert made.tool_calls[0].parse_error is not None


def test_fields_that_must_go_back_with_a_call_are_kept() -> None:
    made = read(done(0, calls("{}", namespace="n", caller={"type": "direct"}, item_id="odd")), ends())

    assert made.tool_calls[0].opaque == tuple(of("function_call", "fc_1", namespace="n", caller={"type": "direct"}))


def test_a_custom_tools_text_is_free() -> None:
    begun = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "calc", "input": ""}
    delta = event("custom_tool_call_input.delta", output_index=0, delta="4 + 4")

    made = read(added(0, begun), delta, done(0, {**begun, "input": "4 + 4"}), ends())

    [call] = made.tool_calls
    assert (call.arguments_text, call.arguments, call.opaque) == ("4 + 4", {}, tuple(of("custom_tool_call", "ctc_1")))
    assert call.parse_error is not None


def test_a_custom_tool_that_the_server_runs_is_no_call_of_ours() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "c1", "name": "x_keyword_search", "input": "q"}
    delta = event("custom_tool_call_input.delta", output_index=0, delta="q")

    made = read(added(0, item), delta, done(0, item), ends(), profile=Profile(runs_custom_tools=True))

    assert made.content == (ServerTool("call", "x_keyword_search", "ctc_1", item),)
    assert made.stop.reason == "end_turn"


def test_what_the_vendor_ran_is_told_at_once_and_kept_as_it_was_in_the_end() -> None:
    begun = {"type": "web_search_call", "id": "ws_1", "status": "in_progress"}
    ended = {**begun, "status": "completed", "action": {"type": "search", "query": "x"}}
    shell = {"type": "shell_call", "id": "sh_1", "action": {}}
    decoder = Responses().decoder(Request(model="m", messages=()), TARGET)

    early = decoder.feed(frames(added(0, begun)))
    made = read(added(0, begun), done(0, ended), done(1, shell), says("Found.", 2), ends())

    assert [type(delta).__name__ for delta in early] == ["ItemStarted"]
    assert made.content == (
        ServerTool("call", "web_search", "ws_1", ended),
        Unknown({"type": "shell_call", "action": {}}, opaque=of("item", "sh_1")),
        Text("Found."),
    )


def test_an_item_that_nobody_knows_is_kept_and_sent_back() -> None:
    odd = {"type": "hologram", "id": "holo_1", "pixels": [1]}

    made = read(done(0, odd), says("See.", 1), ends())

    assert items(made)[0] == odd


def test_citations_stand_with_their_text() -> None:
    url = {"type": "url_citation", "url": "https://x.example", "title": "X", "start_index": 0, "end_index": 1}
    file = {"type": "file_citation", "file_id": "f", "filename": "a.txt", "index": 1}
    part = {"type": "output_text", "text": "A", "annotations": [url, file]}

    made = read(says("A"), done(0, message(content=[part])), ends())

    assert made.content[0] == Text(
        "A",
        citations=[Citation(url="https://x.example", title="X", raw=url), Citation(title="a.txt", raw=file)],
        opaque=of("message", "msg_1"),
    )


def test_a_refusal_goes_back_as_text_where_the_message_has_no_id() -> None:
    raw = {key: value for key, value in message().items() if key != "id"}
    refused = Unknown({**raw, "content": [{"type": "refusal", "refusal": "I cannot."}]})

    assert items(answer(refused)) == [{"type": "message", "role": "assistant", "content": "I cannot."}]


def test_a_refusal_is_a_reason_to_stop_and_goes_back() -> None:
    part = {"type": "refusal", "refusal": "I cannot."}
    delta = event("refusal.delta", output_index=0, content_index=0, delta="I cannot.")
    item = {**message(), "content": [{"type": "output_text", "text": "Well.", "annotations": []}, part]}

    made = read(says("Well."), delta, done(0, item), ends())

    assert made.stop == StopInfo(StopReason.REFUSAL, "completed", detail={"refusal": "I cannot."})
    assert made.text == "Well."
    assert items(made) == [
        {"type": "message", "role": "assistant", "content": "Well."},
        {**message(), "content": [part]},
    ]


@pytest.mark.parametrize(
    ("last", "reason", "raw"),
    [
        (ends(), "end_turn", "completed"),
        (ends("done", status="completed"), "end_turn", "completed"),
        (ends("done", status=None), "end_turn", "completed"),
        (ends("incomplete", incomplete_details={"reason": "max_output_tokens"}), "max_tokens", "max_output_tokens"),
        (ends("incomplete", incomplete_details={"reason": "max_messages"}), "max_tokens", "max_messages"),
        (ends("incomplete", incomplete_details={"reason": "content_filter"}), "content_filter", "content_filter"),
        (ends("incomplete", incomplete_details={"reason": "steered"}), "pause", "steered"),
        (ends("incomplete", incomplete_details={"reason": "new"}), "other", "new"),
        (ends("incomplete", incomplete_details=None), "other", "incomplete"),
    ],
)
def test_the_end_says_why(last: Mapping[str, Any], reason: str, raw: str) -> None:
    made = read(says("A"), last)

    assert (made.stop.reason, made.stop.raw) == (reason, raw)


def test_what_the_vendor_did_to_the_input_is_told() -> None:
    done = [{"type": "reasoning_dropped", "reason": "prefix_mismatch"}]
    decoder = Responses().decoder(Request(model="m", messages=()), TARGET)

    deltas = decoder.feed(frames({"type": "codex.rate_limits", "x": 1}, ends(input_transformations=done)))

    assert [(delta.topic, delta.data) for delta in deltas if isinstance(delta, Noted)] == [
        ("rate_limits", {"type": "codex.rate_limits", "x": 1}),
        ("input_transformations", done),
    ]


# Reading: errors.


def failing(code: str, text: str = "because", **fields: Any) -> Mapping[str, Any]:
    return ends("failed", error={"code": code, "message": text, **fields})


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (failing("server_error"), ServerError),
        (failing("rate_limit_exceeded"), RateLimited),
        (failing("insufficient_quota"), QuotaExhausted),
        (failing("context_length_exceeded"), ContextTooLong),
        (failing("server_is_overloaded"), Overloaded),
        (failing("invalid_prompt"), BadRequest),
        (failing("invalid_image_url"), BadRequest),
        (failing("cyber_policy"), ContentRejected),
        (failing("brand_new_code"), ServerError),
        (ends("failed"), ServerError),
        (ends("cancelled"), ServerError),
        (ends("done", status="failed", error={"code": "rate_limit_exceeded", "message": "because"}), RateLimited),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "because", "param": None}, RateLimited),
        ({"type": "error", "error": {"type": "server_error", "message": "because"}}, ServerError),
        ({"error": {"code": 503, "message": "because"}}, Overloaded),
        ({"type": "error", "code": None, "message": "because"}, ServerError),
    ],
)
def test_a_failure_in_a_stream_is_of_its_kind(bad: Mapping[str, Any], error: type[ProviderError]) -> None:
    with pytest.raises(error, match=r"because|the response is") as caught:
        read(CREATED, bad)

    assert type(caught.value) is error
    assert caught.value.in_stream


def test_an_error_comes_after_what_came_before_it_and_says_how_long_to_wait() -> None:
    decoder = Responses().decoder(Request(model="m", messages=()), TARGET)
    bad = {"type": "error", "code": "rate_limit_exceeded", "message": "Please try again in 2s."}

    assert decoder.feed(frames(says("Hel"), bad))
    with pytest.raises(RateLimited) as caught:
        decoder.feed([])

    assert caught.value.retry_after == 2.0


@pytest.mark.parametrize("events", [(), (CREATED,), (CREATED, says("A"), done(0, message("A"))), (says("A"), "[DONE]")])
def test_a_stream_without_its_end_is_never_a_success(events: Any) -> None:
    with pytest.raises(StreamTruncated):
        read(*events)


@pytest.mark.parametrize(
    "value",
    [
        [],
        None,
        "x",
        {},
        {"output": None},
        {"output": [1]},
        {"output": [{"id": "x"}]},
        {"output": [{"type": "function_call"}]},
    ],
)
def test_an_answer_of_another_shape_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        whole(value)


@pytest.mark.parametrize(
    "bad",
    [
        '{"type":"response.output_text.delta"}',
        '{"type":"response.output_item.done","output_index":0,"item":{}}',
        '{"type":"response.completed"}',
        "[]",
        "{",
    ],
)
def test_an_event_of_another_shape_is_a_value_error(bad: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read(bad)


def test_an_answer_in_one_piece_that_failed_is_raised() -> None:
    with pytest.raises(ServerError, match="because"):
        whole({"status": "failed", "output": [], "error": {"code": "server_error", "message": "because"}})
    with pytest.raises(RateLimited, match="because"):
        whole({"error": {"code": "rate_limit_exceeded", "message": "because"}})


def test_an_answer_that_is_not_there_yet_is_no_end() -> None:
    made = whole({"id": "resp_1", "model": "m-1", "status": "queued", "output": []})

    assert (made.stop.reason, made.stop.raw) == ("other", "queued")


# Usage.


def test_usage_is_told_as_the_vendors_count_it() -> None:
    raw = {
        "input_tokens": 100,
        "input_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 10},
        "output_tokens": 50,
        "output_tokens_details": {"reasoning_tokens": 30},
        "total_tokens": 150,
        "cost": 0.25,
        "cost_in_usd_ticks": 7,
        "context_details": {"input_tokens": 80, "output_tokens": 20},
        "server_side_tool_usage_details": {"web_search_calls": 2, "x_search_calls": 0},
    }

    assert usage_of(
        raw, {"web_search": {"num_requests": 3}, "image_gen": {"total_tokens": 1}}, reports_cost=True
    ) == Usage(
        input_tokens=100,
        output_tokens=50,
        cache_read_tokens=60,
        cache_write_tokens=10,
        reasoning_tokens=30,
        requests=1,
        server_tool_calls={"web_search": 3},
        cost=Decimal("0.25"),
        context_tokens=100,
        raw=raw,
    )
    assert usage_of(raw, {}, reports_cost=False).cost is None
    assert usage_of(raw, {}, reports_cost=False).server_tool_calls == {"web_search": 2}


def test_an_answer_without_usage_has_none() -> None:
    assert read(says("A"), ends()).usage is None


# There and back.


def test_an_answer_goes_back_as_it_came_also_through_a_store() -> None:
    output = [
        REASONING,
        message("Let me see.", phase="commentary"),
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {**REASONING, "id": "rs_2", "encrypted_content": "bW9yZQ=="},
        calls('{ "of":"Paris" }', namespace="n"),
    ]
    made = from_json(json.loads(json.dumps(to_json(whole({"output": output})))))

    sent = wire(made, ToolMessage([ToolResult("sunny", call_id="call_1")]))

    without_status = {key: value for key, value in output[4].items() if key != "status"}
    assert sent["input"][:-1] == [*output[:4], without_status]
    assert responses_faults(sent) == []
    assert judge_responses(sent) == []


texts = st.text(max_size=8) | st.sampled_from(["", " ", "\ud800"])
ids = st.uuids(version=4).map(str)
secrets = st.text("abcXYZ019+/=", min_size=1, max_size=20)


def an_item(kind: str, **fields: Any) -> st.SearchStrategy[Mapping[str, Any]]:
    return st.fixed_dictionaries({"type": st.just(kind), "id": ids, **fields})


parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("output_text"), "text": texts, "annotations": st.just([])}),
    st.fixed_dictionaries({"type": st.just("refusal"), "refusal": texts}),
)
summaries = st.lists(st.fixed_dictionaries({"type": st.just("summary_text"), "text": texts}), max_size=2)
an_output = st.one_of(
    an_item("reasoning", summary=summaries, encrypted_content=secrets),
    an_item(
        "message",
        role=st.just("assistant"),
        status=st.just("completed"),
        phase=st.sampled_from([None, "commentary", "final_answer"]),
        content=st.lists(parts, max_size=2),
    ),
    an_item("function_call", call_id=ids, name=st.just("weather"), arguments=st.sampled_from(["", "{}", '{"of": '])),
    an_item(
        "web_search_call",
        status=st.just("completed"),
        action=st.just({"type": "search", "query": "x"}),
    ),
    an_item("compaction", encrypted_content=secrets),
)
a_stored_output = an_output | an_item("reasoning", summary=summaries, encrypted_content=st.none())


def encrypted(sent: Any) -> list[str]:
    return [item["encrypted_content"] for item in sent if item.get("encrypted_content")]


@given(output=st.lists(an_output, max_size=6))
@settings(max_examples=200)
def test_any_answer_goes_back_as_the_vendor_takes_it_with_its_secrets_byte_for_byte(output: Any) -> None:
    output = [*output, calls("{}")]  # for reasoning that led to nothing does not go back
    made = whole({"output": output})
    results = [ToolResult("x", call_id=call.id) for call in made.tool_calls]

    sent = wire(UserMessage("?"), made, ToolMessage(results), UserMessage("Well?"))

    assert judge_responses(sent) == []
    assert encrypted(sent["input"]) == encrypted(output)


@given(output=st.lists(a_stored_output, max_size=6))
@settings(max_examples=200)
def test_any_answer_whose_reasoning_the_server_keeps_goes_back_too(output: Any) -> None:
    made = whole({"output": output})
    results = [ToolResult("x", call_id=call.id) for call in made.tool_calls]

    sent = wire(UserMessage("?"), *sendable([made, ToolMessage(results)]), UserMessage("Well?"))

    assert judge_responses(sent) == []
