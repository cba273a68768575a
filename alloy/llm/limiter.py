"""One gate for all who ask the same vendor with the same key: so many at once, so many a minute.

And one breaker for all who ask the same model of a chain: one that failed is passed over for a while.

A place is held for one model call and no longer, never while an agent waits for another, so agents that call
each other cannot block each other here.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence

import attrs
import trio

from alloy.llm.errors import ProviderError, RateLimited
from alloy.llm.message import AssistantMessage, Message, ToolMessage
from alloy.llm.provider import Model
from alloy.llm.request import Request
from alloy.llm.transcript import growing, kept_with

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
        cool_down: seconds for which a model that failed is passed over, in agents that have another to ask.

    Raises:
        TypeError: a rate is no `Rate`.
        ValueError: `cool_down` is less than 0.
    """

    def __init__(self, rates: Mapping[str, Rate] | None = None, *, cool_down: float = 60.0) -> None:
        if not cool_down >= 0:
            raise ValueError(f"cool_down must be 0 or more, got {cool_down!r}")
        self._rates = dict(rates or {})
        self._cool_down = cool_down
        for vendor, rate in self._rates.items():
            if not isinstance(rate, Rate):
                raise TypeError(f"the rate of {vendor!r} must be a Rate, got {rate!r}")
        self._gates: dict[Hashable, Gate] = {}
        self._breakers: dict[Hashable, Breaker] = {}

    def gate(self, vendor: str, account: Hashable) -> Gate:
        """The gate of one account at a vendor."""
        key = (vendor, account)
        if key not in self._gates:
            self._gates[key] = Gate(self._rates.get(vendor, UNBOUNDED))
        return self._gates[key]

    def breaker(self, model: Model) -> Breaker:
        """Whether this model, asked with its key, has failed a short while ago."""
        key = _key(model)
        if key not in self._breakers:
            self._breakers[key] = Breaker(self._cool_down)
        return self._breakers[key]

    def mend(self, model: Model) -> None:
        """This model has answered."""
        self._breakers.pop(_key(model), None)


def _key(model: Model) -> Hashable:
    return model.origin.vendor, model.account, model.name


@attrs.define(eq=False)
class Breaker:
    """Has those who have another model to ask pass over one that failed, until its time to cool down is over.

    Then one of them tries it, while the others still wait for how that goes.

    Attributes:
        cool_down: seconds.
        error: of the last failure, without what it holds of a conversation; None while there is none.
        open_until: by Trio's clock.
    """

    cool_down: float
    error: ProviderError | None = None
    open_until: float = -math.inf

    @property
    def is_open(self) -> bool:
        """The model is to be passed over."""
        return trio.current_time() < self.open_until

    def trip(self, error: ProviderError) -> None:
        """The model has failed; a server that asks for a longer wait gets it."""
        self.error = copy.copy(error)
        self.error.partial = self.error.result = None
        self.error.others = ()
        self.open_until = trio.current_time() + max(self.cool_down, error.retry_after or 0.0)

    def probe(self) -> None:
        """Somebody asks the model: if it had failed, the others wait for how that goes."""
        if self.error is not None:
            self.open_until = trio.current_time() + self.cool_down


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

    def passing(self, estimated: Callable[[], int]) -> Passage:
        """Hold a place for one call, for as long as an `async with` block runs; waits for it.

        Args:
            estimated: about how many tokens it will use; asked only if tokens are counted.

        Raises:
            RateLimited: on entering: there will be no place before the deadline; nothing was sent.
        """
        return Passage(self, estimated)

    async def enter(self, estimated: Callable[[], int]) -> Call:
        """Wait for a place; see `passing`."""
        if self.rate == UNBOUNDED:  # nothing to wait for but the end of a 429
            if (wait := self.closed_until - trio.current_time()) > 0:
                _check_fits(wait)
            await trio.sleep(max(wait, 0.0))
            self._running += 1
            return Call(trio.current_time(), 0)
        tokens = estimated() if self.rate.tokens_per_minute is not None else 0
        _check_fits(self._wait(tokens))  # those before it in the queue make it no shorter
        async with self._queue:
            while (wait := self._wait(tokens)) > 0:
                _check_fits(wait)
                with trio.move_on_after(wait):
                    await self._left.wait()
                self._left = trio.Event()
            call = Call(trio.current_time(), tokens)
            self._recent.append(call)
            self._running += 1
            return call

    def leave(self) -> None:
        """Give a place back."""
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


def _check_fits(wait: float) -> None:
    """Refuse a wait of so many seconds, as far as is known, that would end after the deadline anyway."""
    remaining = trio.current_effective_deadline() - trio.current_time()
    if 0 < remaining < wait < math.inf:
        raise RateLimited(
            f"there is no place for this call within the {remaining:.1f} s that are left: the next is in {wait:.1f} s",
            retry_after=wait,
            sent=False,
        )


@attrs.define(eq=False)
class Passage:
    """A place in a gate, taken on entering and given back on leaving."""

    gate: Gate
    estimated: Callable[[], int]

    async def __aenter__(self) -> Call:
        return await self.gate.enter(self.estimated)

    async def __aexit__(self, *exc: object) -> None:
        self.gate.leave()


def estimate(request: Request) -> int:
    """About how many tokens a request will use: a quarter of its characters, and its answer."""
    return input_estimate(request) + output_estimate(request)


def input_estimate(request: Request) -> int:
    """About how many tokens the model will read."""
    said = growing(kept_with(request.messages), Characters).of(request.messages)
    return (len(request.system) + said.count) // 4


class Characters:
    """How long the messages of a conversation are: a `Sum`."""

    def __init__(self) -> None:
        self.count: int = 0

    def extend(self, messages: Sequence[Message]) -> None:
        """Take in these."""
        self.count += sum(map(characters, messages))


def output_estimate(request: Request) -> int:
    """How many tokens the answer may have, or about how many it will have if nothing is said of that."""
    return request.settings.max_output_tokens or 1_000


def characters(message: Message) -> int:
    """How long a message is, without its reasoning and its files."""
    if isinstance(message, ToolMessage):
        return sum(len(result.text) for result in message.results)
    calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
    return len(message.text) + sum(len(call.arguments_text) for call in calls)
