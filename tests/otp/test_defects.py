"""The seventeen defects of an earlier port of OTP to Trio: one promise for each, in their order."""

from __future__ import annotations

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
    downfall,
    ends,
    quits,
    raises,
    seen,
    settle,
    sleeps,
    system,
    worker,
)


async def test_1_a_caller_does_not_hang_when_the_server_crashes(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with pytest.raises(otp.ServerExited):
            await otp.call(ref, Do(crashes()), timeout=None)

        assert trio.current_time() == 0


async def test_2_a_call_that_times_out_does_not_kill_the_server(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Do(sleeps(3)), timeout=1)
        await trio.sleep(5)

        assert await otp.call(ref, Echo(1)) == 1


async def test_3_the_timeout_covers_the_sending_too(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref:
        await otp.cast(ref, sleeps(100))
        await settle()
        otp.send(ref, "fills the box")
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Echo(1), timeout=0.05)

        assert trio.current_time() == pytest.approx(0.05)


async def test_4_a_cast_to_oneself_is_delivered(autojump_clock: MockClock) -> None:
    async with alone() as ref:

        async def act(server: Worker) -> None:
            await otp.cast(ref, "from myself")

        await otp.cast(ref, act)
        await settle()

        assert await seen(ref) == ["from myself"]


async def test_5_terminate_runs_at_a_shutdown(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with trio.move_on_after(1):
        async with system(worker("a", log)):
            await trio.sleep_forever()

    assert log == ["start a", "stop a"]


async def test_6_the_error_of_a_failed_init_is_not_masked(autojump_clock: MockClock) -> None:
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, worker("a", init=raises(OSError("the real cause"))))

        assert [str(cause) for cause in causes(caught.value)][1:] == ["the real cause"]


async def test_7_a_start_returns_when_all_children_have_initialised(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, init=sleeps(1)), worker("b", log, init=sleeps(2))):
        assert log == ["start a", "start b"]
        assert trio.current_time() == 3


async def test_8_the_budget_of_restarts_is_that_of_the_supervisor(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def init(server: Worker) -> None:
        server.idle_after(0.001, crashes())

    async def body(root: otp.Ref) -> None:
        await trio.sleep_forever()

    await downfall(body, *(worker(name, log, init=init) for name in "abcde"), max_restarts=3)

    assert len([line for line in log if line.startswith("start")]) == 5 + 3


async def test_9_a_normal_end_past_the_limit_ends_the_supervisor_too(autojump_clock: MockClock) -> None:
    starts: list[str] = []

    async def init(server: Worker) -> None:
        server.idle_after(0.001, quits())

    async def body(root: otp.Ref) -> None:
        await trio.sleep_forever()

    error = await downfall(body, worker("quits", starts, init=init), worker("sibling", []), max_restarts=2)

    assert error.reason == otp.Shutdown()
    assert starts.count("start quits") == 3


def test_10_ctrl_c_is_not_swallowed_by_a_restart() -> None:
    starts: list[str] = []

    async def main() -> None:
        async with system(worker("a", starts)) as root:
            await otp.cast(await child(root, "a"), raises(KeyboardInterrupt()))
            await trio.sleep(100)

    with pytest.raises(KeyboardInterrupt):
        trio.run(main, clock=MockClock(autojump_threshold=0))

    assert starts.count("start a") == 1


async def test_11_the_order_of_the_stop_is_always_the_same(autojump_clock: MockClock) -> None:
    orders = set()
    for _ in range(20):
        log: list[str] = []
        async with system(*(worker(name, log) for name in "abcd")):
            log.clear()
        orders.add(tuple(log))

    assert orders == {("stop d", "stop c", "stop b", "stop a")}


async def test_12_a_dynamic_start_returns_the_child_or_its_error(autojump_clock: MockClock) -> None:
    async with system(otp.ChildSpec(start=otp.DynamicSupervisor, id="dynamic")) as root:
        dynamic = await child(root, "dynamic")
        ref = await otp.start_child(dynamic, worker("a", restart="temporary"))
        assert await otp.call(ref, Echo(1)) == 1

        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(dynamic, worker("b", init=crashes(), restart="temporary"))
        assert isinstance(caught.value.__cause__, Boom)
        assert dynamic.alive


async def test_13_the_crash_of_a_temporary_child_is_its_own_matter(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("sibling"), max_restarts=0) as root:
        sibling = await child(root, "sibling")
        await ends(await child(root, "a"), crashes())

        assert root.alive
        assert await otp.call(sibling, Echo(1)) == 1


async def test_14_a_supervisor_outlives_its_last_child(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary")) as root:
        await otp.stop(await child(root, "a"))
        await trio.sleep(100)

        assert root.alive


async def test_15_what_was_stopped_can_be_started_again_and_its_stop_is_waited_for(autojump_clock: MockClock) -> None:
    log: list[str] = []
    for _ in range(2):
        async with system(worker("a", log, terminate=sleeps(1))):
            pass

    assert log == ["start a", "stop a"] * 2
    assert trio.current_time() == 2


async def test_16_an_exception_can_be_a_reply(autojump_clock: MockClock) -> None:
    value = KeyError("a value")
    async with alone() as ref:
        reply = await otp.call(ref, Echo(value))

        assert reply is value
        assert reply.__traceback__ is None


async def test_17_a_cast_that_waits_for_room_ends_in_silence_when_the_server_stops(autojump_clock: MockClock) -> None:
    outcome: list[Any] = []

    async def cast(ref: otp.Ref) -> None:
        outcome.append(await otp.cast(ref, "waits for room"))

    async def stop_later(server: Worker) -> None:
        await trio.sleep(1)
        raise otp.Stop

    async with alone(mailbox=1) as ref, trio.open_nursery() as nursery:
        await otp.cast(ref, stop_later)
        await settle()
        await otp.cast(ref, "fills the box")
        nursery.start_soon(cast, ref)
        await trio.sleep(2)

    assert outcome == [None]
