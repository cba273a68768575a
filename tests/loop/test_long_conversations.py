"""Conversations that outgrow the model's window, from the first prompt to the last."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import pytest
import trio

import alloy
from alloy import Compacted, Compaction, ModelCard, Request, Status, Usage
from alloy.llm.scripted import Step
from alloy.llm.transcript import kept_with
from alloy.loop.compaction import SUMMARY_HEAD, view_of
from alloy.loop.summary import SYSTEM
from alloy.testing import ScriptedModel, calls, cuts, fails, hangs, says
from end_to_end.sendable import assert_sendable
from providers.test_vendor_errors import REFUSALS, refused

SUMMARY = "## Goal\nPaint it blue.\n## Progress\nSome doors."
PAGE = "a line of the file\n" * 60


async def read_file(path: str) -> str:
    """Read a file."""
    return f"{path}\n{PAGE}"


async def write_file(path: str, content: str) -> str:
    """Write a file."""
    return f"wrote {path}"


def is_summing_up(request: Request) -> bool:
    return request.system == SYSTEM


SUMS_UP = says(SUMMARY, usage=Usage(input_tokens=50, output_tokens=7))


class Painter(ScriptedModel):
    """Reads a file, changes another, and says something, for ever; sums up when asked to.

    Attributes:
        worked, summed: what it was asked, to work and to sum up.
    """

    def __init__(self, summary: Step = SUMS_UP, **options: Any) -> None:
        super().__init__(lambda request: self.answer(request), loop=True, **options)
        self.summary = summary
        self.worked: list[Request] = []
        self.summed: list[Request] = []

    def answer(self, request: Request) -> Step:
        if is_summing_up(request):
            self.summed.append(request)
            return self.summary
        self.worked.append(request)
        n = len(self.worked)
        match n % 3:
            case 1:
                return calls("read_file", path=f"door_{n}.py")
            case 2:
                return calls("write_file", path=f"wall_{n}.py", content="blue " * 40)
            case _:
                return says(f"Door {n} is blue. " + "It looks good. " * 10)


def painter(model: ScriptedModel, **options: Any) -> alloy.Agent:
    compaction = Compaction(**{"window": 8_000, **options})
    return alloy.Agent(model=model, tools=[read_file, write_file], system_prompt="You paint.", compaction=compaction)


def sent_texts(request: Request) -> str:
    return "\n".join(
        message.text if not isinstance(message, alloy.ToolMessage) else message.results[0].text
        for message in request.messages
    )


@pytest.mark.works("A conversation of 200 turns goes on in a window of 8,000 tokens; the task and the files stay known")
async def test_two_hundred_turns_go_on_in_a_small_window() -> None:
    model = Painter()
    agent = painter(model)
    result = await alloy.run("Paint the house blue, never red.", agent)
    seen = 0

    for _ in range(199):
        result = await alloy.run("go on", agent, history=result.messages)

        assert result.status is Status.COMPLETED
        for request in model.worked[seen:]:
            assert_sendable(request.messages)
            assert "Paint the house blue, never red." in sent_texts(request)
            assert len(sent_texts(request)) < 8_000 * 4
        seen = len(model.worked)

    assert len(result.messages) == 200 * 6
    assert PAGE in result.messages[2].results[0].text  # type: ignore[union-attr]  # the history has everything
    assert len(model.summed) < 60
    last = sent_texts(model.worked[-1])
    assert SUMMARY_HEAD in last
    assert SUMMARY in last
    known = last + "".join(str(m) for m in model.worked[-1].messages)
    for n in range(len(model.worked) - 60, len(model.worked)):
        if n % 3 == 1:
            assert f"door_{n}.py" in known
        if n % 3 == 2:
            assert f"wall_{n}.py" in known


async def test_one_run_of_many_turns_is_compacted_as_it_goes() -> None:
    model = ScriptedModel(
        lambda request: says(SUMMARY) if is_summing_up(request) else calls("read_file", path="a.py"), loop=True
    )
    events: list[alloy.Event] = []

    result = await alloy.run("Paint", painter(model), max_turns=150, on_event=events.append)

    compactions = [event for event in events if isinstance(event, Compacted)]
    assert result.status is Status.MAX_TURNS
    assert len(compactions) > 3
    assert all(event.tokens_after < 6_000 < event.tokens_before for event in compactions)
    assert {event.summary for event in compactions} == {"", SUMMARY}
    assert len([e for e in events if isinstance(e, alloy.TurnStarted)]) == 150


async def test_between_two_compactions_each_request_begins_as_the_one_before() -> None:
    model = Painter()
    agent = painter(model)
    result = await alloy.run("Paint", agent)
    for _ in range(30):
        result = await alloy.run("go on", agent, history=result.messages)

    pairs = list(zip(model.worked, model.worked[1:], strict=False))
    broken = [new for old, new in pairs if new.messages[: len(old.messages)] != old.messages]
    assert 0 < len(broken) <= len(pairs) // 4


async def test_a_model_whose_window_is_known_needs_no_settings() -> None:
    model = Painter()
    model.card = ModelCard(window=8_000)
    agent = alloy.Agent(model=model, tools=[read_file, write_file])
    result = await alloy.run("Paint", agent)
    for _ in range(20):
        result = await alloy.run("go on", agent, history=result.messages)

    assert view_of(result.messages) is not None


async def test_a_model_whose_window_is_not_known_is_sent_everything() -> None:
    model = Painter()
    agent = alloy.Agent(model=model, tools=[read_file, write_file])
    result = await alloy.run("Paint", agent)
    for _ in range(20):
        result = await alloy.run("go on", agent, history=result.messages)

    assert view_of(result.messages) is None
    assert model.worked[-1].messages == result.messages[:-1]


async def test_what_the_vendor_counts_decides() -> None:
    """The same words, of which a vendor makes four times as many tokens, are compacted earlier."""
    lengths = []
    for factor in (1, 3):
        usage = Usage(input_tokens=2_000 * factor, output_tokens=1)
        model = ScriptedModel(
            says("one", usage=usage), says("two"), *[lambda r: says(SUMMARY if is_summing_up(r) else "x")] * 3
        )
        history = (await alloy.run("word " * 1_500, painter(model))).messages
        await alloy.run("and now?", painter(model), history=history)
        lengths.append(len(model.requests))
        model_saw = model.requests[-1]

    assert lengths == [2, 2]
    assert len(model_saw.messages) == 3  # one prompt that long cannot be made shorter


async def test_another_model_can_sum_up() -> None:
    model, other = Painter(summary=fails(alloy.BadRequest("not me"))), Painter(name="other")
    agent = painter(model, summary_model=other)
    result = await alloy.run("Paint", agent)
    for _ in range(20):
        result = await alloy.run("go on", agent, history=result.messages)

    assert not model.summed
    assert other.summed
    assert result.model == "scripted:scripted"


async def test_without_summing_up_the_old_part_is_left_out() -> None:
    model = Painter()
    agent = painter(model, summarise=False)
    result = await alloy.run("Paint", agent)
    for _ in range(30):
        result = await alloy.run("go on", agent, history=result.messages)

    assert not model.summed
    assert "messages are left out; tools called in them: read_file" in sent_texts(model.worked[-1])


async def test_whoever_sums_up_is_shown_the_former_summary_and_no_tools() -> None:
    model = Painter()
    agent = painter(model).evolve(settings=alloy.Settings(tool_choice="auto", effort="low", max_output_tokens=500))
    result = await alloy.run("Paint", agent)
    for _ in range(60):
        result = await alloy.run("go on", agent, history=result.messages)

    request = model.summed[-1]
    assert request.tools == ()
    assert (request.settings.effort, request.settings.max_output_tokens) == ("low", None)
    (message,) = request.messages
    assert isinstance(message, alloy.UserMessage)
    assert message.source == "engine"
    assert f"<summary>\n{SUMMARY}\n</summary>" in message.text
    assert all(len(str(request.messages)) < 6_000 * 4 for request in model.summed)


async def test_an_old_part_that_is_larger_than_the_window_is_summed_up_in_turns() -> None:
    history: list[alloy.Message] = [alloy.UserMessage(f"{n}: " + "word " * 400) for n in range(60)]
    model = Painter()

    await alloy.run("Paint", painter(model), history=history, max_turns=1)

    assert len(model.summed) > 5
    assert all(len(request.messages[0].text) < 6_000 * 4 for request in model.summed)  # type: ignore[union-attr]
    assert "<summary>" not in str(model.summed[0])
    assert all("<summary>" in str(request.messages) for request in model.summed[1:])


async def test_on_compaction_is_told_once_each_time_sync_or_async() -> None:
    told: list[Compacted] = []

    async def tell(compacted: Compacted) -> None:
        await trio.lowlevel.checkpoint()
        told.append(compacted)

    for callback in (told.append, tell):
        told.clear()
        events: list[alloy.Event] = []
        agent = painter(Painter(), on_compaction=callback)
        result = await alloy.run("Paint", agent, on_event=events.append)
        for _ in range(20):
            result = await alloy.run("go on", agent, history=result.messages, on_event=events.append)

        seen = [event for event in events if isinstance(event, Compacted)]
        assert told
        assert [(e.tokens_before, e.tokens_after, e.summary) for e in told] == [
            (e.tokens_before, e.tokens_after, e.summary) for e in seen
        ]


async def test_an_error_of_on_compaction_is_logged_and_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Compacted) -> None:
        raise LookupError("nobody listens")

    agent = painter(Painter(), on_compaction=fail)
    with caplog.at_level(logging.ERROR, "alloy"):
        result = await alloy.run("Paint", agent)
        for _ in range(20):
            result = await alloy.run("go on", agent, history=result.messages)

    assert result.status is Status.COMPLETED
    assert "on_compaction" in caplog.text
    assert "nobody listens" in caplog.text


@pytest.mark.parametrize("summary", [fails(alloy.BadRequest("no")), says("  ")])
async def test_a_summary_that_fails_is_a_hook_error_and_the_history_stays(summary: Step) -> None:
    model = Painter(summary=summary)
    agent = painter(model)
    result = await alloy.run("Paint", agent)

    async def go_on() -> None:
        nonlocal result
        for _ in range(60):
            result = await alloy.run("go on", agent, history=result.messages)

    with pytest.raises(alloy.HookError, match="could not be summed up") as caught:
        await go_on()

    assert caught.value.hook == "summariser"
    assert caught.value.result is not None
    assert caught.value.result.messages[: len(result.messages)] == result.messages
    assert_sendable(caught.value.result.messages)


async def test_the_summary_counts_in_the_usage_and_in_the_budget() -> None:
    model = Painter()
    agent = painter(model)
    result = await alloy.run("Paint", agent)
    with alloy.Budget(tokens=10**9) as budget:
        summed = requests = 0
        while not model.summed:
            result = await alloy.run("go on", agent, history=result.messages)
            summed += result.usage.input_tokens
            requests += result.usage.requests

    assert summed == 50 * len(model.summed)
    assert requests == budget.spent.requests
    assert budget.spent.input_tokens == summed


async def test_a_run_that_is_cancelled_while_it_sums_up_keeps_its_history(autojump_clock: Any) -> None:
    model = Painter(summary=hangs())
    agent = painter(model)
    result = await alloy.run("Paint", agent)
    outcome = None

    for _ in range(60):
        async with alloy.stream("go on", agent, history=result.messages) as stream:
            with trio.move_on_after(5) as scope:
                result = await stream.result()
            outcome = stream.snapshot()
        if scope.cancelled_caught:
            break

    assert model.summed
    assert outcome is not None
    assert_sendable(outcome.messages)
    assert outcome.messages[: len(result.messages)] == result.messages


async def test_an_agent_server_goes_on_from_what_was_compacted() -> None:
    model = Painter()
    async with alloy.open_agent(painter(model)) as ref:
        for _ in range(40):
            await ref.chat("go on")
        summed = len(model.summed)
        messages = await ref.messages()
        assert view_of(messages) is not None
        await ref.chat("one more")
        assert len(model.summed) - summed <= 1
        await ref.reset()
        await ref.chat("anew")

    assert [m.text for m in model.worked[-1].messages[:1]] == ["anew"]  # type: ignore[union-attr]


async def test_middleware_sees_the_whole_history_and_what_is_sent() -> None:
    shown: list[tuple[int, int]] = []

    class Watch(alloy.Middleware):
        async def before_completion(self, run: alloy.RunInfo, request: Request) -> None:
            shown.append((len(run.messages), len(request.messages)))

    agent = painter(Painter()).evolve(middleware=[Watch()])
    result = await alloy.run("Paint", agent)
    for _ in range(30):
        result = await alloy.run("go on", agent, history=result.messages)

    assert shown[-1][0] == len(result.messages) - 1
    assert shown[-1][1] < shown[-1][0]


async def test_a_conversation_that_forks_goes_on_both_ways_each_with_a_view_of_its_own() -> None:
    agent = painter(Painter())
    result = await alloy.run("Paint", agent)
    for _ in range(30):
        result = await alloy.run("go on", agent, history=result.messages)
    models = [Painter(), Painter()]
    ends = [result, result]

    async def go_on(number: int) -> None:
        for _ in range(20):
            ends[number] = await alloy.run(f"way {number}", painter(models[number]), history=ends[number].messages)

    async with trio.open_nursery() as nursery:
        for number in range(2):
            nursery.start_soon(go_on, number)

    for number in range(2):
        assert len(ends[number].messages) == len(result.messages) + 20 * 6
        assert f"way {1 - number}" not in sent_texts(models[number].worked[-1])
        assert f"way {number}" in sent_texts(models[number].worked[-1])
        assert models[number].worked[-1].messages[0] == result.messages[0]
    assert view_of(ends[0].messages) != view_of(ends[1].messages)


async def test_only_the_end_of_a_conversation_carries_what_was_worked_out() -> None:
    agent = painter(Painter())
    first = await alloy.run("Paint", agent)
    second = await alloy.run("go on", agent, history=first.messages)
    again = await alloy.run("go on", agent, history=first.messages)

    assert kept_with(first.messages) == {}
    assert kept_with(second.messages)
    assert again.messages[: len(first.messages)] == first.messages


# The vendor says that it is too long.


def long_history(count: int = 20) -> list[alloy.Message]:
    end = alloy.StopInfo(alloy.StopReason.END_TURN)
    said: list[alloy.Message] = [alloy.UserMessage("Paint the house blue")]
    for n in range(count):
        said += [alloy.AssistantMessage(f"Door {n}. " + "done " * 100, stop=end), alloy.UserMessage(f"go on {n}")]
    return said


def overflowing(error: alloy.ProviderError, *, times: int = 1) -> Sequence[Step]:
    """The first requests are too long; then all is well."""
    failures = [fails(error)] * times

    def next_step(request: Request) -> Step:
        if is_summing_up(request):
            return says(SUMMARY)
        return failures.pop() if failures else says("painted")

    return [next_step] * 20


@pytest.mark.parametrize(
    ("vendor", "status", "body"),
    [
        pytest.param(vendor, status, body, id=f"{vendor}-{status}-{n}")
        for n, (vendor, status, body, kind) in enumerate(REFUSALS)
        if kind in (alloy.ContextTooLong, alloy.RequestTooLarge)
    ],
)
@pytest.mark.works("A request that a vendor finds too long is made shorter and sent again, in the same run")
async def test_however_a_vendor_says_it_the_run_makes_it_shorter_and_goes_on(
    vendor: str, status: int, body: Any
) -> None:
    model = ScriptedModel(*overflowing(refused(vendor, status, body)))
    events: list[alloy.Event] = []

    result = await alloy.run("and the roof", model=model, history=long_history(), on_event=events.append)

    asked = [request for request in model.requests if not is_summing_up(request)]
    assert (result.text, result.turns, len(asked)) == ("painted", 1, 2)
    assert len(sent_texts(asked[1])) < len(sent_texts(asked[0])) * 0.8
    assert "Paint the house blue" in sent_texts(asked[1])
    assert sent_texts(asked[1]).endswith("and the roof")
    assert [type(e) for e in events].count(Compacted) == 1
    assert len(result.messages) == len(long_history()) + 2


async def test_a_request_that_is_still_too_long_ends_with_that_error() -> None:
    model = ScriptedModel(*overflowing(alloy.ContextTooLong("too long"), times=2))

    with pytest.raises(alloy.ContextTooLong, match="too long") as caught:
        await alloy.run("and the roof", model=model, history=long_history())

    asked = [request for request in model.requests if not is_summing_up(request)]
    assert len(asked) == 2
    assert caught.value.result is not None
    assert len(caught.value.result.messages) == len(long_history()) + 1


async def test_what_cannot_be_made_shorter_is_not_sent_again() -> None:
    model = ScriptedModel(*overflowing(alloy.ContextTooLong("too long")))

    with pytest.raises(alloy.ContextTooLong):
        await alloy.run("word " * 9_000, model=model)

    assert len(model.requests) == 1


async def test_the_window_that_a_vendor_names_is_kept_to_for_the_rest_of_the_run() -> None:
    failures = [alloy.ContextTooLong("too long", limit=3_000, used=4_000)]

    def next_step(request: Request) -> Step:
        if is_summing_up(request):
            return says(SUMMARY)
        return fails(failures.pop()) if failures else calls("read_file", path="a.py")

    model = ScriptedModel(next_step, loop=True)
    events: list[alloy.Event] = []
    await alloy.run(
        "and the roof",
        model=model,
        tools=[read_file],
        history=long_history(),
        on_event=events.append,
        max_turns=30,
    )

    compactions = [event for event in events if isinstance(event, Compacted)]
    assert len(compactions) > 3
    assert all(event.tokens_before < 4_500 for event in compactions[1:])


async def test_the_window_of_one_model_is_not_that_of_another() -> None:
    other = ScriptedModel(lambda _: calls("read_file", path="a.py"), name="other", loop=True)
    agent = alloy.Agent(model=other, tools=[read_file], name="other", limits=alloy.Limits(max_turns=40))
    failures = [alloy.ContextTooLong("too long", limit=3_000, used=4_000)]

    def hand_over(request: Request) -> Step:
        if is_summing_up(request):
            return says(SUMMARY)
        return fails(failures.pop()) if failures else calls("transfer_to_other")

    model = ScriptedModel(hand_over, loop=True)
    await alloy.run("go on", model=model, tools=[alloy.handoff_to(agent)], history=long_history())

    assert not any(map(is_summing_up, other.requests))
    assert len(sent_texts(other.requests[-1])) > 3_000 * 4


async def test_an_answer_that_has_begun_is_not_taken_back_for_it() -> None:
    error = alloy.ContextTooLong("too long", in_stream=True)
    model = ScriptedModel(cuts("Half an ans", error=error))

    with pytest.raises(alloy.ContextTooLong):
        await alloy.run("and the roof", model=model, history=long_history())

    assert len(model.requests) == 1
