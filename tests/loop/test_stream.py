"""Watching a run."""

from __future__ import annotations

import json

import pytest
import trio

import alloy
from alloy import Status
from alloy.testing import ScriptedModel, calls, cuts, fails, hangs, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def names(events: list[alloy.Event]) -> list[str]:
    return [type(event).__name__ for event in events]


async def test_the_events_of_a_run_come_in_order_and_without_a_gap() -> None:
    model = ScriptedModel([says("hm", thinking="t"), calls("add", a=1, b=2)], says("so 3", chunks=["so", " 3"]))

    async with alloy.stream("x", model=model, tools=[add], name="n") as stream:
        events = [event async for event in stream]

    assert names(events) == [
        "RunStarted",
        "MessageAdded",
        "TurnStarted",
        "ThinkingDelta",
        "TextDelta",
        "ToolCallDelta",
        "ToolCallDelta",
        "MessageFinished",
        "ToolStarted",
        "ToolFinished",
        "MessageAdded",
        "TurnFinished",
        "TurnStarted",
        "TextDelta",
        "TextDelta",
        "MessageFinished",
        "TurnFinished",
        "RunFinished",
    ]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert [event.turn for event in events] == [0, 0, *[1] * 10, *[2] * 6]
    assert {event.agent_path for event in events} == {("n",)}
    assert len({event.run_id for event in events}) == 1


@pytest.mark.works("The events are enough to rebuild the transcript")
async def test_the_transcript_can_be_rebuilt_from_the_events() -> None:
    model = ScriptedModel([says("hm"), calls("add", a=1, b=2)], says("3"))

    async with alloy.stream("x", model=model, tools=[add]) as stream:
        messages = [
            event.message async for event in stream if isinstance(event, alloy.MessageAdded | alloy.MessageFinished)
        ]
        result = await stream.result()

    assert tuple(messages) == result.new_messages


async def test_every_event_is_a_line_of_json() -> None:
    model = ScriptedModel(
        fails(alloy.Overloaded("busy", retry_after=0.0)), [says("é"), calls("add", a=1, b=2)], says("3")
    )

    async with alloy.stream("x", model=model, tools=[add]) as stream:
        lines = [json.dumps(event.to_json()) async for event in stream]

    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds[0] == "run_started"
    assert kinds[-1] == "run_finished"
    assert "retrying" in kinds
    finished = json.loads(lines[-1])["result"]
    assert (finished["status"], finished["text"], finished["usage"]["requests"]) == ("completed", "3", 2)


async def test_text_comes_piece_by_piece_or_whole() -> None:
    model = ScriptedModel(says("a b c", chunks=["a ", "b ", "c"]), loop=True)

    async with alloy.stream("x", model=model) as stream:
        pieces = [piece async for piece in stream.text()]
    async with alloy.stream("x", model=model) as stream:
        whole = await stream.text()

    assert (pieces, whole) == (["a ", "b ", "c"], "a b c")


async def test_iterating_never_raises_the_runs_error_but_text_and_result_do() -> None:
    model = ScriptedModel(fails(alloy.BadRequest("no")), loop=True)

    async with alloy.stream("x", model=model) as stream:
        events = [event async for event in stream]
        with pytest.raises(alloy.BadRequest):
            await stream.result()
        with pytest.raises(alloy.BadRequest):
            await stream.text()
    async with alloy.stream("x", model=model) as stream:
        with pytest.raises(alloy.BadRequest):
            [piece async for piece in stream.text()]

    last = events[-1]
    assert isinstance(last, alloy.RunFinished)
    assert last.result.status is Status.ERROR


@pytest.mark.works("Leaving a stream cancels its run, and waits for the clean-up")
async def test_leaving_early_cancels_the_run_and_waits_for_its_clean_up(
    autojump_clock: trio.testing.MockClock,
) -> None:
    log: list[str] = []

    async def careful() -> str:
        """Work for long."""
        log.append("begun")
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(3)
            log.append("cleaned up")
        return "never"

    async with alloy.stream("x", model=ScriptedModel(calls("careful")), tools=[careful]) as stream:
        async for event in stream:
            if isinstance(event, alloy.ToolStarted):
                await trio.testing.wait_all_tasks_blocked()
                break

    assert log == ["begun", "cleaned up"]
    assert trio.current_time() == 3


async def test_cancelling_through_the_handle_is_a_status() -> None:
    model = ScriptedModel(calls("add", a=1, b=2), hangs())

    async with alloy.stream("x", model=model, tools=[add]) as stream:
        async for event in stream:
            if isinstance(event, alloy.TurnStarted) and event.turn == 2:
                stream.cancel()
        result = await stream.result()

    assert result.status is Status.CANCELLED
    assert (result.turns, len(result.messages)) == (1, 3)


