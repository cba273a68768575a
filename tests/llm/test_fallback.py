"""Whom to ask when a model fails."""

from __future__ import annotations

import pytest
import trio

from alloy.llm.driver import Retry
from alloy.llm.errors import (
    AuthError,
    BadRequest,
    ConnectFailed,
    ContentRejected,
    ContextTooLong,
    MissingKey,
    NotFound,
    Overloaded,
    ProtocolError,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    ReadTimeout,
    RequestTooLarge,
    ServerError,
    StaleReasoning,
    StreamTruncated,
    UnsupportedFeature,
)
from alloy.llm.fallback import Chain, may_fall_back
from alloy.llm.limiter import Limiter
from alloy.llm.message import AssistantMessage, StopInfo, StopReason
from alloy.testing import ScriptedModel

MODELS = tuple(ScriptedModel(name=name) for name in "abc")


def chain(limiter: Limiter | None = None) -> Chain:
    return Chain(MODELS, limiter or Limiter())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (RateLimited, True),
        (Overloaded, True),
        (ServerError, True),
        (ConnectFailed, True),
        (ReadTimeout, True),
        (StreamTruncated, True),
        (AuthError, True),
        (MissingKey, True),
        (QuotaExhausted, True),
        (NotFound, True),
        (ProtocolError, True),
        (ProviderError, True),
        (UnsupportedFeature, True),
        (StaleReasoning, True),
        (BadRequest, False),
        (ContextTooLong, False),
        (RequestTooLarge, False),
        (ContentRejected, False),
    ],
)
def test_the_next_model_is_asked_where_the_request_is_not_at_fault(kind: type[ProviderError], expected: bool) -> None:
    assert may_fall_back(kind(), Retry()) is expected


@pytest.mark.parametrize(("on_partial", "expected"), [("raise", False), ("restart", True)])
def test_after_some_of_the_answer_the_next_is_asked_only_if_it_may_begin_anew(on_partial: str, expected: bool) -> None:
    error = StreamTruncated()
    error.delivered = True

    assert may_fall_back(error, Retry(on_partial=on_partial)) is expected  # type: ignore[arg-type]


async def test_a_chain_goes_from_one_to_the_next_and_the_last_error_holds_the_others() -> None:
    models, errors = chain(), [Overloaded("a"), AuthError("b"), QuotaExhausted("c")]

    falls = [models.after(error, Retry()) for error in errors]

    assert [(fall.old.name, fall.new.name, fall.error) for fall in falls if fall] == [
        ("scripted:a", "scripted:b", errors[0]),
        ("scripted:b", "scripted:c", errors[1]),
    ]
    assert falls[2] is None
    assert errors[2].others == (errors[0], errors[1])


async def test_a_model_that_failed_is_passed_over_by_all_who_share_the_limiter(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = Limiter(cool_down=60.0)
    chain(limiter).after(Overloaded("busy"), Retry())
    another = chain(limiter)

    fall = another.begin()

    assert fall is not None
    assert (fall.old.name, fall.new.name, str(fall.error)) == ("scripted:a", "scripted:b", "busy")
    assert another.begin() is None  # it is known by now
    assert another.model.name == "scripted:b"
    assert chain().begin() is None  # with another limiter


async def test_after_the_cool_down_one_tries_it_while_the_others_wait_for_how_that_goes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    limiter = Limiter(cool_down=60.0)
    chain(limiter).after(Overloaded(), Retry())
    first, second = chain(limiter), chain(limiter)
    await trio.sleep(60.0)

    tried = [models.begin() for models in (first, second)]
    first.answered()

    assert [models.model.name for models in (first, second)] == ["scripted:a", "scripted:b"]
    assert tried[0] is None
    second.begin()
    assert second.model.name == "scripted:a"


async def test_a_server_that_asks_for_a_longer_wait_gets_it(autojump_clock: trio.testing.MockClock) -> None:
    limiter = Limiter(cool_down=1.0)
    chain(limiter).after(RateLimited(retry_after=100.0), Retry())

    await trio.sleep(99.0)
    early = chain(limiter)
    early.begin()
    await trio.sleep(1.0)
    late = chain(limiter)
    late.begin()

    assert [early.model.name, late.model.name] == ["scripted:b", "scripted:a"]


async def test_where_all_have_failed_they_are_asked_all_the_same() -> None:
    limiter = Limiter()
    failed = chain(limiter)
    for error in (Overloaded(), Overloaded(), Overloaded()):
        failed.after(error, Retry())
    models = chain(limiter)

    models.begin()
    fall = models.after(Overloaded(), Retry())

    assert fall is not None
    assert (fall.old.name, fall.new.name) == ("scripted:a", "scripted:b")


@pytest.mark.parametrize("error", [UnsupportedFeature(), StaleReasoning()])
async def test_what_one_request_asks_too_much_of_a_model_does_not_keep_the_others_from_it(error: ProviderError) -> None:
    limiter = Limiter()

    fall = chain(limiter).after(error, Retry())
    other = chain(limiter)

    assert fall is not None
    assert other.begin() is None
    assert other.model.name == "scripted:a"


async def test_what_is_remembered_of_a_failure_holds_nothing_of_the_conversation() -> None:
    limiter = Limiter()
    error = StreamTruncated("cut", partial=AssistantMessage("secret", stop=StopInfo(StopReason.OTHER)))

    chain(limiter).after(error, Retry())
    fall = chain(limiter).begin()

    assert fall is not None
    assert (type(fall.error), str(fall.error)) == (StreamTruncated, "cut")
    assert fall.error.partial is None
    assert error.partial is not None


async def test_a_model_that_is_alone_is_never_passed_over() -> None:
    limiter = Limiter()
    alone = Chain(MODELS[:1], limiter)

    assert alone.after(Overloaded(), Retry()) is None
    assert chain(limiter).begin() is None
    assert not alone.has_another


def test_a_cool_down_is_no_negative_time() -> None:
    with pytest.raises(ValueError, match="cool_down must be 0 or more, got -1"):
        Limiter(cool_down=-1)
