"""Putting an agent together, rightly and wrongly."""

from __future__ import annotations

from typing import Any

import pytest

import alloy
from alloy import Agent, Limits
from alloy.testing import ScriptedModel, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.mark.parametrize(
    ("fields", "error", "complaint"),
    [
        ({"model": 5}, TypeError, "model must be 'vendor:model' or a Model"),
        ({"tools": [add, add]}, ValueError, "add"),
        ({"until_tool": "submit"}, ValueError, "until_tool 'submit' is no tool of the agent; it has none"),
        ({"tools": [add], "until_tool": "ad"}, ValueError, "it has 'add'"),
        ({"limits": 5}, TypeError, "limits must be a Limits"),
        ({"middleware": [object()]}, TypeError, "middleware must be instances of Middleware"),
    ],
)
def test_a_mistake_in_an_agent_is_told_when_it_is_made(
    fields: dict[str, Any], error: type[Exception], complaint: str
) -> None:
    with pytest.raises(error, match=complaint):
        Agent(**{"model": "scripted:echo", **fields})


@pytest.mark.parametrize(
    "fields", [{"max_turns": -1}, {"max_tool_calls": -1}, {"parallel_tools": 0}, {"tool_timeout": 0}]
)
def test_limits_out_of_bounds_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Limits(**fields)


def test_evolve_changes_a_copy() -> None:
    agent = Agent(model="scripted:echo", name="a", limits=Limits(parallel_tools=3))

    changed = agent.evolve(name="b", max_turns=2)

    assert (agent.name, agent.limits.max_turns) == ("a", 25)
    assert (changed.name, changed.limits) == ("b", Limits(max_turns=2, parallel_tools=3))


async def test_an_unknown_option_is_named_with_the_closest_known_one() -> None:
    with pytest.raises(TypeError, match="unknown option 'max_turn'; did you mean 'max_turns'"):
        await alloy.run("x", model="scripted:echo", max_turn=5)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="did you mean 'system_prompt'"):
        Agent(model="scripted:echo").evolve(system_promt="x")


async def test_what_no_run_can_begin_with_is_refused() -> None:
    with pytest.raises(TypeError, match="give an agent, or model='vendor:model'"):
        await alloy.run("x")
    with pytest.raises(TypeError, match="agent must be an Agent"):
        await alloy.run("x", "anthropic:claude")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="there is nothing to send"):
        await alloy.run(None, model="scripted:echo")
    with pytest.raises(ValueError, match="the prompt is empty"):
        await alloy.run(" ", model="scripted:echo")
    with pytest.raises(TypeError, match="on_event must be callable"):
        await alloy.run("x", model="scripted:echo", on_event=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no script is called 'nothing'; there are 'echo', 'demo'"):
        await alloy.run("x", model="scripted:nothing")


async def test_an_agent_is_safe_to_run_many_times_at_once() -> None:
    import trio

    agent = Agent(model=ScriptedModel(says("same"), loop=True), tools=[add])
    texts: list[str] = []

    async def once() -> None:
        texts.append((await alloy.run("x", agent)).text)

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(once)

    assert texts == ["same"] * 50
