"""Every example runs to its end, offline and without a key, and is short enough to be read at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
LAST_LINES = {
    "approvals": "- emptied what is older than 30 days\n- All but the thesis is gone.\nYour folder is clean.",
    "coding_agent": "greet.py says hello now.",
    "crash_and_recover": "restarts: 1",
    "http_service": "Good morning.",
    "team": "5 requests, files: ['main.py', 'notes.md']",
}


def run_offline(example: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), environment.get("PYTHONPATH")]))
    command = [sys.executable, "-W", "error", str(ROOT / "tests/offline.py"), str(example)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)


def test_there_are_ten() -> None:
    assert len(EXAMPLES) == 10
    assert set(LAST_LINES) <= {example.stem for example in EXAMPLES}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_can_be_read_at_once(example: Path) -> None:
    assert len(example.read_text(encoding="utf-8").splitlines()) <= 60


@pytest.mark.works("Ten examples, each of at most 60 lines, which run offline")
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_offline_to_its_end(example: Path, tmp_path: Path) -> None:
    done = run_offline(example, tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith(LAST_LINES.get(example.stem, ""))
    assert list(tmp_path.iterdir()) == []
