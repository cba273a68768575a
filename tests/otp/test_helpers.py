"""Helpers with a grace: they may go on a while when their server is stopped, and never when it fails."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import Act, Boom, Worker, child, crashes, notes, quits, raises, settle, system, under, worker


def helped(act: Act, *, grace: float = 10.0) -> Act:
    """For `init`: start a helper that does `act` and may go on for so long."""

    async def init(server: Worker) -> None:
        server.start_soon(act, server, grace=lambda: grace)

    return init


async def test_a_stop_in_good_order_waits_for_a_helper_within_its_grace(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, init=helped(notes("done", after=7)), shutdown=100)) as root:
        await trio.sleep(1)
        await otp.terminate_child(root, "a")

        assert log == ["start a", "done", "stop a"]
        assert trio.current_time() == 7


async def test_a_helper_is_cancelled_when_its_grace_is_over(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, init=helped(notes("done", after=100), grace=10), shutdown=100)) as root:
        await trio.sleep(1)
        await otp.terminate_child(root, "a")

        assert log == ["start a", "stop a"]
        assert trio.current_time() == 11


@pytest.mark.parametrize("how", [crashes(), quits(otp.Crash(Boom("boom")))])
async def test_a_crash_of_the_server_leaves_its_helpers_no_time(how: Act, autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, init=helped(notes("done", after=5)), restart="temporary")) as root:
        ref = await child(root, "a")
        await otp.cast(ref, how)
        await otp.wait_down(ref)

        assert log == ["start a", "stop a"]
        assert trio.current_time() == 0


@pytest.mark.parametrize("depth", [0, 1, 2])
async def test_a_kill_cuts_a_helper_within_its_grace(depth: int, autojump_clock: MockClock) -> None:
    spec = worker("a", init=helped(notes("done", after=50), grace=100), shutdown=1000, restart="temporary")
    for _ in range(depth):
        spec = under("a", spec, spec={"restart": "temporary"})
    async with system(spec) as root:
        top = await child(root, "a")
        otp.exit(top, otp.Shutdown())
        await trio.sleep(3)
        otp.exit(top, otp.Killed())
        reason = await otp.wait_down(top)

        assert reason == otp.Killed()
        assert trio.current_time() == 3


async def test_a_helper_that_fails_within_its_grace_is_a_crash_and_cuts_the_others(autojump_clock: MockClock) -> None:
    async def init(server: Worker) -> None:
        async def fail() -> None:
            await trio.sleep(4)
            raise Boom("boom")

        server.start_soon(fail, grace=lambda: 10)
        server.start_soon(trio.sleep, 9, grace=lambda: 10)

    async with system(worker("a", init=init, shutdown=100, restart="temporary")) as root:
        ref = await child(root, "a")
        otp.exit(ref, otp.Shutdown())

        assert isinstance(await otp.wait_down(ref), otp.Crash)
        assert trio.current_time() == 4


async def test_a_helper_started_by_one_that_ends_is_cancelled_too(autojump_clock: MockClock) -> None:
    async def init(server: Worker) -> None:
        async def restless() -> None:
            try:
                await trio.sleep_forever()
            finally:
                server.start_soon(trio.sleep_forever)

        server.start_soon(restless)

    async with system(worker("a", init=init, restart="temporary")) as root:
        ref: Any = await child(root, "a")
        await settle()
        await otp.cast(ref, quits())
        with trio.fail_after(100):
            reason = await otp.wait_down(ref)

        assert reason == otp.Normal()


async def test_a_stop_by_the_server_itself_is_in_good_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, init=helped(notes("done", after=5)), restart="temporary")) as root:
        ref = await child(root, "a")
        await otp.cast(ref, raises(otp.Stop(otp.Shutdown("tired"))))
        await otp.wait_down(ref)

        assert log == ["start a", "done", "stop a"]
        assert trio.current_time() == 5
