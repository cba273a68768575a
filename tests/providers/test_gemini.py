"""Gemini: what is written, and what is read of its answers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
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
    Opaque,
    Origin,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Request,
    ServerTool,
    Settings,
    StaleReasoning,
    StopInfo,
    StreamTruncated,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    Unknown,
    UnsupportedFeature,
    UserMessage,
    Video,
)
from alloy.llm.completion import Fold
from alloy.llm.history import replay
from alloy.llm.message import StopReason
from alloy.providers.dialect import Profile, Target
from alloy.providers.gemini import NO_SIGNATURE, Gemini
from alloy.providers.reader import Reader
from alloy.providers.waits import pacific_midnight
from alloy.testing.conformance import TOOLS
from alloy.testing.wire_rules import gemini_faults

ORIGIN = Origin("gemini", "google", "https://g.example/v1beta", "gemini-3-flash")
TARGET = Target(origin=ORIGIN)
BEFORE_3 = Profile(thinking="budget", signed_calls=False, files_in_results=False)
PICTURE = Image(b"\x89PNG", media_type="image/png")
BLOB = {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}}


def answer(*content: Any, origin: Origin | None = ORIGIN, **options: Any) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN, **options), origin=origin)


def signed(signature: str) -> Sequence[Opaque]:
    return [Opaque(ORIGIN, "signature", signature)]


def body(*messages: Message, profile: Profile | None = None, **fields: Any) -> Any:
    request = Request(model="gemini-3-flash", messages=messages, **fields)
    target = attrs.evolve(TARGET, profile=profile or Profile())
    return Gemini().encode(request, target).json()


def contents(*messages: Message, profile: Profile | None = None) -> list[tuple[str, list[Any]]]:
    sent = body(*messages, profile=profile)
    assert gemini_faults(sent) == []
    return [(content["role"], content["parts"]) for content in sent["contents"]]


# Writing: the request.


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-flash", "/models/gemini-3-flash:streamGenerateContent?alt=sse"),
        ("models/gemini-3-flash", "/models/gemini-3-flash:streamGenerateContent?alt=sse"),
        ("tunedModels/mine", "/tunedModels/mine:streamGenerateContent?alt=sse"),
        ("odd?x=1#y", "/models/odd%3Fx%3D1%23y:streamGenerateContent?alt=sse"),
    ],
)
def test_the_model_stands_in_the_path(model: str, path: str) -> None:
    assert Gemini().encode(Request(model=model, messages=[UserMessage("Hello")]), TARGET).path == path


def test_the_simplest_request_holds_nothing_else() -> None:
    assert body(UserMessage("Hello"), system="Be brief.") == {
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hello"}]}],
    }
    assert body(UserMessage("Hello")) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


def test_a_longer_conversation_begins_as_the_shorter_one_did() -> None:
    dialect, said = Gemini(), [UserMessage("One"), answer(Text("Two")), UserMessage("Three")]

    short = dialect.encode(Request(model="m", tools=TOOLS, messages=said[:1]), TARGET).body
    long = dialect.encode(Request(model="m", tools=TOOLS, messages=said), TARGET).body

    assert b"".join(long).startswith(b"".join(short).removesuffix(b"]}"))


CALLING = "functionCallingConfig"


@pytest.mark.parametrize(
    ("options", "fields"),
    [
        (Settings(max_output_tokens=5), {"generationConfig": {"maxOutputTokens": 5}}),
        (Settings(temperature=0.0), {"generationConfig": {"temperature": 0.0}}),
        (Settings(stop=("END",)), {"generationConfig": {"stopSequences": ["END"]}}),
        (Settings(tool_choice="auto"), {}),
        (Settings(tool_choice="none"), {"toolConfig": {CALLING: {"mode": "NONE"}}}),
        (Settings(tool_choice="required"), {"toolConfig": {CALLING: {"mode": "ANY"}}}),
        (Settings(tool_choice="time"), {"toolConfig": {CALLING: {"mode": "ANY", "allowedFunctionNames": ["time"]}}}),
        (
            Settings(temperature=1.0, stop="X", vendor={"generationConfig": {"topK": 7, "temperature": 0.5}}),
            {"generationConfig": {"temperature": 0.5, "stopSequences": ["X"], "topK": 7}},
        ),
        (Settings(vendor={"safetySettings": []}), {"safetySettings": []}),
    ],
)
def test_a_setting_has_the_vendors_name(options: Settings, fields: Mapping[str, Any]) -> None:
    usual = body(UserMessage("Hello"), tools=TOOLS)

    assert body(UserMessage("Hello"), tools=TOOLS, settings=options) == {**usual, **fields}


@pytest.mark.parametrize(
    ("effort", "level", "budget"),
    [
        ("none", "MINIMAL", 0),
        ("minimal", "MINIMAL", 512),
        ("low", "LOW", 1024),
        ("medium", "MEDIUM", 8192),
        ("high", "HIGH", 24_576),
        ("max", "XHIGH", 24_576),
    ],
)
def test_an_effort_is_a_level_or_for_older_models_a_budget(effort: Any, level: str, budget: int) -> None:
    def thinking(profile: Profile) -> Any:
        sent = body(UserMessage("Hello"), settings=Settings(effort=effort), profile=profile)
        return sent["generationConfig"]["thinkingConfig"]

    shown = {"includeThoughts": effort != "none"}
    assert thinking(Profile()) == {"thinkingLevel": level, **shown}
    assert thinking(Profile(thinking="budget")) == {"thinkingBudget": budget, **shown}


@pytest.mark.parametrize(
    ("effort", "level"), [("none", "LOW"), ("minimal", "LOW"), ("max", "HIGH"), ("medium", "MEDIUM")]
)
def test_an_effort_that_the_model_does_not_know_is_the_next_lower_one(effort: Any, level: str) -> None:
    profile = Profile(known_efforts=("low", "medium", "high"))

    sent = body(UserMessage("Hello"), settings=Settings(effort=effort), profile=profile)

    assert sent["generationConfig"]["thinkingConfig"]["thinkingLevel"] == level


def test_output_is_held_to_a_schema_as_json() -> None:
    sent = body(UserMessage("Hello"), output_schema={"type": "object"})

    assert sent["generationConfig"] == {
        "responseMimeType": "application/json",
        "responseJsonSchema": {"type": "object"},
    }


def test_tools_of_the_vendor_stand_beside_ours() -> None:
    search = {"googleSearch": {}}

    mixed = body(UserMessage("Hello"), tools=TOOLS[:1], settings=Settings(vendor={"tools": [search]}))
    alone = body(UserMessage("Hello"), settings=Settings(vendor={"tools": [search]}))

    assert mixed["tools"] == [{"functionDeclarations": [_declared(TOOLS[0])]}, search]
    assert mixed["toolConfig"] == {"includeServerSideToolInvocations": True}
    assert (alone["tools"], "toolConfig" in alone) == ([search], False)


def _declared(tool: Any) -> Any:
    return {"name": tool.name, "description": tool.description, "parametersJsonSchema": tool.parameters}


def test_what_is_in_a_cache_of_the_users_is_not_sent_again() -> None:
    options = Settings(vendor={"cachedContent": "cachedContents/1"})

    sent = body(UserMessage("Hello"), system="Be brief.", tools=TOOLS, settings=options)

    assert sent.keys() == {"contents", "cachedContent"}


def test_one_call_at_a_time_cannot_be_asked_for() -> None:
    with pytest.raises(UnsupportedFeature) as caught:
        body(UserMessage("Hello"), settings=Settings(parallel_tool_calls=False))

    assert caught.value.feature == "parallel_tool_calls"


def test_an_answer_that_is_to_be_continued_is_asked_for_with_its_token() -> None:
    paused = answer(Text("One, "), detail={"continuationToken": "t"})

    assert body(UserMessage("Count"), paused)["continuationToken"] == "t"
    assert "continuationToken" not in body(UserMessage("Count"), paused, UserMessage("Stop"))


# Writing: messages.


def test_files_go_as_the_api_has_them() -> None:
    [(_, parts)] = contents(
        UserMessage(
            [
                "See",
                CacheMark(),
                " ",
                PICTURE,
                Image(url="https://x.example/a.png"),
                Document(b"%PDF", media_type="application/pdf", name="a.pdf"),
                Document(file_id="files/abc", media_type="application/pdf"),
                Audio(b"RIFF", media_type="audio/wav"),
                Video(url="https://www.youtube.com/watch?v=1", media_type="video/mp4"),
            ]
        )
    )

    assert parts == [
        {"text": "See"},
        BLOB,
        {"fileData": {"fileUri": "https://x.example/a.png"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "JVBERg=="}},
        {
            "fileData": {
                "mimeType": "application/pdf",
                "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc",
            }
        },
        {"inlineData": {"mimeType": "audio/wav", "data": "UklGRg=="}},
        {"fileData": {"mimeType": "video/mp4", "fileUri": "https://www.youtube.com/watch?v=1"}},
    ]


@pytest.mark.parametrize("item", [Image(b"BM", media_type="image/bmp"), Document(b"PK", media_type="application/zip")])
def test_a_file_that_the_api_does_not_take_is_refused_when_new_and_noted_when_old(item: Any) -> None:
    with pytest.raises(UnsupportedFeature):
        body(UserMessage(["See", item]))
    sent = contents(UserMessage(["See", item]), answer(Text("No.")), UserMessage("Forget it"))

    assert "left out" in sent[0][1][1]["text"]


def test_a_signature_goes_back_on_the_very_part_that_it_came_on() -> None:
    said = [
        Thinking("Hm.", opaque=signed("a")),
        Thinking("Well."),
        Text("One. "),
        Text("Two.", opaque=signed("b")),
        ToolCall("call_1", "weather", {"of": "Paris"}, opaque=signed("c")),
        ToolCall("call_2", "time", {}),
        Text("", opaque=signed("d")),
    ]

    sent = contents(
        UserMessage("?"),
        answer(*said),
        ToolMessage([ToolResult("x", call_id="call_1"), ToolResult("y", call_id="call_2")]),
    )

    assert sent[1] == (
        "model",
        [
            {"text": "Hm.", "thought": True, "thoughtSignature": "a"},
            {"text": "Well.", "thought": True},
            {"text": "One. "},
            {"text": "Two.", "thoughtSignature": "b"},
            {"functionCall": {"name": "weather", "args": {"of": "Paris"}}, "thoughtSignature": "c"},
            {"functionCall": {"name": "time", "args": {}}},
            {"text": "", "thoughtSignature": "d"},
        ],
    )


def two_calls(origin: Origin | None, *opaque: Opaque) -> list[Message]:
    calls = [ToolCall("toolu_1", "weather", {}, opaque=opaque), ToolCall("toolu_2", "weather", {})]
    results = [ToolResult("sunny", call_id="toolu_1"), ToolResult("rain", is_error=True, call_id="toolu_2")]
    return [UserMessage("?"), answer(*calls, origin=origin), ToolMessage(results)]


def test_calls_of_another_model_are_sent_with_what_stands_for_a_signature_on_the_first() -> None:
    elsewhere = Origin("anthropic.messages", "anthropic", "https://a.example", "claude")
    foreign = replay(two_calls(elsewhere, Opaque(elsewhere, "signature", "theirs")), ORIGIN)

    _, (_, calls), _ = contents(*foreign)
    _, (_, older), _ = contents(*foreign, profile=BEFORE_3)

    assert [part.get("thoughtSignature") for part in calls] == [NO_SIGNATURE, None]
    assert [part.get("thoughtSignature") for part in older] == [None, None]


def test_each_step_of_a_foreign_history_begins_signed() -> None:
    sent = contents(*two_calls(None), *two_calls(None)[1:])

    signatures = [[part.get("thoughtSignature") for part in parts] for role, parts in sent if role == "model"]
    assert signatures == [[NO_SIGNATURE, None]] * 2


def test_ids_go_back_only_if_the_server_gave_them_and_results_say_what_they_answer() -> None:
    _, (_, calls), (_, results) = contents(*two_calls(ORIGIN, Opaque(ORIGIN, "id", "g1"), *signed("s")))

    assert [part["functionCall"].get("id") for part in calls] == ["g1", None]
    assert [part["functionResponse"] for part in results] == [
        {"id": "g1", "name": "weather", "response": {"output": "sunny"}},
        {"name": "weather", "response": {"error": "rain"}},
    ]


def test_what_a_tool_says_is_text_even_if_it_looks_like_a_reference() -> None:
    call = ToolCall("c", "weather", {})

    sent = contents(UserMessage("?"), answer(call), ToolMessage([ToolResult('{"$ref": "x"}', call_id="c")]))

    assert sent[2][1][0]["functionResponse"]["response"] == {"output": '{"$ref": "x"}'}


def test_files_stand_in_a_result_where_the_model_takes_them_there_and_else_behind_it() -> None:
    sound = Document(b"PK", media_type="text/csv")
    result = ToolResult([Text("see"), PICTURE, sound], call_id="c", name="weather")
    said = [UserMessage("?"), answer(ToolCall("c", "weather", {})), ToolMessage([result]), UserMessage("Well?")]
    note = {"text": "[the files of weather's result]"}
    csv = {"inlineData": {"mimeType": "text/csv", "data": "UEs="}}

    newer, older = contents(*said), contents(*said, profile=BEFORE_3)

    assert newer[2][1][0]["functionResponse"]["parts"] == [BLOB]
    assert newer[3] == ("user", [note, csv, {"text": "Well?"}])
    assert older[2][1] == [{"functionResponse": {"name": "weather", "response": {"output": "see"}}}]
    assert older[3] == ("user", [note, BLOB, csv, {"text": "Well?"}])


def test_what_the_server_ran_and_what_is_not_known_goes_back_as_it_came() -> None:
    code = {"executableCode": {"language": "PYTHON", "code": "1"}}
    said = [
        ServerTool("call", "code_execution", "", code, opaque=signed("s")),
        Unknown({"newThing": {"x": 1}}),
        attrs.evolve(PICTURE, opaque=signed("t")),
    ]

    sent = contents(UserMessage("?"), answer(*said), UserMessage("And?"))

    assert sent[1][1] == [{**code, "thoughtSignature": "s"}, {"newThing": {"x": 1}}, {**BLOB, "thoughtSignature": "t"}]


def test_the_user_speaks_first_and_neighbours_are_one_content() -> None:
    sent = contents(answer(Text("Hello.")), answer(Text("Well?")), UserMessage("One"), UserMessage("Two"))

    assert sent == [
        ("user", [{"text": "…"}]),
        ("model", [{"text": "Hello."}, {"text": "Well?"}]),
        ("user", [{"text": "One"}, {"text": "Two"}]),
    ]


def test_thoughts_of_unknown_origin_are_left_out() -> None:
    sent = contents(UserMessage("?"), answer(Thinking("Hm."), Text("Yes."), origin=None), UserMessage("Why?"))

    assert sent[1] == ("model", [{"text": "Yes."}])


# Reading.


def chunk(*parts: Any, **fields: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": list(parts)}, **fields}]}


def stream(*chunks: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\r\n\r\n" for one in chunks)


def read(raw: bytes) -> AssistantMessage:
    decoder = Gemini().decoder(Request(model="m", messages=()), TARGET)
    reader = Reader("sse", decoder, "text/event-stream")
    fold = Fold(ORIGIN)
    for piece in (raw, b""):
        fold.add(reader.feed(piece))
    fold.add(reader.close())
    fold.add(reader.end())
    return fold.message()


def test_a_signed_part_is_an_item_of_its_own_and_unsigned_text_is_one() -> None:
    message = read(
        stream(
            chunk({"text": "H", "thought": True}),
            chunk({"text": "m.", "thought": True}),
            chunk({"text": "On"}),
            chunk({"text": "e."}, {"text": " Two.", "thoughtSignature": "a"}),
            chunk({"text": " Three."}, {"text": "", "thoughtSignature": "b"}, finishReason="STOP"),
        )
    )

    said = [(type(item).__name__, item.text, [o.data for o in item.opaque]) for item in message.content]  # type: ignore[union-attr]  # all have text
    assert said == [
        ("Thinking", "Hm.", []),
        ("Text", "One.", []),
        ("Text", " Two.", ["a"]),
        ("Text", " Three.", []),
        ("Text", "", ["b"]),
    ]


def test_ids_are_minted_where_there_are_none_and_calls_keep_their_order() -> None:
    message = read(
        stream(
            chunk({"functionCall": {"name": "weather", "args": {"of": "Paris"}}, "thoughtSignature": "a"}),
            chunk({"functionCall": {"name": "weather"}}, {"functionCall": {"id": "g3", "name": "weather", "args": {}}}),
            chunk(finishReason="STOP"),
        )
    )

    first, second, third = message.tool_calls
    assert [dict(call.arguments) for call in message.tool_calls] == [{"of": "Paris"}, {}, {}]
    assert first.id.startswith("call_")
    assert second.id.startswith("call_")
    assert first.id != second.id
    assert (third.id, [(o.type, o.data) for o in third.opaque]) == ("g3", [("id", "g3")])
    assert message.stop.reason is StopReason.TOOL_USE


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", StopReason.END_TURN),
        ("MAX_TOKENS", StopReason.MAX_TOKENS),
        ("SAFETY", StopReason.CONTENT_FILTER),
        ("RECITATION", StopReason.CONTENT_FILTER),
        ("IMAGE_SAFETY", StopReason.CONTENT_FILTER),
        ("IMAGE_OTHER", StopReason.OTHER),
        ("CONTINUATION", StopReason.PAUSE),
        ("MALFORMED_FUNCTION_CALL", StopReason.OTHER),
        ("MISSING_THOUGHT_SIGNATURE", StopReason.OTHER),
        ("A_NEW_ONE", StopReason.OTHER),
    ],
)
def test_each_reason_to_stop_has_its_neutral_name(word: str, reason: StopReason) -> None:
    message = read(stream(chunk({"text": "x"}, finishReason=word, finishMessage="because")))

    assert (message.stop.reason, message.stop.raw) == (reason, word)
    assert message.stop.detail["finishMessage"] == "because"


def test_a_prompt_that_is_blocked_is_filtered() -> None:
    message = read(stream({"promptFeedback": {"blockReason": "OTHER"}}))

    assert (message.stop.reason, message.stop.raw) == (StopReason.CONTENT_FILTER, "OTHER")
    assert message.stop.detail == {"promptFeedback": {"blockReason": "OTHER"}}


def test_a_count_that_a_later_chunk_lacks_is_kept() -> None:
    first = {"promptTokenCount": 10, "cachedContentTokenCount": 4, "thoughtsTokenCount": 3, "candidatesTokenCount": 1}

    message = read(
        stream(
            {**chunk({"text": "a"}), "usageMetadata": first},
            {
                **chunk({"text": "b"}, finishReason="STOP"),
                "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "toolUsePromptTokenCount": 7},
            },
        )
    )

    usage = message.usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.context_tokens) == (17, 8, 25)
    assert (usage.cache_read_tokens, usage.reasoning_tokens, usage.tool_prompt_tokens) == (4, 3, 7)


def test_the_sources_of_a_grounded_text_are_its_citations() -> None:
    web = {"web": {"uri": "https://x.example", "title": "X"}}
    support = {"segment": {"endIndex": 3, "text": "Yes"}, "groundingChunkIndices": [0, 9]}
    grounding = {"groundingChunks": [web], "groundingSupports": [support], "webSearchQueries": ["x?"]}

    message = read(
        stream(chunk({"text": "Yes."}, groundingMetadata={}), chunk(finishReason="STOP", groundingMetadata=grounding))
    )

    (item,) = message.content
    assert isinstance(item, Text)
    assert [(c.text, c.url, c.title) for c in item.citations] == [("Yes", "https://x.example", "X")]
    assert item.citations[0].raw == {"groundingChunk": web, "groundingSupport": support}
    assert message.stop.detail == {"groundingMetadata": grounding}


def test_new_kinds_of_parts_are_kept() -> None:
    code, new = {"executableCode": {"language": "PYTHON", "code": "1", "id": "x"}}, {"newThing": {"x": 1}}
    call = {"toolCall": {"id": "t", "toolType": "FILE_SEARCH"}}

    message = read(stream(chunk({**code, "thoughtSignature": "s"}, call, BLOB, new, finishReason="STOP")))

    assert message.content == (
        ServerTool("call", "code_execution", "x", code, opaque=signed("s")),
        ServerTool("call", "file_search", "t", call),
        PICTURE,
        Unknown(new),
    )


def test_of_several_candidates_the_first_is_read() -> None:
    other = {"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "SAFETY"}
    both = {"candidates": [other, {"content": {"parts": [{"text": "a"}]}, "finishReason": "STOP"}]}

    message = read(stream(both))

    assert (message.text, message.stop.raw) == ("a", "STOP")


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_stream_that_is_one_array_reads_as_it_comes(size: int) -> None:
    raw = json.dumps([chunk({"text": "a}"}), chunk({"text": "b"}, finishReason="STOP")], indent=2).encode()
    decoder = Gemini().decoder(Request(model="m", messages=()), TARGET)
    reader = Reader("sse", decoder, "application/json")

    deltas = [delta for i in range(0, len(raw), size) for delta in reader.feed(raw[i : i + size])]

    assert [getattr(delta, "text", None) for delta in deltas] == ["a}", "b"]
    assert reader.is_complete


OVERLOADED = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}


@pytest.mark.parametrize("indent", [None, 2])
def test_an_error_that_stands_bare_in_a_stream_is_of_its_kind(indent: int | None) -> None:
    with pytest.raises(Overloaded) as caught:
        read(stream(chunk({"text": "Hel"})) + json.dumps(OVERLOADED, indent=indent).encode() + b"\n")

    assert (caught.value.in_stream, caught.value.status, caught.value.type) == (True, 503, "UNAVAILABLE")


def test_a_stream_without_a_reason_to_stop_is_truncated() -> None:
    with pytest.raises(StreamTruncated):
        read(stream(chunk({"text": "Hel"})))


@pytest.mark.parametrize("reason", [{}, {"finishReason": "STOP"}])
def test_an_answer_in_one_piece_is_whole(reason: Mapping[str, Any]) -> None:
    message = read(json.dumps(chunk({"text": "Yes."}, **reason), indent=1).encode())

    assert (message.text, message.stop.reason) == ("Yes.", StopReason.END_TURN)


# Errors.


def error(status: int, message: str, *details: Any, word: str = "INVALID_ARGUMENT") -> ProviderError:
    raw = {"error": {"code": status, "message": message, "status": word, "details": details}}
    return Gemini().error_from(status, {}, json.dumps([raw]).encode(), TARGET)


def test_the_wait_is_in_the_body() -> None:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    minute = {"violations": [{"quotaId": "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"}]}

    caught = error(429, "You exceeded your current quota.\nPlease retry in 34.07s.", minute, retry)
    without = error(429, "Please retry in 34.07s.", minute)

    assert isinstance(caught, RateLimited)
    assert (caught.retry_after, without.retry_after) == (34.0, 34.07)


def test_a_daily_quota_is_spent_until_midnight_in_california(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1_795_500_000.0)  # 24 November 2026, 06:00 UTC
    day = {"violations": [{"quotaId": "GenerateRequestsPerDayPerProjectPerModel-FreeTier"}]}

    caught = error(429, "You exceeded your current quota.", day, word="RESOURCE_EXHAUSTED")

    assert isinstance(caught, QuotaExhausted)
    assert caught.resets_at == 1_795_507_200.0  # 08:00 UTC


@pytest.mark.parametrize(
    ("now", "midnight"),
    [
        ("2026-11-24T06:00+00:00", "2026-11-24T08:00+00:00"),
        ("2026-11-24T08:00+00:00", "2026-11-25T08:00+00:00"),
        ("2026-07-01T06:59+00:00", "2026-07-01T07:00+00:00"),
        ("2026-03-08T09:00+00:00", "2026-03-09T07:00+00:00"),
    ],
)
def test_midnight_in_california_knows_its_summer_time(now: str, midnight: str) -> None:
    assert pacific_midnight(datetime.fromisoformat(now).timestamp()) == datetime.fromisoformat(midnight).timestamp()


@pytest.mark.parametrize(
    ("status", "message", "details", "kind"),
    [
        (400, "Wrong.", [{"reason": "API_KEY_INVALID"}], AuthError),
        (400, "API key not valid. Please pass a valid API key.", [], AuthError),
        (400, "Function call is missing a thought_signature in functionCall parts.", [], StaleReasoning),
        (503, "The model is overloaded. Please try again later.", [], Overloaded),
    ],
)
def test_an_error_is_of_its_kind(status: int, message: str, details: Sequence[Any], kind: type[ProviderError]) -> None:
    assert type(error(status, message, *details)) is kind


def test_a_key_that_may_not_be_billed_has_no_quota() -> None:
    caught = error(400, "Please enable billing on project 1.", word="FAILED_PRECONDITION")

    assert isinstance(caught, QuotaExhausted)


def test_a_prompt_that_does_not_fit_says_by_how_much() -> None:
    caught = error(400, "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).")

    assert isinstance(caught, ContextTooLong)
    assert (caught.limit, caught.used) == (1_048_576, 1_250_074)
