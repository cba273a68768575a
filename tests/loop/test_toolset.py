"""Toolsets: functions that are asked for tools before each turn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

import alloy
from alloy import Outcome, RunInfo, Tool
from alloy.testing import ScriptedModel, calls, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@alloy.tool
async def finish(answer: str) -> str:
    """Hand the answer in."""
    return "thanks"


def offered(model: ScriptedModel) -> list[list[str]]:
    return [[tool.name for tool in request.tools] for request in model.requests]


@pytest.mark.works("Toolsets: functions of the run that are asked for its tools before each turn")
async def test_a_toolset_is_asked_before_each_turn() -> None:
    seen: list[int] = []

    def toolset(run: RunInfo) -> Sequence[Tool | Callable[..., Any]]:
        seen.append(run.turn)
        return [add, finish] if run.turn > 1 else [add]

    model = ScriptedModel(calls("add", a=1, b=2), calls("finish", answer="3"), says("done"))

    result = await alloy.run("x", model=model, tools=[toolset])

    assert seen == [1, 2, 3]
    assert offered(model) == [["add"], ["add", "finish"], ["add", "finish"]]
    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.OK]


async def test_a_tool_of_another_turn_cannot_be_called() -> None:
    model = ScriptedModel(calls("add", a=1, b=2), calls("add", a=1, b=2), says("done"))

    result = await alloy.run("x", model=model, tools=[lambda run: [add] if run.turn == 1 else [finish]])

    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.UNKNOWN_TOOL]
    assert "The tools are: finish" in (result.tool_calls[1].error or "")


async def test_toolsets_stand_beside_tools_in_the_order_given() -> None:
    def toolset(run: RunInfo) -> list[Tool]:
        return [finish]

    async def last() -> None:
        """Be last."""

    model = ScriptedModel(says("hi"))

    await alloy.run("x", model=model, tools=[add, toolset, last])

    assert offered(model) == [["add", "finish", "last"]]


async def test_until_tool_may_name_a_tool_that_a_toolset_supplies() -> None:
    model = ScriptedModel(says("4"), calls("finish", answer="4"))

    result = await alloy.run(
        "x", model=model, tools=[lambda run: [finish] if run.turn == 2 else []], until_tool="finish"
    )

    assert result.output == {"answer": "4"}


async def test_a_toolset_sees_the_run() -> None:
    seen: list[RunInfo] = []

    def toolset(run):  # type: ignore[no-untyped-def]  # as one writes it first
        seen.append(run)
        return ()

    await alloy.run("x", model=ScriptedModel(says("hi")), tools=[toolset], name="who", deps=7)

    assert (seen[0].agent.name, seen[0].deps, seen[0].messages[0].text) == ("who", 7, "x")


def broken(run: RunInfo) -> list[Tool]:
    raise LookupError("no tools today")


async def not_sync(run: RunInfo) -> list[Tool]:
    return []


@pytest.mark.parametrize(
    ("toolset", "message", "cause"),
    [
        (broken, "toolset 'broken' raised LookupError: no tools today", LookupError),
        (not_sync, "a toolset is no `async def`", TypeError),
        (lambda run: None, "returned None: a toolset returns a sequence of tools", TypeError),
        (lambda run: finish, "a toolset returns a sequence of tools", TypeError),
        (lambda run: "finish", "a toolset returns a sequence of tools", TypeError),
        (lambda run: [1], "a tool is made of a function, got 1", TypeError),
        (lambda run: [finish, finish], "several tools are called 'finish'", ValueError),
        (lambda run: [add], "tools of one name: several tools are called 'add'", ValueError),
    ],
)
async def test_an_error_of_a_toolset_is_a_hook_error(
    toolset: Callable[[RunInfo], Any], message: str, cause: type[Exception]
) -> None:
    model = ScriptedModel(says("hi"))

    with pytest.raises(alloy.HookError) as caught:
        await alloy.run("x", model=model, tools=[add, toolset])

    assert message in str(caught.value)
    assert caught.value.hook == "tools"
    assert isinstance(caught.value.__cause__, cause)
    assert model.requests == []


async def test_a_toolset_must_not_take_the_name_of_the_output_tool() -> None:
    taken = alloy.tool(finish.function, name="final_answer")

    with pytest.raises(alloy.HookError, match="rename it"):
        await alloy.run("x", model=ScriptedModel(says("hi")), tools=[lambda run: [taken]], output=int)


def test_a_function_with_a_typed_parameter_is_a_tool_and_no_toolset() -> None:
    async def one(run: str) -> str:
        """Run."""
        return run

    agent = alloy.Agent(model="scripted:echo", tools=[one, broken])

    assert [isinstance(offer, Tool) for offer in agent.tools] == [True, False]
