"""What a process holds: tasks, threads, children, sockets. A test compares before and after."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import attrs
import trio


@attrs.frozen
class Holdings:
    """Counts of what must not be left behind."""

    tasks: int
    threads: int
    children: frozenset[int]
    sockets: int

    @classmethod
    def now(cls) -> Holdings:
        """Count. Threads that Trio keeps for reuse do not count: they hold nothing."""
        return cls(
            tasks=trio.lowlevel.current_statistics().tasks_living,
            threads=sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate()),
            children=frozenset(children_of(os.getpid())),
            sockets=sum(name.startswith("socket:") for name in _open_files()),
        )


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that are still there, zombies included."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            found += map(int, (task / "children").read_text().split())
        except FileNotFoundError:  # a thread that has just ended
            continue
    return found


def _open_files() -> list[str]:
    names: list[str] = []
    for entry in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{entry}"))
        except FileNotFoundError:  # the descriptor of the listing itself
            continue
    return names
