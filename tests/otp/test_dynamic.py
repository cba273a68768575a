"""A dynamic supervisor: anonymous children, a limit, and a stop that is parallel."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Echo,
    child,
    crashes,
    ends,
    fails,
    quits,
    raises,
    settle,
    sleeps,
    system,
    worker,
)

BACKOFF: dict[str, Any] = {
    "backoff": otp.Backoff(base=1, cap=1, jitter=0),
    "max_restarts": 10,
    "max_seconds": 1000,
}


@asynccontextmanager
async def dynamic(**flags: Any) -> AsyncIterator[otp.Ref]:
    spec = otp.ChildSpec(start=lambda: otp.DynamicSupervisor(**flags), id="dynamic", restart="temporary")
    async with system(spec) as root:
        yield await child(root, "dynamic")


async def refs(supervisor: otp.Ref) -> list[Any]:
    return [info.ref for info in await otp.which_children(supervisor)]


def counts(children: int, active: int | None = None) -> otp.Counts:
    return otp.Counts(specs=children, active=children if active is None else active, supervisors=0, workers=children)


async def test_children_are_anonymous_so_equal_ids_are_fine(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        started = [await otp.start_child(supervisor, worker("same")) for _ in range(3)]

        assert len(set(started)) == 3
        assert await refs(supervisor) == started
        assert await otp.count_children(supervisor) == counts(3)


async def test_an_empty_dynamic_supervisor_stays_alive(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        ref = await otp.start_child(supervisor, worker("a", restart="temporary"))
        await otp.stop(ref)
        await trio.sleep(1000)

        assert supervisor.alive
        assert await otp.count_children(supervisor) == counts(0)


@pytest.mark.parametrize(
    ("restart", "end", "stays"),
    [
        ("permanent", quits(), True),
        ("permanent", quits(otp.Shutdown("x")), True),
        ("permanent", crashes(), True),
        ("transient", quits(), False),
        ("transient", quits(otp.Shutdown("x")), False),
        ("transient", crashes(), True),
        ("temporary", quits(), False),
        ("temporary", crashes(), False),
    ],
)
async def test_a_child_that_is_not_restarted_is_dropped(
    autojump_clock: MockClock, restart: str, end: Any, stays: bool
) -> None:
    async with dynamic() as supervisor:
        first = await otp.start_child(supervisor, worker("a", restart=restart))
        await ends(first, end)

        assert await otp.count_children(supervisor) == counts(1 if stays else 0)
        assert first not in await refs(supervisor)


async def test_the_limit_refuses_one_child_too_many(autojump_clock: MockClock) -> None:
    async with dynamic(max_children=2) as supervisor:
        first = await otp.start_child(supervisor, worker("a", restart="temporary"))
        await otp.start_child(supervisor, worker("a"))
        with pytest.raises(otp.ChildError) as caught:
            await otp.start_child(supervisor, worker("a"))
        assert caught.value.code == "max_children"

        await ends(first, quits())
        assert await otp.start_child(supervisor, worker("a")) is not None


async def test_a_limit_of_zero_refuses_all(autojump_clock: MockClock) -> None:
    async with dynamic(max_children=0) as supervisor:
        with pytest.raises(otp.ChildError) as caught:
            await otp.start_child(supervisor, worker("a"))

        assert caught.value.code == "max_children"


async def test_a_restarting_child_counts_against_the_limit_and_is_not_active(autojump_clock: MockClock) -> None:
    async with dynamic(max_children=1, **BACKOFF) as supervisor:
        await ends(await otp.start_child(supervisor, worker("a")), crashes())
        assert await refs(supervisor) == ["restarting"]
        assert await otp.count_children(supervisor) == counts(1, active=0)

        with pytest.raises(otp.ChildError) as caught:
            await otp.start_child(supervisor, worker("a"))
        assert caught.value.code == "max_children"


async def test_a_failed_start_and_an_ignored_one_leave_nothing(autojump_clock: MockClock) -> None:
    async with dynamic(max_children=1) as supervisor:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(supervisor, worker("a", init=crashes()))
        assert isinstance(caught.value.__cause__, Boom)
        assert await otp.start_child(supervisor, worker("a", init=raises(otp.Ignore()))) is None

        assert await otp.count_children(supervisor) == counts(0)
        assert await otp.start_child(supervisor, worker("a")) is not None


async def test_a_child_that_ignores_when_it_is_restarted_is_dropped(autojump_clock: MockClock) -> None:
    starts: list[int] = []

    async def init(server: Any) -> None:
        starts.append(1)
        if len(starts) == 2:
            raise otp.Ignore

    async with dynamic() as supervisor:
        await ends(await otp.start_child(supervisor, worker("a", init=init)), crashes())

        assert await otp.count_children(supervisor) == counts(0)
        assert len(starts) == 2


async def test_terminate_child_takes_the_ref(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        ref = await otp.start_child(supervisor, worker("a", terminate=sleeps(2)))
        await otp.terminate_child(supervisor, ref)

        assert await otp.wait_down(ref) == otp.Shutdown()
        assert trio.current_time() == 2
        assert await otp.count_children(supervisor) == counts(0)


async def test_what_is_no_ref_of_its_own_is_not_found(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        dead = await otp.start_child(supervisor, worker("a", restart="temporary"))
        await ends(dead, quits())
        for stranger in (dead, supervisor, "a", None):
            with pytest.raises(otp.ChildError) as caught:
                await otp.terminate_child(supervisor, stranger)
            assert caught.value.code == "not_found"

        assert supervisor.alive


async def test_a_child_of_another_supervisor_is_not_found(autojump_clock: MockClock) -> None:
    async with system(
        otp.ChildSpec(start=otp.DynamicSupervisor, id="one"), otp.ChildSpec(start=otp.DynamicSupervisor, id="two")
    ) as root:
        ref = await otp.start_child(await child(root, "one"), worker("a"))
        with pytest.raises(otp.ChildError) as caught:
            await otp.terminate_child(await child(root, "two"), ref)

        assert caught.value.code == "not_found"
        assert ref is not None
        assert ref.alive


async def test_the_last_ref_names_a_child_that_is_restarting(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with dynamic(**BACKOFF) as supervisor:
        ref = await otp.start_child(supervisor, worker("a", log))
        await ends(ref, crashes())
        await otp.terminate_child(supervisor, ref)
        await trio.sleep(100)

        assert await otp.count_children(supervisor) == counts(0)
        assert log.count("start a") == 1


@pytest.mark.parametrize("call", ["restart_child", "delete_child", "get_child_spec"])
async def test_it_knows_no_ids(autojump_clock: MockClock, call: str) -> None:
    async with dynamic() as supervisor:
        ref = await otp.start_child(supervisor, worker("a"))
        for name in ("a", ref):
            with pytest.raises(otp.ChildError) as caught:
                await getattr(otp, call)(supervisor, name)
            assert caught.value.code == "not_found"


async def test_all_children_stop_at_once(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with dynamic() as supervisor:
        for seconds in (3, 1, 2):
            await otp.start_child(supervisor, worker(str(seconds), log, terminate=sleeps(seconds)))
        await otp.stop(supervisor)

        assert trio.current_time() == 3
        assert log[3:] == ["stop 1", "stop 2", "stop 3"]


async def test_each_child_has_its_own_time_to_stop(autojump_clock: MockClock) -> None:
    log: list[str] = []
    ended: dict[str, float] = {}

    async def watch(name: str, ref: otp.Ref) -> None:
        await otp.wait_down(ref)
        ended[name] = trio.current_time()

    async with dynamic() as supervisor, trio.open_nursery() as nursery:
        for name, shutdown in {"long": 4, "short": 1, "brutal": "brutal_kill", "patient": float("inf")}.items():
            needs = 6 if name == "patient" else 100
            ref = await otp.start_child(supervisor, worker(name, log, terminate=sleeps(needs), shutdown=shutdown))
            assert ref is not None
            nursery.start_soon(watch, name, ref)
        await settle()
        await otp.stop(supervisor)

    assert ended == {"brutal": 0, "short": 1, "long": 4, "patient": 6}
    assert log[4:] == ["stop patient"]


async def test_the_intensity_is_that_of_the_supervisor(autojump_clock: MockClock) -> None:
    async with dynamic(max_restarts=3, max_seconds=5) as supervisor:
        started = [await otp.start_child(supervisor, worker("a")) for _ in range(4)]
        for ref in started:
            await ends(ref, crashes())

        assert await otp.wait_down(supervisor) == otp.Shutdown()


async def test_a_restart_that_fails_is_tried_again(autojump_clock: MockClock) -> None:
    async with dynamic(max_restarts=5) as supervisor:
        await ends(await otp.start_child(supervisor, worker("a", init=fails(2, 3))), crashes())

        [ref] = await refs(supervisor)
        assert await otp.call(ref, Echo(1)) == 1


async def test_a_failing_child_disturbs_no_sibling(autojump_clock: MockClock) -> None:
    async with dynamic(max_restarts=0) as supervisor:
        sibling = await otp.start_child(supervisor, worker("a"))
        await ends(await otp.start_child(supervisor, worker("b", restart="temporary")), crashes())
        with pytest.raises(otp.StartFailed):
            await otp.start_child(supervisor, worker("c", init=crashes(), restart="temporary"))

        assert await otp.call(sibling, Echo(1)) == 1


@pytest.mark.parametrize(
    "flags",
    [
        {"children": [worker("a")]},
        {"strategy": "one_for_all"},
        {"strategy": "rest_for_one"},
        {"auto_shutdown": "any_significant"},
        {"max_children": -1},
        {"max_restarts": -1},
        {"max_seconds": 0},
    ],
    ids=str,
)
def test_what_does_not_fit_a_dynamic_supervisor_is_refused(flags: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError), match=next(iter(flags))):
        otp.DynamicSupervisor(**flags)


async def test_a_significant_child_does_not_fit(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        with pytest.raises(ValueError, match="significant"):
            await otp.start_child(supervisor, worker("a", restart="transient", significant=True))


async def test_a_dynamic_supervisor_can_hold_supervisors(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        spec = otp.ChildSpec(start=lambda: otp.Supervisor(children=[worker("a")]), id="sub")
        sub = await otp.start_child(supervisor, spec)

        assert await otp.count_children(supervisor) == otp.Counts(specs=1, active=1, supervisors=1, workers=0)
        assert await otp.call(await child(sub, "a"), Echo(1)) == 1


async def test_a_thousand_children_come_and_go(autojump_clock: MockClock) -> None:
    async with dynamic() as supervisor:
        started = [await otp.start_child(supervisor, worker("a")) for _ in range(1000)]
        assert await otp.count_children(supervisor) == counts(1000)
        await otp.stop(supervisor)

        assert {type(await otp.wait_down(ref)) for ref in started if ref is not None} == {otp.Shutdown}
        assert trio.current_time() == 0


async def test_a_permanent_dynamic_supervisor_comes_back_empty(autojump_clock: MockClock) -> None:
    async with system(otp.ChildSpec(start=otp.DynamicSupervisor, id="dynamic")) as root:
        first = await child(root, "dynamic")
        await otp.start_child(first, worker("a"))
        otp.exit(first, otp.Killed())
        await otp.wait_down(first)
        await settle()

        assert await otp.count_children(await child(root, "dynamic")) == counts(0)