async def test_a_call_that_was_stopped_says_so_in_the_history(autojump_clock: trio.testing.MockClock) -> None:
    async def wait() -> str:
        """Wait for ever."""
        await trio.sleep_forever()
        return "never"

    model = ScriptedModel([calls("add", a=1, b=2), calls("wait"), calls("add", a=3, b=4)])

    async with alloy.stream("x", model=model, tools=[add, wait]) as stream:
        async for event in stream:
            if isinstance(event, alloy.ToolStarted) and event.call.name == "wait":
                seen = stream.snapshot()
                stream.cancel()
        result = await stream.result()

    for messages in (seen.messages, result.messages):
        last = messages[-1]
        assert isinstance(last, alloy.ToolMessage)
        assert [r.outcome for r in last.results] == ["ok", "cancelled", "not_started"]


async def test_an_outer_cancel_leaves_a_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    model = ScriptedModel(calls("add", a=1, b=2), hangs())

    with trio.move_on_after(4) as scope:
        async with alloy.stream("x", model=model, tools=[add]) as stream:
            async for _ in stream:
                pass
    snapshot = stream.snapshot()

    assert scope.cancelled_caught
    assert snapshot.status is Status.CANCELLED
    assert len(snapshot.messages) == 3


async def test_an_error_in_the_block_leaves_as_itself() -> None:
    with pytest.raises(LookupError, match="mine"):
        async with alloy.stream("x", model=ScriptedModel(hangs())):
            raise LookupError("mine")


async def test_a_reader_that_is_slow_makes_the_run_wait_and_misses_nothing(
    autojump_clock: trio.testing.MockClock,
) -> None:
    chunks = [f"{n} " for n in range(5_000)]
    model = ScriptedModel(says("".join(chunks), chunks=chunks))
    seen = 0

    async with alloy.stream("x", model=model) as stream:
        await trio.sleep(10)
        waiting = len(stream._outbox.events)
        async for event in stream:
            seen += isinstance(event, alloy.TextDelta)

    assert seen == 5_000
    assert waiting < 1_100


async def test_a_result_can_be_waited_for_without_reading_any_event() -> None:
    chunks = [f"{n} " for n in range(5_000)]

    async with alloy.stream("x", model=ScriptedModel(says("".join(chunks), chunks=chunks))) as stream:
        result = await stream.result()

    assert len(result.text) == len("".join(chunks))


async def test_on_event_sees_what_the_stream_sees() -> None:
    seen: list[alloy.Event] = []

    async with alloy.stream("x", model=ScriptedModel(says("y")), on_event=seen.append) as stream:
        events = [event async for event in stream]

    assert seen == events


async def test_an_error_in_on_event_ends_the_run_as_a_hook_error() -> None:
    calls_seen = 0

    def broken(event: alloy.Event) -> None:
        nonlocal calls_seen
        calls_seen += 1
        if isinstance(event, alloy.TextDelta):
            raise ZeroDivisionError("oops")

    with pytest.raises(alloy.HookError, match="on_event raised ZeroDivisionError: oops") as caught:
        await alloy.run("x", model=ScriptedModel(says("y")), on_event=broken)

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert caught.value.result is not None
    assert calls_seen == 4


async def test_an_error_in_on_event_while_tools_run_leaves_a_whole_history() -> None:
    def broken(event: alloy.Event) -> None:
        if isinstance(event, alloy.ToolStarted):
            raise ZeroDivisionError("oops")

    with pytest.raises(alloy.HookError) as caught:
        await alloy.run("x", model=ScriptedModel([calls("add", a=1, b=1)] * 2), tools=[add], on_event=broken)

    assert caught.value.result is not None
    last = caught.value.result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert len(last.results) == 2


async def test_restarting_tells_which_deltas_are_void() -> None:
    model = ScriptedModel(cuts("ha"), says("whole"))

    async with alloy.stream("x", model=model, retry=alloy.Retry(on_partial="restart", base=0.0)) as stream:
        events = [event async for event in stream]

    (retracted,) = [event for event in events if isinstance(event, alloy.Retracted)]
    void = [event for event in events if retracted.first <= event.seq <= retracted.last]
    assert names(void) == ["TextDelta"]
    assert [e.text for e in events if isinstance(e, alloy.TextDelta) and e not in void] == ["whole"]


async def test_reading_an_event_is_a_checkpoint_between_batches() -> None:
    async with alloy.stream("x", model=ScriptedModel(says("y"))) as stream:
        with trio.testing.assert_checkpoints():
            await stream.result()
