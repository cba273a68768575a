"""Wrong use is told at once, with the value that is wrong and what would do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
import trio

import alloy
from alloy import otp
from alloy.testing import ScriptedModel
from alloy.tools import read_file

AGENT = alloy.Agent(model="scripted:echo")


class Plain:
    """No type that JSON can hold."""

    def __init__(self, something: int) -> None:
        self.something = something


def run(**options: Any) -> object:
    return alloy.run_sync("hi", **{"model": "scripted:echo", **options})


def with_option_misspelt() -> object:
    @alloy.tool(timout=3)  # type: ignore[call-overload]
    def wait() -> str:
        """Wait."""
        return ""

    return wait


anything: Any = Any
WRONG: dict[str, tuple[Callable[[], object], type[Exception], str]] = {
    "an option misspelt": (lambda: run(tool=[]), TypeError, "unknown option 'tool'; did you mean 'tools'?"),
    "one tool for several": (lambda: run(tools=read_file), TypeError, "tools must be a sequence of tools, functions"),
    "no tools": (lambda: run(tools=None), TypeError, "toolsets, got None"),
    "the name of a tool": (lambda: run(tools=["bash"]), TypeError, "a tool is made of a function, got 'bash'"),
    "nothing as a tool": (lambda: run(tools=[None]), TypeError, "a tool is made of a function, got None"),
    "an option of a tool": (with_option_misspelt, TypeError, "unknown option 'timout'; did you mean 'timeout'?"),
    "one middleware": (
        lambda: run(middleware=alloy.Logging()),
        TypeError,
        "middleware must be a sequence of instances",
    ),
    "a class of middleware": (lambda: run(middleware=[alloy.Logging]), TypeError, "must be instances of Middleware"),
    "a history of texts": (lambda: run(history=["hi"]), TypeError, "a history is made of messages, got 'hi'"),
    "a vendor's history": (lambda: run(history=[{"role": "user"}]), TypeError, "messages, got {'role': 'user'}"),
    "a result as history": (lambda: run(history=run()), TypeError, "messages, such as Result.messages, got Result("),
    "a number of turns in words": (lambda: run(max_turns="5"), TypeError, "max_turns must be an int, got '5'"),
    "a temperature in words": (lambda: alloy.Settings(temperature=anything), TypeError, "temperature must be a number"),
    "a system prompt": (lambda: run(system_prompt=5), TypeError, "system_prompt must be a str, a function of the run"),
    "a folder that is none": (
        lambda: run(working_directory=None),
        TypeError,
        "working_directory must be a path, got None",
    ),
    "one folder to discover": (lambda: run(discover="docs"), TypeError, "discover must be a sequence of folders"),
    "an output of no JSON": (lambda: run(output=Plain), TypeError, "JSON cannot hold Plain; give an attrs class"),
    "the class of connections": (
        lambda: run(http=alloy.HTTP),
        TypeError,
        "http must be an HTTP, entered by `async with`",
    ),
    "connections without time": (lambda: alloy.HTTP(timeouts=anything), TypeError, "timeouts must be a Timeouts, got"),
    "a model of a model": (lambda: alloy.model(anything), TypeError, "model() takes 'vendor:model', got typing.Any"),
    "a script of texts": (lambda: ScriptedModel(*["hi"]), TypeError, "a step is what says(…), calls(…) and their like"),  # type: ignore[arg-type]
    "a strategy": (lambda: otp.Strategy("one"), ValueError, "strategy must be one of one_for_one, one_for_all,"),
    "a restart": (lambda: otp.Restart("never"), ValueError, "restart must be one of permanent, transient, temporary"),
    "a team of a list": (lambda: alloy.Team(anything), TypeError, "members must map names to agents, got typing.Any"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_wrong_use_is_refused_with_the_value_and_what_would_do(wrong: str) -> None:
    call, error, message = WRONG[wrong]

    with pytest.raises(error, match=re.escape(message)):
        call()


def test_a_message_about_a_large_value_stays_short() -> None:
    with pytest.raises(TypeError) as caught:
        run(history=["x" * 5000])

    assert len(str(caught.value)) < 300


def test_a_toolset_that_returns_something_large_is_told_of_in_short() -> None:
    with pytest.raises(alloy.HookError, match="give its parameter a type") as caught:
        run(tools=[lambda run: run])

    assert len(str(caught.value)) < 600


def test_under_asyncio_one_is_told_that_trio_is_needed() -> None:
    with pytest.raises(RuntimeError, match="alloy runs on Trio, and no Trio loop runs here"):
        asyncio.run(alloy.run("hi", AGENT))


@pytest.mark.parametrize("ask", ["delegate", "broadcast", "handoff"])
async def test_a_team_that_was_not_entered_says_so_instead_of_waiting(ask: str) -> None:
    team = alloy.Team({"one": AGENT})
    work: Callable[[], Any] = {
        "delegate": lambda: team.delegate("one", "hi"),
        "broadcast": lambda: team.broadcast("hi"),
        "handoff": lambda: team.handoff(["one"], "hi"),
    }[ask]

    with trio.fail_after(5), pytest.raises(RuntimeError, match=r"is not open: write `async with alloy\.Team"):
        await work()


async def test_one_name_is_no_sequence_of_names() -> None:
    async with alloy.Team({"one": AGENT}) as team:
        with pytest.raises(TypeError, match="names must be a sequence of members' names, got 'one'"):
            await team.handoff("one", "hi")
        with pytest.raises(TypeError, match="to must be a sequence of members' names, got 'one'"):
            await team.broadcast("hi", to="one")


async def test_a_subscription_without_room_is_refused() -> None:
    async with alloy.Team({"one": AGENT}) as team:
        for watched in (team, team["one"]):
            with pytest.raises(ValueError, match="buffer must be 1 or more, got 0"):
                async with watched.subscribe(buffer=0):
                    pass
