"""A batch of calls: as many results as calls, in their order, whatever any of them does."""

from __future__ import annotations

import contextlib
import contextvars
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from alloy.llm.content import Outcome, ToolCall, ToolResult
from alloy.tools import Batch, Executor, Fatal, Job, Tool, ToolContext, ToolError, bash, read_file, tool
from tools.helpers import Log, batch_of, call, names, run, wait_none_alive, wait_until
from tools.isolated import ends, starts_others_and_hangs


@tool(concurrent=True)
async def sleeps(seconds: float) -> str:
    await trio.sleep(seconds)
    return f"slept {seconds:g}"


@tool
async def alone(seconds: float) -> str:
    await trio.sleep(seconds)
    return f"alone {seconds:g}"


@tool(concurrent=True)
async def fails(how: str) -> None:
    raise {
        "any": ValueError("bad"),
        "expected": ToolError("no such note"),
        "exit": SystemExit(1),
        "group": BaseExceptionGroup("g", [ValueError("1"), ToolError("2")]),
        "timeout": TimeoutError("mine"),
        "too slow": trio.TooSlowError(),
        "base": BaseException("odd"),
    }[how]


@tool(concurrent=True)
async def ends_it(seconds: float = 0) -> None:
    await trio.sleep(seconds)
    raise Fatal("the disk is full")


ASYNC = (sleeps, alone, fails, ends_it)


def outcomes(results: tuple[ToolResult, ...]) -> list[str]:
    return [str(result.outcome) for result in results]


# The order.


async def test_marked_calls_run_at_once_and_their_results_come_in_the_order_of_the_calls(autojump_clock: Any) -> None:
    log = Log()
    start = trio.current_time()

    results = await run(batch_of(ASYNC, *(call(str(n), "sleeps", seconds=n) for n in (3, 1, 2))), log=log)

    assert [result.text for result in results] == ["slept 3", "slept 1", "slept 2"]
    assert log.finished_ids == ["1", "2", "3"]
    assert log.durations == {"3": 3, "1": 1, "2": 2}
    assert trio.current_time() - start == 3


async def test_an_unmarked_call_runs_alone_in_its_place(autojump_clock: Any) -> None:
    log = Log()
    calls = [("a", "sleeps", 2), ("b", "sleeps", 1), ("c", "alone", 1), ("d", "sleeps", 1), ("e", "alone", 1)]

    await run(batch_of(ASYNC, *(call(id, name, seconds=s) for id, name, s in calls)), log=log)

    assert log.started_ids == ["a", "b", "c", "d", "e"]
    assert log.finished_ids == ["b", "a", "c", "d", "e"]
    assert trio.current_time() == 2 + 1 + 1 + 1


async def test_no_more_calls_than_allowed_run_at_once(autojump_clock: Any) -> None:
    await run(batch_of(ASYNC, *(call(str(n), "sleeps", seconds=1) for n in range(7))), parallel=3)

    assert trio.current_time() == 3


async def test_calls_that_do_not_run_do_not_part_those_that_do(autojump_clock: Any) -> None:
    settled = ToolResult("blocked: no", is_error=True, outcome=Outcome.BLOCKED)
    jobs = [
        Job(call=call("1", "sleeps", seconds=1), tool=sleeps),
        Job(call=call("2", "alone", seconds=1), tool=alone, settled=settled),
        Job(call=call("3", "nothing"), tool=None),
        Job(call=call("4", "sleeps", seconds=2), tool=sleeps),
    ]
    log = Log()

    results = await run(Batch(jobs), log=log)

    assert outcomes(results) == ["ok", "blocked", "unknown_tool", "ok"]
    assert trio.current_time() == 2
    assert log.started_ids == ["1", "4"]
    assert log.finished_ids == ["2", "3", "1", "4"]


async def test_an_empty_batch_has_no_results() -> None:
    assert await run(Batch([])) == ()


async def test_an_error_leaves_an_open_executor_as_itself() -> None:
    with pytest.raises(LookupError):
        async with Executor():
            raise LookupError


async def test_running_a_batch_is_a_checkpoint() -> None:
    with trio.testing.assert_checkpoints():
        await run(Batch([]))
    async with Executor() as executor:
        with trio.testing.assert_checkpoints():
            await run(batch_of([], call("1", "nothing")), executor=executor)


# Calls that cannot run.


