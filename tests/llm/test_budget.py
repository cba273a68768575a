"""Budgets by themselves: limits, nesting, what is set aside, and when it is time to warn."""

from __future__ import annotations

import math
import threading
from decimal import Decimal
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Budget, Usage
from alloy.llm.budget import Amount, BudgetSpent, current_budget, together

MockClock = trio.testing.MockClock
NOTHING = Amount()


def use(budget: Budget, usd: str = "0", tokens: int = 0) -> None:
    usage = Usage(input_tokens=tokens, cost=Decimal(usd), requests=1)
    budget.settle(NOTHING, Amount(Decimal(usd), tokens), usage)


# Limits.


@pytest.mark.parametrize(
    ("limits", "error"),
    [
        ({"usd": -1}, "an amount of USD must be finite and 0 or more, got -1"),
        ({"usd": "many"}, "an amount of USD must be a number, got 'many'"),
        ({"usd": True}, "an amount of USD must be a Decimal, int, float or str, got True"),
        ({"tokens": 1.5}, "tokens must be an int, or None for no limit, got 1.5"),
        ({"tokens": -1}, "tokens must be 0 or more, got -1"),
        ({"tool_calls": False}, "tool_calls must be an int, or None for no limit, got False"),
        ({"tool_calls": -2}, "tool_calls must be 0 or more, got -2"),
        ({"seconds": "1"}, "seconds must be a number, or None for no limit, got '1'"),
        ({"seconds": -0.5}, "seconds must be 0 or more, got -0.5"),
        ({"seconds": math.nan}, "seconds must be 0 or more, got nan"),
    ],
)
def test_a_limit_that_is_none_is_refused(limits: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        Budget(**limits)

    assert str(caught.value) == error


def test_a_float_of_dollars_is_what_it_prints_as() -> None:
    assert Budget(usd=0.1).usd == Decimal("0.1")


def test_without_a_limit_a_budget_keeps_the_ledger() -> None:
    budget = Budget()

    use(budget, "5", 10**9)

    assert budget.remaining() == {}
    assert not budget.is_spent
    assert (budget.spent.cost, budget.spent.requests) == (Decimal(5), 1)


def test_what_remains_is_never_less_than_nothing() -> None:
    budget = Budget(usd="1", tokens=100)

    use(budget, "1.5", 40)

    assert budget.remaining() == {"usd": Decimal(0), "tokens": 60}
    assert budget.is_spent


def test_what_is_used_up_to_the_last_is_spent() -> None:
    budget = Budget(tokens=100)

    use(budget, tokens=99)
    almost = budget.is_spent
    use(budget, tokens=1)

    assert (almost, budget.is_spent) == (False, True)


# Nesting.


def test_inside_counts_the_least_of_all_limits_around() -> None:
    with Budget(usd=1, tokens=1_000) as outer, Budget(usd=3, tool_calls=5) as inner:
        use(inner, "0.25", 100)
        use(outer, "0.5")

        assert inner.remaining() == {"usd": Decimal("0.25"), "tokens": 900, "tool_calls": 5}
        assert outer.remaining() == {"usd": Decimal("0.25"), "tokens": 900}
        assert inner.spent.cost == Decimal("0.25")
        assert outer.spent.cost == Decimal("0.75")


def test_a_budget_is_current_inside_its_block_and_not_after() -> None:
    with Budget() as outer:
        with Budget() as inner:
            assert current_budget.get() is inner
        assert current_budget.get() is outer

    assert current_budget.get() is None


def test_a_budget_is_entered_once() -> None:
    budget = Budget(usd=1)
    with budget, pytest.raises(RuntimeError, match="can be entered only once"), budget:
        pass

    with pytest.raises(RuntimeError, match="can be entered only once"), budget:
        pass


async def test_a_task_draws_from_what_is_around_where_it_was_started() -> None:
    seen: list[Budget | None] = []

    async def look() -> None:
        seen.append(current_budget.get())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        with Budget() as budget:
            nursery.start_soon(look)

    assert sorted(seen, key=lambda one: one is None) == [budget, None]


def test_two_that_lie_within_each_other_are_the_inner_one_together() -> None:
    with Budget() as outer, Budget() as inner:
        assert together(outer, inner, None, outer) is inner
        assert together(outer) is outer
        assert together(None, None) is None


def test_two_strangers_together_are_both_charged_once() -> None:
    with Budget(usd=1) as around, Budget(usd=5) as mine:
        pass
    given = Budget(tokens=100)

    joint = together(mine, given, around)
    assert joint is not None
    use(joint, "0.5", 10)

    assert joint.remaining() == {"usd": Decimal("0.5"), "tokens": 90}
    assert [budget.spent.cost for budget in (around, mine, given)] == [Decimal("0.5")] * 3


# What is set aside.


async def test_what_others_have_set_aside_is_waited_for_and_then_had(autojump_clock: MockClock) -> None:
    budget = Budget(tokens=100)
    begun: list[float] = []

    async def call() -> None:
        await budget.reserve(Amount(tokens=100))
        begun.append(trio.current_time())
        await trio.sleep(5)
        budget.settle(Amount(tokens=100), Amount(tokens=10), Usage(input_tokens=10))

    start = trio.current_time()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)

    assert [at - start for at in begun] == [0, 5, 10]
    assert budget.remaining() == {"tokens": 70}


