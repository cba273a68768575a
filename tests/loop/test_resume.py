"""Runs on a store: what they leave behind, and how they are gone on with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Answer, Approve, ApproveTools, Deny, Edit, Outcome, Result, Status
from alloy.llm.history import sendable
from alloy.loop.journal import Entry
from alloy.loop.records import (
    Answered,
    Asked,
    CallSettled,
    CallStarted,
    Record,
    RunBegun,
    RunEnded,
    Said,
)
from alloy.stores import MemoryStore
from alloy.testing import ScriptedModel, calls, fails, hangs, says
from sessions import RAN, add


@alloy.tool(replay="safe")
async def look(name: str) -> str:
    """Look something up."""
    RAN.append(f"look {name}")
    return f"{name} is here"


@alloy.tool(replay="key")
async def pay(amount: int, *, ctx: alloy.ToolContext) -> str:
    """Pay, once for each key."""
    RAN.append(f"pay {amount} {ctx.idempotency_key} {ctx.attempt}")
    return "paid"


def worker(*steps: Any, **fields: Any) -> Agent:
    return Agent(**{"model": ScriptedModel(*steps), "tools": [add, look, pay], "name": "worker"} | fields)


async def kinds(store: MemoryStore, session_id: str) -> list[str]:
    return [made.kind for made in await store.entries(session_id)]


async def cut(store: MemoryStore, session_id: str, count: int) -> str:
    """A session that looks as if the process had died after so many entries; returns its id."""
    data: Any = await store.export(session_id)
    made = f"{session_id}_{count}"
    return await store.import_({**data, "id": made, "entries": data["entries"][:count]})


async def cut_after(store: MemoryStore, session_id: str, kind: type[Record], n: int = 1) -> str:
    """As `cut`, after the nth record of a kind."""
    places = [at for at, e in enumerate(await store.entries(session_id), 1) if isinstance(e.record, kind)]
    return await cut(store, session_id, places[n - 1])


def results_in(result: Result[Any]) -> list[tuple[Outcome, str]]:
    return [
        (one.outcome, one.text)
        for message in result.messages
        if isinstance(message, alloy.ToolMessage)
        for one in message.results
    ]


# What a run leaves behind.


@pytest.mark.works("Runs on a store: paused, killed or cancelled, they go on; what has finished never runs again")
async def test_a_run_writes_down_each_effect_before_and_after_it(store: MemoryStore) -> None:
    agent = worker([calls("add", a=1, b=2), calls("look", name="x")], says("3"))

    result = await alloy.run("1 + 2?", agent, store=store, session_id="s")

    assert await kinds(store, "s") == [
        *("run_begun", "said", "asked", "answered"),
        *("call_started", "call_settled", "call_started", "call_settled"),
        *("batch_closed", "asked", "answered", "run_ended"),
    ]
    stored = await store.load("s")
    assert stored.messages == result.messages
    assert stored.usage == result.usage
    assert result.session_id == "s"


async def test_the_next_run_of_a_session_goes_on_with_its_conversation(store: MemoryStore) -> None:
    model = ScriptedModel(says("Hello, Ada."), says("Ada."), says("Still Ada."))
    await alloy.run("I am Ada.", model=model, store=store, session_id="s")

    second = await alloy.run("Who am I?", model=model, store=store, session_id="s")
    third = await alloy.run(None, model=model, store=store, session_id="s", history=[alloy.UserMessage("And now?")])

    assert [message.text for message in model.requests[1].messages] == ["I am Ada.", "Hello, Ada.", "Who am I?"]
    assert [m.text for m in second.new_messages] == ["Who am I?", "Ada."]
    assert [m.text for m in third.messages][-3:] == ["Ada.", "And now?", "Still Ada."]
    assert (await store.load("s")).messages == third.messages


async def test_a_session_can_be_the_history(store: MemoryStore) -> None:
    await alloy.run("I am Ada.", model=ScriptedModel(says("Hello.")), store=store, session_id="s")
    model = ScriptedModel(says("Ada."))

    result = await alloy.run("Who am I?", model=model, history=await store.load("s"))

    assert [m.text for m in result.messages] == ["I am Ada.", "Hello.", "Who am I?", "Ada."]


async def test_a_store_that_is_not_open_is_a_clear_error() -> None:
    with pytest.raises(RuntimeError, match="MemoryStore is not open; use it inside `async with"):
        await alloy.run("x", worker(), store=MemoryStore())


async def test_what_is_no_store_is_a_clear_error() -> None:
    with pytest.raises(TypeError, match=r"store must be a store, such as alloy.stores.SQLiteStore\(path\), got 'x.db'"):
        await alloy.run("x", worker(), store="x.db")  # type: ignore[arg-type]


async def test_a_session_that_another_run_drives_is_fenced(store: MemoryStore) -> None:
    async with alloy.stream("x", worker(hangs()), store=store, session_id="s"):
        with pytest.raises(alloy.Fenced, match="session 's' is driven by another"):
            await alloy.run("y", worker(says("y")), store=store, session_id="s")


async def test_nothing_to_send_is_told_after_the_session_was_read(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="there is nothing to send"):
        await alloy.run(None, worker(), store=store, session_id="s")


def test_run_sync_opens_the_store_itself() -> None:
    store = MemoryStore()

    alloy.run_sync("I am Ada.", worker(says("Hello.")), store=store, session_id="s")
    result = alloy.run_sync("Who am I?", worker(says("Ada.")), store=store, session_id="s")

    assert len(result.messages) == 4


async def test_an_edit_by_a_hook_is_stored_with_what_the_model_wanted(store: MemoryStore) -> None:
    agent = worker(
        calls("add", a=1, b=2),
        says("ok"),
        middleware=[ApproveTools(["add"], ask=lambda pending: Edit({"a": 5, "b": 2}))],
    )

    result = await alloy.run("x", agent, store=store, session_id="s")

    (answered, _) = [e.record for e in await store.entries("s") if isinstance(e.record, Answered)]
    (wanted,) = answered.edited_from.values()
    assert wanted == {"a": 1, "b": 2}
    assert answered.message.tool_calls[0].arguments == {"a": 5, "b": 2}
    assert (await store.load("s")).messages == result.messages


@attrs.frozen(eq=False)
class Changes(alloy.Middleware):
    """Blocks `look`, and has another result for everything."""

    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Block | None:
        return alloy.Block("no") if call.name == "look" else None

    async def after_tool_call(
        self, run: alloy.RunInfo, call: alloy.ToolCall, result: alloy.ToolResult
    ) -> alloy.ToolResult:
        return alloy.ToolResult(f"changed: {result.text}")


async def test_what_hooks_make_of_results_is_what_is_stored(store: MemoryStore) -> None:
    agent = worker(
        [calls("add", a=1, b=2), calls("look", name="x"), calls("nothing")], says("ok"), middleware=[Changes()]
    )

    result = await alloy.run("x", agent, store=store, session_id="s")

    assert [text.partition(":")[0] for _, text in results_in(result)] == ["changed"] * 3
    assert (await store.load("s")).messages == result.messages


async def test_an_error_is_stored_with_what_was_reached(store: MemoryStore) -> None:
    agent = worker(calls("add", a=1, b=2), fails(alloy.BadRequest("no")))

    with pytest.raises(alloy.BadRequest) as caught:
        await alloy.run("x", agent, store=store, session_id="s")

    assert (await kinds(store, "s"))[-2:] == ["ask_failed", "run_ended"]
    assert caught.value.result is not None
    assert (await store.load("s")).messages == caught.value.result.messages


async def test_a_run_that_is_cancelled_from_outside_is_stored_whole(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    @alloy.tool
    async def sleep() -> str:
        """Sleep for ever."""
        await trio.sleep_forever()
        return ""

    with trio.move_on_after(5):
        await alloy.run(
            "x", worker([calls("add", a=1, b=2), calls("sleep")], tools=[add, sleep]), store=store, session_id="s"
        )

    session = await store.load("s")
    last = session.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert [result.outcome for result in last.results] == [Outcome.OK, Outcome.CANCELLED]
    ended = (await store.entries("s"))[-1].record
    assert isinstance(ended, RunEnded)
    assert ended.status == "cancelled"
    again = await alloy.run(None, worker(says("on")), store=store, session_id="s")
    assert again.text == "on"


@attrs.define(eq=False)
class Full(MemoryStore):
    """A store that can take so many commits."""

    room: int = 0

    def __attrs_pre_init__(self) -> None:
        MemoryStore.__init__(self)

    async def commit(self, lease: Any, entries: Sequence[Any]) -> None:
        if self.room == 0:
            raise alloy.StoreError("the disk is full")
        self.room -= 1
        await super().commit(lease, entries)


@pytest.mark.parametrize("room", range(6))
@pytest.mark.usefixtures("nothing_ran")
async def test_a_store_that_fails_ends_the_run_before_the_next_effect(room: int) -> None:
    agent = worker([calls("add", a=1, b=2), calls("look", name="x")], says("3"))
    async with Full(room=room) as store:
        with pytest.raises(alloy.StoreError, match="the disk is full") as caught:
            await alloy.run("x", agent, store=store, session_id="s")

        assert caught.value.result is not None
        assert sendable(caught.value.result.messages) == caught.value.result.messages
        assert len(agent.models[0].requests) == (0 if room == 0 else 1)  # type: ignore[union-attr]
        assert len(RAN) == (0 if room < 3 else 1 if room < 5 else 2)


# Going on after the process died.


@pytest.mark.parametrize(
    ("kind", "n", "ran"),
    [(RunBegun, 1, 3), (Asked, 1, 3), (Answered, 1, 3), (CallSettled, 1, 2), (CallSettled, 2, 1), (CallSettled, 3, 0)],
)
async def test_what_has_finished_never_runs_again(store: MemoryStore, kind: type[Record], n: int, ran: int) -> None:
    batch = [calls("add", id="c1", a=1, b=2), calls("look", id="c2", name="x"), calls("pay", id="c3", amount=3)]
    whole = await alloy.run("x", worker(batch, says("done")), store=store, session_id="s")
    died = await cut_after(store, "s", kind, n)
    RAN.clear()
    asked_before = kind in (RunBegun, Asked)
    agent = worker(*([batch] if asked_before else []), says("done"))
    if kind is RunBegun:  # its prompt is written in the same commit
        died = await cut_after(store, "s", Said)

    result = await alloy.resume(store, died, agent)

    assert result.status is Status.COMPLETED
    assert len(RAN) == ran
    assert [m.text for m in result.messages if not isinstance(m, alloy.ToolMessage)] == [
        m.text for m in whole.messages if not isinstance(m, alloy.ToolMessage)
    ]
    assert results_in(result) == results_in(whole)
    assert [(c.id, c.outcome) for c in result.tool_calls] == [(c.id, c.outcome) for c in whole.tool_calls]
    assert (result.run_id, result.turns, result.usage) == (whole.run_id, whole.turns, whole.usage)
    assert result.new_messages == result.messages
    assert (await store.load(died)).messages == result.messages


@pytest.mark.parametrize(
    ("step", "outcome", "ran"),
    [
        (calls("add", a=1, b=2), Outcome.INTERRUPTED, 0),
        (calls("look", name="x"), Outcome.OK, 1),
        (calls("pay", amount=3), Outcome.OK, 1),
    ],
)
async def test_a_call_of_which_nobody_knows_is_settled_by_its_policy(
    store: MemoryStore, step: Any, outcome: Outcome, ran: int
) -> None:
    await alloy.run("x", worker(step, says("done")), store=store, session_id="s")
    before = list(RAN)
    died = await cut_after(store, "s", CallStarted)
    RAN.clear()

    result = await alloy.resume(store, died, worker(says("done")))

    ((got, text),) = results_in(result)
    assert got is outcome
    assert len(RAN) == ran
    if outcome is Outcome.INTERRUPTED:
        assert text == "interrupted: the process ended while this call ran; it may have had effects"
    if before[0].startswith("pay"):
        assert before[0].split()[:3] == RAN[0].split()[:3]  # the same key
        assert (before[0][-1], RAN[0][-1]) == ("1", "2")  # attempts


async def test_a_policy_that_has_changed_is_not_trusted(store: MemoryStore) -> None:
    await alloy.run("x", worker(calls("add", a=1, b=2), says("done")), store=store, session_id="s")
    died = await cut_after(store, "s", CallStarted)
    RAN.clear()

    result = await alloy.resume(store, died, worker(says("done"), tools=[alloy.tool(replay="safe")(add)]))

    assert results_in(result)[0][0] is Outcome.INTERRUPTED
    assert RAN == []


async def test_a_last_answer_that_was_given_is_not_asked_for_again(store: MemoryStore) -> None:
    await alloy.run("x", worker(says("done")), store=store, session_id="s")
    died = await cut_after(store, "s", Answered)

    result = await alloy.resume(store, died, worker())

    assert (result.status, result.text) == (Status.COMPLETED, "done")


async def test_an_output_that_was_given_is_not_asked_for_again(store: MemoryStore) -> None:
    agent = worker(calls("add", a=1, b=2), until_tool="add")
    whole = await alloy.run("x", agent, store=store, session_id="s")
    died = await cut_after(store, "s", CallSettled)
    RAN.clear()

    result = await alloy.resume(store, died, worker(until_tool="add"))

    assert result.output == whole.output == {"a": 1, "b": 2}
    assert RAN == []


async def test_a_run_that_was_handed_over_goes_on_with_the_other_agent(store: MemoryStore) -> None:
    def two(*steps: Any) -> Agent:
        other = Agent(model=ScriptedModel(*steps[1:], name="other"), name="other")
        return worker(*steps[:1], tools=[alloy.handoff_to(other)])

    whole = await alloy.run("x", two(calls("transfer_to_other"), says("I am the other")), store=store, session_id="s")
    for kind, n in ((CallStarted, 1), (CallSettled, 1), (Asked, 2)):
        died = await cut_after(store, "s", kind, n)
        first = [calls("unused")]

        result = await alloy.resume(store, died, two(*first, says("I am the other")))

        assert (result.agent, result.text) == (whole.agent, whole.text) == ("other", "I am the other")


async def test_the_approvals_of_who_handed_over_hold_after_a_resume_too(store: MemoryStore) -> None:
    def two(first: Sequence[Any], second: Sequence[Any]) -> Agent:
        other = Agent(model=ScriptedModel(*second), tools=[add])  # of the same name, too
        careful = [ApproveTools(["add"])]
        return Agent(model=ScriptedModel(*first), tools=[alloy.handoff_to(other, name="hand_over")], middleware=careful)

    third = [calls("add", a=1, b=2), calls("add", a=3, b=4)]
    (pending,) = (await alloy.run("x", two([calls("hand_over")], third[:1]), store=store, session_id="s")).pending

    result = await alloy.resume(store, "s", two([], third[1:]), decisions={pending.id: Approve()})

    assert RAN == ["add 1 2"]
    assert result.status is Status.PAUSED
    assert [waits.call.arguments for waits in result.pending if waits.call] == [{"a": 3, "b": 4}]


async def test_an_agent_that_cannot_hand_over_as_the_stored_one_did_is_refused(store: MemoryStore) -> None:
    other = Agent(
        model=ScriptedModel(calls("add", a=1, b=2)), name="other", tools=[add], middleware=[ApproveTools("add")]
    )
    await alloy.run(
        "x", worker(calls("transfer_to_other"), tools=[alloy.handoff_to(other)]), store=store, session_id="s"
    )

    with pytest.raises(
        ValueError, match="handed over to 'other', and no tool of 'worker' hands over to an agent so named"
    ):
        await alloy.resume(store, "s", worker())


async def test_a_finished_session_gives_its_result_again(store: MemoryStore) -> None:
    agent = worker(calls("add", a=1, b=2), says("3"))
    whole = await alloy.run("x", agent, store=store, session_id="s")

    again = await alloy.resume(store, "s", worker())

    assert attrs.evolve(again, tool_calls=(), duration=0) == attrs.evolve(whole, tool_calls=(), duration=0)
    assert [(c.id, c.arguments, c.outcome) for c in again.tool_calls] == [
        (c.id, c.arguments, c.outcome) for c in whole.tool_calls
    ]


async def test_a_finished_session_gives_its_typed_output_again(store: MemoryStore) -> None:
    @attrs.frozen
    class City:
        name: str

    agent = worker(calls("final_answer", name="Paris"), output=City)
    await alloy.run("x", agent, store=store, session_id="s")

    again = await alloy.resume(store, "s", agent)

    assert again.output == City("Paris")


async def test_a_run_that_failed_or_met_a_limit_goes_on(store: MemoryStore) -> None:
    with pytest.raises(alloy.Overloaded):
        await alloy.run(
            "x", worker(fails(alloy.Overloaded("busy"))), store=store, session_id="s", retry=alloy.Retry(attempts=1)
        )
    cut_short = await alloy.resume(store, "s", worker(calls("add", a=1, b=2)).evolve(limits=alloy.Limits(max_turns=1)))
    assert cut_short.status is Status.MAX_TURNS

    result = await alloy.resume(store, "s", worker(says("done")))

    assert (result.status, result.text) == (Status.COMPLETED, "done")
    assert RAN == ["add 1 2"]


async def test_a_session_that_is_not_there_or_empty_cannot_be_resumed(store: MemoryStore) -> None:
    with pytest.raises(alloy.UnknownSession):
        await alloy.resume(store, "s", worker())
    async with store.open("s"):
        pass
    with pytest.raises(ValueError, match="nothing to go on with"):
        await alloy.resume(store, "s", worker())


# Pausing.


def careful(*steps: Any, **fields: Any) -> Agent:
    return worker(*steps, **{"middleware": [ApproveTools(["add", "pay"])]} | fields)


BATCH = [calls("look", id="c0", name="x"), calls("add", id="c1", a=1, b=2), calls("pay", id="c2", amount=3)]


async def paused(store: MemoryStore, session_id: str = "s") -> Result[Any]:
    return await alloy.run("x", careful(BATCH), store=store, session_id=session_id)


async def test_a_run_that_nobody_can_approve_pauses_and_nothing_has_run(store: MemoryStore) -> None:
    events: list[alloy.Event] = []
    result = await alloy.run("x", careful(BATCH), store=store, session_id="s", on_event=events.append)

    assert result.status is Status.PAUSED
    assert [pending.call.id for pending in result.pending if pending.call] == ["c1", "c2"]
    assert {pending.session_id for pending in result.pending} == {"s"}
    assert [outcome for outcome, _ in results_in(result)] == [Outcome.NOT_STARTED] * 3
    assert RAN == []
    assert (await kinds(store, "s"))[-3:] == ["answered", "call_pending", "call_pending"]
    assert [event.pending for event in events if isinstance(event, alloy.ApprovalRequested)] == list(result.pending)


async def test_decisions_may_come_one_at_a_time_in_any_order(store: MemoryStore) -> None:
    first, second = (await paused(store)).pending

    half = await alloy.resume(store, "s", careful(), decisions={second.id: Approve()})
    assert half.status is Status.PAUSED
    assert half.pending == (first,)
    assert RAN == []
    result = await alloy.resume(store, "s", careful(says("done")), decisions={first.id: Edit({"a": 5, "b": 5})})

    assert result.status is Status.COMPLETED
    assert [line.split()[0] for line in RAN] == ["look", "add", "pay"]
    assert [text for _, text in results_in(result)] == ["x is here", "10", "paid"]
    record = next(call for call in result.tool_calls if call.id == "c1")
    assert (record.arguments, record.edited_from) == ({"a": 5, "b": 5}, {"a": 1, "b": 2})
    assert (await store.load("s")).messages == result.messages


async def test_a_denial_is_told_and_the_others_run(store: MemoryStore) -> None:
    first, second = (await paused(store)).pending

    result = await alloy.resume(
        store, "s", careful(says("done")), decisions={first.id: Deny("too dear"), second.id: Approve()}
    )

    assert [outcome for outcome, _ in results_in(result)] == [Outcome.OK, Outcome.DENIED, Outcome.OK]
    assert results_in(result)[1][1] == "denied: too dear; the call did not run"


async def test_the_same_decision_again_is_no_error(store: MemoryStore) -> None:
    first, second = (await paused(store)).pending
    decisions = {first.id: Approve(), second.id: Approve()}
    await alloy.resume(store, "s", careful(says("done")), decisions=decisions)
    RAN.clear()

    result = await alloy.resume(store, "s", careful(), decisions=decisions)

    assert result.text == "done"
    assert RAN == []


async def test_a_decision_on_nothing_names_what_pends(store: MemoryStore) -> None:
    first, second = (await paused(store)).pending

    with pytest.raises(alloy.UnknownRequest, match=f"no decision 'nope' is pending; there are: '{first.id}', "):
        await alloy.resume(store, "s", careful(), decisions={"nope": Approve()})
    with pytest.raises(TypeError, match="must be Approve, Edit or Deny"):
        await alloy.resume(store, "s", careful(), decisions={second.id: Answer("yes")})


async def test_an_edit_that_does_not_fit_changes_nothing(store: MemoryStore) -> None:
    first, second = (await paused(store)).pending

    with pytest.raises(ValueError, match="the arguments of add do not fit"):
        await alloy.resume(store, "s", careful(), decisions={first.id: Edit({"a": "x", "b": 1}), second.id: Approve()})
    assert RAN == []
    result = await alloy.resume(store, "s", careful(says("done")), decisions={first.id: Approve()})

    assert result.status is Status.COMPLETED


async def test_what_expired_meanwhile_is_denied(store: MemoryStore) -> None:
    agent = worker(calls("add", a=1, b=2), middleware=[ApproveTools(["add"], expires=60)])
    (pending,) = (await alloy.run("x", agent, store=store, session_id="s")).pending
    data: Any = await store.export("s")
    asked = data["entries"][-1]["record"]
    hour_ago = {"created_at": asked["created_at"] - 3600, "expires_at": asked["expires_at"] - 3600}
    later = await store.import_(
        {**data, "id": "later", "entries": [*data["entries"][:-1], {**data["entries"][-1], "record": asked | hour_ago}]}
    )

    result = await alloy.resume(store, later, worker(says("ok")), decisions={pending.id: Approve()})

    told = "denied: nobody approved of this call within 60 s; it did not run"
    assert results_in(result) == [(Outcome.DENIED, told)]
    assert RAN == []


async def test_another_run_of_the_session_leaves_a_paused_one_behind(store: MemoryStore) -> None:
    (first, _) = (await paused(store)).pending

    result = await alloy.run("never mind", worker(says("fine")), store=store, session_id="s")

    assert [outcome for outcome, _ in results_in(result)] == [Outcome.NOT_STARTED] * 3
    assert (await alloy.resume(store, "s", worker(), decisions={first.id: Approve()})).text == "fine"
    assert RAN == []


async def test_a_cancel_while_a_run_pauses_loses_nothing(
    store: MemoryStore, autojump_clock: trio.testing.MockClock
) -> None:
    class Slow(alloy.Middleware):
        async def session_end(self, session: alloy.Session) -> None:
            await trio.sleep_forever()

    with trio.move_on_after(5):
        agent = careful(BATCH, middleware=[ApproveTools(["add", "pay"]), Slow()])
        await alloy.run("x", agent, store=store, session_id="s")
    result = await alloy.resume(store, "s", careful())

    assert result.status is Status.PAUSED
    assert len(result.pending) == 2


async def test_a_call_that_a_hook_blocked_stays_blocked(store: MemoryStore) -> None:
    blocked = worker([calls("look", name="x"), calls("add", a=1, b=2)], middleware=[Changes(), ApproveTools(["add"])])
    (pending,) = (await alloy.run("x", blocked, store=store, session_id="s")).pending

    result = await alloy.resume(store, "s", worker(says("ok")), decisions={pending.id: Approve()})

    assert [outcome for outcome, _ in results_in(result)] == [Outcome.BLOCKED, Outcome.OK]


# Agents that work for a call.


def tree(root: Sequence[Any], middle: Sequence[Any], leaf: Sequence[Any]) -> Agent:
    """Three agents, of which the last needs an approval."""
    lowest = careful(*leaf, name="leaf")
    mid = Agent(model=ScriptedModel(*middle, name="mid"), name="mid", tools=[alloy.as_tool(lowest), look])
    return Agent(model=ScriptedModel(*root, name="root"), name="root", tools=[alloy.as_tool(mid), look])


ROOT = [[calls("mid", id="r1", prompt="go"), calls("look", id="r2", name="beside")], says("root is done")]
MID = [calls("leaf", id="m1", prompt="add"), says("mid is done")]
LEAF = [calls("add", id="l1", a=1, b=2), says("leaf is done")]


async def test_an_approval_of_depth_three_survives(store: MemoryStore) -> None:
    result = await alloy.run("x", tree(ROOT[:1], MID[:1], LEAF[:1]), store=store, session_id="s")

    assert result.status is Status.PAUSED
    (pending,) = result.pending
    assert pending.agent_path == ("root", "mid", "leaf")
    assert RAN == ["look beside"]  # its sibling, whose batch had begun
    assert [outcome for outcome, _ in results_in(result)] == [Outcome.NOT_STARTED, Outcome.OK]

    still = await alloy.resume(store, "s", tree([], [], []))
    assert still.pending == (pending,)
    done = await alloy.resume(store, "s", tree(ROOT[1:], MID[1:], LEAF[1:]), decisions={pending.id: Approve()})

    assert (done.status, done.text) == (Status.COMPLETED, "root is done")
    assert RAN == ["look beside", "add 1 2"]
    assert [text for _, text in results_in(done)] == ["mid is done", "beside is here"]
    assert done.usage.requests == 6
    stored = await store.load("s")
    assert stored.messages == done.messages
    assert stored.usage == done.usage


@pytest.mark.parametrize("count", range(2, 40))
async def test_a_tree_of_agents_cut_anywhere_goes_on(store: MemoryStore, count: int) -> None:
    (pending,) = (await alloy.run("x", tree(ROOT[:1], MID[:1], LEAF[:1]), store=store, session_id="s")).pending
    whole = await alloy.resume(store, "s", tree(ROOT[1:], MID[1:], LEAF[1:]), decisions={pending.id: Approve()})
    entries = await store.entries("s")
    if count > len(entries):
        pytest.skip("the session is shorter")
    died = await cut(store, "s", count)
    RAN.clear()

    left = [steps[_answers(entries[:count], name) :] for steps, name in zip((ROOT, MID, LEAF), NAMES, strict=True)]
    result = await alloy.resume(store, died, tree(*left))
    if result.status is Status.PAUSED:
        left = [
            steps[_answers(await store.entries(died), name) :]
            for steps, name in zip((ROOT, MID, LEAF), NAMES, strict=True)
        ]
        result = await alloy.resume(store, died, tree(*left), decisions={p.id: Approve() for p in result.pending})

    assert result.text == whole.text
    unknown = [e.record for e in entries[:count] if isinstance(e.record, CallStarted)]
    settled = {e.record.call_id for e in entries[:count] if isinstance(e.record, CallSettled)}
    interrupted = any(record.call_id == "l1" and "l1" not in settled for record in unknown)
    assert [text for _, text in results_in(result)] == [text for _, text in results_in(whole)]
    assert RAN.count("add 1 2") == (0 if interrupted or "l1" in settled else 1)
    assert result.usage.requests == whole.usage.requests


NAMES = ("root", "mid", "leaf")


def _answers(entries: Sequence[Entry], name: str) -> int:
    """How many answers an agent's model has given."""
    runs = {e.record.run_id for e in entries if isinstance(e.record, RunBegun) and e.record.agent == name}
    return sum(isinstance(e.record, Answered) and e.record.run_id in runs for e in entries)


