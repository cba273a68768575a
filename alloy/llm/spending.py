"""What a model call costs the budget that it is made under."""

from __future__ import annotations

from decimal import Decimal
from typing import Self

import attrs

from alloy.llm.budget import Amount, Budget, UnpricedModel, current_budget
from alloy.llm.completion import Fold
from alloy.llm.limiter import characters, input_estimate, output_estimate
from alloy.llm.message import AssistantMessage
from alloy.llm.models import tokens_cost, with_cost
from alloy.llm.provider import Model
from alloy.llm.request import Request
from alloy.llm.usage import Usage


def check_price(model: Model, budget: Budget | None) -> None:
    """Refuse a model that may cost anything, where money counts.

    Raises:
        UnpricedModel: its price is not known.
    """
    card = model.card
    if budget is not None and budget.counts_money and card.price is None and not card.reports_cost:
        raise UnpricedModel(
            f"the price of {model.name!r} is not known, so a budget of money cannot be kept; give it with "
            f"alloy.model({model.name!r}, price=alloy.Price(…)), or limit tokens instead",
            model=model.name,
        )


def billed(message: AssistantMessage, model: Model, request: Request, *, at: float) -> AssistantMessage:
    """The same answer, with what it cost. `at` is when it was asked for, in UNIX seconds."""
    if message.usage is None:
        return message
    usage = with_cost(message.usage, model.card.price, request.settings.vendor, at=at)
    return message if usage is message.usage else attrs.evolve(message, usage=usage)


@attrs.define(eq=False)
class Bill:
    """One call: on entering reserves what it may use of the current budget, on leaving settles what it has used.

    Attributes:
        model: is asked.
        request: what it is asked.
        fold: puts the answer together.
        at: when it is asked, in UNIX seconds.
        answer: what came of it, once it is whole; what broke off is paid as far as it came.

    Raises:
        UnpricedModel: on entering: its price is not known, and money counts.
        BudgetSpent: on entering: nothing is left.
    """

    model: Model
    request: Request
    fold: Fold
    at: float
    answer: AssistantMessage | None = None
    _reserved: tuple[Budget, Amount] | None = None  # and of which budget

    async def __aenter__(self) -> Self:
        if (budget := current_budget.get()) is not None:
            check_price(self.model, budget)
            guess = _guess(input_estimate(self.request), output_estimate(self.request))
            reserved = _amount(self.model, guess, self.at)
            await budget.reserve(reserved)
            self._reserved = budget, reserved
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._reserved is None:
            return
        budget, reserved = self._reserved
        answer = self.answer
        if answer is None and (partial := self.fold.partial()) is not None:
            answer = billed(partial, self.model, self.request, at=self.at)
        told = None if answer is None else answer.usage
        used = told if told and self.answer else _at_least(told, self.request, self.answer or self.fold.message())
        budget.settle(reserved, _amount(self.model, used, self.at), Usage() if answer is None else usage_of(answer))


def _at_least(told: Usage | None, request: Request, answer: AssistantMessage) -> Usage:
    """What a call must have used whose vendor has not told it, or not yet all of it; nothing if nothing came."""
    length = (characters(answer) + len(answer.thinking)) // 4
    if told is None:
        return _guess(input_estimate(request), length) if answer.content else Usage()
    # Anthropic tells the input at the beginning of an answer, and the output at its end.
    return told if told.output_tokens >= length else attrs.evolve(told, output_tokens=length, cost=None)


def usage_of(answer: AssistantMessage) -> Usage:
    """What one request used, as far as it is known."""
    usage = answer.usage or Usage()
    return usage if usage.requests == 1 else attrs.evolve(usage, requests=1)


def _guess(input_tokens: int, output_tokens: int) -> Usage:
    return Usage(input_tokens=input_tokens, output_tokens=output_tokens)


def _amount(model: Model, usage: Usage, at: float) -> Amount:
    """Tokens, and their price where the vendor has not said what they cost."""
    price = model.card.price
    usd = usage.cost
    if usd is None:
        usd = Decimal() if price is None else tokens_cost(usage, price, at=at)
    return Amount(usd, usage.total_tokens)
