"""Tools that run in processes of their own, and so have to be in a module that those can import."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from typing import Any

import attrs
import trio

from alloy.llm.content import Image, ToolResult
from alloy.tools import Fatal, ToolError, ToolRetry, tool


@attrs.frozen
class Point:
    x: int


@tool(isolation="process")
def repeat(point: Point, times: int = 2) -> list[Point]:
    print("noise on stdout")
    os.write(1, b"noise on descriptor 1")
    print("noise on stderr", file=sys.stderr)
    return [point] * times


@tool(isolation="process")
async def wait_a_little() -> str:
    await trio.sleep(0.01)
    return "waited"


def plain(a: int) -> int:
    return a + 1


@tool(isolation="process")
def raises(kind: str) -> None:
    raise {
        "ToolError": ToolError("expected"),
        "ToolRetry": ToolRetry("another way"),
        "Fatal": Fatal("the end"),
        "ValueError": ValueError("unexpected"),
        "SystemExit": SystemExit(3),
    }[kind]


@tool(isolation="process")
def ends(how: str) -> None:
    match how:
        case "exit":
            os._exit(7)
        case "exit well":
            os._exit(0)
        case signal_name:
            os.kill(os.getpid(), signal.Signals[signal_name])


@tool(isolation="process")
def starts_others_and_hangs(mark: str) -> None:
    subprocess.Popen(["bash", "-c", f"sleep {mark} & sleep {mark} & (sleep {mark} & sleep {mark}) & wait"])
    time.sleep(60)


@tool(isolation="process")
def leaves_others(mark: str) -> str:
    subprocess.Popen(["sleep", mark])
    return "done"


@tool(isolation="process")
def returns(what: str) -> Any:
    return {
        "an object": object(),
        "much": "x" * 10_000_000,
        "an image": ToolResult([Image(b"\x00\xff", media_type="image/png")], details={"a": 1}, stop=True),
        "its standard input": sys.stdin.read() if what == "its standard input" else "",
        "its keys": [name for name in os.environ if "KEY" in name],
    }[what]


@tool(isolation="process")
def takes_what_cannot_be_sent(anything: object) -> None: ...


def nap() -> str:
    start = time.monotonic()
    time.sleep(0.1)
    return f"{start} {time.monotonic()}"
