"""Budgets: what all that runs inside a block, or for a request, may spend together.

A budget lies within those around it, and every model call, tool call and second counts against the whole line. The
one place that spends is `alloy.llm.driver`: it reserves an estimate before it asks a model, and settles what was used
after. What cannot be reserved yet waits for the calls under way; what is spent is refused.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar, Token
from decimal import Decimal
from types import TracebackType
from typing import Any, Self

import attrs
import trio

from alloy.errors import AlloyError
from alloy.llm.models import dollars
from alloy.llm.usage import Usage

WARN_AT = Decimal("0.8")  # of a limit
_LOCK = threading.Lock()  # `run_sync` in a thread draws from what is around that thread


class UnpricedModel(AlloyError):
    """A model whose price nobody knows was to be asked under a limit of money. `model` is its name."""

    def __init__(self, message: str = "", *, model: str = "", result: Any = None) -> None:
        super().__init__(message, result=result)
        self.model = model


class BudgetSpent(AlloyError):
    """A budget allows no further model call. It ends the run, with status `budget`, and is not seen outside of it."""


@attrs.frozen
class Amount:
    """What a model call is taken to use: USD and tokens."""

    usd: Decimal = Decimal()
    tokens: int = 0


@attrs.frozen
class NearLimit:
    """So much of a limit is used that it is time to say so."""

    limit: str
    spent: Decimal | int | float
    of: Decimal | int | float


def _usd(value: Any) -> Decimal | None:
    return None if value is None else dollars(value)


def _count(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{attribute.name} must be an int, or None for no limit, got {value!r}")
    if value is not None and value < 0:
        raise ValueError(f"{attribute.name} must be 0 or more, got {value!r}")


def _seconds(_: object, attribute: attrs.Attribute[Any], value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise TypeError(f"{attribute.name} must be a number, or None for no limit, got {value!r}")
    if value is not None and not value >= 0:
        raise ValueError(f"{attribute.name} must be 0 or more, got {value!r}")


@attrs.define(eq=False, kw_only=True)
class Budget:
    """What may be spent, by all runs that are started inside its block, and by all that work for them.

    ```python
    with alloy.Budget(usd=1.00, tokens=200_000, tool_calls=50, seconds=600) as budget:
        await alloy.run("…")
    print(budget.spent.cost, budget.remaining())
    ```

    Budgets nest like cancel scopes: inside, each limit is the least of one's own and what those around have left. A run
    that meets a limit ends with status `budget`, or `deadline` for seconds, and keeps all it has; the block itself goes
    on. A model call that was begun with something left is paid in full, so a limit is passed by one call of each run
    under way at most. A budget can also be given to `run`, `chat` or `open_agent`, to several of them or again and
    again: they draw from it together.

    Args:
        usd: money. Models whose price is not known are refused.
        tokens: input and output together, cached ones included.
        tool_calls: tools that begin to run.
        seconds: from when the block is entered, or from the first run or request that it is given to.

    Raises:
        TypeError: a limit is no number.
        ValueError: one is less than 0.
    """

    usd: Decimal | None = attrs.field(default=None, converter=_usd)
    tokens: int | None = attrs.field(default=None, validator=_count)
    tool_calls: int | None = attrs.field(default=None, validator=_count)
    seconds: float | None = attrs.field(default=None, validator=_seconds)
    _line: tuple[Budget, ...] = attrs.field(default=(), init=False, repr=False)  # those around it, all the way up
    _token: Token[Budget | None] | None = attrs.field(default=None, init=False, repr=False)
    _entered: bool = attrs.field(default=False, init=False, repr=False)
    _started: _Moment | None = attrs.field(default=None, init=False, repr=False)
    _spent: Usage = attrs.field(factory=Usage, init=False, repr=False)
    _used: Amount = attrs.field(factory=Amount, init=False, repr=False)  # `_spent`, and what of it had to be guessed
    _reserved: Amount = attrs.field(factory=Amount, init=False, repr=False)
    _calls: int = attrs.field(default=0, init=False, repr=False)
    _reserved_calls: int = attrs.field(default=0, init=False, repr=False)
    _warned: set[str] = attrs.field(factory=set, init=False, repr=False)
    _waiting: dict[trio.Event, trio.lowlevel.TrioToken] = attrs.field(factory=dict, init=False, repr=False)

    # The block.

    def __enter__(self) -> Self:
        if self._entered:
            raise RuntimeError("a Budget can be entered only once; make another, or give this one as budget=…")
        self._entered = True
        if (around := current_budget.get()) is not None:
            self._line = around.line
        self._token = current_budget.set(self)
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._token is not None
        current_budget.reset(self._token)

    # What users ask.

    @property
    def spent(self) -> Usage:
        """What was drawn from it so far: all that the vendors have reported."""
        return self._spent

    def remaining(self) -> Mapping[str, Decimal | int | float]:
        """What is left of each limit that it or a budget around it has, by the limit's name; never less than 0.

        Calls under way count once they are done.
        """
        left: dict[str, Decimal | int | float] = {}
        for budget in self.line:
            for name, used, limit in budget._limits():
                rest = max(limit - used, type(limit)())
                left[name] = min(left.get(name, rest), rest)
        return left

    # For the loop.

    @property
    def line(self) -> tuple[Budget, ...]:
        """It, and all budgets around it."""
        return (self, *self._line)

    @property
    def deadline(self) -> float:
        """When the seconds of the line are over, by Trio's clock; `math.inf` without a limit."""
        left = (budget.seconds - budget._elapsed() for budget in self.line if budget.seconds is not None)
        return trio.current_time() + min(left, default=math.inf)

    @property
    def counts_money(self) -> bool:
        """Some budget of the line has a limit of money."""
        return any(budget.usd is not None for budget in self.line)

    @property
    def is_spent(self) -> bool:
        """Nothing is left of some limit of money or tokens, so no model may be asked."""
        return any(budget._is_spent() for budget in self.line)

    def start(self) -> None:
        """The seconds of the line count from now, unless they do already."""
        for budget in self.line:
            if budget._started is None:
                budget._started = _Moment.now()

    async def reserve(self, amount: Amount) -> None:
        """Set aside what a model call may use; waits while calls under way may use up what is left.

        Raises:
            BudgetSpent: nothing is left.
        """
        while (event := self._try_reserve(amount)) is not None:
            await event.wait()

    def _try_reserve(self, amount: Amount) -> trio.Event | None:
        """Set it aside, or return what is set when it is worth to look again."""
        with _LOCK:
            if self.is_spent:
                raise BudgetSpent("the budget is spent")
            crowded = next((budget for budget in self.line if budget._is_spent(budget._reserved)), None)
            if crowded is not None:
                event = trio.Event()
                crowded._waiting[event] = trio.lowlevel.current_trio_token()
                return event
            for budget in self.line:
                budget._reserved = _sum(budget._reserved, amount)
            return None

    def settle(self, reserved: Amount, used: Amount, usage: Usage) -> None:
        """The model call for which that was reserved is over, and has used this; `usage` is what is known of it."""
        with _LOCK:
            for budget in self.line:
                budget._reserved = _sum(budget._reserved, Amount(-reserved.usd, -reserved.tokens))
                budget._used = _sum(budget._used, used)
                budget._spent += usage
                budget._wake()

    def reserve_call(self) -> bool:
        """Set aside one tool call; False if none is left."""
        with _LOCK:
            if any(b.tool_calls is not None and b._calls + b._reserved_calls >= b.tool_calls for b in self.line):
                return False
            for budget in self.line:
                budget._reserved_calls += 1
            return True

    def settle_call(self, *, started: bool) -> None:
        """A tool call for which one was set aside has begun to run, or will not."""
        with _LOCK:
            for budget in self.line:
                budget._reserved_calls -= 1
                budget._calls += started

    def warnings(self) -> Iterator[NearLimit]:
        """Yield of each limit in the line, once, when most of it is used."""
        for budget in self.line:
            for name, used, limit in budget._limits():
                if name not in budget._warned and Decimal(used) >= WARN_AT * Decimal(limit):
                    budget._warned.add(name)
                    yield NearLimit(name, used, limit)

    # How.

    def _limits(self) -> Iterator[tuple[str, Any, Any]]:
        """Each limit of its own: the name, how much of it is used, and the limit."""
        if self.usd is not None:
            yield "usd", self._used.usd, self.usd
        if self.tokens is not None:
            yield "tokens", self._used.tokens, self.tokens
        if self.tool_calls is not None:
            yield "tool_calls", self._calls, self.tool_calls
        if self.seconds is not None:
            yield "seconds", self._elapsed(), float(self.seconds)

    def _elapsed(self) -> float:
        return 0.0 if self._started is None else self._started.elapsed()

    def _is_spent(self, more: Amount = Amount()) -> bool:
        out_of_money = self.usd is not None and self._used.usd + more.usd >= self.usd
        return out_of_money or (self.tokens is not None and self._used.tokens + more.tokens >= self.tokens)

    def _wake(self) -> None:
        """Let all who wait look again; one of them may be in a thread, in a Trio loop of its own."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        here = trio.lowlevel.current_trio_token()
        for event, token in waiting.items():
            if token is here:
                event.set()
            else:
                with suppress(trio.RunFinishedError):
                    token.run_sync_soon(event.set)


@attrs.frozen
class _Moment:
    """A point in time: by Trio's clock, and by the computer's for another loop of Trio or for none."""

    clock: trio.abc.Clock | None
    at: float
    monotonic: float

    @classmethod
    def now(cls) -> _Moment:
        clock = _clock()
        return cls(clock, 0.0 if clock is None else clock.current_time(), time.monotonic())

    def elapsed(self) -> float:
        clock = _clock()
        if clock is None or clock is not self.clock:
            return time.monotonic() - self.monotonic
        return clock.current_time() - self.at


def _clock() -> trio.abc.Clock | None:
    return trio.lowlevel.current_clock() if trio.lowlevel.in_trio_run() else None


def _sum(a: Amount, b: Amount) -> Amount:
    return Amount(a.usd + b.usd, a.tokens + b.tokens)


# What the current task draws from. Tasks and threads that it starts do so as well.
current_budget: ContextVar[Budget | None] = ContextVar("alloy.llm.budget", default=None)


def together(*budgets: Budget | None) -> Budget | None:
    """One budget that draws from all of these; None if they are all None.

    Where one of them lies within all others it is that one itself.
    """
    given = list(dict.fromkeys(budget for budget in budgets if budget is not None))
    innermost = [budget for budget in given if not any(budget in other._line for other in given)]
    if len(innermost) < 2:
        return innermost[0] if innermost else None
    joint = Budget()
    joint._line = tuple(dict.fromkeys(above for budget in innermost for above in budget.line))
    return joint


@contextmanager
def drawing_from(budget: Budget | None) -> Iterator[None]:
    """What runs inside draws from this one, whatever is around."""
    token = current_budget.set(budget)
    try:
        yield
    finally:
        current_budget.reset(token)


def as_budget(value: object) -> Budget | None:
    """Check what a user gave as `budget=`.

    Raises:
        TypeError: it is neither a Budget nor None.
    """
    if value is not None and not isinstance(value, Budget):
        raise TypeError(f"budget must be a Budget, got {value!r}")
    return value
