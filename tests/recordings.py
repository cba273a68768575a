"""Recorded traffic of the vendors, and what their own SDKs read out of it, in our words.

The recordings are no part of this repository. They lie in `$ALLOY_RECORDINGS`, by default in
`../shared/recordings` beside the checkout. Where there are none, tests that need them are skipped; with
`CI=true` they fail, so that a run without them is never taken for one that passed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from alloy.llm import Origin
from alloy.providers.dialect import Profile, Target
from alloy.providers.vendors import VENDORS, model_for
from alloy.testing.conformance import Expected

FOLDER = Path(os.environ.get("ALLOY_RECORDINGS") or Path(__file__).parents[2] / "shared" / "recordings")
IS_HERE = (FOLDER / "expected.json").is_file()

needs_recordings = pytest.mark.skipif(
    not IS_HERE and os.environ.get("CI") != "true",
    reason=f"no recordings in {FOLDER}; set ALLOY_RECORDINGS",
)


def names(wire: str) -> list[str]:
    """The recordings of a wire, recorded and documented ones, by their path below the folder; empty without any."""
    if not IS_HERE:
        return []
    own = [f"{wire}/{path.name}" for path in sorted((FOLDER / wire).glob("*.json"))]
    documented = [f"documented/{path.name}" for path in sorted((FOLDER / "documented").glob("*.json"))]
    return own + [name for name in documented if load(name)["wire"] == wire]


@functools.cache
def load(name: str) -> Mapping[str, Any]:
    """One recording.

    Raises:
        FileNotFoundError: there is no such recording, or there are none at all.
    """
    return json.loads((FOLDER / name).read_text("utf-8"))


@functools.cache
def oracle() -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """What the vendors' SDKs read out of each exchange, in the vendors' words."""
    return json.loads((FOLDER / "expected.json").read_text("utf-8"))["files"]


def target_of(recording: Mapping[str, Any], dialect_name: str) -> Target:
    """Who answered a recording, with the profile that the vendor's row has; without a row with the usual one."""
    vendor, model = recording["provider"], recording.get("model") or "model"
    row = VENDORS.get(vendor.removesuffix("-vertex"))
    profile = Profile()
    if row is not None and row.dialect.name == dialect_name:
        profile = model_for(f"{row.name}:{model}", api_key="k").profile
    return Target(origin=Origin(dialect_name, vendor, f"https://{vendor}.example", model), profile=profile)


# From the SDKs' words to ours. This is written from the vendors' documents, not from our dialects.

STOPS = {
    "end_turn": "end_turn",
    "stop": "end_turn",
    "eos": "end_turn",
    "": "end_turn",
    "tool_use": "tool_use",
    "tool_calls": "tool_use",
    "max_tokens": "max_tokens",
    "length": "max_tokens",
    "stop_sequence": "stop_sequence",
    "refusal": "refusal",
    "pause_turn": "pause",
    "content_filter": "content_filter",
    "insufficient_system_resource": "other",
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "SAFETY": "content_filter",
    "MODEL_ARMOR": "content_filter",
    "MALFORMED_FUNCTION_CALL": "other",
    "completed": "end_turn",
    "max_output_tokens": "max_tokens",
    "queued": "other",  # no answer yet: in background mode it has to be asked for later
    "in_progress": "other",
    "UNEXPECTED_TOOL_CALL": "end_turn",  # the model said which tool, only that there is no such
}

ERRORS = {
    "AuthenticationError": "AuthError",
    "PermissionDeniedError": "AuthError",
    "NotFoundError": "NotFound",
    "BadRequestError": "BadRequest",
    "HTTPValidationError": "BadRequest",
    "ContentTooLargeError": "RequestTooLarge",
    "RateLimitError": "RateLimited",
    "EnforcedSpendLimitReachedError": "QuotaExhausted",
    "InternalServerError": "ServerError",
    "OverloadedError": "Overloaded",
    "APIError": "ServerError",  # of a stream; it has no status
}

