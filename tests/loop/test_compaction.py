"""What is decided when a conversation gets too long, and what is then shown of it."""

from __future__ import annotations

import json
from collections.abc import Sequence

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alloy import Compaction
from alloy.llm import (
    AssistantMessage,
    Image,
    Message,
    Opaque,
    Origin,
    StopInfo,
    Text,
    Thinking,
    ToolCall,
    ToolMessage,
    ToolResult,
    UserMessage,
)
from alloy.llm.history import sendable
from alloy.llm.message import StopReason
from alloy.loop.compaction import Room, View, plan, room_in, show, trace, view_of, with_view
from alloy.loop.summary import Files, clipped, digest, parts, prompt, written_out
from alloy.loop.tokens import tokens_of_message
from end_to_end.sendable import assert_sendable

HERE = Origin("anthropic.messages", "anthropic", "https://x", "m")
TOOL_USE, END = StopInfo(StopReason.TOOL_USE), StopInfo(StopReason.END_TURN)


def step(number: int, size: int = 600, name: str = "read_file") -> list[Message]:
    """A call and its result."""
    signed = Thinking("I should look.", opaque=[Opaque(HERE, "signature", "c2ln")])
    call = ToolCall(f"c{number}", name, {"path": f"f{number}.py"})
    result = ToolResult(f"line of {number}\n" * (size // 10), call_id=call.id, name=name)
    return [AssistantMessage([signed, call], stop=TOOL_USE, origin=HERE), ToolMessage([result])]


def work(count: int, size: int = 600) -> list[Message]:
    return [UserMessage("Paint it blue"), *(message for n in range(count) for message in step(n, size))]


def total(messages: list[Message] | tuple[Message, ...]) -> int:
    return sum(map(tokens_of_message, messages))


def shown_by(view: View, messages: Sequence[Message]) -> list[Message]:
    made = show(view, messages)
    assert made is not None
    return [*made[0], *messages[made[1] :]]


# The room.


@pytest.mark.parametrize(
    ("window", "max_output", "room"),
    [
        (200_000, None, Room(183_616, 20_000, 4_000)),
        (8_000, None, Room(6_000, 2_000, 750)),
        (8_000, 1_000, Room(6_000, 2_000, 750)),
        (100_000, 32_000, Room(68_000, 20_000, 4_000)),
        (8_000, 64_000, Room(4_000, 1_333, 500)),
    ],
)
def test_a_window_is_shared_out_by_its_size(window: int, max_output: int | None, room: Room) -> None:
    assert room_in(window, Compaction(), max_output) == room


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"window": 0}, ValueError),
        ({"window": "8k"}, TypeError),
        ({"reserve": -1}, ValueError),
        ({"keep_recent": None}, TypeError),
        ({"keep_recent": True}, TypeError),
        ({"summary_model": 5}, TypeError),
        ({"on_compaction": "print"}, TypeError),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error, match=next(iter(options))):
        Compaction(**options)  # type: ignore[arg-type]


# Clearing.


def test_old_results_go_first_if_that_is_enough() -> None:
    history = work(20)

    chosen = plan(history, None, Room(4_000, 1_000, 300), head=0, ratio=1.0)

    assert chosen is not None
    assert (chosen.old, chosen.view.first) == ((), "")
    shown = shown_by(chosen.view, history)
    assert [m.id for m in shown] == [m.id for m in history]
    assert total(shown) < 3_000 < 4_000 < total(history)
    assert shown[2].results[0].text.startswith("[result of read_file left out: ")  # type: ignore[union-attr]
    assert shown[-1] == history[-1]


def test_a_result_leaves_the_tool_the_size_and_how_it_began() -> None:
    result = ToolResult("\n\n  def main():\n" + "x" * 5_000, call_id="1", name="read_file")

    (line,) = trace(result).content

    assert isinstance(line, Text)
    assert line.text == "[result of read_file left out: 5,016 characters; it began: 'def main():']"
    assert (trace(result).call_id, trace(result).name) == ("1", "read_file")


def test_pictures_are_left_out_too_and_counted() -> None:
    result = ToolResult([Text("see"), Image(b"x", media_type="image/png")], name="look")

    assert trace(result).text == "[result of look left out: 3 characters, 1 files; it began: 'see']"
    assert all(isinstance(item, Text) for item in trace(result).content)


