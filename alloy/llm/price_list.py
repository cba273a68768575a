"""The table of models: window, most output, and price of each, by vendor and by the beginning of its name.

Prices are of the vendors' standard tier, in USD per million tokens.

Source: the vendors' pages of models and prices as genai-prices 0.2.3 (MIT) and litellm's table hold them; read
2026-11-22, prices compared again 2026-11-24. Google's introductory price of gemini-4-argon ends on 2026-11-30.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

import attrs

from alloy.llm.models import ModelCard, Price

READ_ON = "2026-11-24"

_K, _M = 1_000, 1_000_000

_ANTHROPIC_CALLS = {"web_search": "0.01", "web_fetch": 0}
_OPENAI_CALLS = {"web_search": "0.01", "file_search": "0.0025"}
_XAI_CALLS = {"web_search": "0.005"}


def _card(window: int | None, max_output: int | None, input: Any, output: Any, **more: Any) -> ModelCard:
    return ModelCard(window=window, max_output=max_output, price=Price(input=input, output=output, **more))


def _claude(window: int, max_output: int, input: str, output: str, read: str, write: str, hour: str) -> ModelCard:
    return _card(
        window, max_output, input, output,
        cache_read=read, cache_write=write, cache_write_1h=hour, calls=_ANTHROPIC_CALLS,
    )  # fmt: skip


def _openai(
    window: int, max_output: int, input: Any, output: Any, read: Any = None, write: Any = None, *, step: bool = False
) -> ModelCard:
    """`step`: above 272,000 tokens of input all input costs twice as much, and output half as much again."""
    card = _card(window, max_output, input, output, cache_read=read, cache_write=write, calls=_OPENAI_CALLS)
    return _stepped(card, 272 * _K, output_factor="1.5") if step else card


def _grok(window: int, input: Any, output: Any, read: Any, *, max_output: int | None = None) -> ModelCard:
    """From 200,000 tokens of input on all costs twice as much."""
    card = _card(window, max_output, input, output, cache_read=read, calls=_XAI_CALLS)
    return _stepped(card, 200 * _K - 1, output_factor="2")


def _stepped(card: ModelCard, above: int, *, output_factor: str, input_factor: str = "2") -> ModelCard:
    """The same model, whose long requests cost so much more."""
    price = card.price
    assert price is not None

    def dearer(amount: Decimal | None) -> Decimal | None:
        return None if amount is None else amount * Decimal(input_factor)

    long = Price(
        input=price.input * Decimal(input_factor),
        output=price.output * Decimal(output_factor),
        cache_read=dearer(price.cache_read),
        cache_write=dearer(price.cache_write),
        cache_write_1h=dearer(price.cache_write_1h),
    )
    return attrs.evolve(card, price=attrs.evolve(price, long_above=above, long=long))


def _same(names: Iterable[str], card: ModelCard) -> Mapping[str, ModelCard]:
    return dict.fromkeys(names, card)


_PEAK: Mapping[str, Any] = {"peak_hours": ((1, 4), (6, 10)), "peak_factor": 2}

_ANTHROPIC: Mapping[str, ModelCard] = {
    **_same(("claude-fable-5-2", "claude-mythos-5-2"), _claude(_M, 128 * _K, "8", "40", "0.2", "10", "16")),
    **_same(("claude-fable-5-1", "claude-mythos-5-1"), _claude(_M, 128 * _K, "10", "50", "0.25", "12.5", "20")),
    **_same(("claude-fable-5", "claude-mythos-5"), _claude(_M, 128 * _K, "10", "50", "1", "12.5", "20")),
    "claude-opus-5-5": _claude(_M, 128 * _K, "4", "20", "0.2", "5", "8"),
    **_same(
        ("claude-opus-5", "claude-opus-4-8", "claude-opus-4-7", "claude-opus-4-6"),
        _claude(_M, 128 * _K, "5", "25", "0.5", "6.25", "10"),
    ),
    "claude-sonnet-5-5": _claude(_M, 128 * _K, "2", "10", "0.1", "2.5", "4"),
    "claude-sonnet-5": _claude(_M, 128 * _K, "2", "10", "0.2", "2.5", "4"),
    "claude-sonnet-4-6": _claude(_M, 128 * _K, "3", "15", "0.3", "3.75", "6"),
    "claude-haiku-5-5": _stepped(
        _claude(_M, 128 * _K, "0.1", "0.5", "0.01", "0.125", "0.2"), 100 * _K, input_factor="5", output_factor="5"
    ),
    "claude-opus-4-5": _claude(200 * _K, 64 * _K, "5", "25", "0.5", "6.25", "10"),
    "claude-haiku-4-5": _claude(200 * _K, 64 * _K, "1", "5", "0.1", "1.25", "2"),
    "claude-sonnet-4-5": _claude(200 * _K, 64 * _K, "3", "15", "0.3", "3.75", "6"),
    **_same(("claude-sonnet-4", "claude-sonnet-4-0"), _claude(200 * _K, 64 * _K, "3", "15", "0.3", "3.75", "6")),
    **_same(
        ("claude-opus-4", "claude-opus-4-0", "claude-opus-4-1"),
        _claude(200 * _K, 32 * _K, "15", "75", "1.5", "18.75", "30"),
    ),
}

_BIG, _BIG_OUTPUT = 1_050 * _K, 128 * _K
_OPENAI: Mapping[str, ModelCard] = {
    "gpt-6-astra": _openai(_BIG, _BIG_OUTPUT, 10, 50, 1, "12.5", step=True),
    "gpt-6.1-sol": _openai(_BIG, _BIG_OUTPUT, 2, 10, "0.1", "2.5", step=True),
    "gpt-6-sol": _openai(_BIG, _BIG_OUTPUT, 2, 10, "0.2", "2.5", step=True),
    "gpt-6.1-terra": _openai(_BIG, _BIG_OUTPUT, 1, 5, "0.05", "1.25", step=True),
    "gpt-6-luna": _openai(_BIG, _BIG_OUTPUT, "0.1", "0.5", "0.01", "0.125", step=True),
    "gpt-5.6-sol": _openai(_BIG, _BIG_OUTPUT, 4, 20, "0.4", 5, step=True),
    "gpt-5.6-terra": _openai(_BIG, _BIG_OUTPUT, 2, 12, "0.2", "2.5", step=True),
    "gpt-5.6-luna": _openai(_BIG, _BIG_OUTPUT, "0.2", "1.2", "0.02", "0.25", step=True),
    "gpt-5.5": _openai(_BIG, _BIG_OUTPUT, 5, 30, "0.5", step=True),
    "gpt-5.5-pro": _openai(_BIG, _BIG_OUTPUT, 30, 180, step=True),
    "gpt-5.4": _openai(_BIG, _BIG_OUTPUT, "2.5", 15, "0.25", step=True),
    "gpt-5.4-pro": _openai(_BIG, _BIG_OUTPUT, 30, 180, step=True),
    "gpt-5.4-mini": _openai(400 * _K, _BIG_OUTPUT, "0.75", "4.5", "0.075"),
    "gpt-5.4-nano": _openai(400 * _K, _BIG_OUTPUT, "0.2", "1.25", "0.02"),
    **_same(("gpt-5.3-codex", "gpt-5.2"), _openai(400 * _K, _BIG_OUTPUT, "1.75", 14, "0.175")),
    "gpt-5.2-pro": _openai(400 * _K, _BIG_OUTPUT, 21, 168),
    **_same(("gpt-5.1", "gpt-5"), _openai(400 * _K, _BIG_OUTPUT, "1.25", 10, "0.125")),
    "gpt-5-pro": _openai(400 * _K, 272 * _K, 15, 120),
    "gpt-5-mini": _openai(400 * _K, _BIG_OUTPUT, "0.25", 2, "0.025"),
    "gpt-5-nano": _openai(400 * _K, _BIG_OUTPUT, "0.05", "0.4", "0.005"),
    "gpt-4.1": _openai(1_047_576, 32_768, 2, 8, "0.5"),
    "gpt-4.1-mini": _openai(1_047_576, 32_768, "0.4", "1.6", "0.1"),
    "gpt-4.1-nano": _openai(1_047_576, 32_768, "0.1", "0.4", "0.025"),
    "gpt-4o": _openai(128 * _K, 16_384, "2.5", 10, "1.25"),
    "gpt-4o-2024-05-13": _openai(128 * _K, 4_096, 5, 15),
    "gpt-4o-mini": _openai(128 * _K, 16_384, "0.15", "0.6", "0.075"),
    "o3": _openai(200 * _K, 100 * _K, 2, 8, "0.5"),
    "o3-mini": _openai(200 * _K, 100 * _K, "1.1", "4.4", "0.55"),
    "o3-pro": _openai(200 * _K, 100 * _K, 20, 80),
    "o4-mini": _openai(200 * _K, 100 * _K, "1.1", "4.4", "0.275"),
    "o1": _openai(200 * _K, 100 * _K, 15, 60, "7.5"),
}

_GEMINI_WINDOW, _GEMINI_OUTPUT = 1_048_576, 65_536
_GOOGLE: Mapping[str, ModelCard] = {
    "gemini-4-argon": _card(_GEMINI_WINDOW, _GEMINI_WINDOW, 2, 10, cache_read="0.1"),
    **_same(
        ("gemini-3.8-flash", "gemini-3.7-flash", "gemini-3.6-flash"),
        _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.75", "3.75", cache_read="0.075"),
    ),
    "gemini-3.5-flash": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "1.5", 9, cache_read="0.15"),
    "gemini-3.5-flash-lite": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.3", "2.5", cache_read="0.03"),
    **_same(
        ("gemini-3.1-pro", "gemini-3-pro"),
        _stepped(_card(_GEMINI_WINDOW, _GEMINI_OUTPUT, 2, 12, cache_read="0.2"), 200 * _K, output_factor="1.5"),
    ),
    "gemini-3.1-flash-lite": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.25", "1.5", cache_read="0.025"),
    "gemini-3-flash": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.5", 3, cache_read="0.05"),
    "gemini-2.5-pro": _stepped(
        _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "1.25", 10, cache_read="0.125"), 200 * _K, output_factor="1.5"
    ),
    "gemini-2.5-flash": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.3", "2.5", cache_read="0.03"),
    "gemini-2.5-flash-lite": _card(_GEMINI_WINDOW, _GEMINI_OUTPUT, "0.1", "0.4", cache_read="0.01"),
}

_XAI: Mapping[str, ModelCard] = {
    **_same(("grok-4.7", "grok-4.6"), _grok(500 * _K, 2, 6, "0.5", max_output=500 * _K)),
    "grok-4.5": _grok(500 * _K, 2, 6, "0.3", max_output=500 * _K),
    **_same(
        ("grok-4.3", "grok-4.20", "grok-4.20-reasoning", "grok-4.20-non-reasoning", "grok-4.20-multi-agent"),
        _grok(_M, "1.25", "2.5", "0.2"),
    ),
    "grok-build-0.1": _grok(256 * _K, 1, 2, "0.2"),
}

_DEEPSEEK: Mapping[str, ModelCard] = {
    **_same(("deepseek-flash", "deepseek-v4-flash"), _card(_M, 393 * _K, "0.15", "0.6", cache_read="0.003", **_PEAK)),
    "deepseek-v4-pro": _card(_M, 393 * _K, "0.66", "1.98", cache_read="0.022", **_PEAK),
}

_MISTRAL: Mapping[str, ModelCard] = {
    "mistral-large-4": _card(_GEMINI_WINDOW, None, "0.7", "2.1", cache_read="0.07"),
    "mistral-large-2512": _card(262_144, None, "0.5", "1.5", cache_read="0.05"),
    **_same(("mistral-medium-3-5", "mistral-medium-latest"), _card(262_144, None, "1.5", "7.5", cache_read="0.15")),
    **_same(("mistral-small-2603", "mistral-small-latest"), _card(262_144, None, "0.15", "0.6", cache_read="0.015")),
    "codestral-2508": _card(256 * _K, None, "0.3", "0.9", cache_read="0.03"),
    "devstral-2512": _card(262_144, None, "0.4", 2, cache_read="0.04"),
}

_GROQ: Mapping[str, ModelCard] = {
    "openai/gpt-oss-120b": _card(131_072, 65_536, "0.15", "0.6", cache_read="0.075"),
    "openai/gpt-oss-20b": _card(131_072, 65_536, "0.075", "0.3", cache_read="0.0375"),
    "qwen/qwen3.8-27b": _card(131_072, 16_384, "0.8", 4),
}


def _unpriced(cards: Mapping[str, ModelCard]) -> Mapping[str, ModelCard]:
    return {name: attrs.evolve(card, price=None) for name, card in cards.items()}


CARDS: Mapping[str, Mapping[str, ModelCard]] = {
    "anthropic": _ANTHROPIC,
    "openai": _OPENAI,
    "codex": _unpriced(
        {name: card for name, card in _OPENAI.items() if name.startswith(("gpt-6", "gpt-5."))}
    ),  # a plan
    "google": _GOOGLE,
    "xai": _XAI,
    "deepseek": _DEEPSEEK,
    "mistral": _MISTRAL,
    "groq": _GROQ,
}
