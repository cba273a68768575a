"""The gate before each vendor."""

from __future__ import annotations

from typing import Any

import pytest
import trio
import trio.testing

from alloy.llm.driver import Retry, complete
from alloy.llm.errors import RateLimited
from alloy.llm.limiter import Limiter, Rate
from alloy.llm.message import UserMessage
from alloy.llm.request import Request, Settings
from alloy.llm.scripted import Says, Script
from alloy.llm.usage import Usage
from alloy.testing import ScriptedModel, fails, says

REQUEST = Request(model="m", messages=[UserMessage("x" * 400)], settings=Settings(max_output_tokens=900))


class Silent:
    """A listener to whom nothing matters."""

    def deltas(self, *_: Any) -> None: ...
    def retrying(self, *_: Any) -> None: ...
    def retracted(self) -> None: ...
    async def room(self) -> None: ...


class Slow(Script):
    """A model whose answers take a second; counts how many are under way."""

    def __init__(self) -> None:
        super().__init__("slow", lambda request: Says(text="x", usage=Usage(input_tokens=100, output_tokens=100)))
        self.now = self.most = 0
        self.begun: list[float] = []

    async def _deltas(self, step: Any) -> Any:
        self.begun.append(trio.current_time())
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await trio.sleep(1)
            for batch in self._answer([step]):
                yield batch
        finally:
            self.now -= 1


async def ask_at_once(model: Script, limiter: Limiter, times: int) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(times):
            nursery.start_soon(complete, model, REQUEST, Retry(), Silent(), limiter)


async def test_no_more_calls_than_allowed_are_under_way(autojump_clock: trio.testing.MockClock) -> None:
    model = Slow()

    await ask_at_once(model, Limiter({"scripted": Rate(concurrent=3)}), 10)

    assert (model.most, trio.current_time()) == (3, 4.0)


async def test_no_more_calls_than_allowed_begin_within_any_minute(autojump_clock: trio.testing.MockClock) -> None:
    model = Slow()

    await ask_at_once(model, Limiter({"scripted": Rate(requests_per_minute=4)}), 9)

    assert model.begun == [0.0] * 4 + [60.0] * 4 + [120.0]


async def test_tokens_are_taken_by_estimate_and_settled_by_usage(autojump_clock: trio.testing.MockClock) -> None:
    model = Slow()  # estimated at 1,000 tokens each, and uses 200

    await ask_at_once(model, Limiter({"scripted": Rate(tokens_per_minute=2_000)}), 5)

    assert model.begun == [0.0, 0.0, 1.0, 2.0, 3.0]


async def test_a_call_larger_than_the_limit_goes_alone(autojump_clock: trio.testing.MockClock) -> None:
    model = Slow()

    await ask_at_once(model, Limiter({"scripted": Rate(tokens_per_minute=10)}), 2)

    assert model.begun == [0.0, 60.0]


async def test_a_vendor_without_a_rate_is_not_bounded(autojump_clock: trio.testing.MockClock) -> None:
    model = Slow()

    await ask_at_once(model, Limiter({"other": Rate(concurrent=1)}), 50)

    assert model.most == 50


async def test_a_429_closes_the_gate_for_all_who_share_it(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter()
    limited = ScriptedModel(fails(RateLimited("slow down", retry_after=30.0)), says("ok"))
    other = Slow()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(complete, limited, REQUEST, Retry(), Silent(), limiter)
        await trio.sleep(5)
        nursery.start_soon(complete, other, REQUEST, Retry(), Silent(), limiter)

    assert other.begun == [30.0]


async def test_a_wait_that_nobody_waits_for_closes_nothing(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter()
    limited = ScriptedModel(fails(RateLimited("come back tomorrow", retry_after=3600.0)))
    other = Slow()

    with pytest.raises(RateLimited):
        await complete(limited, REQUEST, Retry(), Silent(), limiter)
    await complete(other, REQUEST, Retry(), Silent(), limiter)

    assert other.begun == [0.0]


async def test_a_caller_that_is_cancelled_gives_its_place_back(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter({"scripted": Rate(concurrent=1)})
    model = Slow()

    for _ in range(20):
        with trio.move_on_after(0.3):
            await ask_at_once(model, limiter, 3)
    await complete(model, REQUEST, Retry(), Silent(), limiter)

    assert trio.current_time() == pytest.approx(7.0)


@pytest.mark.parametrize("name", ["concurrent", "requests_per_minute", "tokens_per_minute"])
def test_a_limit_below_one_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be 1 or more"):
        Rate(**{name: 0})


def test_a_rate_of_another_kind_is_refused() -> None:
    with pytest.raises(TypeError, match="the rate of 'anthropic' must be a Rate"):
        Limiter({"anthropic": 8})  # type: ignore[dict-item]