# What the SDKs do not tell apart, by a word of theirs: the error's code, type or status.
ERRORS_BY_WORD = {
    "insufficient_quota": "QuotaExhausted",
    "tool_use_failed": "ServerError",  # the model's fault, so worth another try
    "too_many_prompt_tokens": "ContextTooLong",
    "model_decommissioned": "NotFound",
    "service_tier_capacity_exceeded": "Overloaded",
    "overloaded_error": "Overloaded",
    "usage_limit_reached": "QuotaExhausted",
    "context_length_exceeded": "ContextTooLong",
    "model_not_found": "NotFound",
    "rate_limit_exceeded": "RateLimited",
}
ERRORS_BY_TEXT = {
    "Incorrect API key": "AuthError",
    "prompt is too long": "ContextTooLong",
    "maximum context length": "ContextTooLong",
    "exceeded max context length": "ContextTooLong",
    "Content violates usage guidelines": "ContentRejected",
    "API key not valid": "AuthError",
    "input token count": "ContextTooLong",
}
ERRORS_BY_STATUS = {
    400: "BadRequest",
    401: "AuthError",
    404: "NotFound",
    429: "RateLimited",
    500: "ServerError",
    503: "Overloaded",
}


# Where we differ from the SDKs on purpose, by recording and exchange: what is different, and why.
_DONE = "OpenAI encrypts anew each time it sends an item; what goes back is that of output_item.done, as its docs say"
EXCEPTIONS: Mapping[tuple[str, int], tuple[Mapping[str, Any], str]] = {
    ("documented/deepseek-stream-insufficient-resource.json", 0): (
        {"text": "Wor", "error": "Overloaded"},
        "the server gave up in mid-answer, so half an answer must not pass for a whole one",
    ),
    ("openai-chat/openrouter-finish-null-1.json", 0): (
        {"text": "", "error": "ServerError"},
        "the choice carries the error that ended it",
    ),
    ("openai-chat/snowflake-tool-round-trip-1.json", 0): (
        {
            "thinking": "Let me get the weather for Mexico City.",
            "opaque": ["3d2a6193494389e2"],
            "stop": "tool_use",
        },
        "the reasoning stands in reasoning_details only, which the SDK does not read",
    ),
    ("openai-responses/azure-stream-thinking-1.json", 0): ({"opaque": ["2674a39930cb5971"]}, _DONE),
    ("openai-responses/openai-stream-server-tool-3.json", 0): ({"opaque": ["fb95d22d5e25bcb4"]}, _DONE),
    ("openai-responses/openai-stream-thinking-tools-5.json", 0): ({"opaque": ["7ca4dc4d7bc83156"]}, _DONE),
}


def expected(name: str) -> list[Expected | None]:
    """What each exchange of a recording says; None for one that asks no model."""
    return [_as_we_read(name, number) for number in range(len(oracle()[name]))]


def _as_we_read(name: str, number: int) -> Expected | None:
    sdk = as_the_sdk_reads(name, number)
    different, _ = EXCEPTIONS.get((name, number), ({}, ""))
    return attrs.evolve(sdk, **different) if sdk and different else sdk


def as_the_sdk_reads(name: str, number: int) -> Expected | None:
    """What the vendor's SDK makes of one exchange; None if that asks no model."""
    recording = load(name)
    return _expected(oracle()[name][number], recording["wire"], recording["exchanges"][number]["response"])


def _expected(entry: Mapping[str, Any], wire: str, response: Mapping[str, Any]) -> Expected | None:
    match entry["outcome"]:
        case "token-count" | "compaction":
            return None
        case "truncated":
            return Expected(text=entry["text"], error="StreamTruncated")
        case "sdk-cannot-read":
            return Expected(error="ProtocolError")
        case "error" | "error-in-stream":
            return Expected(text=entry.get("text"), error=_error(entry, response))
    usage = entry.get("usage")
    if entry["outcome"] == "blocked":
        return Expected(text="", tool_calls=[], stop="content_filter")
    return Expected(
        text=entry["text"],
        thinking=entry["thinking"],
        tool_calls=[(call["id"] or None, call["name"], call["arguments"]) for call in entry["tool_calls"]],
        stop="refusal" if entry.get("refusal") else _stop(entry),
        usage=usage and _USAGES[wire](usage),
        opaque=[_as_written(piece["sha256_16"], response["body"]) for piece in entry.get("opaque", ())],
    )


def _as_written(digest: str, body: Any) -> str:
    """The digest of a signature as it stands in a body; that of the SDK may be of it without its padding."""
    for text in re.findall(r"[A-Za-z0-9+/_=-]{16,}", body if isinstance(body, str) else json.dumps(body)):
        if _digest(text.rstrip("=").translate(str.maketrans("-_", "+/"))) == digest:
            return _digest(text)
    return digest


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _stop(entry: Mapping[str, Any]) -> str:
    """Any way of stopping with calls is to have them run; but one that was cut is not."""
    word = STOPS[entry.get("incomplete_reason") or entry["finish_reason"] or ""]
    return "tool_use" if entry["tool_calls"] and word in ("end_turn", "stop_sequence") else word


