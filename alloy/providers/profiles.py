"""What models want on the wire, where it is not what their dialect's others want: by vendor, and by a name's beginning.

Source: the vendors' model pages, and the profiles of pydantic-ai (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from alloy.providers.dialect import Profile

Fields: TypeAlias = Mapping[str, Any]  # of `Profile`, that differ

DEEPSEEK = Profile(
    known_efforts=("none", "low", "high", "max"),
    thinking_switch=True,
    output_format="json_object",
    reasoning_with_calls=True,
)
MISTRAL = Profile(
    known_efforts=("none", "high"),
    usage_option="none",
    file_parts="mistral",
    tool_choice_none=False,
    tool_ids="alnum9",
    answer_after_tools=True,
)

# Models before Gemini 3, and those of it that do not take each level of thinking.
_BEFORE_3: Fields = {"thinking": "budget", "signed_calls": False, "files_in_results": False}
_BY_SCHEMA: Fields = {"output": "schema"}  # of models whose vendor says that it enforces it
_NOT_MINIMAL: Fields = {"known_efforts": ("low", "medium", "high"), **_BY_SCHEMA}
GEMINI_MODELS: Mapping[str, Fields] = {
    "gemini-1": {**_BEFORE_3, "efforts": False},
    "gemini-2.0": {**_BEFORE_3, "efforts": False},
    "gemini-2.5": {**_BEFORE_3, "known_efforts": ("none", "minimal", "low", "medium", "high")},
    "gemini-2.5-pro": {**_BEFORE_3, "known_efforts": ("minimal", "low", "medium", "high")},
    "gemma-": {**_BEFORE_3, "efforts": False},
    "gemini-3": _BY_SCHEMA,
    "gemini-4": _BY_SCHEMA,
    "gemini-3.1-pro": _NOT_MINIMAL,
    "gemini-3.7-flash": _NOT_MINIMAL,
    "gemini-3.8-flash": _NOT_MINIMAL,
    "gemini-4-argon": _NOT_MINIMAL,
}

# OpenAI's models reason from `o1` and `gpt-5` on; some of those by default, and some always.
_PLAIN: Fields = {"efforts": False, "encrypted_reasoning": False, "thinks_silently": False}
_SINCE_5_6: Fields = {
    "temperature_needs": "none",
    "known_efforts": ("none", "low", "medium", "high", "xhigh", "max"),
    **_BY_SCHEMA,
}


def _always(*efforts: str) -> Fields:
    return {"temperature": False, "known_efforts": efforts, **_BY_SCHEMA}


OPENAI_MODELS: Mapping[str, Fields] = {
    "gpt-3.5": _PLAIN,
    "gpt-4": _PLAIN,
    "chatgpt-4o": _PLAIN,
    "gpt-5-chat": _PLAIN,
    "o1": _always("low", "medium", "high"),
    "o3": _always("low", "medium", "high"),
    "o4": _always("low", "medium", "high"),
    "codex-mini": _always("low", "medium", "high"),
    "gpt-5": _always("minimal", "low", "medium", "high"),
    "gpt-5-pro": _always("high"),
    "gpt-5.": {"temperature_needs": "default", **_BY_SCHEMA},
    "gpt-5.2-pro": _always("medium", "high", "xhigh"),
    "gpt-5.4-pro": _always("medium", "high", "xhigh"),
    "gpt-5.5": {"temperature_needs": "none", **_BY_SCHEMA},
    "gpt-5.5-pro": _always("medium", "high", "xhigh"),
    "gpt-5.6": _SINCE_5_6,
    "gpt-6": _SINCE_5_6,
    "gpt-6-astra": _always("low", "medium", "high", "xhigh", "max"),
    "gpt-6.1-sol": _always("low", "medium", "high", "xhigh", "max"),
}
XAI_MODELS: Mapping[str, Fields] = {
    "grok-4.3": {"known_efforts": ("none", "low", "medium", "high")},
    "grok-latest": {"known_efforts": ("none", "low", "medium", "high")},
    "grok-4.5": {"known_efforts": ("low", "medium", "high")},
    "grok-4.6": {"known_efforts": ("low", "medium", "high")},
    "grok-4.7": {"known_efforts": ("low", "medium", "high", "xhigh")},
    "grok-4.20": {"efforts": False},
    "grok-4-fast-non-reasoning": {"efforts": False},
    "grok-4-1-fast-non-reasoning": {"efforts": False},
}
CLAUDE_MODELS: Mapping[str, Fields] = {
    f"claude-{name}": _BY_SCHEMA  # of Claude 4.5 and later
    for name in (
        *(f"{size}-4-{minor}" for size in ("opus", "sonnet", "haiku") for minor in (5, 6, 7, 8, 9)),
        *(f"{size}-5" for size in ("opus", "sonnet", "haiku", "fable", "mythos")),
    )
}
OPENAI = Profile(thinks_silently=True)
CODEX = Profile(thinks_silently=True, temperature=False, limits_output=False, instructions=True)
XAI = Profile(thinks_silently=True, runs_custom_tools=True, reports_cost=True)
