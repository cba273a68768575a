"""Errors told apart: tables of what servers say and which of our errors that is."""

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
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.classify import error_for_answer, error_within
from alloy.providers.problem import problem_in
from alloy.providers.waits import wait_from
from alloy.testing.recorded import target_for

TARGET = target_for(AnthropicMessages(), vendor="acme")


def answer(status: int, body: Any = None, **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return error_for_answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, raw, TARGET)


def says(message: str, **fields: Any) -> Any:
    return {"error": {"message": message, **fields}}


# Which error it is.


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthError),
        (402, QuotaExhausted),
        (403, AuthError),
        (404, NotFound),
        (405, BadRequest),
        (408, ServerError),
        (409, ServerError),
        (413, RequestTooLarge),
        (422, BadRequest),
        (425, ServerError),
        (429, RateLimited),
        (498, Overloaded),
        (499, ServerError),
        (500, ServerError),
        (502, ServerError),
        (503, Overloaded),
        (504, ServerError),
        (529, Overloaded),
        (599, ServerError),
    ],
)
@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'{"error"', b"\xff\xfe", b'{"error": {"message": null}}', b"[" * 9999]
)
def test_the_status_decides_where_the_body_says_nothing(status: int, kind: type[ProviderError], body: bytes) -> None:
    error = answer(status, body)

    assert type(error) is kind
    assert error.status == status
    assert f"acme answered {status}" in str(error)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, says("slow", code="insufficient_quota"), QuotaExhausted),
        (429, says("slow", type="insufficient_quota"), QuotaExhausted),
        (429, says("slow", code="billing_hard_limit_reached"), QuotaExhausted),
        (429, says("slow", details={"error_code": "enforced_spend_limit_reached"}), QuotaExhausted),
        (429, says("slow", details={"error_code": "ramp_limit_exceeded"}), RateLimited),
        (429, says("slow", type="exceeded_current_quota_error"), QuotaExhausted),
        (429, says("slow", code="1113"), QuotaExhausted),
        (429, says("You exceeded your current quota. Please retry in 34.07s."), RateLimited),
        (429, says("slow", code="rate_limit_exceeded"), RateLimited),
        (429, says("slow", code="slow_down"), RateLimited),
        (429, says("Service tier capacity exceeded for this model.", code="3505"), Overloaded),
        (400, says("Your credit balance is too low to access the API"), QuotaExhausted),
        (400, says("You have reached your specified workspace API usage limits."), QuotaExhausted),
        (402, says("Insufficient Balance"), QuotaExhausted),
        (402, says("wait", metadata={"limit_source": "openrouter_in_flight_budget"}), RateLimited),
        (503, says("busy", code="server_is_overloaded"), Overloaded),
        (400, says("bad", code="tool_use_failed", failed_generation="{"), ServerError),
        (400, says("The model `x` has been decommissioned", code="model_decommissioned"), NotFound),
        (400, {"code": "Client specified an invalid argument", "error": "Incorrect API key provided: x***"}, AuthError),
        (400, says("filtered", code="content_filter"), ContentRejected),
        (403, says("Your input was flagged", metadata={"reasons": ["violence"]}), AuthError),
        (403, says("Your input was flagged for violence"), ContentRejected),
        (400, says("messages.1: The block is bound to a different conversation"), StaleReasoning),
        (400, says("The reasoning_content in the thinking mode must be passed back to the API."), StaleReasoning),
        (400, says("messages.1.content.0: Invalid `signature` in `thinking` block"), StaleReasoning),
        (400, says("Reasoning input items can only be provided to a reasoning model."), StaleReasoning),
        (400, says("The encrypted content gAAA... could not be verified."), StaleReasoning),
        (400, says("Item 'rs_1' was provided without its required following item."), StaleReasoning),
        (400, says("This may be misused", code="cyber_policy"), ContentRejected),
        (400, says("string too long", code="string_above_max_length"), BadRequest),
    ],
)
def test_codes_and_texts_decide_before_the_status(status: int, body: Any, kind: type[ProviderError]) -> None:
    assert type(answer(status, body)) is kind


def test_a_402_that_says_when_to_come_back_passes_by_waiting() -> None:
    error = answer(402, says("requires more credits"), retry_after="3")

    assert isinstance(error, RateLimited)
    assert error.retry_after == 3.0


