"""Recorded answers with something in them gone or of another type: an answer, or a typed error, and never a crash."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

import recordings
from alloy.llm import Message, Request, ToolMessage, ToolResult, UserMessage, from_json, to_json
from alloy.llm.content import Citation, Opaque, Origin, Text, ToolCall
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    CitationPart,
    Delta,
    ItemStarted,
    OpaquePart,
    Stopped,
    TextPart,
    UsagePart,
)
from alloy.llm.history import replay, sendable
from alloy.llm.message import StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import check, count
from alloy.testing.recorded import decode
from providers.test_recordings import CASES, DIALECTS
from recordings import needs_recordings

ODD: list[Any] = [
    *(None, 0, -1, 1.5, "", "x", "\ud800", [], {}, [None], {"a": 1}, True, False, [[]], {"type": "new"}, 10**30)
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to each value within a value."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield from paths(item, (*path, key))


def bent(value: Any, chance: random.Random) -> Any:
    """The value with one thing in it gone, or replaced."""
    if places := list(paths(value)):
        *way, last = chance.choice(places)
        owner = value
        for key in way:
            owner = owner[key]
        if chance.random() < 0.4:
            del owner[last]
        else:
            owner[last] = chance.choice(ODD)
    return value


def bent_body(body: Any, chance: random.Random) -> Any:
    if not isinstance(body, str):
        return bent(json.loads(json.dumps(body)), chance)
    lines = body.split("\n")
    numbers = [number for number, line in enumerate(lines) if line.startswith(("data: {", "{"))]
    for number in chance.sample(numbers, min(len(numbers), chance.choice([1, 1, 2]))):
        prefix = "data: " if lines[number].startswith("data: ") else ""
        try:
            value = json.loads(lines[number].removeprefix(prefix))
        except ValueError:  # a piece of JSON over several lines
            continue
        lines[number] = prefix + json.dumps(bent(value, chance))
    return "\n".join(lines)


def check_bent(wire: str, name: str, chance: random.Random) -> None:
    dialect, recording = DIALECTS[wire], recordings.load(name)
    exchange = chance.choice(recording["exchanges"])
    body = bent_body(exchange["response"]["body"], chance)
    target = recordings.target_of(recording, dialect.name)

    decoded = decode(dialect, {**exchange, "response": {**exchange["response"], "body": body}}, target=target)

    assert (decoded.message is None) == (decoded.error is not None)
    answer = decoded.message or (decoded.error.partial if decoded.error else None)
    if answer is not None:
        assert from_json(json.loads(json.dumps(to_json(answer)))) == answer
        results = [ToolResult("ok", call_id=call.id, name=call.name) for call in answer.tool_calls]
        history: list[Message] = [UserMessage("a"), answer, ToolMessage(results), UserMessage("b")]
        messages = replay(sendable(history), target.origin, other_model=dialect.keeps_for_other_model)
        dialect.encode(Request(model="m", messages=messages), target).json()


@needs_recordings
@pytest.mark.parametrize("seed", range(20))
def test_a_bent_answer_is_an_answer_or_a_typed_error(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(50):
        check_bent(*chance.choice(CASES), chance)


@pytest.mark.slow
@needs_recordings
@pytest.mark.parametrize("seed", range(100, 120))
def test_many_bent_answers_are_answers_or_typed_errors(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1_000):
        check_bent(*chance.choice(CASES), chance)


# The check by itself.

ORIGIN = Origin("d", "v", "e", "m")
CALL = ItemStarted(0, ToolCall("c", "f", {}))


@pytest.mark.parametrize(
    "bad",
    [
        TextPart(0, 5),  # type: ignore[arg-type]
        TextPart("0", "x"),  # type: ignore[arg-type]
        TextPart([], "x"),  # type: ignore[arg-type]
        ArgumentsPart(0, "{"),  # of nothing that has begun
        OpaquePart(0, Opaque(ORIGIN, "signature", "s")),
        ItemStarted(0, ToolCall(5, "f", {})),  # type: ignore[arg-type]
        ItemStarted(0, ToolCall("c", None, {})),  # type: ignore[arg-type]
        ItemStarted(0, Text(None)),  # type: ignore[arg-type]
        CitationPart(None, Citation("x")),  # type: ignore[arg-type]
    ],
)
def test_what_cannot_be_said_is_refused_and_what_came_before_it_stays(bad: Delta) -> None:
    deltas: list[Delta] = [TextPart(7, "fine"), bad, TextPart(7, "lost")]

    with pytest.raises(TypeError, match="of an unexpected type"):
        check(deltas, {})

    assert deltas == [TextPart(7, "fine")]


def test_what_is_only_told_is_dropped_where_it_makes_no_sense() -> None:
    deltas: list[Delta] = [
        Begun(5, []),  # type: ignore[arg-type]
        CALL,
        ArgumentsPart(0, "{}"),
        OpaquePart(0, Opaque(ORIGIN, "t", {}, id=[])),  # type: ignore[arg-type]
        CitationPart(1, Citation(5, url="https://x.example")),  # type: ignore[arg-type]
        UsagePart(Usage(server_tool_calls={"web_search": "many", "web_fetch": 1})),  # type: ignore[dict-item]
        Stopped(StopInfo(StopReason.OTHER, 7, detail=[])),  # type: ignore[arg-type]
    ]

    check(deltas, {})

    assert deltas == [
        Begun("", None),
        CALL,
        ArgumentsPart(0, "{}"),
        OpaquePart(0, Opaque(ORIGIN, "t", {})),
        CitationPart(1, Citation(url="https://x.example")),
        UsagePart(Usage(server_tool_calls={"web_search": 0, "web_fetch": 1})),
        Stopped(StopInfo(StopReason.OTHER)),
    ]


@pytest.mark.parametrize(
    ("value", "number"), [(7, 7), (0, 0), (-1, 0), (True, 0), ("7", 0), (7.5, 0), (None, 0), ([], 0)]
)
def test_a_count_is_a_whole_number_or_none(value: Any, number: int) -> None:
    assert count({"n": value}, "n") == number
    assert count({}, "n") == 0
