"""Recorded answers go back to their vendor the same, byte for byte, whether or not they lay in a store meanwhile."""

from __future__ import annotations

import json
from typing import Any

import pytest

import recordings
from alloy.llm import (
    AssistantMessage,
    Message,
    Request,
    ToolMessage,
    ToolResult,
    UserMessage,
    from_json,
    to_json,
)
from alloy.llm.history import replay, sendable, with_unique_ids
from alloy.providers.dialect import Target
from alloy.testing.conformance import TOOLS
from alloy.testing.recorded import decode
from providers.test_recordings import CASES, DIALECTS
from recordings import needs_recordings

pytestmark = needs_recordings


def conversation(wire: str, name: str) -> tuple[list[Message], Target]:
    """The answers of a recording, each asked for by a word, the calls answered."""
    recording = recordings.load(name)
    target = recordings.target_of(recording, DIALECTS[wire].name)
    history: list[Message] = []
    taken: set[str] = set()
    for exchange in recording["exchanges"]:
        decoded = decode(DIALECTS[wire], exchange, target=target)
        answer = decoded.message or (decoded.error.partial if decoded.error else None)
        if answer is not None and answer.content:
            answer = with_unique_ids(answer, taken)
            results = [ToolResult("done", call_id=call.id, name=call.name) for call in answer.tool_calls]
            history += [UserMessage("Go on"), answer, ToolMessage(results)]
    return [*history, UserMessage("And now?")], target


def through_a_store(message: Message) -> Message:
    loaded = from_json(json.loads(json.dumps(to_json(message))))
    assert isinstance(loaded, UserMessage | AssistantMessage | ToolMessage)
    return loaded


def body(wire: str, history: list[Message], target: Target) -> bytes:
    dialect = DIALECTS[wire]
    messages = replay(sendable(history), target.origin, other_model=dialect.keeps_for_other_model)
    request = Request(model=target.origin.model, system="Be brief.", messages=messages, tools=TOOLS)
    return b"".join(dialect.encode(request, target).body)


@pytest.mark.works("Histories go through JSON, and back to the vendor byte for byte")
@pytest.mark.parametrize(("wire", "name"), CASES)
def test_an_answer_goes_back_byte_for_byte_though_it_was_stored(wire: str, name: str) -> None:
    history, target = conversation(wire, name)
    stored: Any = [through_a_store(message) for message in history]

    assert stored == history
    assert body(wire, stored, target) == body(wire, history, target)
