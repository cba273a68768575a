"""The root: its block, what ends it, and how long the end may take."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    NEVER,
    Boom,
    Do,
    Echo,
    Worker,
    causes,
    child,
    crashes,
    downfall,
    ends,
    notes,
    quits,
    raises,
    running_tasks,
    settle,
    shielded,
    sleeps,
    system,
    under,
    worker,
)


def tree(log: list[str], **of_b: Any) -> list[otp.ChildSpec]:
    return [worker("a", log), under("sub", worker("b", log, **of_b)), worker("c", log)]


STARTED = ["start a", "start b", "start c"]
STOPPED = ["stop c", "stop b", "stop a"]


# the block


async def test_leaving_the_block_stops_the_tree_in_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(*tree(log)) as root:
        assert root.alive

    assert log == STARTED + STOPPED
    assert not root.alive
    assert await otp.wait_down(root) == otp.Shutdown()


async def test_an_error_in_the_block_leaves_as_itself_after_the_ordered_stop(autojump_clock: MockClock) -> None:
    log: list[str] = []
    error = Boom("body")
    with pytest.raises(Boom) as caught:
        async with system(*tree(log, terminate=sleeps(2))):
            raise error

    assert caught.value is error
    assert log == STARTED + STOPPED
    assert trio.current_time() == 2


async def test_a_cancel_around_the_block_is_an_ordered_stop_in_which_terminate_has_its_time(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    with trio.move_on_after(3) as scope:
        async with system(*tree(log, terminate=sleeps(2))):
            await trio.sleep_forever()

    assert scope.cancelled_caught
    assert log == STARTED + STOPPED
    assert trio.current_time() == 5


async def test_a_cancel_around_the_block_gives_each_child_the_time_of_its_shutdown_and_no_more(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    with trio.move_on_after(3):
        async with system(worker("a", log), worker("b", log, terminate=sleeps(100), shutdown=2)):
            await trio.sleep_forever()

    assert log == ["start a", "start b", "stop a"]
    assert trio.current_time() == 5


async def test_a_handler_in_flight_at_a_cancel_is_interrupted_and_then_terminated(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with trio.move_on_after(3):
        async with system(worker("a", log)) as root:
            await otp.cast(await child(root, "a"), sleeps(100))
            await trio.sleep_forever()

    assert log == ["start a", "stop a"]
    assert trio.current_time() == 3


async def test_the_end_of_the_block_leaves_no_task(autojump_clock: MockClock) -> None:
    before = running_tasks()
    with trio.move_on_after(3):
        async with system(*tree([])):
            await trio.sleep_forever()

    assert running_tasks() == before


async def test_a_call_into_a_closed_system_raises(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")

    with pytest.raises(otp.ServerExited) as caught:
        await otp.call(a, Echo(1))
    assert caught.value.reason == otp.NoProcess()


async def test_two_systems_are_independent(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as one:
        async with system(worker("b", log)) as two:
            await ends(await child(two, "b"), crashes())
        assert one.alive

    assert log == ["start a", "start b", "stop b", "start b", "stop b", "stop a"]


async def test_servers_of_two_systems_may_call_each_other(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as one, system(worker("b")) as two:
        b = await child(two, "b")

        async def ask(server: Worker) -> Any:
            return await otp.call(b, Echo("far"))

        assert await otp.call(await child(one, "a"), Do(ask)) == "far"


async def test_what_is_no_supervisor_cannot_be_opened(autojump_clock: MockClock) -> None:
    with pytest.raises(TypeError):
        async with otp.open_system(Worker()):  # type: ignore[arg-type]  # on purpose
            raise AssertionError("opened")


# grace


async def test_the_grace_bounds_the_whole_stop(autojump_clock: MockClock) -> None:
    log: list[str] = []
    children = [worker(name, log, terminate=sleeps(4), shutdown=float("inf")) for name in "abcd"]
    with trio.fail_after(NEVER):
        async with otp.open_system(otp.Supervisor(children=children), grace=10):
            log.clear()

    assert trio.current_time() == 10
    assert log == ["stop d", "stop c"]


async def test_a_block_can_outlast_a_cancel_by_its_grace_and_no_more(autojump_clock: MockClock) -> None:
    with trio.move_on_after(2):
        async with system(worker("a", terminate=sleeps(1000), shutdown=float("inf"))):
            await trio.sleep_forever()

    assert trio.current_time() == 32


@pytest.mark.parametrize("grace", [-1, "30"])
async def test_a_wrong_grace_is_refused(autojump_clock: MockClock, grace: Any) -> None:
    log: list[str] = []
    with pytest.raises((ValueError, TypeError), match="grace"):
        async with otp.open_system(otp.Supervisor(children=[worker("a", log)]), grace=grace):
            raise AssertionError("opened")
    assert log == []


async def test_a_child_that_cannot_be_killed_delays_even_the_end_of_the_system(autojump_clock: MockClock) -> None:
    with trio.fail_after(NEVER):
        async with otp.open_system(otp.Supervisor(children=[worker("a")]), grace=1) as root:
            a = await child(root, "a")
            await otp.cast(a, shielded)
            await settle()

    assert trio.current_time() == 12
    assert not a.alive


# the root goes down


async def test_the_end_of_the_root_cancels_the_body_and_says_why(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def body(root: otp.Ref) -> None:
        otp.send_after(await child(root, "a"), crashes(), 3)
        try:
            await trio.sleep_forever()
        finally:
            log.append("body cancelled")

    error = await downfall(body, worker("a", log), max_restarts=0)

    assert error.reason == otp.Shutdown()
    assert any(isinstance(cause, Boom) for cause in causes(error))
    assert "body cancelled" in log
    assert trio.current_time() == 3


async def test_an_error_of_the_body_goes_before_the_end_of_the_root_and_notes_it(autojump_clock: MockClock) -> None:
    async def body(root: otp.Ref) -> None:
        otp.send_after(await child(root, "a"), crashes(), 3)
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("body")

    with pytest.raises(Boom, match="body") as caught:
        async with system(worker("a"), max_restarts=0) as root:
            await body(root)

    assert caught.value.__notes__


async def test_a_root_that_is_killed_takes_its_block_down(autojump_clock: MockClock) -> None:
    async def body(root: otp.Ref) -> None:
        otp.exit(root, otp.Killed())

    assert (await downfall(body, worker("a"))).reason == otp.Killed()


async def test_a_failed_start_never_enters_the_block(autojump_clock: MockClock) -> None:
    before = running_tasks()
    with pytest.raises(otp.StartFailed):
        async with system(worker("a", init=crashes())):
            raise AssertionError("opened")

    assert running_tasks() == before


# Ctrl-C and the like, on the virtual clock


# oddities


async def test_a_system_can_be_opened_inside_a_server(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def nested(server: Worker) -> Any:
        async with otp.open_system(otp.Supervisor(children=[worker("inner", log)])) as root:
            return await otp.call(await child(root, "inner"), Echo("inside"))

    async with system(worker("outer", log)) as root:
        assert await otp.call(await child(root, "outer"), Do(nested)) == "inside"

    assert log == ["start outer", "start inner", "stop inner", "stop outer"]


async def test_a_system_that_was_stopped_by_hand_takes_its_block_down(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def body(root: otp.Ref) -> None:
        await otp.stop(root, otp.Shutdown("by hand"))
        await trio.sleep_forever()

    error = await downfall(body, *tree(log))

    assert error.reason == otp.Shutdown("by hand")
    assert log == STARTED + STOPPED


async def test_the_body_may_leave_while_servers_are_busy(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        await otp.cast(await child(root, "a"), notes("never", after=10))
        await otp.cast(await child(root, "a"), quits())
        await otp.cast(await child(root, "a"), raises(Boom()))

    assert log == ["start a", "stop a"]
    assert trio.current_time() == 0


async def test_what_goes_up_through_many_supervisors_still_names_the_error_below(autojump_clock: MockClock) -> None:
    spec = worker("leaf")
    for name in ("three", "two", "one"):
        spec = under(name, spec, max_restarts=0)

    async def body(root: otp.Ref) -> None:
        ref = root
        for name in ("one", "two", "three", "leaf"):
            ref = await child(ref, name)
        await otp.cast(ref, crashes())

    error = await downfall(body, spec, max_restarts=0)

    assert error.reason == otp.Shutdown()
    assert any(isinstance(cause, Boom) for cause in causes(error))


async def test_a_system_opened_in_a_cancelled_scope_leaves_nothing(autojump_clock: MockClock) -> None:
    log: list[str] = []
    before = running_tasks()
    with trio.CancelScope() as scope:
        scope.cancel(reason="too late")
        async with system(worker("a", log)):
            await trio.lowlevel.checkpoint()

    assert scope.cancelled_caught
    assert running_tasks() == before
    assert log in ([], ["start a", "stop a"])


async def test_a_timer_that_is_still_set_does_not_hold_up_the_end(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        otp.send_after(await child(root, "a"), "late", 1000)

    assert trio.current_time() == 0
