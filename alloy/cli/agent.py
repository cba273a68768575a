"""The agent that the words of a command line describe."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import alloy
from alloy.errors import closest_of
from alloy.llm.provider import Model
from alloy.tools import Tool, core_tools

TOOLS: Mapping[str, Tool] = {tool.name: tool for tool in core_tools()}

CHANGING = ("write_file", "edit_file", "bash")  # those that do more than look


def model_for(options: argparse.Namespace) -> Model:
    """The model.

    Raises:
        AlloyError, ValueError: it cannot be asked.
    """
    return alloy.model(options.model, base_url=options.base_url)


def agent_for(options: argparse.Namespace, model: Model) -> alloy.Agent[Any]:
    """The agent.

    Raises:
        ValueError: something does not fit together.
    """
    changes: dict[str, Any] = {"max_turns": options.max_turns} if options.max_turns is not None else {}
    agent: alloy.Agent[Any] = alloy.Agent(
        model=model,
        system_prompt=options.system,
        tools=[TOOLS[name] for name in options.tools],
        until_tool=getattr(options, "until_tool", None),
        discover=not options.no_discover,
    )
    return agent.evolve(**changes)


def tool_names(text: str) -> list[str]:
    """The names in a list with commas.

    Raises:
        ArgumentTypeError: there is no such tool; names the closest.
    """
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    for name in wanted:
        if name not in TOOLS:
            hint = closest_of(name, TOOLS)
            raise argparse.ArgumentTypeError(f"unknown tool {name!r}{hint}; there are {', '.join(TOOLS)}")
    return wanted
