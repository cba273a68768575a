"""What is known of the models by name: how much they read and write, and what they cost.

`card_for` looks a model up in `alloy.llm.price_list`; `cost_of` is the one function that turns tokens into money.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

import attrs

from alloy.errors import closest_of
from alloy.llm.content import JSON
from alloy.llm.usage import Usage

MILLION_DIGITS = 6


def dollars(value: Decimal | int | float | str) -> Decimal:
    """An amount of USD; a float counts as what it prints as.

    Raises:
        TypeError, ValueError: it is no number, or no finite one of 0 or more.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | float | str):
        raise TypeError(f"an amount of USD must be a Decimal, int, float or str, got {value!r}")
    try:
        amount = value if isinstance(value, Decimal) else Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"an amount of USD must be a number, got {value!r}") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"an amount of USD must be finite and 0 or more, got {value!r}")
    return amount


def _dollars_or_none(value: Decimal | int | float | str | None) -> Decimal | None:
    return None if value is None else dollars(value)


def _by_name(value: Mapping[str, Any]) -> Mapping[str, Decimal]:
    return {name: dollars(amount) for name, amount in value.items()}


@attrs.frozen(kw_only=True)
class Price:
    """What a model costs, in USD per million tokens.

    ```python
    mine = alloy.Price(input="0.20", output="0.60")
    alloy.model("openai-compatible:mine", base_url="http://localhost:8000/v1", price=mine)
    ```

    Attributes:
        input: of a token that was not in the cache.
        output: of a token made, reasoning included.
        cache_read: of one read from the cache; None as `input`.
        cache_write: of one written to it; None as `input`.
        cache_write_1h: of one written to be kept for an hour; None as `cache_write`.
        calls: USD for each call of a tool that the vendor runs, by the name in `Usage.server_tool_calls`. An answer
            with calls that are not named here has no known cost.
        long_above, long: what all tokens cost of a request with more than so many input tokens; None for no such step.
        peak_hours, peak_factor: by how much all is dearer in these hours of the day, as `((1, 4), (6, 10))` in UTC; the
            second hour of a pair is no more part of it. It is the hour in which the request is sent that counts.

    Raises:
        TypeError, ValueError: an amount is no number of 0 or more; one of `long_above` and `long` is missing.
    """

    input: Decimal = attrs.field(converter=dollars)
    output: Decimal = attrs.field(converter=dollars)
    cache_read: Decimal | None = attrs.field(default=None, converter=_dollars_or_none)
    cache_write: Decimal | None = attrs.field(default=None, converter=_dollars_or_none)
    cache_write_1h: Decimal | None = attrs.field(default=None, converter=_dollars_or_none)
    calls: Mapping[str, Decimal] = attrs.field(factory=dict, converter=_by_name, hash=False)
    long_above: int | None = None
    long: Price | None = None
    peak_hours: tuple[tuple[int, int], ...] = ()
    peak_factor: Decimal = attrs.field(default=Decimal(1), converter=dollars)

    def __attrs_post_init__(self) -> None:
        if (self.long_above is None) != (self.long is None):
            raise ValueError("long_above and long belong together: give both or neither")


