"""An agent that lives: one run at a time, everything else at once."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Status, otp
from alloy.testing import ScriptedModel, calls, cuts, fails, hangs, says
from sleepers import agent, nap

MockClock = trio.testing.MockClock


def texts(messages: Any) -> list[str]:
    return [m.text for m in messages if isinstance(m, alloy.UserMessage | alloy.AssistantMessage)]


@pytest.mark.works("Agents that live: supervised servers that answer while they work")
async def test_a_conversation_goes_on_from_chat_to_chat() -> None:
    async with alloy.open_agent(agent(says("one"), says("two"))) as ref:
        first = await ref.chat("1?")
        second = await ref.chat("2?")

        assert (first.text, second.text) == ("one", "two")
        assert texts(await ref.messages()) == ["1?", "one", "2?", "two"]
        assert second.messages == await ref.messages()
        assert [m.text for m in second.new_messages] == ["2?", "two"]  # type: ignore[union-attr]
        assert (await ref.usage()).requests == 2


async def test_everything_is_answered_at_once_while_a_run_is_on(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap", id="c1"), says("done"))) as ref:
        request = await ref.send_message("go")
        await trio.sleep(10)

        health = await ref.health()
        messages = await ref.messages()
        steered = await ref.steer("hurry")
        session = await ref.export_session()

        assert trio.current_time() == 10
        assert (health.status, health.request_id, health.turn, health.running_tools) == (
            "running",
            request,
            1,
            ("nap",),
        )
        assert [type(m).__name__ for m in messages] == ["UserMessage", "AssistantMessage", "ToolMessage"]
        assert steered == request
        assert session.messages[:2] == messages[:2]
        assert (await ref.result(request)).text == "done"
        assert trio.current_time() == 60


async def test_steering_stands_after_the_results_and_before_the_next_answer(autojump_clock: MockClock) -> None:
    model = ScriptedModel([calls("nap"), calls("nap")], says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[nap])) as ref:
        request = await ref.send_message("go")
        await trio.sleep(70)
        await ref.steer("first")
        await ref.steer("second")
        await ref.result(request)

    kinds = [type(m).__name__ for m in model.requests[1].messages]
    assert kinds == ["UserMessage", "AssistantMessage", "ToolMessage", "UserMessage", "UserMessage"]
    assert [m.source for m in model.requests[1].messages[-2:]] == ["steer", "steer"]  # type: ignore[union-attr]


async def test_follow_ups_come_one_by_one_when_the_run_would_be_done(autojump_clock: MockClock) -> None:
    model = ScriptedModel(calls("nap"), says("a"), says("b"), says("c"))
    async with alloy.open_agent(Agent(model=model, tools=[nap])) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        assert await ref.follow_up("then this") == request
        assert await ref.follow_up("and that") == request
        result = await ref.result(request)

    assert texts(result.messages) == ["go", "", "a", "then this", "b", "and that", "c"]
    assert result.text == "c"


async def test_what_is_said_to_an_idle_agent_is_a_request() -> None:
    async with alloy.open_agent(agent(says("a"), says("b"))) as ref:
        first = await ref.steer("one")
        assert (await ref.result(first)).text == "a"
        second = await ref.follow_up("two")

        assert first != second
        assert (await ref.result(second)).text == "b"


async def test_what_was_said_to_a_run_that_failed_becomes_a_request(autojump_clock: MockClock) -> None:
    model = ScriptedModel(calls("nap"), fails(alloy.BadRequest("no")), says("heard"))
    async with alloy.open_agent(Agent(model=model, tools=[nap], limits=alloy.Limits())) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        await ref.follow_up("and this")
        failed = await ref.result(request)
        await trio.testing.wait_all_tasks_blocked()

        assert failed.status is Status.ERROR
        assert texts(await ref.messages())[-2:] == ["and this", "heard"]


async def test_requests_are_served_one_after_the_other(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap", seconds=5), says("x"), loop=True)) as ref:
        ids = [await ref.send_message(f"{n}") for n in range(3)]
        assert (await ref.health()).queued == 2
        for request in ids:
            await ref.result(request)

        assert trio.current_time() == 15


async def test_the_same_request_id_is_the_same_request() -> None:
    model = ScriptedModel(says("a"), says("b"))
    async with alloy.open_agent(Agent(model=model)) as ref:
        assert await ref.send_message("x", request_id="r1") == "r1"
        assert await ref.send_message("x", request_id="r1") == "r1"
        result = await ref.result("r1")
        assert await ref.send_message("x", request_id="r1") == "r1"

        assert result.request_id == "r1"
        assert await ref.result("r1") is result
        assert len(model.requests) == 1


async def test_more_than_may_wait_is_refused(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap"), says("x"), loop=True), max_pending=1, drain=0) as ref:
        await ref.send_message("1")
        await trio.sleep(1)
        await ref.send_message("2")
        with pytest.raises(alloy.QueueFull) as caught:
            await ref.send_message("3")
        with pytest.raises(alloy.QueueFull):
            await ref.chat("3")

    assert caught.value.limit == 1


async def test_with_no_room_at_all_a_busy_agent_says_so(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap"), says("x")), max_pending=0, drain=0) as ref:
        request = await ref.send_message("1")
        await trio.sleep(1)
        with pytest.raises(alloy.Busy) as caught:
            await ref.send_message("2")

    assert caught.value.request_id == request


async def test_cancel_stops_the_run_and_hands_back_what_it_had_not_heard(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap"), says("x"))) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        await ref.steer("left")
        await ref.follow_up("then right")

        unsent = await ref.cancel()
        result = await ref.result(request)

        assert [m.text for m in unsent] == ["left", "then right"]  # type: ignore[union-attr]
        assert result.status is Status.CANCELLED
        assert (await ref.chat("still there?")).text == "x"


async def test_cancel_takes_a_waiting_request_out_of_the_queue(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap", seconds=5), says("x"), says("y"))) as ref:
        first = await ref.send_message("1")
        second = await ref.send_message("2")

        unsent = await ref.cancel(second)

        assert [m.text for m in unsent] == ["2"]  # type: ignore[union-attr]
        assert (await ref.result(second)).status is Status.CANCELLED
        assert (await ref.result(first)).text == "x"
        assert (await ref.health()).queued == 0


async def test_cancelling_nothing_is_told() -> None:
    async with alloy.open_agent(agent(says("x"))) as ref:
        with pytest.raises(alloy.UnknownRequest):
            await ref.cancel()
        with pytest.raises(alloy.UnknownRequest):
            await ref.cancel("nope")
        request = await ref.send_message("1")
        await ref.result(request)
        with pytest.raises(alloy.UnknownRequest):
            await ref.cancel(request)
        with pytest.raises(alloy.UnknownRequest):
            await ref.result("nope")


async def test_giving_up_a_chat_takes_the_request_back(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap"), says("x"))) as ref:
        with pytest.raises(otp.CallTimeout):
            await ref.chat("go", timeout=5)
        with trio.move_on_after(5) as scope:
            await ref.chat("go on")

        assert not scope.cancelled_caught
        assert (await ref.health()).status == "idle"


async def test_a_tool_call_can_be_stopped_alone(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap", id="c1"), says("a pity"))) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)

        assert await ref.cancel_tool("c9") is False
        assert await ref.cancel_tool("c1") is True
        result = await ref.result(request)

        assert result.text == "a pity"
        assert result.tool_calls[0].outcome == "cancelled"
        assert trio.current_time() == 1


async def test_a_model_can_be_changed_between_runs_and_the_history_stays(autojump_clock: MockClock) -> None:
    other = ScriptedModel(says("other"), name="other")
    async with alloy.open_agent(agent(calls("nap"), says("x"))) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        with pytest.raises(alloy.Busy):
            await ref.set_model(other)
        with pytest.raises(alloy.Busy):
            await ref.reset()
        await ref.result(request)
        await ref.set_model(other)
        result = await ref.chat("again")

        assert (result.text, result.model) == ("other", "scripted:other")
        assert len(other.requests[0].messages) == 5
        await ref.reset()
        assert await ref.messages() == ()
        assert (await ref.usage()).requests == 3


async def test_a_stream_of_an_agent_shows_its_run_and_owns_it(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(says("a b", chunks=["a ", "b"]), calls("nap"), says("x"))) as ref:
        async with ref.stream_chat("go") as stream:
            pieces = [piece async for piece in stream.text()]
        async with ref.stream_chat("again") as stream:
            async for event in stream:
                if isinstance(event, alloy.ToolStarted):
                    break
        await trio.testing.wait_all_tasks_blocked()

        assert pieces == ["a ", "b"]
        assert (await ref.health()).status == "idle"


async def test_an_error_of_the_run_is_raised_by_chat_and_stands_in_result() -> None:
    async with alloy.open_agent(agent(says("ok"), fails(alloy.BadRequest("no")), loop=True)) as ref:
        await ref.chat("1")
        with pytest.raises(alloy.BadRequest) as caught:
            await ref.chat("2")
        assert caught.value.result is not None
        await ref.chat("3")
        request = await ref.send_message("4")
        assert isinstance((await ref.result(request)).error, alloy.BadRequest)
        assert (await ref.health()).last_error == "BadRequest: no"


async def test_an_unknown_option_is_refused_in_the_caller() -> None:
    async with alloy.open_agent(agent(says("x"))) as ref:
        with pytest.raises(TypeError, match="unknown option 'max_turn'; did you mean 'max_turns'"):
            await ref.chat("x", max_turn=1)
        with pytest.raises(TypeError, match="on_event must be callable"):
            await ref.chat("x", on_event=5)
        with pytest.raises(ValueError, match="until_tool 'x' is no tool"):
            await ref.chat("x", until_tool="x")
        with pytest.raises(TypeError, match="request_id must be a str"):
            await ref.send_message("x", request_id=5)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="the prompt is empty"):
            await ref.chat("")
        assert (await ref.chat("x")).text == "x"
    with pytest.raises(TypeError, match="unknown option 'max_pendin'; did you mean 'max_pending'"):
        async with alloy.open_agent(agent(), max_pendin=1):
            pass


async def test_options_of_one_request_are_of_that_one_alone() -> None:
    seen: list[alloy.Event] = []
    model = ScriptedModel(calls("nap", seconds=0), says("x"), loop=True)
    async with alloy.open_agent(Agent(model=model, tools=[nap])) as ref:
        first = await ref.chat("1", max_turns=1, on_event=seen.append)
        count = len(seen)
        await ref.chat("2")

    assert first.status is Status.MAX_TURNS
    assert len(seen) == count
    assert isinstance(seen[-1], alloy.RunFinished)


@pytest.mark.works("Watch an agent: snapshot and tail, and a slow watcher never slows it")
async def test_a_subscription_brings_what_was_and_what_comes() -> None:
    async with alloy.open_agent(agent(says("a"), says("b"))) as ref:
        await ref.chat("1")
        async with ref.subscribe() as subscription:
            await ref.chat("2")
            seen = [await subscription.__anext__() for _ in range(12)]

        assert [event.seq for event in seen] == list(range(1, 13))
        assert texts(subscription.snapshot.messages) == ["1", "a"]
        async with ref.subscribe(since=10) as late:
            assert (await late.__anext__()).seq == 11


async def test_a_slow_watcher_misses_the_oldest_and_is_told(autojump_clock: MockClock) -> None:
    chunks = [f"{n} " for n in range(500)]
    async with alloy.open_agent(agent(says("".join(chunks), chunks=chunks))) as ref:
        async with ref.subscribe(buffer=10) as subscription:
            await ref.chat("go")
            first = await subscription.__anext__()
            second = await subscription.__anext__()

        assert isinstance(first, alloy.Lagged)
        assert second.seq == first.missed + 1


async def test_results_and_events_are_published() -> None:
    pubsub = otp.PubSub()
    async with (
        alloy.open_agent(agent(says("a")), pubsub=pubsub, session_id="s1") as ref,
        pubsub.listen("agent:s1:responses") as responses,
        pubsub.listen("agent:s1:events") as events,
    ):
        result = await ref.chat("1")

        assert await responses.__anext__() == result
        assert isinstance(await events.__anext__(), alloy.RunStarted)


async def test_texts_of_a_topic_are_prompts_and_wait_while_it_is_busy(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    model = ScriptedModel(calls("nap", seconds=5), says("a"), says("b"))
    async with alloy.open_agent(Agent(model=model, tools=[nap]), pubsub=pubsub, subscribe=["jobs"]) as ref:
        pubsub.broadcast("jobs", "first")
        pubsub.broadcast("jobs", alloy.UserMessage("second"))
        pubsub.broadcast("jobs", 42)
        await trio.sleep(10)

        assert texts(await ref.messages()) == ["first", "", "a", "second", "b"]


async def test_hooks_and_on_shutdown_stand_around_the_life_of_the_server() -> None:
    log: list[str] = []

    class Around(alloy.Middleware):
        async def session_start(self, session: alloy.Session) -> None:
            log.append(f"start {len(session.messages)}")

        async def session_end(self, session: alloy.Session) -> None:
            log.append(f"end {len(session.messages)}")

    async def shutdown(session: alloy.Session) -> None:
        log.append(f"shutdown {session.id}")
        raise RuntimeError("logged, and no more")

    async with alloy.open_agent(agent(says("a"), middleware=[Around()]), session_id="s1", on_shutdown=shutdown) as ref:
        await ref.chat("1")

    assert log == ["start 0", "end 2", "shutdown s1"]


async def test_a_halt_at_the_start_of_a_session_keeps_it_from_starting() -> None:
    class Closed(alloy.Middleware):
        async def session_start(self, session: alloy.Session) -> alloy.Halt:
            return alloy.Halt("closed today")

    with pytest.raises(otp.StartFailed, match="closed today"):
        async with alloy.open_agent(agent(middleware=[Closed()])):
            pass
    result = await alloy.run("x", agent(middleware=[Closed()]))

    assert (result.status, result.reason) == (Status.HALTED, "closed today")


async def test_an_agent_without_a_key_does_not_start() -> None:
    with pytest.raises(otp.StartFailed, match="ANTHROPIC_API_KEY") as caught:
        async with alloy.open_agent(Agent(model="anthropic:claude-x")):
            pass

    cause = caught.value.__cause__
    assert cause is not None
    assert isinstance(cause.__cause__, alloy.MissingKey)


async def test_stopping_lets_the_run_end_and_takes_nothing_more(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("nap", seconds=20), says("x"), loop=True)) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        await ref.stop()

        assert (await ref.result(request)).text == "x"
        assert trio.current_time() == 20
        with pytest.raises(otp.ServerExited):
            await ref.chat("more")
        await ref.stop()


async def test_a_run_that_does_not_end_in_time_is_cut(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(hangs())) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)
        await ref.stop(drain=3)

        assert (await ref.result(request)).status is Status.CANCELLED
        assert trio.current_time() == 4


async def test_leaving_the_block_drains_and_then_cuts(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(hangs()), drain=7) as ref:
        await ref.send_message("go")
        await trio.sleep(1)

    assert trio.current_time() == 8


async def test_what_became_of_a_run_when_its_server_was_stopped_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "alloy.agents")
    patient = agent(calls("nap", seconds=20), says("x"), name="patient")
    async with alloy.open_agent(patient, session_id="s1") as ref:
        await ref.send_message("go", request_id="r1")
        await trio.sleep(5)
    async with alloy.open_agent(agent(hangs(), name="stuck"), session_id="s2", drain=7) as ref:
        await ref.send_message("go", request_id="r2")
        await trio.sleep(1)
    async with alloy.open_agent(agent(hangs(), name="told"), session_id="s3") as ref:
        await ref.send_message("go", request_id="r3")
        await ref.stop(drain=3)
    async with alloy.open_agent(agent(says("x"), name="idle")) as ref:
        await ref.chat("go")

    assert [record.getMessage() for record in caplog.records if record.name == "alloy.agents"] == [
        "agent 'patient' was stopped: session s1, request r1: finished after 15.0 s",
        "agent 'stuck' was stopped: session s2, request r2: cancelled after 7.0 s",
        "agent 'told' was stopped: session s3, request r3: cancelled after 3.0 s",
    ]


async def test_killing_a_supervisor_above_cuts_the_run_at_once(autojump_clock: MockClock) -> None:
    spec = alloy.agent_child(agent(hangs()))
    small = otp.ChildSpec(start=lambda: otp.Supervisor(children=[spec]), id="small", restart="temporary")
    async with otp.open_system(otp.Supervisor(children=[small])) as root:
        await alloy.agents.agent_ref(spec).send_message("go")
        (child,) = await otp.which_children(root)
        assert isinstance(child.ref, otp.Ref)
        otp.exit(child.ref, otp.Killed())
        await otp.wait_down(child.ref)

        assert trio.current_time() == 0


async def test_a_broken_answer_costs_its_request_and_no_more(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(says("ok"), cuts("ha"), says("fine"))) as ref:
        await ref.chat("1")
        with pytest.raises(alloy.StreamTruncated):
            await ref.chat("2")

        assert (await ref.chat("3")).text == "fine"
        assert (await ref.health()).restarts == 0
