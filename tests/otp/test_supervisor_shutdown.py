"""The end of a supervisor: its order, its patience, what it reports, and when it ends itself."""

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
    Trapping,
    Worker,
    child,
    crashes,
    downfall,
    ends,
    notes,
    quits,
    running_tasks,
    settle,
    shielded,
    sleeps,
    system,
    under,
    worker,
)


async def test_children_stop_in_reverse_one_after_the_other(autojump_clock: MockClock) -> None:
    log: list[str] = []
    times: list[float] = []

    async def terminate(server: Worker) -> None:
        await trio.sleep(2)
        times.append(trio.current_time())

    async with system(*(worker(name, log, terminate=terminate) for name in "abc")):
        log.clear()

    assert log == ["stop c", "stop b", "stop a"]
    assert times == [2, 4, 6]


async def test_a_child_that_was_started_later_stops_earlier(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        await otp.start_child(root, worker("b", log))
        await ends(await child(root, "a"), crashes())
        log.clear()

    assert log == ["stop b", "stop a"]  # a restart does not move a child


async def test_nested_supervisors_stop_their_own_children_in_their_place(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log), under("sub", worker("b", log), worker("c", log)), worker("d", log)):
        log.clear()

    assert log == ["stop d", "stop c", "stop b", "stop a"]


@pytest.mark.parametrize(
    ("shutdown", "needs", "seconds", "terminated"),
    [
        (None, 4, 4, True),
        (None, 10, 5, False),  # a worker has five seconds
        (2, 1, 1, True),
        (2, 10, 2, False),
        (0, 1, 0, False),
        (float("inf"), 1000, 1000, True),
        ("brutal_kill", 0, 0, False),
    ],
)
async def test_each_child_has_the_time_that_its_shutdown_says(
    autojump_clock: MockClock, shutdown: Any, needs: float, seconds: float, terminated: bool
) -> None:
    log: list[str] = []
    async with system(worker("a", log, terminate=sleeps(needs), shutdown=shutdown)) as root:
        a = await child(root, "a")
        await otp.terminate_child(root, "a")

        assert trio.current_time() == seconds
        assert ("stop a" in log) is terminated
        assert await otp.wait_down(a) == (otp.Shutdown() if terminated else otp.Killed())


async def test_a_supervisor_has_all_the_time_it_needs(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("sub", *(worker(name, log, terminate=sleeps(4)) for name in "abcde"))
    async with system(spec) as root:
        await otp.terminate_child(root, "sub")

        assert trio.current_time() == 20
        assert log[5:] == ["stop e", "stop d", "stop c", "stop b", "stop a"]


async def test_a_supervisor_whose_time_runs_out_leaves_no_orphans(autojump_clock: MockClock) -> None:
    before = running_tasks()
    spec = under("sub", worker("a", terminate=sleeps(4)), worker("b", terminate=sleeps(4)), spec={"shutdown": 5})
    async with system(spec) as root:
        sub = await child(root, "sub")
        a = await child(sub, "a")
        await otp.terminate_child(root, "sub")

        assert trio.current_time() == 5
        assert await otp.wait_down(a) == otp.Killed()
        assert await otp.wait_down(sub) == otp.Killed()
    assert running_tasks() == before


async def test_killing_a_supervisor_takes_its_whole_subtree_at_once(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("top", under("sub", worker("a", log), worker("b", log)), spec={"restart": "temporary"})
    async with system(spec) as root:
        top = await child(root, "top")
        sub = await child(top, "sub")
        leaves = [await child(sub, name) for name in "ab"]
        otp.exit(top, otp.Killed())
        await otp.wait_down(top)

        assert [ref.alive for ref in (sub, *leaves)] == [False, False, False]
        assert {type(await otp.wait_down(leaf)) for leaf in leaves} == {otp.Killed}
        assert log == ["start a", "start b"]
        assert trio.current_time() == 0


async def test_a_child_that_unlinks_itself_is_stopped_all_the_same(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:

        async def unlink(server: Worker) -> None:
            otp.unlink(root)

        await otp.call(await child(root, "a"), Do(unlink))
        await otp.terminate_child(root, "a")

        assert log == ["start a", "stop a"]


async def test_a_child_that_dies_while_its_siblings_stop_is_not_restarted(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log), worker("b", log, terminate=sleeps(3))) as root:
        otp.send_after(await child(root, "a"), crashes(), 1)

    assert log == ["start a", "start b", "stop a", "stop b"]
    assert trio.current_time() == 3


async def test_the_end_of_a_system_leaves_no_task_behind(autojump_clock: MockClock) -> None:
    async def start_helper(server: Worker) -> None:
        server.start_soon(trio.sleep_forever)

    before = running_tasks()
    async with system(*(worker(name, init=start_helper) for name in "abc"), under("sub", worker("d"))):
        assert running_tasks() > before

    assert running_tasks() == before


# what is reported


def errors(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record.otp for record in caplog.records if record.levelno >= logging.ERROR]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("spec", "terminate"),
    [
        ({}, notes("fine")),
        ({"restart": "transient"}, quits(otp.Shutdown("x"))),
        ({}, quits(otp.Shutdown("x"))),
        ({"restart": "transient"}, quits(otp.Normal())),
        ({"restart": "temporary"}, quits(otp.Normal())),
        ({"shutdown": "brutal_kill"}, notes("never run")),
    ],
)
async def test_an_end_as_asked_for_is_not_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, spec: dict[str, Any], terminate: Any
) -> None:
    async with system(worker("a", terminate=terminate, **spec)) as root:
        await otp.terminate_child(root, "a")

    assert errors(caplog) == []


