"""A program with an agent on a store is killed at any commit, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import alloy

DRIVER = Path(__file__).parent / "durable_driver.py"
COMMITS = 44  # of the whole job, when nobody kills it
NAMES = ("one", "two", "three", "four", "five", "six")


def started(folder: Path, when: str = "after", at: int = 0) -> subprocess.CompletedProcess[str]:
    """Run the program to its end, whichever that is."""
    return subprocess.run(
        [sys.executable, str(DRIVER), str(folder), when, str(at)],
        env={**os.environ, "PYTHONPATH": str(Path(alloy.__file__).parent.parent)},
        capture_output=True,
        text=True,
        timeout=60,
    )


def lines(folder: Path, name: str) -> list[str]:
    file = folder / name
    return file.read_text().split("\n")[:-1] if file.exists() else []


def finished(folder: Path) -> dict[str, Any]:
    """What the program says that is started again, until it is done."""
    done = started(folder)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check(folder: Path, said: dict[str, Any]) -> None:
    """Everything that was promised is kept."""
    job = said["job"]
    ran = Counter(lines(folder, "ran"))
    assert all(count == 1 for count in ran.values()), ran  # not even the one of which nobody knows
    assert (job["status"], job["text"], said["next"]) == ("completed", "all is done", "all is done")
    assert [call for call, _, _ in job["results"]] == ["c1", "c2", "c3", "r1", "c5", "c6"]
    unknown = [call for call, outcome, _ in job["results"] if outcome == "interrupted"]
    assert len(unknown) <= 1
    for (call, outcome, text), name in zip(
        job["results"], ("one", "two", "three", "middle", "five", "six"), strict=True
    ):
        if call not in unknown:
            assert (outcome, text) == ("ok", f"{name} is done")
    assert job["said"][0] == "do it"
    if lines(folder, "steered"):
        assert "quickly, please" in job["said"]
    ids: dict[str, set[str]] = {}
    for line in lines(folder, "pending"):
        call, id = line.split()
        ids.setdefault(call, set()).add(id)
    assert all(len(of_call) == 1 for of_call in ids.values())  # an approval keeps its id


def test_a_program_that_nobody_kills_makes_all_commits(tmp_path: Path) -> None:
    said = finished(tmp_path)

    check(tmp_path, said)
    assert Counter(lines(tmp_path, "ran")) == Counter(NAMES)
    assert said["commits"] == COMMITS


@pytest.mark.works("`kill -9` at any commit: the next program goes on, and no tool that has finished runs again")
@pytest.mark.parametrize(("when", "at"), [("after", 2), ("before", 9), ("after", 16), ("before", 24), ("after", 30)])
def test_a_program_that_is_killed_goes_on_when_it_is_started_again(tmp_path: Path, when: str, at: int) -> None:
    died = started(tmp_path, when, at)
    assert died.returncode == -signal.SIGKILL, died.stderr

    check(tmp_path, finished(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, COMMITS + 1))
def test_a_program_may_be_killed_at_every_commit(tmp_path: Path, at: int) -> None:
    died = started(tmp_path, "before", at)  # with all that was done since the commit before
    assert died.returncode == -signal.SIGKILL, died.stderr

    check(tmp_path, finished(tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("every", [3, 7])
def test_a_program_may_be_killed_again_and_again(tmp_path: Path, every: int) -> None:
    for _ in range(2 * COMMITS):
        done = started(tmp_path, "after", every)
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr

    ran = Counter(lines(tmp_path, "ran"))
    assert all(count == 1 for count in ran.values()), ran
    assert finished(tmp_path)["job"]["status"] == "completed"
