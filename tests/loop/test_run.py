"""The loop, from a prompt to a result."""

from __future__ import annotations

import gc
import weakref
from typing import Annotated, Any

import attrs
import pytest
import trio

import alloy
from alloy import Outcome, Settings, Status, StopReason, ToolContext, Usage
from alloy.testing import ScriptedModel, calls, cuts, fails, hangs, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def test_a_prompt_goes_in_and_an_answer_comes_out() -> None:
    model = ScriptedModel(says("hello", usage=Usage(input_tokens=3, output_tokens=1)), name="m")

    result = await alloy.run("hi", model=model, system_prompt="be kind", name="greeter")

    assert result.status is Status.COMPLETED
    assert (result.text, str(result), result.unwrap()) == ("hello", "hello", "hello")
    assert [type(message).__name__ for message in result.messages] == ["UserMessage", "AssistantMessage"]
    assert result.messages == result.new_messages
    assert result.usage == Usage(input_tokens=3, output_tokens=1, requests=1)
    assert (result.turns, result.model, result.agent) == (1, "scripted:m", "greeter")
    assert result.stop is not None
    assert result.stop.reason is StopReason.END_TURN
    assert model.requests[0].system == "be kind"
    assert model.requests[0].messages == result.messages[:1]


async def test_tools_run_and_the_model_is_told_what_they_returned() -> None:
    model = ScriptedModel([says("adding"), calls("add", a=1, b=2)], says("3"))

    result = await alloy.run("1 + 2?", model=model, tools=[add])

    assert result.text == "3"
    assert result.turns == 2
    tool_message = model.requests[1].messages[-1]
    assert isinstance(tool_message, alloy.ToolMessage)
    assert [(r.call_id, r.name, r.text, r.outcome) for r in tool_message.results] == [
        ("call_1", "add", "3", Outcome.OK)
    ]
    (record,) = result.tool_calls
    assert (record.name, record.arguments, record.outcome, record.error, record.turn) == (
        "add",
        {"a": 1, "b": 2},
        Outcome.OK,
        None,
        1,
    )


async def test_a_run_goes_on_from_a_history() -> None:
    first = await alloy.run("one", model=ScriptedModel(says("1")))
    model = ScriptedModel(says("2"))

    second = await alloy.run("two", model=model, history=first.messages)

    assert second.messages[:2] == first.messages
    assert [m.text for m in second.new_messages] == ["two", "2"]  # type: ignore[union-attr]
    assert second.turns == 1


async def test_without_a_prompt_the_history_itself_is_sent() -> None:
    model = ScriptedModel(says("yes"))

    await alloy.run(None, model=model, history=[alloy.UserMessage("still there?")])

    assert [m.text for m in model.requests[0].messages] == ["still there?"]  # type: ignore[union-attr]


async def test_what_a_former_run_left_open_is_closed() -> None:
    open_call = alloy.AssistantMessage([alloy.ToolCall("c9", "add", {})], stop=alloy.StopInfo(StopReason.TOOL_USE))
    model = ScriptedModel(says("fine"))

    await alloy.run("go on", model=model, tools=[add], history=[alloy.UserMessage("x"), open_call])

    closed = model.requests[0].messages[2]
    assert isinstance(closed, alloy.ToolMessage)
    assert closed.results[0].outcome is Outcome.NOT_STARTED


async def test_the_turns_run_out_with_everything_kept() -> None:
    model = ScriptedModel([says("working"), calls("add", a=1, b=1)], loop=True)

    result = await alloy.run("x", model=model, tools=[add], max_turns=3)

    assert result.status is Status.MAX_TURNS
    assert (result.turns, result.text, len(result.tool_calls)) == (3, "working", 3)
    with pytest.raises(alloy.RunIncomplete, match="max_turns") as caught:
        result.unwrap()
    assert caught.value.result is result


async def test_no_turns_ask_nobody() -> None:
    model = ScriptedModel()

    result = await alloy.run("x", model=model, max_turns=0)

    assert (result.status, result.turns, model.requests) == (Status.MAX_TURNS, 0, [])


