"""A run with a fallback chain, and one whose model refuses its own reasoning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import trio

import alloy
from alloy import (
    AuthError,
    BadRequest,
    FellBack,
    MissingKey,
    Notice,
    Opaque,
    Origin,
    Overloaded,
    Request,
    Retracted,
    Retry,
    ServerError,
    StaleReasoning,
    Status,
    StopReason,
    StreamTruncated,
    TurnStarted,
    UnsupportedFeature,
)
from alloy.testing import ScriptedModel, calls, cuts, fails, says


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def seen(events: list[alloy.Event], kind: Callable[..., Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]  # type: ignore[arg-type]


def falls(events: list[alloy.Event]) -> list[tuple[str, str, str]]:
    return [(event.old, event.new, type(event.error).__name__) for event in seen(events, FellBack)]


@pytest.mark.works("Fallback chains over several models, and a breaker that passes over the one that failed")
async def test_the_next_model_answers_when_one_is_overloaded_and_the_result_says_who_did() -> None:
    events: list[alloy.Event] = []
    first, second = ScriptedModel(fails(Overloaded()), name="first"), ScriptedModel(says("hi"), name="second")

    result = await alloy.run("x", model=[first, second], on_event=events.append)

    assert (result.text, result.model, len(first.requests)) == ("hi", "scripted:second", 1)
    assert second.requests[0].model == "second"
    assert falls(events) == [("scripted:first", "scripted:second", "Overloaded")]


async def test_what_may_pass_is_tried_again_before_the_next_is_asked(autojump_clock: trio.testing.MockClock) -> None:
    first = ScriptedModel(*[fails(ServerError())] * 3, name="first")

    result = await alloy.run("x", model=[first, ScriptedModel(says("hi"))], retry=Retry(attempts=3))

    assert (result.text, len(first.requests)) == ("hi", 3)


@pytest.mark.parametrize("error", [AuthError("key"), UnsupportedFeature("pictures"), alloy.QuotaExhausted("money")])
async def test_what_does_not_pass_is_not_tried_again(error: alloy.ProviderError) -> None:
    first = ScriptedModel(fails(error), name="first")

    result = await alloy.run("x", model=(first, ScriptedModel(says("hi"))))

    assert (result.text, len(first.requests)) == ("hi", 1)


async def test_a_bad_request_is_everybodys() -> None:
    second = ScriptedModel(says("never asked"))

    with pytest.raises(BadRequest):
        await alloy.run("x", model=[ScriptedModel(fails(BadRequest())), second])

    assert second.requests == []


async def test_when_all_fail_the_last_error_is_raised_and_holds_the_others() -> None:
    models = [ScriptedModel(fails(AuthError("first"))), ScriptedModel(fails(AuthError("second")))]

    with pytest.raises(AuthError, match="second") as caught:
        await alloy.run("x", model=models)

    assert [str(error) for error in caught.value.others] == ["first"]
    assert caught.value.result is not None
    assert caught.value.result.status is Status.ERROR


async def test_after_some_of_the_answer_the_run_ends_unless_it_may_begin_anew() -> None:
    second = ScriptedModel(says("never asked"))

    with pytest.raises(StreamTruncated) as caught:
        await alloy.run("x", model=[ScriptedModel(cuts("half")), second], retry=Retry(attempts=1))

    assert second.requests == []
    assert caught.value.result is not None
    assert caught.value.result.text == "half"


async def test_with_restart_what_was_delivered_is_taken_back() -> None:
    events: list[alloy.Event] = []
    models = [ScriptedModel(cuts("half")), ScriptedModel(says("whole"))]

    result = await alloy.run("x", model=models, retry=Retry(attempts=1, on_partial="restart"), on_event=events.append)

    assert [message.text for message in result.messages] == ["x", "whole"]  # type: ignore[union-attr]
    kinds = [type(event).__name__ for event in events]
    assert kinds.index("Retracted") < kinds.index("FellBack")
    (retracted,) = seen(events, Retracted)
    half = next(event for event in events if isinstance(event, alloy.TextDelta))
    assert retracted.first <= half.seq <= retracted.last


async def test_a_model_that_failed_is_passed_over_in_the_turns_that_follow() -> None:
    events: list[alloy.Event] = []
    first = ScriptedModel(fails(Overloaded()), name="first")
    second = ScriptedModel(calls("add", a=1, b=2), says("3"), name="second")

    result = await alloy.run("1 + 2?", model=[first, second], tools=[add], on_event=events.append)

    assert (result.text, len(first.requests)) == ("3", 1)
    assert [event.model for event in seen(events, TurnStarted)] == ["scripted:first", "scripted:second"]
    assert len(falls(events)) == 1


async def test_runs_that_share_connections_know_of_each_others_failures() -> None:
    events: list[alloy.Event] = []
    first = ScriptedModel(fails(Overloaded("busy")), name="first")
    models = [first, ScriptedModel(says("one"), says("two"), name="second")]

    async with alloy.HTTP() as http:
        await alloy.run("x", model=models, http=http)
        result = await alloy.run("y", model=models, http=http, on_event=events.append)

    assert (result.text, len(first.requests)) == ("two", 1)
    assert falls(events) == [("scripted:first", "scripted:second", "Overloaded")]
    assert [event.model for event in seen(events, TurnStarted)] == ["scripted:second"]


async def test_a_model_without_a_key_is_told_of_at_the_start_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    events: list[alloy.Event] = []

    result = await alloy.run("x", model=["openai:gpt-5", ScriptedModel(says("hi"))], on_event=events.append)

    assert result.text == "hi"
    (notice,) = seen(events, Notice)
    assert (notice.topic, notice.data["model"]) == ("model_unavailable", "openai:gpt-5")
    assert falls(events) == [("openai:gpt-5", "scripted:scripted", "MissingKey")]


async def test_with_a_key_for_none_of_them_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("XAI_API_KEY", raising=False)

    with pytest.raises(MissingKey, match="OPENAI_API_KEY"):
        await alloy.run("x", model=["openai:gpt-5", "xai:grok-4.5"])


async def test_a_vendor_that_nobody_knows_is_a_mistake_also_at_the_end_of_a_chain() -> None:
    with pytest.raises(ValueError, match="unknown vendor 'nobody'"):
        await alloy.run("x", model=[ScriptedModel(says("hi")), "nobody:model"])


@pytest.mark.parametrize(
    ("model", "error", "complaint"),
    [
        ([], ValueError, "model is a sequence without a model"),
        (["scripted:echo", 5], TypeError, "or a sequence of these, got 5"),
    ],
)
def test_a_chain_that_makes_no_sense_is_refused(model: Any, error: type[Exception], complaint: str) -> None:
    with pytest.raises(error, match=complaint):
        alloy.Agent(model=model)


async def test_a_living_agent_takes_a_chain_and_says_whom_it_asks() -> None:
    models = [ScriptedModel(fails(Overloaded()), name="first"), ScriptedModel(says("hi"), name="second")]
    agent = alloy.Agent(model=ScriptedModel(name="other"))

    async with alloy.open_agent(agent) as ref:
        await ref.set_model(models)
        health = await ref.health()
        result = await ref.chat("x")

    assert health.model == "scripted:first"
    assert result.model == "scripted:second"


async def test_a_living_agent_refuses_a_model_that_it_cannot_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    async with alloy.open_agent(alloy.Agent(model=ScriptedModel(says("still here")))) as ref:
        with pytest.raises(MissingKey):
            await ref.set_model("openai:gpt-5")
        with pytest.raises(ValueError, match="unknown vendor"):
            await ref.set_model("nobody:model")
        result = await ref.chat("x")

    assert result.text == "still here"


# Reasoning that the vendor takes no more.

ORIGIN = Origin("scripted", "scripted", "", "scripted")


def thought(text: str = "hm") -> alloy.AssistantMessage:
    """An answer with reasoning that is signed."""
    thinking = alloy.Thinking(text, opaque=[Opaque(ORIGIN, "signature", "sig")])
    return alloy.AssistantMessage(
        [thinking, alloy.Text("yes")], stop=alloy.StopInfo(StopReason.END_TURN), origin=ORIGIN
    )


def thoughts_in(request: Request) -> list[bool]:
    answers = [message for message in request.messages if isinstance(message, alloy.AssistantMessage)]
    return [any(isinstance(item, alloy.Thinking) for item in answer.content) for answer in answers]


async def test_reasoning_that_is_refused_is_left_out_for_the_rest_of_the_run_and_stays_in_the_history() -> None:
    events: list[alloy.Event] = []
    history = [alloy.UserMessage("ok?"), thought()]
    model = ScriptedModel(
        fails(StaleReasoning("bound to a different conversation")), calls("add", a=1, b=2), says("3", thinking="new")
    )

    result = await alloy.run("1 + 2?", model=model, history=history, tools=[add], on_event=events.append)

    assert result.text == "3"
    assert result.messages[1] == history[1]
    assert [thoughts_in(request) for request in model.requests] == [[True], [False], [False, False]]
    assert [(event.topic, event.data["message"]) for event in seen(events, Notice)] == [
        ("stale_reasoning", "bound to a different conversation")
    ]


async def test_what_is_refused_without_reasoning_as_well_is_refused() -> None:
    model = ScriptedModel(*[fails(StaleReasoning())] * 2)

    with pytest.raises(StaleReasoning):
        await alloy.run("x", model=model, history=[alloy.UserMessage("ok?"), thought()])

    assert len(model.requests) == 2
