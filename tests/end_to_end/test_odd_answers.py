"""What vendors do besides answering: refuse their own reasoning, pause, drop a call that they could not read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import alloy
from alloy import Notice, Opaque, Origin, StopReason
from alloy.providers.http import handler_transport
from end_to_end.vendors import gemini_events, messages_events, responses_events, sse

SSE = {"content-type": "text/event-stream"}
STALE = {
    "type": "error",
    "error": {
        "type": "invalid_request_error",
        "message": "messages.1.content.0: The block is bound to a different conversation",
    },
}


class Vendor:
    """Answers each request with the next of these: events of a stream, or an error's body with status 400."""

    def __init__(self, *answers: list[object] | Mapping[str, Any]) -> None:
        self.answers = list(answers)
        self.bodies: list[Any] = []

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        self.bodies.append(json.loads(body))
        answer = self.answers.pop(0)
        if isinstance(answer, Mapping):
            return 400, {}, json.dumps(answer).encode()
        return 200, SSE, b"".join(sse(answer))

    async def run(self, model: str, **options: Any) -> tuple[alloy.Result[Any], list[alloy.Event]]:
        events: list[alloy.Event] = []
        async with alloy.HTTP(transport=handler_transport(self)) as http:
            asked = alloy.model(model, api_key="k")
            result = await alloy.run("Go on", model=asked, http=http, on_event=events.append, **options)
        return result, events


def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def notices(events: list[alloy.Event]) -> list[tuple[str, Any]]:
    return [(event.topic, event.data) for event in events if isinstance(event, Notice)]


def thought(origin: Origin) -> list[alloy.Message]:
    """A question, and an answer with signed reasoning."""
    thinking = alloy.Thinking("Hm.", opaque=[Opaque(origin, "signature", "c2ln")])
    stop = alloy.StopInfo(StopReason.END_TURN)
    return [
        alloy.UserMessage("Well?"),
        alloy.AssistantMessage([thinking, alloy.Text("Yes.")], stop=stop, origin=origin),
    ]


CLAUDE = Origin("anthropic.messages", "anthropic", "https://api.anthropic.com", "claude-test")


# Reasoning.


async def test_reasoning_that_the_vendor_refuses_is_left_out_and_the_run_goes_on() -> None:
    vendor = Vendor(STALE, messages_events([("c1", "add", {"a": 1, "b": 2})]), messages_events("3"))

    result, events = await vendor.run("anthropic:claude-test", history=thought(CLAUDE), tools=[add])

    assert result.text == "3"
    sent = [[block["type"] for block in body["messages"][1]["content"]] for body in vendor.bodies]
    assert sent == [["thinking", "text"], ["text"], ["text"]]
    assert [topic for topic, _ in notices(events)] == ["stale_reasoning"]
    assert [type(item).__name__ for item in result.messages[1].content] == ["Thinking", "Text"]


async def test_reasoning_of_another_vendor_is_not_sent_and_that_is_told_once_in_a_run() -> None:
    vendor = Vendor(responses_events([("c1", "add", {"a": 1, "b": 2})]), responses_events("3"))

    _, events = await vendor.run("openai:gpt-test", history=thought(CLAUDE), tools=[add])

    assert "Hm." not in json.dumps(vendor.bodies)
    assert notices(events) == [
        ("reasoning_dropped", {"of": ["anthropic:claude-test"], "for": "openai:gpt-test"}),
    ]


async def test_the_vendors_own_reasoning_is_sent_without_a_word() -> None:
    vendor = Vendor(messages_events("Fine."))

    _, events = await vendor.run("anthropic:claude-test", history=thought(CLAUDE))

    assert "Hm." in json.dumps(vendor.bodies)
    assert notices(events) == []


# Pauses.


async def test_a_paused_answer_is_sent_back_unchanged_and_continued() -> None:
    paused = messages_events("One, ")
    paused[-2] = {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 7}}
    vendor = Vendor(paused, messages_events("two."))

    result, _ = await vendor.run("anthropic:claude-test")

    assert [message["role"] for message in vendor.bodies[1]["messages"]] == ["user", "assistant"]
    assert vendor.bodies[1]["messages"][1]["content"] == [{"type": "text", "text": "One, "}]
    assert (result.text, result.turns, result.stop and result.stop.reason) == ("two.", 2, StopReason.END_TURN)


async def test_a_pause_that_never_ends_is_bounded_by_the_turns() -> None:
    paused = messages_events("again ")
    paused[-2] = {"type": "message_delta", "delta": {"stop_reason": "pause_turn"}, "usage": {"output_tokens": 7}}
    vendor = Vendor(*[paused] * 3)

    result, _ = await vendor.run("anthropic:claude-test", max_turns=3)

    assert result.status is alloy.Status.MAX_TURNS


# Calls that nobody can read.


def unreadable() -> list[object]:
    word, text = "MALFORMED_FUNCTION_CALL", "Malformed function call: print(default_api.add(a=1,"
    return [{"candidates": [{"content": {}, "finishReason": word, "finishMessage": text}]}]


async def test_a_model_whose_call_could_not_be_read_is_told_so_once() -> None:
    vendor = Vendor(unreadable(), gemini_events([("", "add", {"a": 1, "b": 2})]), gemini_events("3"))

    result, _ = await vendor.run("google:gemini-3-flash", tools=[add])

    assert result.text == "3"
    said = vendor.bodies[1]["contents"][-1]
    assert said["role"] == "user"
    assert "default_api.add(a=1," in said["parts"][-1]["text"]
    assert [message.source for message in result.messages if isinstance(message, alloy.UserMessage)] == [
        "user",
        "engine",
    ]


async def test_two_such_calls_in_a_row_end_the_run_with_the_vendors_word() -> None:
    vendor = Vendor(unreadable(), unreadable())

    result, _ = await vendor.run("google:gemini-3-flash", tools=[add])

    assert result.stop is not None
    assert (result.stop.reason, result.stop.raw) == (StopReason.OTHER, "MALFORMED_FUNCTION_CALL")
    assert len(vendor.bodies) == 2


async def test_after_a_good_call_a_bad_one_is_told_of_again() -> None:
    good = gemini_events([("", "add", {"a": 1, "b": 2})])
    vendor = Vendor(unreadable(), good, unreadable(), gemini_events("done"))

    result, _ = await vendor.run("google:gemini-3-flash", tools=[add])

    assert (result.text, len(vendor.bodies)) == ("done", 4)
