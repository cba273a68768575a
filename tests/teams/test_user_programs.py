"""Teams in the programs of their users: at two vendors, under one limit, and interrupted."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Status, Team, otp
from alloy.agents import agent_ref
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import read_file, write_file
from end_to_end.vendors import VENDORS, vendor

MockClock = trio.testing.MockClock

RESEARCH = (
    [("call_1", "write_file", {"path": "notes.md", "content": "Trio has nurseries.\n"})],
    "Trio has nurseries.",
)
CODE = (
    [("call_1", "read_file", {"path": "notes.md"})],
    [("call_2", "write_file", {"path": "main.py", "content": "import trio\n"})],
    "I wrote main.py.",
)


@pytest.mark.works("A team of two agents at two vendors, the second working on what the first found")
@pytest.mark.parametrize(("first", "second"), [("anthropic", "openai"), ("google", "openai-compatible")])
async def test_a_researcher_and_a_coder_work_at_two_vendors(first: str, second: str, tmp_path: Path) -> None:
    async with vendor(first, *RESEARCH) as one, vendor(second, *CODE) as two:
        research, code = (
            alloy.model(VENDORS[name][3], base_url=server.url + "/v1" * (name != "anthropic"), api_key="k")
            for name, server in ((first, one), (second, two))
        )
        tools = [read_file, write_file]
        members = {
            "researcher": Agent(model=research, tools=tools, working_directory=tmp_path),
            "coder": Agent(model=code, tools=tools, working_directory=tmp_path),
        }
        async with Team(members) as team:
            found = await team.delegate("researcher", "Find out what Trio has; write it into notes.md.")
            written = await team.delegate("coder", f"Write a program. What is known: {found.text}")
            used = team.usage()

    assert (found.text, written.text) == ("Trio has nurseries.", "I wrote main.py.")
    assert "What is known: Trio has nurseries." in two.received[0].body.decode()
    assert "Trio has nurseries." in two.received[1].body.decode()  # the file that the other has written
    assert (tmp_path / "main.py").read_text() == "import trio\n"
    assert used.requests == 5


@attrs.define(eq=False)
class Load:
    """How many calls are under way, and the most there ever were."""

    running: int = 0
    most: int = 0
    asked: int = 0


class Slow(ScriptedModel):
    """A model whose every answer takes a second."""

    def __init__(self, load: Load, *steps: Any) -> None:
        super().__init__(*steps)
        self.load = load

    @asynccontextmanager
    async def stream(self, request: alloy.Request) -> AsyncIterator[Any]:
        load = self.load
        load.asked += 1
        load.running += 1
        load.most = max(load.most, load.running)
        try:
            await trio.sleep(1)
            async with super().stream(request) as answer:
                yield answer
        finally:
            load.running -= 1


async def test_500_agents_four_deep_share_a_limit_of_10_calls(autojump_clock: MockClock) -> None:
    load = Load()

    def chain(number: int) -> list[otp.ChildSpec]:
        """Four agents; each asks the next one, and the first ask comes from outside."""
        last = Agent(model=Slow(load, says("deep")), name=f"c{number}-0")
        specs = [alloy.agent_child(last, id=f"{number}-0", http=http)]
        for depth in range(1, 4):
            below = alloy.as_tool(agent_ref(specs[-1]), name="below", description="Ask the one below.")
            agent = Agent(
                model=Slow(load, calls("below", prompt="go"), says("passed on")),
                name=f"c{number}-{depth}",
                tools=[below],
            )
            specs.append(alloy.agent_child(agent, id=f"{number}-{depth}", http=http))
        return specs

    results: list[alloy.Result] = []

    async def ask(spec: otp.ChildSpec) -> None:
        results.append(await agent_ref(spec).chat("go"))

    limiter = alloy.Limiter({"scripted": alloy.Rate(concurrent=10)})
    async with alloy.HTTP(limiter=limiter) as http:
        chains = [chain(number) for number in range(125)]
        root = otp.Supervisor(children=[spec for specs in chains for spec in specs])
        async with otp.open_system(root), trio.open_nursery() as nursery:
            for specs in chains:
                nursery.start_soon(ask, specs[-1])

    assert [result.status for result in results] == [Status.COMPLETED] * 125
    assert load.asked == 125 * 7
    assert load.most == 10


INTERRUPTED = """
    import trio, alloy
    from alloy.testing import ScriptedModel, hangs

    def ended(session):
        print("ended", session.id.split("/")[1], flush=True)

    async def main():
        agents = {name: alloy.Agent(model=ScriptedModel(hangs(), loop=True)) for name in ("a", "b", "c")}
        async with trio.open_nursery() as nursery:  # somebody's own program
            async with alloy.Team(agents, on_shutdown=ended, drain=0.2) as team:
                nursery.start_soon(team.delegate, "a", "go")
                await trio.testing.wait_all_tasks_blocked()
                print("ready", flush=True)
                await trio.sleep_forever()

    import trio.testing
    trio.run(main)
"""


def test_ctrl_c_ends_every_member_in_good_order() -> None:
    program = [sys.executable, "-W", "error", "-c", textwrap.dedent(INTERRUPTED)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()

    assert sorted(out.split()) == ["a", "b", "c", "ended", "ended", "ended"]
    assert "KeyboardInterrupt" in err
    assert "Exception ignored" not in err


CRASHING = """
    import trio, alloy
    from alloy import otp
    from alloy.testing import ScriptedModel, says

    def buggy(request):
        raise LookupError("no such key")

    async def main():
        agents = {"a": alloy.Agent(model=ScriptedModel(buggy, says("back"))), "b": alloy.Agent(model=ScriptedModel())}
        async with alloy.Team(agents) as team:
            try:
                await team.delegate("a", "go")
            except otp.ServerExited as error:
                print(error)
            print((await team.delegate("a", "again")).text)
            print((await team["a"].health()).last_error)

    trio.run(main)
"""


def test_a_crash_is_told_to_whoever_asked_and_nothing_is_printed() -> None:
    program = [sys.executable, "-W", "error", "-c", textwrap.dedent(CRASHING)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=30, check=True)

    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "'a' crashed: LookupError: no such key",
        "back",
        "the server crashed: LookupError: no such key",
    ]


def test_a_program_that_sets_up_logging_sees_the_report_of_a_crash() -> None:
    text = "import logging\nlogging.basicConfig()\n" + textwrap.dedent(CRASHING)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30, check=True)

    assert "ERROR:alloy.otp:process 'a' ended" in done.stderr
    assert "LookupError: no such key" in done.stderr
