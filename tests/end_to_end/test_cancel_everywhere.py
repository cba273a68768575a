"""A run, cancelled at every single step that it takes: nothing is left, and the history can be sent."""

from __future__ import annotations

import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio

import alloy
from alloy import Status
from alloy.testing import ScriptedModel, calls, cuts, says
from alloy.testing.leaks import Holdings
from alloy.tools import core_tools
from end_to_end.sendable import assert_sendable
from end_to_end.vendors import VENDORS, vendor


class CancelAt(trio.abc.Instrument):
    """Cancels a scope just before the step with this number; counts all steps."""

    def __init__(self, step: int | None, scope: trio.CancelScope) -> None:
        self.step = step
        self.scope = scope
        self.steps = 0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.steps += 1
        if self.steps == self.step:
            self.scope.cancel()


def run_cancelled_at(step: int | None, job: Callable[[list[Any]], Awaitable[None]]) -> int:
    """Run a job, cancel it at a step, and look what is left; returns how many steps there were."""

    async def main() -> int:
        before = Holdings.now()
        seen: list[Any] = []
        with trio.CancelScope() as scope:
            instrument = CancelAt(step, scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                await job(seen)
            finally:
                trio.lowlevel.remove_instrument(instrument)
        give_up = time.monotonic() + 5  # what the kernel has yet to do: reap, close
        # More than before: what an earlier step has left to the kernel may end while this one runs.
        while (left := Holdings.now().beyond(before)) and time.monotonic() < give_up:
            await trio.lowlevel.checkpoint()
        assert not left, f"cancelled at step {step}"
        for stream in seen:
            assert_sendable(stream.snapshot().messages)
        return instrument.steps

    return trio.run(main)


def scripted_job(folder: Path) -> Callable[[list[Any]], Awaitable[None]]:
    """Thinking, a batch of files, a shell and a blocking tool, an answer that breaks off and comes anew."""

    def slow_add(a: int, b: int) -> int:
        """Add in a thread."""
        return a + b

    @alloy.tool(concurrent=True)
    async def nap() -> str:
        """Sleep a little."""
        await trio.sleep(0.001)
        return "rested"

    async def job(seen: list[Any]) -> None:
        model = ScriptedModel(
            [
                says("on it", thinking="hm"),
                calls("nap"),
                calls("nap"),
                calls("write_file", path="a.txt", content="old\n"),
                calls("edit_file", path="a.txt", old="old", new="new"),
                calls("bash", command="cat a.txt; sleep 0.01 & echo $!"),
                calls("slow_add", a=1, b=2),
            ],
            cuts("hal"),
            says("done"),
        )
        retry = alloy.Retry(on_partial="restart", base=0.0)
        tools = [nap, slow_add, *core_tools()]
        async with alloy.stream("go", model=model, tools=tools, retry=retry, working_directory=folder) as stream:
            seen.append(stream)
            async for _ in stream:
                pass
            assert (await stream.result()).status is Status.COMPLETED

    return job


async def paused_job(seen: list[Any]) -> None:
    """A member asks another, whose calls need approval and whose tool has a question; no desk keeps anything."""

    @alloy.tool(approve=True)
    async def paint(ctx: alloy.ToolContext) -> str:
        """Paint."""
        return await ctx.ask("which colour?")

    inner = ScriptedModel([calls("paint"), calls("paint")], says("painted"), name="inner")
    outer = ScriptedModel(calls("inner", prompt="paint"), says("done"), name="outer")
    members = {
        "inner": alloy.Agent(model=inner, tools=[paint]),
        "outer": alloy.Agent(model=outer, tools=[alloy.as_tool("inner")]),
    }
    team = alloy.Team(members, drain=0.0)
    try:
        async with team, team["outer"].stream_chat("go") as stream:
            seen.append(stream)
            async for event in stream:
                if isinstance(event, alloy.ApprovalRequested):
                    if event.pending.kind == "approval":
                        await team["outer"].decide(event.pending.id, alloy.Approve())
                    else:
                        await team["inner"].decide(event.pending.id, alloy.Answer("red"))
            assert (await stream.result()).text == "done"
    finally:
        assert [ref._state.desk.slots for ref in team.values()] == [{}, {}]


def http_job(name: str, folder: Path) -> Callable[[list[Any]], Awaitable[None]]:
    """Two turns at a vendor on a real socket, with a file read in between."""

    async def job(seen: list[Any]) -> None:
        batch = [("c1", "read_file", {"path": "a.txt"}), ("c2", "read_file", {"path": "a.txt"})]
        async with vendor(name, batch, "so|it|is") as server:
            model = alloy.model(VENDORS[name][3], base_url=server.url + ("/v1" * (name != "anthropic")), api_key="k")
            tools = core_tools()
            async with alloy.stream("go", model=model, tools=tools, working_directory=folder) as stream:
                seen.append(stream)
                async for _ in stream:
                    pass

    return job


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("hello\n")
    return tmp_path


def steps_to_try(total: int, *, exhaustive: bool) -> range:
    """All of them, or every so many that about forty are tried."""
    return range(1, total + 1, 1 if exhaustive else max(1, total // 40))


@pytest.mark.works("Cancel anywhere: no task, thread, process or socket is left, and the history is whole")
@pytest.mark.parametrize("exhaustive", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_scripted_run_can_be_cancelled_at_every_step(folder: Path, exhaustive: bool) -> None:
    total = run_cancelled_at(None, scripted_job(folder))
    assert total > 100

    for step in steps_to_try(total, exhaustive=exhaustive):
        run_cancelled_at(step, scripted_job(folder))
        assert not [path for path in folder.iterdir() if path.name not in ("a.txt", ".alloy")]
        assert (folder / "a.txt").read_text() in ("hello\n", "old\n", "new\n")


@pytest.mark.parametrize("exhaustive", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_run_that_waits_for_decisions_can_be_cancelled_at_every_step(exhaustive: bool) -> None:
    total = run_cancelled_at(None, paused_job)
    assert total > 100

    for step in steps_to_try(total, exhaustive=exhaustive):
        run_cancelled_at(step, paused_job)


@pytest.mark.parametrize("exhaustive", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", VENDORS)
def test_a_run_over_http_can_be_cancelled_at_every_step(name: str, folder: Path, exhaustive: bool) -> None:
    total = run_cancelled_at(None, http_job(name, folder))
    assert total > 50

    for step in steps_to_try(total, exhaustive=exhaustive):
        run_cancelled_at(step, http_job(name, folder))


@pytest.mark.parametrize("cancels", [100, pytest.param(1_000, marks=pytest.mark.slow)])
async def test_requests_cancelled_at_random_use_up_nothing(cancels: int) -> None:
    draw = random.Random(7)
    before = Holdings.now()
    async with vendor("anthropic", *["so|it|is"] * (cancels + 1)) as server, alloy.HTTP() as http:
        model = alloy.model("anthropic:claude-test", base_url=server.url, api_key="k")
        cut = 0
        for _ in range(cancels):
            with trio.CancelScope() as scope:
                trio.lowlevel.add_instrument(instrument := CancelAt(draw.randint(1, 25), scope))
                await alloy.run("x", model=model, http=http)
            trio.lowlevel.remove_instrument(instrument)
            cut += scope.cancelled_caught
        result = await alloy.run("x", model=model, http=http)
    while Holdings.now() != before:
        await trio.lowlevel.checkpoint()

    assert cut > cancels // 3
    assert result.text == "soitis"
