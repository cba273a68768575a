"""The benchmarks run: their figures mean nothing here, but a broken one should not lie about for a release."""

from __future__ import annotations

import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path

import pytest

RUN = Path(__file__).parent / "benchmarks/run.py"


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="the fake server needs node")
@pytest.mark.parametrize("measure", ["loop", "stream", "parallel", "batch", "import", "idle", "servers", "store"])
def test_a_measure_gives_a_row_with_a_ratio(measure: str) -> None:
    done = run(measure, "--pairs", "1")

    assert done.returncode == 0, done.stderr
    ratio = done.stdout.splitlines()[-1].split("|")[4].strip(" *")
    assert float(ratio) > 0


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("node"), reason="the fake server needs node")
@pytest.mark.parametrize("wire", ["anthropic", "responses", "gemini", "ollama"])
def test_both_sides_speak_each_wire(wire: str) -> None:
    measures = [f"instructions_{task}_{wire}" for task in ("loop", "stream")]  # which are counted by callgrind only
    command = ["node", str(RUN.parent / "fake_llm.mjs"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = f"http://127.0.0.1:{server.stdout.readline().split()[1]}"
            for side, measure in product(("floor", "subject"), measures):
                done = subprocess.run(
                    [sys.executable, str(RUN.parent / "measure.py"), side, measure, url], capture_output=True, text=True
                )

                assert "COST" in done.stdout, done.stderr
        finally:
            server.terminate()


def test_an_unknown_measure_is_refused_with_the_known_ones() -> None:
    done = run("speed")

    assert done.returncode == 2
    assert "no measure is called speed; there are instructions, wires, fast, loop, stream" in done.stderr
