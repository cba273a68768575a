"""Leaving an agent: in good order its run may end, otherwise it is cut, and a second Ctrl-C cuts everything."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Team, otp
from alloy.testing import ScriptedModel, calls, hangs, says

MockClock = trio.testing.MockClock


async def nap(seconds: float) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


def agent(*steps: Any, **fields: Any) -> Agent:
    return Agent(model=ScriptedModel(*steps), tools=[nap], **fields)


class Lost(Exception):
    """The error of somebody's program."""


@pytest.mark.parametrize("how", ["error", "cancel"])
async def test_a_block_that_is_left_by_an_exception_cuts_the_run_and_ends_the_session(
    how: str, autojump_clock: MockClock
) -> None:
    ended: list[alloy.Session] = []
    with trio.CancelScope() as scope:
        try:
            async with alloy.open_agent(agent(hangs()), drain=1000, on_shutdown=ended.append) as ref:
                await ref.send_message("go")
                await trio.sleep(1)
                if how == "error":
                    raise Lost
                scope.cancel()
                await trio.sleep_forever()
        except Lost:
            pass

    assert trio.current_time() == 1
    (session,) = ended
    assert [message.text for message in session.messages if isinstance(message, alloy.UserMessage)] == ["go"]


async def test_the_members_of_a_team_that_is_left_have_their_time_to_drain_all_at_once(
    autojump_clock: MockClock,
) -> None:
    members = {f"m{n}": agent(calls("nap", seconds=8), says("done")) for n in range(5)}
    members["stuck"] = agent(hangs())
    async with Team(members, drain=10) as team:
        requests = {name: await ref.send_message("go") for name, ref in team.items()}

    results = {name: await team[name].result(id) for name, id in requests.items() if name != "stuck"}
    assert {result.text for result in results.values()} == {"done"}
    assert trio.current_time() == 10


async def test_a_team_that_is_left_by_an_error_is_cut_at_once(autojump_clock: MockClock) -> None:
    with pytest.raises(Lost):  # noqa: PT012  # the block is what raises
        async with Team({f"m{n}": agent(hangs()) for n in range(3)}) as team:
            for ref in team.values():
                await ref.send_message("go")
            raise Lost

    assert trio.current_time() == 0


async def test_a_kill_cuts_a_run_that_drains(autojump_clock: MockClock) -> None:
    spec = alloy.agent_child(agent(hangs()), drain=1000, restart="temporary")
    ref = alloy.agents.agent_ref(spec)
    async with otp.open_system(otp.Supervisor(children=[spec])):
        request = await ref.send_message("go")
        server = ref.whereis()
        assert server is not None
        otp.exit(server, otp.Shutdown())
        await trio.sleep(3)
        otp.exit(server, otp.Killed())
        with pytest.raises(otp.ServerExited) as caught:
            await ref.result(request)

        assert caught.value.reason == otp.Killed()
        assert trio.current_time() == 3


async def test_a_crash_of_a_run_that_drains_is_told_to_whoever_asked(autojump_clock: MockClock) -> None:
    def buggy(request: alloy.Request) -> Any:
        raise Lost("in the provider")

    async with alloy.open_agent(agent(calls("nap", seconds=3), buggy)) as ref:
        request = await ref.send_message("go")
        await trio.sleep(1)

    with pytest.raises(otp.ServerExited) as caught:
        await ref.result(request)
    assert isinstance(caught.value.__cause__, Lost)
    assert trio.current_time() == 3


