"""A message is written once, however often its conversation is sent; and what is sent does not show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alloy.llm import (
    AssistantMessage,
    CacheMark,
    Message,
    Request,
    ServerTool,
    StopInfo,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    Unknown,
    UnsupportedFeature,
    UserMessage,
)
from alloy.llm.history import replay, sendable
from alloy.llm.message import StopReason
from alloy.llm.transcript import Transcript
from alloy.providers.dialect import Dialect, Profile
from alloy.providers.encoding import JOINED_BYTES, Written
from alloy.testing.recorded import target_for
from end_to_end.sendable import DIALECTS
from strategies import messages

STOP = StopInfo(StopReason.END_TURN)

# Servers that want something between a result and the user, and such that do not take files in results.
PROFILES = [Profile(), Profile(answer_after_tools=True, files_in_results=False, encrypted_reasoning=False)]

server_tools = st.builds(
    lambda stages: AssistantMessage(
        [ServerTool(stage, "search", "srv", {"type": f"web_{stage}", "id": "srv"}) for stage in stages], stop=STOP
    ),
    st.lists(st.sampled_from(["call", "result"]), max_size=3),
)
marked = st.builds(lambda ttl: UserMessage([Text("marked"), CacheMark(ttl)]), st.sampled_from(["5m", "1h"]))
said = messages.filter(  # what a vendor made up itself has to be of its own making
    lambda m: (
        isinstance(m, UserMessage | ToolMessage) or not any(isinstance(i, Unknown | ServerTool) for i in m.content)
    )
)
conversations = st.lists(said | server_tools | marked, max_size=14)


def body(dialect: Dialect, history: Sequence[Message], profile: Profile) -> bytes | str:
    """What is sent of a history; of one that is refused why."""
    target = target_for(dialect, profile=profile)
    replayed = replay(history, target.origin, other_model=dialect.keeps_for_other_model)
    try:
        wire = dialect.encode(Request(model="m", system="s", messages=replayed), target)
    except UnsupportedFeature as error:
        return str(error)
    return b"".join(wire.body)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(history=conversations, profile=st.sampled_from(PROFILES))
@settings(max_examples=40)
def test_a_conversation_that_grows_is_sent_as_if_it_were_new(
    dialect: Dialect, history: list[Message], profile: Profile
) -> None:
    whole = sendable(history)
    grown = Transcript()

    for end in range(1, len(whole) + 1):
        part = sendable(whole[:end])
        grown = Transcript(part, grown.kept)
        assert body(dialect, grown, profile) == body(dialect, part, profile)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
@given(history=conversations, data=st.data())
@settings(max_examples=40)
def test_forks_edits_and_other_profiles_are_sent_as_if_they_were_new(
    dialect: Dialect, history: list[Message], data: st.DataObject
) -> None:
    whole = list(sendable(history))
    kept: dict[Any, Any] = {}

    for _ in range(4):
        profile = data.draw(st.sampled_from(PROFILES))
        if whole and data.draw(st.booleans()):
            place = data.draw(st.integers(0, len(whole) - 1))
            whole[place : place + 1] = data.draw(st.sampled_from([[], [UserMessage("edited")]]))
        part = sendable(whole[: data.draw(st.integers(0, len(whole)))])
        assert body(dialect, Transcript(part, kept), profile) == body(dialect, part, profile)


def test_two_conversations_with_one_dialect_do_not_mix() -> None:
    dialect = DIALECTS[0]
    one, two = Transcript([UserMessage("one")]), Transcript([UserMessage("two")])

    assert body(dialect, one, PROFILES[0]) != body(dialect, two, PROFILES[0])
    assert body(dialect, one, PROFILES[0]) == body(dialect, tuple(one), PROFILES[0])


def turns(count: int) -> list[Message]:
    """A conversation of that many calls."""
    history: list[Message] = [UserMessage("go on")]
    for number in range(count):
        call = ToolCall(f"c{number}", "work", {"n": number})
        history.append(AssistantMessage([Text("I work. " * 20), call], stop=StopInfo(StopReason.TOOL_USE)))
        history.append(ToolMessage([ToolResult("done", call_id=call.id, name="work")]))
    return history


def test_only_the_last_messages_are_written_again() -> None:
    asked: list[int] = []

    def write(messages: Sequence[Message]) -> list[bytes]:
        asked.append(len(messages))
        return [message.id.encode() for message in messages]

    history = turns(200)
    written = Written(write, lambda _: True)
    for end in range(1, len(history) + 1, 2):
        pieces = written.of(history[:end])

        assert b",".join(pieces) == b",".join(message.id.encode() for message in history[:end])

    assert sum(asked) < 5 * len(history)
    assert max(asked) <= 3


def test_a_message_that_cannot_be_written_spoils_nothing() -> None:
    fails = False

    def write(messages: Sequence[Message]) -> list[bytes]:
        if fails:
            raise ValueError("no")
        return [message.id.encode() for message in messages]

    history = turns(10)
    written = Written(write, lambda _: True)
    written.of(history[:9])
    fails = True
    with pytest.raises(ValueError, match="no"):
        written.of(history)
    fails = False

    assert b",".join(written.of(history)) == b",".join(message.id.encode() for message in history)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_long_conversation_is_few_pieces(dialect: Dialect) -> None:
    transcript = Transcript(turns(1000))
    size = len(body(dialect, transcript, PROFILES[0]))

    (pieces,) = (kept._written for kept in transcript.kept.values() if isinstance(kept, Written))
    assert len(pieces) <= 2 * size / JOINED_BYTES + 1


def test_marks_of_old_messages_give_way_to_those_of_new_ones() -> None:
    """What is settled has to be written again when a mark in it is one too many."""
    dialect = DIALECTS[0]
    history: list[Message] = []
    transcript = Transcript()
    for number in range(8):
        history += [UserMessage([Text(f"part {number}"), CacheMark()]), AssistantMessage("read", stop=STOP)]
        asked = [*history, UserMessage("and?")]
        transcript = Transcript(asked, transcript.kept)
        sent = body(dialect, transcript, PROFILES[0])

        assert isinstance(sent, bytes)
        assert sent.count(b"cache_control") == min(number + 1, 3) + 1  # the fourth is for the whole, and automatic
        assert sent == body(dialect, asked, PROFILES[0])
