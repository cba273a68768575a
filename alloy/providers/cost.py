"""What a vendor itself says that an answer cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from alloy.llm.content import JSON

TICK_DIGITS = 10


def reported_cost(usage: Mapping[str, JSON]) -> Decimal | None:
    """The cost in USD that a usage object of a vendor holds; None if it holds none.

    Source: OpenRouter, "Usage Accounting" (read 2026-11-22); xAI's tick is 1e-10 USD, as all our recordings of
    grok-4.3 show to the last digit against its list price (2026-11-24).
    """
    cost, ticks = usage.get("cost"), usage.get("cost_in_usd_ticks")
    if isinstance(cost, int | float) and not isinstance(cost, bool):
        return Decimal(str(cost))
    if isinstance(ticks, int) and not isinstance(ticks, bool):
        return Decimal(ticks).scaleb(-TICK_DIGITS)
    return None
