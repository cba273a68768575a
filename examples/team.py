"""A researcher and a coder, each with file tools, as one team: the second works on what the first found.

Offline both play a script; name two models, such as `anthropic:claude-sonnet-4-6 groq:qwen/qwen3.8-27b`, to ask them.
"""

import sys
import tempfile

import trio

import alloy
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import read_file, write_file

RESEARCH = ScriptedModel(
    calls("write_file", path="notes.md", content="Trio has nurseries.\n"),
    says("Trio has nurseries; it is in notes.md."),
)
CODE = ScriptedModel(
    calls("read_file", path="notes.md"),
    calls("write_file", path="main.py", content="import trio\n"),
    says("I read the notes and wrote main.py."),
)


async def main() -> None:
    research, code = sys.argv[1:3] if len(sys.argv) > 2 else (RESEARCH, CODE)
    with tempfile.TemporaryDirectory() as folder:
        tools = [read_file, write_file]
        researcher = alloy.Agent(model=research, tools=tools, working_directory=folder)
        coder = alloy.Agent(model=code, tools=tools, working_directory=folder)
        async with alloy.Team({"researcher": researcher, "coder": coder}) as team:
            found = await team.delegate("researcher", "Find out what Trio has and write it into notes.md.")
            written = await team.delegate("coder", f"Write a program. What is known: {found.text}")
            print(f"researcher: {found.text}\ncoder: {written.text}")
            print(f"{team.usage().requests} requests, files: {sorted(p.name for p in await files(folder))}")


async def files(folder: str) -> list[trio.Path]:
    return list(await trio.Path(folder).iterdir())


trio.run(main)