@pytest.mark.parametrize(
    ("spec", "terminate", "kind"),
    [
        ({}, crashes(), otp.Crash),
        ({}, quits(otp.Normal()), otp.Normal),  # a permanent child never ends normally
        ({"shutdown": 1}, sleeps(10), otp.Killed),
    ],
    ids=["crash", "normal though permanent", "killed"],
)
async def test_another_end_is_a_shutdown_error_and_the_shutdown_goes_on(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, spec: dict[str, Any], terminate: Any, kind: type
) -> None:
    log: list[str] = []
    async with system(worker("a", log), worker("b", log, terminate=terminate, **spec)) as root:
        b = await child(root, "b")

    [event] = [event for event in errors(caplog) if isinstance(event, otp.ShutdownError)]
    assert (event.id, event.ref) == ("b", b)
    assert isinstance(event.reason, kind)
    assert log[-1] == "stop a"


# what cannot be killed


async def test_a_child_that_cannot_be_killed_is_reported_with_its_stack_and_never_restarted_beside_itself(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with system(worker("a", log, shutdown=1)) as root, otp.watch_events(root) as events:
        a = await child(root, "a")
        await otp.cast(a, shielded)
        await settle()
        otp.exit(a, otp.Killed())
        reports: list[Any] = []
        async for event in events:
            if isinstance(event, otp.Unkillable):
                assert a.alive
                assert log == ["start a"]
                reports.append((trio.current_time(), event))
            if isinstance(event, otp.ChildExited):
                break
        await settle()

        assert trio.current_time() == 12
        assert [time for time, _ in reports] == [5, 10]
        assert all(event.ref == a for _, event in reports)
        assert all(isinstance(event.stack, tuple) and "shielded" in "".join(event.stack) for _, event in reports)
        assert log == ["start a", "start a"]


async def test_a_shutdown_waits_for_what_cannot_be_killed(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log), worker("b", log, shutdown=1)) as root:
        await otp.cast(await child(root, "b"), shielded)
        await settle()
        await otp.terminate_child(root, "b")

        assert trio.current_time() == 12
        assert await child(root, "b") is None


# a supervisor that ends itself


def auto(kind: str, *children: otp.ChildSpec, **spec: Any) -> otp.ChildSpec:
    return under("sub", *children, auto_shutdown=kind, spec={"restart": "temporary", **spec})


def main_child(name: str, log: list[str] | None = None, restart: str = "transient") -> otp.ChildSpec:
    return worker(name, log, restart=restart, significant=True)


@pytest.mark.parametrize(
    ("restart", "end"),
    [("transient", quits()), ("transient", quits(otp.Shutdown("x"))), ("temporary", quits()), ("temporary", crashes())],
    ids=["transient normal", "transient shutdown", "temporary normal", "temporary crash"],
)
async def test_the_end_of_any_significant_child_ends_its_supervisor(
    autojump_clock: MockClock, restart: str, end: Any
) -> None:
    log: list[str] = []
    async with system(
        auto("any_significant", worker("a", log), main_child("m", log, restart), main_child("n", log), worker("z", log))
    ) as root:
        sub = await child(root, "sub")
        await otp.cast(await child(sub, "m"), end)

        assert await otp.wait_down(sub) == otp.Shutdown()
        assert log[4:] == ["stop m", "stop z", "stop n", "stop a"]


async def test_a_significant_child_that_is_restarted_ends_nothing(autojump_clock: MockClock) -> None:
    async with system(auto("any_significant", main_child("m"))) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "m"), crashes())

        assert sub.alive
        assert (await child(sub, "m")).alive


