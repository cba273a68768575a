"""Several agents as one team."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Status, Team, otp
from alloy.testing import ScriptedModel, calls, fails, hangs, says
from sleepers import agent, buggy

MockClock = trio.testing.MockClock


@pytest.mark.works("Teams: delegate, broadcast, hand off, and one member's crash is nobody else's")
async def test_members_are_asked_by_name_and_keep_their_conversations() -> None:
    researcher = agent(says("Trio has nurseries"))
    coder = agent(says("written"), says("again"))
    async with Team({"researcher": researcher, "coder": coder}, name="lab") as team:
        research = await team.delegate("researcher", "What is new?")
        code = await team.delegate("coder", research.text)
        await team.delegate("coder", "more")

        assert (research.text, code.text) == ("Trio has nurseries", "written")
        assert code.agent == "coder"
        assert code.session_id == "lab/coder"
        assert len(await team["coder"].messages()) == 4
        assert team.names == ("researcher", "coder")
        assert team.usage().requests == 3


async def test_different_members_work_at_once_and_one_in_turn(autojump_clock: MockClock) -> None:
    async with Team({name: agent(calls("nap"), says(name), loop=True) for name in "abc"}) as team:
        async with trio.open_nursery() as nursery:
            for name in "abca":
                nursery.start_soon(team.delegate, name, "go")

        assert trio.current_time() == 120


async def test_a_broadcast_has_an_answer_of_everybody(autojump_clock: MockClock) -> None:
    members = {
        "fine": agent(says("ok")),
        "refused": agent(fails(alloy.BadRequest("no"))),
        "broken": agent(buggy),
    }
    async with Team(members) as team:
        results = await team.broadcast("What do you know?")
        some = await team.broadcast("again?", to=[])

    assert list(results) == ["fine", "refused", "broken"]
    assert results["fine"].text == "ok"
    assert isinstance(results["refused"].error, alloy.BadRequest)
    assert isinstance(results["broken"].error, otp.ServerExited)
    assert some == {}


async def test_a_hand_off_goes_from_text_to_text() -> None:
    models = {name: ScriptedModel(says(text)) for name, text in (("a", "from a"), ("b", ""), ("c", "from c"))}
    async with Team({name: Agent(model=model) for name, model in models.items()}) as team:
        result = await team.handoff(["a", "b", "c"], "start")

    prompts = [model.requests[0].messages[-1].text for model in models.values()]  # type: ignore[union-attr]
    assert prompts == ["start", "from a", "(no text)"]
    assert result.text == "from c"


async def test_a_hand_off_ends_with_the_first_that_does_not_complete() -> None:
    stuck = agent(calls("nap", seconds=0), loop=True, limits=alloy.Limits(max_turns=1))
    async with Team({"a": stuck, "b": agent()}) as team:
        result = await team.handoff(["a", "b"], "start")

        assert result.status is Status.MAX_TURNS
        with pytest.raises(ValueError, match="handoff needs the name"):
            await team.handoff([], "x")


async def test_a_name_that_nobody_has_is_told_with_those_that_there_are() -> None:
    async with Team({"a": agent()}) as team:
        for act in (
            lambda: team.delegate("b", "x"),
            lambda: team.broadcast("x", to=["b"]),
            lambda: team.handoff(["a", "b"], "x"),
            lambda: team.remove("b"),
            lambda: team.restart("b"),
        ):
            with pytest.raises(alloy.UnknownMember, match="no member 'b'; it has 'a'") as caught:
                await act()
        assert isinstance(caught.value, KeyError)
        assert caught.value.known == ("a",)


async def test_members_come_and_go() -> None:
    async with Team({}) as team:
        assert await team.broadcast("anybody?") == {}
        await team.add("a", agent(says("here")))
        with pytest.raises(ValueError, match="has a member 'a' already"):
            await team.add("a", agent())
        assert (await team.delegate("a", "?")).text == "here"
        await team.remove("a")
        assert team.names == ()
        await team.add("a", agent(says("anew")))
        assert (await team.delegate("a", "?")).text == "anew"


async def test_a_member_that_crashes_is_restarted_and_the_others_never_notice(autojump_clock: MockClock) -> None:
    members = {"shaky": agent(buggy, says("back")), "steady": agent(calls("nap"), says("still here"))}
    async with Team(members) as team:
        request = await team["steady"].send_message("go")
        with pytest.raises(otp.ServerExited):
            await team.delegate("shaky", "1")

        assert (await team.delegate("shaky", "2")).text == "back"
        assert (await team["steady"].result(request)).text == "still here"
        assert (await team["steady"].health()).restarts == 0


async def test_a_member_that_crashes_too_often_is_down_until_it_is_restarted(autojump_clock: MockClock) -> None:
    steps = [*[buggy] * 6, says("back")]
    async with Team({"shaky": agent(*steps), "steady": agent(says("fine"), loop=True)}) as team:
        for _ in range(6):
            with pytest.raises(otp.ServerExited):
                await team.delegate("shaky", "x")
        with pytest.raises(otp.ServerExited):
            await team.delegate("shaky", "x")
        assert (await team.broadcast("?"))["shaky"].status is Status.ERROR
        assert (await team.delegate("steady", "?")).text == "fine"

        await team.restart("shaky")

        assert (await team.delegate("shaky", "?")).text == "back"


async def test_with_a_common_supervisor_the_team_goes_down_together(autojump_clock: MockClock) -> None:
    async def work() -> None:
        async with Team({"a": agent(buggy, loop=True), "b": agent()}, strategy="one_for_all") as team:
            with suppress(otp.ServerExited):  # from the last, when nobody comes back any more
                for _ in range(8):
                    await team["a"].send_message("x")
            await trio.sleep_forever()

    with pytest.raises(otp.SystemDown):
        await work()


async def test_a_member_can_ask_another_by_name(autojump_clock: MockClock) -> None:
    lead = agent(calls("coder", prompt="write it"), says("done"), tools=[alloy.as_tool("coder")])
    async with Team({"lead": lead, "coder": agent(says("written"))}) as team, team.subscribe() as subscription:
        result = await team.delegate("lead", "go")
        seen = [await subscription.__anext__() for _ in range(10)]

        assert result.tool_calls[0].error is None
        assert {event.agent_path for event in seen} == {("lead",), ("lead", "coder")}
        assert [event.seq for event in seen] == list(range(1, 11))
        assert team.usage().requests == 3


async def test_members_that_ask_each_other_in_a_ring_are_told() -> None:
    ring = {
        "a": agent(calls("b", prompt="?"), says("a"), tools=[alloy.as_tool("b")]),
        "b": agent(calls("a", prompt="?"), says("b"), tools=[alloy.as_tool("a")]),
    }
    async with Team(ring) as team:
        assert (await team.delegate("a", "go")).text == "a"
        told = (await team["b"].messages())[2]

        assert isinstance(told, alloy.ToolMessage)
        assert "Deadlock" in told.results[0].text


async def test_tools_see_the_blackboard() -> None:
    async def note(*, context: alloy.ToolContext) -> str:
        """Note something."""
        context.shared["seen"] = context.agent_path
        return "noted"

    async with Team({"a": agent(calls("note"), says("ok"), tools=[note])}) as team:
        team.shared["key"] = "value"
        await team.delegate("a", "go")

        assert team.shared == {"key": "value", "seen": ("a",)}


async def test_a_deadline_of_the_caller_holds_for_the_members(autojump_clock: MockClock) -> None:
    lead = agent(calls("slow", prompt="?"), says("done"), tools=[alloy.as_tool("slow")])
    async with Team({"lead": lead, "slow": agent(hangs(), says("again"))}) as team:
        with trio.move_on_after(5) as scope:
            await team.delegate("lead", "go")
        await trio.testing.wait_all_tasks_blocked()

        assert scope.cancelled_caught
        assert (await team["slow"].health()).status == "idle"
        assert (await team["lead"].health()).status == "idle"


async def test_a_team_inside_somebodys_nursery_fails_as_one_readable_error(autojump_clock: MockClock) -> None:
    with pytest.raises(otp.StartFailed, match="ANTHROPIC_API_KEY"):
        async with Team({"a": Agent(model="anthropic:claude-x")}):
            pass


def test_what_does_not_fit_is_refused_when_the_team_is_made() -> None:
    with pytest.raises(TypeError, match="unknown option 'max_pendin'; did you mean 'max_pending'"):
        Team({}, max_pendin=1)
    with pytest.raises(TypeError, match="the member 'a' must be an Agent"):
        Team({"a": 5})  # type: ignore[dict-item]
    with pytest.raises(ValueError, match="one_for_none"):
        Team({}, strategy="one_for_none")  # type: ignore[arg-type]
