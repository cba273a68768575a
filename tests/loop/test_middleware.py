"""Middleware changes the course of a run."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

import alloy
from alloy import Block, Continue, Edit, Halt, Middleware, Outcome, Request, RunInfo, Status, ToolCall
from alloy.testing import ScriptedModel, calls, calls_raw, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class On(Middleware):
    """A middleware made of one function for one hook, and a list of what it saw."""

    def __init__(self, hook: str, answer: Any = None) -> None:
        self.seen: list[Any] = []

        async def act(run: RunInfo, thing: Any) -> Any:
            self.seen.append(thing)
            return answer(run, thing) if callable(answer) else answer

        setattr(self, hook, act)


def one(hook: str, answer: Any = None) -> Middleware:
    """A middleware whose class has just this hook, as a user would write it."""
    seen: list[Any] = []

    async def act(self: Middleware, run: RunInfo, thing: Any) -> Any:
        seen.append(thing)
        return answer(run, thing) if callable(answer) else answer

    made = type("Mine", (Middleware,), {hook: act})()
    made.seen = seen
    return made  # type: ignore[no-any-return]


async def test_before_completion_sees_the_request_and_may_change_it() -> None:
    def louder(run: RunInfo, request: Request) -> Request:
        return attrs.evolve(request, system=request.system + "!")

    first, second = one("before_completion", louder), one("before_completion", louder)
    model = ScriptedModel(says("ok"))

    await alloy.run("x", model=model, system_prompt="be", middleware=[first, second])

    assert model.requests[0].system == "be!!"
    assert [request.system for request in second.seen] == ["be!"]  # type: ignore[attr-defined]


async def test_before_completion_may_halt_before_anybody_is_asked() -> None:
    model = ScriptedModel()

    result = await alloy.run("x", model=model, middleware=[one("before_completion", Halt("not today"))])

    assert (result.status, result.reason, result.turns) == (Status.HALTED, "not today", 0)
    with pytest.raises(alloy.RunIncomplete, match="not today"):
        result.unwrap()


async def test_a_blocked_call_does_not_run_and_the_model_is_told_why() -> None:
    def no_ones(run: RunInfo, call: ToolCall) -> Block | None:
        return Block("no ones") if call.arguments["a"] == 1 else None

    model = ScriptedModel([calls("add", a=1, b=2), calls("add", a=2, b=2)], says("ok"))
    events: list[alloy.Event] = []

    result = await alloy.run(
        "x", model=model, tools=[add], middleware=[one("before_tool_call", no_ones)], on_event=events.append
    )

    told = model.requests[1].messages[-1]
    assert isinstance(told, alloy.ToolMessage)
    assert [(r.outcome, r.text) for r in told.results] == [(Outcome.BLOCKED, "blocked: no ones"), (Outcome.OK, "4")]
    assert [record.outcome for record in result.tool_calls] == [Outcome.BLOCKED, Outcome.OK]
    assert [e.call.arguments for e in events if isinstance(e, alloy.ToolStarted)] == [{"a": 2, "b": 2}]


@pytest.mark.works("Middleware: edit a request, block, edit or halt at a call, ask for more")
async def test_an_edited_call_runs_with_the_new_arguments_and_the_history_shows_them() -> None:
    def to_nine(run: RunInfo, call: ToolCall) -> Edit:
        return Edit({**call.arguments, "a": 9})

    later = one("before_tool_call")
    model = ScriptedModel(calls("add", id="c1", a=1, b=2), says("ok"))

    result = await alloy.run("x", model=model, tools=[add], middleware=[one("before_tool_call", to_nine), later])

    (record,) = result.tool_calls
    assert (record.arguments, record.edited_from) == ({"a": 9, "b": 2}, {"a": 1, "b": 2})
    answer = model.requests[1].messages[1]
    assert isinstance(answer, alloy.AssistantMessage)
    assert [(c.id, c.arguments, c.arguments_text) for c in answer.tool_calls] == [("c1", {"a": 9, "b": 2}, "")]
    assert [c.arguments for c in later.seen] == [{"a": 9, "b": 2}]  # type: ignore[attr-defined]


async def test_an_edit_is_validated_like_any_other_call() -> None:
    model = ScriptedModel(calls("add", a=1, b=2), says("ok"))

    result = await alloy.run("x", model=model, tools=[add], middleware=[one("before_tool_call", Edit({"a": "nine"}))])

    assert result.tool_calls[0].outcome is Outcome.INVALID


async def test_a_halt_runs_no_tool_of_the_batch_and_the_history_is_whole() -> None:
    def at_two(run: RunInfo, call: ToolCall) -> Halt | None:
        return Halt("enough") if call.arguments["a"] == 2 else None

    events: list[alloy.Event] = []
    model = ScriptedModel([calls("add", a=1, b=0), calls("add", a=2, b=0), calls("add", a=3, b=0)])

    result = await alloy.run(
        "x", model=model, tools=[add], middleware=[one("before_tool_call", at_two)], on_event=events.append
    )

    assert (result.status, result.reason) == (Status.HALTED, "enough")
    last = result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert [r.outcome for r in last.results] == [Outcome.NOT_STARTED] * 3
    assert not [event for event in events if isinstance(event, alloy.ToolStarted)]
    seen = [e.message for e in events if isinstance(e, alloy.MessageAdded | alloy.MessageFinished)]
    assert tuple(seen) == result.messages


async def test_calls_that_cannot_run_are_not_vetted() -> None:
    watch = one("before_tool_call")
    model = ScriptedModel([calls("nothing"), calls_raw("add", "{"), calls("add", a=1, b=1)], says("ok"))

    await alloy.run("x", model=model, tools=[add], middleware=[watch])

    assert [call.arguments for call in watch.seen] == [{"a": 1, "b": 1}]  # type: ignore[attr-defined]


async def test_after_completion_may_ask_for_more() -> None:
    answers = iter([Continue("shorter"), None])
    model = ScriptedModel(says("a long answer"), says("short"))

    result = await alloy.run("x", model=model, middleware=[one("after_completion", lambda run, message: next(answers))])

    assert result.text == "short"
    assert model.requests[1].messages[-1].text == "shorter"  # type: ignore[union-attr]
    assert model.requests[1].messages[-1].source == "engine"  # type: ignore[union-attr]


async def test_after_completion_may_halt() -> None:
    result = await alloy.run(
        "x", model=ScriptedModel(says("rude words")), middleware=[one("after_completion", Halt("rude"))]
    )

    assert (result.status, result.reason, result.text) == (Status.HALTED, "rude", "rude words")


async def test_after_completion_is_not_asked_of_answers_with_calls() -> None:
    watch = one("after_completion")

    await alloy.run("x", model=ScriptedModel(calls("add", a=1, b=1), says("2")), tools=[add], middleware=[watch])

    assert [message.text for message in watch.seen] == ["2"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("hook", "wrong", "allowed"),
    [
        ("before_completion", Block("x"), "Request, Halt or None"),
        ("before_tool_call", Continue("x"), "Block, Edit, Halt or None"),
        ("before_tool_call", True, "Block, Edit, Halt or None"),
        ("after_completion", Edit({}), "Halt, Continue or None"),
    ],
)
async def test_what_a_hook_may_not_return_is_a_hook_error_that_lists_the_allowed(
    hook: str, wrong: object, allowed: str
) -> None:
    model = ScriptedModel(calls("add", a=1, b=1), says("ok"))

    with pytest.raises(alloy.HookError, match=f"{hook} of Mine returned .*{allowed}") as caught:
        await alloy.run("x", model=model, tools=[add], middleware=[one(hook, lambda *_: wrong)])

    assert isinstance(caught.value.__cause__, TypeError)
    assert (caught.value.hook, caught.value.middleware) == (hook, "Mine")


@pytest.mark.parametrize("hook", ["before_completion", "before_tool_call", "after_completion"])
async def test_a_hook_that_raises_ends_the_run_with_a_whole_history(hook: str) -> None:
    model = ScriptedModel(calls("add", a=1, b=1), says("ok"))

    with pytest.raises(alloy.HookError, match=f"{hook} of Mine raised ZeroDivisionError") as caught:
        await alloy.run("x", model=model, tools=[add], middleware=[one(hook, lambda *_: 1 / 0)])

    assert caught.value.result is not None
    messages = caught.value.result.messages
    assert not (isinstance(messages[-1], alloy.AssistantMessage) and messages[-1].tool_calls)