async def test_wrapping_up_lets_the_model_answer_once_more_without_tools() -> None:
    model = ScriptedModel(calls("add", a=1, b=1), says("so far: 2"))

    result = await alloy.run("x", model=model, tools=[add], limits=alloy.Limits(max_turns=1, wrap_up=True))

    assert (result.status, result.text, result.turns) == (Status.MAX_TURNS, "so far: 2", 2)
    assert model.requests[1].settings.tool_choice == "none"


async def test_a_model_that_calls_tools_while_wrapping_up_gets_none() -> None:
    model = ScriptedModel(calls("add", a=1, b=1), calls("add", a=2, b=2))

    result = await alloy.run("x", model=model, tools=[add], limits=alloy.Limits(max_turns=1, wrap_up=True))

    last = result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert last.results[0].outcome is Outcome.NOT_STARTED
    assert result.status is Status.MAX_TURNS


async def test_the_tool_calls_run_out_in_the_middle_of_a_batch() -> None:
    batch = [calls("add", a=n, b=0) for n in range(4)]
    model = ScriptedModel(batch)

    result = await alloy.run("x", model=model, tools=[add], limits=alloy.Limits(max_tool_calls=2))

    assert result.status is Status.BUDGET
    last = result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert [r.outcome for r in last.results] == [Outcome.OK, Outcome.OK, Outcome.NOT_STARTED, Outcome.NOT_STARTED]


async def test_an_error_of_the_model_is_raised_with_what_was_reached() -> None:
    model = ScriptedModel(calls("add", a=1, b=1), fails(alloy.BadRequest("no", status=400)))

    with pytest.raises(alloy.BadRequest) as caught:
        await alloy.run("x", model=model, tools=[add])

    result = caught.value.result
    assert result is not None
    assert (result.status, result.error) == (Status.ERROR, caught.value)
    assert len(result.messages) == 3
    assert result.text == ""


async def test_the_text_of_an_answer_that_broke_off_is_kept_as_incomplete() -> None:
    model = ScriptedModel(cuts("half an ans"))

    with pytest.raises(alloy.StreamTruncated) as caught:
        await alloy.run("x", model=model)

    assert caught.value.result is not None
    partial = caught.value.result.messages[-1]
    assert isinstance(partial, alloy.AssistantMessage)
    assert (partial.text, partial.complete) == ("half an ans", False)
    assert caught.value.result.turns == 0


@pytest.mark.works("The history can be sent again after any outcome")
async def test_the_history_after_a_failed_run_can_be_sent_again() -> None:
    with pytest.raises(alloy.BadRequest) as caught:
        await alloy.run("one", model=ScriptedModel(fails(alloy.BadRequest("no"))))
    assert caught.value.result is not None
    model = ScriptedModel(says("ok"))

    await alloy.run("two", model=model, history=caught.value.result.messages)

    assert [m.text for m in model.requests[0].messages] == ["one", "two"]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "stop", ["max_tokens", "refusal", "content_filter", "context_window", "other", "stop_sequence"]
)
async def test_an_answer_without_calls_is_complete_whatever_stopped_it(stop: str) -> None:
    result = await alloy.run("x", model=ScriptedModel(says("well", stop=stop)))

    assert result.status is Status.COMPLETED
    assert result.stop == alloy.StopInfo(StopReason(stop), stop)


async def test_a_pause_goes_on_by_itself() -> None:
    model = ScriptedModel(says("looking", stop="pause"), says("found"))

    result = await alloy.run("x", model=model)

    assert (result.text, result.turns) == ("found", 2)
    assert model.requests[1].messages[-1].text == "looking"  # type: ignore[union-attr]


