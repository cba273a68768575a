"""Runs under budgets."""

from __future__ import annotations

from contextlib import aclosing
from decimal import Decimal
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import alloy
from alloy import Agent, Budget, BudgetWarning, ModelCard, Outcome, Price, Status, Usage
from alloy.llm.budget import Amount, current_budget
from alloy.llm.delta import UsagePart
from alloy.testing import ScriptedModel, calls, cuts, fails, hangs, says

MockClock = trio.testing.MockClock

DEAR = ModelCard(price=Price(input=0, output=1_000))  # a token that is made costs 0.001 USD


async def nap(seconds: float = 1.0) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


def answer(tokens: int, *more: Any) -> list[Any]:
    return [says("so", usage=Usage(output_tokens=tokens)), *more]


def priced(*steps: Any, card: ModelCard = DEAR, **options: Any) -> ScriptedModel:
    model = ScriptedModel(*steps, **options)
    model.card = card
    return model


def looping(tokens: int = 50) -> ScriptedModel:
    """Calls `nap` again and again, at a price of `tokens` each time."""
    return priced(answer(tokens, calls("nap")), loop=True)


def worker(name: str = "worker", tokens: int = 50, **fields: Any) -> Agent:
    return Agent(model=looping(tokens), name=name, tools=[nap], **fields)


# How a run ends.


@pytest.mark.works("Budgets of money, tokens, tool calls and seconds, nested, for all that works inside")
@pytest.mark.parametrize("limits", [{"usd": "0.12"}, {"tokens": 120}, {"usd": 1, "tokens": 120}])
async def test_a_run_that_has_spent_its_budget_ends_before_the_next_answer(
    limits: dict[str, Any], autojump_clock: MockClock
) -> None:
    with Budget(**limits) as budget:
        result = await alloy.run("go", worker())

    assert result.status is Status.BUDGET
    assert result.turns == 3  # 50, 100, 150 tokens
    assert result.usage.cost == budget.spent.cost == Decimal("0.15")
    assert [record.outcome for record in result.tool_calls] == [Outcome.OK] * 3
    assert isinstance(result.messages[-1], alloy.ToolMessage)
    assert result.text == "so"
    with pytest.raises(alloy.RunIncomplete, match="budget"):
        result.unwrap()


async def test_an_answer_that_is_the_last_is_paid_in_full() -> None:
    with Budget(tokens=10) as budget:
        result = await alloy.run("go", model=priced(answer(500)))

    assert result.status is Status.COMPLETED
    assert budget.remaining() == {"tokens": 0}


async def test_a_budget_that_is_spent_lets_nothing_be_asked() -> None:
    model = priced(answer(1))
    with Budget(tokens=0):
        result = await alloy.run("go", model=model)

    assert result.status is Status.BUDGET
    assert model.requests == []
    assert [message.text for message in result.messages if isinstance(message, alloy.UserMessage)] == ["go"]


async def test_one_can_go_on_from_where_a_budget_ended(autojump_clock: MockClock) -> None:
    agent = Agent(model=priced(answer(50, calls("nap")), answer(50)), tools=[nap])
    first = await alloy.run("go", agent, budget=Budget(tokens=50))

    second = await alloy.run(None, agent, history=first.messages, budget=Budget(tokens=50))

    assert (first.status, second.status) == (Status.BUDGET, Status.COMPLETED)


async def test_the_calls_of_a_batch_beyond_the_budget_do_not_run_and_say_why(autojump_clock: MockClock) -> None:
    model = ScriptedModel([calls("nap"), calls("nap")], [calls("nap"), calls("nap"), calls("nap")], says("never"))
    with Budget(tool_calls=3) as budget:
        result = await alloy.run("go", model=model, tools=[nap])

    last = result.messages[-1]
    assert isinstance(last, alloy.ToolMessage)
    assert result.status is Status.BUDGET
    assert [r.outcome for r in last.results] == [Outcome.OK, Outcome.NOT_STARTED, Outcome.NOT_STARTED]
    assert last.results[1].text == "not started: the budget allows no further tool call"
    assert budget.remaining() == {"tool_calls": 0}


async def test_calls_that_are_used_up_to_the_last_do_not_end_a_run(autojump_clock: MockClock) -> None:
    with Budget(tool_calls=1):
        result = await alloy.run("go", model=ScriptedModel(calls("nap"), says("done")), tools=[nap])

    assert result.status is Status.COMPLETED


