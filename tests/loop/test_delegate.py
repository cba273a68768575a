"""Agents that ask agents, and hand over to them."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Outcome, Status
from alloy.testing import ScriptedModel, calls, fails, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def scout(*steps: object, **fields: object) -> Agent:
    return Agent(model=ScriptedModel(*steps, name="scout"), name="scout", **fields)  # type: ignore[arg-type]


@pytest.mark.works("Agents as tools: `as_tool` asks one, `handoff_to` lets it go on")
async def test_an_agent_asks_another_and_goes_on_with_its_answer() -> None:
    helper = scout(calls("add", a=1, b=2), says("it is 3"), tools=[add])
    model = ScriptedModel([says("asking"), calls("scout", prompt="1 + 2?")], says("three"))

    result = await alloy.run("1 + 2?", model=model, tools=[alloy.as_tool(helper)], name="lead")

    assert result.text == "three"
    assert model.requests[1].messages[-1].results[0].text == "it is 3"  # type: ignore[union-attr]
    assert helper.model.requests[0].messages[0].text == "1 + 2?"  # type: ignore[union-attr]
    assert result.usage.requests == 4


async def test_the_events_of_a_sub_agent_are_in_the_same_stream_with_its_path() -> None:
    helper = scout(says("fine"))
    model = ScriptedModel(calls("scout", id="c1", prompt="?"), says("ok"))

    async with alloy.stream("x", model=model, tools=[alloy.as_tool(helper)], name="lead") as stream:
        events = [event async for event in stream]

    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    inner = [event for event in events if event.agent_path == ("lead", "scout")]
    assert type(inner[0]).__name__ == "RunStarted"
    assert type(inner[-1]).__name__ == "RunFinished"
    assert {event.parent_call_id for event in inner} == {"c1"}
    assert {event.parent_call_id for event in events if event.agent_path == ("lead",)} == {None}
    assert len({event.run_id for event in events}) == 2


async def test_several_sub_agents_work_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    async def nap() -> str:
        """Sleep."""
        await trio.sleep(10)
        return "rested"

    helpers = [Agent(model=ScriptedModel(calls("nap"), says(f"{n}")), name=f"h{n}", tools=[nap]) for n in range(5)]
    batch = [calls(f"h{n}", prompt="?") for n in range(5)]
    model = ScriptedModel(batch, says("ok"))

    await alloy.run("x", model=model, tools=[alloy.as_tool(helper) for helper in helpers])

    assert trio.current_time() == 10
    assert [r.text for r in model.requests[1].messages[-1].results] == ["0", "1", "2", "3", "4"]  # type: ignore[union-attr]


async def test_a_sub_agent_that_fails_is_an_error_result_of_its_call() -> None:
    helper = scout(fails(alloy.BadRequest("no such thing")))
    model = ScriptedModel(calls("scout", prompt="?"), says("a pity"))

    result = await alloy.run("x", model=model, tools=[alloy.as_tool(helper)])

    assert result.text == "a pity"
    (record,) = result.tool_calls
    assert record.outcome is Outcome.ERROR
    assert "BadRequest: no such thing" in (record.error or "")


async def test_a_sub_agent_that_did_not_finish_says_so_with_what_it_has() -> None:
    helper = scout([says("so far"), calls("add", a=1, b=1)], tools=[add], limits=alloy.Limits(max_turns=1))
    model = ScriptedModel(calls("scout", prompt="?"), says("ok"))

    result = await alloy.run("x", model=model, tools=[alloy.as_tool(helper)])

    assert result.tool_calls[0].error == "scout did not finish (max_turns); it said: so far"


async def test_agents_that_call_each_other_for_ever_are_stopped_at_the_eighth() -> None:
    agents: list[Agent] = []

    async def deeper(*, context: alloy.ToolContext) -> str:
        """Go deeper."""
        return (await context.delegate(agents[0], "deeper")).text

    model = ScriptedModel(lambda request: calls("deeper") if len(request.messages) == 1 else says("up"), loop=True)
    agents.append(Agent(model=model, tools=[deeper], name="a"))

    result = await alloy.run("go", agents[0])

    assert result.text == "up"
    assert len(model.requests) == 16
    deepest = next(r for r in model.requests if len(r.messages) == 3).messages[-1].results[0]  # type: ignore[union-attr]
    assert "DelegationTooDeep: 9 agents work for each other, 8 may: a → a" in deepest.text


async def test_a_member_nobody_knows_is_told() -> None:
    model = ScriptedModel(calls("bob", prompt="?"), says("ok"))

    result = await alloy.run("x", model=model, tools=[alloy.as_tool("bob")])

    assert "UnknownMember: the team has no member 'bob'; it has none" in (result.tool_calls[0].error or "")


async def test_a_hand_off_goes_on_as_the_other_agent_over_the_same_history() -> None:
    expert = Agent(
        model=ScriptedModel(calls("add", a=1, b=2), says("3"), name="expert"),
        name="expert",
        system_prompt="You add.",
        tools=[add],
        limits=alloy.Limits(max_turns=3),
    )
    model = ScriptedModel([says("not mine"), calls("transfer_to_expert")])

    result = await alloy.run("1 + 2?", model=model, tools=[alloy.handoff_to(expert)], name="desk")

    assert (result.text, result.status, result.turns) == ("3", Status.COMPLETED, 3)
    assert (result.agent, result.model) == ("expert", "scripted:expert")
    first = expert.model.requests[0]  # type: ignore[union-attr]
    assert first.system == "You add."
    assert [type(message).__name__ for message in first.messages] == ["UserMessage", "AssistantMessage", "ToolMessage"]


async def test_the_turns_count_on_over_a_hand_off() -> None:
    forever = ScriptedModel(calls("add", a=1, b=2), loop=True)
    expert = Agent(model=forever, tools=[add], limits=alloy.Limits(max_turns=2))

    result = await alloy.run("x", model=ScriptedModel(calls("transfer_to_agent")), tools=[alloy.handoff_to(expert)])

    assert (result.status, result.turns) == (Status.MAX_TURNS, 2)


@pytest.mark.parametrize("target", [5, None, add])
def test_what_cannot_be_asked_is_no_tool(target: object) -> None:
    with pytest.raises(TypeError, match="as_tool takes an Agent"):
        alloy.as_tool(target)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="handoff_to takes an Agent"):
        alloy.handoff_to(target)  # type: ignore[arg-type]