def test_a_short_result_stays() -> None:
    result = ToolResult("done", name="write_file")

    assert trace(result) is result


# Summing up.


def test_what_is_left_after_clearing_is_summed_up_if_it_is_still_too_much() -> None:
    history = [message for n in range(60) for message in (UserMessage(f"p{n} " * 40), AssistantMessage("a", stop=END))]
    history[0] = UserMessage("Paint it blue")

    chosen = plan(history, None, Room(1_000, 300, 100), head=0, ratio=1.0)

    assert chosen is not None
    shown = shown_by(attrs.evolve(chosen.view, summary="Half is painted."), history)
    assert list(chosen.old) == history[: len(chosen.old)]
    assert shown[0] is history[0]
    assert isinstance(shown[1], UserMessage)
    assert shown[1].source == "engine"
    assert "Half is painted." in shown[1].text
    assert shown[-3:] == history[-3:]
    assert total(shown) < 750


def test_the_next_time_only_what_followed_is_summed_up() -> None:
    history = work(30, size=50)
    room = Room(600, 200, 50)
    first = plan(history, None, room, head=0, ratio=1.0)
    assert first is not None
    view = attrs.evolve(first.view, summary="so far")
    history += [message for n in range(30, 60) for message in step(n, size=50)]

    second = plan(history, view, room, head=0, ratio=1.0)

    assert second is not None
    assert [*first.old, *second.old] == history[: len(first.old) + len(second.old)]
    assert second.view.summary == "so far"


def test_reasoning_that_is_bound_to_what_changed_is_left_out() -> None:
    history = work(20)
    chosen = plan(history, None, Room(4_000, 1_000, 300), head=0, ratio=1.0)
    assert chosen is not None
    later = step(99)

    shown = shown_by(chosen.view, [*history, *later])

    answers = [message for message in shown if isinstance(message, AssistantMessage)]
    assert all(not message.thinking and not any(i.opaque for i in message.content) for message in answers[:-1])
    assert answers[-1] is later[0]


def test_one_result_that_is_larger_than_the_room_is_cut() -> None:
    history = [*work(1), *step(1, size=100_000)]

    chosen = plan(history, None, Room(4_000, 1_000, 300), head=0, ratio=1.0)

    assert chosen is not None
    shown = shown_by(chosen.view, history)
    assert total(shown) < 4_000
    last = shown[-1]
    assert isinstance(last, ToolMessage)
    assert last.results[0].text.startswith("line of 1\n")
    assert last.results[0].text.endswith("line of 1\n")
    assert "characters left out" in last.results[0].text


def test_what_is_being_worked_on_is_shown_although_it_is_old() -> None:
    history: list[Message] = [
        UserMessage("First task"),
        AssistantMessage("Done.", stop=END),
        UserMessage("Now the doors"),
    ]
    history += [message for n in range(40) for message in step(n)]

    chosen = plan(history, None, Room(1_500, 400, 100), head=0, ratio=1.0)

    assert chosen is not None
    prompts = [m.text for m in shown_by(chosen.view, history) if isinstance(m, UserMessage) and m.source == "user"]
    assert prompts == ["First task", "Now the doors"]


def test_a_long_instruction_is_cut_where_it_is_repeated() -> None:
    history: list[Message] = [UserMessage("a" * 30_000 + "END"), *work(40)[1:]]

    chosen = plan(history, None, Room(6_000, 1_000, 300), head=0, ratio=1.0)

    assert chosen is not None
    shown = shown_by(chosen.view, history)
    assert isinstance(shown[0], UserMessage)
    assert shown[0].text.endswith("END")
    assert len(shown[0].text) <= 8_000


def test_nothing_is_done_where_nothing_helps() -> None:
    assert plan([], None, Room(100, 10, 10), head=500, ratio=1.0) is None
    assert plan([UserMessage("x" * 9_000)], None, Room(100, 10, 10), head=0, ratio=1.0) is None
    assert plan(work(1), None, Room(100, 10, 10), head=9_000, ratio=1.0) is None


def test_a_view_of_another_history_shows_nothing() -> None:
    assert show(View(last="nobody"), work(2)) is None


def test_a_view_goes_with_its_history_and_survives_being_stored() -> None:
    history = sendable(work(2))
    view = View(last=history[-1].id, first="f", cap=5, summary="s", files=Files(["a"], ["b"]), ratio=1.5)

    assert view_of(with_view(history, view)) == view
    assert view_of(with_view(history, None)) is None
    assert view_of(history) is None
    assert View.from_json(json.loads(json.dumps(view.to_json()))) == view
    assert View.from_json({"last": "x", "of_later": 1}) == View(last="x")


