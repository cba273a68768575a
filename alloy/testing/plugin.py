"""Fixtures for pytest, there as soon as alloy is installed: `clock`, `no_leaks`, `offline` and `crash_points`.

It loads with every run of pytest, so it imports nothing until a fixture is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trio.testing import MockClock

    from alloy.testing.crashing import CrashPoints
    from alloy.testing.leaks import LeakCheck


@pytest.fixture
def clock() -> MockClock:
    """Time that jumps: whatever waits is woken at once, in the right order, and an hour costs nothing.

    Needs pytest-trio, and a test that waits for no real thing, such as another process.
    """
    from trio.testing import MockClock

    return MockClock(autojump_threshold=0.0)


@pytest.fixture
def no_leaks() -> Iterator[LeakCheck]:
    """Fail a test that leaves behind a thread, a child process, a socket, or a task that nobody's nursery holds."""
    from alloy.testing.leaks import LeakCheck

    check = LeakCheck()
    yield check
    check.check()


@pytest.fixture
def offline() -> Iterator[None]:
    """Fail a test that tries to reach another machine; see `alloy.testing.offline`."""
    from alloy.testing.network import offline

    with offline():
        yield


@pytest.fixture
def crash_points() -> Callable[..., CrashPoints[Any]]:
    """Crash a program at every point where it can, and let it go on; see `alloy.testing.crash_points`."""
    from alloy.testing.crashing import crash_points

    return crash_points
