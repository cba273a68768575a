"""Agents that live, under budgets: their own, their callers', and those of single requests."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Budget, ModelCard, Price, Status, Usage, otp
from alloy.llm.budget import current_budget
from alloy.testing import ScriptedModel, calls, hangs, says

MockClock = trio.testing.MockClock

DEAR = ModelCard(price=Price(input=0, output=1_000))  # a token that is made costs 0.001 USD


def model(*steps: Any, loop: bool = False) -> ScriptedModel:
    made = ScriptedModel(*steps, loop=loop)
    made.card = DEAR
    return made


def answer(tokens: int, *more: Any) -> list[Any]:
    return [says("so", usage=Usage(output_tokens=tokens)), *more]


def helper(tokens: int = 100, name: str = "helper") -> Agent:
    return Agent(model=model(answer(tokens), loop=True), name=name)


async def test_an_agents_own_budget_is_for_all_its_requests() -> None:
    budget = Budget(tokens=150)
    async with alloy.open_agent(helper(), budget=budget) as ref:
        results = [await ref.chat("go") for _ in range(3)]

    assert [result.status for result in results] == [Status.COMPLETED, Status.COMPLETED, Status.BUDGET]
    assert budget.spent.total_tokens == 200


async def test_a_requests_budget_is_for_that_request() -> None:
    async with alloy.open_agent(helper()) as ref:
        spent, fresh = Budget(tokens=0), Budget(tokens=1)

        results = [await ref.chat("go", budget=budget) for budget in (spent, None, fresh)]

    assert [result.status for result in results] == [Status.BUDGET, Status.COMPLETED, Status.COMPLETED]
    assert fresh.spent.total_tokens == 100


async def test_what_is_around_the_caller_is_charged_and_nobody_elses(autojump_clock: MockClock) -> None:
    async with alloy.open_agent(helper()) as ref, trio.open_nursery() as nursery:
        budgets = [Budget(usd=1) for _ in range(3)]

        async def ask(budget: Budget, times: int) -> None:
            with budget:
                for _ in range(times):
                    await ref.chat("go")

        for times, budget in enumerate(budgets):
            nursery.start_soon(ask, budget, times)

    assert [budget.spent.total_tokens for budget in budgets] == [0, 100, 200]


async def test_what_is_around_the_agent_is_charged_whoever_asks() -> None:
    with Budget(tokens=150) as budget:
        opened = alloy.open_agent(helper())
        ref = await opened.__aenter__()

    first, second, third = [await ref.chat("go") for _ in range(3)]
    await opened.__aexit__(None, None, None)

    assert (first.status, second.status, third.status) == (Status.COMPLETED, Status.COMPLETED, Status.BUDGET)
    assert budget.spent.total_tokens == 200


async def test_a_run_that_asks_an_agent_pays_for_it_once() -> None:
    async with alloy.open_agent(helper(300)) as ref:
        lead = model(answer(100, calls("helper", prompt="?")), answer(100))
        with Budget(usd=1) as around, Budget(usd=1) as budget:
            result = await alloy.run("go", model=lead, tools=[alloy.as_tool(ref)])

    assert result.status is Status.COMPLETED
    assert budget.spent.cost == around.spent.cost == Decimal("0.5")


async def test_the_members_of_a_team_work_at_the_expense_of_who_asks() -> None:
    lead = Agent(model=model(answer(100, calls("second", prompt="?")), answer(100)), tools=[alloy.as_tool("second")])
    async with alloy.Team({"first": lead, "second": helper(300)}) as team:
        with Budget(usd="0.4") as budget:
            result = await team.delegate("first", "go")

    assert result.status is Status.BUDGET  # the other's answer, in the middle, was the last that there was money for
    assert budget.spent.cost == Decimal("0.4")


async def test_the_seconds_of_the_caller_end_the_run_of_the_agent(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with alloy.open_agent(Agent(model=ScriptedModel(hangs(), says("ok")))) as ref:
        with Budget(seconds=5):
            first = await ref.chat("go")
        ended = trio.current_time()
        second = await ref.chat("go")

    assert (first.status, second.status) == (Status.DEADLINE, Status.COMPLETED)
    assert ended - start == 5


async def test_a_run_whose_seconds_end_while_it_waits_for_an_agent_takes_its_request_back(
    autojump_clock: MockClock,
) -> None:
    async with alloy.open_agent(Agent(model=ScriptedModel(hangs(), says("free again")), name="helper")) as ref:
        lead = ScriptedModel(calls("helper", prompt="?"))
        result = await alloy.run("go", model=lead, tools=[alloy.as_tool(ref)], budget=Budget(seconds=5))
        after = await ref.chat("go")

    assert (result.status, result.duration) == (Status.DEADLINE, 5)
    assert after.text == "free again"


@pytest.mark.parametrize("how", ["around", "given"])
async def test_a_request_whose_seconds_end_while_it_waits_for_its_turn_ends_there(
    how: str, autojump_clock: MockClock
) -> None:
    async with alloy.open_agent(Agent(model=ScriptedModel(hangs(), says("ok")))) as ref:
        busy = await ref.send_message("go")
        start = trio.current_time()
        if how == "around":
            with Budget(seconds=5):
                late = await ref.chat("go")
        else:
            late = await ref.chat("go", budget=Budget(seconds=5))
        ended = trio.current_time()
        await ref.cancel(busy)
        free = await ref.chat("go", budget=Budget(seconds=5))

    assert (late.status, late.turns) == (Status.DEADLINE, 0)
    assert ended - start == 5
    assert free.status is Status.COMPLETED


async def test_what_is_said_to_an_idle_agent_draws_from_its_budget_and_the_speakers() -> None:
    budget = Budget()
    async with alloy.open_agent(helper(), budget=budget) as ref:
        with Budget() as around:
            request = await ref.steer("go")
        await ref.result(request)

    assert budget.spent == around.spent
    assert around.spent.total_tokens == 100


async def test_a_restarted_agent_still_has_what_it_had_left(autojump_clock: MockClock) -> None:
    budget = Budget(tokens=150)
    async with alloy.open_agent(helper(), budget=budget) as ref:
        await ref.chat("go")
        crashed = ref.whereis()
        assert crashed is not None
        otp.exit(crashed, otp.Killed())
        results = [await ref.chat("go"), await ref.chat("go")]

    assert [result.status for result in results] == [Status.COMPLETED, Status.BUDGET]


async def test_a_server_of_ones_own_works_at_the_expense_of_who_asks() -> None:
    class Ask(otp.Request[str]):
        pass

    class Desk(otp.Server):
        async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
            return (await alloy.run("go", helper())).text

    root = otp.Supervisor(children=[otp.ChildSpec(start=Desk, id="desk")])
    async with otp.open_system(root) as supervisor:
        (child,) = await otp.which_children(supervisor)
        ref = child.ref
        assert ref is not None
        with Budget() as budget:
            assert await otp.call(ref, Ask()) == "so"
        assert await otp.call(ref, Ask()) == "so"

    assert budget.spent.total_tokens == 100
    assert current_budget.get() is None


async def test_what_is_no_budget_is_refused() -> None:
    with pytest.raises(TypeError, match="budget must be a Budget, got 'much'"):
        alloy.agent_child(helper(), budget="much")

    async with alloy.open_agent(helper()) as ref:
        with pytest.raises(TypeError, match="budget must be a Budget, got 'much'"):
            await ref.chat("go", budget="much")
