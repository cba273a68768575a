"""Take one measure of one side in a process of its own, and print its cost: what `run.py` starts.

    python measure.py floor|subject MEASURE URL

CPU is user and system time of this process, all threads, without set-up and warm-up.
"""

from __future__ import annotations

import gc
import importlib
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

REQUESTS = 11  # of one loop-10: ten calls of the tool and the answer

# The names are fetched too: `alloy` loads what stands behind them at first use.
IMPORTS = {
    "floor": {"trio": ("run",), "httpx": ("AsyncClient",), "attrs": ("frozen",), "cattrs": ("Converter",)},
    "subject": {"alloy": ("run", "stream", "model", "tool", "HTTP")},
}


class Clock:
    """The CPU and wall seconds of a block, and its instructions where callgrind counts them."""

    def __enter__(self) -> Clock:
        self._count("on")
        self.wall, self.cpu = time.perf_counter(), cpu_seconds()
        return self

    def __exit__(self, *exc: object) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, cpu_seconds() - self.cpu
        self._count("off")

    def _count(self, switch: str) -> None:
        if os.environ.get("BENCHMARK_CALLGRIND"):
            command = ["callgrind_control", "-i", switch, str(os.getpid())]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def repeat(call: Callable[[], Awaitable[object]], warm: int, times: int) -> Clock:
    for _ in range(warm):
        await call()
    with Clock() as clock:
        for _ in range(times):
            await call()
    return clock


WIRES = ("anthropic", "responses", "gemini", "ollama")  # besides Chat Completions, which has no prefix


async def loop(side: Any, warm: int = 5, times: int = 30, wire: str = "") -> float:
    clock = await repeat(lambda: side.loop(f"{wire}loop-10"), warm, times)
    return clock.cpu / (times * REQUESTS) * 1e6


async def instructions_loop(side: Any, wire: str = "") -> float:
    await loop(side, warm=2, times=2, wire=wire)
    return 2 * REQUESTS  # the units that the count is divided by


async def history(side: Any) -> float:
    clock = await repeat(lambda: side.loop("loop-10", history=1000), warm=1, times=3)
    return clock.cpu / (3 * REQUESTS) * 1e6


async def history_added(side: Any, messages: int = 1000, pairs: int = 10) -> float:
    await repeat(lambda: side.loop("loop-10", history=messages), warm=1, times=1)
    added = 0.0
    for _ in range(pairs):
        long = await repeat(lambda: side.loop("loop-10", history=messages), warm=0, times=1)
        short = await repeat(lambda: side.loop("loop-10"), warm=0, times=1)
        added += long.cpu - short.cpu
    return added / (pairs * REQUESTS * messages) * 1e9


async def instructions_history(side: Any) -> float:
    await repeat(lambda: side.loop("loop-10", history=1000), warm=1, times=2)
    return 2 * REQUESTS


async def stream(side: Any, warm: int = 2, times: int = 20, wire: str = "") -> float:
    async def call() -> None:
        deltas = await side.stream(f"{wire}stream-1000")
        assert deltas == 1000, f"{deltas} of 1000 deltas seen"

    clock = await repeat(call, warm, times)
    return clock.cpu / (times * 1000) * 1e6


async def instructions_stream(side: Any, wire: str = "") -> float:
    await stream(side, warm=1, times=1, wire=wire)
    return 1000


async def parallel(side: Any) -> float:
    clock = await repeat(lambda: side.parallel("parallel-8"), warm=1, times=5)
    return clock.wall / 5 * 1e3


async def batch(side: Any, count: int = 16, warm: int = 20, times: int = 300) -> float:
    async with side.batches(count) as run:
        return (await repeat(run, warm, times)).cpu / times * 1e6


async def agents(side: Any, count: int) -> float:
    import trio

    await side.loop("loop-10")
    with Clock() as clock:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(side.loop, "loop-10-l50")
    return clock.cpu / (count * REQUESTS) * 1e6


async def ask_all(agents: Sequence[Callable[[], Awaitable[str]]]) -> None:
    import trio

    async with trio.open_nursery() as nursery:
        for ask in agents:
            nursery.start_soon(ask)


async def servers(side: Any, count: int = 1000) -> float:
    await side.loop("loop-10")
    async with side.agents("loop-10-l50", count) as agents:
        with Clock() as clock:
            await ask_all(agents)
    return clock.cpu / (count * REQUESTS) * 1e6


