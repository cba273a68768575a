"""At boot: sessions that were broken off go on under a supervisor, and end when they are done."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Approve, ApproveTools, Status, otp
from alloy.agents import agent_ref
from alloy.loop.records import Answered
from alloy.stores import MemoryStore, Stored
from alloy.testing import calls, hangs, says
from sessions import RAN, clerk


async def interrupted(store: MemoryStore, session_id: str) -> None:
    """A session of `alloy.run` whose process died after the first answer."""
    await alloy.run("x", clerk(calls("add", a=1, b=2), says("3")), store=store, session_id="whole")
    data: Any = await store.export("whole")
    places = [at for at, e in enumerate(await store.entries("whole"), 1) if isinstance(e.record, Answered)]
    await store.import_({**data, "id": session_id, "entries": data["entries"][: places[0]]})
    RAN.clear()


async def left_waiting(store: MemoryStore, session_id: str, agent: Agent) -> None:
    """A session of an agent server that was stopped in the middle of its work."""
    async with alloy.open_agent(agent, store=store, session_id=session_id, drain=0) as ref:
        await ref.send_message("first", request_id="one")
        await ref.send_message("second", request_id="two")
        await trio.testing.wait_all_tasks_blocked()


async def run_all(children: list[otp.ChildSpec]) -> None:
    """Run them under a supervisor until they have ended of themselves."""
    async with otp.open_system(otp.Supervisor(children=children)) as root:
        while (await otp.count_children(root)).active:  # noqa: ASYNC110  # supervisors tell of no such thing
            await trio.sleep(0.01)


async def test_interrupted_runs_go_on_and_what_waits_is_served(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    await interrupted(store, "broken")
    await left_waiting(store, "shop", clerk(hangs()))
    agents = {"clerk": clerk(says("a"), says("b"), says("c"))}

    children = await alloy.recover(store, agents)
    assert [child.id for child in children] == ["broken", "shop"]
    await run_all(children)

    assert RAN == ["add 1 2"]
    assert (await alloy.resume(store, "broken", clerk())).status is Status.COMPLETED
    async with alloy.open_agent(clerk(), store=store, session_id="shop") as ref:
        assert {(await ref.result(id)).status for id in ("one", "two")} == {Status.COMPLETED}
    assert await alloy.recover(store, agents) == []


async def test_an_agent_that_waits_for_an_approval_is_taken_up_and_a_paused_run_is_not(store: MemoryStore) -> None:
    def careful(*steps: Any) -> Agent:
        return clerk(*steps, middleware=[ApproveTools(["add"])])

    await alloy.run("x", careful(calls("add", a=1, b=2)), store=store, session_id="paused")
    await left_waiting(store, "shop", careful(calls("add", a=1, b=2)))

    (child,) = await alloy.recover(store, {"clerk": careful(says("3"), says("next"))})
    async with otp.open_system(otp.Supervisor(children=[child])):
        ref = agent_ref(child)
        await trio.testing.wait_all_tasks_blocked()
        (pending,) = await ref.pending()
        await ref.decide(pending.id, Approve())
        result = await ref.result("one")

    assert (result.text, RAN) == ("3", ["add 1 2"])


async def test_what_cannot_be_gone_on_with_is_told_and_hides_nothing(
    store: MemoryStore, caplog: pytest.LogCaptureFixture
) -> None:
    class Damaged(MemoryStore):
        async def read(self, session_id: str) -> Any:
            if session_id == "damaged":
                raise alloy.CorruptStore("session 'damaged' is cut short", place="damaged")
            return await super().read(session_id)

    async with Damaged() as store:
        await interrupted(store, "broken")
        await store.create("damaged", Stored(created_at=0))
        await store.create("empty", Stored(created_at=0))
        await left_waiting(store, "other", clerk(hangs(), name="other"))
        with caplog.at_level(logging.WARNING, "alloy.agents"):
            children = await alloy.recover(store, {"clerk": clerk()})

    assert [child.id for child in children] == ["broken"]
    assert "session 'damaged' cannot be gone on with: session 'damaged' is cut short" in caplog.text
    assert "session 'other' waits for agent 'other', which is not among those to recover" in caplog.text


async def test_a_session_that_somebody_drives_is_passed_over(store: MemoryStore) -> None:
    await interrupted(store, "broken")

    async with store.open("broken"):
        assert await alloy.recover(store, {"clerk": clerk()}) == []


async def test_a_request_that_crashes_its_server_is_not_tried_for_ever(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    tries: list[int] = []

    def explode(request: alloy.Request) -> Any:
        tries.append(1)
        raise AssertionError("a bug")

    await left_waiting(store, "shop", clerk(hangs()))
    steps = [explode, says("second")]

    children = await alloy.recover(store, {"clerk": clerk(*steps)})
    await run_all(children)

    assert len(tries) == 1
    async with alloy.open_agent(clerk(), store=store, session_id="shop") as ref:
        assert (await ref.result("one")).status is Status.ERROR
        assert (await ref.result("two")).text == "second"