async def test_who_waits_for_what_is_then_spent_is_refused(autojump_clock: MockClock) -> None:
    with Budget(tokens=100) as outer, Budget() as inner:
        await outer.reserve(Amount(tokens=100))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(BudgetSpent):
                    await inner.reserve(NOTHING)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            outer.settle(Amount(tokens=100), Amount(tokens=120), Usage())


async def test_who_gives_up_waiting_leaves_nothing_behind(autojump_clock: MockClock) -> None:
    budget = Budget(tokens=100)
    await budget.reserve(Amount(tokens=100))

    with trio.move_on_after(1):
        await budget.reserve(Amount(tokens=1))
    budget.settle(Amount(tokens=100), NOTHING, Usage())

    await budget.reserve(Amount(tokens=99))
    await budget.reserve(Amount(tokens=1))


async def test_a_thread_with_a_loop_of_its_own_can_wait_too() -> None:
    budget = Budget(tokens=100)
    await budget.reserve(Amount(tokens=100))
    waits = threading.Event()

    async def elsewhere() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(budget.reserve, Amount(tokens=1))
            await trio.testing.wait_all_tasks_blocked()
            waits.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, trio.run, elsewhere)
        await trio.to_thread.run_sync(waits.wait)
        budget.settle(Amount(tokens=100), NOTHING, Usage())


def test_tool_calls_are_shared_by_all_around() -> None:
    with Budget(tool_calls=3) as outer, Budget(tool_calls=2) as inner:
        assert [inner.reserve_call() for _ in range(3)] == [True, True, False]
        assert [outer.reserve_call() for _ in range(2)] == [True, False]

        inner.settle_call(started=True)
        inner.settle_call(started=False)
        outer.settle_call(started=True)

        assert inner.remaining() == {"tool_calls": 1}
        assert outer.remaining() == {"tool_calls": 1}


# Seconds.


async def test_seconds_count_from_the_start_of_the_block(autojump_clock: MockClock) -> None:
    with Budget(seconds=100) as outer:
        await trio.sleep(70)
        with Budget(seconds=50) as inner:
            await trio.sleep(10)

            assert inner.remaining() == {"seconds": 20}
            assert inner.deadline == outer.deadline == trio.current_time() + 20


async def test_seconds_of_a_budget_that_nobody_uses_yet_do_not_count(autojump_clock: MockClock) -> None:
    budget = Budget(seconds=10)

    await trio.sleep(60)

    assert budget.remaining() == {"seconds": 10}


def test_seconds_count_from_loop_to_loop() -> None:
    budget = Budget(seconds=1_000)
    left: list[float] = []

    async def look() -> None:
        budget.start()
        left.append(budget.deadline - trio.current_time())

    trio.run(look)
    trio.run(look)

    assert 990 < left[1] <= left[0] <= 1_000


# Warnings.


def test_of_each_limit_is_warned_once_when_four_fifths_are_used() -> None:
    with Budget(usd=1, tokens=1_000) as outer, Budget(usd="0.1") as inner:
        use(inner, "0.079", 100)
        before = list(inner.warnings())
        use(inner, "0.001", 700)
        first = [(near.limit, near.spent, near.of) for near in inner.warnings()]
        use(outer, "0.8")
        second = [(near.limit, near.spent, near.of) for near in inner.warnings()]

    assert before == []
    assert first == [("usd", Decimal("0.080"), Decimal("0.1")), ("tokens", 800, 1_000)]
    assert second == [("usd", Decimal("0.880"), Decimal(1))]
    assert list(outer.warnings()) == []


def test_the_names_are_public() -> None:
    assert alloy.Budget is Budget
    assert issubclass(alloy.UnpricedModel, alloy.AlloyError)
    assert not hasattr(alloy, "BudgetSpent")
