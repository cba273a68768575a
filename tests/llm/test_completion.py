"""The fold."""

from __future__ import annotations

import pytest

from alloy.llm.completion import Fold, parse_arguments
from alloy.llm.content import Citation, Opaque, Origin, Text, Thinking, ToolCall
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    CitationPart,
    Delta,
    ItemStarted,
    OpaquePart,
    Stopped,
    TextPart,
    ThinkingPart,
    UsagePart,
)
from alloy.llm.message import AssistantMessage, StopInfo, StopReason
from alloy.llm.usage import Usage

ORIGIN = Origin("anthropic.messages", "anthropic", "https://api", "claude")
SIGNATURE = Opaque(ORIGIN, "signature", "abc")


def folded(*deltas: Delta, cap: int | None = None) -> AssistantMessage:
    fold = Fold(ORIGIN)
    for delta in deltas:
        fold.add([delta])
    return fold.message(cap)


def test_parts_are_put_together_in_the_order_of_their_items() -> None:
    message = folded(
        Begun("claude-9", "resp_1"),
        ThinkingPart(0, "hm"),
        ThinkingPart(0, "m"),
        OpaquePart(0, SIGNATURE),
        TextPart(1, "Hel"),
        ItemStarted(2, ToolCall("c1", "add", {})),
        TextPart(1, "lo"),
        ArgumentsPart(2, '{"a"'),
        ArgumentsPart(2, ": 1}"),
        CitationPart(1, Citation("src")),
        UsagePart(Usage(input_tokens=1)),
        UsagePart(Usage(input_tokens=1, output_tokens=9)),
        Stopped(StopInfo(StopReason.TOOL_USE, "tool_use")),
    )

    assert message.content == (
        Thinking("hmm", opaque=(SIGNATURE,)),
        Text("Hello", citations=(Citation("src"),)),
        ToolCall("c1", "add", {"a": 1}, arguments_text='{"a": 1}'),
    )
    assert (message.model, message.response_id, message.origin) == ("claude-9", "resp_1", ORIGIN)
    assert message.usage == Usage(input_tokens=1, output_tokens=9)
    assert message.complete


def test_calls_that_interleave_are_kept_apart() -> None:
    message = folded(
        ItemStarted(0, ToolCall("c1", "f", {})),
        ItemStarted(1, ToolCall("c2", "g", {})),
        ArgumentsPart(1, '{"x":'),
        ArgumentsPart(0, '{"y":1}'),
        ArgumentsPart(1, "2}"),
    )

    assert [(call.id, call.arguments) for call in message.tool_calls] == [("c1", {"y": 1}), ("c2", {"x": 2})]


def test_a_call_without_an_id_gets_one_and_keeps_it() -> None:
    fold = Fold()
    fold.add([ItemStarted(0, ToolCall("", "f", {}))])
    seen = fold.call_at(0).id

    assert seen.startswith("call_")
    assert fold.message().tool_calls[0].id == seen


@pytest.mark.parametrize(
    ("text", "arguments", "complaint"),
    [
        ("", {}, None),
        ("  \n", {}, None),
        ("null", {}, None),
        ('{"a": [1, {"b": null}]}', {"a": [1, {"b": None}]}, None),
        ('{"a": 1', {}, "no valid JSON"),
        ("[1]", {}, "must be a JSON object, got list"),
        ('"x"', {}, "must be a JSON object, got str"),
        ('{"a": NaN}', {}, "NaN is no JSON value"),
        ("[" * 100_000, {}, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", {}, "no valid JSON"),
    ],
)
def test_arguments_are_read_or_the_problem_is_told(text: str, arguments: object, complaint: str | None) -> None:
    got, problem = parse_arguments(text)

    assert got == arguments
    assert problem is None if complaint is None else complaint in (problem or "")


@pytest.mark.parametrize("said", [StopReason.END_TURN, StopReason.STOP_SEQUENCE, StopReason.OTHER])
def test_an_answer_with_calls_is_a_tool_use_whatever_the_server_says(said: StopReason) -> None:
    message = folded(ItemStarted(0, ToolCall("c", "f", {})), Stopped(StopInfo(said, "stop")))

    assert message.stop == StopInfo(StopReason.TOOL_USE, "stop")


def test_an_answer_that_used_up_its_tokens_was_cut_whatever_the_server_says() -> None:
    deltas = (
        ItemStarted(0, ToolCall("c", "f", {})),
        UsagePart(Usage(output_tokens=100)),
        Stopped(StopInfo(StopReason.TOOL_USE, "tool_calls")),
    )

    assert folded(*deltas, cap=100).stop.reason is StopReason.MAX_TOKENS
    assert folded(*deltas, cap=101).stop.reason is StopReason.TOOL_USE


def test_an_answer_without_a_stop_word_has_stopped_for_another_reason() -> None:
    assert folded(TextPart(0, "x")).stop == StopInfo(StopReason.OTHER)


def test_empty_items_are_left_out_but_for_what_must_go_back() -> None:
    message = folded(
        TextPart(0, ""),
        ThinkingPart(1, ""),
        ItemStarted(2, Thinking("")),
        OpaquePart(2, SIGNATURE),
        ItemStarted(3, Thinking("", redacted=True)),
    )

    assert message.content == (Thinking("", opaque=(SIGNATURE,)), Thinking("", redacted=True))


def test_of_a_broken_answer_only_text_and_usage_are_kept() -> None:
    fold = Fold(ORIGIN)
    fold.add(
        [
            ThinkingPart(0, "hm"),
            TextPart(1, "Half an ans"),
            ItemStarted(2, ToolCall("c", "f", {})),
            ArgumentsPart(2, '{"a": 1}'),
            UsagePart(Usage(input_tokens=3)),
        ]
    )

    partial = fold.partial()

    assert partial is not None
    assert partial.content == (Text("Half an ans"),)
    assert (partial.complete, partial.usage) == (False, Usage(input_tokens=3))


def test_of_an_answer_that_never_began_nothing_is_kept() -> None:
    assert Fold(ORIGIN).partial() is None
