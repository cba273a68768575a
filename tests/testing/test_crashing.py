"""The fixture that lets a program crash wherever it can, on small programs."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio

import alloy
from alloy.loop.records import ModelChanged, RunEnded
from alloy.stores import MemoryStore, Store
from alloy.testing import CrashingStore, CrashPoint, CrashPoints, ScriptedModel, calls, hangs, says

Fixture = Callable[..., CrashPoints[Any]]


async def count_to(store: Store, last: int) -> int:
    """Commit the numbers that are not there yet."""
    async with store.open("s") as journal:
        for number in range(len(journal.entries), last):
            await journal.append(ModelChanged(model=str(number)))
        return len(journal.entries)


async def test_a_program_crashes_before_and_after_each_commit(crash_points: Fixture) -> None:
    begun = itertools.count()

    async def begin(store: Store) -> int:
        next(begun)
        return await count_to(store, 3)

    survivors = [s async for s in crash_points(begin, lambda store: count_to(store, 3))]

    assert [list(map(str, survivor.points)) for survivor in survivors] == [
        [],
        *(["before commit 1"], ["after commit 1"], ["before commit 2"], ["after commit 2"]),
        *(["before commit 3"], ["after commit 3"]),
    ]
    assert {survivor.result for survivor in survivors} == {3}
    assert (
        next(begun) == 9
    )  # seven, once more where nothing was written, and once to see that there is no fourth commit


async def test_a_program_can_crash_again_while_it_goes_on(crash_points: Fixture) -> None:
    ways = crash_points(lambda store: count_to(store, 2), lambda store: count_to(store, 2), crashes=2)
    told = [tuple((point.commit, point.written) for point in s.points) async for s in ways]

    first = [(1, False), (1, True), (2, False), (2, True)]
    left = {(1, False): first, (1, True): first[:2], (2, False): first[:2], (2, True): []}
    assert told == [(), *itertools.chain.from_iterable([(one,), *((one, two) for two in left[one])] for one in first)]


async def test_what_is_under_way_at_a_crash_is_cancelled(crash_points: Fixture) -> None:
    ended: list[str] = []

    async def begin(store: Store) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_to, store, 1)
            try:
                await trio.sleep(0.01 if store.at is None else 3600)  # type: ignore[attr-defined]
            except trio.Cancelled:
                ended.append("cancelled")
                with pytest.raises(alloy.StoreError, match="the store is dead: it died"):
                    await store.sessions()
                raise

    async def go_on(store: Store) -> None:
        await count_to(store, 1)

    ways = crash_points(begin, go_on)
    await anext(ways)
    await anext(ways)

    assert ended == ["cancelled"]


async def test_a_program_that_writes_nothing_is_an_error(crash_points: Fixture) -> None:
    async def begin(store: Store) -> str:
        return (await alloy.run("x", model="scripted:echo")).text

    with pytest.raises(AssertionError, match="written nothing to the store"):
        await anext(crash_points(begin, begin))
    with pytest.raises(ValueError, match="crashes must be 1 or more, got 0"):
        crash_points(begin, begin, crashes=0)


async def test_an_error_says_where_the_program_had_crashed(crash_points: Fixture) -> None:
    async def go_on(store: Store) -> int:
        raise LookupError("lost")

    ways = crash_points(lambda store: count_to(store, 2), go_on)
    await anext(ways)
    await anext(ways)
    with pytest.raises(LookupError) as caught:
        await anext(ways)

    assert caught.value.__notes__ == ["crashed after commit 1"]


async def test_an_error_of_the_run_that_is_none_of_a_crash_is_raised(crash_points: Fixture) -> None:
    async def begin(store: Store) -> None:
        await alloy.run("x", model=ScriptedModel(hangs()), store=store, budget=alloy.Budget(seconds=0.01))
        raise alloy.Overloaded("the program's own")

    with pytest.raises(alloy.Overloaded, match="the program's own"):
        await anext(crash_points(begin, begin))


@pytest.mark.works("`crash_points`, a fixture: a program crashes at every point where it can, and goes on")
async def test_an_order_is_made_at_most_once_wherever_the_program_crashes(crash_points: Fixture) -> None:
    orders: list[str] = []

    async def order(title: str) -> str:
        """Order a book."""
        orders.append(title)
        return f"{title} is on its way"

    def clerk() -> alloy.Agent:
        model = ScriptedModel(calls("order", title="Walden"), says("Done."), by_history=True)
        return alloy.Agent(model=model, tools=[order])

    async def begin(store: Store) -> alloy.Result[Any]:
        orders.clear()
        return await alloy.run("Order Walden.", clerk(), store=store, session_id="s")

    async def go_on(store: Store) -> alloy.Result[Any]:
        return await alloy.resume(store, "s", clerk())

    made = []
    async for survivor in crash_points(begin, go_on):
        (call,) = survivor.result.tool_calls
        made.append((call.outcome, len(orders)))
        assert survivor.result.text == "Done."
        async with survivor.store as store:
            assert isinstance((await store.entries("s"))[-1].record, RunEnded)

    assert set(made) == {("ok", 1), ("interrupted", 0), ("interrupted", 1)}


async def test_a_store_that_dies_leaves_the_other_as_it_was() -> None:
    inner = MemoryStore()
    async with CrashingStore(inner, CrashPoint(2, written=True)) as store, store.open("s") as journal:
        await journal.append(ModelChanged(model="1"))
        with pytest.raises(alloy.StoreError, match="the store died after commit 2, as it was told to"):
            await journal.append(ModelChanged(model="2"))
        with pytest.raises(alloy.StoreError, match="the store is dead"):
            await journal.append(ModelChanged(model="3"))
        assert store.commits == 2

    async with inner, inner.open("s") as journal:
        assert [entry.record for entry in journal.entries] == [ModelChanged(model="1"), ModelChanged(model="2")]


async def test_a_model_can_find_its_place_by_the_history() -> None:
    model = ScriptedModel(says("one"), says("two"), by_history=True)
    first = await alloy.run("x", model=model)
    again = await alloy.run("x", model=model)
    second = await alloy.run("y", model=model, history=first.messages)

    assert [first.text, again.text, second.text] == ["one", "one", "two"]
