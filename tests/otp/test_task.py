"""Tasks: one function in a process of its own, waited for, shut down, or let go."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Trapping,
    Worker,
    child,
    seen,
    settle,
    worker,
)
from otp.tasks import double, fail, tasks

# one task


async def test_a_task_gives_its_result(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(double, 2)
        assert trio.current_time() == 0

        assert await task.wait() == 4
        assert trio.current_time() == 2
        assert await otp.wait_down(task.ref) == otp.Normal()


async def test_a_result_can_be_fetched_long_after_the_task_has_ended(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(double, 2)
        await trio.sleep(100)

        assert await task.wait() == 4


async def test_the_crash_of_a_task_raises_in_whoever_waits(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(fail)
        with pytest.raises(otp.ServerExited) as caught:
            await task.wait()

        assert caught.value.ref == task.ref
        assert isinstance(caught.value.reason, otp.Crash)
        assert isinstance(caught.value.__cause__, Boom)


async def test_a_wait_gives_up_on_time_and_can_be_repeated(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(double, 7)
        with pytest.raises(otp.CallTimeout):
            await task.wait()
        assert trio.current_time() == 5
        assert task.ref.alive

        assert await task.wait() == 14
        assert trio.current_time() == 7


async def test_a_wait_without_a_limit_waits(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        assert await (await supervisor.start(double, 500)).wait(timeout=None) == 1000


async def test_a_killed_task_raises_in_whoever_waits(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(trio.sleep_forever)
        otp.exit(task.ref, otp.Killed())
        with pytest.raises(otp.ServerExited) as caught:
            await task.wait()

        assert caught.value.reason == otp.Killed()


async def test_a_task_that_crashes_is_never_restarted(autojump_clock: MockClock) -> None:
    runs: list[int] = []

    async def run() -> None:
        runs.append(1)
        raise Boom("boom")

    async with tasks(max_restarts=0) as (supervisor, root):
        await otp.wait_down((await supervisor.start(run)).ref)
        await trio.sleep(1)

        assert runs == [1]
        assert await otp.count_children(await child(root, "tasks")) == otp.Counts(
            specs=0, active=0, supervisors=0, workers=0
        )


async def test_a_task_is_a_child_of_its_supervisor(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, root):
        task = await supervisor.start(trio.sleep_forever)

        ref = await child(root, "tasks")
        assert [info.ref for info in await otp.which_children(ref)] == [task.ref]
        await otp.terminate_child(ref, task.ref)
        with pytest.raises(otp.ServerExited) as caught:
            await task.wait()
        assert caught.value.reason == otp.Shutdown()


async def test_the_end_of_the_supervisor_ends_its_tasks(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, root):
        task = await supervisor.start(trio.sleep_forever)
        await otp.terminate_child(root, "tasks")

        with pytest.raises(otp.ServerExited) as caught:
            await task.wait()
        assert caught.value.reason == otp.Shutdown()
        assert trio.current_time() == 0


async def test_the_limit_of_tasks_is_that_of_the_supervisor(autojump_clock: MockClock) -> None:
    async with tasks(max_children=1) as (supervisor, _):
        await supervisor.start(trio.sleep_forever)
        with pytest.raises(otp.ChildError) as caught:
            await supervisor.start(trio.sleep_forever)

        assert caught.value.code == "max_children"


# shutdown and ignore


async def test_shutdown_gives_the_result_that_had_already_come(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(double, 1)
        await trio.sleep(2)

        assert await task.shutdown() == 2


@pytest.mark.parametrize("policy", [5.0, "brutal_kill"])
async def test_shutdown_of_a_running_task_gives_nothing(autojump_clock: MockClock, policy: Any) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(trio.sleep_forever)

        assert await task.shutdown(policy) is None
        assert not task.ref.alive
        assert trio.current_time() == 0


async def test_shutdown_raises_where_the_task_had_ended_otherwise(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        task = await supervisor.start(fail)
        await settle()
        with pytest.raises(otp.ServerExited) as caught:
            await task.shutdown()

        assert isinstance(caught.value.__cause__, Boom)


async def test_shutdown_that_runs_out_of_time_kills_and_raises(autojump_clock: MockClock) -> None:
    async def cleans_up() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)

    async with tasks() as (supervisor, _):
        task = await supervisor.start(cleans_up)
        await settle()
        with pytest.raises(otp.ServerExited) as caught:
            await task.shutdown(2)

        assert caught.value.reason == otp.Killed()
        assert trio.current_time() == 4


async def test_an_ignored_task_goes_on_and_nobody_hears_of_it(autojump_clock: MockClock) -> None:
    done: list[float] = []

    async def work() -> None:
        await trio.sleep(3)
        done.append(trio.current_time())

    async with tasks() as (supervisor, _):
        task = await supervisor.start(work)
        task.ignore()
        await trio.sleep(10)

        assert done == [3]


# links


async def test_the_crash_of_a_linked_task_ends_the_process_that_started_it(autojump_clock: MockClock) -> None:
    async with tasks(worker("a", restart="temporary")) as (supervisor, root):
        a = await child(root, "a")

        async def start(server: Worker) -> None:
            await supervisor.start(fail, link=True)

        await otp.cast(a, start)

        reason = await otp.wait_down(a)
        assert isinstance(reason, otp.Crash)
        assert isinstance(reason.exc, Boom)


async def test_the_crash_of_a_task_that_is_not_linked_ends_nobody(autojump_clock: MockClock) -> None:
    async with tasks(worker("a")) as (supervisor, root):
        a = await child(root, "a")

        async def start(server: Worker) -> None:
            await supervisor.start(fail)

        await otp.call(a, Do(start))
        await settle()

        assert a.alive


async def test_the_end_of_a_process_ends_the_tasks_linked_to_it(autojump_clock: MockClock) -> None:
    started: list[Any] = []
    async with tasks(worker("a", restart="temporary")) as (supervisor, root):
        a = await child(root, "a")

        async def start(server: Worker) -> None:
            started.append(await supervisor.start(trio.sleep_forever, link=True))
            started.append(await supervisor.start(trio.sleep_forever))

        await otp.call(a, Do(start))
        otp.exit(a, otp.Shutdown("x"))
        await settle()

        assert [task.ref.alive for task in started] == [False, True]


async def test_a_server_that_traps_hears_of_the_end_of_its_linked_task(autojump_clock: MockClock) -> None:
    async with tasks(worker("a", kind=Trapping)) as (supervisor, root):
        a = await child(root, "a")

        async def start(server: Worker) -> Any:
            return (await supervisor.start(fail, link=True)).ref

        ref = await otp.call(a, Do(start))
        [signal] = await seen(a)
        assert isinstance(signal, otp.Exit)
        assert signal.ref == ref
        assert isinstance(signal.reason, otp.Crash)


async def test_a_linked_task_needs_a_process(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        with pytest.raises(RuntimeError):
            await supervisor.start(double, 1, link=True)


async def test_a_task_may_return_an_exception_or_none(autojump_clock: MockClock) -> None:
    value = KeyError("a value")

    async def give(result: object) -> object:
        return result

    async with tasks() as (supervisor, _):
        assert await (await supervisor.start(give, value)).wait() is value
        assert await (await supervisor.start(give, None)).wait() is None


async def test_many_may_wait_for_one_task(autojump_clock: MockClock) -> None:
    results: list[float] = []

    async def ask(task: otp.Task[float]) -> None:
        results.append(await task.wait())

    async with tasks() as (supervisor, _), trio.open_nursery() as nursery:
        task = await supervisor.start(double, 2)
        for _ in range(5):
            nursery.start_soon(ask, task)

    assert results == [4] * 5


async def test_a_task_supervisor_that_does_not_run_starts_nothing(autojump_clock: MockClock) -> None:
    with pytest.raises((RuntimeError, otp.ServerExited)):
        await otp.TaskSupervisor().start(double, 1)
