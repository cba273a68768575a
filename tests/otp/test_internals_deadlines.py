"""The one who keeps the time: exact, and without waste."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from alloy.otp.deadlines import Deadlines, Timer


async def test_timers_fire_in_the_order_of_their_deadlines_at_the_exact_time(autojump_clock: MockClock) -> None:
    deadlines = Deadlines()
    fired: list[tuple[float, int]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(deadlines.run)
        for seconds in (3, 1, 2):
            deadlines.after(seconds, lambda seconds=seconds: fired.append((trio.current_time(), seconds)))  # type: ignore[misc]
        await trio.sleep(2.5)
        deadlines.after(0.25, lambda: fired.append((trio.current_time(), 0)))
        await trio.sleep(10)
        nursery.cancel_scope.cancel()

    assert fired == [(1, 1), (2, 2), (2.75, 0), (3, 3)]


async def test_what_was_taken_back_does_not_pile_up(autojump_clock: MockClock) -> None:
    deadlines = Deadlines()
    kept = Timer(lambda: None)
    deadlines.add(kept, 100)
    for _ in range(1000):
        deadlines.after(50, lambda: None).cancel()

    assert len(deadlines) <= 64


async def test_a_timer_fires_once_or_is_cancelled_once(autojump_clock: MockClock) -> None:
    fired: list[int] = []
    timer = Timer(lambda: fired.append(1))

    timer.expire()
    timer.expire()

    assert fired == [1]
    assert not timer.cancel()
