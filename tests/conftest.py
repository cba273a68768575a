"""What every test has: no foreign network, no vendor's keys, and hypothesis without a deadline."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

from alloy.stores import MemoryStore
from alloy.testing import offline

pytest_plugins = ["alloy.testing.plugin"]  # where alloy is installed it is there already, under the same name

# `nox -s tests_httpx2`: the maintained fork has the same API. Whoever imports httpx gets it, unknowing.
if (fork := os.environ.get("ALLOY_HTTPX", "httpx")) != "httpx":
    sys.modules["httpx"] = importlib.import_module(fork)
    sys.modules["httpcore"] = importlib.import_module(fork.replace("httpx", "httpcore"))

offline().__enter__()  # to the end of this process
for variable in list(os.environ):  # the developer's own keys and proxies
    if variable.endswith(("_API_KEY", "_BASE_URL", "OLLAMA_HOST")) or variable.lower().endswith("_proxy"):
        del os.environ[variable]

# The machine is shared: how long one example takes says nothing.
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", settings.get_profile("dev"), derandomize=True, database=None, print_blob=True)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_report_header() -> str:
    """Say on which HTTP library the tests run."""
    httpx = importlib.import_module("httpx")
    return f"http: {httpx.__name__} {httpx.__version__}"


@pytest.fixture
def nothing_ran() -> None:
    """The tools of `sessions` have done nothing yet."""
    from sessions import RAN

    RAN.clear()


@pytest.fixture
async def store(nothing_ran: None) -> AsyncIterator[MemoryStore]:
    """A store, open, with nothing in it."""
    async with MemoryStore() as store:
        yield store
