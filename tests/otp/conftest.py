"""A scenario that hangs ends the session and says which it was."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def alarm(request: pytest.FixtureRequest) -> Iterator[None]:
    """In real seconds: virtual time stands still where nothing is due any more.

    It cannot fail the one scenario alone: a task that shields itself would go on, and Trio with it.
    """
    if not hasattr(signal, "SIGALRM"):
        yield
        return

    def ring(number: int, frame: object) -> None:
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(f"\n{request.node.nodeid} hangs", file=sys.stderr, flush=True)
            faulthandler.dump_traceback(sys.stderr)
            os._exit(1)

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(600 if request.node.get_closest_marker("slow") else 30)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
