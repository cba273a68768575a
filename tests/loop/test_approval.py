"""Approvals inside a run that cannot wait: asked at once, or denied."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

import alloy
from alloy import Answer, Approve, Ask, Block, Deny, Edit, Middleware, Outcome, Pending, RunInfo, Status, ToolCall
from alloy.testing import ScriptedModel, calls, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@alloy.tool(approve=True)
async def erase(path: str) -> str:
    """Erase a file."""
    return f"erased {path}"


@attrs.frozen(eq=False)
class Asks(Middleware):
    """Asks before every call."""

    approver: Any = None
    expires: float | None = None
    question: str = "may it?"

    async def before_tool_call(self, run: RunInfo, call: ToolCall) -> Ask:
        return Ask(self.question, approver=self.approver, expires=self.expires)


async def told(
    *steps: Any, tools: Any = (add,), events: list[alloy.Event] | None = None, **options: Any
) -> list[alloy.ToolResult]:
    """What the model is told of the calls of its first answer."""
    model = ScriptedModel(list(steps), says("ok"))
    on_event = None if events is None else events.append
    result = await alloy.run("x", model=model, tools=list(tools), on_event=on_event, **options)
    assert result.status is Status.COMPLETED
    return list(model.requests[1].messages[-1].results)  # type: ignore[union-attr]


@pytest.mark.works("Approvals: asked at once or answered later, in any order; nothing runs that nobody approved")
@pytest.mark.parametrize("options", [{"middleware": [Asks()]}, {"tools": [erase]}])
async def test_where_nobody_can_approve_a_call_is_denied_and_the_model_told_why(options: Any) -> None:
    call = calls("erase", path="x") if "tools" in options else calls("add", a=1, b=1)

    (result,) = await told(call, **options)

    assert result.outcome is Outcome.DENIED
    assert result.text == "denied: this call needs an approval, and nobody is there to give it; it did not run"


@pytest.mark.parametrize(
    ("decision", "outcome", "text"),
    [
        (True, Outcome.OK, "3"),
        (Approve(), Outcome.OK, "3"),
        (Edit({"a": 5, "b": 2}), Outcome.OK, "7"),
        (False, Outcome.DENIED, "denied: this call was not approved, and did not run"),
        (Deny("too big"), Outcome.DENIED, "denied: too big; the call did not run"),
    ],
)
@pytest.mark.parametrize("is_async", [False, True])
async def test_an_approver_decides_at_once(decision: Any, outcome: Outcome, text: str, is_async: bool) -> None:
    seen: list[Pending] = []

    def sync(pending: Pending) -> Any:
        seen.append(pending)
        return decision

    async def later(pending: Pending) -> Any:
        await trio.lowlevel.checkpoint()
        return sync(pending)

    events: list[alloy.Event] = []
    (result,) = await told(
        calls("add", id="c1", a=1, b=2), middleware=[Asks(later if is_async else sync)], events=events
    )

    assert (result.outcome, result.text) == (outcome, text)
    (pending,) = seen
    assert (pending.kind, pending.question, pending.agent_path) == ("approval", "may it?", ("agent",))
    assert pending.call is not None
    assert (pending.call.id, pending.call.arguments) == ("c1", {"a": 1, "b": 2})
    (asked,) = [event for event in events if isinstance(event, alloy.ApprovalRequested)]
    (decided,) = [event for event in events if isinstance(event, alloy.ApprovalDecided)]
    assert asked.pending is pending
    assert decided.pending_id == pending.id
    assert decided.decision == (decision if not isinstance(decision, bool) else Approve() if decision else Deny())
    started = [event for event in events if isinstance(event, alloy.ToolStarted)]
    assert len(started) == (1 if outcome is Outcome.OK else 0)


async def test_an_edit_by_an_approver_shows_in_history_and_record() -> None:
    model = ScriptedModel(calls("add", id="c1", a=1, b=2), says("ok"))

    result = await alloy.run("x", model=model, tools=[add], middleware=[Asks(lambda pending: Edit({"a": 5, "b": 2}))])

    (record,) = result.tool_calls
    assert (record.arguments, record.edited_from) == ({"a": 5, "b": 2}, {"a": 1, "b": 2})
    (call,) = model.requests[1].messages[1].tool_calls  # type: ignore[union-attr]
    assert (call.id, call.name, call.arguments) == ("c1", "add", {"a": 5, "b": 2})


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "must be Approve, Edit or Deny, got None"),
        ("yes", "must be Approve, Edit or Deny, got 'yes'"),
        (Answer("yes"), "must be Approve, Edit or Deny, got Answer"),
        (Edit({"a": "x", "b": 1}), "the arguments of add do not fit: .*expected integer"),
        (ZeroDivisionError("oops"), "ZeroDivisionError: oops"),
    ],
)
async def test_an_approver_that_fails_approves_of_nothing(answer: Any, why: str) -> None:
    def approver(pending: Pending) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    events: list[alloy.Event] = []
    with pytest.raises(alloy.HookError, match=why) as caught:
        await told(calls("add", a=1, b=2), middleware=[Asks(approver)], events=events)

    assert caught.value.hook == "ask"
    assert isinstance(caught.value.__cause__, TypeError | ValueError | ZeroDivisionError)
    assert not [event for event in events if isinstance(event, alloy.ToolStarted)]


async def test_an_approver_that_takes_too_long_has_denied(autojump_clock: trio.testing.MockClock) -> None:
    async def sleeps(pending: Pending) -> bool:
        await trio.sleep_forever()
        return True

    events: list[alloy.Event] = []
    (result,) = await told(calls("add", a=1, b=2), middleware=[Asks(sleeps, expires=60)], events=events)

    assert trio.current_time() == 60
    assert result.outcome is Outcome.DENIED
    assert result.text == "denied: nobody approved of this call within 60 s; it did not run"
    (asked,) = [event for event in events if isinstance(event, alloy.ApprovalRequested)]
    assert asked.pending.expires_at == asked.pending.created_at + 60
    (decided,) = [event for event in events if isinstance(event, alloy.ApprovalDecided)]
    assert decided.decision == Deny("nobody decided within 60 s")


async def test_no_call_runs_before_all_are_decided() -> None:
    log: list[str] = []

    async def note(what: str) -> str:
        """Note."""
        log.append(f"ran {what}")
        return "ok"

    def approver(pending: Pending) -> bool:
        assert pending.call is not None
        log.append(f"asked {pending.call.arguments['what']}")
        return True

    await told(calls("note", what="a"), calls("note", what="b"), tools=[note], middleware=[Asks(approver)])

    assert log == ["asked a", "asked b", "ran a", "ran b"]


async def test_a_block_or_halt_by_another_middleware_spares_the_question() -> None:
    class Blocks(Middleware):
        async def before_tool_call(self, run: RunInfo, call: ToolCall) -> Block | None:
            return Block("never")

    asked: list[Pending] = []
    (result,) = await told(calls("add", a=1, b=2), middleware=[Asks(asked.append), Blocks()])

    assert (result.outcome, asked) == (Outcome.BLOCKED, [])


async def test_nobody_is_asked_about_a_call_that_cannot_run() -> None:
    asked: list[Pending] = []
    results = await told(calls("add", a="x", b=2), calls("nothing"), middleware=[Asks(asked.append)])

    assert [result.outcome for result in results] == [Outcome.INVALID, Outcome.UNKNOWN_TOOL]
    assert asked == []


async def test_two_approvers_must_both_approve_and_the_second_sees_the_edit() -> None:
    seen: list[Any] = []

    def second(pending: Pending) -> bool:
        assert pending.call is not None
        seen.append(pending.call.arguments)
        return False

    (result,) = await told(
        calls("add", a=1, b=2), middleware=[Asks(lambda pending: Edit({"a": 9, "b": 9})), Asks(second)]
    )

    assert result.outcome is Outcome.DENIED
    assert seen == [{"a": 9, "b": 9}]


async def test_a_cancelled_approver_leaves_a_whole_history(autojump_clock: trio.testing.MockClock) -> None:
    async def sleeps(pending: Pending) -> bool:
        await trio.sleep_forever()
        return True

    model = ScriptedModel(calls("add", a=1, b=2))
    events: list[alloy.Event] = []
    async with alloy.stream("x", model=model, tools=[add], middleware=[Asks(sleeps)], on_event=events.append) as stream:
        await trio.sleep(1)
        stream.cancel()
        result = await stream.result()

    assert result.status is Status.CANCELLED
    assert [r.outcome for r in result.messages[-1].results] == [Outcome.NOT_STARTED]  # type: ignore[union-attr]
    assert len([event for event in events if isinstance(event, alloy.ApprovalDecided)]) == 1


async def test_a_question_of_a_tool_is_an_error_where_nobody_can_answer() -> None:
    async def asks(ctx: alloy.ToolContext) -> str:
        """Ask."""
        return await ctx.ask("which one?")

    (result,) = await told(calls("asks"), tools=[asks])

    assert (result.outcome, "nobody is there to answer 'which one?'" in result.text) == (Outcome.ERROR, True)


@pytest.mark.parametrize("expires", [0, -1, float("nan")])
def test_an_ask_that_expires_at_once_is_refused(expires: float) -> None:
    with pytest.raises(ValueError, match="expires must be more than 0 seconds"):
        Ask("may it?", expires=expires)


def test_events_of_approvals_are_json() -> None:
    pending = Pending(
        id="p1", kind="approval", question="may it?", call=ToolCall("c1", "add", {"a": 1}), created_at=1.0
    )

    asked = alloy.ApprovalRequested(pending).to_json()
    decided = alloy.ApprovalDecided("p1", Edit({"a": 2})).to_json()

    assert asked["kind"] == "approval_requested"
    assert asked["pending"]["call"]["arguments"] == {"a": 1}  # type: ignore[index,call-overload]
    assert decided["decision"] == {"kind": "edit", "arguments": {"a": 2}}


# Ready-made.


async def test_approve_tools_asks_about_the_tools_it_names_and_all_that_are_marked() -> None:
    asked: list[str] = []

    def approver(pending: Pending) -> bool:
        asked.append(pending.question)
        return True

    async def other() -> str:
        """Do nothing."""
        return "nothing"

    results = await told(
        calls("add", a=1, b=2),
        calls("other"),
        calls("erase", path="x"),
        tools=[add, other, erase],
        middleware=[alloy.ApproveTools("add", ask=approver)],
        name="root",
    )

    assert [result.text for result in results] == ["3", "nothing", "erased x"]
    assert asked == ["root: add(a=1, b=2)?", "root: erase(path='x')?"]


def all_but_erase(call: ToolCall) -> bool:
    return call.name != "erase"


@pytest.mark.parametrize(
    "which", [("add", "other"), (["add", "other"],), ({"add", "other"},), (all_but_erase,), (alloy.tool(add),)]
)
async def test_approve_tools_takes_names_lists_tools_and_functions(which: Any) -> None:
    (result,) = await told(calls("add", a=1, b=2), middleware=[alloy.ApproveTools(*which)])

    assert result.outcome is Outcome.DENIED


async def test_a_function_that_cannot_say_which_calls_are_meant_approves_of_none() -> None:
    with pytest.raises(alloy.HookError, match="before_tool_call of ApproveTools raised KeyError"):
        await told(
            calls("add", a=1, b=2), middleware=[alloy.ApproveTools(lambda call: "rm" in call.arguments["command"])]
        )


async def test_a_long_call_is_shown_in_part_and_is_whole_in_the_pending() -> None:
    seen: list[Pending] = []

    def approver(pending: Pending) -> bool:
        seen.append(pending)
        return False

    await told(calls("erase", path="x" * 10_000), tools=[erase], middleware=[alloy.ApproveTools(ask=approver)])

    assert len(seen[0].question) < 600
    assert seen[0].call is not None
    assert seen[0].call.arguments["path"] == "x" * 10_000


def test_approve_tools_that_cannot_work_is_refused() -> None:
    async def later(call: ToolCall) -> bool:
        return True

    with pytest.raises(TypeError, match="ask must be callable"):
        alloy.ApproveTools("add", ask=True)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="names of tools, or functions of a call, got 3"):
        alloy.ApproveTools(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="must be no `async def`"):
        alloy.ApproveTools(later)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="expires must be more than 0"):
        alloy.ApproveTools("add", expires=0)


def test_equal_approve_tools_are_one_and_the_same_to_a_sub_agent() -> None:
    assert alloy.ApproveTools("add", expires=5) == alloy.ApproveTools(["add"], expires=5)
    assert alloy.ApproveTools("add") != alloy.ApproveTools("add", expires=5)


async def test_whoever_decides_sees_the_call_as_it_will_run() -> None:
    class Doubles(Middleware):
        async def before_tool_call(self, run: RunInfo, call: ToolCall) -> Edit:
            return Edit({"a": 2, "b": 4})

    questions: list[str] = []

    def edits(pending: Pending) -> Edit:
        questions.append(pending.question)
        return Edit({"a": 3, "b": 6})

    def approves(pending: Pending) -> bool:
        questions.append(pending.question)
        return True

    middleware = [alloy.ApproveTools("add", ask=edits), alloy.ApproveTools("add", ask=approves), Doubles()]
    (result,) = await told(calls("add", a=1, b=2), middleware=middleware)

    assert questions == ["agent: add(a=2, b=4)?", "agent: add(a=3, b=6)?"]
    assert result.text == "9"
