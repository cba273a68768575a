"""Middleware changes the course of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import alloy
from alloy import (
    Block,
    Continue,
    Edit,
    Halt,
    Middleware,
    Outcome,
    Request,
    RunInfo,
    Status,
    ToolCall,
    ToolResult,
)
from alloy.loop import ModelWork, RunWork, ToolWork, Work
from alloy.testing import ScriptedModel, calls, calls_raw, fails, hangs, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def one(hook: str, answer: Any = None) -> Middleware:
    """A middleware whose class has just this hook, as a user would write it."""
    seen: list[Any] = []

    async def act(self: Middleware, run: RunInfo, *things: Any) -> Any:
        seen.append(things[-1])
        return answer(run, *things) if callable(answer) else answer

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
        ("before_tool_call", Continue("x"), "Block, Edit, Ask, Halt or None"),
        ("before_tool_call", True, "Block, Edit, Ask, Halt or None"),
        ("after_tool_request", Continue("x"), "Halt or None"),
        ("after_tool_call", Block("x"), "ToolResult, Halt or None"),
        ("after_tool_call", "text", "ToolResult, Halt or None"),
        ("after_tool_execution", ToolResult("x"), "Halt or None"),
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


HOOKS = [
    "before_completion",
    "after_tool_request",
    "before_tool_call",
    "after_tool_call",
    "after_tool_execution",
    "after_completion",
]


@pytest.mark.parametrize("hook", HOOKS)
async def test_a_hook_that_raises_ends_the_run_with_a_whole_history(hook: str) -> None:
    model = ScriptedModel(calls("add", a=1, b=1), says("ok"))

    with pytest.raises(alloy.HookError, match=f"{hook} of Mine raised ZeroDivisionError") as caught:
        await alloy.run("x", model=model, tools=[add], middleware=[one(hook, lambda *_: 1 / 0)])

    assert caught.value.result is not None
    messages = caught.value.result.messages
    assert not (isinstance(messages[-1], alloy.AssistantMessage) and messages[-1].tool_calls)
    if hook == "after_tool_call":
        assert caught.value.result.tool_calls[0].outcome is Outcome.OK  # it ran, whatever became of the hook


class Order(Middleware):
    """Notes the name of every hook that is asked."""

    def __init__(self) -> None:
        self.names: list[str] = []


def _noting(hook: str) -> Any:
    async def note(self: Order, *args: Any) -> None:
        self.names.append(hook)

    return note


for _hook in ["session_start", *HOOKS, "on_error", "session_end"]:
    setattr(Order, _hook, _noting(_hook))


async def test_the_hooks_are_asked_in_their_order() -> None:
    order = Order()

    await alloy.run("x", model=ScriptedModel(calls("add", a=1, b=1), says("2")), tools=[add], middleware=[order])

    assert order.names == [
        "session_start",
        "before_completion",
        "after_tool_request",
        "before_tool_call",
        "after_tool_call",
        "after_tool_execution",
        "before_completion",
        "after_completion",
        "session_end",
    ]


async def test_a_halt_at_the_request_for_tools_runs_none_and_asks_about_none() -> None:
    vets = one("before_tool_call")
    model = ScriptedModel([says("let me add"), calls("add", a=1, b=1)])

    result = await alloy.run(
        "x", model=model, tools=[add], middleware=[one("after_tool_request", Halt("no tools")), vets]
    )

    assert (result.status, result.reason, result.text) == (Status.HALTED, "no tools", "let me add")
    assert [r.outcome for r in result.messages[-1].results] == [Outcome.NOT_STARTED]  # type: ignore[union-attr]
    assert vets.seen == []  # type: ignore[attr-defined]


async def test_after_tool_call_may_replace_a_result() -> None:
    def hide(run: RunInfo, call: ToolCall, result: ToolResult) -> ToolResult | None:
        return ToolResult(result.text.replace("3", "*"), details="hidden") if "3" in result.text else None

    later = one("after_tool_call")
    model = ScriptedModel([calls("add", id="c1", a=1, b=2), calls("add", a=2, b=2)], says("ok"))

    result = await alloy.run("x", model=model, tools=[add], middleware=[one("after_tool_call", hide), later])

    told = model.requests[1].messages[-1].results  # type: ignore[union-attr]
    assert [(r.text, r.name, r.outcome) for r in told] == [("*", "add", Outcome.OK), ("4", "add", Outcome.OK)]
    assert told[0].call_id == "c1"
    assert [r.text for r in later.seen] == ["*", "4"]  # type: ignore[attr-defined]
    assert [record.details for record in result.tool_calls] == ["hidden", None]


async def test_after_tool_call_is_asked_about_calls_that_did_not_run() -> None:
    watch = one("after_tool_call")
    blocks = one("before_tool_call", Block("no"))
    model = ScriptedModel([calls("add", a=1, b=1), calls("nothing")], says("ok"))

    await alloy.run("x", model=model, tools=[add], middleware=[blocks, watch])

    assert [r.outcome for r in watch.seen] == [Outcome.BLOCKED, Outcome.UNKNOWN_TOOL]  # type: ignore[attr-defined]


async def test_a_replaced_error_is_what_its_replacement_says() -> None:
    def mend(run: RunInfo, call: ToolCall, result: ToolResult) -> ToolResult:
        return ToolResult("mended") if result.is_error else ToolResult("broken", is_error=True)

    model = ScriptedModel([calls("add", a="x", b=1), calls("add", a=1, b=1)], says("ok"))

    result = await alloy.run("x", model=model, tools=[add], middleware=[one("after_tool_call", mend)])

    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.ERROR]


async def test_a_halt_after_a_call_stops_those_beside_it(autojump_clock: trio.testing.MockClock) -> None:
    @alloy.tool(concurrent=True)
    async def nap(seconds: float) -> str:
        """Sleep."""
        await trio.sleep(seconds)
        return "rested"

    def at_first(run: RunInfo, call: ToolCall, result: ToolResult) -> Halt:
        return Halt("one is enough")

    model = ScriptedModel([calls("nap", seconds=60), calls("nap", seconds=1), calls("add", a=1, b=1)])

    result = await alloy.run("x", model=model, tools=[nap, add], middleware=[one("after_tool_call", at_first)])

    assert (result.status, result.reason) == (Status.HALTED, "one is enough")
    assert trio.current_time() == 1
    assert [r.outcome for r in result.messages[-1].results] == [  # type: ignore[union-attr]
        Outcome.CANCELLED,
        Outcome.OK,
        Outcome.NOT_STARTED,
    ]
    assert [record.outcome for record in result.tool_calls] == [Outcome.CANCELLED, Outcome.OK, Outcome.NOT_STARTED]


async def test_a_result_is_kept_when_the_run_is_cancelled_while_it_is_looked_at(
    autojump_clock: trio.testing.MockClock,
) -> None:
    class Slow(Middleware):
        async def after_tool_call(self, run: RunInfo, call: ToolCall, result: ToolResult) -> None:
            await trio.sleep(60)

    model = ScriptedModel(calls("add", a=1, b=1))
    async with alloy.stream("x", model=model, tools=[add], middleware=[Slow()]) as stream:
        await trio.sleep(1)
        stream.cancel()
        result = await stream.result()

    assert result.status is Status.CANCELLED
    assert [r.text for r in result.messages[-1].results] == ["2"]  # type: ignore[union-attr]
    assert [(record.outcome, record.duration) for record in result.tool_calls] == [(Outcome.OK, 0)]


async def test_a_halt_after_the_batch_keeps_all_results() -> None:
    watch = one("after_tool_execution", Halt("enough"))

    result = await alloy.run("x", model=ScriptedModel(calls("add", a=1, b=1)), tools=[add], middleware=[watch])

    assert (result.status, result.reason) == (Status.HALTED, "enough")
    assert result.messages[-1] is watch.seen[0]  # type: ignore[attr-defined]
    assert result.messages[-1].results[0].text == "2"  # type: ignore[union-attr]


async def test_on_error_may_turn_the_error_into_a_halt() -> None:
    failing = ScriptedModel(says("one"), fails(alloy.BadRequest("no such thing")))
    more = one("after_completion", Continue("more"))

    result = await alloy.run("x", model=failing, middleware=[more, one("on_error", Halt("as expected"))])

    assert (result.status, result.reason, result.error) == (Status.HALTED, "as expected", None)
    assert result.text == "one"


async def test_on_error_that_has_nothing_to_say_leaves_the_error() -> None:
    watch = one("on_error")
    error = alloy.BadRequest("no such thing")

    with pytest.raises(alloy.BadRequest) as caught:
        await alloy.run("x", model=ScriptedModel(fails(error)), middleware=[watch])

    assert caught.value is error
    assert watch.seen == [error]  # type: ignore[attr-defined]


async def test_on_error_is_asked_about_fatal_tools_and_failed_hooks() -> None:
    async def breaks() -> None:
        """Break."""
        raise alloy.Fatal("the disk is full")

    watch = one("on_error", lambda run, error: Halt(type(error).__name__))
    fatal = await alloy.run("x", model=ScriptedModel(calls("breaks")), tools=[breaks], middleware=[watch])
    broken = one("before_completion", lambda *_: 1 / 0)
    hook = await alloy.run("x", model=ScriptedModel(says("ok")), middleware=[broken, watch])

    assert (fatal.reason, hook.reason) == ("Fatal", "HookError")


async def test_on_error_that_fails_is_the_error_and_the_first_one_is_beside_it() -> None:
    error = alloy.BadRequest("no such thing")

    with pytest.raises(alloy.HookError, match="on_error of Mine raised ZeroDivisionError") as caught:
        await alloy.run("x", model=ScriptedModel(fails(error)), middleware=[one("on_error", lambda *_: 1 / 0)])

    assert caught.value.others == (error,)


async def test_on_error_is_not_asked_when_the_run_is_cancelled(autojump_clock: trio.testing.MockClock) -> None:
    watch = one("on_error")
    async with alloy.stream("x", model=ScriptedModel(hangs()), middleware=[watch]) as stream:
        await trio.sleep(1)
        stream.cancel()
        assert (await stream.result()).status is Status.CANCELLED

    assert watch.seen == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("wrong", ["rm", None, 3])
async def test_an_edit_without_a_mapping_is_a_hook_error(wrong: Any) -> None:
    with pytest.raises(alloy.HookError, match="arguments of an Edit must be a mapping"):
        await alloy.run(
            "x",
            model=ScriptedModel(calls("add", a=1, b=1)),
            tools=[add],
            middleware=[one("before_tool_call", lambda *_: Edit(wrong))],
        )


async def test_two_edits_keep_what_the_model_had_asked_for() -> None:
    def more(run: RunInfo, call: ToolCall) -> Edit:
        return Edit({**call.arguments, "a": call.arguments["a"] + 1})  # type: ignore[operator]

    model = ScriptedModel(calls("add", a=1, b=0), says("ok"))

    result = await alloy.run(
        "x", model=model, tools=[add], middleware=[one("before_tool_call", more), one("before_tool_call", more)]
    )

    assert (result.tool_calls[0].arguments["a"], result.tool_calls[0].edited_from) == (3, {"a": 1, "b": 0})


# Measuring.


class Measures(Middleware):
    """Notes each piece of work when it begins and when it is over."""

    inherited = True

    def __init__(self) -> None:
        self.log: list[str] = []

    @contextmanager
    def around(self, run: RunInfo, work: Work) -> Iterator[None]:
        what = f"{type(work).__name__} of {'/'.join(run.agent_path)}"
        self.log.append(f"{what} begins")
        try:
            yield
        except BaseException as error:
            self.log.append(f"{what} breaks off: {type(error).__name__}")
            raise
        match work:
            case RunWork(result=result):
                came = result and result.status
            case ModelWork(answer=answer):
                came = answer and answer.stop.reason
            case ToolWork(result=result):
                came = result and result.outcome
        self.log.append(f"{what}: {came}")


async def test_around_sees_runs_models_and_tools_and_what_comes_of_them() -> None:
    measures = Measures()
    helper = alloy.Agent(model=ScriptedModel(says("fine")), name="helper")
    model = ScriptedModel([calls("helper", prompt="?"), calls("add", a="x", b=1)], says("ok"))

    await alloy.run("x", model=model, tools=[alloy.as_tool(helper), add], middleware=[measures], name="lead")

    assert measures.log == [
        "RunWork of lead begins",
        "ModelWork of lead begins",
        "ModelWork of lead: tool_use",
        "ToolWork of lead begins",
        "RunWork of lead/helper begins",
        "ModelWork of lead/helper begins",
        "ModelWork of lead/helper: end_turn",
        "RunWork of lead/helper: completed",
        "ToolWork of lead: ok",
        "ModelWork of lead begins",
        "ModelWork of lead: end_turn",
        "RunWork of lead: completed",
    ]


async def test_around_sees_errors_and_cancellation_and_changes_neither(autojump_clock: trio.testing.MockClock) -> None:
    measures = Measures()
    with pytest.raises(alloy.BadRequest):
        await alloy.run("x", model=ScriptedModel(fails(alloy.BadRequest("no"))), middleware=[measures])
    with trio.move_on_after(1):
        await alloy.run("x", model=ScriptedModel(hangs()), middleware=[measures])

    assert measures.log == [
        "RunWork of agent begins",
        "ModelWork of agent begins",
        "ModelWork of agent breaks off: BadRequest",
        "RunWork of agent: error",
        "RunWork of agent begins",
        "ModelWork of agent begins",
        "ModelWork of agent breaks off: Cancelled",
        "RunWork of agent breaks off: Cancelled",
    ]


@pytest.mark.parametrize("when", ["made", "entered", "left"])
async def test_what_measures_and_fails_is_logged_and_changes_nothing(
    when: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Middleware):
        def around(self, run: RunInfo, work: Work) -> Any:
            if when == "made":
                raise ZeroDivisionError("broken")
            return self.block()

        @contextmanager
        def block(self) -> Iterator[None]:
            if when == "entered":
                raise ZeroDivisionError("broken")
            yield
            raise ZeroDivisionError("broken")

    measures = Measures()
    result = await alloy.run("x", model=ScriptedModel(says("ok")), middleware=[Broken(), measures])

    assert result.text == "ok"
    assert measures.log[-1] == "RunWork of agent: completed"
    assert len([record for record in caplog.records if record.exc_info]) == 2  # of the run and the model


async def test_a_middleware_that_is_inherited_is_asked_once_where_both_have_it() -> None:
    @attrs.frozen
    class Counts(Middleware):
        inherited = True
        seen: list[str] = attrs.field(factory=list, eq=False)

        async def before_completion(self, run: RunInfo, request: Request) -> None:
            self.seen.append(run.agent.name)

    outer, inner = Counts(), Counts()
    helper = alloy.Agent(model=ScriptedModel(says("fine")), name="helper", middleware=[inner])
    model = ScriptedModel(calls("helper", prompt="?"), says("ok"))

    await alloy.run("x", model=model, tools=[alloy.as_tool(helper)], middleware=[outer], name="lead")

    assert (outer.seen, inner.seen) == (["lead", "lead"], ["helper"])


async def test_a_middleware_is_not_inherited_unless_it_says_so() -> None:
    watch = one("before_completion")
    helper = alloy.Agent(model=ScriptedModel(says("fine")), name="helper")
    model = ScriptedModel(calls("helper", prompt="?"), says("ok"))

    await alloy.run("x", model=model, tools=[alloy.as_tool(helper)], middleware=[watch])

    assert len(watch.seen) == 2  # type: ignore[attr-defined]
