"""A conversation that is shown in short because somebody wants it so."""

from __future__ import annotations

import pytest
import trio

import alloy
from alloy.llm.scripted import Step
from alloy.loop.summary import SYSTEM
from alloy.testing import ScriptedModel, fails, hangs, says

SUMMARY = "## Goal\nPaint it blue."
SUMS_UP = says(SUMMARY)
LONG = "many words about doors " * 400


def talkative(summary: Step = SUMS_UP) -> ScriptedModel:
    """Answers at length, and sums up when asked to."""
    return ScriptedModel(lambda request: summary if request.system == SYSTEM else says(LONG), loop=True)


async def test_the_model_is_shown_less_from_then_on_and_nothing_is_forgotten() -> None:
    model = talkative()
    async with alloy.open_agent(alloy.Agent(model=model)) as ref:
        for number in range(6):
            await ref.chat(f"prompt {number}")
        before = await ref.messages()
        last = model.requests[-1]

        assert await ref.compact()
        assert await ref.messages() == before
        await ref.chat("and now?")
        assert len(model.requests[-1].messages) < len(last.messages)
        assert any("Paint it blue." in message.text for message in model.requests[-1].messages)  # type: ignore[union-attr]
        assert (await ref.messages())[: len(before)] == before
        assert (await ref.health()).status == "idle"


async def test_there_is_nothing_to_shorten_in_a_new_conversation() -> None:
    model = talkative()
    async with alloy.open_agent(alloy.Agent(model=model)) as ref:
        assert not await ref.compact()
        await ref.chat("hi")

        assert [message.text for message in model.requests[-1].messages] == ["hi"]  # type: ignore[union-attr]


async def test_a_model_that_cannot_sum_up_is_told_and_changes_nothing() -> None:
    model = talkative(fails(alloy.BadRequest("no")))
    async with alloy.open_agent(alloy.Agent(model=model)) as ref:
        for number in range(6):
            await ref.chat(f"prompt {number}")
        with pytest.raises(alloy.HookError):
            await ref.compact()
        await ref.chat("and now?")

        assert len(model.requests[-1].messages) == 13


async def test_giving_up_waiting_stops_it(autojump_clock: trio.testing.MockClock) -> None:
    model = talkative(hangs())
    async with alloy.open_agent(alloy.Agent(model=model)) as ref:
        for number in range(6):
            await ref.chat(f"prompt {number}")
        with trio.move_on_after(5) as scope:
            await ref.compact()

        assert scope.cancelled_caught
        assert (await ref.chat("and now?")).status == "completed"


async def test_it_waits_its_turn_and_can_be_cancelled_there(autojump_clock: trio.testing.MockClock) -> None:
    model = ScriptedModel(hangs())
    async with alloy.open_agent(alloy.Agent(model=model), drain=0.0) as ref, trio.open_nursery() as nursery:
        await ref.send_message("hi")
        nursery.start_soon(ref.compact)
        await trio.testing.wait_all_tasks_blocked()

        assert (await ref.health()).queued == 1
        nursery.cancel_scope.cancel()
    assert len(model.requests) == 1
