"""`import alloy` is quick: what costs time, or is no dependency, loads at first use."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED_AT_FIRST_USE = (
    "httpx",
    "httpcore",
    "anyio",
    "sqlite3",
    "rich",
    "prompt_toolkit",
    "opentelemetry",
    "pytest",
    "asyncio",
    "alloy.otp",
    "alloy.agents",
    "alloy.teams",
    "alloy.stores",
    "alloy.testing",
    "alloy.cli",
)


def modules_after(code: str) -> set[str]:
    """Return the names of all modules that are loaded once `code` has run in a fresh interpreter."""
    program = f"import sys\n{code}\nprint(*sys.modules)"
    command = [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = {[p for p in sys.path if p]!r}\n{program}"]
    return set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import alloy",
        "import alloy; alloy.run, alloy.Agent, alloy.tool, alloy.AlloyError",
        "import alloy; alloy.run_sync('hello', model='scripted:echo')",
    ],
)
def test_importing_alloy_and_a_run_without_a_vendor_load_nothing_that_can_wait(code: str) -> None:
    assert modules_after(code).isdisjoint(LOADED_AT_FIRST_USE)


@pytest.mark.parametrize("package", ["otp", "llm", "tools", "loop"])
def test_a_layer_can_be_used_without_http(package: str) -> None:
    assert modules_after(f"import alloy.{package}").isdisjoint({"httpx", "httpcore", "sqlite3"})


def test_otp_loads_no_word_of_models() -> None:
    loaded = modules_after("import alloy.otp")

    assert not [
        name for name in loaded if name.startswith(("alloy.llm", "alloy.tools", "alloy.loop", "alloy.providers"))
    ]