@pytest.mark.parametrize(
    ("status", "message", "limit", "used"),
    [
        (400, "prompt is too long: 213462 tokens > 200000 maximum", 200_000, 213_462),
        (
            400,
            "input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000, decrease",
            200_000,
            188_240,
        ),
        (
            400,
            "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens.",
            8_192,
            9_000,
        ),
        (
            400,
            "This endpoint's maximum context length is 200000 tokens. However, you requested about 2500021 tokens",
            200_000,
            2_500_021,
        ),
        (400, "This model's maximum prompt length is 131072 but the request contains 537812 tokens", 131_072, 537_812),
        (
            400,
            "The input token count (1,048,577) exceeds the maximum number of tokens allowed (1,048,576).",
            1_048_576,
            1_048_577,
        ),
        (
            400,
            "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
            32_768,
            40_000,
        ),
        (
            400,
            "Please reduce the length of the messages or completion. Current length is 9000 while limit is 8192",
            8_192,
            9_000,
        ),
        (400, "the request exceeds the available context size (8192 tokens), try increasing it", 8_192, None),
        (400, "Your request exceeded model token limit: 8192", 8_192, None),
        (
            400,
            "Your input exceeds the context window of this model. Please adjust your input and try again.",
            None,
            None,
        ),
        (400, "prompt too long; exceeded max context length by 1119046 tokens", None, None),
        (500, "the input length exceeds the context length", None, None),
        (422, "context window exceeds limit (2013)", None, None),
        (413, "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000", 6_000, 9_000),
        (429, "Request too large for gpt-6 on tokens per min (TPM): Limit 30000, Requested 44000.", 30_000, 44_000),
    ],
)
def test_a_prompt_that_does_not_fit_is_told_from_its_text(
    status: int, message: str, limit: int | None, used: int | None
) -> None:
    error = answer(status, says(message))

    assert isinstance(error, ContextTooLong)
    assert (error.limit, error.used) == (limit, used)


@pytest.mark.parametrize("code", ["context_length_exceeded", "3051"])
def test_a_prompt_that_does_not_fit_is_told_from_its_code(code: str) -> None:
    assert isinstance(answer(400, {"object": "error", "message": "no", "code": code}), ContextTooLong)


@pytest.mark.parametrize("status", [401, 403, 404, 413, 429])
def test_a_text_about_length_is_believed_only_where_it_makes_sense(status: int) -> None:
    assert not isinstance(answer(status, says("maximum context length is 10 tokens")), ContextTooLong)


@pytest.mark.parametrize(
    ("status", "flag", "kind"),
    [
        (500, "false", ProviderError),
        (529, "FALSE", ProviderError),
        (408, "false", ProviderError),
        (429, "false", QuotaExhausted),
        (401, "false", AuthError),
        (400, "true", ServerError),
        (401, "true", AuthError),
        (500, "true", ServerError),
        (500, "maybe", ServerError),
    ],
)
def test_what_the_server_says_of_retrying_is_obeyed(status: int, flag: str, kind: type[ProviderError]) -> None:
    error = answer(status, says("no"), x_should_retry=flag)

    assert type(error) is kind
    assert error.status == status


def test_a_quota_says_when_it_is_filled_up_again() -> None:
    error = answer(
        429,
        says("You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."),
    )

    assert isinstance(error, QuotaExhausted)
    assert error.resets_at == 1_796_083_200.0


# Reading it.


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (b"  <html><head><title>502 Bad\n Gateway</title></head><body>nginx</body></html>", "502 Bad Gateway"),
        (b"<html><style>p {}</style><body><p>Sorry,<br>closed</p></body></html>", "Sorry, closed"),
        (b"upstream connect error", "upstream connect error"),
        (b'{"error": "model not found"}', "model not found"),
        (b'{"error": {"message": "no"}}', "no"),
        (b'{"error": {"message": {"en": "no"}}}', '{"en": "no"}'),
        (b'[{"error": {"message": "no", "code": 400, "status": "INVALID_ARGUMENT"}}]', "no"),
        (b'{"detail": "Invalid API Key"}', "Invalid API Key"),
        (b'{"detail": [{"loc": ["body", "n"], "msg": "extra", "type": "x"}, "odd"]}', "body.n: extra; odd"),
        (b'{"object": "error", "message": "no", "code": null}', "no"),
        (b'{"error": {"message": "Failed", "metadata": {"raw": "{\\"error\\": \\"min 16\\"}"}}}', "Failed: min 16"),
        (b"null", ""),
        (b"{}", ""),
        (b'{"unheard": "of"}', '{"unheard": "of"}'),
        (b'"just text"', "just text"),
        (b"42", "42"),
        (b"x" * 600, "x" * 499 + "…"),
    ],
)  # fmt: skip
def test_the_text_is_found_in_a_body_of_any_shape(body: bytes, message: str) -> None:
    assert problem_in(body).message == message