async def test_an_unknown_tool_is_told_which_there_are() -> None:
    (none,) = await run(batch_of([], call("1", "raed_file")))
    close, far = await run(batch_of([sleeps, alone], call("1", "sleep"), call("2", "xyz")))

    assert (none.outcome, none.is_error) == (Outcome.UNKNOWN_TOOL, True)
    assert none.text == "there is no tool 'raed_file'; there are none"
    assert close.text == "there is no tool 'sleep'; did you mean 'sleeps'? The tools are: alone, sleeps"
    assert far.text == "there is no tool 'xyz'. The tools are: alone, sleeps"


async def test_arguments_that_do_not_fit_are_told_with_every_problem() -> None:
    (result,) = await run(batch_of(ASYNC, call("1", "sleeps", seconds="1", minutes=2)))

    assert result.outcome is Outcome.INVALID
    assert result.text == (
        'the arguments of sleeps do not fit: expected number, got string "1" @ seconds; extra fields found (minutes)'
    )


async def test_arguments_that_are_no_json_are_told_why() -> None:
    broken = ToolCall("1", "sleeps", {}, arguments_text="{", parse_error="unexpected end")

    (result,) = await run(batch_of(ASYNC, broken))

    assert (result.outcome, result.text) == (Outcome.INVALID, "the arguments are no JSON object: unexpected end")


# What tools raise.

RAISED = {
    "any": "ValueError: bad",
    "expected": "no such note",
    "exit": "SystemExit: 1",
    "group": "ValueError: 1; 2",
    "timeout": "TimeoutError: mine",
    "too slow": "TooSlowError",
    "base": "BaseException: odd",
}


@pytest.mark.parametrize("how", RAISED)
async def test_whatever_a_tool_raises_is_an_error_result_of_its_call_alone(how: str, autojump_clock: Any) -> None:
    batch = batch_of(ASYNC, call("1", "sleeps", seconds=1), call("2", "fails", how=how), call("3", "sleeps", seconds=2))

    results = await run(batch)

    assert outcomes(results) == ["ok", "error", "ok"]
    assert results[1].text == RAISED[how]


async def test_an_unexpected_error_is_logged_with_its_traceback_and_an_expected_one_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await run(batch_of(ASYNC, call("1", "fails", how="any"), call("2", "fails", how="expected")))

    (record,) = caplog.records
    assert record.name == "alloy.tools"
    assert record.exc_info is not None
    assert isinstance(record.exc_info[1], ValueError)


async def test_keyboard_interrupt_is_not_the_tools_to_raise() -> None:
    @tool
    async def interrupts() -> None:
        raise KeyboardInterrupt

    batch = batch_of([interrupts], call("1", "interrupts"), call("2", "interrupts"))

    with pytest.raises(KeyboardInterrupt):
        await run(batch)
    assert outcomes(batch.results()) == ["cancelled", "not_started"]


async def test_a_check_of_the_tools_author_that_is_broken_is_an_error_result() -> None:
    from typing import Annotated

    from alloy.tools import Constraint

    @tool
    async def odd(n: Annotated[int, Constraint(min_length=1)]) -> None: ...

    (result,) = await run(batch_of([odd], call("1", "odd", n=1)))

    assert (result.outcome, result.text) == (Outcome.ERROR, "TypeError: object of type 'int' has no len()")


# Fatal.


async def test_fatal_ends_the_batch_and_every_call_has_its_result(autojump_clock: Any) -> None:
    batch = batch_of(
        ASYNC,
        call("1", "sleeps", seconds=0.5),
        call("2", "sleeps", seconds=9),
        call("3", "ends_it", seconds=1),
        call("4", "alone", seconds=1),
    )
    log = Log()

    results = await run(batch, log=log)

    assert isinstance(batch.fatal, Fatal)
    assert str(batch.fatal) == "the disk is full"
    assert outcomes(results) == ["ok", "cancelled", "error", "not_started"]
    assert results[2].text == "the disk is full"
    assert log.started_ids == ["1", "2", "3"]
    assert trio.current_time() == 1


async def test_fatal_of_a_call_alone_starts_no_further_one() -> None:
    @tool
    async def now() -> None:
        raise ExceptionGroup("nursery", [ValueError("also"), Fatal("the end")])

    batch = batch_of([now], call("1", "now"), call("2", "now"))
    log = Log()

    results = await run(batch, log=log)

    assert str(batch.fatal) == "the end"
    assert outcomes(results) == ["error", "not_started"]
    assert log.started_ids == ["1"]


# Time.


