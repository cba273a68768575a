"""A crash costs one request."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, otp
from alloy.testing import ScriptedModel, calls, fails, hangs, says
from sleepers import Bug, agent, buggy, nap

MockClock = trio.testing.MockClock


@pytest.mark.works("A crash costs one request: history, queue and ids survive, and the supervisor restarts")
async def test_after_a_crash_the_next_incarnation_serves_what_waits(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(says("a"), buggy, says("b"), says("c"))) as ref:
        await ref.chat("1")
        lost = await ref.send_message("2")
        waiting = [await ref.send_message("3"), await ref.send_message("4")]

        with pytest.raises(otp.ServerExited) as caught:
            await ref.result(lost)
        results = [await ref.result(request) for request in waiting]

        assert isinstance(caught.value.reason, otp.Crash)
        assert isinstance(caught.value.__cause__, Bug)
        assert [result.text for result in results] == ["b", "c"]
        assert [result.request_id for result in results] == waiting
        assert (await ref.health()).restarts == 1
        assert [m.text for m in await ref.messages()] == ["1", "a", "2", "3", "b", "4", "c"]  # type: ignore[union-attr]
        assert 0.4 < trio.current_time() < 0.6


async def test_a_chat_in_flight_is_told_of_the_crash(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(buggy, says("b"))) as ref:
        with pytest.raises(otp.ServerExited):
            await ref.chat("1")

        assert (await ref.chat("2")).text == "b"


async def test_a_killed_server_comes_back_with_the_history_that_its_run_had_reached(
    autojump_clock: MockClock,
) -> None:
    model = ScriptedModel(calls("nap", seconds=0), calls("nap"), says("b"))
    async with alloy.open_agent(Agent(model=model, tools=[nap])) as ref:
        lost = await ref.send_message("1")
        await trio.sleep(1)
        server = ref.whereis()
        assert server is not None
        otp.exit(server, otp.Killed())
        with pytest.raises(otp.ServerExited) as caught:
            await ref.result(lost)
        result = await ref.chat("2")

        assert caught.value.reason == otp.Killed()
        assert result.text == "b"
        kinds = [type(m).__name__ for m in model.requests[2].messages]
        assert kinds == [
            "UserMessage",
            "AssistantMessage",
            "ToolMessage",
            "AssistantMessage",
            "ToolMessage",
            "UserMessage",
        ]
        cut = model.requests[2].messages[4]
        assert isinstance(cut, alloy.ToolMessage)
        assert cut.results[0].outcome == "cancelled"


async def test_what_was_said_to_a_run_that_crashed_is_not_lost(autojump_clock: MockClock) -> None:
    model = ScriptedModel(calls("nap", seconds=5), buggy, says("heard"), says("too"))
    async with alloy.open_agent(Agent(model=model, tools=[nap])) as ref:
        lost = await ref.send_message("1")
        await trio.sleep(1)
        await ref.follow_up("after that")
        with pytest.raises(otp.ServerExited):
            await ref.result(lost)
        await trio.sleep(5)

        assert [m.text for m in await ref.messages() if isinstance(m, alloy.UserMessage)] == ["1", "after that"]


async def test_too_many_crashes_end_it_and_the_block(autojump_clock: MockClock) -> None:
    async def crash_for_ever() -> None:
        async with alloy.open_agent(agent(buggy, loop=True)) as ref:
            with suppress(otp.ServerExited):  # from the last, when nobody comes back any more
                for _ in range(8):
                    await ref.send_message("x")
            await trio.sleep_forever()

    with pytest.raises(otp.SystemDown) as caught:
        await crash_for_ever()

    assert isinstance(caught.value.__cause__, Bug)


async def test_whoever_waits_for_a_server_that_never_comes_back_is_told(autojump_clock: MockClock) -> None:
    spec = alloy.agent_child(agent(buggy, loop=True), restart="temporary")
    ref = alloy.agents.agent_ref(spec)
    root = otp.Supervisor(children=[spec])
    async with otp.open_system(root):
        request = await ref.send_message("1")
        with pytest.raises(otp.ServerExited):
            await ref.result(request)
        with pytest.raises(otp.ServerExited):
            await ref.chat("3")


async def test_a_wrong_key_at_the_start_ends_the_server_for_good(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(fails(alloy.AuthError("invalid x-api-key", status=401)), loop=True)) as ref:
        with pytest.raises(alloy.AuthError):
            await ref.chat("1")
        await trio.sleep(100)

        assert ref.whereis() is None
        with pytest.raises(otp.ServerExited):
            await ref.chat("2")


async def test_a_wrong_key_later_fails_the_request_and_no_more(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(says("a"), fails(alloy.AuthError("revoked")), says("b"))) as ref:
        await ref.chat("1")
        with pytest.raises(alloy.AuthError):
            await ref.chat("2")

        assert (await ref.chat("3")).text == "b"
        assert (await ref.health()).restarts == 0


@pytest.mark.parametrize("how", ["tool", "fatal", "hook", "on_event", "prompt"])
async def test_the_users_own_errors_cost_the_request_and_no_server(how: str, autojump_clock: MockClock) -> None:
    async def bad() -> str:
        """Fail."""
        raise alloy.Fatal("over") if how == "fatal" else LookupError("no")

    class Hook(alloy.Middleware):
        async def before_completion(self, run: alloy.RunInfo, request: alloy.Request) -> None:
            if how == "hook":
                raise LookupError("no")

    def prompt(run: alloy.RunInfo) -> str:
        if how == "prompt":
            raise LookupError("no")
        return ""

    def watch(event: alloy.Event) -> None:
        if how == "on_event":
            raise LookupError("no")

    spec: Agent = Agent(
        model=ScriptedModel(calls("bad"), says("a"), loop=True),
        tools=[bad],
        middleware=[Hook()],
        system_prompt=prompt,
    )
    async with alloy.open_agent(spec) as ref:
        request = await ref.send_message("1", on_event=watch)
        result = await ref.result(request)

        assert result.status == ("completed" if how == "tool" else "error")
        assert (await ref.health()).restarts == 0


async def test_a_crash_under_a_supervisor_of_ones_own_leaves_the_siblings_alone(autojump_clock: MockClock) -> None:
    shaky = alloy.agent_child(agent(buggy, says("back")), id="shaky")
    steady = alloy.agent_child(agent(calls("nap"), says("still here")), id="steady")
    refs = [alloy.agents.agent_ref(spec) for spec in (shaky, steady)]
    async with otp.open_system(otp.Supervisor(children=[shaky, steady])):
        request = await refs[1].send_message("go")
        with pytest.raises(otp.ServerExited):
            await refs[0].chat("1")

        assert (await refs[0].chat("2")).text == "back"
        assert (await refs[1].result(request)).text == "still here"


async def test_a_cancelled_chat_during_a_hang_leaves_an_idle_agent(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(hangs(), says("b"))) as ref:
        with trio.move_on_after(3):
            await ref.chat("1")

        assert (await ref.chat("2")).text == "b"
