"""An agent that works by the clock."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Result, Status, otp
from alloy.testing import ScriptedModel, calls, fails, hangs, says

MockClock = trio.testing.MockClock


async def nap(seconds: float) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


def agent(*steps: Any, loop: bool = True) -> Agent:
    return Agent(model=ScriptedModel(*steps, loop=loop), tools=[nap], name="clerk")


def lasting(seconds: float) -> Agent:
    return agent(calls("nap", seconds=seconds), says("done"))


class Kept:
    """Who gets the results, and when."""

    def __init__(self) -> None:
        self.results: list[Result[Any]] = []
        self.times: list[float] = []

    def __call__(self, result: Result[Any]) -> None:
        self.results.append(result)
        self.times.append(trio.current_time())


@asynccontextmanager
async def under_a_supervisor(spec: otp.ChildSpec) -> AsyncIterator[otp.Ref]:
    async with otp.open_system(otp.Supervisor(children=[spec])) as root:
        yield root


def buggy(request: alloy.Request) -> Any:
    raise ZeroDivisionError("in the provider")


@pytest.mark.works("Agents by the clock: `alloy.schedule_child` runs one every so many seconds")
async def test_an_agent_runs_every_so_many_seconds_by_the_plan(autojump_clock: MockClock) -> None:
    kept = Kept()
    async with under_a_supervisor(alloy.schedule_child(lasting(3), "report", every=10, on_result=kept)):
        await trio.sleep(35)

    assert kept.times == [13, 23, 33]
    assert [result.text for result in kept.results] == ["done"] * 3
    assert [len(result.messages) for result in kept.results] == [4, 4, 4]
    assert len({result.session_id for result in kept.results}) == 3


async def test_a_time_that_comes_while_a_run_is_on_is_passed_over(autojump_clock: MockClock) -> None:
    kept = Kept()
    async with under_a_supervisor(alloy.schedule_child(lasting(24), "report", every=10, on_result=kept)):
        await trio.sleep(101)

    assert kept.times == [10 + 24, 40 + 24, 70 + 24]


async def test_a_run_that_ends_just_when_the_next_is_due_costs_none(autojump_clock: MockClock) -> None:
    kept = Kept()
    async with under_a_supervisor(alloy.schedule_child(lasting(10), "report", every=10, on_result=kept)):
        await trio.sleep(41)

    assert kept.times == [20, 30, 40]


async def test_times_that_queue_are_all_made_up_for(autojump_clock: MockClock) -> None:
    kept = Kept()
    long = agent(calls("nap", seconds=25), says("long"), says("a"), says("b"), says("c"), loop=False)
    spec = alloy.schedule_child(long, "report", every=10, overlap="queue", on_result=kept)
    async with under_a_supervisor(spec):
        await trio.sleep(41)

    assert kept.times == [35, 35, 35, 40]


async def test_jitter_puts_each_time_off_and_adds_up_to_nothing(autojump_clock: MockClock) -> None:
    kept = Kept()
    async with under_a_supervisor(alloy.schedule_child(agent(says("x")), "go", every=10, jitter=0.5, on_result=kept)):
        await trio.sleep(1006)

    late = [time - 10 * number for number, time in enumerate(kept.times, 1)]
    assert len(late) == 100
    assert min(late) >= 0
    assert max(late) <= 5
    assert len(set(late)) > 1


@pytest.mark.parametrize("overlap", ["skip", "queue"])
async def test_stopping_cancels_the_run_in_flight_and_delivers_nothing(autojump_clock: MockClock, overlap: Any) -> None:
    kept = Kept()
    async with under_a_supervisor(
        alloy.schedule_child(agent(hangs()), "go", every=10, overlap=overlap, on_result=kept)
    ) as root:
        await trio.sleep(15)
        await otp.terminate_child(root, "schedule of clerk")

        assert trio.current_time() == 15
    assert kept.results == []


async def test_a_run_that_ends_in_an_error_is_a_result_and_the_plan_goes_on(autojump_clock: MockClock) -> None:
    kept = Kept()
    shaky = agent(fails(alloy.BadRequest("no")), says("fine"))
    async with under_a_supervisor(alloy.schedule_child(shaky, "go", every=10, on_result=kept)):
        await trio.sleep(25)

    first, second = kept.results
    assert first.status is Status.ERROR
    assert isinstance(first.error, alloy.BadRequest)
    assert second.text == "fine"


async def test_without_on_result_an_error_is_logged(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with under_a_supervisor(alloy.schedule_child(agent(fails(alloy.BadRequest("no"))), "go", every=10)):
        await trio.sleep(15)

    assert "schedule of 'clerk' ended in an error: no" in caplog.text


async def test_an_error_in_on_result_is_logged_and_changes_nothing(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    times: list[float] = []

    async def careless(result: Result[Any]) -> None:
        times.append(trio.current_time())
        await trio.sleep(1)
        raise KeyError("careless")

    async with under_a_supervisor(alloy.schedule_child(agent(says("x")), "go", every=10, on_result=careless)):
        await trio.sleep(25)

    assert times == [10, 20]
    assert caplog.text.count("on_result of the schedule of 'clerk' failed") == 2


async def test_a_bug_crashes_the_server_and_the_next_begins_the_plan_anew(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    kept = Kept()
    spec = alloy.schedule_child(agent(calls("nap", seconds=4), buggy, says("back")), "go", every=10, on_result=kept)
    with caplog.at_level(logging.CRITICAL, "alloy.otp"):
        async with under_a_supervisor(spec):
            await trio.sleep(25)

    assert kept.times == [10 + 4 + 10]
    assert [result.text for result in kept.results] == ["back"]


async def test_an_agent_without_a_key_does_not_start() -> None:
    spec = alloy.schedule_child(Agent(model="anthropic:claude-x"), "go", every=10)
    with pytest.raises(otp.StartFailed, match="ANTHROPIC_API_KEY"):
        async with under_a_supervisor(spec):
            pass


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"every": 0}, ValueError, "every must be finite and more than 0 seconds, got 0"),
        ({"every": float("nan")}, ValueError, "every must be finite and more than 0 seconds, got nan"),
        ({"every": float("inf")}, ValueError, "every must be finite"),
        ({"every": "1h"}, TypeError, "every must be a number, got '1h'"),
        ({"jitter": 1.5}, ValueError, "jitter must be a part of every, from 0 to 1, got 1.5"),
        ({"jitter": True}, TypeError, "jitter must be a number, got True"),
        ({"overlap": "both"}, ValueError, "overlap must be 'skip' or 'queue', got 'both'"),
        ({"on_result": 5}, TypeError, "on_result must be callable, got 5"),
        ({"restart": "never"}, ValueError, "restart must be one of .*, got 'never'"),
        ({"agent": 5}, TypeError, "agent must be an Agent, got 5"),
        ({"prompt": ""}, ValueError, "empty"),
    ],
)
def test_what_does_not_fit_is_refused_when_the_spec_is_made(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    given = {"agent": agent(), "prompt": "go", "every": 10, **options}

    with pytest.raises(error, match=message):
        alloy.schedule_child(given.pop("agent"), given.pop("prompt"), **given)
