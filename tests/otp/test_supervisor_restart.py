"""Restarts: who is restarted, with whom, how often, and what if that fails."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Echo,
    Worker,
    alone,
    child,
    crashes,
    downfall,
    ends,
    fails,
    notes,
    quits,
    raises,
    settle,
    sleeps,
    system,
    under,
    worker,
)

ENDS = {
    "normal": quits(otp.Normal()),
    "shutdown": quits(otp.Shutdown()),
    "shutdown with a detail": quits(otp.Shutdown("x")),
    "killed": quits(otp.Killed()),
    "crash": crashes(),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize(
    ("restart", "restarted_after"),
    [("permanent", set(ENDS)), ("transient", {"killed", "crash"}), ("temporary", set[str]())],
)
async def test_the_kind_of_the_child_and_its_reason_decide_whether_it_is_restarted(
    autojump_clock: MockClock, restart: Any, restarted_after: set[str], end: str
) -> None:
    async with system(worker("a", restart=restart), worker("other")) as root:
        first, other = await child(root, "a"), await child(root, "other")
        await ends(first, ENDS[end])

        specs = {info.id: info.ref for info in await otp.which_children(root)}
        if end in restarted_after:
            assert specs["a"].alive
            assert specs["a"] != first
        elif restart == "transient":
            assert specs["a"] is None
        else:
            assert "a" not in specs
        assert specs["other"] == other


GROUPS = [
    ("one_for_one", "a", ["start a"]),
    ("one_for_one", "c", ["start c"]),
    ("one_for_all", "a", ["stop d", "stop c", "stop b", "start a", "start b", "start c", "start d"]),
    ("one_for_all", "b", ["stop d", "stop c", "stop a", "start a", "start b", "start c", "start d"]),
    ("one_for_all", "d", ["stop c", "stop b", "stop a", "start a", "start b", "start c", "start d"]),
    ("rest_for_one", "a", ["stop d", "stop c", "stop b", "start a", "start b", "start c", "start d"]),
    ("rest_for_one", "b", ["stop d", "stop c", "start b", "start c", "start d"]),
    ("rest_for_one", "d", ["start d"]),
]


@pytest.mark.parametrize(("strategy", "crashed", "expected"), GROUPS)
async def test_the_strategy_decides_who_is_stopped_and_started_and_in_which_order(
    autojump_clock: MockClock, strategy: Any, crashed: str, expected: list[str]
) -> None:
    log: list[str] = []
    async with system(*(worker(name, log) for name in "abcd"), strategy=strategy) as root:
        ref = await child(root, crashed)
        log.clear()
        otp.exit(ref, otp.Killed())
        await otp.wait_down(ref)
        await settle()

        assert log == expected
        assert all(info.ref.alive for info in await otp.which_children(root))


@pytest.mark.parametrize(("strategy", "stops"), [("one_for_all", ["c", "a"]), ("rest_for_one", ["c"])])
async def test_a_group_is_stopped_one_by_one_each_with_its_full_time(
    autojump_clock: MockClock, strategy: Any, stops: list[str]
) -> None:
    log: list[str] = []
    async with system(*(worker(name, log, terminate=sleeps(2)) for name in "abc"), strategy=strategy) as root:
        log.clear()
        otp.exit(await child(root, "b"), otp.Killed())
        await settle()
        await otp.count_children(root)

        assert trio.current_time() == 2 * len(stops)
        assert log[: len(stops)] == [f"stop {name}" for name in stops]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_a_temporary_sibling_stopped_with_its_group_is_gone_for_good(
    autojump_clock: MockClock, strategy: Any
) -> None:
    async with system(worker("a"), worker("b", restart="temporary"), worker("c"), strategy=strategy) as root:
        b = await child(root, "b")
        await ends(await child(root, "a"), crashes())

        assert await otp.wait_down(b) == otp.Shutdown()
        assert [info.id for info in await otp.which_children(root)] == ["a", "c"]


async def test_a_temporary_child_that_crashes_takes_nobody_with_it(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(
        worker("a", log), worker("b", log, restart="temporary"), strategy="one_for_all", max_restarts=0
    ) as root:
        await ends(await child(root, "b"), crashes())

        assert log == ["start a", "start b", "stop b"]
        assert root.alive


async def test_a_group_restart_counts_once_whatever_its_size(autojump_clock: MockClock) -> None:
    async with system(
        *(worker(name) for name in "abcdefgh"), strategy="one_for_all", max_restarts=3, max_seconds=5
    ) as root:
        for _ in range(3):
            await ends(await child(root, "a"), crashes())

        assert root.alive
        assert all(info.ref.alive for info in await otp.which_children(root))


async def test_a_group_restart_starts_also_what_was_stopped_or_had_ended(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b"), worker("c", restart="transient"), strategy="rest_for_one") as root:
        await otp.terminate_child(root, "b")
        await ends(await child(root, "c"), quits())
        assert [info.ref is None for info in await otp.which_children(root)] == [False, True, True]
        await ends(await child(root, "a"), crashes())

        assert all(info.ref is not None and info.ref.alive for info in await otp.which_children(root))


async def test_two_crashes_in_one_tick_restart_the_group_once(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(*(worker(name, log) for name in "abc"), strategy="one_for_all", max_restarts=1) as root:
        refs = [await child(root, name) for name in "ab"]
        log.clear()
        for ref in refs:
            otp.exit(ref, otp.Killed())
        await settle()

        assert log == ["stop c", "start a", "start b", "start c"]
        assert root.alive


async def test_the_exit_of_a_child_that_the_supervisor_stopped_itself_is_no_crash(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(
        worker("a", log), worker("b", log, terminate=crashes()), strategy="one_for_all", max_restarts=1
    ) as root:
        await ends(await child(root, "a"), crashes())
        await trio.sleep(1)

        assert root.alive
        assert log.count("start b") == 2


# the intensity


async def crash_at(root: otp.Ref, *times: float, id: str = "a") -> None:
    """Crash the child at those times."""
    for time in times:
        await trio.sleep(time - trio.current_time())
        await ends(await child(root, id), crashes())


@pytest.mark.parametrize(
    ("times", "survives"),
    [
        ((0, 0, 0), True),
        ((0, 0, 0, 0), False),
        ((0, 1, 2, 3), False),
        ((0, 1, 2, 5), False),  # the edge of the window is inside
        ((0, 1, 2, 5.001), True),
        ((0, 2, 4, 6, 8, 10, 12), True),
        ((0, 1, 2, 5.5, 6.5, 6.75), False),
    ],
)
async def test_the_window_of_restarts_slides_and_includes_its_edge(
    autojump_clock: MockClock, times: tuple[float, ...], survives: bool
) -> None:
    log: list[str] = []
    spec = under("sub", worker("a", log), max_restarts=3, max_seconds=5, spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        await crash_at(sub, *times)

        assert sub.alive is survives
        assert log.count("start a") == len(times) + survives


async def test_the_default_intensity_is_three_restarts_in_five_seconds(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def body(root: otp.Ref) -> None:
        await crash_at(root, 0, 1, 2, 5)

    error = await downfall(body, worker("a", log))

    assert error.reason == otp.Shutdown()
    assert log.count("start a") == 4
    assert trio.current_time() == 5


async def test_an_intensity_of_zero_makes_the_first_restart_one_too_many(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def body(root: otp.Ref) -> None:
        await crash_at(root, 0)

    await downfall(body, worker("a", log), max_restarts=0)

    assert log == ["start a", "stop a"]


async def test_the_crashes_of_all_children_count_together(autojump_clock: MockClock) -> None:
    async def body(root: otp.Ref) -> None:
        for name in "abcd":
            await ends(await child(root, name), crashes())

    await downfall(body, *(worker(name) for name in "abcd"), max_restarts=3)

    assert trio.current_time() == 0


async def test_the_normal_ends_of_permanent_children_count_too(autojump_clock: MockClock) -> None:
    ended: list[int] = []

    async def body(root: otp.Ref) -> None:
        for number in range(3):
            ended.append(number)
            await ends(await child(root, "a"), quits())

    await downfall(body, worker("a"), max_restarts=2)

    assert ended == [0, 1, 2]


async def test_the_ends_of_children_that_are_not_restarted_do_not_count(autojump_clock: MockClock) -> None:
    async with system(max_restarts=0) as root:
        for _ in range(5):
            ref = await otp.start_child(root, worker("a", restart="temporary"))
            await ends(ref, crashes())

        assert root.alive


async def test_restarts_by_hand_never_count(autojump_clock: MockClock) -> None:
    async with system(worker("a"), max_restarts=0) as root:
        for _ in range(10):
            await otp.terminate_child(root, "a")
            await otp.restart_child(root, "a")

        assert (await child(root, "a")).alive


async def test_a_supervisor_that_gives_up_stops_its_children_in_reverse(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("sub", *(worker(name, log) for name in "abc"), max_restarts=0, spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        otp.exit(await child(sub, "b"), otp.Killed())

        assert await otp.wait_down(sub) == otp.Shutdown()
        assert log == ["start a", "start b", "start c", "stop c", "stop a"]


@pytest.mark.parametrize(("restart", "restarted"), [("permanent", True), ("transient", False), ("temporary", False)])
async def test_giving_up_is_a_shutdown_in_the_eyes_of_the_next_supervisor(
    autojump_clock: MockClock, restart: Any, restarted: bool
) -> None:
    log: list[str] = []
    spec = under("sub", worker("a", log), max_restarts=0, spec={"restart": restart})
    async with system(spec) as root:
        await ends(await child(await child(root, "sub"), "a"), crashes())
        await settle()

        assert log.count("start a") == (2 if restarted else 1)
        assert root.alive


async def test_the_attempts_of_nested_supervisors_multiply(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def init(server: Worker) -> None:
        server.idle_after(0.01, crashes())

    async def body(root: otp.Ref) -> None:
        await trio.sleep(1)

    await downfall(body, under("sub", worker("a", log, init=init), max_restarts=2), max_restarts=1)

    assert log.count("start a") == (2 + 1) * (1 + 1)


# a start that fails during a restart


async def test_a_failed_restart_is_tried_again_and_each_try_counts(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("sub", worker("a", log, init=fails(2, 3)), max_restarts=3, spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "a"), crashes())

        assert (await child(sub, "a")).alive
        assert log == ["start a", "stop a", "start a"]

        await ends(await child(sub, "a"), crashes())  # there had been three: this is one too many
        assert not sub.alive


async def test_a_restart_that_keeps_failing_makes_the_supervisor_give_up(autojump_clock: MockClock) -> None:
    log: list[str] = []
    starts: list[float] = []

    async def init(server: Worker) -> None:
        starts.append(trio.current_time())
        await fail(server)

    fail = fails(*range(2, 100))
    spec = under("sub", worker("a", log), worker("b", log, init=init), spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "b"), crashes())

        assert await otp.wait_down(sub) == otp.Shutdown()
        assert len(starts) == 1 + 3
        assert log == ["start a", "start b", "stop b", "stop a"]


async def test_after_a_failed_group_restart_those_before_stay_up_until_the_next_try(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(
        worker("a", log), worker("b", log, init=fails(2)), worker("c", log), strategy="one_for_all"
    ) as root:
        log.clear()
        await ends(await child(root, "c"), crashes())

        assert log == ["stop c", "stop b", "stop a", "start a", "stop a", "start a", "start b", "start c"]


async def test_the_retry_of_rest_for_one_begins_at_the_child_that_failed(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(
        worker("a", log), worker("b", log), worker("c", log, init=fails(2)), worker("d", log), strategy="rest_for_one"
    ) as root:
        log.clear()
        await ends(await child(root, "b"), crashes())

        assert log == ["stop b", "stop d", "stop c", "start b", "start c", "start d"]


async def test_a_supervisor_that_tries_again_and_again_still_answers_and_can_be_stopped(
    autojump_clock: MockClock,
) -> None:
    spec = under("sub", worker("a", init=fails(*range(2, 100_000))), worker("b"), max_restarts=1_000_000, max_seconds=1)
    async with system(spec) as root:
        sub = await child(root, "sub")
        await otp.cast(await child(sub, "a"), crashes())
        for _ in range(20):
            await trio.lowlevel.checkpoint()

        assert await child(sub, "a") == "restarting"
        with pytest.raises(otp.ChildError) as caught:
            await otp.restart_child(sub, "a")
        assert caught.value.code == "restarting"
        assert await otp.call(await child(sub, "b"), Echo(1)) == 1
        await otp.terminate_child(sub, "a")
        assert await child(sub, "a") is None
        await otp.terminate_child(root, "sub")
        assert trio.current_time() == 0


async def test_a_child_that_ignores_when_it_is_restarted_is_down_and_kept(autojump_clock: MockClock) -> None:
    starts: list[int] = []

    async def init(server: Worker) -> None:
        starts.append(1)
        if len(starts) == 2:
            raise otp.Ignore

    async with system(worker("a", init=init)) as root:
        await ends(await child(root, "a"), crashes())

        assert await child(root, "a") is None
        assert await otp.restart_child(root, "a") is not None


async def test_a_restart_waits_for_a_slow_init_and_counts_from_the_crash(autojump_clock: MockClock) -> None:
    slow = iter([0, 3, 0])

    async def init(server: Worker) -> None:
        await trio.sleep(next(slow))

    async with system(worker("a", init=init)) as root:
        await otp.cast(await child(root, "a"), crashes())
        await settle()
        ref = await child(root, "a")

        assert trio.current_time() == 3
        assert ref.alive


# what a crash must not touch


async def test_a_thousand_crashes_in_a_row_lose_no_call_to_a_healthy_sibling(autojump_clock: MockClock) -> None:
    replies: list[object] = []
    done = False

    async def ask(ref: otp.Ref) -> None:
        while not done:
            replies.append(await otp.call(ref, Echo(len(replies))))

    registry = otp.Registry()

    async def init(server: Worker) -> None:
        registry.register("a")

    async with (
        system(worker("a", init=init), worker("b"), max_restarts=1000) as root,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(ask, await child(root, "b"))
        for _ in range(1000):
            ref = registry.lookup("a")[0][0]
            otp.send(ref, crashes())
            await otp.wait_down(ref)
            while not registry.lookup("a"):
                await trio.lowlevel.checkpoint()
        done = True

        assert root.alive
    assert replies == list(range(len(replies)))
    assert len(replies) > 1000


async def test_a_ref_is_one_incarnation(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        refs = [await child(root, "a")]
        for _ in range(3):
            await ends(refs[-1], crashes())
            refs.append(await child(root, "a"))

        assert len(set(refs)) == 4
        assert [ref.alive for ref in refs] == [False, False, False, True]
        assert {ref.label for ref in refs} == {"a"}


async def test_a_crash_leaves_mail_of_other_servers_alone(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a"), worker("b", log)) as root:
        b = await child(root, "b")
        await otp.cast(b, sleeps(1))
        await otp.cast(b, notes("kept"))
        await ends(await child(root, "a"), crashes())
        await otp.call(b, Echo(1))

        assert log == ["start b", "kept"]


async def test_an_error_in_the_code_of_a_supervisor_is_a_crash_like_any_other(autojump_clock: MockClock) -> None:
    class Faulty(otp.Supervisor):
        async def handle_info(self, message: Any) -> None:
            raise ValueError("fault of the supervisor")

    log: list[str] = []
    spec = otp.ChildSpec(start=lambda: Faulty(children=[worker("a", log)]), id="sub")
    async with system(spec, worker("b", log)) as root:
        first, b = await child(root, "sub"), await child(root, "b")
        otp.send(first, "anything")
        await otp.wait_down(first)
        await settle()

        assert isinstance(await otp.wait_down(first), otp.Crash)
        assert (await child(root, "sub")).alive
        assert b.alive
        assert log == ["start a", "start b", "stop a", "start a"]


async def test_ignore_during_a_restart_does_not_count_twice(autojump_clock: MockClock) -> None:
    starts: list[int] = []

    async def init(server: Worker) -> None:
        starts.append(1)
        if len(starts) > 1:
            raise otp.Ignore

    async with system(worker("a", init=init), worker("b"), max_restarts=2) as root:
        await ends(await child(root, "a"), crashes())
        await ends(await child(root, "b"), crashes())

        assert root.alive
        assert len(starts) == 2


async def test_a_server_alone_is_restarted_never_when_it_is_temporary(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, raises(otp.Stop()))
        await trio.sleep(100)

        assert not ref.alive
