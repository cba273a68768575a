"""Decisions that an agent waits for: at its own desk, and at those of whoever it works for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import alloy
from alloy import (
    Agent,
    AgentRef,
    Answer,
    Approve,
    Ask,
    Deny,
    Edit,
    Middleware,
    Outcome,
    Pending,
    RunInfo,
    Status,
    ToolCall,
    ToolContext,
    otp,
)
from alloy.loop.approval import Expired, Slot
from alloy.testing import ScriptedModel, calls, says

MockClock = trio.testing.MockClock


@attrs.define
class Disk:
    """What the tools did, in their order."""

    done: list[str] = attrs.field(factory=list)

    def tool(self, name: str = "write", **options: Any) -> alloy.Tool:
        async def write(path: str, seconds: float = 0.0) -> str:
            """Write a file."""
            await trio.sleep(seconds)
            self.done.append(path)
            return f"wrote {path}"

        return alloy.tool(write, name=name, **options)


@attrs.frozen
class AskFor(Middleware):
    """Asks before the calls of one tool, wherever they are made for this agent."""

    inherited = True
    tool: str = "write"
    expires: float | None = None

    async def before_tool_call(self, run: RunInfo, call: ToolCall) -> Ask | None:
        return (
            Ask(f"{call.name} {call.arguments.get('path')}?", expires=self.expires) if call.name == self.tool else None
        )


def agent(*steps: Any, disk: Disk | None = None, **fields: Any) -> Agent:
    fields.setdefault("tools", [(disk or Disk()).tool()])
    return Agent(**{"model": ScriptedModel(*steps), "middleware": [AskFor()], "name": "root", **fields})


async def asked(ref: AgentRef, count: int = 1) -> dict[str, Pending]:
    """What pends, by the path that is to be written, once so many do."""
    await trio.testing.wait_all_tasks_blocked()
    pending = await ref.pending()
    assert len(pending) == count
    return {str(p.call.arguments.get("path", p.question)) if p.call else p.question: p for p in pending}


def told(model: Any, request: int = 1) -> list[tuple[Outcome, str]]:
    """What a model was told of the calls of its last answer."""
    return [(r.outcome, r.text) for r in model.requests[request].messages[-1].results]


DECISIONS: list[tuple[alloy.Decision, Outcome, str, list[str]]] = [
    (Approve(), Outcome.OK, "wrote a", ["a"]),
    (Edit({"path": "b"}), Outcome.OK, "wrote b", ["b"]),
    (Deny("not there"), Outcome.DENIED, "denied: not there; the call did not run", []),
    (Deny(), Outcome.DENIED, "denied: this call was not approved, and did not run", []),
]


@pytest.mark.works("Approvals: asked at once or answered later, in any order; nothing runs that nobody approved")
@pytest.mark.parametrize(("decision", "outcome", "text", "done"), DECISIONS)
async def test_a_call_waits_for_its_approval_and_the_model_is_told_what_came_of_it(
    decision: alloy.Decision, outcome: Outcome, text: str, done: list[str]
) -> None:
    disk, model = Disk(), ScriptedModel(calls("write", id="c1", path="a"), says("ok"))
    async with alloy.open_agent(agent(model=model, disk=disk)) as ref:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]
        health = await ref.health()
        assert disk.done == []

        await ref.decide(pending.id, decision)
        result = await ref.result(request)

        assert await ref.pending() == ()
        assert (health.status, (await ref.health()).status) == ("paused", "idle")
    assert (result.status, result.text) == (Status.COMPLETED, "ok")
    assert told(model) == [(outcome, text)]
    assert disk.done == done
    assert (pending.kind, pending.question, pending.agent_path) == ("approval", "write a?", ("root",))
    assert (pending.session_id, pending.run_id) == (result.session_id, result.run_id)
    assert pending.call == ToolCall("c1", "write", {"path": "a"}, arguments_text=pending.call.arguments_text)  # type: ignore[union-attr]


async def test_chat_waits_while_the_run_is_paused(autojump_clock: MockClock) -> None:
    results: list[alloy.Result] = []

    async def chat(ref: AgentRef) -> None:
        results.append(await ref.chat("go"))

    async with alloy.open_agent(agent(calls("write", path="a"), says("ok"))) as ref, trio.open_nursery() as nursery:
        nursery.start_soon(chat, ref)
        await trio.sleep(3600)
        assert results == []
        await ref.decide((await asked(ref))["a"].id, Approve())

    assert [result.text for result in results] == ["ok"]


async def test_several_are_decided_in_any_order_and_none_runs_before_all_are() -> None:
    disk, model = Disk(), ScriptedModel([calls("write", path=path) for path in "abc"], says("ok"))
    async with alloy.open_agent(agent(model=model, disk=disk)) as ref:
        request = await ref.send_message("go")
        pending = await asked(ref, 3)
        assert list(pending) == ["a", "b", "c"]
        await ref.decide(pending["c"].id, Approve())
        await ref.decide(pending["a"].id, Deny("no"))
        assert list(await asked(ref, 1)) == ["b"]
        assert disk.done == []
        await ref.decide(pending["b"].id, Edit({"path": "B"}))
        result = await ref.result(request)

    assert [outcome for outcome, _ in told(model)] == [Outcome.DENIED, Outcome.OK, Outcome.OK]
    assert disk.done == ["B", "c"]
    assert [(r.arguments["path"], r.edited_from) for r in result.tool_calls] == [
        ("a", None),
        ("B", {"path": "b"}),
        ("c", None),
    ]
    answer = model.requests[1].messages[1]
    assert [call.arguments["path"] for call in answer.tool_calls] == ["a", "B", "c"]  # type: ignore[union-attr]


async def test_a_decision_that_cannot_be_raises_and_the_call_still_waits() -> None:
    async with alloy.open_agent(agent(calls("write", path="a"), says("ok"))) as ref:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]

        with pytest.raises(ValueError, match=r"the arguments of write do not fit: .*expected string, got integer 1"):
            await ref.decide(pending.id, Edit({"path": 1}))
        with pytest.raises(TypeError, match=r"must be Approve, Edit or Deny, got Answer\(text='yes'\)"):
            await ref.decide(pending.id, Answer("yes"))
        with pytest.raises(TypeError, match="must be Approve, Edit or Deny, got True"):
            await ref.decide(pending.id, True)  # type: ignore[arg-type]
        with pytest.raises(alloy.UnknownRequest, match=f"no decision 'nope' is pending; there are: '{pending.id}'"):
            await ref.decide("nope", Approve())
        assert await ref.pending() == (pending,)

        await ref.decide(pending.id, Approve())
        with pytest.raises(alloy.UnknownRequest, match="there are: none"):
            await ref.decide(pending.id, Approve())
        assert (await ref.result(request)).text == "ok"


async def test_what_nobody_decides_in_time_is_denied(autojump_clock: MockClock) -> None:
    disk, model = Disk(), ScriptedModel([calls("write", path="a"), calls("other", path="b")], says("ok"))
    tools = [disk.tool(), disk.tool("other")]
    middleware = [AskFor(expires=60), AskFor("other")]
    async with alloy.open_agent(agent(model=model, tools=tools, middleware=middleware)) as ref:
        request = await ref.send_message("go")
        pending = await asked(ref, 2)
        await trio.sleep(61)
        assert list(await asked(ref, 1)) == ["b"]
        await ref.decide(pending["b"].id, Approve())
        await ref.result(request)

    assert told(model) == [
        (Outcome.DENIED, "denied: nobody approved of this call within 60 s; it did not run"),
        (Outcome.OK, "wrote b"),
    ]
    assert pending["a"].expires_at == pending["a"].created_at + 60
    assert pending["b"].expires_at is None


async def test_each_request_for_a_decision_is_an_event_and_so_is_what_came_of_it(autojump_clock: MockClock) -> None:
    model = ScriptedModel([calls("write", path=path) for path in "abc"], says("ok"))
    events: list[alloy.Event] = []
    async with alloy.open_agent(agent(model=model, middleware=[AskFor(expires=60)])) as ref:
        request = await ref.send_message("go", on_event=events.append)
        pending = await asked(ref, 3)
        await ref.decide(pending["b"].id, Deny("no"))
        await trio.sleep(1)
        await ref.decide(pending["c"].id, Approve())
        await ref.result(request)

    requested = [event.pending for event in events if isinstance(event, alloy.ApprovalRequested)]
    decided = {e.pending_id: e.decision for e in events if isinstance(e, alloy.ApprovalDecided)}
    assert requested == list(pending.values())
    assert decided == {
        pending["b"].id: Deny("no"),
        pending["c"].id: Approve(),
        pending["a"].id: Deny("nobody decided within 60 s"),
    }
    finished = [type(e).__name__ for e in events].index("MessageFinished")
    assert finished > max(n for n, e in enumerate(events) if isinstance(e, alloy.ApprovalDecided))


async def test_the_run_that_is_cancelled_withdraws_what_pends() -> None:
    events: list[alloy.Event] = []
    async with alloy.open_agent(agent(calls("write", path="a"), says("next"))) as ref:
        request = await ref.send_message("go", on_event=events.append)
        pending = (await asked(ref))["a"]
        await ref.cancel()
        result = await ref.result(request)

        assert await ref.pending() == ()
        with pytest.raises(alloy.UnknownRequest):
            await ref.decide(pending.id, Approve())
        assert (await ref.chat("and now?")).text == "next"
    assert result.status is Status.CANCELLED
    assert [r.outcome for r in result.messages[-1].results] == [Outcome.NOT_STARTED]  # type: ignore[union-attr]
    (decided,) = [event for event in events if isinstance(event, alloy.ApprovalDecided)]
    assert decided.decision == Deny("withdrawn before anybody decided")


async def test_a_run_whose_seconds_are_spent_while_it_is_paused_ends_and_withdraws_what_pends(
    autojump_clock: MockClock,
) -> None:
    async with alloy.open_agent(agent(calls("write", path="a"))) as ref:
        result = await ref.chat("go", budget=alloy.Budget(seconds=10))

        assert await ref.pending() == ()
    assert (result.status, trio.current_time()) == (Status.DEADLINE, 10)
    assert [r.outcome for r in result.messages[-1].results] == [Outcome.NOT_STARTED]  # type: ignore[union-attr]


async def test_calls_that_are_denied_do_not_count_as_calls_of_the_budget() -> None:
    disk, budget = Disk(), alloy.Budget(tool_calls=2)
    batch = [calls("write", path="a"), calls("write", path="b")]
    async with alloy.open_agent(agent(batch, calls("write", path="c"), says("ok"), disk=disk)) as ref:
        request = await ref.send_message("go", budget=budget)
        pending = await asked(ref, 2)
        await ref.decide(pending["a"].id, Deny())
        await ref.decide(pending["b"].id, Approve())
        await ref.decide((await asked(ref, 1))["c"].id, Approve())
        result = await ref.result(request)

    assert (result.status, disk.done) == (Status.COMPLETED, ["b", "c"])


async def test_giving_up_the_wait_withdraws_what_pends(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("write", path="a"))) as ref:
        with pytest.raises(otp.CallTimeout):
            await ref.chat("go", timeout=5)
        await trio.testing.wait_all_tasks_blocked()

        assert await ref.pending() == ()


async def test_a_crash_costs_the_paused_request_and_withdraws_what_it_waited_for(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("write", path="a"), says("next"))) as ref:
        request = await ref.send_message("go")
        await asked(ref)
        otp.exit(ref.whereis(), otp.Killed())  # type: ignore[arg-type]
        with pytest.raises(otp.ServerExited):
            await ref.result(request)

        assert await ref.pending() == ()
        assert (await ref.chat("again")).text == "next"


async def test_steering_is_accepted_while_paused_and_heard_after_the_calls() -> None:
    model = ScriptedModel(calls("write", path="a"), says("ok"))
    async with alloy.open_agent(agent(model=model)) as ref:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]
        assert await ref.steer("hurry") == request
        await ref.decide(pending.id, Approve())
        await ref.result(request)

    assert [type(m).__name__ for m in model.requests[1].messages[-2:]] == ["ToolMessage", "UserMessage"]


async def test_cancel_tool_takes_back_a_call_that_waits() -> None:
    disk, model = (
        Disk(),
        ScriptedModel([calls("write", id="c1", path="a"), calls("write", id="c2", path="b")], says("ok")),
    )
    async with alloy.open_agent(agent(model=model, disk=disk)) as ref:
        request = await ref.send_message("go")
        pending = await asked(ref, 2)
        assert await ref.cancel_tool("c1")
        assert not await ref.cancel_tool("c1")
        assert not await ref.cancel_tool("nope")
        await ref.decide(pending["b"].id, Approve())
        await ref.result(request)

    assert told(model) == [
        (Outcome.CANCELLED, "cancelled: this call was taken back before it was approved; it did not run"),
        (Outcome.OK, "wrote b"),
    ]
    assert disk.done == ["b"]


async def test_a_tool_that_is_marked_has_each_call_approved_without_any_middleware() -> None:
    disk = Disk()
    async with alloy.open_agent(
        agent(calls("write", path="a"), says("ok"), tools=[disk.tool(approve=True)], middleware=[])
    ) as ref:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]
        await ref.decide(pending.id, Approve())
        await ref.result(request)

    assert disk.done == ["a"]


async def test_a_paused_conversation_can_be_sent_elsewhere(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("write", path="a"), says("ok"))) as ref:
        await ref.send_message("go")
        await asked(ref)
        messages = await ref.messages()

    assert [r.outcome for r in messages[-1].results] == [Outcome.NOT_STARTED]  # type: ignore[union-attr]


async def test_a_server_that_is_stopped_while_paused_ends_within_its_time_to_drain(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(agent(calls("write", path="a")), drain=10) as ref:
        request = await ref.send_message("go")
        await asked(ref)

    assert trio.current_time() == 10
    with pytest.raises((otp.ServerExited, alloy.UnknownRequest)):
        await ref.result(request)


# Questions.


async def ask_color(ctx: ToolContext) -> str:
    """Ask for a colour."""
    return f"painted {await ctx.ask('which colour?')}"


QUESTIONS: list[tuple[alloy.Decision, Outcome, str]] = [
    (Answer("red"), Outcome.OK, "painted red"),
    (Deny("ask later"), Outcome.ERROR, "the question 'which colour?' was not answered: ask later"),
]


@pytest.mark.parametrize(("decision", "outcome", "text"), QUESTIONS)
async def test_a_tool_asks_and_goes_on_with_the_answer(decision: alloy.Decision, outcome: Outcome, text: str) -> None:
    model = ScriptedModel(calls("ask_color", id="c1"), says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[ask_color], name="root")) as ref:
        request = await ref.send_message("go")
        (pending,) = (await asked(ref)).values()
        health = await ref.health()
        for wrong in (Approve(), Edit({}), "red"):
            with pytest.raises(TypeError, match="must be Answer or Deny"):
                await ref.decide(pending.id, wrong)  # type: ignore[arg-type]
        await ref.decide(pending.id, decision)
        await ref.result(request)

    assert (pending.kind, pending.question, pending.agent_path) == ("question", "which colour?", ("root",))
    assert pending.call is not None
    assert pending.call.id == "c1"
    assert (health.status, health.running_tools) == ("paused", ("ask_color",))
    assert told(model) == [(outcome, text)]


async def test_the_time_of_a_tool_does_not_run_while_it_waits_for_an_answer(autojump_clock: MockClock) -> None:
    deadlines: list[float] = []

    @alloy.tool(timeout=10.0)
    async def works(ctx: ToolContext, after: float) -> str:
        """Work, ask, and work on."""
        await trio.sleep(6)
        await ctx.ask("go on?")
        deadlines.append(ctx.deadline)
        await trio.sleep(after)
        return "done"

    model = ScriptedModel(calls("works", after=3), calls("works", after=5), says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[works])) as ref:
        request = await ref.send_message("go")
        for _ in range(2):
            await trio.sleep(1000)
            (pending,) = await ref.pending()
            await ref.decide(pending.id, Answer("yes"))
        await ref.result(request)

    assert told(model, 1) == [(Outcome.OK, "done")]
    assert [outcome for outcome, _ in told(model, 2)] == [Outcome.TIMED_OUT]
    assert deadlines[0] == 1004


async def test_a_tool_that_waits_for_an_answer_can_be_cancelled() -> None:
    model = ScriptedModel(calls("ask_color", id="c1"), says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[ask_color])) as ref:
        request = await ref.send_message("go")
        await asked(ref)
        assert await ref.cancel_tool("c1")
        await ref.result(request)
        assert await ref.pending() == ()

    assert [outcome for outcome, _ in told(model)] == [Outcome.CANCELLED]


async def test_a_tool_may_ask_several_things_at_once() -> None:
    async def asks_twice(ctx: ToolContext) -> str:
        """Ask."""
        answers: dict[str, str] = {}

        async def ask(question: str) -> None:
            answers[question] = await ctx.ask(question)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, "a?")
            nursery.start_soon(ask, "b?")
        return f"{answers['a?']}{answers['b?']}"

    model = ScriptedModel(calls("asks_twice"), says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[asks_twice])) as ref:
        request = await ref.send_message("go")
        pending = await asked_questions(ref, 2)
        await ref.decide(pending["b?"].id, Answer("B"))
        await ref.decide(pending["a?"].id, Answer("A"))
        await ref.result(request)

    assert told(model) == [(Outcome.OK, "AB")]


async def asked_questions(ref: AgentRef, count: int) -> dict[str, Pending]:
    await trio.testing.wait_all_tasks_blocked()
    pending = {p.question: p for p in await ref.pending()}
    assert len(pending) == count
    return pending


async def test_an_error_of_on_event_at_a_question_ends_the_run_and_not_the_tool() -> None:
    def breaks(event: alloy.Event) -> None:
        if isinstance(event, alloy.ApprovalRequested):
            raise ZeroDivisionError("oops")

    async with alloy.open_agent(Agent(model=ScriptedModel(calls("ask_color")), tools=[ask_color])) as ref:
        with pytest.raises(alloy.HookError, match="on_event raised ZeroDivisionError"):
            await ref.chat("go", on_event=breaks)

        assert await ref.pending() == ()


async def test_an_error_of_on_event_at_an_approval_ends_the_run_and_nothing_pends() -> None:
    def breaks(event: alloy.Event) -> None:
        if isinstance(event, alloy.ApprovalRequested):
            raise ZeroDivisionError("oops")

    disk = Disk()
    async with alloy.open_agent(agent([calls("write", path="a"), calls("write", path="b")], disk=disk)) as ref:
        with pytest.raises(alloy.HookError, match="on_event raised ZeroDivisionError"):
            await ref.chat("go", on_event=breaks)

        assert await ref.pending() == ()
    assert disk.done == []


# Agents that work for others.


async def inside(mid: Agent, root: Agent, use: Callable[[AgentRef], Awaitable[None]]) -> None:
    """Both agents in one run."""
    async with alloy.open_agent(root.evolve(tools=[*root.tools, alloy.as_tool(mid)])) as ref:
        await use(ref)


async def through_mailboxes(mid: Agent, root: Agent, use: Callable[[AgentRef], Awaitable[None]]) -> None:
    """Each agent is a server of its own."""
    async with alloy.Team({"mid": mid, "root": root.evolve(tools=[*root.tools, alloy.as_tool("mid")])}) as team:
        await use(team["root"])


WAYS = pytest.mark.parametrize("way", [inside, through_mailboxes])


@WAYS
async def test_depth_three_edited_expired_denied_answered_out_of_order(way: Any, autojump_clock: MockClock) -> None:
    disk = Disk()
    leaf_model = ScriptedModel(
        [calls("write", path="edited"), calls("slow", path="expired"), calls("write", path="denied"), calls("paint")],
        says("the leaf is done"),
        name="leaf",
    )

    async def paint(ctx: ToolContext) -> str:
        """Paint."""
        return f"painted {await ctx.ask('which colour?')}"

    leaf = Agent(
        model=leaf_model,
        name="leaf",
        tools=[disk.tool(), disk.tool("slow"), paint],
        middleware=[AskFor("slow", expires=60)],
    )
    mid_model = ScriptedModel([calls("leaf", prompt="?"), calls("write", path="mid")], says("mid is done"), name="mid")
    mid = Agent(model=mid_model, name="mid", tools=[alloy.as_tool(leaf), disk.tool()])
    root_model = ScriptedModel(calls("mid", prompt="?"), says("all is done"), name="root")
    root = Agent(model=root_model, name="root", middleware=[AskFor("write")])

    async def use(ref: AgentRef) -> None:
        request = await ref.send_message("go")
        first = await asked(ref, 1)  # of the two calls of mid's answer one waits, and so neither runs
        assert list(first) == ["mid"]
        await ref.decide(first["mid"].id, Approve())
        await trio.testing.wait_all_tasks_blocked()
        pending = await asked(ref, 3)
        await ref.decide(pending["denied"].id, Deny("not that one"))
        await trio.sleep(61)
        assert list(await asked(ref, 1)) == ["edited"]
        assert disk.done == []
        await ref.decide(pending["edited"].id, Edit({"path": "better"}))
        question = (await asked_questions(ref, 1))["which colour?"]
        await ref.decide(question.id, Answer("red"))
        result = await ref.result(request)

        assert result.text == "all is done"
        assert first["mid"].agent_path == ("root", "mid")
        assert {p.agent_path for p in (*pending.values(), question)} == {("root", "mid", "leaf")}

    await way(mid, root, use)

    assert told(leaf_model) == [
        (Outcome.OK, "wrote better"),
        (Outcome.DENIED, "denied: nobody approved of this call within 60 s; it did not run"),
        (Outcome.DENIED, "denied: not that one; the call did not run"),
        (Outcome.OK, "painted red"),
    ]
    assert told(mid_model) == [(Outcome.OK, "the leaf is done"), (Outcome.OK, "wrote mid")]
    assert told(root_model) == [(Outcome.OK, "mid is done")]
    assert sorted(disk.done) == ["better", "mid"]


async def test_what_a_member_needs_decided_lies_on_both_desks_and_either_decides() -> None:
    disk = Disk()
    mid = Agent(
        model=ScriptedModel([calls("write", path="a"), calls("write", path="b")], says("done")),
        name="mid",
        tools=[disk.tool()],
        middleware=[AskFor()],
    )
    root = Agent(model=ScriptedModel(calls("mid", prompt="?"), says("ok")), tools=[alloy.as_tool("mid")])
    async with alloy.Team({"root": root, "mid": mid}) as team:
        request = await team["root"].send_message("go")
        pending = await asked(team["root"], 2)
        assert await asked(team["mid"], 2) == pending
        await team["mid"].decide(pending["a"].id, Approve())
        assert list(await asked(team["root"], 1)) == ["b"]
        await team["root"].decide(pending["b"].id, Approve())
        await team["root"].result(request)

        assert await team["mid"].pending() == await team["root"].pending() == ()
    assert sorted(disk.done) == ["a", "b"]


@pytest.mark.parametrize("who", ["mid", "root"])
async def test_a_crash_of_either_clears_both_desks(who: str, autojump_clock: MockClock) -> None:
    disk = Disk()
    mid = agent(calls("write", path="a"), says("never"), disk=disk, name="mid")
    root = Agent(model=ScriptedModel(calls("mid", prompt="?"), says("a pity")), tools=[alloy.as_tool("mid")])
    async with alloy.Team({"root": root, "mid": mid}) as team:
        request = await team["root"].send_message("go")
        await asked(team["root"])
        otp.exit(team[who].whereis(), otp.Killed())  # type: ignore[arg-type]
        if who == "root":
            with pytest.raises(otp.ServerExited):
                await team["root"].result(request)
        else:
            assert (await team["root"].result(request)).tool_calls[0].outcome is Outcome.ERROR
        await trio.testing.wait_all_tasks_blocked()

        assert await team["root"].pending() == await team["mid"].pending() == ()
        assert (await team["mid"].health()).status == "idle"
    assert disk.done == []


@WAYS
async def test_no_delegation_goes_round_an_approval(way: Any) -> None:
    disk = Disk()
    mid = Agent(model=ScriptedModel(calls("write", path="a"), says("done")), name="mid", tools=[disk.tool()])
    root = Agent(model=ScriptedModel(calls("mid", prompt="?"), says("ok")), middleware=[AskFor()])

    async def use(ref: AgentRef) -> None:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]
        assert disk.done == []
        await ref.decide(pending.id, Deny())
        await ref.result(request)

    await way(mid, root, use)

    assert disk.done == []


async def test_no_handing_over_goes_round_an_approval() -> None:
    disk = Disk()
    other = Agent(model=ScriptedModel(calls("write", path="a"), says("done")), name="other", tools=[disk.tool()])
    root = Agent(
        model=ScriptedModel(calls("transfer_to_other")), tools=[alloy.handoff_to(other)], middleware=[AskFor()]
    )
    async with alloy.open_agent(root) as ref:
        request = await ref.send_message("go")
        pending = (await asked(ref))["a"]
        await ref.decide(pending.id, Deny())
        assert (await ref.result(request)).agent == "other"

    assert disk.done == []


async def test_a_sub_agent_of_a_plain_run_is_denied_what_its_parent_wants_approved() -> None:
    disk, model = Disk(), ScriptedModel(calls("write", path="a"), says("a pity"), name="mid")
    mid = Agent(model=model, name="mid", tools=[disk.tool()])

    await alloy.run(
        "go",
        model=ScriptedModel(calls("mid", prompt="?"), says("ok")),
        tools=[alloy.as_tool(mid)],
        middleware=[AskFor()],
    )

    assert disk.done == []
    assert told(model)[0][0] is Outcome.DENIED


@pytest.mark.parametrize("when", range(6))
async def test_cancelling_the_root_at_any_moment_leaves_nothing_pending(when: int, autojump_clock: MockClock) -> None:
    disk = Disk()
    mid = agent([calls("write", path="a"), calls("write", path="b")], says("done"), disk=disk, name="mid")
    root = Agent(model=ScriptedModel(calls("mid", prompt="?"), says("ok")), tools=[alloy.as_tool("mid")])
    async with alloy.Team({"root": root, "mid": mid}) as team:
        request = await team["root"].send_message("go")
        for _ in range(when):
            await trio.testing.wait_all_tasks_blocked()
            for pending in (await team["root"].pending())[:1]:
                await team["root"].decide(pending.id, Approve())
        try:
            await team["root"].cancel()
        except alloy.UnknownRequest:
            assert when > 2
        result = await team["root"].result(request)
        await trio.testing.wait_all_tasks_blocked()

        assert await team["mid"].pending() == await team["root"].pending() == ()
        assert (await team["mid"].health()).status == "idle"
    assert result.status in (Status.CANCELLED, Status.COMPLETED)


FATES = ("approve", "edit", "deny", "expire", "cancel")


@given(fates=st.lists(st.sampled_from(FATES), min_size=1, max_size=6), random=st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_whatever_is_decided_in_whatever_order_each_call_gets_what_was_decided_for_it(
    fates: list[str], random: Random
) -> None:
    disk = Disk()
    batch = [calls("write", id=f"c{n}", path=f"{n}") for n in range(len(fates))]
    model = ScriptedModel(batch, says("ok"))
    expected = {
        "approve": Outcome.OK,
        "edit": Outcome.OK,
        "deny": Outcome.DENIED,
        "expire": Outcome.DENIED,
        "cancel": Outcome.CANCELLED,
    }

    async def act() -> alloy.Result:
        async with alloy.open_agent(agent(model=model, disk=disk, middleware=[AskFor(expires=60)])) as ref:
            request = await ref.send_message("go")
            pending = await asked(ref, len(fates))
            order = list(enumerate(fates))
            random.shuffle(order)
            for number, (place, fate) in enumerate(order):
                await trio.sleep(random.random())
                await one_fate(ref, place, pending[f"{place}"], fate)
                undecided = [f for _, f in order[: number + 1] if f == "expire"] + [f for _, f in order[number + 1 :]]
                assert len(await ref.pending()) == len(undecided)
                assert disk.done == [] or not undecided
            return await ref.result(request)

    async def one_fate(ref: AgentRef, place: int, pending: Pending, fate: str) -> None:
        match fate:
            case "approve":
                await ref.decide(pending.id, Approve())
            case "edit":
                await ref.decide(pending.id, Edit({"path": f"{place}!"}))
            case "deny":
                await ref.decide(pending.id, Deny())
            case "cancel":
                assert await ref.cancel_tool(f"c{place}")

    result = trio.run(act, clock=trio.testing.MockClock(autojump_threshold=0))

    assert [outcome for outcome, _ in told(model)] == [expected[fate] for fate in fates]
    assert [record.outcome for record in result.tool_calls] == [expected[fate] for fate in fates]
    paths = {"approve": "{}", "edit": "{}!"}
    assert disk.done == [paths[fate].format(n) for n, fate in enumerate(fates) if fate in paths]


async def test_a_tool_in_a_thread_may_ask_and_be_cancelled() -> None:
    def asks(ctx: ToolContext) -> str:
        """Ask."""
        return trio.from_thread.run(ctx.ask, "which colour?")

    send, receive = trio.open_memory_channel[alloy.Event](100)

    def watch(event: alloy.Event) -> None:
        if isinstance(event, alloy.ApprovalRequested | alloy.ApprovalDecided):
            send.send_nowait(event)

    model = ScriptedModel(calls("asks", id="c1"), calls("asks", id="c2"), says("ok"))
    async with alloy.open_agent(Agent(model=model, tools=[asks])) as ref:
        request = await ref.send_message("go", on_event=watch)
        first = await receive.receive()
        assert isinstance(first, alloy.ApprovalRequested)
        await ref.decide(first.pending.id, Answer("red"))
        await receive.receive()
        await receive.receive()
        assert await ref.cancel_tool("c2")
        await ref.result(request)
        last = await receive.receive()

        assert await ref.pending() == ()
    assert isinstance(last, alloy.ApprovalDecided)
    assert told(model, 1) == [(Outcome.OK, "red")]
    assert told(model, 2)[0][0] is Outcome.CANCELLED


async def test_an_expiry_tells_the_time_that_was_given_however_long_the_vetting_took(autojump_clock: MockClock) -> None:
    pending = alloy.Pending(kind="approval", question="?", created_at=1_000.0, expires_at=1_060.0)

    assert await Slot(pending, (), limit=59.9993).wait() == Expired(60.0)
