"""How many tokens a request takes, as far as can be told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alloy.llm import AssistantMessage, Image, Message, StopInfo, Text, ToolCall, ToolMessage, ToolResult, Usage
from alloy.llm.message import StopReason, UserMessage
from alloy.loop.tokens import Sizes, measure, tokens_of_head, tokens_of_message, tokens_of_text
from alloy.tools import tool
from strategies import messages


def sizes(*said: Message) -> Sizes:
    made = Sizes()
    made.extend(said)
    return made


def answer(text: str, **usage: Any) -> AssistantMessage:
    reported = Usage(**usage) if usage else None
    return AssistantMessage(text, stop=StopInfo(StopReason.END_TURN), usage=reported)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("The quick brown fox jumps over the lazy dog. " * 10, 90, 130),
        ("敏捷的棕色狐狸跳过了懒狗。" * 10, 100, 160),
        ("Съешь ещё этих мягких французских булок. " * 10, 150, 300),
        ("\ud800", 1, 3),
    ],
)
def test_a_text_is_guessed_by_its_characters(text: str, least: int, most: int) -> None:
    assert least <= tokens_of_text(text) <= most


def test_code_takes_more_than_prose() -> None:
    text = "x" * 300

    call = tokens_of_message(AssistantMessage([ToolCall("1", "f", {"t": text})], stop=StopInfo(StopReason.TOOL_USE)))
    assert call > tokens_of_message(UserMessage(text))


def test_a_picture_counts_wherever_it_stands() -> None:
    picture = Image(b"x", media_type="image/png")

    assert tokens_of_message(UserMessage([picture])) > 1_000
    assert tokens_of_message(ToolMessage([ToolResult([Text("this"), picture])])) > 1_000


def test_prompt_and_tools_count() -> None:
    @tool
    async def search(query: str) -> str:
        """Look something up."""
        return query

    alone = tokens_of_head("Be kind. " * 100, ())
    assert alone > 200
    assert tokens_of_head("Be kind. " * 100, (search,)) > alone + 20


def test_what_the_vendor_reports_counts_and_only_what_followed_is_guessed() -> None:
    history = sizes(UserMessage("x" * 400), answer("y", input_tokens=500, output_tokens=10), UserMessage("z" * 400))

    measured = measure(history, head=0)

    ratio = 500 / tokens_of_message(UserMessage("x" * 400))
    assert measured.tokens == pytest.approx(510 + 4.0 * tokens_of_message(UserMessage("z" * 400)), abs=1)
    assert ratio > 4.0 == measured.ratio  # held for the odd one


def test_what_is_left_in_the_window_counts_for_more_than_the_sum() -> None:
    thought = answer("y", input_tokens=100, output_tokens=5_000, context_tokens=150)

    assert measure(sizes(UserMessage("x" * 400), thought), head=0).tokens == 150


def test_a_report_about_other_messages_is_not_believed() -> None:
    history = sizes(UserMessage("x"), answer("y", input_tokens=9_000, output_tokens=10))

    measured = measure(history, head=0, since=2, ratio=2.0)

    assert measured.ratio == 2.0
    assert measured.tokens < 100


def test_a_vendor_that_leaves_out_its_cache_is_not_believed() -> None:
    history = sizes(UserMessage("x" * 40_000), answer("y", input_tokens=3, output_tokens=1))

    assert measure(history, head=0).tokens > 4_000


@given(st.lists(messages, max_size=10), st.integers(0, 10))
def test_sizes_that_grow_are_those_of_the_whole(history: list[Message], cut: int) -> None:
    grown = sizes(*history[:cut])
    grown.extend(history[cut:])

    assert grown.ends == sizes(*history).ends
    assert grown.between(0, len(history)) == sum(map(tokens_of_message, history))
    assert all(tokens_of_message(message) > 0 for message in history)
