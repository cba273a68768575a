"""The traps of putting OTP on Trio: one promise for each that another file does not already keep.

Elsewhere: P1 and P4 test_exits, P5 and P6 test_supervisor_shutdown, P9 test_policy, P15 to P17 test_mailbox,
P19 and P20 test_defects, P21 test_exits, P22 test_registry and test_partition, P23 test_call, P24
test_supervisor_restart, P25 test_introspect, P26 test_system, P28 test_server.
"""

from __future__ import annotations

import threading
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
    causes,
    child,
    crashes,
    ends,
    raises,
    settle,
    sleeps,
    system,
    worker,
)


async def test_p2_an_error_among_cancellations_is_still_found(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        async def fail_when_cancelled() -> None:
            try:
                await trio.sleep_forever()
            finally:
                raise Boom("in the clean-up")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    async with system(worker("a", restart="temporary")) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        await settle()
        await otp.terminate_child(root, "a")

        reason = await otp.wait_down(a)
        assert isinstance(reason, otp.Crash)
        leaves = reason.exc.exceptions if isinstance(reason.exc, BaseExceptionGroup) else (reason.exc,)
        assert [str(leaf) for leaf in leaves] == ["in the clean-up"]


@pytest.mark.parametrize("kill", [False, True], ids=["shutdown", "kill"])
async def test_p3_cancellation_of_a_nursery_in_a_handler_is_no_crash(autojump_clock: MockClock, kill: bool) -> None:
    log: list[str] = []

    async def act(server: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            nursery.start_soon(trio.sleep_forever)

    async with system(worker("a", log, restart="temporary", shutdown="brutal_kill" if kill else 5)) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        await settle()
        await otp.terminate_child(root, "a")

        assert await otp.wait_down(a) == (otp.Killed() if kill else otp.Shutdown())
        assert ("stop a" in log) is not kill


async def test_p5_what_needs_time_belongs_in_terminate(autojump_clock: MockClock) -> None:
    saved: list[str] = []

    class Saving(Worker):
        async def terminate(self, reason: otp.ExitReason) -> None:
            await trio.sleep(2)
            saved.append("saved")

    async with system(worker("a", kind=Saving)) as root:
        await otp.cast(await child(root, "a"), sleeps(100))
        await settle()

    assert saved == ["saved"]


async def test_p6_a_thread_that_cannot_be_stopped_is_waited_for_and_not_doubled() -> None:
    running: list[int] = []
    most: list[int] = []
    release = threading.Event()

    def block() -> None:
        running.append(1)
        most.append(len(running))
        release.wait(30)
        running.pop()

    async def act(server: Worker) -> None:
        await trio.to_thread.run_sync(block)

    async with system(worker("a")) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        while not running:
            await trio.lowlevel.checkpoint()
        otp.exit(a, otp.Killed())
        for _ in range(50):
            await trio.lowlevel.checkpoint()
        assert a.alive
        assert await child(root, "a") == a
        release.set()
        await otp.wait_down(a)

    assert max(most) == 1


async def test_p8_a_restart_storm_leaves_the_others_their_turns(autojump_clock: MockClock) -> None:
    starts: list[str] = []

    async def init(server: Worker) -> None:
        server.continue_(crashes())

    async with system(worker("b"), max_restarts=1_000_000, max_seconds=1) as root:
        b = await child(root, "b")
        await otp.start_child(root, worker("a", starts, init=init))
        for number in range(100):
            assert await otp.call(b, Echo(number)) == number
        await otp.terminate_child(root, "a")

        assert starts.count("start a") > 10
        assert await child(root, "a") is None


async def test_p11_a_start_that_shields_itself_against_its_time_limit_is_waited_for_and_no_start(
    autojump_clock: MockClock,
) -> None:
    async def init(server: Worker) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(3)

    async with system() as root:
        with pytest.raises(otp.StartFailed):
            await otp.start_child(root, worker("a", init=init, start_timeout=1))

        assert trio.current_time() == 3
        assert list(await otp.which_children(root)) == []


async def test_p12_to_ignore_is_no_error_whoever_starts_it(autojump_clock: MockClock) -> None:
    async with system(worker("a", init=raises(otp.Ignore()))) as root:
        assert await otp.start_child(root, worker("b", init=raises(otp.Ignore()))) is None
        assert root.alive


async def test_p13_the_order_of_start_and_stop_does_not_depend_on_the_scheduler(autojump_clock: MockClock) -> None:
    names = [str(number) for number in range(50)]
    log: list[str] = []
    async with system(*(worker(name, log) for name in names)):
        pass

    assert log == [f"start {name}" for name in names] + [f"stop {name}" for name in reversed(names)]


async def test_p16_whoever_waits_for_room_is_released_by_the_death_of_the_server(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref, trio.open_nursery() as nursery:
        await otp.cast(ref, sleeps(100))
        await settle()
        otp.send(ref, "fills the box")
        for _ in range(5):
            nursery.start_soon(otp.cast, ref, "waits")
        await settle()
        otp.exit(ref, otp.Killed())

    assert trio.current_time() == 0


async def test_p18_a_call_without_any_time_is_over_at_once_and_harms_nobody(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Do(sleeps(1)), timeout=0)

        assert await otp.call(ref, Echo(1)) == 1


async def test_p27_a_flooded_server_lets_its_neighbours_run_after_each_message(autojump_clock: MockClock) -> None:
    handled = 0

    async def count(server: Worker) -> None:
        nonlocal handled
        handled += 1

    async with alone(mailbox=2000) as ref:
        for _ in range(1000):
            otp.send(ref, count)
        for _ in range(100):
            await trio.lowlevel.checkpoint()

        assert 0 < handled <= 200
        await settle()
        assert handled == 1000


async def test_p29_what_must_outlive_a_crash_comes_from_outside_the_server(autojump_clock: MockClock) -> None:
    store: dict[str, int] = {"count": 0}

    class Counter(otp.Server):
        async def init(self) -> None:
            self.count = store["count"]

        async def handle_call(self, request: Any, reply_to: Any) -> int:
            self.count += 1
            store["count"] = self.count
            if self.count == 2:
                raise Boom("boom")
            return self.count

    async with system(otp.ChildSpec(start=Counter)) as root:
        assert await otp.call(await child(root, "Counter"), Echo(None)) == 1
        with pytest.raises(otp.ServerExited):
            await otp.call(await child(root, "Counter"), Echo(None))
        await settle()

        assert await otp.call(await child(root, "Counter"), Echo(None)) == 3


async def test_p30_one_failure_does_not_cancel_the_rest(autojump_clock: MockClock) -> None:
    async with system(*(worker(name, restart="temporary") for name in "abcde")) as root:
        refs = {name: await child(root, name) for name in "abcde"}
        for name in "abcd":
            await ends(refs[name], crashes())

        assert await otp.call(refs["e"], Echo("still here")) == "still here"


async def test_a_reason_shows_the_error_with_its_chain_of_causes(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise Boom("second") from error

    async with alone() as ref:
        reason = await ends(ref, act)

        assert isinstance(reason, otp.Crash)
        assert [type(cause) for cause in causes(reason.exc)] == [Boom, KeyError]