@attrs.frozen(kw_only=True)
class ModelCard:
    """What is known of a model; None for what is not.

    Attributes:
        window: tokens that the model can have before it, the answer included.
        max_output: the most tokens of one answer.
        price: what they cost.
        reports_cost: the vendor says with each answer what it cost. Under a budget of money no other model of unknown
            price is asked.

    Raises:
        TypeError, ValueError: a number of tokens is less than 1, or `price` is no `Price`.
    """

    window: int | None = None
    max_output: int | None = None
    price: Price | None = None
    reports_cost: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("window", "max_output"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
                raise TypeError(f"{name} must be a number of tokens, or None, got {value!r}")
            if value is not None and value < 1:
                raise ValueError(f"{name} must be 1 or more, or None, got {value!r}")
        if self.price is not None and not isinstance(self.price, Price):
            raise TypeError(f"price must be a Price, or None, got {self.price!r}")


def evolve_card(card: ModelCard, changes: Mapping[str, Any]) -> ModelCard:
    """A copy with these fields changed.

    Raises:
        TypeError: there is no such field, or a value is of the wrong type.
        ValueError: a number is out of its bounds.
    """
    for name in changes:
        if name not in CARD_FIELDS:
            raise TypeError(f"unknown option {name!r}; known: {', '.join(CARD_FIELDS)}{closest_of(name, CARD_FIELDS)}")
    return attrs.evolve(card, **changes)


CARD_FIELDS = ("window", "max_output", "price")  # those that users may change; the rest is of the profile
UNKNOWN = ModelCard()
FREE = ModelCard(price=Price(input=0, output=0))

# What may follow a name of the table without naming another model: a date, a build, a channel.
_BUILD = re.compile(r"([-@](latest|preview|exp|\d{8}|\d{6}|\d{4}-\d\d-\d\d|\d\d-\d{4}|\d\d-\d\d|\d{3,4}))*")

# Under which of our names, and with which spelling, OpenRouter's vendors stand in the table.
_ROUTED = {
    "anthropic": "anthropic",
    "openai": "openai",
    "google": "google",
    "x-ai": "xai",
    "deepseek": "deepseek",
    "mistralai": "mistral",
}


def card_for(vendor: str, model: str) -> ModelCard:
    """What is known of a model of a vendor; nothing is known of one that the table does not have.

    The longest name of the table that `model` begins with counts, if no more than a date or a build follows it: a
    newer model is not taken for an older one, whose price it does not have.
    """
    from alloy.llm.price_list import CARDS  # which is made of our classes

    if vendor == "openrouter":
        return _routed(model)
    if vendor == "ollama":  # on a machine of one's own, unless it is one of the cloud
        return UNKNOWN if re.search(r"[-:]cloud$", model) else FREE
    known = CARDS.get(vendor, {})
    fitting = (name for name in known if model.startswith(name) and _BUILD.fullmatch(model, len(name)))
    best = max(fitting, key=len, default=None)
    return UNKNOWN if best is None else known[best]


def _routed(model: str) -> ModelCard:
    """OpenRouter asks the vendors' own prices; `:free` is a variant of a model, and others have their own."""
    maker, _, name = model.partition("/")
    name, colon, variant = name.partition(":")
    vendor = _ROUTED.get(maker)
    if vendor is None:
        return FREE if variant == "free" else UNKNOWN
    card = card_for(vendor, name.replace(".", "-") if vendor == "anthropic" else name)
    if not colon:
        return card
    return attrs.evolve(card, price=FREE.price if variant == "free" else None)


def cost_of(usage: Usage, price: Price, *, at: float) -> Decimal | None:
    """What this cost in USD, to the last digit; None if the vendor ran tools whose price is not known.

    Args:
        usage: of one request: a price may depend on how long that was.
        price: of the model that answered it.
        at: when it was sent, in UNIX seconds.
    """
    if any(name not in price.calls for name in usage.server_tool_calls):
        return None
    calls = sum((price.calls[name] * count for name, count in usage.server_tool_calls.items()), Decimal())
    return tokens_cost(usage, price, at=at) + calls


def tokens_cost(usage: Usage, price: Price, *, at: float) -> Decimal:
    """What its tokens alone cost in USD."""
    if price.long is not None and price.long_above is not None and usage.input_tokens > price.long_above:
        rate = price.long
    else:
        rate = price
    write = rate.input if rate.cache_write is None else rate.cache_write
    kept = usage.cache_write_1h_tokens
    written = max(usage.cache_write_tokens - kept, 0)
    # Azure has reported more tokens read from the cache than there were.
    fresh = max(usage.input_tokens - usage.cache_read_tokens - written - kept, 0)
    total = (
        fresh * rate.input
        + usage.cache_read_tokens * (rate.input if rate.cache_read is None else rate.cache_read)
        + written * write
        + kept * (write if rate.cache_write_1h is None else rate.cache_write_1h)
        + usage.output_tokens * rate.output
    )
    hour = time.gmtime(at).tm_hour
    if any(first <= hour < last for first, last in price.peak_hours):
        total *= price.peak_factor
    return total.scaleb(-MILLION_DIGITS)


# What a request or its usage says where the table's prices hold; any other word stands for another price.
_USUAL: Mapping[str, frozenset[JSON]] = {
    "service_tier": frozenset({None, "", "auto", "default", "standard", "standard_only", "on_demand"}),
    "serviceTier": frozenset({None, "standard"}),
    "speed": frozenset({None, "standard"}),
    "inference_geo": frozenset({None, "global", "not_available"}),
}


def with_cost(usage: Usage, price: Price | None, asked: Mapping[str, JSON], *, at: float) -> Usage:
    """The usage of one request with its cost, as far as that is known; a cost that the vendor reported stays.

    Args:
        usage: as the dialect read it.
        price: of the model that answered; None if not known.
        asked: the vendor's own fields of the request, which may ask for a service at another price.
        at: when it was sent, in UNIX seconds.
    """
    if usage.cost is not None or price is None:
        return usage
    told: Mapping[str, JSON] = usage.raw if isinstance(usage.raw, dict) else {}
    for name, usual in _USUAL.items():
        if any(_is_unusual(said.get(name), usual) for said in (asked, told)):
            return usage
    if _has_sound(told):
        return usage
    return attrs.evolve(usage, cost=cost_of(usage, price, at=at))


def _is_unusual(word: JSON, usual: frozenset[JSON]) -> bool:
    return not (word is None or isinstance(word, str)) or word not in usual


def _has_sound(told: Mapping[str, JSON]) -> bool:
    """Some of the tokens are sound, which has prices of its own."""
    by_kind = (told.get("promptTokensDetails") or (), told.get("candidatesTokensDetails") or ())
    if any(part.get("modality") == "AUDIO" and part.get("tokenCount") for parts in by_kind for part in parts):
        return True
    details = (told.get(f"{name}_tokens_details") or {} for name in ("prompt", "completion", "input", "output"))
    return any(detail.get("audio_tokens") for detail in details)
