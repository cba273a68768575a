"""What alloy costs over hand-written code, side by side: `python tests/benchmarks/run.py [MEASURE ...]`.

Both sides talk to the same fake server (`fake_llm.mjs`, needs Node) and run in turn, each time in a
process of its own, on one core, with the server on another. A row is the median of each side and of
the ratios pair by pair: only the ratio means something on another machine.

`floor` is a hand-written loop on httpx.AsyncClient, trio and the same JSON library (`floor.py`); `alloy` is the
public API (`subject.py`); many at once compare with the same loop over a free list of connections
(`freelist.py`), and the commits of a store with bare inserts (`inserts.py`), in the folder for temporary
files, which should be on a disk. Instructions are counted by callgrind (Debian: valgrind): hardly moved
by a busy machine, but without the kernel's work.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
CORES = sorted(os.sched_getaffinity(0))
CLIENT_CORE, SERVER_CORE = CORES[0], CORES[-1]


@dataclass(frozen=True)
class Row:
    """One line of the report.

    Attributes:
        measure: what `measure.py` takes of the subject.
        against: what it takes of the other side; by default the same.
        other: the other side; `subject` compares alloy with itself.
        pairs: at most so many, for what takes long or hardly varies.
        json: the JSON library of both sides, see `jsons.py`.
    """

    title: str
    measure: str
    against: str = ""
    other: str = "floor"
    pairs: int = 99
    json: str = ""


STAGES: dict[str, list[Row]] = {
    "instructions": [
        Row("loop-10: instructions per request", "instructions_loop", pairs=3),
        Row("stream-1000: instructions per delta", "instructions_stream", pairs=3),
    ],
    "wires": [
        row
        for wire in ("anthropic", "responses", "gemini", "ollama")
        for row in (
            Row(f"{wire}, loop-10: instructions per request", f"instructions_loop_{wire}", pairs=3),
            Row(f"{wire}, stream-1000: instructions per delta", f"instructions_stream_{wire}", pairs=3),
        )
    ],
    "fast": [
        Row("with msgspec, loop-10: instructions per request", "instructions_loop", pairs=3, json="msgspec"),
        Row("with msgspec, stream-1000: instructions per delta", "instructions_stream", pairs=3, json="msgspec"),
    ],
    "loop": [Row("loop-10: CPU µs per request", "loop")],
    "stream": [Row("stream-1000, one burst: CPU µs per delta", "stream")],
    "parallel": [Row("8 tools of 100 ms: wall ms", "parallel")],
    "history": [
        Row("1,000 earlier messages: CPU µs per request", "history"),
        Row("added CPU ns per earlier message and request", "history_added"),
        Row("1,000 earlier messages: instructions per request", "instructions_history", pairs=1),
    ],
    "batch": [Row("16 tool calls of one answer, against their functions in a nursery: CPU µs per batch", "batch")],
    "import": [Row("import alloy, run and HTTP, against trio + httpx + attrs + cattrs: CPU ms", "import")],
    "idle": [Row("idle agent, against two dicts: KiB", "idle")],
    "agents": [
        Row("10 agents at once: CPU µs per request", "agents_10"),
        Row("300 agents at once: CPU µs per request", "agents_300"),
        Row("alloy, 300 agents against 10: CPU µs per request", "agents_300", "agents_10", "subject"),
        Row("alloy, 1,000 agents against 10: CPU µs per request", "agents_1000", "agents_10", "subject"),
    ],
    "servers": [
        Row(
            "1,000 agent servers at once, against loops on a free list: CPU µs per request", "servers", other="freelist"
        ),
        Row("the same: KiB of each while it runs", "servers_running", other="freelist", pairs=3),
        Row("alloy, idle agent server against an Agent: KiB", "servers_idle", "idle", "subject", pairs=3),
    ],
    "slow streams": [
        Row("100 streams at once, a delta each 20 ms: CPU µs per delta", "slow_streams", other="freelist"),
    ],
    "answers": [
        Row(
            "alloy, 100 agents in blocking tools, against 100 idle processes: p99 of an answer in µs",
            "answers",
            "process_answers",
            "subject",
            pairs=3,
        ),
    ],
    "store": [
        Row("a commit that survives the process, against a bare insert: p50 wall µs", "commit", other="inserts"),
        Row(
            "50 sessions that survive a power cut, against one insert per fsync: wall µs per commit",
            "commits_power",
            other="inserts",
        ),
    ],
}


@contextmanager
def server() -> Iterator[str]:
    """Run the fake server on a core of its own; yields its URL."""
    command = ["node", str(HERE / "fake_llm.mjs"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            os.sched_setaffinity(process.pid, {SERVER_CORE})
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().split()[1]}"
        finally:
            process.terminate()


def cost(side: str, measure: str, url: str, json: str) -> float:
    """Take one measure in a process of its own.

    Raises:
        RuntimeError: it failed; the message is what it wrote.
    """
    with tempfile.TemporaryDirectory() as folder:
        callgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        counted = measure.startswith("instructions")
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
        environment["BENCHMARK_JSON"] = json
        if counted:
            environment["BENCHMARK_CALLGRIND"] = "1"
        done = subprocess.run(
            [*(callgrind if counted else []), sys.executable, str(HERE / "measure.py"), side, measure, url],
            env=environment,
            capture_output=True,
            text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, {CLIENT_CORE}),
        )
        found = re.search(r"^COST (\S+)$", done.stdout, re.M)
        if done.returncode or not found:
            raise RuntimeError(f"{side} {measure} failed:\n{(done.stderr or done.stdout)[-2000:]}")
        return instructions(Path(folder)) / float(found[1]) if counted else float(found[1])


def instructions(folder: Path) -> int:
    """Return the count of the one process of several that was counted."""
    texts = [path.read_text() for path in folder.iterdir()]
    return max(int(count) for text in texts for count in re.findall(r"^(?:totals|summary): (\d+)", text, re.M))


def compare(row: Row, url: str, pairs: int) -> str:
    """Run both sides in turn and return the line of the table."""
    theirs, ours = [], []
    for number in range(min(pairs, row.pairs)):
        sides = [(theirs, row.other, row.against or row.measure), (ours, "subject", row.measure)]
        for costs, side, measure in sides if number % 2 == 0 else reversed(sides):
            costs.append(cost(side, measure, url, row.json))
    ratios = [ours_ / theirs_ for ours_, theirs_ in zip(ours, theirs, strict=True)]
    figures = (statistics.median(theirs), statistics.median(ours))
    shown = " | ".join(f"{figure:,.0f}" if figure >= 100 else f"{figure:.3g}" for figure in figures)
    spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return f"| {row.title} | {shown} | **{statistics.median(ratios):.2f}** | {spread} | {len(ratios)} |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="MEASURE", help=f"of {', '.join(STAGES)}; by default all")
    parser.add_argument("--pairs", type=int, default=7, help="runs of each side (default: %(default)s)")
    given = parser.parse_args()
    if unknown := set(given.stages) - set(STAGES):
        parser.error(f"no measure is called {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")
    if not shutil.which("node"):
        print("needs Node for the fake server (Debian: apt-get install nodejs); nothing was measured", file=sys.stderr)
        return 1
    stages = [*(given.stages or STAGES)]
    if (counted := {"instructions", "wires", "fast"}) & set(stages) and not shutil.which("valgrind"):
        print("instructions are left out: they need valgrind (Debian: apt-get install valgrind)", file=sys.stderr)
        stages = [stage for stage in stages if stage not in counted]
    if "fast" in stages and not importlib.util.find_spec("msgspec"):
        print("msgspec is left out: it is not installed", file=sys.stderr)
        stages.remove("fast")
    print("| measure | floor | alloy | ratio | from – to | pairs |\n|---|---|---|---|---|---|", flush=True)
    with server() as url:
        for row in (row for stage in stages for row in STAGES[stage]):
            print(compare(row, url, given.pairs), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
