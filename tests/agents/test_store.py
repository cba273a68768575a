"""Agents on a store: what was accepted, said and decided outlives the program."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Approve, ApproveTools, Edit, Outcome, Status, otp
from alloy.loop.records import Accepted, Answered, CallStarted, Decided, RunBegun, Said
from alloy.stores import MemoryStore
from alloy.testing import ScriptedModel, calls, fails, hangs, says
from sessions import RAN, clerk


def texts(messages: Any) -> list[str]:
    return [message.text for message in messages if not isinstance(message, alloy.ToolMessage)]


async def died(store: MemoryStore, session_id: str, kind: type, n: int = 1) -> str:
    """The session as if the process had died right after the nth record of a kind; returns its id."""
    data: Any = await store.export(session_id)
    places = [at for at, e in enumerate(await store.entries(session_id), 1) if isinstance(e.record, kind)]
    return await store.import_({**data, "id": f"{session_id} died", "entries": data["entries"][: places[n - 1]]})


@pytest.mark.works("Agents and teams on a store: requests, steering, approvals and results outlive the program")
async def test_a_conversation_outlives_the_program(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(says("Good morning, Ada.")), store=store, session_id="ada") as ref:
        first = await ref.chat("I am Ada.")

    async with alloy.open_agent(clerk(says("You are Ada.")), store=store, session_id="ada") as ref:
        before = await ref.usage()
        result = await ref.chat("Who am I?")
        messages, usage, session = await ref.messages(), await ref.usage(), await ref.export_session()

    assert before == first.usage
    assert texts(messages) == ["I am Ada.", "Good morning, Ada.", "Who am I?", "You are Ada."]
    assert usage == first.usage + result.usage
    assert session.metadata == {}
    stored = await store.load("ada")
    assert (stored.messages, stored.usage, stored.metadata) == (messages, usage, {"agent": "clerk"})


async def test_results_are_kept_and_an_id_is_the_same_request_for_ever(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(calls("add", a=1, b=2), says("3")), store=store, session_id="s") as ref:
        await ref.send_message("1 + 2?", request_id="mine")
        whole = await ref.result("mine")

    async with alloy.open_agent(clerk(), store=store, session_id="s") as ref:
        assert await ref.send_message("1 + 2?", request_id="mine") == "mine"
        again = await ref.result("mine")

    assert (again.text, again.status, again.request_id, again.usage) == ("3", whole.status, "mine", whole.usage)
    assert again.messages == whole.messages
    assert RAN == ["add 1 2"]


async def test_an_error_is_kept_in_its_result(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(fails(alloy.BadRequest("no"))), store=store, session_id="s") as ref:
        await ref.send_message("x", request_id="mine")
        await ref.result("mine")

    async with alloy.open_agent(clerk(), store=store, session_id="s") as ref:
        again = await ref.result("mine")

    assert again.status is Status.ERROR
    assert isinstance(again.error, alloy.BadRequest)
    assert str(again.error) == "no"


async def test_what_was_accepted_is_served_by_the_next_program(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(hangs()), store=store, session_id="s", drain=0) as ref:
        await ref.send_message("first", request_id="one")
        await ref.send_message("second", request_id="two", max_turns=1)
        await trio.testing.wait_all_tasks_blocked()
        await ref.steer("and quickly")

    async with alloy.open_agent(clerk(says("1"), calls("add", a=1, b=2)), store=store, session_id="s") as ref:
        one, two = await ref.result("one"), await ref.result("two")
        messages = await ref.messages()

    assert (one.text, two.status) == ("1", Status.MAX_TURNS)
    assert texts(messages)[:4] == ["first", "and quickly", "1", "second"]


async def test_a_run_that_was_interrupted_goes_on_at_the_start(store: MemoryStore) -> None:
    agent = clerk([calls("add", a=1, b=2), calls("add", a=3, b=4)], says("done"))
    async with alloy.open_agent(agent, store=store, session_id="s") as ref:
        await ref.send_message("x", request_id="mine")
        await ref.result("mine")
    session = await died(store, "s", CallStarted, 2)
    RAN.clear()

    async with alloy.open_agent(clerk(says("done")), store=store, session_id=session) as ref:
        result = await ref.result("mine")
        health = await ref.health()

    assert (result.status, result.text, RAN) == (Status.COMPLETED, "done", [])
    (batch,) = [message for message in result.messages if isinstance(message, alloy.ToolMessage)]
    assert [one.outcome for one in batch.results] == [Outcome.OK, Outcome.INTERRUPTED]
    assert health.usage == result.usage
    assert (await store.load(session)).usage == result.usage


async def test_steering_and_follow_ups_that_were_accepted_are_said(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(hangs()), store=store, session_id="s", drain=0) as ref:
        await ref.send_message("go", request_id="mine")
        await trio.testing.wait_all_tasks_blocked()
        await ref.follow_up("then this")
        await ref.steer("left, please")
    session = await died(store, "s", Accepted, 3)

    async with alloy.open_agent(clerk(says("left"), says("this")), store=store, session_id=session) as ref:
        result = await ref.result("mine")

    assert texts(result.messages) == ["go", "left, please", "left", "then this", "this"]


async def test_a_request_that_was_taken_back_is_not_served(store: MemoryStore) -> None:
    async with alloy.open_agent(clerk(hangs()), store=store, session_id="s", drain=0) as ref:
        await ref.send_message("first", request_id="one")
        await trio.testing.wait_all_tasks_blocked()
        await ref.steer("left")
        with trio.move_on_after(0):
            await ref.chat("second")
        await ref.send_message("third", request_id="three")
        await ref.cancel("three")
        assert texts(await ref.cancel()) == ["left"]
        await ref.result("one")

    async with alloy.open_agent(clerk(says("hello")), store=store, session_id="s") as ref:
        result = await ref.chat("anybody?")
        assert (await ref.result("three")).status is Status.CANCELLED

    assert texts(result.messages) == ["first", "anybody?", "hello"]


async def test_an_approval_waits_for_the_next_program(store: MemoryStore) -> None:
    def careful(*steps: Any) -> Agent:
        return clerk(*steps, middleware=[ApproveTools(["add"])])

    async with alloy.open_agent(careful(calls("add", a=1, b=2)), store=store, session_id="s", drain=0) as ref:
        await ref.send_message("x", request_id="mine")
        await trio.testing.wait_all_tasks_blocked()
        (pending,) = await ref.pending()

    async with alloy.open_agent(careful(says("11")), store=store, session_id="s") as ref:
        await trio.testing.wait_all_tasks_blocked()
        assert await ref.pending() == (pending,)
        assert (await ref.health()).status == "paused"
        with pytest.raises(ValueError, match="do not fit"):
            await ref.decide(pending.id, Edit({"a": "x"}))
        await ref.decide(pending.id, Edit({"a": 5, "b": 6}))
        result = await ref.result("mine")

    assert RAN == ["add 5 6"]
    assert result.text == "11"
    assert (await store.load("s")).messages == result.messages


async def test_a_decision_is_kept_before_decide_returns(store: MemoryStore) -> None:
    agent = clerk(calls("add", a=1, b=2), says("3"), middleware=[ApproveTools(["add"])])
    async with alloy.open_agent(agent, store=store, session_id="s") as ref:
        await ref.send_message("x", request_id="mine")
        await trio.testing.wait_all_tasks_blocked()
        (pending,) = await ref.pending()
        await ref.decide(pending.id, Approve())
        await ref.result("mine")
    session = await died(store, "s", Decided)
    RAN.clear()

    async with alloy.open_agent(
        clerk(says("3"), middleware=[ApproveTools(["add"])]), store=store, session_id=session
    ) as ref:
        result = await ref.result("mine")

    assert (result.text, RAN) == ("3", ["add 1 2"])


async def test_a_session_of_an_agent_can_be_resumed_without_one(store: MemoryStore) -> None:
    agent = clerk(calls("add", a=1, b=2), middleware=[ApproveTools(["add"])])
    async with alloy.open_agent(agent, store=store, session_id="s", drain=0) as ref:
        await ref.send_message("x", request_id="mine")
        await ref.send_message("y", request_id="next")
        await trio.testing.wait_all_tasks_blocked()
        (pending,) = await ref.pending()

    result = await alloy.resume(store, "s", clerk(says("3")), decisions={pending.id: Approve()})
    then = await alloy.resume(store, "s", clerk(says("next")))
    async with alloy.open_agent(clerk(), store=store, session_id="s") as ref:
        again = await ref.result("mine")

    assert (result.text, then.text, RAN, again.text) == ("3", "next", ["add 1 2"], "3")


async def test_a_crash_in_the_program_costs_the_request_and_the_store_says_so(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    agent = clerk([calls("add", a=1, b=2)], hangs(), says("heard"), says("second"), says("last"))
    async with alloy.open_agent(agent, store=store, session_id="s") as ref:
        await ref.send_message("first", request_id="one")
        await ref.send_message("second", request_id="two")
        await trio.testing.wait_all_tasks_blocked()
        await ref.steer("unheard")
        here = ref.whereis()
        assert here is not None
        otp.exit(here, otp.Killed())
        with pytest.raises(otp.ServerExited):
            await ref.result("one")
        two = await ref.result("two")
        await ref.chat("last", max_turns=1)
        messages, usage = await ref.messages(), await ref.usage()

    assert two.text == "second"
    assert texts(messages) == ["first", "", "unheard", "heard", "second", "second", "last", "last"]
    assert RAN == ["add 1 2"]
    stored = await store.load("s")
    assert stored.messages == messages
    assert (stored.usage, stored.usage.requests) == (usage, 4)
    async with alloy.open_agent(clerk(), store=store, session_id="s") as ref:
        assert (await ref.result("one")).status is Status.ERROR
        assert await ref.usage() == usage


async def test_a_store_that_fails_crashes_the_server(
    autojump_clock: trio.testing.MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(MemoryStore):
        fails = 0

        async def commit(self, lease: Any, entries: Any) -> None:
            if self.fails:
                self.fails -= 1
                raise alloy.StoreError("the disk is full")
            await super().commit(lease, entries)

    async with Failing() as store, alloy.open_agent(clerk(says("1"), says("2")), store=store, session_id="s") as ref:
        store.fails = 1
        with pytest.raises(otp.ServerExited) as caught:
            await ref.chat("x")
        assert isinstance(caught.value.reason, otp.Crash)
        assert isinstance(caught.value.reason.exc, alloy.StoreError)
        result = await ref.chat("y")

    assert texts(result.messages) == ["y", "1"]


async def test_a_session_has_one_agent_at_a_time(store: MemoryStore, autojump_clock: trio.testing.MockClock) -> None:
    async with alloy.open_agent(clerk(), store=store, session_id="s"):
        with pytest.raises(otp.StartFailed) as caught:
            async with alloy.open_agent(clerk(), store=store, session_id="s"):
                pass
        with pytest.raises(alloy.Fenced):
            await alloy.run("x", clerk(), store=store, session_id="s")

    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, alloy.Fenced):
        cause = cause.__cause__
    assert isinstance(cause, alloy.Fenced)


async def test_a_model_that_was_set_and_a_reset_are_kept(store: MemoryStore, caplog: pytest.LogCaptureFixture) -> None:
    async with alloy.open_agent(clerk(says("hello")), store=store, session_id="s") as ref:
        await ref.chat("forget this")
        await ref.set_model("scripted:echo")
        await ref.reset()

    async with alloy.open_agent(clerk(), store=store, session_id="s") as ref:
        assert (await ref.health()).model == "scripted:echo"
        assert (await ref.chat("back")).text == "back"
        assert texts(await ref.messages()) == ["back", "back"]
        await ref.set_model(ScriptedModel(name="gone"))
    with caplog.at_level(logging.WARNING, "alloy.agents"):
        async with alloy.open_agent(clerk(says("own")), store=store, session_id="s") as ref:
            assert (await ref.chat("who?")).text == "own"

    assert "agent 'clerk' was set to scripted:gone, which cannot be asked here" in caplog.text


async def test_members_of_a_team_find_their_sessions_again(store: MemoryStore) -> None:
    async with alloy.Team({"a": clerk(says("one")), "b": clerk(says("two"))}, name="desk", store=store) as team:
        await team.broadcast("x")

    assert await store.sessions() == ("desk/a", "desk/b")
    async with alloy.Team({"a": clerk(says("again"))}, name="desk", store=store) as team:
        result = await team.delegate("a", "y")
        await team.restart("a")
        assert len(await team["a"].messages()) == 4
    assert texts(result.messages) == ["x", "one", "y", "again"]


async def test_members_that_work_for_each_other_both_go_on(store: MemoryStore) -> None:
    def team(boss: list[Any], helper: list[Any], **options: Any) -> alloy.Team:
        members = {"boss": clerk(*boss, tools=[alloy.as_tool("helper")]), "helper": clerk(*helper)}
        return alloy.Team(members, name="desk", store=store, **options)

    async with team([calls("helper", prompt="add")], [[calls("add", a=1, b=2)], hangs()], drain=0) as first:
        await first["boss"].send_message("x", request_id="job")
        await trio.testing.wait_all_tasks_blocked()

    async with team([says("then without")], [says("3")]) as second:
        result = await second["boss"].result("job")
        await trio.testing.wait_all_tasks_blocked()
        helped = await second["helper"].messages()

    (batch,) = [message for message in result.messages if isinstance(message, alloy.ToolMessage)]
    assert result.text == "then without"
    assert batch.results[0].outcome in (Outcome.CANCELLED, Outcome.ERROR)  # the helper may have gone first
    assert texts(helped) == ["add", "", "3"]
    assert RAN == ["add 1 2"]


def test_a_team_with_a_store_needs_a_name() -> None:
    with pytest.raises(ValueError, match="a team with a store needs a name"):
        alloy.Team({}, store=MemoryStore())


async def test_what_compaction_has_shortened_stays_short(store: MemoryStore) -> None:
    compaction = alloy.Compaction(window=4000, reserve=0, keep_recent=100, summarise=False)
    long = "word " * 5000
    agent = clerk(says(long), says("ok"), says("fine"), compaction=compaction)
    async with alloy.open_agent(agent, store=store, session_id="s") as ref:
        await ref.chat("tell me a lot")
        await ref.chat("go on")
    model = ScriptedModel(says("short"))

    async with alloy.open_agent(clerk(model=model, compaction=compaction), store=store, session_id="s") as ref:
        await ref.chat("and now?")

    sent = sum(len(m.text) for m in model.requests[0].messages if not isinstance(m, alloy.ToolMessage))
    assert sent < len(long)


async def test_each_thing_is_written_once(store: MemoryStore) -> None:
    agent = clerk([calls("add", a=1, b=2)], says("done"))
    async with alloy.open_agent(agent, store=store, session_id="s") as ref:
        await ref.chat("x")

    kinds = [made.kind for made in await store.entries("s")]
    assert kinds == [
        *("described", "accepted", "run_begun", "said", "asked", "answered", "call_started", "call_settled"),
        *("batch_closed", "asked", "answered", "run_ended"),
    ]
    records = [made.record for made in await store.entries("s")]
    assert len({r.run_id for r in records if isinstance(r, RunBegun | Said | Answered)}) == 1


async def test_what_a_request_has_other_than_its_agent_is_kept_as_far_as_json_holds_it(store: MemoryStore) -> None:
    settings = alloy.Settings(temperature=0.5, stop=("end",), vendor={"seed": 1})
    async with alloy.open_agent(clerk(hangs()), store=store, session_id="s", drain=0) as ref:
        await ref.send_message("x", request_id="one", settings=settings, limits=alloy.Limits(max_turns=3))
        await ref.send_message("y", request_id="two", until_tool="add")
        await trio.testing.wait_all_tasks_blocked()

    model = ScriptedModel(says("1"), calls("add", a=1, b=2))
    async with alloy.open_agent(clerk(model=model), store=store, session_id="s") as ref:
        await ref.result("one")
        two = await ref.result("two")

    assert model.requests[0].settings == settings
    assert two.output == {"a": 1, "b": 2}


async def test_an_idle_agent_on_a_store_stops_at_once(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    async with alloy.open_agent(clerk(says("hello")), store=store, session_id="s") as ref:
        await ref.chat("hello")

    assert trio.current_time() == 0
    async with store.open("s"):  # nobody holds it any more
        pass


async def test_an_agent_whose_session_was_taken_over_writes_nothing_and_goes_down(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    with pytest.raises(otp.SystemDown):  # noqa: PT012  # the block is what raises
        async with alloy.open_agent(clerk(says("hello"), says("again")), store=store, session_id="s") as ref:
            await ref.chat("hello")
            async with store.open("s", steal=True) as journal:
                before = len(journal.entries)
                with pytest.raises(otp.ServerExited) as caught:
                    await ref.chat("hello?")
                assert isinstance(caught.value.reason, otp.Crash)
                assert isinstance(caught.value.reason.exc, alloy.Fenced)
                await trio.sleep(3600)

    assert len(await store.entries("s")) == before


async def test_an_id_is_the_same_request_also_when_its_result_is_not_kept_any_more(store: MemoryStore) -> None:
    agent = clerk(says("1"), says("2"))
    for _ in range(2):
        async with alloy.open_agent(agent, store=store, session_id="s", keep_results=1) as ref:
            for request_id in ("one", "two", "one"):
                await ref.send_message("x", request_id=request_id)
            assert (await ref.result("two")).text == "2"
            with pytest.raises(alloy.UnknownRequest):
                await ref.result("one")


async def test_a_store_that_is_none_or_not_open_is_refused(store: MemoryStore) -> None:
    with pytest.raises(TypeError, match=r"store must be a store, such as alloy.stores.SQLiteStore\(path\), got 'x.db'"):
        alloy.agent_child(clerk(), store="x.db")
    with pytest.raises(otp.StartFailed) as caught:
        async with alloy.open_agent(clerk(), store=MemoryStore(), session_id="s"):
            pass

    cause: BaseException | None = caught.value
    while cause is not None and not isinstance(cause, RuntimeError):
        cause = cause.__cause__
    assert "MemoryStore is not open" in str(cause)