async def test_a_call_that_never_runs_is_not_counted(autojump_clock: MockClock) -> None:
    class Guard(alloy.Middleware):
        async def before_tool_call(self, run: Any, call: alloy.ToolCall) -> alloy.Block | None:
            return alloy.Block("no") if call.id == "bad" else None

    batch = [calls("nap", id="bad"), calls("nop"), calls("nap", seconds="x"), calls("nap", id="good")]
    with Budget(tool_calls=2) as budget:
        result = await alloy.run("go", model=ScriptedModel(batch, says("ok")), tools=[nap], middleware=[Guard()])

    outcomes = [record.outcome for record in result.tool_calls]
    assert outcomes == [Outcome.BLOCKED, Outcome.UNKNOWN_TOOL, Outcome.INVALID, Outcome.OK]
    assert result.status is Status.COMPLETED
    assert budget.remaining() == {"tool_calls": 1}


async def test_a_halt_in_the_middle_of_a_batch_gives_its_calls_back() -> None:
    class Guard(alloy.Middleware):
        async def before_tool_call(self, run: Any, call: alloy.ToolCall) -> alloy.Halt | None:
            return alloy.Halt("enough") if call.id == "bad" else None

    with Budget(tool_calls=5) as budget:
        model = ScriptedModel([calls("nap"), calls("nap", id="bad")])
        result = await alloy.run("go", model=model, tools=[nap], middleware=[Guard()])

    assert result.status is Status.HALTED
    assert budget.remaining() == {"tool_calls": 5}


# Seconds.


async def test_a_run_ends_with_the_seconds_of_its_budget_and_keeps_all_it_has(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    model = ScriptedModel([says("first"), calls("nap", seconds=4)], [says("second"), calls("nap", seconds=60)])
    with Budget(seconds=10):
        result = await alloy.run("go", model=model, tools=[nap])
        ended = trio.current_time()
        await trio.sleep(100)  # the block itself goes on

    assert result.status is Status.DEADLINE
    assert ended - start == 10
    assert result.text == "second"
    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.CANCELLED]


async def test_the_text_of_an_answer_that_is_cut_by_the_deadline_is_kept(autojump_clock: MockClock) -> None:
    class Slow(ScriptedModel):
        async def _deltas(self, step: Any) -> Any:
            async with aclosing(super()._deltas(step)) as deltas:
                async for batch in deltas:
                    yield batch
                    await trio.sleep(4)

    events: list[Any] = []
    with Budget(seconds=10) as budget:
        model = Slow(says("one two three", chunks=["one ", "two ", "three"], usage=Usage(output_tokens=9)))
        result = await alloy.run("go", model=model, on_event=events.append)

    assert result.status is Status.DEADLINE
    assert result.text == "one two "
    assert not result.messages[-1].complete  # type: ignore[union-attr]
    assert [event.message for event in events if isinstance(event, alloy.MessageFinished)] == [result.messages[-1]]
    assert budget.spent.requests == result.usage.requests == 1


async def test_a_model_that_never_answers_is_left_at_the_deadline(autojump_clock: MockClock) -> None:
    result = await alloy.run("go", model=ScriptedModel(hangs()), budget=Budget(seconds=3))

    assert (result.status, result.duration) == (Status.DEADLINE, 3)


async def test_an_outer_scope_is_no_deadline_of_the_budget(autojump_clock: MockClock) -> None:
    with trio.move_on_after(5) as scope, Budget(seconds=10):
        await alloy.run("go", model=ScriptedModel(hangs()))

    assert scope.cancelled_caught


@pytest.mark.parametrize("error", [TimeoutError, trio.TooSlowError])
async def test_a_tools_own_timeout_is_no_deadline_of_the_budget(error: type[Exception]) -> None:
    async def slow() -> str:
        """Take too long."""
        raise error("too slow")

    with Budget(seconds=10):
        result = await alloy.run("go", model=ScriptedModel(calls("slow"), says("ok")), tools=[slow])

    assert result.status is Status.COMPLETED


async def test_a_cancel_by_the_handle_is_no_deadline_of_the_budget(autojump_clock: MockClock) -> None:
    async with alloy.stream("go", model=ScriptedModel(hangs()), budget=Budget(seconds=10)) as stream:
        await trio.sleep(1)
        stream.cancel()

        assert (await stream.result()).status is Status.CANCELLED


async def test_when_the_seconds_are_over_nothing_is_asked(autojump_clock: MockClock) -> None:
    model = ScriptedModel(says("never"))
    with Budget(seconds=5):
        await trio.sleep(6)
        result = await alloy.run("go", model=model)

    assert result.status is Status.DEADLINE
    assert model.requests == []


