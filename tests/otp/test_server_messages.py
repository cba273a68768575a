"""What a server is sent: casts, other messages, what nobody handles, the idle message; and its helper tasks."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Echo,
    Worker,
    alone,
    child,
    ends,
    notes,
    quits,
    raises,
    seen,
    settle,
    system,
    worker,
)


async def test_a_helper_may_reply_while_the_server_goes_on(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> Any:
        slot = server.reply_to
        assert slot is not None

        async def work() -> None:
            await trio.sleep(3)
            slot.reply("worked")

        server.start_soon(work)
        return otp.NO_REPLY

    async with alone() as ref, trio.open_nursery() as nursery:
        replies: list[Any] = []

        async def ask() -> None:
            replies.append((await otp.call(ref, Do(act)), trio.current_time()))

        nursery.start_soon(ask)
        await trio.sleep(1)
        assert await otp.call(ref, Echo("meanwhile")) == "meanwhile"

    assert replies == [("worked", 3)]


async def test_casts_to_the_dead_and_the_missing_are_silent(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, quits())

        await otp.cast(ref, "to the dead")
        otp.send(ref, "to the dead")
        await otp.cast(otp.Registry().via("nobody"), "to nobody")
        otp.send(otp.Registry().via("nobody"), "to nobody")


async def test_a_send_arrives_in_handle_info(autojump_clock: MockClock) -> None:
    class Mail(Worker):
        async def handle_info(self, message: Any) -> None:
            self.seen.append(("info", message))

        async def handle_cast(self, message: Any) -> None:
            self.seen.append(("cast", message))

    async with alone(Mail) as ref:
        otp.send(ref, 1)
        await otp.cast(ref, 2)
        otp.send(ref, 3)

        assert await seen(ref) == [("info", 1), ("cast", 2), ("info", 3)]


async def test_a_delayed_send_arrives_on_time_unless_it_is_cancelled(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        kept = otp.send_after(a, notes("kept"), 2)
        dropped = otp.send_after(a, notes("dropped"), 2)
        await trio.sleep(1.9)
        assert log == ["start a"]
        assert dropped.cancel()
        await trio.sleep(1)

        assert log == ["start a", "kept"]
        assert not kept.cancel()
        assert not dropped.cancel()


async def test_a_delayed_send_to_the_dead_is_silent(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        otp.send_after(ref, "x", 2)
        await ends(ref, quits())
        await trio.sleep(3)

        assert not ref.alive


class Bare(otp.Server):
    pass


@pytest.mark.parametrize("how", ["call", "cast", "continue"])
async def test_a_request_that_nobody_handles_is_a_crash(autojump_clock: MockClock, how: str) -> None:
    class Continuing(Bare):
        async def handle_info(self, message: Any) -> None:
            self.continue_("x")

    async with system(otp.ChildSpec(start=Continuing, id="a", restart="temporary")) as root:
        a = await child(root, "a")
        match how:
            case "call":
                with pytest.raises(otp.ServerExited):
                    await otp.call(a, Echo(1))
            case "cast":
                await otp.cast(a, "x")
            case "continue":
                otp.send(a, "x")

        assert isinstance(await otp.wait_down(a), otp.Crash)


async def test_a_message_that_nobody_handles_is_one_warning(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with system(otp.ChildSpec(start=Bare, id="a")) as root:
        a = await child(root, "a")
        otp.send(a, {"un": "known"})
        await settle()

        [record] = [record for record in caplog.records if record.name == "alloy.otp"]
        assert record.levelno == logging.WARNING
        assert repr({"un": "known"}) in record.getMessage()
        assert a.alive


def idles(seconds: float, message: object) -> Any:
    async def act(server: Worker) -> None:
        server.idle_after(seconds, message)

    return act


async def test_the_idle_message_comes_when_nothing_else_did_and_only_once(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, idles(3, notes("idle")))
        await trio.sleep(2.9)
        assert log == ["start a"]
        await trio.sleep(100)

        assert log == ["start a", "idle"]


@pytest.mark.parametrize("how", ["call", "cast", "info"])
async def test_any_message_cancels_the_idle_time(autojump_clock: MockClock, how: str) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, idles(3, notes("idle")))
        await trio.sleep(2)
        match how:
            case "call":
                await otp.call(a, Echo(1))
            case "cast":
                await otp.cast(a, "x")
            case "info":
                otp.send(a, "x")
        await trio.sleep(100)

        assert log == ["start a"]


async def test_a_message_that_came_while_the_handler_was_still_busy_cancels_the_idle_time_too(
    autojump_clock: MockClock,
) -> None:
    async def act(server: Worker) -> None:
        server.idle_after(1, notes("idle"))
        await trio.sleep(2)

    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        await trio.sleep(0.5)
        await otp.cast(a, notes("message"))
        await trio.sleep(100)

        assert log == ["start a", "message"]


async def test_the_idle_time_can_be_armed_again_by_what_cancelled_it(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def idle(server: Worker) -> None:
        times.append(trio.current_time())

    async with alone() as ref:
        await otp.cast(ref, idles(3, idle))
        await trio.sleep(2)
        await otp.cast(ref, idles(3, idle))
        await trio.sleep(100)

        assert times == [5]


async def test_the_idle_time_can_be_armed_in_init(autojump_clock: MockClock) -> None:
    async with alone(init=idles(3, quits(otp.Shutdown("unused")))) as ref:
        assert await otp.wait_down(ref) == otp.Shutdown("unused")
        assert trio.current_time() == 3


async def test_a_helper_runs_beside_the_server_and_ends_with_it(autojump_clock: MockClock) -> None:
    async def tick(server: Worker) -> None:
        try:
            while True:
                await trio.sleep(1)
                server.log.append("tick")
        finally:
            server.log.append("helper ended")

    async def start(server: Worker) -> None:
        server.start_soon(tick, server)

    log: list[str] = []
    async with system(worker("a", log, init=start)) as root:
        await trio.sleep(2.5)
        assert await otp.call(await child(root, "a"), Echo(1)) == 1
        await otp.terminate_child(root, "a")

        assert sorted(log) == ["helper ended", "start a", "stop a", "tick", "tick"]


async def test_a_crash_of_a_helper_is_a_crash_of_the_server(autojump_clock: MockClock) -> None:
    error = Boom("helper")
    log: list[str] = []

    async def start(server: Worker) -> None:
        server.start_soon(raises(error), server)

    async with system(worker("a", log, restart="temporary")) as root:
        a = await child(root, "a")
        reason = await ends(a, start)

        assert isinstance(reason, otp.Crash)
        assert reason.exc is error
        assert log == ["start a", "stop a"]


async def test_a_helper_that_ends_is_no_matter(autojump_clock: MockClock) -> None:
    async def start(server: Worker) -> None:
        server.start_soon(trio.sleep, 1)

    async with alone() as ref:
        await otp.cast(ref, start)
        await trio.sleep(2)

        assert await otp.call(ref, Echo(1)) == 1


async def test_delayed_sends_of_the_same_moment_arrive_in_the_order_they_were_made(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        for number in range(20):
            otp.send_after(ref, number, 1)
        await trio.sleep(2)

        assert await seen(ref) == list(range(20))


async def test_a_helper_cannot_outlive_a_killed_server(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def helper() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async def start(server: Worker) -> None:
        server.start_soon(helper)

    async with alone(init=start) as ref:
        await trio.sleep(1)
        otp.exit(ref, otp.Killed())
        await otp.wait_down(ref)

        assert ended == [1]
