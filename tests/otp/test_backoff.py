"""Back-off: how long a restart waits, and what a supervisor does meanwhile."""

from __future__ import annotations

from typing import Any

import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Worker,
    child,
    crashes,
    ends,
    settle,
    system,
    under,
    worker,
)


def backed_off(*children: otp.ChildSpec, **flags: Any) -> Any:
    flags.setdefault("backoff", otp.Backoff(base=1, cap=4, jitter=0))
    return system(*children, **{"max_restarts": 10, "max_seconds": 1000, **flags})


async def test_back_off_delays_each_restart_of_a_child_twice_as_long_up_to_its_cap(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def init(server: Worker) -> None:
        times.append(trio.current_time())
        server.idle_after(0, crashes())

    async with backed_off(worker("a", init=init)):
        await trio.sleep(16)

    assert times == [0, 1, 3, 7, 11, 15]


async def test_the_delays_of_back_off_are_reported(autojump_clock: MockClock) -> None:
    async def init(server: Worker) -> None:
        server.idle_after(0.5, crashes())

    delays: list[float] = []
    async with backed_off(worker("a", init=init)) as root, otp.watch_events(root) as events:
        async for event in events:
            if isinstance(event, otp.Restarting):
                delays.append(event.delay)
            if len(delays) == 4:
                break

    assert delays == [1, 2, 4, 4]


async def test_a_child_that_has_lived_for_long_begins_again_with_the_first_delay(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def init(server: Worker) -> None:
        times.append(trio.current_time())

    async with backed_off(worker("a", init=init), max_restarts=4, max_seconds=20) as root:
        for lived in (0, 0, 100, 0):
            await trio.sleep(lived)
            await ends(await child(root, "a"), crashes())
            await trio.sleep(4)  # longer than any delay here

    assert times == [0, 1, 4 + 2, 8 + 100 + 1, 112 + 2]


async def test_jitter_varies_the_delay_within_its_share(autojump_clock: MockClock) -> None:
    delays: list[float] = []
    backoff = otp.Backoff(base=10, cap=10, jitter=0.5)
    async with backed_off(worker("a"), backoff=backoff) as root, otp.watch_events(root) as events:
        for _ in range(8):
            await ends(await child(root, "a"), crashes())
            await trio.sleep(20)
        with trio.move_on_after(1):
            async for event in events:
                if isinstance(event, otp.Restarting):
                    delays.append(event.delay)

    assert len(delays) == 8
    assert all(5 <= delay <= 15 for delay in delays)
    assert len(set(delays)) > 1


async def test_a_supervisor_answers_while_a_child_backs_off(autojump_clock: MockClock) -> None:
    async with backed_off(worker("a"), worker("b")) as root:
        await ends(await child(root, "a"), crashes())

        assert await child(root, "a") == "restarting"
        assert await otp.start_child(root, worker("c")) is not None
        await ends(await child(root, "b"), crashes())
        assert await otp.count_children(root) == otp.Counts(specs=3, active=1, supervisors=0, workers=3)
        assert trio.current_time() == 0
        await trio.sleep(1)
        await settle()
        assert all(info.ref.alive for info in await otp.which_children(root))


async def test_terminating_a_child_that_backs_off_cancels_its_restart(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with backed_off(worker("a", log)) as root:
        await ends(await child(root, "a"), crashes())
        await otp.terminate_child(root, "a")
        await trio.sleep(100)

        assert await child(root, "a") is None
        assert log.count("start a") == 1


async def test_a_supervisor_can_be_stopped_while_a_child_backs_off(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with backed_off(worker("a", log), worker("b", log)) as root:
        await ends(await child(root, "b"), crashes())

    assert trio.current_time() == 0
    assert log == ["start a", "start b", "stop b", "stop a"]


async def test_back_off_still_gives_up(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def init(server: Worker) -> None:
        server.idle_after(0, crashes())

    backoff = otp.Backoff(base=0.1, cap=30, jitter=0)
    flags = {"max_restarts": 3, "max_seconds": 5, "backoff": backoff}
    spec = under("sub", worker("a", log, init=init), spec={"restart": "temporary"}, **flags)
    async with system(spec) as root:
        assert await otp.wait_down(await child(root, "sub")) == otp.Shutdown()
        assert log.count("start a") == 4
        assert trio.current_time() <= 5