async def test_a_call_cut_by_the_token_limit_is_never_run() -> None:
    ran: list[int] = []

    async def note(n: int) -> str:
        """Note a number."""
        ran.append(n)
        return "noted"

    cut = [calls("note", n=1), calls("note", n=2), says("", stop="max_tokens")]
    model = ScriptedModel(cut, says("ok"))

    result = await alloy.run("x", model=model, tools=[note])

    assert ran == [1]
    told = model.requests[1].messages[-1]
    assert isinstance(told, alloy.ToolMessage)
    assert [r.outcome for r in told.results] == [Outcome.OK, Outcome.NOT_STARTED]
    assert "token limit" in told.results[1].text
    assert result.status is Status.COMPLETED


async def test_a_server_that_hides_the_token_limit_is_found_out() -> None:
    ran: list[int] = []

    async def note(n: int) -> str:
        """Note a number."""
        ran.append(n)
        return "noted"

    lie = [calls("note", n=1), says("", usage=Usage(output_tokens=50))]
    model = ScriptedModel(lie, says("ok"))

    await alloy.run("x", model=model, tools=[note], settings=Settings(max_output_tokens=50))

    assert ran == []


async def test_a_fatal_error_of_a_tool_ends_the_run() -> None:
    async def bomb() -> str:
        """Go off."""
        raise alloy.Fatal("the disk is gone")

    with pytest.raises(alloy.Fatal, match="the disk is gone") as caught:
        await alloy.run("x", model=ScriptedModel([calls("bomb"), calls("add", a=1, b=1)]), tools=[bomb, add])

    assert caught.value.result is not None
    last = caught.value.result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert len(last.results) == 2


async def test_a_result_that_says_stop_ends_the_run_after_its_batch() -> None:
    async def enough() -> alloy.ToolResult:
        """Say that it is enough."""
        return alloy.ToolResult("bye", stop=True)

    model = ScriptedModel([calls("enough"), calls("add", a=1, b=1)])

    result = await alloy.run("x", model=model, tools=[enough, add])

    assert result.status is Status.COMPLETED
    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.OK]


async def test_a_tool_sees_the_run_it_works_for() -> None:
    seen: list[ToolContext] = []

    async def look(context: ToolContext) -> str:
        """Look around."""
        seen.append(context)
        context.progress({"half": True})
        return "seen"

    events: list[alloy.Event] = []
    model = ScriptedModel(calls("look", id="c7"), says("ok"))

    result = await alloy.run(
        "x", model=model, tools=[look], deps={"db": 1}, session_id="s1", name="scout", on_event=events.append
    )

    (context,) = seen
    assert (context.deps, context.run_id, context.session_id) == ({"db": 1}, result.run_id, "s1")
    assert (context.call_id, context.agent_path) == ("c7", ("scout",))
    assert context.idempotency_key
    assert [event.data for event in events if isinstance(event, alloy.ToolProgress)] == [{"half": True}]


async def test_a_callable_system_prompt_is_asked_once_a_run() -> None:
    asked: list[int] = []

    def prompt(run: alloy.RunInfo) -> str:
        asked.append(run.turn)
        return f"you are {run.agent.name}"

    model = ScriptedModel(calls("add", a=1, b=1), says("ok"))

    await alloy.run("x", model=model, tools=[add], system_prompt=prompt, name="bo")

    assert asked == [0]
    assert [request.system for request in model.requests] == ["you are bo", "you are bo"]


@pytest.mark.parametrize("prompt", [lambda run: 1 / 0, lambda run: 5])
async def test_a_system_prompt_that_fails_is_a_hook_error(prompt: Any) -> None:
    with pytest.raises(alloy.HookError, match="system_prompt") as caught:
        await alloy.run("x", model=ScriptedModel(), system_prompt=prompt)

    assert caught.value.__cause__ is not None
    assert caught.value.result is not None


async def test_a_cancel_from_outside_is_trios_own(autojump_clock: trio.testing.MockClock) -> None:
    with trio.move_on_after(5) as scope:
        await alloy.run("x", model=ScriptedModel(hangs()))

    assert scope.cancelled_caught
    assert trio.current_time() == 5


