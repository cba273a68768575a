"""The loop of a process: fair by default, in batches where that is asked for."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp


class Noting(otp.Server):
    """Notes each message and never checkpoints."""

    def __init__(self, notes: list[object]) -> None:
        self.notes = notes

    async def handle_info(self, message: Any) -> None:
        self.notes.append(message)


async def turns(batch: int) -> list[object]:
    """What happens when six messages wait and another task takes its turns meanwhile."""
    notes: list[object] = []
    spec = otp.ChildSpec(id="a", start=lambda: Noting(notes), batch=batch)
    async with otp.open_system(otp.Supervisor(children=[spec])) as root:
        (child,) = await otp.which_children(root)
        assert isinstance(child.ref, otp.Ref)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(6):
            otp.send(child.ref, number)
        while len([note for note in notes if note != "turn"]) < 6:
            await trio.lowlevel.checkpoint()
            notes.append("turn")
    return notes


@pytest.mark.parametrize(("batch", "longest"), [(1, 1), (3, 3), (100, 6)])
async def test_so_many_messages_are_handled_between_two_turns_of_another_task(
    autojump_clock: MockClock, batch: int, longest: int
) -> None:
    notes = await turns(batch)

    stretch = best = 0
    for note in notes:
        stretch = 0 if note == "turn" else stretch + 1
        best = max(best, stretch)
    # Two tasks of one tick run in random order, so two stretches may touch.
    assert longest <= best <= 2 * longest
    assert [note for note in notes if note != "turn"] == list(range(6))


async def test_a_server_in_batches_still_stops_at_once(autojump_clock: MockClock) -> None:
    notes: list[object] = []

    class Ending(Noting):
        async def handle_info(self, message: Any) -> None:
            self.notes.append(message)
            otp.exit(otp.self_(), otp.Shutdown("enough"))

    spec = otp.ChildSpec(id="a", start=lambda: Ending(notes), batch=100, restart=otp.Restart.TEMPORARY)
    async with otp.open_system(otp.Supervisor(children=[spec])) as root:
        (child,) = await otp.which_children(root)
        assert isinstance(child.ref, otp.Ref)
        for number in range(6):
            otp.send(child.ref, number)
        reason = await otp.wait_down(child.ref)

    assert reason == otp.Shutdown("enough")
    assert notes == [0]


async def test_waiting_for_a_name_in_vain_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    names = otp.Registry()
    with pytest.raises(otp.CallTimeout):
        await otp.call(names.via("nobody"), otp.Request[int](), timeout=3, wait=True)

    assert trio.current_time() == 3
    assert not names._arrivals
