"""The administration calls: what each returns or raises in each state of the child."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Do,
    Echo,
    Worker,
    child,
    crashes,
    ends,
    fails,
    quits,
    raises,
    settle,
    sleeps,
    system,
    under,
    worker,
)

STATES = ("running", "stopped", "restarting", "unknown")


def prepared() -> Any:
    """A system with a child in each state but the last, that no time disturbs."""
    children = [worker(name) for name in STATES[:3]]
    return system(*children, backoff=otp.Backoff(base=1, cap=1, jitter=0), max_restarts=10, max_seconds=1000)


async def prepare(root: otp.Ref) -> None:
    await otp.terminate_child(root, "stopped")
    await ends(await child(root, "restarting"), crashes())


@pytest.mark.parametrize(
    ("call", "state", "code"),
    [
        ("start_child", "running", "already_started"),
        ("start_child", "stopped", "already_present"),
        ("start_child", "restarting", "already_present"),
        ("start_child", "unknown", None),
        ("restart_child", "running", "running"),
        ("restart_child", "stopped", None),
        ("restart_child", "restarting", "restarting"),
        ("restart_child", "unknown", "not_found"),
        ("terminate_child", "running", None),
        ("terminate_child", "stopped", None),
        ("terminate_child", "restarting", None),
        ("terminate_child", "unknown", "not_found"),
        ("delete_child", "running", "running"),
        ("delete_child", "stopped", None),
        ("delete_child", "restarting", "restarting"),
        ("delete_child", "unknown", "not_found"),
        ("get_child_spec", "running", None),
        ("get_child_spec", "stopped", None),
        ("get_child_spec", "restarting", None),
        ("get_child_spec", "unknown", "not_found"),
    ],
)
async def test_each_call_has_its_result_in_each_state_of_the_child(
    autojump_clock: MockClock, call: str, state: str, code: str | None
) -> None:
    async with prepared() as root:
        await prepare(root)
        before = {info.id: info.ref for info in await otp.which_children(root)}
        argument = worker(state) if call == "start_child" else state

        if code is not None:
            with pytest.raises(otp.ChildError) as caught:
                await getattr(otp, call)(root, argument)
            assert caught.value.code == code
            assert {info.id: info.ref for info in await otp.which_children(root)} == before
            return
        result = await getattr(otp, call)(root, argument)
        after = {info.id: info.ref for info in await otp.which_children(root)}
        match call:
            case "start_child" | "restart_child":
                assert after == {**before, state: result}
                assert result.alive
            case "terminate_child":
                assert after == {**before, state: None}
            case "delete_child":
                assert after == {id: ref for id, ref in before.items() if id != state}
            case "get_child_spec":
                assert result.id == state


async def test_already_started_says_who_runs(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        with pytest.raises(otp.ChildError) as caught:
            await otp.start_child(root, worker("a"))

        assert caught.value.ref == await child(root, "a")


async def test_which_children_says_the_state_of_each(autojump_clock: MockClock) -> None:
    async with prepared() as root:
        await prepare(root)

        infos = await otp.which_children(root)
        assert [info.id for info in infos] == ["running", "stopped", "restarting"]
        assert isinstance(infos[0].ref, otp.Ref)
        assert [info.ref for info in infos[1:]] == [None, "restarting"]
        assert all(isinstance(info.spec, otp.ChildSpec) and info.spec.id == info.id for info in infos)


async def test_count_children_counts_the_specs_dead_or_alive(autojump_clock: MockClock) -> None:
    async with system(
        worker("a"), worker("b"), under("s"), under("t"), worker("ignores", init=raises(otp.Ignore()))
    ) as root:
        await otp.terminate_child(root, "b")
        await otp.terminate_child(root, "t")

        assert await otp.count_children(root) == otp.Counts(specs=5, active=2, supervisors=2, workers=3)


async def test_an_empty_supervisor_counts_nothing(autojump_clock: MockClock) -> None:
    async with system() as root:
        assert await otp.count_children(root) == otp.Counts(specs=0, active=0, supervisors=0, workers=0)
        assert list(await otp.which_children(root)) == []


async def test_get_child_spec_returns_what_was_given(autojump_clock: MockClock) -> None:
    spec = worker("a", restart="transient", shutdown=3, mailbox=7)
    async with system(spec) as root:
        found = await otp.get_child_spec(root, "a")

        assert (found.id, found.restart, found.shutdown, found.mailbox, found.start) == (
            "a",
            "transient",
            3,
            7,
            spec.start,
        )


async def test_a_running_temporary_child_has_no_start_any_more(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary")) as root:
        assert (await otp.get_child_spec(root, "a")).start is None
        assert [info.spec.start for info in await otp.which_children(root)] == [None]


async def test_terminating_a_temporary_child_deletes_it(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary")) as root:
        await otp.terminate_child(root, "a")

        with pytest.raises(otp.ChildError) as caught:
            await otp.get_child_spec(root, "a")
        assert caught.value.code == "not_found"


async def test_a_static_supervisor_does_not_know_its_children_by_ref(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")
        with pytest.raises(otp.ChildError) as caught:
            await otp.terminate_child(root, a)

        assert caught.value.code == "not_found"
        assert a.alive


async def test_a_restart_by_hand_that_fails_keeps_the_spec(autojump_clock: MockClock) -> None:
    async with system(worker("a", init=fails(2)), max_restarts=0) as root:
        await otp.terminate_child(root, "a")
        with pytest.raises(otp.StartFailed) as caught:
            await otp.restart_child(root, "a")

        assert caught.value.id == "a"
        assert await child(root, "a") is None
        assert await otp.restart_child(root, "a") == await child(root, "a")


async def test_a_restart_by_hand_of_what_ignores_returns_none(autojump_clock: MockClock) -> None:
    async with system(worker("a", init=raises(otp.Ignore()))) as root:
        assert await otp.restart_child(root, "a") is None


async def test_a_deleted_id_can_be_used_again(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        await otp.terminate_child(root, "a")
        await otp.delete_child(root, "a")

        assert await otp.start_child(root, worker("a")) == await child(root, "a")


async def test_administration_waits_as_long_as_it_takes(autojump_clock: MockClock) -> None:
    async with system() as root:
        assert await otp.start_child(root, worker("a", init=sleeps(500))) is not None
        assert trio.current_time() == 500


async def test_terminate_child_returns_when_the_child_has_ended(autojump_clock: MockClock) -> None:
    async with system(worker("a", terminate=sleeps(4))) as root:
        a = await child(root, "a")
        await otp.terminate_child(root, "a")

        assert not a.alive
        assert trio.current_time() == 4


async def test_the_administration_of_a_dead_supervisor_raises(autojump_clock: MockClock) -> None:
    async with system(under("sub", spec={"restart": "temporary"})) as root:
        sub = await child(root, "sub")
        await otp.stop(sub)

        for call, *arguments in (
            (otp.which_children,),
            (otp.count_children,),
            (otp.start_child, worker("a")),
            (otp.terminate_child, "a"),
            (otp.restart_child, "a"),
            (otp.delete_child, "a"),
            (otp.get_child_spec, "a"),
        ):
            with pytest.raises(otp.ServerExited) as caught:
                await call(sub, *arguments)
            assert caught.value.reason == otp.NoProcess()


async def test_the_end_of_the_supervisor_releases_whoever_waits_for_its_administration(
    autojump_clock: MockClock,
) -> None:
    async with system(under("sub", spec={"restart": "temporary"})) as root, trio.open_nursery() as nursery:
        sub = await child(root, "sub")

        async def start() -> None:
            with pytest.raises(otp.ServerExited):
                await otp.start_child(sub, worker("a", init=sleeps(100)))

        nursery.start_soon(start)
        await settle()
        otp.exit(sub, otp.Killed())

    assert trio.current_time() == 0


async def test_a_supervisor_can_be_administered_by_name(autojump_clock: MockClock) -> None:
    registry = otp.Registry()

    class Named(otp.Supervisor):
        async def init(self) -> None:
            registry.register("sub")

    async with system(otp.ChildSpec(start=Named, id="sub")) as root:
        ref = await otp.start_child(registry.via("sub"), worker("a"))

        assert ref == await child(await child(root, "sub"), "a")


async def test_a_child_may_administer_its_own_supervisor_in_a_handler(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:

        async def start_sibling(server: Worker) -> Any:
            return await otp.start_child(root, worker("b"))

        sibling = await otp.call(await child(root, "a"), Do(start_sibling))
        assert await otp.call(sibling, Echo(1)) == 1


async def test_a_spec_that_does_not_fit_its_supervisor_is_refused_in_its_caller(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        with pytest.raises(ValueError, match="significant"):
            await otp.start_child(root, worker("b", significant=True, restart="transient"))

        assert await otp.count_children(root) == otp.Counts(specs=1, active=1, supervisors=0, workers=1)


async def test_what_is_no_spec_is_refused_in_its_caller(autojump_clock: MockClock) -> None:
    async with system() as root:
        with pytest.raises(TypeError):
            await otp.start_child(root, Worker)  # type: ignore[arg-type]  # on purpose

        assert root.alive


async def test_ids_compare_as_any_hashable(autojump_clock: MockClock) -> None:
    ids: list[Any] = [("pool", 1), 7, "x", otp.Restart.PERMANENT]
    async with system(*(otp.ChildSpec(start=Worker, id=id) for id in ids)) as root:
        assert [info.id for info in await otp.which_children(root)] == ids
        await otp.terminate_child(root, ("pool", 1))
        assert await child(root, ("pool", 1)) is None
        assert (await child(root, 7)).label == "7"


async def test_a_normal_end_by_hand_then_restart_by_hand(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="transient")) as root:
        await ends(await child(root, "a"), quits())
        with pytest.raises(otp.ChildError) as caught:
            await otp.start_child(root, worker("a"))
        assert caught.value.code == "already_present"

        assert await otp.restart_child(root, "a") == await child(root, "a")


async def test_a_terminate_child_that_is_given_up_still_ends_the_child(autojump_clock: MockClock) -> None:
    async with system(worker("a", terminate=sleeps(4))) as root:
        a = await child(root, "a")
        with trio.move_on_after(1):
            await otp.terminate_child(root, "a")

        assert trio.current_time() == 1
        assert await child(root, "a") is None
        assert await otp.wait_down(a) == otp.Shutdown()
        assert trio.current_time() == 4


async def test_of_two_starts_of_one_id_at_once_one_succeeds(autojump_clock: MockClock) -> None:
    outcomes: list[Any] = []

    async def start(root: otp.Ref) -> None:
        try:
            outcomes.append(await otp.start_child(root, worker("a", init=sleeps(1))))
        except otp.ChildError as error:
            outcomes.append(error.code)

    async with system() as root, trio.open_nursery() as nursery:
        nursery.start_soon(start, root)
        nursery.start_soon(start, root)
        await trio.sleep(2)

        assert [await child(root, "a"), "already_started"] == outcomes


async def test_a_start_child_that_meets_the_stop_of_its_supervisor_raises(autojump_clock: MockClock) -> None:
    async def start(sub: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited):
            await otp.start_child(sub, worker("b"))
        ended.append(trio.current_time())

    ended: list[float] = []
    spec = under("sub", worker("a", terminate=sleeps(4)), spec={"restart": "temporary"})
    async with system(spec) as root, trio.open_nursery() as nursery:
        sub = await child(root, "sub")
        nursery.start_soon(otp.terminate_child, root, "sub")
        await trio.sleep(1)
        nursery.start_soon(start, sub)

    assert ended == [4]


async def test_a_running_child_can_be_asked_for_while_another_initialises_slowly_only_later(
    autojump_clock: MockClock,
) -> None:
    async with system(worker("a")) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        nursery.start_soon(otp.start_child, root, worker("b", init=sleeps(10)))
        await settle()

        assert await otp.call(a, Echo(1)) == 1  # the children themselves are not held up
        assert trio.current_time() == 0
        assert len(await otp.which_children(root)) == 2
        assert trio.current_time() == 10
