"""`alloy demo`: an agent at work, offline: a scripted model, real file tools, a temporary folder."""

from __future__ import annotations

import sys
import tempfile

import trio

import alloy
from alloy.cli.render import Renderer
from alloy.cli.run import exit_code
from alloy.tools import edit_file, read_file, write_file

PROMPT = "Write a shopping list, correct it, and tell me what is on it."


async def command() -> int:
    """Run the demo and return the exit code."""
    with tempfile.TemporaryDirectory(prefix="alloy-demo-") as folder:
        agent: alloy.Agent[str] = alloy.Agent(
            name="shopper",
            model="scripted:demo",
            tools=[write_file, edit_file, read_file],
            working_directory=folder,
        )
        renderer = Renderer()
        renderer.note(f"agent {agent.name!r} on {agent.model}, working in {folder}")
        renderer.note(f"you: {PROMPT}")
        async with alloy.stream(PROMPT, agent) as stream:
            async for event in stream:
                renderer.show(event)
            result = stream.snapshot()
        written = await trio.Path(folder, "shopping.txt").read_text(encoding="utf-8")
        renderer.note(f"the file has {len(written.splitlines())} lines; the folder is removed now")
        renderer.note(f"{result.turns} turns, {len(result.tool_calls)} tool calls, status {result.status}")
    sys.stdout.flush()
    return exit_code(result)
