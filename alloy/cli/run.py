"""`alloy run`: one prompt, one answer."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import alloy
from alloy.cli.render import Renderer
from alloy.loop.result import Result, Status
from alloy.tools import core_tools

COMPLETED, FAILED, LIMITED = 0, 1, 3


async def command(options: argparse.Namespace) -> int:
    """Ask, print, and return the exit code.

    Raises:
        AlloyError, ValueError, TypeError: as `alloy.stream` on entering.
    """
    model = alloy.model(options.model, base_url=options.base_url) if options.base_url else options.model
    offered = {tool.name: tool for tool in core_tools()}
    changes: dict[str, Any] = {"max_turns": options.max_turns} if options.max_turns is not None else {}
    agent: alloy.Agent[Any] = alloy.Agent(
        model=model,
        system_prompt=options.system,
        tools=[offered[name] for name in options.tools],
        until_tool=options.until_tool,
        discover=not options.no_discover,
    )
    show = _print_json if options.json else Renderer().show
    async with alloy.stream(_prompt(options.prompt), agent.evolve(**changes)) as stream:
        async for event in stream:
            show(event)
        result = stream.snapshot()
    return exit_code(result)


def exit_code(result: Result[Any]) -> int:
    """The number that tells a shell how the run ended."""
    match result.status:
        case Status.COMPLETED:
            return COMPLETED
        case Status.ERROR:
            return FAILED
        case _:
            return LIMITED


def _prompt(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if given is None and sys.stdin.isatty():
        raise ValueError("there is no prompt; give it as an argument, or on standard input")
    return sys.stdin.read()


def _print_json(event: alloy.Event) -> None:
    print(json.dumps(event.to_json(), ensure_ascii=False), flush=True)
