"""A middleware that edits a dangerous call: what would be deleted is moved to a folder, and the model sees that.

Offline the model plays a script; name one, such as `anthropic:claude-sonnet-4-6`, to ask it.
"""

from __future__ import annotations

import sys
import tempfile

import trio

import alloy
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import bash

SCRIPT = (calls("bash", command="rm -rf drafts"), says("The drafts are in .trash now."))


class SafeDeletes(alloy.Middleware):
    """A plain `rm` becomes `mv`; one among other things is not run."""

    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Edit | alloy.Block | None:
        command = str(call.arguments.get("command", ""))
        match command.split():
            case ["rm", *words] if not any(mark in command for mark in ";&|$`'\"\\\n"):
                paths = " ".join(word for word in words if not word.startswith("-"))
                return alloy.Edit({**call.arguments, "command": f"mkdir -p .trash && mv {paths} .trash/"})
            case words if "rm" in words:
                return alloy.Block("delete with a plain `rm`, in a command of its own")
        return None


async def main(model: str | alloy.Model) -> tuple[alloy.Result, list[str]]:
    with tempfile.TemporaryDirectory() as folder:
        drafts = trio.Path(folder, "drafts")
        await drafts.mkdir()
        await (drafts / "poem.txt").write_text("O rose\n")
        result = await alloy.run(
            "Delete the drafts.", model=model, tools=[bash], middleware=[SafeDeletes()], working_directory=folder
        )
        return result, [str(path.relative_to(folder)) for path in await trio.Path(folder).rglob("*.txt")]


if __name__ == "__main__":
    outcome, files = trio.run(main, sys.argv[1] if len(sys.argv) > 1 else ScriptedModel(*SCRIPT))
    for record in outcome.tool_calls:
        print(f"asked for {record.edited_from}\nran       {record.arguments}")
    print(outcome.text, files)
