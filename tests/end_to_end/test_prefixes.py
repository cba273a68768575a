"""What was sent once is sent again unchanged: a conversation of thirty turns, at every dialect.

The vendors' caches find the beginning of a request that they have seen, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest

import alloy
from alloy.providers.http import handler_transport
from end_to_end.vendors import VENDORS, Turn, lines, sse

TURNS = 30


def script() -> list[Turn]:
    """Answers with calls: alone and several, with results of all kinds; every tenth answer is text."""
    batches: list[Turn] = [
        [("c1", "add", {"a": 1, "b": 2})],
        [("c2", "add", {"a": 1, "b": 2}), ("c3", "fail", {})],
        [("c4", "draw", {})],
        [("c5", "nothing", {"x": "é\u2028"}), ("c6", "add", {"a": "1", "b": 2}), ("c7", "draw", {})],
    ]
    turns: list[Turn] = []
    for number in range(1, TURNS + 1):
        batch = batches[number % len(batches)]
        numbered = [(f"{call_id}_{number}", name, given) for call_id, name, given in batch]  # type: ignore[misc]
        turns.append(f"Answer {number}." if number % 10 == 0 else numbered)
    return turns


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def fail() -> str:
    """Fail."""
    raise alloy.ToolError("it failed")


async def draw() -> alloy.ToolResult:
    """Draw."""
    return alloy.ToolResult([alloy.Text("Here."), alloy.Image(b"\x89PNG\r\n", media_type="image/png")])


async def bodies_of(name: str) -> list[Any]:
    """All requests of three runs of ten turns; between the runs the history goes through a store."""
    events = VENDORS[name][1]
    left, sent = script(), []

    async def handler(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        sent.append(json.loads(body))
        return 200, {}, b"".join((lines if name == "ollama" else sse)(events(left.pop(0))))

    base_url = "http://localhost/v1" if name == "openai-compatible" else None
    model = alloy.model(VENDORS[name][3], api_key="k", base_url=base_url)
    agent = alloy.Agent(model=model, system_prompt="Be brief.", tools=[add, fail, draw])
    history: tuple[alloy.Message, ...] = ()
    async with alloy.HTTP(transport=handler_transport(handler)) as http:
        for prompt in ("One", "Two", "Three"):
            stored = [alloy.from_json(json.loads(json.dumps(alloy.to_json(message)))) for message in history]
            history = (await alloy.run(prompt, agent, history=stored, http=http)).messages  # type: ignore[arg-type]
    return sent


MESSAGES = {"anthropic": "messages", "openai": "input", "google": "contents"}
MARK = "cache_control"


def unmarked(value: Any) -> Any:
    """Without the cache's marks, which move on."""
    match value:
        case dict():
            return {key: unmarked(inner) for key, inner in value.items() if key != MARK}
        case list():
            return [unmarked(inner) for inner in value]
        case _:
            return value


def said(name: str, body: Mapping[str, Any]) -> list[str]:
    """The messages of a request, each as the text that it was sent as."""
    return [json.dumps(unmarked(message)) for message in body[MESSAGES.get(name, "messages")]]


def rest_of(name: str, body: Mapping[str, Any]) -> str:
    """Everything of a request but its messages: system prompt, tools, settings."""
    return json.dumps({key: value for key, value in body.items() if key != MESSAGES.get(name, "messages")})


@pytest.mark.works("Prompt caches: what was sent once is sent again byte for byte, at every vendor")
@pytest.mark.parametrize("name", VENDORS)
async def test_each_request_of_thirty_turns_begins_as_the_one_before_it(name: str) -> None:
    sent = await bodies_of(name)

    assert len(sent) == TURNS
    assert len({rest_of(name, body) for body in sent}) == 1
    for before, after in pairwise([said(name, body) for body in sent]):
        assert after[: len(before)] == before
        assert len(after) > len(before)
