"""A conversation of any course – runs, errors, cancels, halts, model switches, compactions – can always go on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import alloy
from alloy.llm.content import Opaque, Origin, Thinking
from alloy.llm.delta import ItemStarted
from alloy.llm.history import sendable
from alloy.llm.scripted import Calls, Says, Step
from alloy.testing import ScriptedModel, calls, calls_raw, cuts, fails, hangs, says
from end_to_end.sendable import DIALECTS, assert_sendable

ORIGINS = [Origin(dialect.name, vendor, "https://x", "m") for dialect in DIALECTS for vendor in ("vendor", "other")]


async def ok(n: int) -> int:
    """Work."""
    return n


async def broken() -> str:
    """Fail."""
    raise LookupError("\ud800 surrogate")


async def slow() -> str:
    """Take long."""
    await trio.sleep(50)
    return ""


async def fatal() -> str:
    """End the run."""
    raise alloy.Fatal("over")


texts = st.sampled_from(["", " ", "fine", "é\u2028", "\ud83d", "x" * 50])
stops = st.sampled_from(["end_turn", "max_tokens", "refusal", "pause", "nonsense"])
ids = st.none() | st.sampled_from(["same", "", "call:1/ö", "x" * 80])
a_call = st.one_of(
    st.builds(lambda i, n: calls("ok", id=i, n=n), ids, st.integers() | st.just("five")),
    st.builds(lambda i, t: calls_raw("ok", t, id=i), ids, st.sampled_from(["", "{", "[]", '{"n": 1}', "null"])),
    st.sampled_from(["broken", "slow", "fatal", "unknown", "with space"]).map(lambda name: calls(name)),
)
a_text = st.builds(says, texts, thinking=texts, stop=stops)
a_step: st.SearchStrategy[Step] = st.one_of(
    a_text,
    a_call,
    st.lists(a_text | a_call, min_size=1, max_size=4),
    st.builds(cuts, texts, thinking=texts),
    st.sampled_from(
        [hangs(), fails(alloy.BadRequest("no")), fails(alloy.Overloaded("busy")), fails(alloy.ContextTooLong("!"))]
    ),
)


class Signing(ScriptedModel):
    """A scripted model of some vendor, whose thinking is signed."""

    def __init__(self, *steps: Step, origin: Origin) -> None:
        super().__init__(*steps)
        self.origin = origin

    def _answer(self, parts: Sequence[Says | Calls]) -> Any:
        yield from super()._answer(parts)
        signed = Thinking("signed", opaque=[Opaque(self.origin, "signature", "c2ln")])
        yield [ItemStarted(1000, signed)]


class Halts(alloy.Middleware):
    """Halts at the call with this number."""

    def __init__(self, at: int) -> None:
        self.left = at

    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Halt | None:
        self.left -= 1
        return alloy.Halt("enough") if self.left == 0 else None


an_operation = st.fixed_dictionaries(
    {
        "steps": st.lists(a_step, min_size=1, max_size=4),
        "origin": st.sampled_from(ORIGINS),
        "prompts": st.lists(st.sampled_from(["go", "and this"]), min_size=1, max_size=2),
        "cancel_after": st.none() | st.integers(1, 25),
        "halt_at": st.none() | st.integers(1, 3),
        "max_turns": st.sampled_from([1, 2, 10]),
        "wrap_up": st.booleans(),
        "window": st.none() | st.sampled_from([40, 300, 2_000]),
        "summarise": st.booleans(),
    }
)


async def play(history: tuple[alloy.Message, ...], operation: dict[str, Any]) -> tuple[alloy.Message, ...]:
    """Do one thing to a conversation; returns it as it stands then."""
    *steers, prompt = operation["prompts"]
    if steers:
        history = (*history, *(alloy.UserMessage(text, source="steer") for text in steers))
    model = Signing(*operation["steps"], *[says("over")] * 40, origin=operation["origin"])
    agent: alloy.Agent[Any] = alloy.Agent(
        model=model,
        compaction=alloy.Compaction(window=operation["window"], summarise=operation["summarise"]),
        tools=[ok, broken, slow, fatal],
        limits=alloy.Limits(max_turns=operation["max_turns"], wrap_up=operation["wrap_up"], tool_timeout=20.0),
        middleware=[Halts(operation["halt_at"])] if operation["halt_at"] else [],
        retry=alloy.Retry(attempts=2),
    )
    transcript: list[alloy.Message] = []
    with trio.move_on_after(1000):  # for an answer that never comes
        async with alloy.stream(prompt, agent, history=history) as stream:
            count = 0
            async for event in stream:
                count += 1
                if isinstance(event, alloy.MessageAdded | alloy.MessageFinished):
                    transcript.append(event.message)
                if count == operation["cancel_after"]:
                    stream.cancel()
    result = stream.snapshot()
    for request in model.requests:
        assert_sendable(request.messages)
    assert result.messages[: len(sendable(history))] == sendable(history)
    if isinstance(event, alloy.RunFinished):
        assert sendable([*history, *transcript]) == result.messages
    return result.messages


@pytest.mark.parametrize("examples", [60, pytest.param(3000, marks=pytest.mark.slow)])
def test_whatever_happens_the_history_can_be_sent_to_every_vendor(examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.lists(an_operation, min_size=1, max_size=4))
    def conversation(operations: list[dict[str, Any]]) -> None:
        async def main() -> None:
            history: tuple[alloy.Message, ...] = ()
            for operation in operations:
                history = await play(history, operation)
                assert_sendable(history)

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    conversation()