async def servers_running(side: Any, count: int = 1000) -> float:
    await side.loop("loop-10")
    async with side.agents("loop-10-l50", count) as agents:
        gc.collect()
        before = resident_kib()
        await ask_all(agents)
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / count


async def servers_idle(side: Any, count: int = 2000) -> float:
    async with side.agents("loop-10", 20):
        gc.collect()
        before = resident_kib()
        async with side.agents("loop-10", count):
            gc.collect()
            return (resident_kib() - before) / count


async def slow_streams(side: Any, count: int = 100, deltas: int = 100) -> float:
    import trio

    async def one() -> None:
        seen = await side.stream(f"stream-{deltas}-p20")
        assert seen == deltas, f"{seen} of {deltas} deltas seen"

    await side.stream("stream-1000")
    with Clock() as clock:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(one)
    return clock.cpu / (count * deltas) * 1e6


async def p99(asks: Sequence[Callable[[], Awaitable[object]]], rounds: int) -> float:
    """Ask them in turn, so many times; the time that one answer in a hundred takes longer than, in µs."""
    seconds: list[float] = []
    for _ in range(rounds):
        for ask in asks:
            began = time.perf_counter()
            await ask()
            seconds.append(time.perf_counter() - began)
    return sorted(seconds)[len(seconds) * 99 // 100] * 1e6


async def answers(side: Any) -> float:
    async with side.blocked_agents(100) as asks:
        return await p99(asks, rounds=5)


async def process_answers(side: Any) -> float:
    async with side.processes(100) as asks:
        return await p99(asks, rounds=15)


async def idle(side: Any) -> float:
    kept = [side.make(number) for number in range(20)]
    gc.collect()
    before = resident_kib()
    kept += [side.make(number) for number in range(10_000)]
    gc.collect()
    return (resident_kib() - before) / 10_000


TEXT = "A line of a file that a tool has read.\n" * 8  # what is committed


async def commit(side: Any, times: int = 2000) -> float:
    """The median of the wall time of one commit."""
    costs: list[float] = []
    async with side.commits("process", 1) as (one,):
        for _ in range(times):
            begun = time.perf_counter()
            await one(TEXT)
            costs.append(time.perf_counter() - begun)
    return statistics.median(costs) * 1e6


async def commits_power(side: Any, sessions: int = 50, times: int = 40) -> float:
    import trio

    async def run(one: Callable[[str], Awaitable[object]]) -> None:
        for _ in range(times):
            await one(TEXT)

    async with side.commits("power", sessions) as commits:
        with Clock() as clock:
            async with trio.open_nursery() as nursery:
                for one in commits:
                    nursery.start_soon(run, one)
    return clock.wall / (sessions * times) * 1e6


def resident_kib() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize() // 1024


def imports(modules: Mapping[str, Sequence[str]]) -> float:
    before = cpu_seconds()
    for name, attributes in modules.items():
        module = importlib.import_module(name)
        for attribute in attributes:
            getattr(module, attribute)
    return (cpu_seconds() - before) * 1e3


MEASURES: dict[str, Callable[[Any], Awaitable[float]]] = {
    "loop": loop,
    "stream": stream,
    "parallel": parallel,
    "batch": batch,
    "history": history,
    "history_added": history_added,
    "instructions_history": instructions_history,
    "idle": idle,
    "instructions_loop": instructions_loop,
    "instructions_stream": instructions_stream,
    **{f"instructions_loop_{wire}": partial(instructions_loop, wire=f"{wire}/") for wire in WIRES},
    **{f"instructions_stream_{wire}": partial(instructions_stream, wire=f"{wire}/") for wire in WIRES},
    "servers": servers,
    "servers_running": servers_running,
    "servers_idle": servers_idle,
    "slow_streams": slow_streams,
    "answers": answers,
    "process_answers": process_answers,
    "commit": commit,
    "commits_power": commits_power,
    "agents_10": lambda side: agents(side, 10),
    "agents_300": lambda side: agents(side, 300),
    "agents_1000": lambda side: agents(side, 1000),
}


def main(name: str, measure: str, url: str) -> float:
    if measure == "import":
        return imports(IMPORTS[name])
    import trio

    opened: Callable[[str], AbstractAsyncContextManager[Any]] = importlib.import_module(name).opened

    async def take() -> float:
        async with opened(url) as side:
            return await MEASURES[measure](side)

    return trio.run(take)


if __name__ == "__main__":
    print("COST", main(*sys.argv[1:]))
