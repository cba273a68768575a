"""The table of models, and what tokens cost."""

from __future__ import annotations

import calendar
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alloy
from alloy.llm import ModelCard, Price, Usage
from alloy.llm.driver import Retry, complete
from alloy.llm.models import UNKNOWN, card_for, cost_of, with_cost
from alloy.llm.price_list import CARDS
from alloy.llm.request import Request, Settings
from alloy.providers.vendors import VENDORS, model_for
from alloy.testing import ScriptedModel, says
from alloy.testing.recorded import decode, replay
from recordings import load, names, needs_recordings, target_of

NOON = calendar.timegm((2026, 11, 24, 12, 0, 0))
PRICE = Price(input=2, output=10, cache_read="0.2", cache_write="2.5", cache_write_1h=4)


class Nobody:
    """Listens to no answer."""

    def deltas(self, fold: object, deltas: object) -> None: ...
    def retrying(self, error: object, attempt: int, delay: float) -> None: ...
    def retracted(self) -> None: ...
    async def room(self) -> None: ...


# The table.


@pytest.mark.parametrize(
    ("vendor", "model", "same_as"),
    [
        ("anthropic", "claude-sonnet-4-5", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4"),
        ("anthropic", "claude-opus-5-5@20261001", "claude-opus-5-5"),
        ("openai", "gpt-5.4-2026-03-05", "gpt-5.4"),
        ("openai", "gpt-5.4-mini-2026-03-05", "gpt-5.4-mini"),
        ("openai", "gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("openai", "gpt-4o-2024-08-06", "gpt-4o"),
        ("google", "gemini-3.1-pro-preview", "gemini-3.1-pro"),
        ("google", "gemini-2.5-flash-preview-09-2025", "gemini-2.5-flash"),
        ("xai", "grok-4.20-multi-agent-0309", "grok-4.20-multi-agent"),
        ("groq", "openai/gpt-oss-20b", "openai/gpt-oss-20b"),
    ],
)
def test_a_date_or_a_build_after_a_known_name_is_the_same_model(vendor: str, model: str, same_as: str) -> None:
    assert card_for(vendor, model) is CARDS[vendor][same_as]


@pytest.mark.parametrize(
    ("vendor", "model"),
    [
        ("anthropic", "claude-sonnet-5-9"),
        ("anthropic", "claude-sonnet-50"),
        ("openai", "gpt-5.9"),
        ("openai", "gpt-5.4-cyber"),
        ("openai", "gpt-6-sol-mini"),
        ("google", "gemini-2.5-flash-tts"),
        ("openai-compatible", "gpt-5.4"),
        ("nobody", "gpt-5.4"),
        ("ollama", "gpt-oss:120b-cloud"),
        ("openrouter", "meta-llama/llama-4-scout"),
    ],
)
def test_another_model_with_a_like_name_is_not_known(vendor: str, model: str) -> None:
    assert card_for(vendor, model) == UNKNOWN


@pytest.mark.parametrize(
    ("model", "vendor", "same_as"),
    [
        ("anthropic/claude-sonnet-4.6", "anthropic", "claude-sonnet-4-6"),
        ("openai/gpt-5.4", "openai", "gpt-5.4"),
        ("x-ai/grok-4.3", "xai", "grok-4.3"),
        ("google/gemini-3.5-flash", "google", "gemini-3.5-flash"),
        ("mistralai/mistral-large-2512", "mistral", "mistral-large-2512"),
    ],
)
def test_openrouter_has_the_models_of_their_makers(model: str, vendor: str, same_as: str) -> None:
    assert card_for("openrouter", model) == CARDS[vendor][same_as]


def test_of_openrouters_variants_only_the_free_one_has_a_known_price() -> None:
    free, online = (card_for("openrouter", f"openai/gpt-5.4:{variant}") for variant in ("free", "online"))

    assert free.price == Price(input=0, output=0)
    assert online.price is None
    assert free.window == online.window == 1_050_000


def test_a_model_on_ones_own_machine_is_free_and_a_plan_has_no_price() -> None:
    assert card_for("ollama", "qwen3:4b").price == Price(input=0, output=0)
    assert card_for("codex", "gpt-6.1-sol") == ModelCard(window=1_050_000, max_output=128_000)


def test_every_row_of_the_table_makes_sense() -> None:
    for vendor, cards in CARDS.items():
        assert vendor in VENDORS
        for name, card in cards.items():
            assert card.window is not None, name
            assert card.max_output is None or card.max_output <= card.window, name
            if (price := card.price) is not None:
                assert 0 < price.input <= price.output, name
                assert price.cache_read is None or price.cache_read < price.input, name
                assert price.long is None or price.long.output > price.output, name


# What the user says.


def test_a_user_can_say_what_a_model_reads_and_costs() -> None:
    price = Price(input="0.2", output="0.6")

    model = alloy.model("openai-compatible:mine", base_url="http://mine", window=8_000, max_output=2_000, price=price)

    assert model.card == ModelCard(window=8_000, max_output=2_000, price=price)


def test_what_the_user_says_wins_over_the_table_and_the_rest_stays() -> None:
    model = alloy.model("anthropic:claude-sonnet-4-6", api_key="k", window=200_000)

    assert model.card == ModelCard(
        window=200_000, max_output=128_000, price=CARDS["anthropic"]["claude-sonnet-4-6"].price
    )


def test_a_script_can_have_a_card_too() -> None:
    model = alloy.model("scripted:echo", window=1_000, price=PRICE)

    assert (model.card.window, model.card.price) == (1_000, PRICE)


@pytest.mark.parametrize("spec", ["openai-compatible:mine", "scripted:echo"])
def test_an_unknown_name_is_refused_with_the_closest(spec: str) -> None:
    with pytest.raises(TypeError, match=r"unknown .*option 'windows'.*did you mean 'window'\?"):
        alloy.model(spec, base_url="http://mine", windows=1)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": 0}, "window must be 1 or more, or None, got 0"),
        ({"max_output": 1.5}, "max_output must be a number of tokens, or None, got 1.5"),
        ({"window": True}, "window must be a number of tokens, or None, got True"),
        ({"price": 3}, "price must be a Price, or None, got 3"),
    ],
)
def test_a_card_says_what_is_wrong_with_it(options: dict[str, Any], error: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        model_for("openai-compatible:mine", base_url="http://mine", **options)

    assert str(caught.value) == error


@pytest.mark.parametrize("amount", [-1, "much", float("nan"), float("inf"), True, None])
def test_a_price_is_a_number_of_0_or_more(amount: object) -> None:
    with pytest.raises((TypeError, ValueError), match="an amount of USD must be"):
        Price(input=amount, output=1)  # type: ignore[arg-type]  # the test is about that


def test_a_price_for_long_requests_says_what_is_long() -> None:
    with pytest.raises(ValueError, match="long_above and long belong together"):
        Price(input=1, output=1, long_above=10)


def test_an_answer_is_not_asked_to_be_longer_than_the_model_can() -> None:
    model = model_for("openai-compatible:mine", base_url="http://mine", max_output=2_000)

    assert model.profile.max_output_tokens == 2_000


# What it costs.


@pytest.mark.parametrize(
    ("usage", "micros"),  # millionths of a USD, by hand
    [
        (Usage(), "0"),
        (Usage(input_tokens=1_000), "2000"),
        (Usage(output_tokens=1_000), "10000"),
        (Usage(output_tokens=1_000, reasoning_tokens=900), "10000"),
        (Usage(input_tokens=1_000, cache_read_tokens=900), "380"),
        (Usage(input_tokens=1_000, cache_write_tokens=900), "2450"),
        (Usage(input_tokens=1_000, cache_write_tokens=900, cache_write_1h_tokens=900), "3800"),
        (Usage(input_tokens=1_000, cache_write_tokens=900, cache_write_1h_tokens=400), "3050"),
        (Usage(input_tokens=1_000, cache_read_tokens=500, cache_write_tokens=300, output_tokens=7), "1320"),
        (Usage(input_tokens=1_000, tool_prompt_tokens=400), "2000"),
        (Usage(input_tokens=7, cache_read_tokens=161), "32.2"),  # as Azure once reported it
    ],
)
def test_each_kind_of_token_has_its_price(usage: Usage, micros: str) -> None:
    assert cost_of(usage, PRICE, at=NOON) == Decimal(micros) / 1_000_000


def test_a_kind_without_a_price_of_its_own_costs_what_the_next_one_does() -> None:
    usage = Usage(
        input_tokens=1_000, cache_read_tokens=300, cache_write_tokens=300, cache_write_1h_tokens=100, output_tokens=10
    )

    assert cost_of(usage, Price(input=1, output=2), at=NOON) == Decimal("0.00102")


@pytest.mark.parametrize(("tokens", "cost"), [(200_000, "0.4"), (200_001, "0.800004")])
def test_a_long_request_is_dearer_with_all_its_tokens(tokens: int, cost: str) -> None:
    price = Price(input=2, output=12, long_above=200_000, long=Price(input=4, output=18))

    assert cost_of(Usage(input_tokens=tokens), price, at=NOON) == Decimal(cost)


@pytest.mark.parametrize(("hour", "factor"), [(0, 1), (1, 2), (3, 2), (4, 1), (5, 1), (6, 2), (9, 2), (10, 1), (12, 1)])
def test_the_hour_counts_where_the_vendor_counts_it(hour: int, factor: int) -> None:
    price = CARDS["deepseek"]["deepseek-v4-pro"].price
    assert price is not None

    cost = cost_of(Usage(input_tokens=1_000_000), price, at=calendar.timegm((2026, 11, 24, hour, 59, 59)))

    assert cost == Decimal("0.66") * factor


def test_the_vendors_own_tools_cost_too_and_unknown_ones_an_unknown_amount() -> None:
    price = Price(input=0, output=0, calls={"web_search": "0.01"})

    assert cost_of(Usage(server_tool_calls={"web_search": 3}), price, at=NOON) == Decimal("0.03")
    assert cost_of(Usage(server_tool_calls={"web_search": 3, "paint": 1}), price, at=NOON) is None


counts = st.integers(min_value=0, max_value=10**7)
amounts = st.decimals(min_value=0, max_value=1000, places=4)


@given(parts=st.tuples(counts, counts, counts, counts, counts), prices=st.tuples(*[amounts] * 5))
def test_a_cost_is_exact(parts: tuple[int, ...], prices: tuple[Decimal, ...]) -> None:
    fresh, read, written, kept, output = parts
    usage = Usage(
        input_tokens=fresh + read + written + kept,
        cache_read_tokens=read,
        cache_write_tokens=written + kept,
        cache_write_1h_tokens=kept,
        output_tokens=output,
    )
    price = Price(**dict(zip(("input", "cache_read", "cache_write", "cache_write_1h", "output"), prices, strict=True)))

    cost = cost_of(usage, price, at=NOON)

    in_ten_thousandths = sum(count * int(amount * 10**4) for count, amount in zip(parts, prices, strict=True))
    assert cost is not None
    assert int(cost * 10**10) == in_ten_thousandths


# Whether it is known.

KNOWN = Usage(input_tokens=1_000)


@pytest.mark.parametrize(
    ("asked", "raw"),
    [
        ({"service_tier": "flex"}, {}),
        ({"service_tier": "priority"}, {}),
        ({"serviceTier": "flex"}, {}),
        ({"speed": "fast"}, {}),
        ({}, {"service_tier": "batch"}),
        ({}, {"inference_geo": "us"}),
        ({}, {"promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1}, {"modality": "AUDIO", "tokenCount": 9}]}),
        ({}, {"prompt_tokens_details": {"audio_tokens": 4}}),
    ],
)
def test_another_service_than_the_usual_has_no_known_cost(asked: dict[str, Any], raw: dict[str, Any]) -> None:
    assert with_cost(Usage(input_tokens=1, raw=raw), PRICE, asked, at=NOON).cost is None


@pytest.mark.parametrize(
    ("asked", "raw"),
    [
        ({}, None),
        ({"service_tier": "auto"}, {"service_tier": "standard", "inference_geo": "not_available"}),
        ({}, {"prompt_tokens_details": {"audio_tokens": 0}, "promptTokensDetails": [{"modality": "AUDIO"}]}),
    ],
)
def test_the_usual_service_has_a_known_cost(asked: dict[str, Any], raw: Any) -> None:
    assert with_cost(Usage(input_tokens=1, raw=raw), PRICE, asked, at=NOON).cost == Decimal("0.000002")


def test_what_the_vendor_says_wins_and_without_a_price_nothing_is_known() -> None:
    told = Usage(input_tokens=1_000, cost=Decimal("0.5"))

    assert with_cost(told, PRICE, {}, at=NOON) is told
    assert with_cost(KNOWN, None, {}, at=NOON) is KNOWN


async def test_an_answer_says_what_it_cost() -> None:
    model = ScriptedModel(says("Hi.", usage=Usage(input_tokens=1_000, output_tokens=50)))
    model.card = ModelCard(price=PRICE)

    message = await complete(model, Request(model="m", messages=()), Retry(), Nobody())

    assert message.usage is not None
    assert message.usage.cost == Decimal("0.0025")


async def test_an_answer_at_another_tier_does_not() -> None:
    model = ScriptedModel(says("Hi.", usage=KNOWN))
    model.card = ModelCard(price=PRICE)
    request = Request(model="m", messages=(), settings=Settings(vendor={"service_tier": "flex"}))

    message = await complete(model, request, Retry(), Nobody())

    assert message.usage is not None
    assert message.usage.cost is None


# Recorded answers, with what they cost worked out by hand from the vendor's page of prices.


@pytest.mark.works("What an answer cost, by a table of models or as the vendor says; `alloy models`")
@needs_recordings
@pytest.mark.parametrize(
    ("name", "exchange", "cost"),
    [
        # 6 at 2, 20,443 read at 0.2, 574 written at 2.5, 489 made at 10
        ("anthropic-messages/anthropic-cache-read-2.json", 0, "0.0104256"),
        # 7 at 3, 1,069 written at 3.75, 60 made at 15
        ("anthropic-messages/anthropic-cache-read-3.json", 1, "0.00492975"),
        # 110 at 0.15, 256 read at 0.003, 59 made at 0.6
        ("openai-responses/deepseek-stream-thinking-tools-1.json", 0, "0.000052668"),
        # 80 at 0.15, 256 read at 0.075, 96 made at 0.6
        ("openai-chat/groq-error-400-2.json", 2, "0.0000888"),
        # 351 at 1.5, 217 read at 0.15, 305 said and 1,027 thought at 9
        ("gemini/google-cache-read-1.json", 0, "0.01254705"),
    ],
)
def test_a_recorded_answer_costs_what_the_vendors_page_says(name: str, exchange: int, cost: str) -> None:
    assert _recorded(name, exchange).cost == Decimal(cost)


@needs_recordings
async def test_a_run_over_http_says_what_it_cost_and_its_budget_knows() -> None:
    recording = load("anthropic-messages/anthropic-finish-length-2.json")
    model = alloy.model("anthropic:claude-sonnet-4-20250514", api_key="k")

    async with alloy.HTTP(transport=replay(recording)) as http:
        with alloy.Budget(usd="0.01") as budget:
            result = await alloy.run("Go on.", model=model, http=http)

    # 18 at 3, 2,055 written at 3.75, 100 made at 15
    assert result.usage.cost == budget.spent.cost == Decimal("0.00926025")
    assert budget.remaining() == {"usd": Decimal("0.00073975")}


XAI = [name for name in names("openai-responses") if "/xai-" in name and "error" not in name]


@needs_recordings
@pytest.mark.parametrize("name", XAI)
def test_what_xai_says_that_it_cost_is_what_its_page_says(name: str) -> None:
    recording = load(name)
    price = card_for("xai", recording["model"]).price
    assert price is not None

    for place in range(len(recording["exchanges"])):
        usage = _recorded(name, place)

        assert usage.cost is not None
        assert cost_of(usage, price, at=NOON) == usage.cost


def _recorded(name: str, exchange: int) -> Usage:
    recording = load(name)
    vendor = recording["provider"]
    dialect = {vendor.dialect.name: vendor.dialect for vendor in VENDORS.values()}[recording["wire"].replace("-", ".")]
    target = target_of(recording, dialect.name)
    message = decode(dialect, recording["exchanges"][exchange], target=target).message
    assert message is not None
    assert message.usage is not None
    return with_cost(message.usage, card_for(vendor, recording["model"]).price, {}, at=NOON)