# Any history, any room.


text = st.sampled_from(["", "word " * 5, "word " * 100, "x" * 3_000])
turns = st.one_of(
    st.builds(lambda t: [UserMessage(t or "?")], text),
    st.builds(lambda t: [AssistantMessage(t, stop=END, origin=HERE)], text),
    st.builds(lambda n, size: step(n, size), st.integers(0, 10**6), st.sampled_from([10, 400, 5_000])),
    st.builds(lambda n: step(n)[:1], st.integers(0, 10**6)),
)


@given(st.lists(turns, min_size=1, max_size=25), st.integers(50, 4_000), st.sampled_from([0.5, 1.0, 3.0]))
@settings(max_examples=150)
def test_any_history_can_be_sent_as_it_is_shown(groups: list[list[Message]], limit: int, ratio: float) -> None:
    """No call is parted from its result, every dialect takes it, and the history itself is as it was."""
    room = Room(limit, limit // 3, limit // 8)
    view: View | None = None
    said: list[Message] = [UserMessage("Paint it blue")]
    for number, group in enumerate(groups):
        said += group
        history = list(sendable(said))
        said = list(history)
        if number % 5 and number != len(groups) - 1:
            continue
        before = total(shown_by(view, history)) if view else total(history)
        if (chosen := plan(history, view, room, head=0, ratio=ratio)) is None:
            continue
        view = attrs.evolve(chosen.view, summary="What was." if chosen.old else chosen.view.summary)
        shown = shown_by(view, history)

        assert history == said
        assert sendable(shown) == tuple(shown)
        assert_sendable(shown)
        assert total(shown) < before
        assert shown[-1].id == history[-1].id
        assert isinstance(shown[0], UserMessage)
        assert shown[0].text == "Paint it blue"


# What whoever sums up is told.


def test_files_are_taken_from_the_calls_the_latest_last() -> None:
    messages = [*step(1), *step(2, name="edit_file"), *step(1), *step(3, name="write_file"), *step(4, name="bash")]
    messages[-2] = AssistantMessage([ToolCall("b", "bash", {"command": "ls"})], stop=TOOL_USE)

    files = Files(read=["f0.py"]).after(messages)

    assert files == Files(read=["f0.py", "f1.py"], changed=["f2.py", "f3.py"])
    assert files.text() == "Files read so far: f0.py, f1.py\nFiles changed so far: f2.py, f3.py"
    assert Files().text() == ""


def test_only_so_many_files_are_remembered() -> None:
    files = Files().after([message for n in range(100) for message in step(n)])

    assert files.read == tuple(f"f{n}.py" for n in range(60, 100))


def test_a_former_summary_is_brought_up_to_date() -> None:
    assert "Bring the summary up to date" in prompt("We began.", "User: on", 100)
    assert "<summary>\nWe began.\n</summary>" in prompt("We began.", "User: on", 100)
    assert "<summary>" not in prompt("", "User: on", 100)


def test_what_is_summed_up_is_written_out_with_results_cut() -> None:
    (call, result) = step(7, size=50_000)

    assert written_out(call) == "Agent: (calls read_file with {'path': 'f7.py'})"
    assert written_out(result).startswith("Result of read_file (ok): line of 7")
    assert len(written_out(result)) < 2_100


def test_a_part_is_never_longer_than_may_be() -> None:
    history = [*work(30), UserMessage("x" * 20_000)]

    made = list(parts(history, 3_000))

    assert len(made) > 5
    assert max(map(len, made)) <= 3_000
    assert "".join(made).count("(calls read_file") == 30


def test_a_text_is_cut_in_the_middle() -> None:
    assert clipped("short", 10) == "short"
    assert clipped("a" * 500 + "b" * 500, 200).startswith("a" * 75 + "\n[… 850 characters left out …]\n")
    assert len(clipped("x" * 10_000, 200)) <= 200


def test_without_a_model_the_calls_are_counted() -> None:
    assert digest("", work(3)) == "7 messages are left out; tools called in them: read_file (3)"
    assert digest("Before.", [UserMessage("x")]) == "Before.\n1 messages are left out"