async def test_a_retry_that_cannot_fit_is_not_waited_for(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    model = ScriptedModel(fails(alloy.RateLimited("slow down", retry_after=30.0)), says("late"))
    with Budget(seconds=10), pytest.raises(alloy.RateLimited):
        await alloy.run("go", model=model)

    assert trio.current_time() == start


@pytest.mark.parametrize("limit", [{"requests_per_minute": 1}, {"tokens_per_minute": 1}])
async def test_a_place_at_the_limiter_that_cannot_come_in_time_is_not_waited_for(
    limit: dict[str, int], autojump_clock: MockClock
) -> None:
    limiter = alloy.Limiter({"scripted": alloy.Rate(**limit)})
    model = ScriptedModel(answer(5, calls("nap")), says("late"))
    async with alloy.HTTP(limiter=limiter) as http:
        with (
            Budget(seconds=10),
            pytest.raises(alloy.RateLimited, match=r"no place for this call within the 9\.0 s") as e,
        ):
            await alloy.run("go", model=model, tools=[nap], http=http)

    assert e.value.result is not None
    assert e.value.result.duration == 1
    assert not e.value.sent


async def test_without_a_place_in_time_the_next_model_is_asked_and_the_first_is_not_blamed(
    autojump_clock: MockClock,
) -> None:
    limiter = alloy.Limiter({"scripted": alloy.Rate(requests_per_minute=1)})
    first, second = ScriptedModel(says("1"), says("3"), name="first"), ScriptedModel(says("2"), name="second")
    second.account = "another"
    async with alloy.HTTP(limiter=limiter) as http:
        with Budget(seconds=100):
            one = await alloy.run("go", model=[first, second], http=http)
            with Budget(seconds=10):
                two = await alloy.run("go", model=[first, second], http=http)
            three = await alloy.run("go", model=[first, second], http=http)

    assert [result.text for result in (one, two, three)] == ["1", "2", "3"]
    assert three.duration == 60


# Prices.


async def test_a_model_without_a_price_is_refused_before_anything_is_asked() -> None:
    model = priced(says("never"), card=ModelCard())
    budget = Budget(usd=1)

    with pytest.raises(alloy.UnpricedModel, match="the price of 'scripted:scripted' is not known") as caught:
        await alloy.run("go", model=model, budget=budget)

    assert caught.value.model == "scripted:scripted"
    assert caught.value.result is not None
    assert model.requests == []
    assert budget.spent == Usage()


async def test_so_is_one_that_would_only_be_asked_if_the_first_fails() -> None:
    first, second = priced(answer(1)), priced(answer(1), card=ModelCard(), name="cheap")

    with Budget(usd=1), pytest.raises(alloy.UnpricedModel, match="scripted:cheap"):
        await alloy.run("go", model=[first, second])

    assert first.requests == second.requests == []


async def test_so_is_one_of_a_sub_agent_and_the_model_is_told() -> None:
    helper = Agent(model=priced(says("never"), card=ModelCard()), name="helper")
    model = priced(answer(1, calls("helper", prompt="?")), answer(1))

    with Budget(usd=1):
        result = await alloy.run("go", model=model, tools=[alloy.as_tool(helper)])

    assert result.tool_calls[0].outcome is Outcome.ERROR
    assert "is not known" in (result.tool_calls[0].error or "")
    assert helper.model.requests == []  # type: ignore[union-attr]


async def test_without_a_limit_of_money_a_price_need_not_be_known() -> None:
    with Budget(tokens=100, tool_calls=1, seconds=10):
        result = await alloy.run("go", model=priced(answer(10), card=ModelCard()))

    assert result.status is Status.COMPLETED
    assert result.usage.cost is None


async def test_what_the_vendor_says_it_cost_is_what_counts() -> None:
    model = priced(says("so", usage=Usage(output_tokens=50, cost=Decimal("0.7"))))
    with Budget(usd=1) as budget:
        await alloy.run("go", model=model)

    assert budget.remaining() == {"usd": Decimal("0.3")}


async def test_a_tool_of_the_vendors_whose_price_is_not_known_leaves_the_tokens_to_be_paid() -> None:
    model = priced(says("so", usage=Usage(output_tokens=50, server_tool_calls={"paint": 1})))
    with Budget(usd=1) as budget:
        await alloy.run("go", model=model)

    assert budget.spent.cost is None
    assert budget.remaining() == {"usd": Decimal("0.95")}


# Tries that fail.


async def test_tries_that_broke_off_are_paid_and_counted(autojump_clock: MockClock) -> None:
    class Billed(ScriptedModel):
        """Tells its usage before it breaks off."""

        async def _deltas(self, step: Any) -> Any:
            async for batch in super()._deltas(step):
                yield [*batch, UsagePart(Usage(output_tokens=100))]

    model = Billed(cuts("half"), says("whole", usage=Usage(output_tokens=100)))
    model.card = DEAR
    with Budget(usd=1) as budget:
        result = await alloy.run("go", model=model, retry=alloy.Retry(on_partial="restart"))

    assert result.text == "whole"
    assert budget.spent.cost == result.usage.cost == Decimal("0.2")
    assert budget.spent.requests == result.usage.requests == 2


class Telling(ScriptedModel):
    """Tells with all that it says that one token was made."""

    async def _deltas(self, step: Any) -> Any:
        async with aclosing(super()._deltas(step)) as deltas:
            async for batch in deltas:
                yield [*batch, UsagePart(Usage(output_tokens=1))]


@pytest.mark.parametrize("kind", [ScriptedModel, Telling])
async def test_an_answer_that_broke_off_before_it_told_all_its_usage_is_guessed(kind: type[ScriptedModel]) -> None:
    model = kind(cuts("x" * 400))
    model.card = DEAR
    with Budget(usd=1) as budget, pytest.raises(alloy.StreamTruncated):
        await alloy.run("go", model=model)

    assert budget.remaining() == {"usd": Decimal("0.9")}


async def test_a_request_that_was_refused_costs_nothing(autojump_clock: MockClock) -> None:
    model = priced(fails(alloy.Overloaded("busy")), answer(100))
    with Budget(usd=1) as budget:
        await alloy.run("go", model=model)

    assert budget.remaining() == {"usd": Decimal("0.9")}


# Warnings.


async def test_a_limit_that_is_nearly_used_up_is_told_once(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    with Budget(usd=1, seconds=1_000), Budget(tool_calls=5):
        await alloy.run("go", worker(tokens=300), on_event=events.append)

    warnings = [event for event in events if isinstance(event, BudgetWarning)]
    assert [(w.limit, w.spent, w.of, w.turn) for w in warnings] == [
        ("usd", Decimal("0.9"), Decimal(1), 3),
        ("tool_calls", 4, 5, 4),
    ]
    assert warnings[0].to_json()["spent"] == "0.900000"


async def test_seconds_that_are_nearly_over_are_told_between_turns(autojump_clock: MockClock) -> None:
    events: list[Any] = []
    model = ScriptedModel(calls("nap", seconds=7), calls("nap", seconds=2), calls("nap", seconds=5))
    result = await alloy.run("go", model=model, tools=[nap], on_event=events.append, budget=Budget(seconds=10))

    assert result.status is Status.DEADLINE
    assert [(e.limit, e.spent, e.of) for e in events if isinstance(e, BudgetWarning)] == [("seconds", 9.0, 10.0)]


# Who draws from what.


async def test_hooks_and_tools_see_what_is_left() -> None:
    seen: list[Any] = []

    class Look(alloy.Middleware):
        async def before_completion(self, run: alloy.RunInfo, request: alloy.Request) -> None:
            seen.append(run.budget)

    async def look(*, ctx: alloy.ToolContext) -> str:
        """Look."""
        seen.append(ctx.budget)
        return str(ctx.budget.remaining()["usd"]) if ctx.budget else ""

    model = priced(answer(250, calls("look")), answer(1))
    with Budget(usd=1) as budget:
        result = await alloy.run("go", model=model, tools=[look], middleware=[Look()])

    assert seen == [budget, budget, budget]
    assert result.messages[2].results[0].text == "0.750000"  # type: ignore[union-attr]


async def test_without_a_budget_there_is_none() -> None:
    async def look(*, ctx: alloy.ToolContext) -> str:
        """Look."""
        return str(ctx.budget)

    result = await alloy.run("go", model=ScriptedModel(calls("look"), says("ok")), tools=[look])

    assert result.messages[2].results[0].text == "None"  # type: ignore[union-attr]


async def test_a_budget_given_to_a_run_lies_within_what_is_around() -> None:
    async def look(*, ctx: alloy.ToolContext) -> str:
        """Look."""
        assert ctx.budget is not None
        return str(sorted(ctx.budget.remaining().items()))

    model = priced(answer(100, calls("look")), answer(100))
    given = Budget(tokens=1_000)
    with Budget(usd=1) as around:
        result = await alloy.run("go", model=model, tools=[look], budget=given)

    left = "[('tokens', 900), ('usd', Decimal('0.900000'))]"
    assert result.messages[2].results[0].text == left  # type: ignore[union-attr]
    assert given.spent == around.spent == result.usage


async def test_several_runs_can_draw_from_one_budget_one_after_the_other() -> None:
    budget = Budget(tokens=100)

    first = await alloy.run("go", model=priced(answer(60)), budget=budget)
    second = await alloy.run("go", model=priced(answer(60)), budget=budget)
    third = await alloy.run("go", model=priced(answer(60)), budget=budget)

    assert [r.status for r in (first, second, third)] == [Status.COMPLETED, Status.COMPLETED, Status.BUDGET]
    assert budget.spent.total_tokens == 120


def test_runs_outside_of_trio_draw_from_the_budget_around_them() -> None:
    with Budget(tokens=100) as budget:
        results = [alloy.run_sync("go", model=priced(answer(60))) for _ in range(3)]

    assert [result.status for result in results] == [Status.COMPLETED, Status.COMPLETED, Status.BUDGET]
    assert budget.spent.total_tokens == 120


async def test_a_run_that_a_tool_starts_draws_too() -> None:
    async def inner() -> str:
        """Run something."""
        return (await alloy.run("go", model=priced(answer(300)))).text

    with Budget(usd=1) as budget:
        await alloy.run("go", model=priced(answer(100, calls("inner")), answer(100)), tools=[inner])

    assert budget.spent.cost == Decimal("0.5")


async def test_so_does_one_that_a_tool_starts_in_a_thread() -> None:
    def inner() -> str:
        """Run something."""
        return alloy.run_sync("go", model=priced(answer(300))).text

    with Budget(usd=1) as budget:
        await alloy.run("go", model=priced(answer(100, calls("inner")), answer(100)), tools=[inner])

    assert budget.spent.cost == Decimal("0.5")


async def test_after_a_handover_the_other_agent_draws_on(autojump_clock: MockClock) -> None:
    second = worker("second")
    first = Agent(model=priced(answer(50, calls("transfer_to_second"))), tools=[alloy.handoff_to(second)])
    with Budget(usd="0.2") as budget:
        result = await alloy.run("go", first)

    assert (result.status, result.agent) == (Status.BUDGET, "second")
    assert budget.spent.cost == Decimal("0.2")


async def test_what_is_no_budget_is_refused() -> None:
    with pytest.raises(TypeError, match=r"budget must be a Budget, got 1\.0"):
        await alloy.run("go", model="scripted:echo", budget=1.0)  # type: ignore[arg-type]  # the test is about that


# Many at once.


async def test_eight_children_side_by_side_overshoot_by_their_calls_in_flight_at_most(
    autojump_clock: MockClock,
) -> None:
    children = [worker(f"child{n}", tokens=50, limits=alloy.Limits(max_turns=100)) for n in range(8)]
    batch = [calls(child.name, prompt="go") for child in children]
    model = priced(answer(10, *batch), answer(10))
    events: list[Any] = []
    with Budget(usd=1) as budget:
        result = await alloy.run(
            "go", model=model, tools=[alloy.as_tool(child) for child in children], on_event=events.append
        )

    finished = [event.result for event in events if isinstance(event, alloy.RunFinished)]
    assert result.status is Status.BUDGET
    assert [run.status for run in finished] == [Status.BUDGET] * 9
    assert all("did not finish (budget)" in (record.error or "") for record in result.tool_calls)
    assert budget.spent == result.usage
    assert budget.spent.cost is not None
    assert Decimal(1) <= budget.spent.cost < 1 + 8 * Decimal("0.05")
    assert sum((run.usage.cost or 0 for run in finished[:-1]), Decimal("0.01")) == result.usage.cost
    assert min(run.turns for run in finished[:-1]) >= 2  # they share it, none starves


async def test_children_whose_calls_may_take_all_that_is_left_take_turns(autojump_clock: MockClock) -> None:
    greedy = alloy.Settings(max_output_tokens=5_000)
    at_once: list[int] = [0, 0]

    class Counting(ScriptedModel):
        async def _deltas(self, step: Any) -> Any:
            at_once[0] += 1
            at_once[1] = max(at_once)
            await trio.sleep(1)
            async for batch in super()._deltas(step):
                yield batch
            at_once[0] -= 1

    async def child() -> None:
        model = Counting(answer(50))
        model.card = DEAR
        assert (await alloy.run("go", model=model, settings=greedy)).status is Status.COMPLETED

    with Budget(usd=1) as budget:
        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(child)

    assert at_once[1] == 1
    assert budget.spent.cost == Decimal("0.4")


# Any tree of budgets.


@attrs.frozen
class Node:
    """A run under a budget of its own, perhaps, that makes some calls of its model, with children in between."""

    tokens: tuple[int, ...]
    tool_calls: int | None
    usd: Decimal | None
    limit: int | None
    deadline: int | None
    rest: int
    children: tuple[Node, ...] = ()

    def nodes(self) -> int:
        return 1 + sum(child.nodes() for child in self.children)


limits = st.none() | st.integers(0, 400)


def nodes(children: st.SearchStrategy[tuple[Node, ...]]) -> st.SearchStrategy[Node]:
    return st.builds(
        Node,
        tokens=st.lists(st.integers(0, 100), min_size=1, max_size=4).map(tuple),
        tool_calls=st.none() | st.integers(0, 6),
        usd=limits.map(lambda value: None if value is None else Decimal(value) / 1_000),
        limit=limits,
        deadline=st.none() | st.integers(0, 12),
        rest=st.integers(0, 3),
        children=children,
    )


trees = st.recursive(nodes(st.just(())), lambda inner: nodes(st.lists(inner, max_size=3).map(tuple)), max_leaves=8)


@attrs.define
class Played:
    """What came of a node, and what it and all below it used by their own account."""

    node: Node
    budget: Budget
    around: Budget | None
    result: Any
    used: Usage
    is_whole: bool  # no child was cut off before it could tell what it used


async def _play(node: Node, played: list[Played]) -> Usage:
    """Run a tree: in its first batch of calls each run starts its children, side by side."""
    begun: list[int] = []
    below: list[Usage] = []

    async def rest() -> str:
        """Rest a while."""
        await trio.sleep(node.rest)
        return "rested"

    async def child(number: int) -> str:
        """Start a child."""
        begun.append(number)
        below.append(await _play(node.children[number], played))
        return "done"

    batch = [calls("child", number=number) for number in range(len(node.children))]
    steps = [answer(tokens, *(batch if not at else []), calls("rest")) for at, tokens in enumerate(node.tokens[:-1])]
    steps.append(answer(node.tokens[-1]))
    around = current_budget.get()
    with Budget(usd=node.usd, tokens=node.limit, tool_calls=node.tool_calls, seconds=node.deadline) as budget:
        tools = [alloy.tool(rest), alloy.tool(child, concurrent=True)]
        result = await alloy.run("go", model=priced(*steps), tools=tools)
    used = sum(below, result.usage)
    played.append(Played(node, budget, around, result, used, len(below) == len(begun)))
    return used


def check_tree(tree: Node) -> None:
    trio.run(_play_and_check, tree, clock=MockClock(autojump_threshold=0))


async def _play_and_check(tree: Node) -> None:
    played: list[Played] = []
    await _play(tree, played)

    for one in played:
        node, budget, left = one.node, one.budget, one.budget.remaining()
        spare = 100 * node.nodes()  # a call in flight for each run below
        assert node.limit is None or budget.spent.total_tokens < node.limit + spare
        assert node.usd is None or (budget.spent.cost or 0) < node.usd + Decimal(spare) / 1_000
        around = {} if one.around is None else one.around.remaining()
        assert all(left[name] <= rest for name, rest in around.items() if name != "seconds")
        if all(other.is_whole for other in played):
            assert attrs.evolve(budget.spent, context_tokens=None) == attrs.evolve(one.used, context_tokens=None)
        match one.result.status:
            case Status.BUDGET:
                assert not all(left.values())
            case Status.DEADLINE:
                assert left["seconds"] == 0
            case _:
                assert one.result.status is Status.COMPLETED
                assert one.result.turns == len(node.tokens)
        ran = [record for record in one.result.tool_calls if record.outcome is Outcome.OK]
        assert node.tool_calls is None or len(ran) <= node.tool_calls
        assert (budget._reserved, budget._reserved_calls) == (Amount(), 0)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_in_any_tree_of_budgets_each_holds_and_the_ledger_agrees(tree: Node) -> None:
    check_tree(tree)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None)
@given(trees)
def test_in_very_many_trees_of_budgets_each_holds_and_the_ledger_agrees(tree: Node) -> None:
    check_tree(tree)
