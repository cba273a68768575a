"""A team under a supervisor of somebody else."""

from __future__ import annotations

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Status, otp
from alloy.teams import team_of
from alloy.testing import calls, hangs, says
from sleepers import agent, buggy

MockClock = trio.testing.MockClock


async def test_a_team_lives_under_any_supervisor() -> None:
    spec = alloy.team_child({"a": agent(says("from a")), "b": agent(says("from b"))}, name="lab")
    async with otp.open_system(otp.Supervisor(children=[spec])):
        team = team_of(spec)
        await team.add("c", agent(says("from c")))
        results = await team.broadcast("go")

        assert {name: result.text for name, result in results.items()} == {n: f"from {n}" for n in "abc"}
        assert results["a"].session_id == "lab/a"
        assert spec.id == "lab"


async def test_stopping_a_team_lets_its_runs_end_first(autojump_clock: MockClock) -> None:
    spec = alloy.team_child(
        {"a": agent(calls("nap", seconds=20.0), says("rested")), "b": agent(hangs())}, id="lab", drain=25
    )
    async with otp.open_system(otp.Supervisor(children=[spec])) as root:
        team = team_of(spec)
        request = await team["a"].send_message("go")
        await team["b"].send_message("go")
        await trio.sleep(1)
        await otp.terminate_child(root, "lab")

        assert trio.current_time() == 1 + 25  # b, the last, is stopped first, and hangs
        assert (await team["a"].result(request)).text == "rested"
        with pytest.raises(otp.ServerExited):
            await team.delegate("a", "more")


async def test_a_team_that_gave_up_comes_back_with_its_conversations(autojump_clock: MockClock) -> None:
    steady = agent(says("one"), says("two"))
    spec = alloy.team_child(
        {"shaky": agent(buggy, says("back")), "steady": steady}, strategy="one_for_all", max_restarts=0
    )
    async with otp.open_system(otp.Supervisor(children=[spec])):
        team = team_of(spec)
        await team.delegate("steady", "1")
        before = team.root
        with pytest.raises(otp.ServerExited):
            await team.delegate("shaky", "x")
        await otp.wait_down(before)
        await trio.testing.wait_all_tasks_blocked()

        assert team.root is not before
        assert (await team.delegate("shaky", "y")).text == "back"
        assert (await team.delegate("steady", "2")).text == "two"
        assert len(await team["steady"].messages()) == 4


async def test_a_member_that_crashes_too_often_is_not_the_end_of_the_team(autojump_clock: MockClock) -> None:
    spec = alloy.team_child({"shaky": agent(buggy, says("back")), "steady": agent(says("fine"))}, max_restarts=0)
    async with otp.open_system(otp.Supervisor(children=[spec])):
        team = team_of(spec)
        before = team.root
        results = await team.broadcast("go")
        await team.restart("shaky")

        assert results["shaky"].status is Status.ERROR
        assert results["steady"].text == "fine"
        assert team.root is before
        assert (await team.delegate("shaky", "again")).text == "back"


async def test_killing_a_team_leaves_nothing(autojump_clock: MockClock) -> None:
    spec = alloy.team_child({"a": agent(hangs(), says("again"))}, id="lab")
    async with otp.open_system(otp.Supervisor(children=[spec])) as root:
        team = team_of(spec)
        await team["a"].send_message("go")
        (child,) = await otp.which_children(root)
        assert isinstance(child.ref, otp.Ref)
        otp.exit(child.ref, otp.Killed())
        await otp.wait_down(child.ref)
        await trio.testing.wait_all_tasks_blocked()

        assert trio.current_time() == 0
        assert (await team.delegate("a", "again?")).text == "again"


async def test_a_member_that_cannot_work_keeps_the_team_from_starting() -> None:
    spec = alloy.team_child({"a": Agent(model="anthropic:claude-x")})
    with pytest.raises(otp.StartFailed, match="ANTHROPIC_API_KEY"):
        async with otp.open_system(otp.Supervisor(children=[spec])):
            pass


def test_what_does_not_fit_is_refused_when_the_spec_is_made() -> None:
    with pytest.raises(TypeError, match="unknown option 'max_pendin'; did you mean 'max_pending'"):
        alloy.team_child({}, max_pendin=1)
    with pytest.raises(ValueError, match="drain must be 0 or more, got -1"):
        alloy.team_child({"a": agent()}, drain=-1)
    with pytest.raises(TypeError, match="team_of takes what team_child made"):
        team_of(alloy.agent_child(agent()))