async def test_hooks_at_the_end_have_five_seconds(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async def save(session: alloy.Session) -> None:
        await trio.sleep_forever()

    with caplog.at_level(logging.WARNING, "alloy"):
        async with alloy.open_agent(agent(), session_id="s1", on_shutdown=save):
            pass

    assert trio.current_time() == 5
    assert [record.getMessage() for record in caplog.records] == [
        "the end of session s1 was cut: its hooks took more than 5 s"
    ]


async def stubborn() -> str:
    """Take no notice of a cancel for a while."""
    with trio.CancelScope(shield=True):
        await trio.sleep(12)
    return "at last"


@pytest.mark.parametrize("how", ["cancel", "stop", "kill", "kill above"])
async def test_a_tool_that_does_not_stop_with_its_run_is_named(
    how: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    spec = alloy.agent_child(agent(calls("stubborn")).evolve(tools=[stubborn]), drain=1, restart="temporary")
    ref = alloy.agents.agent_ref(spec)
    small = otp.ChildSpec(start=lambda: otp.Supervisor(children=[spec]), id="small", restart="temporary")
    async with otp.open_system(otp.Supervisor(children=[small])) as root:
        await ref.send_message("go")
        await trio.sleep(2)
        server = ref.whereis()
        (above,) = await otp.which_children(root)
        assert server is not None
        assert isinstance(above.ref, otp.Ref)
        match how:
            case "cancel":
                await ref.cancel()
            case "stop":
                otp.exit(server, otp.Shutdown())
            case "kill":
                otp.exit(server, otp.Killed())
            case _:
                otp.exit(above.ref, otp.Killed())
        await trio.sleep(20)

    named = [record.getMessage().splitlines()[0] for record in caplog.records if record.name == "alloy.tools"]
    assert named == [
        f"tool 'stubborn' was told to stop and goes on, {seconds} s after its start:" for seconds in (5, 10)
    ]


# In programs, with real signals. Where a run would be waited for, that would take a quarter of an hour.

PROGRAM = """
import math, sys, trio, trio.testing, alloy
from alloy import otp
from alloy.testing import ScriptedModel, hangs

def agent():
    return alloy.Agent(model=ScriptedModel(hangs(), loop=True))

def ended(session):
    print("ended", flush=True)

options = {"drain": 900.0, "on_shutdown": ended}

async def busy(*refs):
    for ref in refs:
        await ref.send_message("go")
    await trio.testing.wait_all_tasks_blocked()
    print("ready", flush=True)
"""

ALONE = """
async def main():
    async with alloy.open_agent(agent(), **options) as ref:
        await busy(ref)
        await trio.sleep_forever()

trio.run(main)
"""

TEAM_IN_A_TASK = """
async def work():
    async with alloy.Team({"a": agent(), "b": agent()}, **options) as team:
        await busy(*team.values())
        await trio.sleep_forever()

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(work)

trio.run(main)
"""

NURSERY_IN_A_TEAM = """
async def main():
    async with alloy.Team({"a": agent(), "b": agent()}, **options) as team, trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        await busy(*team.values())

trio.run(main)
"""

DRAINING = """
async def main():
    async with alloy.Team({"a": agent(), "b": agent()}, **options) as team:
        await busy(*team.values())

trio.run(main)
"""

UNDER_A_SUPERVISOR = """
async def main():
    spec = alloy.agent_child(agent(), **options)
    async with otp.open_system(otp.Supervisor(children=[spec]), signals=True, grace=math.inf):
        await busy(alloy.agents.agent_ref(spec))
        await trio.sleep_forever()

trio.run(main)
"""

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@contextmanager
def program(body: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program until it says that its agents are busy."""
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(PROGRAM + body)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@posix
@pytest.mark.works("Ctrl-C cuts what is under way, and every agent still ends its session")
@pytest.mark.parametrize(
    ("body", "agents"), [(ALONE, 1), (TEAM_IN_A_TASK, 2), (NURSERY_IN_A_TEAM, 2)], ids=["alone", "in a task", "around"]
)
def test_ctrl_c_cuts_the_runs_and_ends_every_session(body: str, agents: int) -> None:
    with program(body) as process:
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)

    assert out.split() == ["ended"] * agents
    assert "KeyboardInterrupt" in err
    assert "Exception ignored" not in err


@posix
def test_ctrl_c_cuts_runs_that_drain() -> None:
    with program(DRAINING) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)

    assert "KeyboardInterrupt" in err
    assert "Exception ignored" not in err


@posix
def test_where_the_first_signal_drains_the_second_cuts() -> None:
    with program(UNDER_A_SUPERVISOR) as process:
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.5)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)

    assert out == ""  # a kill leaves no time for hooks