def _error(entry: Mapping[str, Any], response: Mapping[str, Any]) -> str:
    error = entry["error"]
    words = {str(error.get("code")), str(error.get("type"))}
    for word, kind in ERRORS_BY_WORD.items():
        if word in words:
            return kind
    body = json.dumps(response["body"])
    for text, kind in ERRORS_BY_TEXT.items():
        if text in body:
            return kind
    if response["status"] == 402:
        return "QuotaExhausted"
    if error.get("sdk_class") in ("SDKError", "ClientError", "ServerError", "ResponseError"):  # for any status
        return ERRORS_BY_STATUS[error.get("code") or response["status"]]
    return ERRORS[error.get("sdk_class") or "APIError"]


def _usage_of_messages(usage: Mapping[str, Any]) -> dict[str, int]:
    """Anthropic counts what the cache holds apart from `input_tokens`."""
    read, written = usage.get("cache_read_input_tokens") or 0, usage.get("cache_creation_input_tokens") or 0
    passes = [one for one in usage.get("iterations") or () if one["type"] == "message"]
    last = passes[-1] if passes else usage
    window = sum(
        last.get(name) or 0
        for name in ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
    )
    return {
        "input_tokens": usage["input_tokens"] + read + written,
        "output_tokens": usage["output_tokens"],
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "cache_write_1h_tokens": (usage.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0,
        "reasoning_tokens": (usage.get("output_tokens_details") or {}).get("thinking_tokens") or 0,
        "context_tokens": window,
    }


def _usage_of_chat(usage: Mapping[str, Any]) -> dict[str, int]:
    """Chat servers include reasoning in the completion, but for xAI, whose total gives it away."""
    prompt, completion = usage["prompt_tokens"], usage["completion_tokens"]
    reasoning = (usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0
    is_apart = reasoning > 0 and usage["total_tokens"] == prompt + completion + reasoning
    details = usage.get("prompt_tokens_details") or {}
    return {
        "input_tokens": prompt,
        "output_tokens": completion + (reasoning if is_apart else 0),
        "cache_read_tokens": details.get("cached_tokens") or usage.get("prompt_cache_hit_tokens") or 0,
        "cache_write_tokens": details.get("cache_write_tokens") or 0,
        "reasoning_tokens": reasoning,
    }


def _usage_of_responses(usage: Mapping[str, Any]) -> dict[str, int]:
    """OpenAI includes in each count what it then tells apart."""
    last = usage.get("context_details") or usage  # xAI, where its own tools made it ask the model more than once
    return {
        "input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
        "cache_read_tokens": usage["input_tokens_details"]["cached_tokens"],
        "cache_write_tokens": usage["input_tokens_details"].get("cache_write_tokens") or 0,
        "reasoning_tokens": usage["output_tokens_details"]["reasoning_tokens"],
        "context_tokens": last["input_tokens"] + last["output_tokens"],
    }


def _usage_of_gemini(usage: Mapping[str, Any]) -> dict[str, int]:
    """Google counts thoughts apart from the answer, and what its tools read apart from the prompt."""
    prompt, tools = usage.get("promptTokenCount") or 0, usage.get("toolUsePromptTokenCount") or 0
    thoughts = usage.get("thoughtsTokenCount") or 0
    return {
        "input_tokens": prompt + tools,
        "output_tokens": (usage.get("candidatesTokenCount") or 0) + thoughts,
        "cache_read_tokens": usage.get("cachedContentTokenCount") or 0,
        "reasoning_tokens": thoughts,
        "tool_prompt_tokens": tools,
        "context_tokens": usage.get("totalTokenCount") or 0,
    }


def _usage_of_ollama(usage: Mapping[str, Any]) -> dict[str, int]:
    return {"input_tokens": usage.get("prompt_eval_count") or 0, "output_tokens": usage.get("eval_count") or 0}


_USAGES = {
    "anthropic-messages": _usage_of_messages,
    "openai-chat": _usage_of_chat,
    "openai-responses": _usage_of_responses,
    "gemini": _usage_of_gemini,
    "ollama-chat": _usage_of_ollama,
}
