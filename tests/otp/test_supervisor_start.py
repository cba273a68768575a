"""The start of a supervisor: its order, and what is left of a start that fails."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Echo,
    Worker,
    causes,
    child,
    crashes,
    ends,
    fails,
    raises,
    running_tasks,
    settle,
    sleeps,
    system,
    under,
    worker,
)

NOTHING = otp.Counts(specs=0, active=0, supervisors=0, workers=0)


async def test_children_start_from_left_to_right_each_after_the_init_of_the_one_before(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    times: list[float] = []

    async def init(server: Worker) -> None:
        times.append(trio.current_time())
        await trio.sleep(2)

    async with system(*(worker(name, log, init=init) for name in "abc")) as root:
        assert trio.current_time() == 6
        assert times == [0, 2, 4]
        assert log == ["start a", "start b", "start c"]
        assert [info.id for info in await otp.which_children(root)] == ["a", "b", "c"]


async def test_a_nested_supervisor_starts_its_own_children_before_its_next_sibling(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log), under("sub", worker("b", log), worker("c", log)), worker("d", log)):
        assert log == ["start a", "start b", "start c", "start d"]


async def test_a_failed_child_stops_those_before_it_in_reverse_and_those_after_never_start(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    error = Boom("no")
    with pytest.raises(otp.StartFailed) as caught:
        async with system(worker("a", log), worker("b", log), worker("c", log, init=raises(error)), worker("d", log)):
            raise AssertionError("opened")

    chain = causes(caught.value)
    assert log == ["start a", "start b", "stop b", "stop a"]
    assert chain[-1] is error
    assert "c" in [link.id for link in chain if isinstance(link, otp.StartFailed)]


async def test_the_rollback_of_a_failed_start_obeys_the_shutdown_of_each_child(autojump_clock: MockClock) -> None:
    log: list[str] = []
    with pytest.raises(otp.StartFailed):
        async with system(
            worker("a", log, terminate=sleeps(3)),
            worker("b", log, terminate=sleeps(100), shutdown=2),
            worker("c", log, init=crashes()),
        ):
            raise AssertionError("opened")

    assert trio.current_time() == 5
    assert log == ["start a", "start b", "stop a"]


async def test_a_nested_supervisor_whose_child_fails_is_itself_a_failed_start(autojump_clock: MockClock) -> None:
    error = Boom("no")
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, under("sub", worker("a", init=raises(error))))

        chain = causes(caught.value)
        assert caught.value.id == "sub"
        assert isinstance(chain[1], otp.StartFailed)
        assert chain[-1] is error
        assert await otp.count_children(root) == NOTHING


async def test_a_child_that_ignores_is_kept_without_a_process(autojump_clock: MockClock) -> None:
    async with system(worker("a", init=raises(otp.Ignore())), worker("b")) as root:
        assert await child(root, "a") is None
        assert await otp.count_children(root) == otp.Counts(specs=2, active=1, supervisors=0, workers=2)


async def test_a_temporary_child_that_ignores_is_not_kept(autojump_clock: MockClock) -> None:
    async with system(worker("a", init=raises(otp.Ignore()), restart="temporary"), worker("b")) as root:
        assert [info.id for info in await otp.which_children(root)] == ["b"]


async def test_start_child_adds_a_child_at_the_end(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        ref = await otp.start_child(root, worker("b"))

        assert [info.id for info in await otp.which_children(root)] == ["a", "b"]
        assert ref == await child(root, "b")
        assert await otp.call(ref, Echo(1)) == 1


async def test_a_failed_start_child_leaves_no_spec_and_is_not_counted_as_a_restart(autojump_clock: MockClock) -> None:
    async with system(worker("a"), max_restarts=0) as root:
        for _ in range(5):
            with pytest.raises(otp.StartFailed):
                await otp.start_child(root, worker("b", init=crashes()))

        assert [info.id for info in await otp.which_children(root)] == ["a"]


@pytest.mark.parametrize(("restart", "kept"), [("permanent", True), ("transient", True), ("temporary", False)])
async def test_what_ignores_in_start_child_is_kept_unless_it_is_temporary(
    autojump_clock: MockClock, restart: Any, kept: bool
) -> None:
    async with system() as root:
        assert await otp.start_child(root, worker("a", init=raises(otp.Ignore()), restart=restart)) is None

        assert [info.id for info in await otp.which_children(root)] == (["a"] if kept else [])


@pytest.mark.parametrize("start", [lambda: "no server", lambda: None, object], ids=["a string", "nothing", "an object"])
async def test_a_start_that_makes_no_server_is_a_failed_start(autojump_clock: MockClock, start: Any) -> None:
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, otp.ChildSpec(start=start, id="a"))

        assert isinstance(caught.value.__cause__, TypeError)


async def test_a_start_that_raises_is_a_failed_start(autojump_clock: MockClock) -> None:
    def start() -> otp.Server:
        raise Boom("no server today")

    async with system(worker("a")) as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, otp.ChildSpec(start=start, id="b"))

        assert isinstance(caught.value.__cause__, Boom)
        assert (await child(root, "a")).alive


async def test_a_class_is_a_start_and_gives_the_id(autojump_clock: MockClock) -> None:
    async with system(otp.ChildSpec(start=Worker)) as root:
        assert [info.id for info in await otp.which_children(root)] == ["Worker"]


# the supervisor's own init


@attrs.define(kw_only=True)
class Configured(otp.Supervisor):
    """Decides in its init what it supervises."""

    log: list[str]
    registry: otp.Registry

    async def init(self) -> None:
        self.log.append("init")
        self.registry.register("supervisor")
        self.children = [worker("a", self.log), worker("b", self.log)]


async def test_the_init_of_a_supervisor_runs_before_its_first_child_and_may_name_it_and_set_its_children(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    registry = otp.Registry()
    with trio.fail_after(100):
        async with otp.open_system(Configured(log=log, registry=registry)) as root:
            assert registry.lookup("supervisor")[0][0] == root
            assert [info.id for info in await otp.which_children(registry.via("supervisor"))] == ["a", "b"]

    assert log == ["init", "start a", "start b", "stop b", "stop a"]


@attrs.define(kw_only=True)
class Refusing(otp.Supervisor):
    error: Exception

    async def init(self) -> None:
        raise self.error


async def test_a_supervisor_whose_init_raises_starts_no_child(autojump_clock: MockClock) -> None:
    log: list[str] = []
    error = Boom("no")
    async with system() as root:
        spec = otp.ChildSpec(start=lambda: Refusing(error=error, children=[worker("a", log)]), id="sub")
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, spec)

        assert caught.value.__cause__ is error
        assert log == []


async def test_a_supervisor_whose_init_ignores_is_a_child_without_a_process(autojump_clock: MockClock) -> None:
    log: list[str] = []
    spec = otp.ChildSpec(start=lambda: Refusing(error=otp.Ignore(), children=[worker("a", log)]), id="sub")
    async with system(spec, worker("b")) as root:
        assert await child(root, "sub") is None
        assert log == []


# names


def named(registry: otp.Registry, name: str, then: Any = None, **spec: Any) -> otp.ChildSpec:
    async def init(server: Worker) -> None:
        registry.register("name")
        if then is not None:
            await then(server)

    return worker(name, init=init, **spec)


async def test_a_start_with_a_taken_name_fails_and_says_who_has_it(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with system(named(registry, "a")) as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, named(registry, "b"))

        cause = caught.value.__cause__
        assert isinstance(cause, otp.AlreadyRegistered)
        assert (cause.key, cause.ref) == ("name", await child(root, "a"))


async def test_the_name_is_free_when_the_starter_hears_of_the_failed_init(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with system() as root:
        with pytest.raises(otp.StartFailed):
            await otp.start_child(root, named(registry, "a", then=crashes()))
        assert registry.lookup("name") == ()

        assert await otp.start_child(root, named(registry, "b")) is not None


# slow starts and cancellation


async def test_the_supervisor_is_blocked_while_a_child_initialises(autojump_clock: MockClock) -> None:
    times: list[float] = []

    async def ask(root: otp.Ref) -> None:
        await otp.count_children(root)
        times.append(trio.current_time())

    async with system() as root, trio.open_nursery() as nursery:
        nursery.start_soon(otp.start_child, root, worker("a", init=sleeps(60)))
        await settle()
        nursery.start_soon(ask, root)

    assert times == [60]


async def test_a_cancelled_start_child_withdraws_the_child_at_once(autojump_clock: MockClock) -> None:
    ended: list[float] = []

    async def init(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    async with system() as root:
        with trio.move_on_after(3):
            await otp.start_child(root, worker("a", init=init))

        assert await otp.count_children(root) == NOTHING
        assert ended == [3]
        assert trio.current_time() == 3


async def test_a_start_child_that_is_cancelled_in_the_moment_its_child_is_up_has_either_both_or_nothing(
    autojump_clock: MockClock,
) -> None:
    async with system() as root:
        for number in range(20):
            before = len(await otp.which_children(root))
            ref: otp.Ref | None = None
            with trio.move_on_after(3):
                ref = await otp.start_child(root, worker(str(number), init=sleeps(3)))

            assert len(await otp.which_children(root)) == before + (ref is not None)


async def test_a_start_child_that_is_cancelled_while_it_waits_starts_nothing(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system() as root, trio.open_nursery() as nursery:
        nursery.start_soon(otp.start_child, root, worker("a", log, init=sleeps(10)))
        await settle()
        with trio.move_on_after(3):
            await otp.start_child(root, worker("b", log))

        assert [info.id for info in await otp.which_children(root)] == ["a"]
        assert log == ["start a"]


async def test_a_cancel_during_the_start_of_the_system_stops_what_had_started_in_reverse(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    before = running_tasks()
    with trio.move_on_after(5) as scope:
        async with system(worker("a", log), worker("b", log), worker("c", log, init=sleeps(100)), worker("d", log)):
            raise AssertionError("opened")

    assert scope.cancelled_caught
    assert log == ["start a", "start b", "stop b", "stop a"]
    assert trio.current_time() == 5
    assert running_tasks() == before


async def test_a_supervisor_is_opened_once(autojump_clock: MockClock) -> None:
    root = otp.Supervisor(children=[worker("a")])
    async with otp.open_system(root):
        pass

    with pytest.raises(RuntimeError):
        async with otp.open_system(root):
            raise AssertionError("opened")


async def test_an_empty_supervisor_stays_alive(autojump_clock: MockClock) -> None:
    async with system() as root:
        await trio.sleep(1000)

        assert root.alive
        assert await otp.start_child(root, worker("a")) is not None


async def test_a_supervisor_stays_alive_when_all_its_children_are_done(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("b", restart="transient")) as root:
        for name in "ab":
            await otp.stop(await child(root, name))
        await trio.sleep(1000)

        assert root.alive


async def test_a_child_that_failed_to_start_can_be_started_later(autojump_clock: MockClock) -> None:
    init = fails(1)
    async with system() as root:
        with pytest.raises(otp.StartFailed):
            await otp.start_child(root, worker("a", init=init))

        ref = await otp.start_child(root, worker("a", init=init))
        assert isinstance(await ends(ref, crashes()), otp.Crash)
