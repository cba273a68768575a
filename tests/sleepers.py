"""Agents that sleep, and a model that crashes whoever asks it."""

from __future__ import annotations

from typing import Any

import trio

import alloy
from alloy import Agent
from alloy.testing import ScriptedModel


async def nap(seconds: float = 60.0) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


def agent(*steps: Any, loop: bool = False, **fields: Any) -> Agent:
    """An agent that can take a nap."""
    return Agent(model=ScriptedModel(*steps, loop=loop), **{"tools": [nap], **fields})


class Bug(Exception):
    """A programming error."""


def buggy(request: alloy.Request) -> Any:
    """A step of a script that is none."""
    raise Bug("in the provider")
