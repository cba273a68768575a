"""Streams of tasks: their order, their bounds, their failures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Worker,
    child,
    running_tasks,
    settle,
    worker,
)
from otp.tasks import double, fail, tasks, wait


async def test_a_stream_gives_the_results_in_the_order_of_the_items(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _), supervisor.stream(double, [3, 1, 2], link=False) as results:
        assert [result async for result in results] == [6, 2, 4]
        assert trio.current_time() == 3


async def test_an_unordered_stream_gives_them_as_they_come(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _), supervisor.stream(double, [3, 1, 2], ordered=False, link=False) as results:
        assert [result async for result in results] == [2, 4, 6]


async def test_a_stream_runs_so_many_at_a_time(autojump_clock: MockClock) -> None:
    running = most = 0

    async def work(_: int) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await trio.sleep(1)
        running -= 1

    async with tasks() as (supervisor, _), supervisor.stream(work, range(10), max_concurrency=3, link=False) as results:
        assert [result async for result in results] == [None] * 10
    assert most == 3
    assert trio.current_time() == 4


async def test_a_stream_draws_its_items_as_it_goes(autojump_clock: MockClock) -> None:
    drawn: list[int] = []

    def items() -> Iterator[int]:
        number = 0
        while True:
            drawn.append(number)
            yield number
            number += 1

    async with (
        tasks() as (supervisor, _),
        supervisor.stream(wait, items(), max_concurrency=2, link=False, window=4) as results,
    ):
        async for _result in results:
            if len(drawn) > 3:
                break
    assert len(drawn) < 20


async def test_an_item_that_crashes_is_a_crash_in_the_stream(autojump_clock: MockClock) -> None:
    async def odd(number: int) -> int:
        if number % 2 == 0:
            raise Boom(f"even: {number}")
        return number

    async with tasks() as (supervisor, _), supervisor.stream(odd, [1, 2, 3], link=False) as results:
        one, two, three = [result async for result in results]

    assert (one, three) == (1, 3)
    assert isinstance(two, otp.Crash)
    assert isinstance(two.exc, Boom)


async def test_an_item_that_takes_too_long_is_killed_where_that_is_asked_for(autojump_clock: MockClock) -> None:
    async with (
        tasks() as (supervisor, _),
        supervisor.stream(wait, [1, 100, 2], timeout=3, on_timeout="kill_task", link=False) as results,
    ):
        one, late, two = [result async for result in results]

        assert (one, two) == (1, 2)
        assert isinstance(late, otp.Crash)
        assert isinstance(late.exc, otp.CallTimeout)
        assert trio.current_time() == 3


async def test_each_item_has_its_time_from_its_own_start(autojump_clock: MockClock) -> None:
    async with (
        tasks() as (supervisor, _),
        supervisor.stream(wait, [3, 3, 3, 3], timeout=4, max_concurrency=1, link=False) as results,
    ):
        assert [result async for result in results] == [3, 3, 3, 3]
        assert trio.current_time() == 12


async def test_an_item_that_takes_too_long_ends_the_stream_where_nothing_else_is_said(
    autojump_clock: MockClock,
) -> None:
    async def consume(supervisor: otp.TaskSupervisor) -> None:
        async with supervisor.stream(wait, [1, 100, 2], timeout=3, link=False) as results:
            async for result in results:
                got.append(result)

    got: list[Any] = []
    async with tasks() as (supervisor, root):
        with pytest.raises(otp.CallTimeout):
            await consume(supervisor)

        assert got == [1]
        assert trio.current_time() == 3
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_a_consumer_that_stops_early_ends_the_rest(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, root):
        before = running_tasks()
        async with supervisor.stream(wait, [0, 100, 100, 100], timeout=200, link=False) as results:
            async for _ in results:
                break

        assert trio.current_time() == 0
        assert (await otp.count_children(await child(root, "tasks"))).active == 0
        assert running_tasks() == before


async def test_a_cancelled_consumer_ends_the_rest(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, root):
        with trio.move_on_after(2):
            async with supervisor.stream(wait, [100, 100], timeout=200, link=False) as results:
                async for _ in results:
                    raise AssertionError("nothing is ready")

        assert trio.current_time() == 2
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_an_error_of_the_source_is_raised_after_the_tasks_were_ended(autojump_clock: MockClock) -> None:
    def items() -> Iterator[float]:
        yield 100
        yield 100
        raise Boom("source")

    async def consume(supervisor: otp.TaskSupervisor) -> None:
        async with supervisor.stream(wait, items(), timeout=200, link=False) as results:
            async for _ in results:
                raise AssertionError("nothing is ready")

    async with tasks() as (supervisor, root):
        with pytest.raises(Boom, match="source"):
            await consume(supervisor)

        assert trio.current_time() == 0
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_a_stream_that_meets_the_limit_of_its_supervisor_fails_and_leaves_nothing(
    autojump_clock: MockClock,
) -> None:
    async def consume(supervisor: otp.TaskSupervisor) -> None:
        async with supervisor.stream(wait, [100] * 3, timeout=200, max_concurrency=2, link=False) as results:
            async for _ in results:
                raise AssertionError("nothing is ready")

    async with tasks(max_children=1) as (supervisor, root):
        with pytest.raises(otp.ChildError) as caught:
            await consume(supervisor)

        assert caught.value.code == "max_children"
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_an_ordered_stream_does_not_run_ahead_of_a_slow_head_beyond_its_window(
    autojump_clock: MockClock,
) -> None:
    started: list[int] = []

    async def work(number: int) -> int:
        started.append(number)
        await trio.sleep(100 if number == 0 else 1)
        return number

    async with (
        tasks() as (supervisor, _),
        supervisor.stream(work, range(50), max_concurrency=4, timeout=200, link=False, window=10) as results,
        trio.open_nursery() as nursery,
    ):

        async def look() -> None:
            await trio.sleep(99)
            assert len(started) <= 10

        nursery.start_soon(look)
        assert [result async for result in results] == list(range(50))


async def test_a_linked_stream_takes_its_consumer_down_when_an_item_crashes(autojump_clock: MockClock) -> None:
    async with tasks(worker("a", restart="temporary")) as (supervisor, root):

        async def consume(server: Worker) -> None:
            async with supervisor.stream(fail, [1, 2]) as results:
                async for _ in results:
                    server.log.append("result")

        a = await child(root, "a")
        await otp.cast(a, consume)

        assert isinstance(await otp.wait_down(a), otp.Crash)
        await settle()
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_a_linked_stream_needs_a_process(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _):
        with pytest.raises(RuntimeError):
            async with supervisor.stream(double, [1]):
                raise AssertionError("opened")


async def test_an_empty_stream_is_empty(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _), supervisor.stream(double, [], link=False) as results:
        assert [result async for result in results] == []


async def test_a_linked_stream_in_a_server_leaves_it_as_it_was(autojump_clock: MockClock) -> None:
    async with tasks(worker("a", restart="temporary")) as (supervisor, root):

        async def consume(server: Worker) -> Any:
            async with supervisor.stream(double, [1, 2, 3]) as results:
                return [result async for result in results]

        a = await child(root, "a")
        assert await otp.call(a, Do(consume)) == [2, 4, 6]
        await settle()
        assert a.alive


async def test_a_linked_stream_that_is_left_early_does_not_harm_its_server(autojump_clock: MockClock) -> None:
    async with tasks(worker("a", restart="temporary")) as (supervisor, root):

        async def consume(server: Worker) -> Any:
            async with supervisor.stream(wait, [1, 100, 100], timeout=200) as results:
                return await anext(results)

        a = await child(root, "a")
        assert await otp.call(a, Do(consume)) == 1
        await settle()
        assert a.alive
        assert (await otp.count_children(await child(root, "tasks"))).active == 0


async def test_an_unordered_stream_keeps_the_order_of_finishing_for_a_slow_reader(autojump_clock: MockClock) -> None:
    async with tasks() as (supervisor, _), supervisor.stream(wait, [1, 4, 3, 2], ordered=False, link=False) as results:
        first = await anext(results)
        await trio.sleep(10)

        assert [first, *[result async for result in results]] == [1, 2, 3, 4]
