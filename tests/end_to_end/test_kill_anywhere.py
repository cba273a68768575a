"""`kill -9` at any commit, in a real process: the next one goes on, and nothing is done twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import alloy
from alloy.loop.act import Acting
from alloy.loop.ledger import Ledger
from alloy.loop.recorder import Recorder
from alloy.loop.vetting import Vetting
from alloy.stores import MemoryStore, Store
from alloy.testing import CrashPoint, CrashPoints, Survivor
from alloy.tools import Job
from end_to_end import crashing
from end_to_end.crashing import SESSION, Effects, faults, made, told

KINDS = pytest.mark.parametrize("kind", ["sqlite", "jsonl"])
Live = Callable[..., int]


@contextmanager
def lives() -> Iterator[Live]:
    """A way to have lives lived, each in a process of its own, that says how it ended."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (Path(alloy.__file__).parents[1], Path(__file__).parents[1]))),
    }
    command = [sys.executable, crashing.__file__]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None

        def live(*about: Any) -> int:
            assert process.stdin is not None
            assert process.stdout is not None
            print(json.dumps(about, default=str), file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield live
        process.stdin.close()


async def entries(kind: str, path: Path) -> list[Any]:
    async with made(kind, path) as store:
        return [entry.record for entry in await store.entries(SESSION)]


async def killed_at_commits(kind: str, path: Path, step: int) -> None:
    """At one after the other, `step` apart, until the program is done before it is reached; then it goes on."""
    (path / "whole").mkdir(parents=True)
    point = CrashPoint(1)
    with lives() as live:
        assert live(kind, path / "whole", 0, False) == 0
        whole = json.loads((path / "whole" / "told").read_text())
        while True:
            here = path / f"{point.commit}{'+' if point.written else ''}"
            here.mkdir()
            ended = live(kind, here, point.commit, point.written)
            if ended == 0:
                break
            assert ended == -signal.SIGKILL, f"{point}: the process ended with {ended}"
            assert live(kind, here, 0, False) == 0, f"{point}: it cannot go on"
            found = json.loads((here / "told").read_text())
            assert not faults(found, whole, Effects(here / "effects").read(), await entries(kind, here)), str(point)
            for _ in range(step):
                point = point.next()
    assert point.commit > 40


@pytest.mark.works("`kill -9` at any commit, in a tree of agents with approvals: it goes on, and nothing is done twice")
@KINDS
async def test_killed_here_and_there_it_goes_on_and_does_nothing_twice(kind: str, tmp_path: Path) -> None:
    await killed_at_commits(kind, tmp_path / "x", 9)


@pytest.mark.slow
@KINDS
async def test_killed_at_any_commit_it_goes_on_and_does_nothing_twice(kind: str, tmp_path: Path) -> None:
    await killed_at_commits(kind, tmp_path / "x", 1)


@pytest.mark.slow
@KINDS
async def test_killed_at_every_few_commits_it_is_done_all_the_same(kind: str, tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    with lives() as live:
        live(kind, tmp_path / "whole", 0, False)
        whole = json.loads((tmp_path / "whole" / "told").read_text())
        for commits in range(7, 14):  # fewer may not do to announce anew what has to be run again
            here = tmp_path / str(commits)
            here.mkdir()
            count = 1
            while live(kind, here, commits, True) == -signal.SIGKILL:
                count += 1
                assert count < 50

            assert count > 3
            lines = Effects(here / "effects").read()
            found = faults(json.loads((here / "told").read_text()), whole, lines, await entries(kind, here))
            assert not found, f"killed after every {commits} commits"


# The same in this process, which costs less.


async def survivors(folder: Path, name: str, crashes: int) -> AsyncIterator[tuple[Survivor[Any], Effects]]:
    """What came of each crash, and what has happened to the world."""
    count = iter(range(1_000_000))
    effects = Effects(folder / "none")

    def store() -> Store:
        nonlocal effects
        effects = Effects(folder / str(next(count)))
        return MemoryStore()

    points: CrashPoints[Any] = alloy.testing.crash_points(
        lambda store: crashing.begin(store, effects, name),
        lambda store: crashing.go_on(store, effects, name),
        store=store,
        crashes=crashes,
    )
    async for survivor in points:
        yield survivor, effects


async def found_wrong(folder: Path, name: str = "root", crashes: int = 1) -> dict[str, list[str]]:
    """By where it crashed, what went wrong."""
    wrong: dict[str, list[str]] = {}
    whole: list[Any] = []
    count = 0
    async for survivor, effects in survivors(folder, name, crashes):
        count += 1
        whole = whole or told(survivor.result)
        async with survivor.store as store:
            records = [entry.record for entry in await store.entries(SESSION)]
            found = faults(told(survivor.result), whole, effects.read(), records)
            stored = await store.load(SESSION)
        if stored.messages != survivor.result.messages:
            found.append("the session has another conversation than the result")
        if found:
            wrong[", then ".join(map(str, survivor.points))] = found
    assert count > 20
    return wrong


async def test_a_store_that_dies_at_any_commit_is_gone_on_with(tmp_path: Path) -> None:
    assert await found_wrong(tmp_path) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "crashes"), [("leaf", 2), ("middle", 2)])
async def test_a_store_that_dies_again_while_it_is_gone_on_with_is_gone_on_with(
    name: str, crashes: int, tmp_path: Path
) -> None:
    assert await found_wrong(tmp_path, name, crashes) == {}


async def _not_written(self: Recorder, *_: Any) -> None:
    pass


async def _all_again(self: Vetting, calls: Any) -> None:
    tools = {tool.name: tool for tool in self.run.tools}
    self.jobs += [Job(call=call.call, tool=tools.get(call.call.name)) for call in calls]


@pytest.mark.parametrize(
    ("owner", "name", "mutant", "fault"),
    [
        (Recorder, "starts", _not_written, "was announced 0 times"),
        (Acting, "_attempt", lambda self, job: 1, "the same attempt again"),
        (Vetting, "vet_again", _all_again, "had finished, and ran again"),
        (Ledger, "find", lambda self, *_: None, "it is not done, but paused"),
    ],
)
async def test_it_would_be_noticed_if_something_were_wrong(
    owner: type, name: str, mutant: Any, fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner, name, mutant)

    wrong = [text for texts in (await found_wrong(tmp_path, "middle")).values() for text in texts]

    assert any(fault in text for text in wrong)
