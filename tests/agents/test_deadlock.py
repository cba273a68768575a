"""Agents that would wait for each other for ever are told, and go on."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent
from alloy.testing import ScriptedModel, calls, says

MockClock = trio.testing.MockClock


class World:
    """Agents that can ask each other by name."""

    def __init__(self) -> None:
        self.refs: dict[str, alloy.AgentRef[Any]] = {}

    def agent(self, name: str, *steps: Any) -> Agent:
        async def ask(who: str, what: str = "?", after: float = 0.0) -> str:
            """Ask another agent."""
            await trio.sleep(after)
            return (await self.refs[who].chat(what)).text

        return Agent(model=ScriptedModel(*steps, name=name), tools=[alloy.tool(ask, concurrent=True)], name=name)


@pytest.mark.works("Agents that ask each other in a ring are told so at once: `Deadlock` names the path")
async def test_a_ring_of_two_is_told_to_the_one_who_closes_it(autojump_clock: MockClock) -> None:
    world = World()
    a = world.agent("a", calls("ask", who="b"), says("a done"))
    b = world.agent("b", calls("ask", who="a"), says("b done"))
    async with alloy.open_agent(a) as ref_a, alloy.open_agent(b) as ref_b:
        world.refs = {"a": ref_a, "b": ref_b}
        result = await ref_a.chat("go")
        closed = (await ref_b.messages())[2]

        assert result.text == "a done"
        assert isinstance(closed, alloy.ToolMessage)
        assert "Deadlock" in closed.results[0].text
        assert "b -> a -> b" in closed.results[0].text
        assert trio.current_time() == 0
        assert (await ref_a.health()).status == (await ref_b.health()).status == "idle"


async def test_two_runs_that_call_each_other_are_told_too(autojump_clock: MockClock) -> None:
    world = World()
    a = world.agent("a", calls("ask", who="b", after=1.0), says("a done"), says("a again"))
    b = world.agent("b", calls("ask", who="a", after=2.0), says("b done"), says("b again"))
    async with alloy.open_agent(a) as ref_a, alloy.open_agent(b) as ref_b:
        world.refs = {"a": ref_a, "b": ref_b}
        requests = [(ref, await ref.send_message("go")) for ref in (ref_a, ref_b)]
        results = [await ref.result(request) for ref, request in requests]

        assert [result.text for result in results] == ["a done", "b done"]
        assert trio.current_time() == 2


async def test_an_agent_that_asks_itself_is_told() -> None:
    world = World()
    async with alloy.open_agent(world.agent("a", calls("ask", who="a"), says("hm"))) as ref:
        world.refs = {"a": ref}
        result = await ref.chat("go")

        assert "a -> a" in (result.tool_calls[0].error or "")


async def test_a_ring_of_three_and_a_fan_out_without_one(autojump_clock: MockClock) -> None:
    world = World()
    specs = {
        "a": world.agent("a", [calls("ask", who="b"), calls("ask", who="c")], says("a done")),
        "b": world.agent("b", calls("ask", who="c"), says("b done")),
        "c": world.agent("c", says("one"), calls("ask", who="a"), says("two")),
    }
    async with alloy.open_agent(specs["a"]) as a, alloy.open_agent(specs["b"]) as b, alloy.open_agent(specs["c"]) as c:
        world.refs = {"a": a, "b": b, "c": c}
        result = await a.chat("go")

        assert result.text == "a done"
        assert [record.error for record in result.tool_calls] == [None, None]
        assert any("c -> a" in m.results[0].text for m in await c.messages() if isinstance(m, alloy.ToolMessage))


async def test_the_events_of_a_delegate_are_in_the_stream_of_the_root(autojump_clock: MockClock) -> None:
    world = World()
    b = world.agent("b", says("fine"))
    async with alloy.open_agent(b) as ref:
        world.refs = {"b": ref}
        async with alloy.stream("go", world.agent("a", calls("ask", id="c1", who="b"), says("ok"))) as stream:
            events = [event async for event in stream]
        async with ref.subscribe() as subscription:
            own = [await subscription.__anext__() for _ in range(7)]

    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    inner = [event for event in events if event.agent_path == ("a", "b")]
    assert {event.parent_call_id for event in inner} == {"c1"}
    assert [event.seq for event in own] == [1, 2, 3, 4, 5, 6, 7]
    assert [type(event) for event in own] == [type(event) for event in inner]
