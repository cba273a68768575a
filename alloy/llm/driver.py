"""Asking one model until it has answered: retries live here and nowhere else. `alloy.llm.fallback` has the next.

The decision is `retry_delay`, which is pure; `complete` acts on it.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Sequence
from itertools import count
from typing import Literal, Protocol

import attrs
import trio

from alloy.llm.completion import Fold
from alloy.llm.delta import Delta
from alloy.llm.errors import Overloaded, ProviderError, RateLimited
from alloy.llm.limiter import Limiter, estimate
from alloy.llm.message import AssistantMessage
from alloy.llm.provider import Model
from alloy.llm.request import Request
from alloy.llm.spending import Bill, billed


@attrs.frozen(kw_only=True)
class Retry:
    """When to ask again after a failure that may pass.

    Attributes:
        attempts: how often to ask in all; 1 never asks again.
        base: seconds; the wait before attempt n + 1 is drawn evenly from 0 to `base * 2 ** (n - 1)` …
        cap: … or to `cap` seconds, whichever is less.
        max_wait: seconds; a server that asks for a longer wait is not waited for.
        on_partial: what to do when an answer breaks off after some of it was delivered: `"raise"`, or
            `"restart"` to retract what was delivered and ask again.

    Raises:
        ValueError: a value is out of its bounds.
    """

    attempts: int = 4
    base: float = 1.0
    cap: float = 30.0
    max_wait: float = 120.0
    on_partial: Literal["raise", "restart"] = "raise"

    def __attrs_post_init__(self) -> None:
        if self.attempts < 1:
            raise ValueError(f"attempts must be 1 or more, got {self.attempts!r}")
        for name in ("base", "cap", "max_wait"):
            if not (value := getattr(self, name)) >= 0:
                raise ValueError(f"{name} must be 0 or more, got {value!r}")
        if self.on_partial not in ("raise", "restart"):
            raise ValueError(f"on_partial must be 'raise' or 'restart', got {self.on_partial!r}")


class Listener(Protocol):
    """Who follows an answer while it comes."""

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        """These have just been folded in."""

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        """Attempt `attempt` failed with `error`; the next one comes in `delay` seconds."""

    def retracted(self) -> None:
        """What was delivered of this answer is void; it will come anew."""

    async def room(self) -> None:
        """Wait until whoever watches has caught up."""


def retry_delay(
    retry: Retry,
    error: ProviderError,
    *,
    attempt: int,
    delivered: bool,
    remaining: float,
    draw: float,
    has_another: bool = False,
) -> float | None:
    """Decide whether to ask again: the seconds to wait before that, or None to give up.

    Args:
        retry: what is allowed.
        error: what went wrong.
        attempt: the number of the attempt that failed, from 1.
        delivered: some of the answer has been handed on.
        remaining: seconds to the deadline, `math.inf` without one.
        draw: a random number from 0 to 1.
        has_another: another model can be asked, which is better than to wait for one that is overloaded.

    Source: AWS Architecture Blog, "Exponential Backoff And Jitter", full jitter (read 2026-11-22).
    """
    if not error.retryable or attempt >= retry.attempts:
        return None
    if delivered and retry.on_partial == "raise":
        return None
    if has_another and isinstance(error, Overloaded):
        return None
    if error.retry_after is not None:
        delay = error.retry_after
        if delay > retry.max_wait:
            return None
    else:
        delay = draw * min(retry.cap, retry.base * 2.0 ** min(attempt - 1, 64))
    return delay if delay < remaining else None


def _wait_for_all(error: ProviderError, delay: float | None, retry: Retry) -> float | None:
    """Seconds for which nobody else need ask either: the vendor has said that the rate is exceeded."""
    if not isinstance(error, RateLimited) or not error.sent:
        return None
    wait = error.retry_after or delay or 0.0
    return wait if wait <= retry.max_wait else None


async def complete(
    model: Model,
    request: Request,
    retry: Retry,
    listener: Listener,
    limiter: Limiter | None = None,
    *,
    has_another: bool = False,
) -> AssistantMessage:
    """Ask `model` until it has answered in full, and return the answer.

    Each try is paid by the current budget and passes the limiter's gate; a `RateLimited` closes that for all who ask
    with the same account. With `has_another`, a model that is overloaded is not waited for.

    Raises:
        ProviderError: the failure that `retry` does not allow to try again after; `.partial` has what had come,
            and `.delivered` tells whether some of it was handed on.
        UnpricedModel: there is a budget of money, and the model's price is not known.
        BudgetSpent: nothing is left of the budget.
    """
    cap = request.settings.max_output_tokens
    gate = (limiter or Limiter()).gate(model.origin.vendor, model.account)
    for attempt in count(1):
        fold = Fold(model.origin)
        begun_at = time.time()
        try:
            async with (
                Bill(model, request, fold, begun_at) as bill,
                gate.passing(functools.partial(estimate, request)) as place,
                model.stream(request) as answer,
            ):
                async for deltas in answer:
                    fold.add(deltas)
                    listener.deltas(fold, deltas)
                    await listener.room()
                message = bill.answer = billed(fold.message(cap), model, request, at=begun_at)
                if message.usage is not None:
                    place.tokens = message.usage.total_tokens
            return message
        except ProviderError as error:
            if error.partial is None and (partial := fold.partial()) is not None:
                error.partial = billed(partial, model, request, at=begun_at)
            error.delivered = delivered = fold.has_content
            remaining = trio.current_effective_deadline() - trio.current_time()
            delay = retry_delay(
                retry,
                error,
                attempt=attempt,
                delivered=delivered,
                remaining=remaining,
                draw=random.random(),
                has_another=has_another,
            )
            if (wait := _wait_for_all(error, delay, retry)) is not None:
                gate.close(wait)
            if delay is None:
                raise
            if delivered:
                listener.retracted()
            listener.retrying(error, attempt, delay)
        await trio.sleep(delay)
    raise AssertionError("unreachable")
