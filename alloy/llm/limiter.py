"""One gate for all who ask the same vendor with the same key: so many at once, so many a minute.

A place is held for one model call and no longer, never while an agent waits for another, so agents that call
each other cannot block each other here.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import AsyncIterator, Callable, Hashable, Mapping
from contextlib import asynccontextmanager

import attrs
import trio

from alloy.llm.message import AssistantMessage, Message, ToolMessage
from alloy.llm.request import Request

MINUTE = 60.0


def _positive(instance: Rate, attribute: attrs.Attribute[int | None], value: int | None) -> None:
    if value is not None and value < 1:
        raise ValueError(f"{attribute.name} must be 1 or more, or None, got {value!r}")


@attrs.frozen(kw_only=True)
class Rate:
    """What a vendor allows for one key; None for no limit.

    Attributes:
        concurrent: calls under way at the same time.
        requests_per_minute: calls begun within any 60 seconds.
        tokens_per_minute: input and output tokens within any 60 seconds. A call takes an estimate when it begins
            and is settled by the usage that the vendor reports.

    Raises:
        ValueError: a limit is less than 1.
    """

    concurrent: int | None = attrs.field(default=None, validator=_positive)
    requests_per_minute: int | None = attrs.field(default=None, validator=_positive)
    tokens_per_minute: int | None = attrs.field(default=None, validator=_positive)


UNBOUNDED = Rate()


@attrs.define(eq=False)
class Call:
    """One call's place. `tokens` is what it is taken to use, an estimate until it is known."""

    begun_at: float
    tokens: int


class Limiter:
    """Bounds the calls to each vendor, for all runs and agents that share an `alloy.HTTP` with it.

    ```python
    limiter = alloy.Limiter({"anthropic": alloy.Rate(concurrent=8, requests_per_minute=50)})
    async with alloy.HTTP(limiter=limiter) as http: ...
    ```

    A vendor without a rate is not bounded. Each key and base URL of a vendor has a gate of its own. When a vendor
    answers that the rate is exceeded, its gate closes for all callers for as long as the vendor asks.

    Args:
        rates: by the vendor's name.

    Raises:
        TypeError: a rate is no `Rate`.
    """

    def __init__(self, rates: Mapping[str, Rate] | None = None) -> None:
        self._rates = dict(rates or {})
        for vendor, rate in self._rates.items():
            if not isinstance(rate, Rate):
                raise TypeError(f"the rate of {vendor!r} must be a Rate, got {rate!r}")
        self._gates: dict[Hashable, Gate] = {}

    def gate(self, vendor: str, account: Hashable) -> Gate:
        """The gate of one account at a vendor."""
        key = (vendor, account)
        if key not in self._gates:
            self._gates[key] = Gate(self._rates.get(vendor, UNBOUNDED))
        return self._gates[key]


@attrs.define(eq=False)
class Gate:
    """What all callers of one account pass, in the order in which they came.

    Attributes:
        rate: what is allowed.
        closed_until: by Trio's clock: nobody passes before.
    """

    rate: Rate
    closed_until: float = -math.inf
    _running: int = 0
    _recent: deque[Call] = attrs.field(factory=deque)  # begun within the last minute, oldest first
    _queue: trio.StrictFIFOLock = attrs.field(factory=trio.StrictFIFOLock)
    _left: trio.Event = attrs.field(factory=trio.Event)

    @asynccontextmanager
    async def passing(self, estimated: Callable[[], int]) -> AsyncIterator[Call]:
        """Hold a place for one call; waits for it.

        Args:
            estimated: about how many tokens it will use; asked only if tokens are counted.
        """
        if self.rate == UNBOUNDED:  # nothing to wait for but the end of a 429
            await trio.sleep_until(max(self.closed_until, trio.current_time()))
            yield Call(trio.current_time(), 0)
            return
        tokens = estimated() if self.rate.tokens_per_minute is not None else 0
        async with self._queue:
            while (wait := self._wait(tokens)) > 0:
                with trio.move_on_after(wait):
                    await self._left.wait()
                self._left = trio.Event()
            call = Call(trio.current_time(), tokens)
            self._recent.append(call)
            self._running += 1
        try:
            yield call
        finally:
            self._running -= 1
            self._left.set()

    def close(self, seconds: float) -> None:
        """Let nobody pass for so long: the vendor says that the rate is exceeded."""
        self.closed_until = max(self.closed_until, trio.current_time() + seconds)

    def _wait(self, tokens: int) -> float:
        """Seconds until the next caller may pass, as far as is known; `math.inf` until another leaves."""
        now = trio.current_time()
        while self._recent and self._recent[0].begun_at <= now - MINUTE:
            self._recent.popleft()
        if now < self.closed_until:
            return self.closed_until - now
        if self.rate.concurrent is not None and self._running >= self.rate.concurrent:
            return math.inf
        if self.rate.requests_per_minute is not None and len(self._recent) >= self.rate.requests_per_minute:
            return self._recent[0].begun_at + MINUTE - now
        if self.rate.tokens_per_minute is not None and self._recent:
            excess = sum(call.tokens for call in self._recent) + tokens - self.rate.tokens_per_minute
            if excess > 0:
                return self._until_spent(excess) - now
        return 0.0

    def _until_spent(self, excess: int) -> float:
        """When so many tokens of the last minute will be more than a minute old."""
        ends = self._recent[-1].begun_at
        for call in self._recent:
            excess -= call.tokens
            if excess <= 0:
                ends = call.begun_at
                break
        return ends + MINUTE


def estimate(request: Request) -> int:
    """About how many tokens a request will use: a quarter of its characters, and its answer."""
    characters = len(request.system) + sum(map(_characters, request.messages))
    return characters // 4 + (request.settings.max_output_tokens or 1_000)


def _characters(message: Message) -> int:
    if isinstance(message, ToolMessage):
        return sum(len(result.text) for result in message.results)
    calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
    return len(message.text) + sum(len(call.arguments_text) for call in calls)
