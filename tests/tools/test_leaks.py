"""Nothing outlives a batch, wherever it is cut off."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest
import trio

from alloy.llm.content import Outcome
from alloy.tools import Executor, bash, edit_file, read_file, tool, write_file
from tools.helpers import batch_of, call, names, run, wait_until
from tools.isolated import repeat


@tool(concurrent=True)
async def sleeps() -> None:
    await trio.sleep(0.02)


@tool(concurrent=True)
def in_a_thread() -> None:
    time.sleep(0.02)


def left_over(executor: Executor) -> dict[str, int]:
    """What there is of all that must not be left."""
    children = [task / "children" for task in Path("/proc/self/task").iterdir()]
    return {
        "tasks": trio.lowlevel.current_statistics().tasks_living,
        "files": len(os.listdir("/proc/self/fd")),
        "processes": sum(len(file.read_text().split()) for file in children if file.exists()),
        "threads": executor.stuck_threads,
    }


async def check_cuts(directory: Path, times: int) -> None:
    """Cut a batch off at a random moment, again and again."""
    chance = random.Random(1)
    calls = [
        call("1", "write_file", path="a.txt", content="a" * 100_000),
        call("2", "bash", command="cat a.txt; sleep 0.01 & echo done"),
        call("3", "read_file", path="a.txt"),
        call("4", "sleeps"),
        call("5", "in_a_thread"),
        call("6", "edit_file", path="a.txt", old="a" * 100_000, new="b"),
        call("7", "repeat", point={"x": 1}),
    ]
    executor = Executor()
    await run(batch_of([repeat], calls[-1]))  # loads what is loaded once
    before = left_over(executor)
    for _ in range(times):
        batch = batch_of([bash, edit_file, in_a_thread, read_file, repeat, sleeps, write_file], *calls)

        with trio.move_on_after(chance.uniform(0, 0.4)):
            await run(batch, executor=executor, working_directory=directory, spill=False)

        assert {result.outcome for result in batch.results()} <= {Outcome.OK, Outcome.CANCELLED, Outcome.NOT_STARTED}
        assert names(directory) in ([], ["a.txt"])
        await wait_until(lambda: left_over(executor) == before)


async def test_a_batch_cut_off_anywhere_leaves_nothing(tmp_path: Path) -> None:
    await check_cuts(tmp_path, 5)


@pytest.mark.slow
async def test_a_batch_cut_off_anywhere_leaves_nothing_every_time(tmp_path: Path) -> None:
    await check_cuts(tmp_path, 200)