async def test_a_call_ends_exactly_at_its_limit(autojump_clock: Any) -> None:
    @tool(timeout=5, concurrent=True)
    async def patient() -> None:
        await trio.sleep_forever()

    log = Log()
    batch = batch_of(
        [*ASYNC, patient], call("1", "patient"), call("2", "sleeps", seconds=99), call("3", "sleeps", seconds=1)
    )

    results = await run(batch, log=log, timeout=3)

    assert outcomes(results) == ["timed_out", "timed_out", "ok"]
    assert results[0].text == "timed out after 5 s: it was stopped; it may have had effects"
    assert log.durations == {"1": 5, "2": 3, "3": 1}


async def test_the_callers_deadline_is_no_timeout_of_a_tool(autojump_clock: Any) -> None:
    batch = batch_of(
        ASYNC, call("1", "sleeps", seconds=1), call("2", "sleeps", seconds=9), call("3", "alone", seconds=1)
    )
    log = Log()

    with trio.move_on_after(2) as scope:
        await run(batch, log=log)

    assert scope.cancelled_caught
    assert outcomes(batch.results()) == ["ok", "cancelled", "not_started"]
    assert sorted(log.finished_ids) == ["1", "2", "3"]


async def test_a_cancelled_batch_starts_nothing() -> None:
    batch = batch_of(ASYNC, call("1", "sleeps", seconds=0))
    log = Log()

    with trio.CancelScope() as scope:
        scope.cancel()
        await run(batch, log=log)

    assert outcomes(batch.results()) == ["not_started"]
    assert log.started_ids == []


async def test_errors_of_a_tool_that_come_with_a_cancel_from_outside_do_not_replace_it(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    async def untidy() -> None:
        async def child() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise ValueError("in clean-up")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(child)
            nursery.start_soon(trio.sleep_forever)

    batch = batch_of([untidy], call("1", "untidy"))

    with trio.move_on_after(1) as scope:
        await run(batch)

    assert scope.cancelled_caught
    assert outcomes(batch.results()) == ["cancelled"]
    assert "in clean-up" in caplog.text


async def test_results_are_complete_at_any_time(autojump_clock: Any) -> None:
    batch = batch_of(ASYNC, call("1", "alone", seconds=1), call("2", "alone", seconds=2), call("3", "alone", seconds=3))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, batch)
        await trio.sleep(1.5)
        midway, running = outcomes(batch.results()), batch.running

    assert midway == ["ok", "cancelled", "not_started"]
    assert running == ("alone",)
    assert outcomes(batch.results()) == ["ok", "ok", "ok"]
    assert batch.running == ()


async def test_one_running_call_can_be_cancelled_and_the_others_go_on(autojump_clock: Any) -> None:
    batch = batch_of(
        ASYNC, call("1", "sleeps", seconds=9), call("2", "sleeps", seconds=2), call("3", "alone", seconds=1)
    )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, batch)
        await trio.sleep(1)
        asked = [batch.cancel(id) for id in ("1", "3", "4")]

    assert asked == [True, False, False]
    assert outcomes(batch.results()) == ["cancelled", "ok", "ok"]
    assert batch.results()[0].text == "cancelled: it was stopped; it may have had effects"
    assert not batch.cancel("2")
    assert trio.current_time() == 3


