"""What a process holds: tasks, threads, children, sockets. A test compares before and after.

Children and sockets are seen where there is a /proc, as on Linux; elsewhere they are taken for none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
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
            tasks=trio.lowlevel.current_statistics().tasks_living if trio.lowlevel.in_trio_run() else 0,
            threads=sum(not thread.name.startswith("Trio thread") for thread in threading.enumerate()),
            children=frozenset(children_of(os.getpid())),
            sockets=sum(name.startswith("socket:") for name in _open_files()),
        )

    def beyond(self, before: Holdings) -> list[str]:
        """What there is more than before, in words."""
        return [
            f"{what}: {more} more"
            for what, more in (
                ("tasks", self.tasks - before.tasks),
                ("threads", self.threads - before.threads),
                ("child processes", len(self.children - before.children)),
                ("sockets", self.sockets - before.sockets),
            )
            if more > 0
        ]


class LeakCheck(trio.abc.Instrument):
    """Compares what is held now with what is held when `check` is called.

    It is an instrument, so that in a Trio test it also sees tasks that go on when the test has ended: system tasks,
    which belong to nobody. All others end with their nursery.
    """

    def __init__(self) -> None:
        self._before = Holdings.now()
        self._roots: list[trio.lowlevel.Task] = []  # those that nobody's nursery holds: the main task is the first
        self._main: trio.lowlevel.Task | None = None
        self._left: list[str] = []

    def task_spawned(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        nursery = task.parent_nursery
        if nursery is not None and nursery.parent_task is trio.lowlevel.current_root_task():
            self._main = self._main or task
            self._roots.append(task)

    def task_exited(self, task: trio.lowlevel.Task) -> None:
        """See `trio.abc.Instrument`."""
        if task in self._roots:
            self._roots.remove(task)
        if task is self._main:
            self._left = [other.name for other in self._roots if not other.name.startswith("<Trio")]

    def check(self) -> None:
        """Compare.

        Raises:
            AssertionError: there is more than at first.
        """
        found = [*(f"system task {name}" for name in self._left), *Holdings.now().beyond(self._before)]
        if found:
            raise AssertionError(f"the test has left behind: {'; '.join(found)}")


def children_of(pid: int) -> list[int]:
    """The processes that `pid` has started and that are still there, zombies included."""
    found: list[int] = []
    for task in _listed(f"/proc/{pid}/task"):
        try:
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
        except FileNotFoundError:  # a thread that has just ended
            continue
    return found


def _open_files() -> Iterator[str]:
    for entry in _listed("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{entry}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:  # not Linux
        return []
