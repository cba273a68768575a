"""Telling errors apart: which of ours it is that a server reports. Pure, for all dialects.

Codes go before texts, texts before the status. Texts are matched only where a vendor offers nothing else.

Source: the vendors' error pages and SDKs, and the recognisers of pydantic-ai, litellm and Codex (read 2026-11-22).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus

import attrs

from alloy.llm.content import JSON
from alloy.llm.errors import (
    AuthError,
    BadRequest,
    ContentRejected,
    ContextTooLong,
    NotFound,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestTooLarge,
    ServerError,
    StaleReasoning,
)
from alloy.providers.dialect import Target
from alloy.providers.problem import Problem, problem_from, problem_in
from alloy.providers.waits import pacific_midnight, regained_at, wait_from

BODY_LIMIT = 16_000  # characters; the client takes the secrets out of them, and then keeps less

_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthError,
    402: QuotaExhausted,
    403: AuthError,
    404: NotFound,
    408: ServerError,  # the server gave up waiting for our request
    409: ServerError,  # a conflict with another request
    413: RequestTooLarge,
    425: ServerError,  # too early
    429: RateLimited,
    498: Overloaded,  # Groq: no flex capacity
    499: ServerError,  # something between us and the model hung up
    503: Overloaded,
    529: Overloaded,
}

# For errors inside a stream, which have no status of their own, by `type` or `code`.
_STATUS_OF_WORD: Mapping[str, int] = {
    "invalid_request_error": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "insufficient_quota": 429,
    "api_error": 500,
    "server_error": 500,
    "service_unavailable": 503,
    "server_is_overloaded": 503,
    "insufficient_system_resource": 503,  # DeepSeek
    "slow_down": 503,
    "timeout_error": 504,
    "overloaded_error": 529,
    **dict.fromkeys(  # of OpenAI's Responses
        (
            "data_residency_mismatch",
            "empty_image_file",
            "failed_to_download_image",
            "image_file_not_found",
            "image_file_too_large",
            "image_parse_error",
            "image_too_large",
            "image_too_small",
            "invalid_base64_image",
            "invalid_image",
            "invalid_image_format",
            "invalid_image_mode",
            "invalid_image_url",
            "unsupported_image_media_type",
        ),
        400,
    ),
}

_QUOTA_CODES = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "enforced_spend_limit_reached",
        "contract_spend_limit_reached",
        "billing_error",
        "exceeded_current_quota_error",  # Moonshot
        "usage_limit_reached",
        "usage_not_included",
        "1113",  # Z.ai, and so on
        *map(str, range(1308, 1322)),
    }
)
_QUOTA_TEXT = re.compile(
    r"credit balance is too low|you have reached your specified .*usage limits|insufficient balance"
    r"|reached your \w+ usage limit",  # Ollama's cloud
    re.IGNORECASE,
)
_DAILY_QUOTA = re.compile("PerDay")  # in Gemini's name of a quota
_TOO_LONG_CODES = frozenset({"context_length_exceeded", "3051", "too_many_prompt_tokens", "exceed_context_size_error"})
_TOO_LONG_TEXT = re.compile(
    r"prompt (is )?too long|input is too long|exceeds the context window|input token count.*exceeds the maximum"
    r"|maximum number of tokens allowed|maximum prompt length is \d+|reduce the length of the messages"
    r"|max(imum)? context length|too large for model with \d+ maximum context length"
    r"|exceeds the available context size|(exceeds|longer than|greater than) the context length"
    r"|context window exceeds limit|exceeded model token limit|current length is .* while limit is"
    r"|exceed context limit|input tokens exceed the configured limit|length of all messages is too long",
    re.IGNORECASE | re.DOTALL,
)
_TOO_MANY_AT_ONCE = re.compile(r"request too large.*(tokens per min|\btpm\b)", re.IGNORECASE | re.DOTALL)
_STALE_TEXT = re.compile(
    r"block is bound to a different conversation|invalid `?signature`? in `?thinking|missing a `?thought_signature"
    r"|reasoning_content in the thinking mode must be passed back|without its required following item"
    r"|reasoning input items can only be provided|encrypted content .*could not be (verified|decrypted)"
    r"|`?redacted_thinking`? blocks in the latest assistant message cannot be modified",
    re.IGNORECASE,
)
_REJECTED_CODES = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "moderation_blocked",
        "bio_policy",
        "cyber_policy",
        "image_content_policy_violation",
        "misalignment_policy_violation",
    }
)
_REJECTED_TEXT = re.compile(
    r"violates? (our )?usage (guidelines|policies)|flagged (by|as|for)|requires moderation|content management policy"
    r"|output blocked by content filtering policy",
    re.IGNORECASE,
)
_GONE_CODES = frozenset({"model_not_found", "model_decommissioned", "model_not_available"})
_WRONG_KEY_CODES = frozenset({"invalid_api_key", "API_KEY_INVALID"})
_WRONG_KEY_TEXT = re.compile(r"(incorrect|invalid) api key|api key not valid", re.IGNORECASE)
_NO_CAPACITY = re.compile(r"capacity exceeded", re.IGNORECASE)


def kind_of(problem: Problem, status: int, *, should_retry: bool | None = None) -> type[ProviderError]:
    """Decide which of our errors it is.

    Args:
        problem: what the server says.
        status: the HTTP status, or the one that means the same.
        should_retry: the server's `x-should-retry`, None without one. False makes what we would have tried
            again a `QuotaExhausted` for 429 and a plain `ProviderError` for all else, which are not retried.
            True makes of a `BadRequest` a `ServerError`, which is.
    """
    kind = _kind(problem, status)
    if should_retry is False and kind.retryable:
        return QuotaExhausted if status == 429 else ProviderError
    if should_retry is True and kind is BadRequest:
        return ServerError
    return kind


def _kind(problem: Problem, status: int) -> type[ProviderError]:
    words, text = {problem.code, problem.type}, problem.message
    if words & _QUOTA_CODES or _QUOTA_TEXT.search(text) or _DAILY_QUOTA.search(problem.code):
        return QuotaExhausted
    if "FAILED_PRECONDITION" in words and "billing" in text.lower():  # Gemini
        return QuotaExhausted
    if is_too_long(problem, status):
        return ContextTooLong
    if _STALE_TEXT.search(text):
        return StaleReasoning
    if words & _REJECTED_CODES or (status in (400, 403) and _REJECTED_TEXT.search(text)):
        return ContentRejected
    if status in (400, 404, 410) and words & _GONE_CODES:
        return NotFound
    if status == 400 and (words & _WRONG_KEY_CODES or _WRONG_KEY_TEXT.search(text)):  # xAI, Gemini
        return AuthError
    if status == 400 and "tool_use_failed" in words:  # Groq: the model wrote a bad call; the next try may differ
        return ServerError
    if status == 402 and problem.transient:
        return RateLimited
    if status == 429 and _NO_CAPACITY.search(text):  # Mistral
        return Overloaded
    return _BY_STATUS.get(status) or (ServerError if status >= 500 else BadRequest)


def is_too_long(problem: Problem, status: int) -> bool:
    """Whether the prompt did not fit. Never because of a rate, but for one that a shorter prompt would keep to."""
    if "string_above_max_length" in (problem.code, problem.type):
        return False
    if problem.code in _TOO_LONG_CODES or problem.type in _TOO_LONG_CODES:
        return True
    if status in (413, 429):
        return bool(_TOO_MANY_AT_ONCE.search(problem.message))
    return status not in (401, 402, 403, 404) and bool(_TOO_LONG_TEXT.search(problem.message))


_N = r"(\d[\d,]*)"
_USED_THEN_LIMIT = (
    re.compile(rf"{_N} tokens > {_N} maximum"),
    re.compile(rf"token count \({_N}\).*allowed \({_N}\)"),
    re.compile(rf"prompt contains {_N} tokens.*?{_N} maximum context length", re.IGNORECASE),
    re.compile(rf"current length is {_N} while limit is {_N}", re.IGNORECASE),
    re.compile(rf"exceed context limit: {_N} \+ \d+ > {_N}"),
    re.compile(rf"prompt is too long: {_N}, model maximum context length: {_N}", re.IGNORECASE),
)
_LIMIT_THEN_USED = (
    re.compile(rf"maximum context length is {_N} tokens.*?(?:requested|resulted in)(?: about)? {_N}", re.DOTALL),
    re.compile(rf"maximum prompt length is {_N} but the request contains {_N}"),
    re.compile(rf"Limit {_N}.*?Requested {_N}"),
)
_LIMIT = re.compile(
    rf"(?:maximum context length (?:is|of)|model token limit:?|context length of only|context size \()\s*{_N}",
    re.IGNORECASE,
)


def token_counts(message: str) -> tuple[int | None, int | None]:
    """Read out of a too-long message the limit and what was used, in tokens; None for what it does not say."""
    for pattern in _LIMIT_THEN_USED:
        if found := pattern.search(message):
            return _int(found[1]), _int(found[2])
    for pattern in _USED_THEN_LIMIT:
        if found := pattern.search(message):
            return _int(found[2]), _int(found[1])
    found = _LIMIT.search(message)
    return (_int(found[1]) if found else None), None


def _int(digits: str) -> int:
    return int(digits.replace(",", ""))


def error_for_answer(status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
    """Make the error of an answer whose HTTP status is one; header names are lower case."""
    problem = problem_in(body)
    if status == 402 and "retry-after" in headers:  # OpenRouter: credit is short for what is under way
        problem = attrs.evolve(problem, transient=True)
    should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").lower())
    return _error(
        kind_of(problem, status, should_retry=should_retry),
        problem,
        target,
        f"{target.origin.vendor} answered {status}",
        status=status,
        request_id=headers.get("request-id") or headers.get("x-request-id") or problem.request_id,
        body=body[: 4 * BODY_LIMIT].decode("utf-8", "replace")[:BODY_LIMIT],
        retry_after=_wait(headers, problem),
    )


def error_within(value: JSON, target: Target, *, in_stream: bool) -> ProviderError:
    """Make the error of an answer that began well and then says, in JSON, that it failed."""
    problem = problem_from(value)
    status = problem.status or _STATUS_OF_WORD.get(problem.code) or _STATUS_OF_WORD.get(problem.type) or 500
    return _error(
        kind_of(problem, status),
        problem,
        target,
        f"{target.origin.vendor} broke off" if in_stream else f"{target.origin.vendor} answered with an error",
        status=status,
        request_id=problem.request_id,
        body=json.dumps(value)[:BODY_LIMIT],
        retry_after=_wait({}, problem),
        in_stream=in_stream,
    )


def _wait(headers: Mapping[str, str], problem: Problem) -> float | None:
    """What headers say counts most, then what a field says, then what the text says."""
    return wait_from(headers, problem.message) if problem.wait is None else wait_from(headers) or problem.wait


def _error(
    kind: type[ProviderError],
    problem: Problem,
    target: Target,
    happened: str,
    *,
    status: int,
    request_id: str | None,
    body: str,
    retry_after: float | None,
    in_stream: bool = False,
) -> ProviderError:
    said = problem.message or _phrase(status)
    words = f" ({problem.word})" if problem.word else ""
    error = kind(
        f"{happened}{words}: {said}",
        vendor=target.origin.vendor,
        model=target.origin.model,
        status=status,
        code=problem.code or None,
        type=problem.type or None,
        request_id=request_id,
        body=body,
        retry_after=retry_after,
        in_stream=in_stream,
    )
    if isinstance(error, ContextTooLong):
        error.limit, error.used = token_counts(problem.message)
    if isinstance(error, QuotaExhausted):
        is_daily = _DAILY_QUOTA.search(problem.code)
        by_text = pacific_midnight() if is_daily else regained_at(problem.message)
        error.resets_at = by_text if problem.resets_at is None else problem.resets_at
    return error


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "no reason given"
