"""What of a history may be sent, and to whom."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alloy.llm.content import Opaque, Origin, Outcome, ServerTool, Text, Thinking, ToolCall, ToolResult, Unknown
from alloy.llm.history import may_replay, replay, sendable, with_unique_ids
from alloy.llm.message import AssistantMessage, Message, StopInfo, StopReason, ToolMessage, UserMessage
from strategies import messages

HERE = Origin("anthropic.messages", "anthropic", "https://api.anthropic.com", "claude-a")
OTHER_MODEL = attrs.evolve(HERE, model="claude-b")
OTHER_PLACE = attrs.evolve(HERE, endpoint="https://proxy")
OTHER_VENDOR = Origin("openai.chat", "groq", "https://api.groq.com", "llama")


def answer(*content: object, origin: Origin | None = HERE) -> AssistantMessage:
    return AssistantMessage(content, stop=StopInfo(StopReason.END_TURN), origin=origin, id="m")  # type: ignore[arg-type]


def call(id: str) -> ToolCall:
    return ToolCall(id, "f", {})


def test_a_whole_history_comes_back_as_the_same_objects() -> None:
    history = [UserMessage("x"), answer(call("1")), ToolMessage([ToolResult("r", call_id="1")]), answer(Text("y"))]

    assert all(a is b for a, b in zip(sendable(history), history, strict=True))


def test_a_call_without_a_result_gets_one_that_says_it_did_not_start() -> None:
    history = [UserMessage("x"), answer(call("1"), call("2"))]

    whole = sendable(history)

    assert isinstance(whole[-1], ToolMessage)
    assert [(r.call_id, r.outcome, r.is_error) for r in whole[-1].results] == [
        ("1", Outcome.NOT_STARTED, True),
        ("2", Outcome.NOT_STARTED, True),
    ]


def test_results_are_put_in_the_order_of_their_calls_and_strays_are_dropped() -> None:
    results = [ToolResult("b", call_id="2"), ToolResult("stray", call_id="9"), ToolResult("a", call_id="1")]
    history = [ToolMessage(results[:1]), UserMessage("x"), answer(call("1"), call("2")), ToolMessage(results)]

    whole = sendable(history)

    assert len(whole) == 3
    assert [r.text for r in whole[-1].results] == ["a", "b"]  # type: ignore[union-attr]


def test_two_user_messages_in_a_row_stay_as_they_are() -> None:
    history = [UserMessage("a"), UserMessage("b")]

    assert sendable(history) == tuple(history)


def test_an_answer_without_content_is_left_out() -> None:
    said = UserMessage("a")

    assert sendable([said, answer()]) == (said,)


@given(st.lists(messages, max_size=8))
def test_every_call_has_exactly_one_result_whatever_the_history(history: list[Message]) -> None:
    whole = sendable(history)

    for place, message in enumerate(whole):
        wanted = [c.id for c in message.tool_calls] if isinstance(message, AssistantMessage) else []
        if wanted:
            after = whole[place + 1]
            assert isinstance(after, ToolMessage)
            assert [r.call_id for r in after.results] == wanted
        if isinstance(message, ToolMessage):
            before = whole[place - 1]
            assert place > 0
            assert isinstance(before, AssistantMessage)
            assert before.tool_calls
    assert sendable(whole) == whole


def test_an_id_that_comes_twice_in_a_conversation_is_replaced_by_a_new_one() -> None:
    taken = {"0"}
    message = answer(Text("x"), call("1"), call("0"), call("1"))

    first, second, third = (item.id for item in with_unique_ids(message, taken).tool_calls)

    assert first == "1"
    assert second.startswith("call_")
    assert third.startswith("call_")
    assert taken == {"0", "1", second, third}


def test_an_answer_whose_ids_are_new_comes_back_as_it_is() -> None:
    message = answer(Text("x"), call("1"))

    assert with_unique_ids(message, {"0"}) is message


@pytest.mark.parametrize(
    ("made_by", "other_models", "kept"),
    [
        (HERE, False, True),
        (OTHER_MODEL, False, False),
        (OTHER_MODEL, True, True),
        (OTHER_PLACE, True, False),
        (OTHER_VENDOR, True, False),
        (attrs.evolve(HERE, vendor="reseller"), True, False),
        (attrs.evolve(HERE, dialect="openai.chat"), True, False),
    ],
)
def test_vendor_state_goes_back_only_to_where_it_came_from(made_by: Origin, other_models: bool, kept: bool) -> None:
    assert may_replay(Opaque(made_by, "signature", "x"), HERE, other_model=lambda _: other_models) is kept


def test_ones_own_answers_come_back_as_the_same_objects() -> None:
    message = answer(Thinking("hm", opaque=(Opaque(HERE, "signature", "x"),)), Text("y"))

    assert replay([message], HERE) == (message,)
    assert replay([message], HERE)[0] is message


def test_foreign_reasoning_and_signatures_are_dropped_and_the_rest_is_told() -> None:
    signed = (Opaque(OTHER_VENDOR, "signature", "x"),)
    message = answer(
        Thinking("hm", opaque=signed),
        Text("y", opaque=signed),
        ServerTool("call", "web_search", "s1", {}),
        Unknown({"type": "novelty"}),
        call("1"),
        origin=OTHER_VENDOR,
    )

    (seen,) = replay([message], HERE)

    assert isinstance(seen, AssistantMessage)
    assert seen.content == (Text("y"), Text("[web_search: call of a tool that groq ran]"), call("1"))


def test_to_another_model_of_the_same_vendor_reasoning_goes_as_the_dialect_says() -> None:
    message = answer(Thinking("hm", opaque=(Opaque(OTHER_MODEL, "signature", "x"),)), origin=OTHER_MODEL)

    (kept,) = replay([message], HERE)
    (dropped,) = replay([message], HERE, other_model=lambda _: False)

    assert kept.content == message.content
    assert all(not item.opaque for item in dropped.content)  # type: ignore[union-attr]
