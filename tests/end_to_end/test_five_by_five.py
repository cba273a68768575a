"""One conversation with tools, begun at each vendor and continued at each other: all as strict as the real ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

import alloy
from alloy.providers.http import handler_transport
from end_to_end.vendors import VENDORS, Turn, lines, sse
from providers.test_request_bodies import Judge, judge_chat, judge_messages, judge_responses
from providers.test_vendor_bodies import judge_gemini_3, judge_ollama

JUDGES: Mapping[str, Judge] = {
    "anthropic": judge_messages,
    "openai": judge_responses,
    "openai-compatible": judge_chat,
    "google": judge_gemini_3,
    "ollama": judge_ollama,
}

BEGUN: list[Turn] = [
    [("c1", "add", {"a": 1, "b": 2}), ("c2", "add", {"a": "x"})],
    [("c3", "draw", {}), ("c4", "gone", {})],
    "First |part.",
]
CONTINUED: list[Turn] = [[("c1", "add", {"a": 3, "b": 4})], "Second part."]


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def draw() -> alloy.ToolResult:
    """Draw."""
    return alloy.ToolResult([alloy.Text("Here."), alloy.Image(b"\x89PNG\r\n", media_type="image/png")])


class Strict:
    """Both vendors behind one transport; each refuses what its types or its rules do not allow."""

    def __init__(self, first: str, second: str) -> None:
        self.left = {first: list(BEGUN), second: list(CONTINUED)}
        if first == second:
            self.left = {first: [*BEGUN, *CONTINUED]}
        self.left[first].append("Back again.")

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        name = headers["x-test-vendor"]
        if faults := JUDGES[name](json.loads(body)):
            return 400, {}, json.dumps({"error": {"message": "; ".join(faults)}}).encode()
        events = VENDORS[name][1](self.left[name].pop(0))
        return 200, {}, b"".join((lines if name == "ollama" else sse)(events))


def model(name: str) -> alloy.Model:
    spec = "google:gemini-3-flash" if name == "google" else VENDORS[name][3]
    return alloy.model(spec, api_key="k", base_url="http://localhost/v1", headers={"x-test-vendor": name})


@pytest.mark.works("A conversation may change its vendor in the middle, and come back")
@pytest.mark.parametrize("second", VENDORS)
@pytest.mark.parametrize("first", VENDORS)
async def test_a_conversation_with_tools_goes_on_at_any_other_vendor_and_comes_back(first: str, second: str) -> None:
    strict = Strict(first, second)
    tools: Any = [add, draw]

    async with alloy.HTTP(transport=handler_transport(strict)) as http:
        begun = await alloy.run("Begin", model=model(first), tools=tools, http=http)
        ended = await alloy.run("Go on", model=model(second), tools=tools, http=http, history=begun.messages)
        back = await alloy.run("And you?", model=model(first), tools=tools, http=http, history=ended.messages)

    assert [begun.text, ended.text, back.text] == ["First part.", "Second part.", "Back again."]
    assert begun.turns + ended.turns == 5
    assert [record.outcome for record in begun.tool_calls] == ["ok", "invalid", "ok", "unknown_tool"]
