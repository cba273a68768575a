"""Tokens and money."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache

import attrs

from alloy.llm.content import JSON

# Names of the vendors' fields: one string for each, and not one for each answer. Bounded, as a server may make them up.
_shared = lru_cache(maxsize=1024)(str)


def _with_shared_names(raw: JSON) -> JSON:
    if isinstance(raw, dict):
        return {_shared(name): _with_shared_names(value) for name, value in raw.items()}
    return raw


@attrs.frozen(kw_only=True)
class Usage:
    """What one or several requests used. `a + b` adds.

    Attributes:
        input_tokens: all prompt tokens, those read from or written to a cache included.
        output_tokens: all tokens made, reasoning included.
        cache_read_tokens, cache_write_tokens: parts of `input_tokens`.
        cache_write_1h_tokens: the part of `cache_write_tokens` kept for an hour.
        reasoning_tokens: a part of `output_tokens`.
        tool_prompt_tokens: prompt tokens of tools that the vendor ran; a part of `input_tokens`.
        requests: how many requests are summed here.
        server_tool_calls: how often the vendor ran each of its own tools.
        cost: USD; None where the price is not known.
        context_tokens: what the last request left in the model's window; None if not reported.
        raw: the vendor's own object, of a single request only.

    Source: genai-prices' reading of the vendors' usage objects (read 2026-11-22).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    tool_prompt_tokens: int = 0
    requests: int = 0
    server_tool_calls: Mapping[str, int] = attrs.field(factory=dict)
    cost: Decimal | None = None
    context_tokens: int | None = None
    raw: JSON = attrs.field(default=None, converter=_with_shared_names, repr=False)

    @property
    def total_tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __add__(self, other: Usage) -> Usage:
        if not isinstance(other, Usage):
            return NotImplemented
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            cache_read_tokens=self.cache_read_tokens + other.cache_read_tokens,
            cache_write_tokens=self.cache_write_tokens + other.cache_write_tokens,
            cache_write_1h_tokens=self.cache_write_1h_tokens + other.cache_write_1h_tokens,
            reasoning_tokens=self.reasoning_tokens + other.reasoning_tokens,
            tool_prompt_tokens=self.tool_prompt_tokens + other.tool_prompt_tokens,
            requests=self.requests + other.requests,
            server_tool_calls=_sum(self.server_tool_calls, other.server_tool_calls),
            cost=_cost(self, other),
            context_tokens=self.context_tokens if other.context_tokens is None else other.context_tokens,
        )


def _sum(a: Mapping[str, int], b: Mapping[str, int]) -> Mapping[str, int]:
    return a if not b else b if not a else {k: a.get(k, 0) + b.get(k, 0) for k in (*a, *(k for k in b if k not in a))}


def _cost(a: Usage, b: Usage) -> Decimal | None:
    """The sum; None if either is unknown, unless that one spent nothing."""
    if a.cost is None:
        return None if a.total_tokens else b.cost
    if b.cost is None:
        return None if b.total_tokens else a.cost
    return a.cost + b.cost
