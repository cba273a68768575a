"""A conversation of any course – runs, errors, cancels, halts, model switches, compactions – can always go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import alloy
from alloy.llm.history import sendable
from alloy.testing import says
from end_to_end.courses import ORIGINS, Halts, Signing, a_step, broken, fatal, ok, slow
from end_to_end.sendable import assert_sendable

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
