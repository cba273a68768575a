"""The log of what runs do."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Logging
from alloy.testing import ScriptedModel, calls, fails, hangs, says

SECRET = "the launch code is 1234"


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.DEBUG, logger="alloy.runs")
    return caplog


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    records = [record for record in caplog.records if record.name == "alloy.runs" and record.levelno >= level]
    return [f"{record.levelname} {record.getMessage()}" for record in records]


async def test_a_run_its_answers_and_its_tools_are_logged_as_they_end(
    log: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    async def nap() -> str:
        """Sleep."""
        await trio.sleep(1.5)
        return "rested"

    usage = alloy.Usage(input_tokens=100, output_tokens=20)
    model = ScriptedModel(calls("nap", id="c1"), says("ok", usage=usage), name="m")

    result = await alloy.run("x", model=model, tools=[nap], name="root", middleware=[Logging()])

    first = model_tokens = result.usage.total_tokens - 120
    assert lines(log) == [
        f"INFO root: scripted:m answered (tool_use): {first} tokens, 0.00 s",
        "INFO root: tool nap: ok, 1.50 s",
        "INFO root: scripted:m answered (end_turn): 120 tokens, 0.00 s",
        f"INFO root: run completed: 2 turns, {120 + model_tokens} tokens, 1.50 s",
    ]
    (tool,) = [r.alloy for r in log.records if r.getMessage() == "root: tool nap: ok, 1.50 s"]  # type: ignore[attr-defined]
    assert tool == {
        "run_id": result.run_id,
        "session_id": result.session_id,
        "agent_path": ("root",),
        "turn": 1,
        "call_id": "c1",
        "tool": "nap",
        "outcome": "ok",
        "seconds": 1.5,
    }
    assert [line for line in lines(log, logging.DEBUG) if line.startswith("DEBUG")] == [
        "DEBUG root: run begins",
        "DEBUG root: asks scripted:m",
        "DEBUG root: tool nap begins",
        "DEBUG root: asks scripted:m",
    ]


async def test_what_goes_wrong_is_a_warning_and_a_failed_run_an_error(log: pytest.LogCaptureFixture) -> None:
    model = ScriptedModel([calls("add", a=1, b=1), calls("add", a="x", b=1)], fails(alloy.BadRequest("no")), name="m")

    with pytest.raises(alloy.BadRequest):
        await alloy.run("x", model=model, tools=[add], middleware=[Logging()])

    assert lines(log, logging.WARNING) == [
        "WARNING agent: tool add did not run: invalid",
        "WARNING agent: scripted:m failed: BadRequest: no",
        "ERROR agent: run failed: BadRequest: no",
    ]


async def test_a_halt_is_logged_with_its_reason(log: pytest.LogCaptureFixture) -> None:
    class Stops(alloy.Middleware):
        async def after_completion(self, run: alloy.RunInfo, message: alloy.AssistantMessage) -> alloy.Halt:
            return alloy.Halt("rude")

    await alloy.run("x", model=ScriptedModel(says("x")), middleware=[Stops(), Logging()])

    assert "run halted (rude): 1 turns" in lines(log)[-1]


async def test_a_run_that_is_cut_off_is_logged(
    log: pytest.LogCaptureFixture, autojump_clock: trio.testing.MockClock
) -> None:
    with trio.move_on_after(1):
        await alloy.run("x", model=ScriptedModel(hangs()), middleware=[Logging()])

    assert lines(log) == ["WARNING agent: run broke off: Cancelled"]


async def test_contents_are_logged_only_when_asked_for_and_not_without_end(log: pytest.LogCaptureFixture) -> None:
    async def tells(code: str) -> str:
        """Tell."""
        return f"{SECRET} {'x' * 5_000}"

    async def run(**options: Any) -> str:
        log.clear()
        model = ScriptedModel([says(f"a {SECRET}"), calls("tells", code=f"b {SECRET}")], says(f"c {SECRET}"))
        await alloy.run(f"d {SECRET}", model=model, tools=[tells], middleware=[Logging(**options)])
        return "\n".join(lines(log, logging.DEBUG))

    assert SECRET not in await run()
    text = await run(contents=True)
    assert all(f"{what} {SECRET}" in text for what in "abcd")
    assert "(5024 characters)" in text
    assert max(map(len, text.splitlines())) < 2_200


async def test_the_logger_can_be_named_and_sub_agents_are_logged_with_their_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="mine")
    helper = Agent(model=ScriptedModel(says("3")), name="helper")
    model = ScriptedModel(calls("helper", prompt="?"), says("ok"))

    await alloy.run("x", model=model, tools=[alloy.as_tool(helper)], name="root", middleware=[Logging(logger="mine")])

    ended = [r.getMessage().partition(":")[0] for r in caplog.records if "run completed" in r.getMessage()]
    assert ended == ["root/helper", "root"]
    assert {record.name for record in caplog.records} == {"mine"}
