"""Whole programs: run, Ctrl-C and signals, on the virtual clock and in processes of their own."""

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
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    NEVER,
    Worker,
    child,
    crashes,
    sleeps,
    system,
    under,
    worker,
)


def tree(log: list[str], **of_b: Any) -> list[otp.ChildSpec]:
    return [worker("a", log), under("sub", worker("b", log, **of_b)), worker("c", log)]


STARTED = ["start a", "start b", "start c"]


STOPPED = ["stop c", "stop b", "stop a"]


def test_run_raises_where_the_root_goes_down() -> None:
    async def init(server: Worker) -> None:
        server.continue_(crashes())

    with pytest.raises(otp.SystemDown):
        otp.run(otp.Supervisor(children=[worker("a", init=init)]), signals=False)


def test_run_raises_where_the_start_fails() -> None:
    with pytest.raises(otp.StartFailed):
        otp.run(otp.Supervisor(children=[worker("a", init=crashes())]), signals=False)


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
            async with otp.open_system(otp.Supervisor(children=tree(log, terminate=sleeps(2))), signals=True):
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
