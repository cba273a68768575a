"""A tool that tells what it did, for tests of what must not be done twice. Its fixtures are in `conftest`."""

from __future__ import annotations

from typing import Any

from alloy import Agent
from alloy.testing import ScriptedModel

RAN: list[str] = []


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    RAN.append(f"add {a} {b}")
    return a + b


def clerk(*steps: Any, **fields: Any) -> Agent:
    """An agent that can add."""
    return Agent(**{"model": ScriptedModel(*steps), "name": "clerk", "tools": [add]} | fields)
