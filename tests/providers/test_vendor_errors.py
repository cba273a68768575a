"""What each vendor says when it cannot answer, and which of our errors that is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from alloy.llm import (
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
from alloy.providers.classify import error_within
from alloy.providers.dialect import Target
from alloy.providers.vendors import model_for


def target(vendor: str) -> Target:
    model = model_for(f"{vendor}:some-model", api_key="k", base_url="http://localhost/v1")
    return Target(origin=model.origin, profile=model.profile)


def refused(vendor: str, status: int, body: object, headers: Mapping[str, str] = {}) -> ProviderError:
    """What our dialect for the vendor makes of an answer."""
    dialect = model_for(f"{vendor}:some-model", api_key="k", base_url="http://localhost/v1").dialect
    return dialect.error_from(
        status, headers, body if isinstance(body, bytes) else json.dumps(body).encode(), target(vendor)
    )


def claude(kind: str, message: str, **more: Any) -> Any:
    return {"type": "error", "error": {"type": kind, "message": message, **more}, "request_id": "req_1"}


def openai(message: str, code: str | None = None, type: str = "invalid_request_error") -> Any:
    return {"error": {"message": message, "type": type, "param": None, "code": code}}


def google(status: str, message: str, *details: Mapping[str, Any], code: int = 400) -> Any:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def router(code: int, message: str, **metadata: Any) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}}


def mistral(message: str, code: str = "", type: str = "invalid_request_error") -> Any:
    return {"object": "error", "message": message, "type": type, "param": None, "code": code}


SPENT = {
    "@type": "type.googleapis.com/google.rpc.QuotaFailure",
    "violations": [{"quotaId": "RequestsPerDayPerProject"}],
}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17.5s"}
WRONG_KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}

REFUSALS: list[tuple[str, int, Any, type[ProviderError]]] = [
    ("anthropic", 400, claude("invalid_request_error", "max_tokens: required"), BadRequest),
    ("anthropic", 400, claude("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"), ContextTooLong),
    ("anthropic", 400, claude("invalid_request_error", "Your credit balance is too low"), QuotaExhausted),
    (
        "anthropic",
        400,
        claude("invalid_request_error", "You have reached your specified API usage limits. You will regain access on"),
        QuotaExhausted,
    ),
    (
        "anthropic",
        400,
        claude("invalid_request_error", "messages.1.content.0: The block is bound to a different conversation"),
        StaleReasoning,
    ),
    ("anthropic", 400, claude("invalid_request_error", "Output blocked by content filtering policy"), ContentRejected),
    ("anthropic", 401, claude("authentication_error", "invalid x-api-key"), AuthError),
    ("anthropic", 402, claude("billing_error", "no"), QuotaExhausted),
    ("anthropic", 403, claude("permission_error", "no"), AuthError),
    ("anthropic", 404, claude("not_found_error", "model: claude-0"), NotFound),
    ("anthropic", 413, claude("request_too_large", "Request exceeds the maximum size"), RequestTooLarge),
    ("anthropic", 429, claude("rate_limit_error", "slow"), RateLimited),
    (
        "anthropic",
        429,
        claude("rate_limit_error", "no", details={"error_code": "contract_spend_limit_reached"}),
        QuotaExhausted,
    ),
    ("anthropic", 500, claude("api_error", "Internal server error"), ServerError),
    ("anthropic", 504, claude("timeout_error", "no"), ServerError),
    ("anthropic", 529, claude("overloaded_error", "Overloaded"), Overloaded),
    ("openai", 400, openai("bad", "invalid_value"), BadRequest),
    ("openai", 400, openai("Your input exceeds the context window", "context_length_exceeded"), ContextTooLong),
    (
        "openai",
        400,
        openai("Item 'rs_1' of type 'reasoning' was provided without its required following item"),
        StaleReasoning,
    ),
    ("openai", 400, openai("no", "content_policy_violation"), ContentRejected),
    ("openai", 401, openai("Incorrect API key provided", "invalid_api_key"), AuthError),
    ("openai", 403, openai("Country not supported", "unsupported_country_region_territory"), AuthError),
    ("openai", 404, openai("The model `x` does not exist", "model_not_found"), NotFound),
    ("openai", 429, openai("Rate limit reached", "rate_limit_exceeded", "tokens"), RateLimited),
    ("openai", 429, openai("no", "organization_spend_limit_exceeded"), QuotaExhausted),
    (
        "openai",
        429,
        openai("You exceeded your current quota", "insufficient_quota", "insufficient_quota"),
        QuotaExhausted,
    ),
    ("openai", 429, openai("Request too large for m on tokens per min (TPM): Limit 3, Requested 4."), ContextTooLong),
    ("openai", 500, openai("The server had an error", None, "server_error"), ServerError),
    ("openai", 503, openai("busy", "server_is_overloaded"), Overloaded),
    ("openai", 503, openai("slow", "slow_down"), Overloaded),
    (
        "codex",
        429,
        {"error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_at": 1_795_000_000}},
        QuotaExhausted,
    ),
    ("codex", 429, {"error": {"type": "usage_not_included"}}, QuotaExhausted),
    ("codex", 429, {"error": {"type": "rate_limit_exceeded"}}, RateLimited),
    ("codex", 400, openai("no", "cyber_policy"), ContentRejected),
    ("codex", 503, openai("busy", "server_is_overloaded"), Overloaded),
    ("google", 400, google("INVALID_ARGUMENT", "bad"), BadRequest),
    ("google", 400, [google("INVALID_ARGUMENT", "bad")], BadRequest),
    (
        "google",
        400,
        google("INVALID_ARGUMENT", "The input token count (9) exceeds the maximum number of tokens allowed (8)."),
        ContextTooLong,
    ),
    (
        "google",
        400,
        google("INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", WRONG_KEY),
        AuthError,
    ),
    ("google", 400, google("FAILED_PRECONDITION", "Please enable billing on your project"), QuotaExhausted),
    ("google", 400, google("INVALID_ARGUMENT", "Function call `f` is missing a `thought_signature`"), StaleReasoning),
    ("google", 403, google("PERMISSION_DENIED", "no", code=403), AuthError),
    ("google", 404, google("NOT_FOUND", "models/x is not found", code=404), NotFound),
    ("google", 429, google("RESOURCE_EXHAUSTED", "slow", WAIT, code=429), RateLimited),
    ("google", 429, google("RESOURCE_EXHAUSTED", "spent", SPENT, WAIT, code=429), QuotaExhausted),
    ("google", 500, google("INTERNAL", "no", code=500), ServerError),
    ("google", 503, google("UNAVAILABLE", "The model is overloaded", code=503), Overloaded),
    ("google", 504, google("DEADLINE_EXCEEDED", "no", code=504), ServerError),
    ("ollama", 400, {"error": '"m" does not support tools'}, BadRequest),
    ("ollama", 400, {"error": "the input length exceeds the context length"}, ContextTooLong),
    (
        "ollama",
        400,
        {"error": "the prompt is longer than the context length currently available to the model"},
        ContextTooLong,
    ),
    ("ollama", 401, {"error": "unauthorized", "signin_url": "https://ollama.com"}, AuthError),
    ("ollama", 404, {"error": 'model "x" not found, try pulling it first'}, NotFound),
    ("ollama", 429, {"error": "you have reached your hourly usage limit"}, QuotaExhausted),
    ("ollama", 500, {"error": "llama runner process has terminated"}, ServerError),
    (
        "openrouter",
        400,
        router(400, "This endpoint's maximum context length is 8 tokens. However, you requested about 9 tokens"),
        ContextTooLong,
    ),
    ("openrouter", 402, router(402, "Insufficient credits"), QuotaExhausted),
    ("openrouter", 402, router(402, "wait", limit_source="openrouter_in_flight_budget"), RateLimited),
    ("openrouter", 403, router(403, "Your chosen model requires moderation", reasons=["violence"]), ContentRejected),
    ("openrouter", 429, router(429, "Provider returned error", raw="slow down", provider_name="X"), RateLimited),
    (
        "openrouter",
        400,
        router(400, "Provider returned error", raw=json.dumps(claude("invalid_request_error", "prompt is too long"))),
        ContextTooLong,
    ),
    ("openrouter", 502, router(502, "Provider is down"), ServerError),
    ("openrouter", 503, router(503, "No provider fits"), Overloaded),
    ("xai", 400, {"code": "invalid-argument", "error": "Incorrect API key provided: x***"}, AuthError),
    (
        "xai",
        400,
        {
            "code": "invalid-argument",
            "error": "This model's maximum prompt length is 8 but the request contains 9 tokens",
        },
        ContextTooLong,
    ),
    ("xai", 403, {"code": "forbidden", "error": "Content violates usage guidelines."}, ContentRejected),
    ("xai", 404, {"code": "not-found", "error": "The model does not exist"}, NotFound),
    ("xai", 429, {"code": "resource-exhausted", "error": "Too many requests"}, RateLimited),
    (
        "deepseek",
        400,
        openai("This model's maximum context length is 8 tokens. However, you requested 9 tokens"),
        ContextTooLong,
    ),
    (
        "deepseek",
        400,
        openai("The reasoning_content in the thinking mode must be passed back to the API."),
        StaleReasoning,
    ),
    ("deepseek", 402, openai("Insufficient Balance", None, "unknown_error"), QuotaExhausted),
    ("deepseek", 422, openai("Invalid parameters"), BadRequest),
    ("deepseek", 503, openai("busy", None, "service_unavailable_error"), Overloaded),
    ("mistral", 400, mistral("no", "3051"), ContextTooLong),
    (
        "mistral",
        400,
        mistral("Prompt contains 9 tokens and 0 draft tokens, too large for model with 8 maximum context length"),
        ContextTooLong,
    ),
    ("mistral", 401, {"message": "Unauthorized", "request_id": "r"}, AuthError),
    ("mistral", 422, {"detail": [{"loc": ["body", "seed"], "msg": "extra", "type": "extra_forbidden"}]}, BadRequest),
    ("mistral", 429, mistral("Service tier capacity exceeded for this model.", "3505"), Overloaded),
    ("mistral", 429, mistral("Requests rate limit exceeded", "1300", "rate_limited"), RateLimited),
    (
        "groq",
        400,
        openai("Please reduce the length of the messages or completion.", "context_length_exceeded"),
        ContextTooLong,
    ),
    ("groq", 400, openai("Failed to call a function", "tool_use_failed"), ServerError),
    ("groq", 400, openai("The model `x` has been decommissioned", "model_decommissioned"), NotFound),
    (
        "groq",
        413,
        openai(
            "Request too large for model `m` on tokens per minute (TPM): Limit 3, Requested 4",
            "rate_limit_exceeded",
            "tokens",
        ),
        ContextTooLong,
    ),
    ("groq", 498, openai("no capacity", "capacity_exceeded"), Overloaded),
    (
        "groq",
        429,
        openai("Rate limit reached. Please try again in 3.66s.", "rate_limit_exceeded", "tokens"),
        RateLimited,
    ),
    # Behind a proxy, whoever it is for.
    ("anthropic", 502, b"<html><head><title>502 Bad Gateway</title></head></html>", ServerError),
    ("google", 503, b"", Overloaded),
    ("openai-compatible", 400, b"", BadRequest),
    (
        "openai-compatible",
        500,
        {"error": {"message": "CUDA out of memory", "type": "InternalServerError", "code": 500}},
        ServerError,
    ),
    (
        "openai-compatible",
        400,
        {"object": "error", "message": "[{'loc': 'messages'}]", "type": "BadRequestError", "code": 400},
        BadRequest,
    ),
]


@pytest.mark.parametrize(("vendor", "status", "body", "kind"), REFUSALS)
def test_a_refusal_of_a_vendor_is_of_its_kind(vendor: str, status: int, body: Any, kind: type[ProviderError]) -> None:
    error = refused(vendor, status, body)

    assert type(error) is kind
    assert (error.vendor, error.model, error.status) == (vendor, "some-model", status)
    assert str(error).startswith(f"{vendor} answered {status}")


# Every wording by which servers say that a prompt is too long, and who says so.

TOO_LONG = [
    "prompt is too long: 213462 tokens > 200000 maximum",  # Anthropic
    "input is too long for requested model",  # Bedrock
    "Your input exceeds the context window of this model",  # OpenAI
    "The input token count (9) exceeds the maximum number of tokens allowed (8)",  # Gemini
    "the maximum number of tokens allowed is 8",
    "This model's maximum prompt length is 131072 but the request contains 537812 tokens",  # xAI
    "Please reduce the length of the messages or completion",  # Groq
    "This endpoint's maximum context length is 8 tokens",  # OpenRouter
    "too large for model with 32768 maximum context length",  # Mistral
    "the request exceeds the available context size",  # llama.cpp
    "the input length exceeds the context length",  # Ollama
    "the prompt is longer than the context length currently available",  # Ollama
    "Trying to keep the first 9 tokens when context the overflows: greater than the context length",  # LM Studio
    "invalid params, context window exceeds limit (2013)",  # MiniMax
    "Your request exceeded model token limit: 8192",  # Kimi
    "Current length is 9000 while limit is 8192",  # Cerebras
    "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000",  # Anthropic, before Sonnet 4.5
    "Input tokens exceed the configured limit of 8 tokens",
]


@pytest.mark.parametrize("text", [*TOO_LONG, *map(str.upper, TOO_LONG)])
def test_a_prompt_that_does_not_fit_is_known_by_any_of_its_wordings(text: str) -> None:
    assert type(refused("openai-compatible", 400, openai(text))) is ContextTooLong
    assert type(error_within(openai(text), target("openai-compatible"), in_stream=True)) is ContextTooLong


@pytest.mark.parametrize("text", TOO_LONG)
def test_no_wording_makes_a_rate_limit_a_prompt_that_does_not_fit(text: str) -> None:
    assert type(refused("openai-compatible", 429, openai(text))) is RateLimited


# How long to wait, wherever it stands.


@pytest.mark.parametrize(
    ("vendor", "status", "body", "headers", "seconds"),
    [
        ("anthropic", 429, claude("rate_limit_error", "x"), {"retry-after": "41"}, 41.0),
        ("anthropic", 529, claude("overloaded_error", "x"), {"retry-after": "0.5"}, 0.5),
        ("openai", 429, openai("x"), {"retry-after-ms": "350", "retry-after": "1"}, 0.35),
        ("openai", 429, openai("Please try again in 535ms. Visit"), {}, 0.535),
        ("google", 429, google("RESOURCE_EXHAUSTED", "x", WAIT, code=429), {}, 17.5),
        ("google", 503, google("UNAVAILABLE", "x", WAIT, code=503), {}, 17.5),
        ("groq", 429, openai("Please try again in 1m3.66s."), {}, 63.66),
        ("openrouter", 503, router(503, "x"), {"retry-after": "7"}, 7.0),
        ("openrouter", 402, router(402, "x"), {"retry-after": "7"}, 7.0),
        ("mistral", 429, mistral("x"), {"retry-after": "-1"}, None),
    ],
)
def test_the_wait_is_found_wherever_the_vendor_says_it(
    vendor: str, status: int, body: Any, headers: Mapping[str, str], seconds: float | None
) -> None:
    wait = refused(vendor, status, body, headers).retry_after

    assert wait == (seconds if seconds is None else pytest.approx(seconds))
