"""Members that come, go and are restarted while others ask them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Team, otp
from alloy.testing import ScriptedModel, calls, hangs, says

MockClock = trio.testing.MockClock


async def nap(seconds: float) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


def agent(*steps: Any) -> Agent:
    return Agent(model=ScriptedModel(*steps), tools=[nap])


class Slow(alloy.Middleware):
    """A session that takes its time to start."""

    async def session_start(self, session: alloy.Session) -> None:
        await trio.sleep(5)


async def crash(ref: alloy.AgentRef[Any]) -> None:
    server = ref.whereis()
    assert server is not None
    otp.exit(server, otp.Killed())
    await otp.wait_down(server)


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one"])
async def test_what_waits_for_a_member_outlives_its_restart(strategy: Any, autojump_clock: MockClock) -> None:
    results: list[str] = []

    async def ask(team: Team) -> None:
        results.append((await team.delegate("a", "second")).text)

    first = agent(calls("nap", seconds=60), says("one"), says("two"))
    async with Team({"a": first}, strategy=strategy, drain=3) as team, trio.open_nursery() as nursery:
        lost = await team["a"].send_message("first")
        nursery.start_soon(ask, team)
        await trio.sleep(1)
        await team.restart("a")
        with pytest.raises(otp.ServerExited):
            await team["a"].result(lost)

    assert results == ["one"]
    assert trio.current_time() == 4


@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one"])
async def test_whoever_waits_for_a_member_that_is_let_go_is_told(strategy: Any, autojump_clock: MockClock) -> None:
    told: list[otp.ServerExited] = []

    async def ask(ref: alloy.AgentRef[Any]) -> None:
        with pytest.raises(otp.ServerExited) as caught:
            await ref.chat("?")
        told.append(caught.value)

    async with Team({"a": agent(says("x"))}, strategy=strategy) as team, trio.open_nursery() as nursery:
        ref = team["a"]
        await crash(ref)
        nursery.start_soon(ask, ref)  # between two incarnations
        await trio.testing.wait_all_tasks_blocked()
        await team.remove("a")

    (error,) = told
    assert isinstance(error.reason, otp.Shutdown)


async def test_a_member_that_crashes_while_it_is_let_go_is_gone_too(autojump_clock: MockClock) -> None:
    async with Team({"a": agent(hangs())}) as team, trio.open_nursery() as nursery:
        ref = team["a"]
        await ref.send_message("go")
        nursery.start_soon(team.remove, "a")
        await trio.sleep(1)
        await crash(ref)
        await trio.sleep(100)

        assert team.names == ()
        assert await otp.which_children(team.root) == ()
        assert ref.whereis() is None


async def test_two_restarts_of_a_member_at_once_are_one_after_the_other(autojump_clock: MockClock) -> None:
    async with Team({"a": agent(says("x"))}) as team:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(team.restart, "a")
            nursery.start_soon(team.restart, "a")

        assert (await team.delegate("a", "?")).text == "x"
        assert len(await otp.which_children(team.root)) == 1


async def test_a_member_that_was_let_go_cannot_be_restarted(autojump_clock: MockClock) -> None:
    async with Team({"a": agent(hangs())}, drain=3) as team, trio.open_nursery() as nursery:
        await team["a"].send_message("go")
        nursery.start_soon(team.remove, "a")
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(alloy.UnknownMember):
            await team.restart("a")
        await trio.sleep(10)

        assert await otp.which_children(team.root) == ()


async def test_a_cancelled_addition_leaves_nothing(autojump_clock: MockClock) -> None:
    slow = agent(says("x")).evolve(middleware=[Slow()])
    async with Team({}) as team:
        with trio.move_on_after(2):
            await team.add("a", slow)
        await trio.sleep(10)

        assert team.names == ()
        assert await otp.which_children(team.root) == ()


async def test_a_restart_keeps_a_member_in_its_place(autojump_clock: MockClock) -> None:
    members = {name: agent(says("x")) for name in ("a", "b", "c")}
    async with Team(members, strategy="rest_for_one") as team:
        await team.restart("a")

        assert [child.id for child in await otp.which_children(team.root)] == ["a", "b", "c"]


async def test_a_member_that_does_not_come_back_from_its_restart_is_down(autojump_clock: MockClock) -> None:
    class Closed(alloy.Middleware):
        starts = 0

        async def session_start(self, session: alloy.Session) -> alloy.Halt | None:
            Closed.starts += 1
            return alloy.Halt("closed") if Closed.starts > 1 else None

    async with Team({"a": agent(hangs()).evolve(middleware=[Closed()])}, drain=0) as team:
        await team["a"].send_message("first")
        waits = await team["a"].send_message("second")
        with pytest.raises(otp.StartFailed, match="closed"):
            await team.restart("a")
        with pytest.raises(otp.ServerExited):
            await team["a"].result(waits)
