"""What holds for every history: of one supervisor under random orders, of every window, of every tree."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule, run_state_machine_as_test
from trio.testing import MockClock

from alloy import otp
from otp.machine import TrioMachine
from otp.servers import Boom, Do, Echo, Worker, child, crashes, ends, running_tasks, sleeps, system, under, worker

NAMES = st.sampled_from("abcdef")
RESTARTS = st.sampled_from(["permanent", "transient", "temporary"])
MAX_RESTARTS, MAX_SECONDS = 3, 5.0


@attrs.define
class Child:
    """What the model knows of a child."""

    restart: str
    ref: Any


@attrs.define(eq=False)
class Asked:
    """A call under way: when it must be over, and how it ended."""

    due: float
    outcome: object = None


class SupervisorMachine(TrioMachine):
    """A supervisor one_for_one against a model of it: starts, ends, administration, calls, cancels, time."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = otp.Registry()
        self.children: dict[str, Child] = {}
        self.restarts: list[float] = []
        self.asked: list[Asked] = []
        self.tasks = self.run(self.count)
        self.run(self.open)

    async def count(self) -> int:
        return running_tasks()

    async def open(self) -> None:
        async def live(task_status: trio.TaskStatus[otp.Ref]) -> None:
            spec = under("sub", max_restarts=MAX_RESTARTS, max_seconds=MAX_SECONDS)
            root = otp.Supervisor(children=[spec], max_restarts=1_000_000)
            async with otp.open_system(root) as ref:
                task_status.started(ref)
                await self.close.wait()
            self.closed.set()

        self.close, self.closed = trio.Event(), trio.Event()
        self.root = await self.nursery.start(live)
        self.sub = await child(self.root, "sub")

    def spec(self, name: str, restart: str) -> otp.ChildSpec:
        async def init(server: Worker) -> None:
            self.registry.register(name)

        return worker(name, init=init, restart=restart)

    def down(self, name: str) -> bool:
        return name not in self.children or self.children[name].ref is None

    async def attempt(self, call: Any, *args: Any) -> Any:
        """The result of an administration call, or the code of its error."""
        try:
            return await call(self.sub, *args)
        except otp.ChildError as error:
            return error.code

    # administration

    @rule(name=NAMES, restart=RESTARTS)
    def start(self, name: str, restart: str) -> None:
        result = self.run(self.attempt, otp.start_child, self.spec(name, restart))
        if name not in self.children:
            assert result.alive
            self.children[name] = Child(restart, result)
        else:
            assert result == ("already_present" if self.down(name) else "already_started")

    @rule(name=NAMES)
    def terminate(self, name: str) -> None:
        result = self.run(self.attempt, otp.terminate_child, name)
        if name not in self.children:
            assert result == "not_found"
            return
        assert result is None
        self.children[name].ref = None
        if self.children[name].restart == "temporary":
            del self.children[name]

    @rule(name=NAMES)
    def restart(self, name: str) -> None:
        result = self.run(self.attempt, otp.restart_child, name)
        if name not in self.children:
            assert result == "not_found"
        elif self.down(name):
            assert result.alive
            self.children[name].ref = result
        else:
            assert result == "running"

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        result = self.run(self.attempt, otp.delete_child, name)
        if name not in self.children:
            assert result == "not_found"
        elif self.down(name):
            assert result is None
            del self.children[name]
        else:
            assert result == "running"

    # ends

    @precondition(lambda self: any(not self.down(name) for name in self.children))
    @rule(data=st.data(), reason=st.sampled_from(["crash", "kill", "shutdown"]))
    def end(self, data: st.DataObject, reason: str) -> None:
        name = data.draw(st.sampled_from(sorted(name for name in self.children if not self.down(name))))
        ended = self.children[name]
        reasons: dict[str, otp.ExitReason] = {
            "crash": otp.Crash(Boom("boom")),
            "kill": otp.Killed(),
            "shutdown": otp.Shutdown("x"),
        }

        async def act() -> float:
            otp.exit(ended.ref, reasons[reason])
            await otp.wait_down(ended.ref)
            return trio.current_time()

        now = self.run(act)
        if ended.restart == "temporary":
            del self.children[name]
        elif ended.restart == "transient" and reason == "shutdown":
            ended.ref = None
        else:
            self.count_restart(now, ended, name)

    def count_restart(self, now: float, ended: Child, name: str) -> None:
        self.restarts = [now, *(time for time in self.restarts if time >= now - MAX_SECONDS)]
        if len(self.restarts) <= MAX_RESTARTS:
            last, ended.ref = ended.ref, self.run(child, self.sub, name)
            assert ended.ref != last
            return
        last_sub, self.sub = self.sub, self.run(child, self.root, "sub")
        assert not last_sub.alive
        assert self.sub != last_sub
        self.children.clear()
        self.restarts.clear()

    # calls

    @rule(name=NAMES, seconds=st.sampled_from([0.0, 1.0, 3.0, 7.0]), limit=st.sampled_from([0.5, 2.0, 5.0]))
    def call(self, name: str, seconds: float, limit: float) -> None:
        async def ask(asked: Asked) -> None:
            try:
                asked.outcome = await otp.call(self.registry.via(name), Do(sleeps(seconds)), timeout=limit) or "reply"
            except (otp.CallTimeout, otp.ServerExited) as error:
                asked.outcome = error

        async def start() -> None:
            asked = Asked(due=trio.current_time() + limit)
            self.asked.append(asked)
            self.nursery.start_soon(ask, asked)

        self.run(start)

    @rule(name=NAMES)
    def call_and_give_up(self, name: str) -> None:
        async def ask() -> None:
            with trio.CancelScope() as scope:
                scope.cancel(reason="given up")
                await otp.call(self.registry.via(name), Echo(1), timeout=None)

        async def attempt() -> None:
            try:
                await ask()
            except otp.ServerExited:
                assert self.registry.via(name).whereis() is None

        self.run(attempt)

    @rule(seconds=st.sampled_from([0.25, 1.0, 2.0, 5.0]))
    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    # what always holds

    @invariant()
    def the_children_are_those_of_the_model_in_their_order(self) -> None:
        async def look() -> list[tuple[Any, Any]]:
            return [(info.id, info.ref) for info in await otp.which_children(self.sub)]

        assert self.run(look) == [(name, known.ref) for name, known in self.children.items()]

    @invariant()
    def the_names_are_those_of_the_living(self) -> None:
        async def look() -> dict[str, Any]:
            return {name: self.registry.via(name).whereis() for name in "abcdef"}

        living = {name: known.ref for name, known in self.children.items()}
        assert self.run(look) == {name: living.get(name) for name in "abcdef"}

    @invariant()
    def every_call_is_answered_in_time(self) -> None:
        async def now() -> float:
            return trio.current_time()

        time = self.run(now)
        assert [asked for asked in self.asked if asked.outcome is None and asked.due <= time] == []

    def teardown(self) -> None:
        async def stop() -> int:
            self.close.set()
            await self.closed.wait()
            await trio.testing.wait_all_tasks_blocked()
            return running_tasks()

        try:
            if self.error is None:
                tasks = self.run(stop)
                assert [asked for asked in self.asked if asked.outcome is None] == []
                assert self.registry.count() == 0
                assert tasks == self.tasks
        finally:
            super().teardown()