def test_an_error_carries_what_the_support_will_ask_for() -> None:
    body = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}

    in_body, in_header = answer(529, body), answer(529, body, request_id="req_2")

    assert (in_body.type, in_body.code, in_body.request_id) == ("overloaded_error", None, "req_1")
    assert in_header.request_id == "req_2"
    assert str(in_body) == "acme answered 529 (overloaded_error): Overloaded"
    assert json.loads(in_body.body) == body
    assert (in_body.vendor, in_body.model) == ("acme", "model")


def test_a_huge_body_is_kept_in_part() -> None:
    error = answer(500, b"<html>" + b"x" * 1_000_000)

    assert len(error.body) == 16_000
    assert len(str(error)) < 600


# Inside a stream.


@pytest.mark.parametrize(
    ("value", "kind", "status"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, Overloaded, 529),
        ({"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, RateLimited, 429),
        ({"type": "error", "error": {"type": "authentication_error", "message": "x"}}, AuthError, 401),
        (
            {"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long"}},
            ContextTooLong,
            400,
        ),
        ({"type": "error", "error": {"type": "unheard_of", "message": "x"}}, ServerError, 500),
        ({"error": {"code": 502, "message": "x"}}, ServerError, 502),
        ({"error": {"code": "502", "message": "x"}}, ServerError, 502),
        ({"error": {"code": 429, "message": "x"}}, RateLimited, 429),
        ({"error": {"code": "insufficient_quota", "message": "x"}}, QuotaExhausted, 429),
        ({"error": {"code": "context_length_exceeded", "message": "x"}}, ContextTooLong, 500),
        ({"error": {"code": 7, "message": "x"}}, ServerError, 500),
        ({"error": "out of memory"}, ServerError, 500),
    ],
)
def test_an_error_in_a_stream_is_the_one_that_its_status_would_be(
    value: Mapping[str, Any], kind: type[ProviderError], status: int
) -> None:
    error = error_within(value, TARGET, in_stream=True)

    assert (type(error), error.status, error.in_stream) == (kind, status, True)


# How long to wait.


@pytest.mark.parametrize(
    ("headers", "message", "seconds"),
    [
        ({}, "", None),
        ({"retry-after": "12"}, "", 12.0),
        ({"retry-after": "0"}, "", 0.0),
        ({"retry-after": " 0.5 "}, "", 0.5),
        ({"retry-after": "-3"}, "", None),
        ({"retry-after": "nan"}, "", None),
        ({"retry-after": "inf"}, "", None),
        ({"retry-after": "soon"}, "", None),
        ({"retry-after": "3600"}, "", 3600.0),
        ({"retry-after-ms": "250"}, "", 0.25),
        ({"retry-after-ms": "250", "retry-after": "9"}, "", 0.25),
        ({"retry-after-ms": "x", "retry-after": "9"}, "", 9.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, "", 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 12:00:30 -0000", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, "", 30.0),
        ({"retry-after": "Tue, 24 Nov 2026 11:00:00 GMT", "date": "Tue, 24 Nov 2026 12:00:00 GMT"}, "", None),
        ({"retry-after": "Tue, 99 Nov 2026 11:00:00 GMT"}, "", None),
        ({}, "Please try again in 1.2s.", 1.2),
        ({}, "Please try again in 350ms. Visit", 0.35),
        ({}, "Please try again in 2m3s.", 123.0),
        ({}, "Please try again in 1h2m", 3720.0),
        ({}, "Please retry in 34.07s.", 34.07),
        ({}, "Try again in 20 seconds", 20.0),
        ({}, "try again in 5 minutes", 300.0),
        ({}, "try again in a while", None),
        ({}, "try again in 3 sweets", None),
        ({"retry-after": "4"}, "Please try again in 3.66s.", 4.0),
        ({"retry-after": "-4"}, "Please try again in 3.66s.", 3.66),
    ],
)
def test_the_wait_is_read_from_headers_and_else_from_words(
    headers: Mapping[str, str], message: str, seconds: float | None
) -> None:
    assert wait_from(headers, message) == (seconds if seconds is None else pytest.approx(seconds))


def test_a_date_counts_from_now_where_the_answer_has_none() -> None:
    assert wait_from({"retry-after": "Tue, 24 Nov 2026 12:00:30 GMT"}, now=1_795_521_600.0) == 30.0
