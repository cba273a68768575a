"""What is worked out of a conversation is worked out once, and never believed blindly."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Sequence

import attrs
from hypothesis import given
from hypothesis import strategies as st

from alloy.llm.content import Origin, ToolCall, ToolResult
from alloy.llm.history import Whole, replay, sendable
from alloy.llm.message import AssistantMessage, Message, StopInfo, StopReason, ToolMessage, UserMessage
from alloy.llm.transcript import Growing, PerMessage, Transcript, kept_with
from strategies import messages

TARGET = Origin("openai.chat", "a", "x", "y")


class Ids:
    """A sum that counts how often it was asked to add."""

    added = 0

    def __init__(self) -> None:
        self.ids: list[str] = []

    def extend(self, messages: Sequence[Message]) -> None:
        Ids.added += len(messages)
        self.ids += [message.id for message in messages]


def prompts(count: int) -> list[Message]:
    return [UserMessage(str(number)) for number in range(count)]


def ids_of(messages: Sequence[Message]) -> list[str]:
    return [message.id for message in messages]


def test_only_what_is_new_is_added() -> None:
    Ids.added = 0
    history = prompts(100)
    growing = Growing(Ids)

    for end in range(1, 101):
        assert growing.of(history[:end]).ids == ids_of(history[:end])

    assert Ids.added == 100


def test_a_message_that_is_another_makes_it_begin_anew_even_if_the_two_are_equal() -> None:
    history = prompts(3)
    growing = Growing(Ids)
    growing.of(history)
    twin = attrs.evolve(history[0])
    Ids.added = 0

    assert twin == history[0]
    assert growing.of([twin, *history[1:]]).ids == ids_of(history)
    assert Ids.added == 3


def test_a_history_that_got_shorter_makes_it_begin_anew() -> None:
    history = prompts(3)
    growing = Growing(Ids)
    growing.of(history)

    assert growing.of(history[:2]).ids == ids_of(history[:2])


def test_a_transcript_is_the_tuple_of_its_messages() -> None:
    history = tuple(prompts(3))
    transcript = Transcript(history, {"who": 1})

    assert transcript == history
    assert hash(transcript) == hash(history)
    assert type(transcript[1:]) is type(transcript + history) is tuple
    assert kept_with(transcript) == {"who": 1}
    assert kept_with(history) == {}


def test_a_copy_of_a_transcript_carries_nothing_along() -> None:
    transcript = Transcript(prompts(2), {"who": object()})

    for other in (copy.deepcopy(transcript), pickle.loads(pickle.dumps(transcript))):
        assert other == transcript
        assert type(other) is tuple


def test_what_is_kept_moves_on_with_the_conversation() -> None:
    transcript = Transcript(prompts(1), {"who": 1})

    assert transcript.take() == {"who": 1}
    assert transcript.take() == {}


def test_what_is_known_of_a_message_is_forgotten_with_it() -> None:
    known = PerMessage(lambda message: [message.id])
    (message,) = prompts(1)

    assert known(message) is known(message)
    assert known.of_all([message])[0] is known(message)
    assert len(known._known) == 1
    del message
    assert len(known._known) == 0


@given(st.lists(messages, max_size=12))
def test_a_history_made_whole_bit_by_bit_is_the_one_made_whole_at_once(history: list[Message]) -> None:
    growing = Growing(Whole)

    for end in range(len(history) + 1):
        for settled in {max(0, end - 1), end}:
            piecewise = growing.of(history[:settled]).closed(*history[settled:end])
            assert [type(m) for m in piecewise] == [type(m) for m in sendable(history[:end])]
            assert [without_id(m) for m in piecewise] == [without_id(m) for m in sendable(history[:end])]


def without_id(message: Message) -> Message:
    return attrs.evolve(message, id="-")


@given(st.lists(messages, max_size=12))
def test_the_replay_policy_holds_for_a_history_that_grows(history: list[Message]) -> None:
    whole = sendable(history)
    transcript = Transcript()

    for end in range(len(whole) + 1):
        transcript = Transcript(whole[:end], transcript.kept)
        assert replay(transcript, TARGET) == replay(whole[:end], TARGET)


def test_a_history_that_needs_no_change_is_replayed_as_it_is() -> None:
    call = ToolCall("1", "f", {})
    stop = StopInfo(StopReason.TOOL_USE)
    history = Transcript([UserMessage("x"), AssistantMessage([call], stop=stop), ToolMessage([ToolResult("r")])])

    assert replay(history, TARGET) is history