def test_a_supervisor_follows_its_model_whatever_happens() -> None:
    run_state_machine_as_test(
        SupervisorMachine, settings=settings(max_examples=40, stateful_step_count=30, deadline=None)
    )


@pytest.mark.slow
def test_a_supervisor_follows_its_model_for_long() -> None:
    run_state_machine_as_test(
        SupervisorMachine, settings=settings(max_examples=600, stateful_step_count=60, deadline=None)
    )


def run(main: Any, *args: Any) -> Any:
    return trio.run(main, *args, clock=MockClock(autojump_threshold=0))


def survives(times: list[float], max_restarts: int, max_seconds: float) -> int:
    """How many of the crashes at those times a supervisor survives."""
    for number, now in enumerate(times):
        if sum(1 for time in times[: number + 1] if time >= now - max_seconds) > max_restarts:
            return number
    return len(times)


@given(
    gaps=st.lists(st.integers(0, 12), min_size=1, max_size=12),
    max_restarts=st.integers(0, 4),
    max_seconds=st.sampled_from([1.0, 2.5, 5.0]),
)
@settings(deadline=None, max_examples=60)
def test_the_window_decides_which_crash_is_one_too_many(gaps: list[int], max_restarts: int, max_seconds: float) -> None:
    async def main() -> int:
        log: list[str] = []
        flags = {"max_restarts": max_restarts, "max_seconds": max_seconds}
        async with system(under("sub", worker("a", log), spec={"restart": "temporary"}, **flags)) as root:
            sub = await child(root, "sub")
            for gap in gaps:
                await trio.sleep(gap * 0.5)
                times.append(trio.current_time())
                await ends(await child(sub, "a"), crashes())
                if not sub.alive:
                    return len(times) - 1
        return len(times)

    times: list[float] = []
    survived = run(main)

    assert survived == survives(times, max_restarts, max_seconds)


TREES = st.recursive(st.none(), lambda trees: st.lists(trees, max_size=4), max_leaves=15)


@given(TREES)
@settings(deadline=None, max_examples=60)
def test_every_tree_stops_in_the_reverse_of_its_start(tree: Any) -> None:
    def grow(tree: Any, path: str) -> otp.ChildSpec:
        if tree is None:
            leaves.append(path)
            return worker(path, log)
        return under(path, *(grow(inner, f"{path}.{number}") for number, inner in enumerate(tree)))

    async def main() -> None:
        async with system(grow(tree, "root")):
            assert log == [f"start {leaf}" for leaf in leaves]
            log.clear()

    leaves: list[str] = []
    log: list[str] = []
    run(main)

    assert log == [f"stop {leaf}" for leaf in reversed(leaves)]


@given(
    strategy=st.sampled_from(["one_for_one", "one_for_all", "rest_for_one"]),
    restarts=st.lists(RESTARTS, min_size=1, max_size=5),
    victims=st.lists(st.integers(0, 4), max_size=6),
)
@settings(deadline=None, max_examples=60)
def test_every_group_restart_touches_those_its_strategy_names_in_their_order(
    strategy: Any, restarts: list[str], victims: list[int]
) -> None:
    async def main() -> None:
        living = dict(enumerate(restarts))
        children = [worker(str(number), log, restart=restart) for number, restart in living.items()]
        async with system(*children, strategy=strategy, max_restarts=1000) as root:
            for victim in victims:
                if victim not in living:
                    continue
                log.clear()
                ref = await child(root, str(victim))
                otp.exit(ref, otp.Killed())
                await otp.wait_down(ref)
                await trio.testing.wait_all_tasks_blocked()

                if living[victim] == "temporary":
                    del living[victim]
                    assert log == []
                    continue
                group = {
                    "one_for_one": [victim],
                    "one_for_all": list(living),
                    "rest_for_one": [number for number in living if number >= victim],
                }[strategy]
                stopped = [number for number in reversed(group) if number != victim]
                for number in [number for number in group if living[number] == "temporary"]:
                    del living[number]
                started = [number for number in group if number in living]
                assert log == [f"stop {number}" for number in stopped] + [f"start {number}" for number in started]

    log: list[str] = []
    run(main)