@pytest.mark.parametrize("is_open", [True, False])
async def test_a_tool_that_does_not_stop_is_named_with_its_stack_every_few_seconds(
    is_open: bool, autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    async def stubborn() -> str:
        with trio.CancelScope(shield=True):
            await trio.sleep(17)
        return "at last"

    executor = Executor()
    batch = batch_of([stubborn], call("1", "stubborn"))

    if is_open:
        async with executor:
            results = await run(batch, executor=executor, timeout=4)
    else:
        results = await run(batch, executor=executor, timeout=4)

    assert outcomes(results) == ["ok"]
    assert [record.getMessage().splitlines()[0] for record in caplog.records] == [
        f"tool 'stubborn' was told to stop and goes on, {seconds} s after its start:" for seconds in (5, 10, 15)
    ]
    assert "await trio.sleep(17)" in caplog.records[0].getMessage()


async def test_a_tool_that_does_not_stop_is_named_too_when_all_is_cancelled_from_outside(
    autojump_clock: Any, caplog: pytest.LogCaptureFixture
) -> None:
    @tool
    async def stubborn() -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(12)

    with trio.move_on_after(1):
        await run(batch_of([stubborn], call("1", "stubborn")))

    assert len(caplog.records) == 2
    assert trio.current_time() == 12


# Threads.


async def test_a_def_runs_in_a_thread_that_sees_context_variables() -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    @tool
    def where() -> list[object]:
        return [variable.get(), threading.current_thread() is threading.main_thread()]

    variable.set("set")

    assert (await run(batch_of([where], call("1", "where"))))[0].text == '["set", false]'


async def test_a_thread_that_is_left_behind_is_counted_until_it_ends() -> None:
    release = threading.Event()

    @tool
    def blocks(ctx: ToolContext) -> None:
        release.wait(10)
        ctx.progress("to nobody")

    executor, log = Executor(), Log()

    (result,) = await run(batch_of([blocks], call("1", "blocks")), executor=executor, timeout=0.05, log=log)
    stuck = executor.stuck_threads
    release.set()

    assert (result.outcome, stuck) == (Outcome.TIMED_OUT, 1)
    assert result.text == "timed out after 0.05 s: its thread cannot be stopped: the work may continue"
    await wait_until(lambda: not executor.stuck_threads)
    assert log.reports == []


async def test_a_call_that_found_no_free_thread_did_not_run() -> None:
    release = threading.Event()
    ran = []

    @tool
    def blocks() -> None:
        ran.append(1)
        release.wait(10)

    executor = Executor(threads=1)

    await run(batch_of([blocks], call("1", "blocks")), executor=executor, timeout=0.05)
    (result,) = await run(batch_of([blocks], call("2", "blocks")), executor=executor, timeout=0.05)
    release.set()

    assert result.text == "timed out after 0.05 s: no thread was free, so it did not run"
    assert ran == [1]


async def test_a_thread_reports_progress_in_trios_thread() -> None:
    threads = []

    @tool
    def works(ctx: ToolContext) -> None:
        ctx.progress(1)

    def context(job: Job) -> ToolContext:
        return ToolContext(report=lambda data: threads.append(threading.get_ident()))

    await Executor().run(batch_of([works], call("1", "works")), context=context, known=[], listener=Log())

    assert threads == [threading.get_ident()]


# The context and the listener.


async def test_the_context_knows_the_deadline_of_its_call(autojump_clock: Any) -> None:
    seen = []

    @tool(timeout=7)
    async def looks(ctx: ToolContext) -> None:
        seen.append(ctx.deadline)
        ctx.progress({"half": True})

    log = Log()
    with trio.move_on_after(5):
        await run(batch_of([looks], call("1", "looks")))
    await run(batch_of([looks], call("1", "looks")), log=log)

    assert seen == [5, 7]
    assert log.reports == [{"half": True}]


class Broken(Log):
    def started(self, job: Job) -> None:
        super().started(job)
        raise LookupError("the listener")


async def test_an_error_of_the_listener_ends_the_batch_as_itself(autojump_clock: Any) -> None:
    batch = batch_of(ASYNC, call("1", "sleeps", seconds=1), call("2", "sleeps", seconds=1))

    with pytest.raises(LookupError, match="the listener"):
        await run(batch, log=Broken())

    assert outcomes(batch.results()) == ["not_started", "not_started"]


@pytest.mark.parametrize("isolation", ["task", "thread"])
async def test_an_error_of_whoever_is_told_of_progress_is_not_the_tools(isolation: str) -> None:
    def tells(ctx: ToolContext) -> None:
        ctx.progress(1)

    async def tells_too(ctx: ToolContext) -> None:
        ctx.progress(1)

    def report(data: object) -> None:
        raise LookupError("the listener")

    made = tool(tells if isolation == "thread" else tells_too)
    batch = batch_of([made], call("1", made.name), call("2", made.name))

    with pytest.raises(LookupError, match="the listener"):
        await Executor().run(batch, context=lambda job: ToolContext(report=report), known=[], listener=Log())

    assert batch.results()[1].outcome is Outcome.NOT_STARTED


# Long results.


@tool(max_result_chars=200)
async def floods(size: int) -> str:
    return "<" + "x" * size + ">"


async def test_a_long_result_is_cut_and_the_whole_is_spilled_where_the_model_can_read_it(tmp_path: Path) -> None:
    batch = batch_of([floods], call("1", "floods", size=10_000_000), call("2", "floods", size=100))

    long, short = await run(batch, working_directory=tmp_path, spill=True)

    assert len(long.text) in (199, 200)
    assert long.text.startswith("<xxx")
    assert long.text.endswith("xxx>")
    assert "characters are left out; all of it is in .alloy/spill/1.txt …]" in long.text
    assert (tmp_path / ".alloy/spill/1.txt").read_text() == "<" + "x" * 10_000_000 + ">"
    assert len(short.text) == 102
    assert names(tmp_path / ".alloy/spill") == ["1.txt"]


@pytest.mark.parametrize("id", ["../../evil", "a/b", "..", "", "\0", "ä", "x" * 500, "a b"])
async def test_a_hostile_call_id_spills_inside_the_folder(id: str, tmp_path: Path) -> None:
    await run(batch_of([floods], call(id, "floods", size=1000)), working_directory=tmp_path, spill=True)

    (spilled,) = names(tmp_path / ".alloy/spill")
    assert spilled.endswith(".txt")
    assert names(tmp_path) == [".alloy"]


async def test_a_result_that_cannot_be_spilled_is_cut_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / ".alloy").symlink_to("/")

    (result,) = await run(batch_of([floods], call("1", "floods", size=1000)), working_directory=tmp_path, spill=True)

    assert (len(result.text), result.outcome) == (199, Outcome.OK)
    assert "spill" not in result.text
    assert "is outside the allowed folders" in caplog.text