async def test_a_tool_that_may_not_be_run_again_leaves_no_decision_for_later(store: MemoryStore) -> None:
    @alloy.tool
    async def ask_leaf(*, ctx: alloy.ToolContext) -> str:
        """Ask the leaf, after an effect that must not be repeated."""
        return (await ctx.delegate(careful(*LEAF, name="leaf"), "add")).text

    result = await alloy.run("x", worker(calls("ask_leaf"), says("ok"), tools=[ask_leaf]), store=store, session_id="s")

    assert result.status is Status.COMPLETED
    assert RAN == []


async def test_several_agents_may_pause_side_by_side(store: MemoryStore) -> None:
    def two(root: Sequence[Any], one: Sequence[Any], other: Sequence[Any]) -> Agent:
        agents = [careful(*one, name="one"), careful(*other, name="other")]
        return Agent(model=ScriptedModel(*root), name="root", tools=[alloy.as_tool(agent) for agent in agents])

    ask = [calls("one", prompt="x"), calls("other", prompt="y")]
    result = await alloy.run("x", two([ask], LEAF[:1], LEAF[:1]), store=store, session_id="s")
    first, second = result.pending
    half = await alloy.resume(store, "s", two([], LEAF[1:], []), decisions={first.id: Approve()})
    assert half.pending == (second,)
    done = await alloy.resume(store, "s", two([says("ok")], [], LEAF[1:]), decisions={second.id: Approve()})

    assert done.text == "ok"
    assert RAN == ["add 1 2", "add 1 2"]