async def test_a_run_inside_another_loop_is_refused() -> None:
    with pytest.raises(RuntimeError, match=r"await alloy\.run"):
        alloy.run_sync("x", model="scripted:echo")


def test_run_sync_makes_its_own_loop() -> None:
    assert alloy.run_sync("hello there", model="scripted:echo").text == "hello there"


@attrs.frozen
class Place:
    """Somewhere."""

    city: str
    country: str = "NO"


async def submit(answer: Annotated[str, "The answer."], place: Place | None = None, confidence: float = 0.5) -> str:
    """Hand in the answer."""
    return "thanks"


@pytest.mark.works("`until_tool`: the run is done when the model has called it with arguments that fit")
async def test_until_tool_ends_the_run_with_the_arguments_of_the_call() -> None:
    model = ScriptedModel([calls("submit", answer="42", place={"city": "Oslo"}), calls("add", a=1, b=1)])

    result = await alloy.run("x", model=model, tools=[submit, add], until_tool="submit")

    assert result.status is Status.COMPLETED
    assert result.output == {"answer": "42", "place": {"city": "Oslo", "country": "NO"}, "confidence": 0.5}
    assert result.unwrap() == result.output
    assert [record.name for record in result.tool_calls] == ["submit", "add"]
    assert len(model.requests) == 1


@pytest.mark.works("Tools: a batch of calls gives one result each, in order, whatever any of them does")
async def test_a_batch_of_every_kind_of_call_gives_a_result_each_in_order(
    autojump_clock: trio.testing.MockClock,
) -> None:
    @alloy.tool(concurrent=True)
    async def slow_add(a: int, b: int) -> int:
        """Add slowly."""
        await trio.sleep(a)
        return a + b

    @alloy.tool(concurrent=True)
    async def explode() -> str:
        """Raise."""
        raise LookupError("no such thing")

    @alloy.tool(concurrent=True, timeout=7.0)
    async def sleep() -> str:
        """Never end."""
        await trio.sleep_forever()
        return "never"

    async def flood() -> str:
        """Return much."""
        return "x" * 1_000_000

    batch = [
        calls("slow_add", a=2, b=1),
        calls("slow_add", a=1, b=1),
        calls("add", a=5, b=5),
        calls("explode"),
        calls("sleep"),
        calls("ad", a=1, b=1),
        calls("add", a="5"),
        calls("flood"),
    ]
    model = ScriptedModel(batch, says("done"))

    async with alloy.stream("go", model=model, tools=[slow_add, add, explode, sleep, flood]) as stream:
        events = [event async for event in stream]
        result = await stream.result()

    told = model.requests[1].messages[-1]
    assert isinstance(told, alloy.ToolMessage)
    assert [r.outcome for r in told.results] == [
        Outcome.OK,
        Outcome.OK,
        Outcome.OK,
        Outcome.ERROR,
        Outcome.TIMED_OUT,
        Outcome.UNKNOWN_TOOL,
        Outcome.INVALID,
        Outcome.OK,
    ]
    assert [r.text for r in told.results[:4]] == ["3", "2", "10", "LookupError: no such thing"]
    assert "add" in told.results[5].text
    assert len(told.results[7].text) <= 30_000
    assert result.status is Status.COMPLETED
    assert sum(isinstance(event, alloy.ToolFinished) for event in events) == 8
    assert sum(isinstance(event, alloy.ToolStarted) for event in events) == 6
    assert trio.current_time() == 9.0


async def test_a_run_leaves_nothing_to_the_garbage_collector() -> None:
    class Deps:
        pass

    async def peek(context: ToolContext) -> str:
        """Look at the context."""
        return context.run_id

    deps = Deps()
    freed = weakref.ref(deps)
    gc.disable()
    try:
        await alloy.run("x", model=ScriptedModel(calls("peek"), says("y")), tools=[peek], deps=deps)
        del deps

        assert freed() is None
    finally:
        gc.enable()
