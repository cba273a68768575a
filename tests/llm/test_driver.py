"""Asking until there is an answer."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
import trio

from alloy.llm.completion import Fold
from alloy.llm.delta import Delta
from alloy.llm.driver import Retry, complete, retry_delay
from alloy.llm.errors import BadRequest, Overloaded, ProviderError, RateLimited, StreamTruncated
from alloy.llm.message import UserMessage
from alloy.llm.request import Request
from alloy.testing import ScriptedModel, cuts, fails, says

REQUEST = Request(model="m", messages=(UserMessage("x"),))


class Notes:
    """A listener that writes everything down."""

    def __init__(self) -> None:
        self.seen: list[object] = []

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        self.seen += [type(delta).__name__ for delta in deltas if type(delta).__name__ == "TextPart"]

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        self.seen.append((type(error).__name__, attempt, delay))

    def retracted(self) -> None:
        self.seen.append("retracted")

    async def room(self) -> None:
        return


@pytest.mark.parametrize(
    ("retry", "error", "given", "delay"),
    [
        (Retry(), Overloaded(), {"attempt": 1, "draw": 0.5}, 0.5),
        (Retry(), Overloaded(), {"attempt": 3, "draw": 0.5}, 2.0),
        (Retry(attempts=99), Overloaded(), {"attempt": 50, "draw": 1.0}, 30.0),
        (Retry(attempts=9**9), Overloaded(), {"attempt": 9**8, "draw": 1.0}, 30.0),
        (Retry(), Overloaded(), {"attempt": 4}, None),
        (Retry(attempts=1), Overloaded(), {"attempt": 1}, None),
        (Retry(), BadRequest(), {"attempt": 1}, None),
        (Retry(), RateLimited(retry_after=7.0), {"attempt": 1}, 7.0),
        (Retry(), RateLimited(retry_after=0.0), {"attempt": 1}, 0.0),
        (Retry(), RateLimited(retry_after=120.0), {"attempt": 1}, 120.0),
        (Retry(), RateLimited(retry_after=121.0), {"attempt": 1}, None),
        (Retry(), RateLimited(retry_after=7.0), {"attempt": 1, "remaining": 7.0}, None),
        (Retry(), RateLimited(retry_after=7.0), {"attempt": 1, "remaining": 8.0}, 7.0),
        (Retry(), StreamTruncated(), {"attempt": 1, "delivered": True}, None),
        (Retry(on_partial="restart"), StreamTruncated(), {"attempt": 1, "delivered": True}, 1.0),
    ],
)
def test_whether_to_ask_again_is_decided_by_a_table(
    retry: Retry, error: ProviderError, given: dict[str, float], delay: float | None
) -> None:
    known = {"delivered": False, "remaining": math.inf, "draw": 1.0, **given}

    assert retry_delay(retry, error, **known) == delay  # type: ignore[arg-type]


@pytest.mark.parametrize("fields", [{"attempts": 0}, {"base": -1}, {"cap": math.nan}, {"on_partial": "ignore"}])
def test_a_retry_that_makes_no_sense_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(fields))):
        Retry(**fields)  # type: ignore[arg-type]


@pytest.mark.works("Retries with jitter, the server's own wait, and the deadline")
async def test_a_failure_that_may_pass_is_waited_for_as_the_server_asks(autojump_clock: trio.testing.MockClock) -> None:
    model = ScriptedModel(fails(RateLimited(retry_after=30.0)), fails(RateLimited(retry_after=12.5)), says("hi"))
    notes = Notes()

    message = await complete(model, REQUEST, Retry(), notes)

    assert message.text == "hi"
    assert trio.current_time() == 42.5
    assert notes.seen == [("RateLimited", 1, 30.0), ("RateLimited", 2, 12.5), "TextPart"]


async def test_after_some_of_the_answer_was_delivered_nobody_asks_again(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ScriptedModel(cuts("half"), says("never asked"))

    with pytest.raises(StreamTruncated) as caught:
        await complete(model, REQUEST, Retry(), Notes())

    assert caught.value.partial is not None
    assert caught.value.partial.text == "half"
    assert len(model.requests) == 1


async def test_restarting_retracts_what_was_delivered(autojump_clock: trio.testing.MockClock) -> None:
    model = ScriptedModel(cuts("half"), says("whole"))
    notes = Notes()

    message = await complete(model, REQUEST, Retry(on_partial="restart", base=0.0), notes)

    assert message.text == "whole"
    assert notes.seen == ["TextPart", "retracted", ("StreamTruncated", 1, 0.0), "TextPart"]


async def test_a_wait_that_does_not_fit_into_the_deadline_raises_at_once(
    autojump_clock: trio.testing.MockClock,
) -> None:
    model = ScriptedModel(fails(RateLimited(retry_after=30.0)))

    with trio.fail_after(10), pytest.raises(RateLimited):
        await complete(model, REQUEST, Retry(), Notes())

    assert trio.current_time() == 0.0


async def test_asking_a_model_is_a_checkpoint() -> None:
    with trio.testing.assert_checkpoints():
        await complete(ScriptedModel(says("x")), REQUEST, Retry(), Notes())
