"""Ratios of `alloy.otp` to raw Trio, measured in pairs in one process.

    python tests/benchmarks/actors.py [pairs]

Each figure is the median over interleaved pairs (7 unless told) of CPU time against CPU time; the
last column says what `processes` asks for. Ours and the floor take turns, so a busy machine hits both.
"""

from __future__ import annotations

import gc
import logging
import math
import statistics
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import attrs
import trio

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from alloy import otp

Measure = Callable[[], Awaitable[float]]

CALLS = 10_000
STARTS = 1_000
RESTARTS = 300
MANY = 10_000


@attrs.frozen
class Add(otp.Request[int]):
    """Count one up."""


class Counter(otp.Server):
    """The least server."""

    def __init__(self) -> None:
        self.count = 0

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> int:
        """Count."""
        self.count += 1
        return self.count

    async def handle_cast(self, message: Any) -> None:
        """Count."""
        self.count += 1

    async def handle_info(self, message: Any) -> None:
        """Count."""
        self.count += 1


def cpu() -> float:
    """Seconds of CPU time of this process."""
    return time.process_time()


async def with_counter(body: Callable[[otp.Ref], Awaitable[float]]) -> float:
    """Run `body` against one supervised counter."""
    sup = otp.Supervisor(children=[otp.ChildSpec(start=Counter, mailbox=10**9)])
    async with otp.open_system(sup) as root:
        (child,) = await otp.which_children(root)
        assert isinstance(child.ref, otp.Ref)
        return await body(child.ref)


async def our_calls(limit: float | None) -> float:
    """Round trips to one server."""

    async def body(ref: otp.Ref) -> float:
        request = Add()
        began = cpu()
        for _ in range(CALLS):
            await otp.call(ref, request, timeout=limit)
        return cpu() - began

    return await with_counter(body)


async def our_casts() -> float:
    """Casts, and one call to see them all handled."""

    async def body(ref: otp.Ref) -> float:
        began = cpu()
        for _ in range(CALLS):
            await otp.cast(ref, 1)
        assert await otp.call(ref, Add()) == CALLS + 1
        return cpu() - began

    return await with_counter(body)


async def our_sends() -> float:
    """Messages that nobody waits for, and one call to see them all handled."""

    async def body(ref: otp.Ref) -> float:
        began = cpu()
        for _ in range(CALLS):
            otp.send(ref, 1)
        assert await otp.call(ref, Add(), timeout=None) == CALLS + 1
        return cpu() - began

    return await with_counter(body)


async def two_channels() -> float:
    """Round trips over two standing memory channels."""
    ask, asked = trio.open_memory_channel[int](math.inf)
    answer, answered = trio.open_memory_channel[int](math.inf)

    async def echo() -> None:
        async for number in asked:
            await answer.send(number)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        began = cpu()
        for number in range(CALLS):
            await ask.send(number)
            await answered.receive()
        spent = cpu() - began
        nursery.cancel_scope.cancel()
    return spent


class HandMadeTree:
    """A supervisor by hand: each child a task with a scope, started and stopped with acknowledgement."""

    def __init__(self) -> None:
        self.exits_in, self.exits = trio.open_memory_channel[Any](math.inf)
        self.scopes: dict[int, trio.CancelScope] = {}

    async def run(self, task_status: trio.TaskStatus[None]) -> None:
        """Restart what has crashed."""
        async with trio.open_nursery() as self.nursery:
            task_status.started()
            async for spec in self.exits:
                await self.nursery.start(self.child, spec)

    async def child(self, spec: Any, task_status: trio.TaskStatus[None]) -> None:
        """One incarnation."""
        key, receive, on_init = spec
        with trio.CancelScope() as scope:
            self.scopes[key] = scope
            try:
                on_init()
                task_status.started()
                async for message in receive:
                    raise RuntimeError(message)
            except Exception:
                self.exits_in.send_nowait(spec)
                return
        del self.scopes[key]

    async def start_child(self, key: int, on_init: Callable[[], object] = lambda: None) -> trio.MemorySendChannel[str]:
        """Start and wait for init."""
        send, receive = trio.open_memory_channel[str](math.inf)
        await self.nursery.start(self.child, (key, receive, on_init))
        return send

    async def stop_child(self, key: int) -> None:
        """Stop and wait for the end."""
        self.scopes[key].cancel()
        while key in self.scopes:
            await trio.lowlevel.checkpoint()


async def with_tree(body: Callable[[HandMadeTree], Awaitable[float]]) -> float:
    """Run `body` against a hand-made supervisor."""
    async with trio.open_nursery() as nursery:
        tree = HandMadeTree()
        await nursery.start(tree.run)
        spent = await body(tree)
        nursery.cancel_scope.cancel()
    return spent


async def our_starts() -> float:
    """Supervised children, one after the other."""
    async with otp.open_system(otp.DynamicSupervisor()) as root:
        spec = otp.ChildSpec(start=Counter)
        began = cpu()
        for _ in range(STARTS):
            await otp.start_child(root, spec)
        return cpu() - began


async def tree_starts() -> float:
    """The same by hand."""

    async def body(tree: HandMadeTree) -> float:
        began = cpu()
        for key in range(STARTS):
            await tree.start_child(key)
        return cpu() - began

    return await with_tree(body)


