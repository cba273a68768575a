"""Draining: no new work, time for the work in hand, and then the stop."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Echo, Worker, alone, child, ends, notes, quits, settle, sleeps, system, under, worker


async def test_draining_an_idle_server_stops_it_at_once(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary")) as root:
        a = await child(root, "a")

        assert await otp.drain(a, 10)
        assert not a.alive
        assert log == ["start a", "stop a"]
        assert trio.current_time() == 0


async def test_draining_lets_the_handler_in_flight_end_and_its_caller_has_the_reply(
    autojump_clock: MockClock,
) -> None:
    replies: list[Any] = []

    async def work(server: Worker) -> str:
        await trio.sleep(3)
        return "done"

    async with alone() as ref, trio.open_nursery() as nursery:

        async def ask() -> None:
            replies.append(await otp.call(ref, Do(work)))

        nursery.start_soon(ask)
        await settle()

        assert await otp.drain(ref, 10)
        assert trio.current_time() == 3
        assert not ref.alive
    assert replies == ["done"]


async def test_new_calls_are_refused_while_it_drains(autojump_clock: MockClock) -> None:
    async with alone() as ref, trio.open_nursery() as nursery:
        await otp.cast(ref, sleeps(3))
        await settle()
        nursery.start_soon(otp.drain, ref, 10)
        await settle()
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Echo(1))

        assert caught.value.reason == otp.Shutdown("draining")
        assert trio.current_time() == 0


async def test_what_does_not_end_within_the_grace_is_stopped_and_the_answer_is_no(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary")) as root:
        a = await child(root, "a")
        await otp.cast(a, sleeps(1000))
        await settle()

        assert not await otp.drain(a, 10)
        assert trio.current_time() == 10
        assert not a.alive
        assert log == ["start a", "stop a"]


async def test_draining_a_supervisor_drains_all_below_it_and_stops_them_in_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under(
        "sub", worker("a", log), under("deeper", worker("b", log)), worker("c", log), spec={"restart": "temporary"}
    )
    async with system(spec) as root:
        sub = await child(root, "sub")
        b = await child(await child(sub, "deeper"), "b")
        await otp.cast(await child(sub, "a"), notes("a worked", after=2))
        await otp.cast(b, notes("b worked", after=4))
        await settle()

        assert await otp.drain(sub, 10)
        assert trio.current_time() == 4
        assert not sub.alive
        assert log[3:] == ["a worked", "b worked", "stop c", "stop b", "stop a"]


async def test_while_a_supervisor_drains_its_children_refuse_new_calls(autojump_clock: MockClock) -> None:
    spec = under("sub", worker("a"), worker("b"), spec={"restart": "temporary"})
    async with system(spec) as root, trio.open_nursery() as nursery:
        sub = await child(root, "sub")
        a, b = await child(sub, "a"), await child(sub, "b")
        await otp.cast(a, sleeps(3))
        await settle()
        nursery.start_soon(otp.drain, sub, 10)
        await settle()
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(b, Echo(1))

        assert caught.value.reason == otp.Shutdown("draining")


async def test_draining_the_dead_raises(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, quits())
        with pytest.raises(otp.ServerExited):
            await otp.drain(ref, 10)

        assert trio.current_time() == 0


async def test_a_wrong_grace_is_refused(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with pytest.raises(ValueError, match="-1"):
            await otp.drain(ref, -1)

        assert await otp.call(ref, Echo(1)) == 1


async def test_what_was_accepted_before_the_drain_is_served(autojump_clock: MockClock) -> None:
    replies: list[Any] = []

    async def ask(ref: otp.Ref, number: int) -> None:
        await otp.call(ref, Do(sleeps(1)))
        replies.append(number)

    async with alone() as ref, trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(ask, ref, number)
            await settle()

        assert await otp.drain(ref, 10)
        assert trio.current_time() == 3
    assert replies == [0, 1, 2]


async def test_a_reply_that_was_put_off_is_waited_for(autojump_clock: MockClock) -> None:
    replies: list[Any] = []

    async def defer(server: Worker) -> Any:
        slot = server.reply_to
        assert slot is not None

        async def answer() -> None:
            await trio.sleep(3)
            slot.reply("late")

        server.start_soon(answer)
        return otp.NO_REPLY

    async def ask(ref: otp.Ref) -> None:
        replies.append(await otp.call(ref, Do(defer)))

    async with alone() as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ask, ref)
        await settle()

        assert await otp.drain(ref, 10)
        assert trio.current_time() == 3
    assert replies == ["late"]


async def test_those_who_drain_together_still_work_for_each_other(autojump_clock: MockClock) -> None:
    replies: list[Any] = []
    spec = under("sub", worker("a"), worker("b"), spec={"restart": "temporary"})
    async with system(spec) as root, trio.open_nursery() as nursery:
        sub = await child(root, "sub")
        a, b = await child(sub, "a"), await child(sub, "b")

        async def ask_b_later(server: Worker) -> Any:
            await trio.sleep(2)
            return await otp.call(b, Echo("from b"))

        async def ask() -> None:
            replies.append(await otp.call(a, Do(ask_b_later)))

        nursery.start_soon(ask)
        await settle()

        assert await otp.drain(sub, 10)
    assert replies == ["from b"]
