"""Adding up what was used."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from alloy.llm.usage import Usage
from strategies import usages


@given(usages, usages)
def test_tokens_add_up(a: Usage, b: Usage) -> None:
    total = a + b

    assert total.input_tokens == a.input_tokens + b.input_tokens
    assert total.total_tokens == a.total_tokens + b.total_tokens
    assert total.requests == a.requests + b.requests
    for tool in {*a.server_tool_calls, *b.server_tool_calls}:
        assert total.server_tool_calls[tool] == a.server_tool_calls.get(tool, 0) + b.server_tool_calls.get(tool, 0)


@pytest.mark.parametrize(
    ("a", "b", "cost"),
    [
        (Usage(), Usage(), None),
        (Usage(input_tokens=1, cost=Decimal("0.1")), Usage(input_tokens=1, cost=Decimal("0.2")), Decimal("0.3")),
        (Usage(), Usage(input_tokens=1, cost=Decimal("0.2")), Decimal("0.2")),
        (Usage(input_tokens=1, cost=Decimal("0.2")), Usage(requests=1), Decimal("0.2")),
        (Usage(input_tokens=1), Usage(input_tokens=1, cost=Decimal("0.2")), None),
        (Usage(input_tokens=1, cost=Decimal("0.2")), Usage(output_tokens=1), None),
    ],
)
def test_a_cost_is_known_only_if_all_that_was_spent_is_priced(a: Usage, b: Usage, cost: Decimal | None) -> None:
    assert (a + b).cost == cost


def test_the_context_is_what_the_later_request_left() -> None:
    assert (Usage(context_tokens=5) + Usage(context_tokens=9)).context_tokens == 9
    assert (Usage(context_tokens=5) + Usage()).context_tokens == 5


def test_usage_adds_to_nothing_else() -> None:
    with pytest.raises(TypeError):
        Usage() + 1  # type: ignore[operator]