async def test_the_end_of_a_child_that_is_not_significant_ends_nothing(autojump_clock: MockClock) -> None:
    async with system(auto("any_significant", main_child("m"), worker("a", restart="temporary"))) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "a"), quits())

        assert sub.alive


async def test_only_the_end_of_the_last_significant_child_counts_where_all_must(autojump_clock: MockClock) -> None:
    async with system(
        auto("all_significant", main_child("m"), main_child("n", restart="temporary"), worker("a"))
    ) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "n"), crashes())
        assert sub.alive

        await otp.cast(await child(sub, "m"), quits())
        assert await otp.wait_down(sub) == otp.Shutdown()


@pytest.mark.parametrize("kind", ["any_significant", "all_significant"])
async def test_an_end_that_the_supervisor_brought_about_never_counts(autojump_clock: MockClock, kind: str) -> None:
    async with system(auto(kind, main_child("m"), worker("a"))) as root:
        sub = await child(root, "sub")
        await otp.terminate_child(sub, "m")
        await settle()

        assert sub.alive


async def test_a_group_restart_that_stops_a_significant_child_ends_nothing(autojump_clock: MockClock) -> None:
    spec = otp.ChildSpec(
        start=lambda: otp.Supervisor(
            children=[worker("a"), main_child("m", restart="temporary")],
            strategy="one_for_all",  # type: ignore[arg-type]  # a plain word will do
            auto_shutdown="any_significant",
        ),
        id="sub",
    )
    async with system(spec) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "a"), crashes())

        assert sub.alive
        assert [info.id for info in await otp.which_children(sub)] == ["a"]


async def test_the_end_of_a_significant_supervisor_goes_on_upwards(autojump_clock: MockClock) -> None:
    inner = under(
        "inner",
        main_child("m"),
        auto_shutdown="any_significant",
        spec={"restart": "transient", "significant": True},
    )
    async with system(auto("any_significant", inner, worker("a"))) as root:
        sub = await child(root, "sub")
        await otp.cast(await child(await child(sub, "inner"), "m"), quits())

        assert await otp.wait_down(sub) == otp.Shutdown()


async def test_a_root_that_ends_itself_takes_its_block_down(autojump_clock: MockClock) -> None:
    async def body(root: otp.Ref) -> None:
        await otp.cast(await child(root, "m"), quits())

    error = await downfall(body, main_child("m"), auto_shutdown="any_significant")

    assert error.reason == otp.Shutdown()


# two ways to be stopped


async def test_terminate_sees_the_shutdown_in_both_modes(autojump_clock: MockClock) -> None:
    reasons: list[Any] = []

    async def note(server: Worker) -> None:
        reasons.append(server.reason)

    async with system(worker("a", terminate=note), worker("b", terminate=note, kind=Trapping)):
        pass

    assert reasons == [otp.Shutdown(), otp.Shutdown()]


async def test_the_clean_up_in_a_handler_is_cut_short_and_terminate_is_not(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def act(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("clean-up begins")
            await trio.sleep(1)
            log.append("clean-up ends")

    async with system(worker("a", log, terminate=sleeps(1))) as root:
        await otp.cast(await child(root, "a"), act)
        await settle()
        await otp.terminate_child(root, "a")

        assert log == ["start a", "clean-up begins", "stop a"]


async def test_an_error_in_the_handler_during_its_shutdown_is_the_reason(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("in the clean-up")

    async with system(worker("a")) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        await settle()
        await otp.terminate_child(root, "a")

        assert isinstance(await otp.wait_down(a), otp.Crash)


async def test_an_exit_signal_to_a_supervisor_stops_it_in_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("sub", worker("a", log), worker("b", log), spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        otp.exit(sub, otp.Shutdown("enough"))

        assert await otp.wait_down(sub) == otp.Shutdown("enough")
        assert log[2:] == ["stop b", "stop a"]


async def test_stop_of_a_supervisor_stops_it_in_order(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = under("sub", worker("a", log), worker("b", log), spec={"restart": "transient"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        await otp.stop(sub)

        assert await otp.wait_down(sub) == otp.Normal()
        assert log[2:] == ["stop b", "stop a"]
        assert await child(root, "sub") is None


async def test_a_kill_reaches_terminate(autojump_clock: MockClock) -> None:
    async with system(worker("b", terminate=sleeps(100), shutdown=100)) as root:
        b = await child(root, "b")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(otp.terminate_child, root, "b")
            await trio.sleep(3)
            otp.exit(b, otp.Killed())

        assert trio.current_time() == 3
        assert await otp.wait_down(b) == otp.Killed()
