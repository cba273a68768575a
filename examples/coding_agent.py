"""A coding agent with file tools and a shell, which asks you before it writes or runs anything.

Offline it plays a script in a temporary folder, and is always allowed; name a model, such as
`anthropic:claude-sonnet-4-6`, and a task, and it works where you are.
"""

import sys
import tempfile

import trio

import alloy
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import core_tools

SCRIPT = ScriptedModel(
    calls("write_file", path="greet.py", content="print('helo')\n"),
    calls("bash", command="python3 greet.py"),
    calls("edit_file", path="greet.py", old="helo", new="hello"),
    calls("bash", command="python3 greet.py"),
    says("greet.py says hello now."),
)
PROMPT = "You write small programs, run them, and mend them until they work."


async def ask_user(pending: alloy.Pending) -> alloy.Decision:
    """Ask on the terminal, in a thread, so that all else goes on."""
    answer = await trio.to_thread.run_sync(input, f"{pending.question} [y/N, or why not] ", abandon_on_cancel=True)
    return alloy.Approve() if answer == "y" else alloy.Deny(answer)


async def allow(pending: alloy.Pending) -> alloy.Decision:
    return alloy.Approve()


async def main() -> None:
    online = len(sys.argv) > 2
    with tempfile.TemporaryDirectory() as folder:
        agent = alloy.Agent(
            name="coder",
            model=sys.argv[1] if online else SCRIPT,
            system_prompt=PROMPT,
            tools=core_tools(),
            middleware=[alloy.ApproveTools(["write_file", "edit_file", "bash"], ask=ask_user if online else allow)],
            working_directory="." if online else folder,
        )
        async with alloy.stream(" ".join(sys.argv[2:]) or "Write a program that greets.", agent) as stream:
            async for event in stream:
                match event:
                    case alloy.TextDelta(text=text):
                        print(text, end="", flush=True)
                    case alloy.ToolFinished(record=record, result=result):
                        print(f"{record.name} ({record.outcome}): {result.text.splitlines()[-1:]}")
    print()


trio.run(main)