RAISED_AT: list[float] = []


async def our_restarts() -> float:
    """From just before the crash to the next init: the median, in seconds."""
    up: list[float] = []

    class Crasher(otp.Server):
        async def init(self) -> None:
            up.append(time.perf_counter())

        async def handle_info(self, message: Any) -> None:
            RAISED_AT.append(time.perf_counter())
            raise RuntimeError("boom")

    RAISED_AT.clear()
    sup = otp.Supervisor(children=[otp.ChildSpec(start=Crasher)], max_restarts=10**9)
    async with otp.open_system(sup) as root:
        for number in range(RESTARTS):
            (child,) = await otp.which_children(root)
            assert isinstance(child.ref, otp.Ref)
            otp.send(child.ref, "crash")
            while len(up) < number + 2:
                await trio.lowlevel.checkpoint()
    return statistics.median(b - a for a, b in zip(RAISED_AT, up[1:], strict=False))


async def tree_restarts() -> float:
    """The same by hand."""
    up: list[float] = []
    began: list[float] = []

    async def body(tree: HandMadeTree) -> float:
        send = await tree.start_child(0, lambda: up.append(time.perf_counter()))
        for number in range(RESTARTS):
            began.append(time.perf_counter())
            send.send_nowait("crash")
            while len(up) < number + 2:
                await trio.lowlevel.checkpoint()
        return statistics.median(b - a for a, b in zip(began, up[1:], strict=False))

    return await with_tree(body)


async def our_many() -> float:
    """Many children up, one call each, and down in order."""
    began = cpu()
    specs = [otp.ChildSpec(id=number, start=Counter) for number in range(MANY)]
    async with otp.open_system(otp.Supervisor(children=specs)) as root:
        for child in await otp.which_children(root):
            assert isinstance(child.ref, otp.Ref)
            await otp.call(child.ref, Add())
    return cpu() - began


async def bare_many() -> float:
    """The same with a bare nursery and a channel echo each."""
    began = cpu()
    async with trio.open_nursery() as nursery:
        children = []
        for _ in range(MANY):
            ask, asked = trio.open_memory_channel[int](math.inf)
            answer, answered = trio.open_memory_channel[int](math.inf)

            async def echo(
                asked: trio.MemoryReceiveChannel[int] = asked, answer: trio.MemorySendChannel[int] = answer
            ) -> None:
                async for number in asked:
                    await answer.send(number)

            nursery.start_soon(echo)
            children.append((ask, answered))
        for ask, answered in children:
            await ask.send(1)
            await answered.receive()
        nursery.cancel_scope.cancel()
    return cpu() - began


async def idle_bytes() -> float:
    """Bytes that an idle supervised server takes."""
    async with otp.open_system(otp.DynamicSupervisor()) as root:
        spec = otp.ChildSpec(start=Counter)
        await otp.start_child(root, spec)
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(STARTS):
            await otp.start_child(root, spec)
        gc.collect()
        size = (tracemalloc.get_traced_memory()[0] - before) / STARTS
        tracemalloc.stop()
    return size


async def tree_of_a_thousand() -> float:
    """Seconds for `tree()` of 1,000 processes."""
    async with otp.open_system(otp.DynamicSupervisor()) as root:
        spec = otp.ChildSpec(start=Counter)
        for _ in range(1000):
            await otp.start_child(root, spec)
        began = cpu()
        for _ in range(10):
            otp.tree(root)
        return (cpu() - began) / 10


def ratio(ours: Measure, floor: Measure, pairs: int) -> float:
    """The median of floor / ours: how many times as much work we do in the same time."""
    ratios = []
    for _ in range(pairs):
        ratios.append(trio.run(floor) / trio.run(ours))
    return statistics.median(ratios)


def main(pairs: int = 7) -> None:
    """Print the table."""
    logging.getLogger("alloy.otp").setLevel(logging.CRITICAL)
    gc.disable()
    rows: list[tuple[str, str, str]] = []

    def add(name: str, ours: Measure, floor: Measure, target: str, *, inverse: bool = False) -> None:
        value = ratio(ours, floor, pairs)
        rows.append((name, f"{1 / value if inverse else value:.2f} x", target))
        print(f"{rows[-1][0]:<44} {rows[-1][1]:>10}   {rows[-1][2]}", flush=True)

    add("calls, no timeout, of two channels", lambda: our_calls(None), two_channels, ">= 1.2, aim 1.5")
    add("calls with a timeout, of two channels", lambda: our_calls(5.0), two_channels, ">= 1.0")
    add("casts, of two channels", our_casts, two_channels, ">= 1.5")
    add("sends, of two channels", our_sends, two_channels, ">= 2.5")
    add("supervised start, cost to a tree by hand", our_starts, tree_starts, "<= 2, aim 1", inverse=True)
    add("restart p50, cost to a tree by hand", our_restarts, tree_restarts, "<= 2, aim 1", inverse=True)
    add("10,000 up, called, down, cost to bare", our_many, bare_many, "<= 3", inverse=True)
    print(f"{'idle server':<44} {trio.run(idle_bytes) / 1024:>7.1f} KB   <= 8, aim 5")
    print(f"{'tree() of 1,000 processes':<44} {trio.run(tree_of_a_thousand) * 1000:>7.1f} ms   <= 10")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 7)
