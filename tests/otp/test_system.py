"""The root: its block, what ends it, Ctrl-C, signals, and how long the end may take."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
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
from trio.testing import MockClock

from alloy import otp


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


def test_run_raises_where_the_root_goes_down() -> None:
    async def init(server: Worker) -> None:
        server.continue_(crashes())

    with pytest.raises(otp.SystemDown):
        otp.run(otp.Supervisor(children=[worker("a", init=init)]), signals=False)


def test_run_raises_where_the_start_fails() -> None:
    with pytest.raises(otp.StartFailed):
        otp.run(otp.Supervisor(children=[worker("a", init=crashes())]), signals=False)


# Ctrl-C and the like, on the virtual clock


def run(main: Any) -> None:
    trio.run(main, clock=MockClock(autojump_threshold=0))


@contextmanager
def default_sigint() -> Iterator[None]:
    """Ctrl-C is Trio's matter only while Python's own handler is installed."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


async def press_ctrl_c(server: Worker) -> None:
    signal.raise_signal(signal.SIGINT)
    await trio.lowlevel.checkpoint()


def test_ctrl_c_inside_a_handler_reaches_the_main_task_and_the_tree_stops_in_order() -> None:
    log: list[str] = []

    async def main() -> None:
        async with system(*tree(log, terminate=sleeps(1))) as root:
            await otp.cast(await child(root, "c"), press_ctrl_c)
            try:
                await trio.sleep_forever()
            except KeyboardInterrupt:
                log.append("body")
                raise

    with default_sigint(), pytest.raises(KeyboardInterrupt):
        run(main)

    assert log == [*STARTED, "body", *STOPPED]


def test_ctrl_c_in_the_body_stops_the_tree_in_order() -> None:
    log: list[str] = []

    async def main() -> None:
        async with system(*tree(log, terminate=sleeps(1))):
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with default_sigint(), pytest.raises(KeyboardInterrupt):
        run(main)

    assert log == STARTED + STOPPED


def test_ctrl_c_during_the_start_rolls_it_back() -> None:
    log: list[str] = []

    async def init(server: Worker) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(10)

    async def main() -> None:
        async with system(worker("a", log), worker("b", log, init=init), worker("c", log)):
            raise AssertionError("opened")

    with default_sigint(), pytest.raises(KeyboardInterrupt):
        run(main)

    assert log == ["start a", "stop a"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
def test_what_must_get_out_of_the_body_stops_the_tree_in_order_first(error: BaseException) -> None:
    log: list[str] = []

    async def main() -> None:
        async with system(*tree(log)):
            raise error

    with pytest.raises(type(error)) as caught:
        run(main)

    assert caught.value is error
    assert log == STARTED + STOPPED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_with_signals_the_first_is_an_ordered_stop(number: signal.Signals) -> None:
    log: list[str] = []

    async def main() -> None:
        with suppress(otp.SystemDown), trio.fail_after(NEVER):
            async with otp.open_system(
                otp.Supervisor(children=tree(log, terminate=sleeps(2))), signals=True
            ):
                signal.raise_signal(number)
                await trio.sleep_forever()
        assert trio.current_time() == 2

    run(main)

    assert log == STARTED + STOPPED


def test_with_signals_the_second_kills() -> None:
    log: list[str] = []

    async def main() -> None:
        async def again(server: Worker) -> None:
            await trio.sleep(1)
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(1000)

        children = [worker("a", log), worker("b", log, terminate=again, shutdown=float("inf"))]
        with suppress(otp.SystemDown), trio.fail_after(NEVER):
            async with otp.open_system(otp.Supervisor(children=children), signals=True):
                signal.raise_signal(signal.SIGINT)
                await trio.sleep_forever()
        assert trio.current_time() == 1

    run(main)

    assert log == ["start a", "start b"]


def test_with_signals_one_that_comes_during_the_start_rolls_it_back() -> None:
    async def init(server: Worker) -> None:
        signal.raise_signal(signal.SIGINT)
        await trio.sleep(10)

    async def main() -> None:
        log.clear()
        supervisor = otp.Supervisor(children=[worker("a", log), worker("b", log, init=init), worker("c", log)])
        with suppress(otp.StartFailed, otp.SystemDown), trio.fail_after(NEVER):
            async with otp.open_system(supervisor, signals=True):
                await trio.sleep_forever()
        assert trio.current_time() == 0

    log: list[str] = []
    for _ in range(20):  # the receiver must be there before the first child, whatever the scheduler does
        run(main)

        assert log == ["start a", "stop a"]


def test_without_signals_the_handlers_of_others_stay() -> None:
    def handler(number: int, frame: object) -> None:
        log.append(f"signal {number}")

    async def main() -> None:
        async with system(worker("a")):
            signal.raise_signal(signal.SIGTERM)
            await trio.sleep(1)

    log: list[str] = []
    before = signal.signal(signal.SIGTERM, handler)
    try:
        run(main)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert log == [f"signal {int(signal.SIGTERM)}"]


# whole programs

PROGRAM = """
import math, sys, trio
from alloy import otp

class Noisy(otp.Server):
    def __init__(self, name, seconds):
        self.name, self.seconds = name, seconds
    async def init(self):
        self.continue_(None)
    async def handle_continue(self, arg):
        print("up", self.name, flush=True)
    async def terminate(self, reason):
        print("stopping", self.name, flush=True)
        await trio.sleep(self.seconds)
        print("stopped", self.name, flush=True)

seconds, signals = float(sys.argv[1]), sys.argv[2] == "signals"
otp.run(otp.Supervisor(children=[
    otp.ChildSpec(start=lambda: Noisy("a", 0), id="a"),
    otp.ChildSpec(start=lambda: Noisy("b", seconds), id="b", shutdown=math.inf),
]), signals=signals)
print("returned", flush=True)
"""

UP = ["up a", "up b"]
DOWN = ["stopping b", "stopped b", "stopping a", "stopped a"]

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


class Program:
    """The program above in a process of its own; what it printed, line by line."""

    def __init__(self, seconds: float, signals: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(seconds), signals],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[str] = []

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read_until(self, count: int) -> None:
        assert self.process.stdout is not None
        while len(self.lines) < count:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the program ended after {self.lines}: {self.process.communicate()}")
            self.lines.append(line.strip())

    def finish(self) -> str:
        out, err = self.process.communicate(timeout=30)
        self.lines += out.splitlines()
        return err


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_program_ends_in_order_at_its_first_signal_and_run_returns(number: signal.Signals) -> None:
    with Program(0.1, "signals") as program:
        program.read_until(2)
        assert sorted(program.lines) == UP
        program.process.send_signal(number)
        error = program.finish()

        assert program.lines[2:] == [*DOWN, "returned"]
        assert (program.process.returncode, error) == (0, "")


@posix
def test_a_program_ends_at_once_at_its_second_signal() -> None:
    with Program(1000, "signals") as program:
        program.read_until(2)
        program.process.send_signal(signal.SIGTERM)
        program.read_until(3)
        program.process.send_signal(signal.SIGINT)
        program.finish()

        assert [line for line in program.lines[2:] if line != "returned"] == ["stopping b"]


@posix
def test_a_program_without_signals_ends_in_order_at_ctrl_c_and_raises_it() -> None:
    with Program(0.1, "no signals") as program:
        program.read_until(2)
        program.process.send_signal(signal.SIGINT)
        error = program.finish()

        assert program.lines[2:] == DOWN
        assert error.rstrip().endswith("KeyboardInterrupt")
        assert program.process.returncode != 0


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