async def test_a_long_error_is_cut_too() -> None:
    @tool(max_result_chars=50)
    async def rants() -> None:
        raise ToolError("no " * 1000)

    (result,) = await run(batch_of([rants], call("1", "rants")))

    assert (len(result.text), result.outcome) == (50, Outcome.ERROR)


async def test_a_result_is_spilled_by_itself_if_there_is_a_tool_to_read_it_with(tmp_path: Path) -> None:
    await run(batch_of([floods], call("1", "floods", size=1000)), working_directory=tmp_path)
    without = names(tmp_path)
    await run(batch_of([floods, read_file], call("1", "floods", size=1000)), working_directory=tmp_path)

    assert without == []
    assert names(tmp_path / ".alloy/spill") == ["1.txt"]


# All at once.


def misbehaving(release: threading.Event) -> list[Tool]:
    """One tool for each way to misbehave, all allowed to run at once."""

    @tool(concurrent=True)
    async def hangs() -> None:
        await trio.sleep_forever()

    @tool(concurrent=True)
    async def much() -> str:
        return "x" * 10_000_000

    @tool(concurrent=True)
    async def rubbish() -> object:
        return object()

    @tool(concurrent=True)
    async def bad_bytes() -> bytes:
        return b"\xff\xfe"

    @tool(concurrent=True)
    def in_a_thread() -> None:
        release.wait(30)

    @tool(concurrent=True)
    async def swallows_a_cancel() -> None:
        with contextlib.suppress(trio.Cancelled):
            await trio.sleep_forever()
        await trio.sleep_forever()

    @tool(concurrent=True)
    async def blocks() -> str:
        time.sleep(0.2)  # noqa: ASYNC251  # that is what it does wrong
        return "blocked everybody"

    return [
        fails,
        hangs,
        much,
        rubbish,
        bad_bytes,
        in_a_thread,
        swallows_a_cancel,
        blocks,
        tool(starts_others_and_hangs, concurrent=True),
        tool(ends, concurrent=True),
    ]


async def test_ten_ways_to_misbehave_at_once_are_ten_results_in_order_and_nothing_is_left(tmp_path: Path) -> None:
    release = threading.Event()
    mark = f"7{os.getpid()}"
    arguments = {"fails": {"how": "any"}, "starts_others_and_hangs": {"mark": mark}, "ends": {"how": "SIGKILL"}}
    tools = misbehaving(release)
    batch = batch_of(tools, *(call(t.name, t.name, **arguments.get(t.name, {})) for t in tools))
    threads = threading.active_count()

    async with Executor() as executor:
        results = await run(batch, executor=executor, timeout=2, working_directory=tmp_path, spill=True)
        tasks = trio.lowlevel.current_statistics().tasks_living

        assert {result.name: str(result.outcome) for result in results} == {
            "fails": "error",
            "hangs": "timed_out",
            "much": "ok",
            "rubbish": "error",
            "bad_bytes": "ok",
            "in_a_thread": "timed_out",
            "swallows_a_cancel": "timed_out",
            "blocks": "ok",
            "starts_others_and_hangs": "timed_out",
            "ends": "error",
        }
        assert [result.name for result in results] == [t.name for t in tools]
        assert results[-1].text == "the tool's process was killed by SIGKILL before it had a result"
        assert executor.stuck_threads == 1
    await wait_none_alive(mark)
    assert trio.lowlevel.current_statistics().tasks_living == tasks - 1  # the executor's own
    release.set()
    await wait_until(lambda: not executor.stuck_threads)
    assert threading.active_count() <= threads + 40  # Trio keeps idle threads for a while, for the next call


async def test_bash_that_starts_others_is_one_of_them_too() -> None:
    mark = f"8{os.getpid()}"

    results = await run(batch_of([bash], call("1", "bash", command=f"sleep {mark} & sleep {mark}")), timeout=0.5)

    assert outcomes(results) == ["timed_out"]
    await wait_none_alive(mark)
