"""What the command line decides, apart from any terminal."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

import alloy
from alloy.cli.asking import Verdict, asked, verdict
from alloy.cli.commands import Do, Say, Wrong, meaning, messages_of
from alloy.cli.markdown import finished, last_lines
from alloy.cli.pieces import Asked, Final, Note, Piece, Problem, Returned, Said, Whole, pieces
from alloy.cli.status import Standing, status_line
from alloy.cli.text import arguments_line, columns, count_of, first_line, folded, one_line, printable
from alloy.cli.transcript import context_rows, transcript, usage_rows
from alloy.llm.errors import RateLimited
from alloy.llm.usage import Usage
from alloy.loop.approval import question_of

KNOWN = ("help", "history", "model", "quit")


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("hello", Say("hello")),
        ("  two words ", Say("  two words ")),
        ("/help", Do("help", "")),
        ("  /help  ", Do("help", "")),
        ("/model  a:b ", Do("model", "a:b")),
        ("/model a b\nc", Do("model", "a b\nc")),
        ("//help", Say("/help")),
        ("/etc/hosts is a file", Say("/etc/hosts is a file")),
        ("/2 of it", Say("/2 of it")),
        ("/", Say("/")),
        ("", Say("")),
        ("/modle x", Wrong("there is no command '/modle'; did you mean '/model'?; /help lists them")),
        ("/xyzzy", Wrong("there is no command '/xyzzy'; /help lists them")),
    ],
)
def test_a_line_is_said_or_is_a_command(line: str, means: object) -> None:
    assert meaning(line, KNOWN) == means


@pytest.mark.parametrize(
    ("lines", "messages"),
    [
        (["a", "b"], ["a\nb"]),
        (["a", "", "b", ""], ["a\n\nb"]),
        (["", " "], [""]),
        ([""], [""]),
        (["", "/help", ""], ["/help"]),
        (["a", "/help", "b"], ["a", "/help", "b"]),
        (["/help", "/quit"], ["/help", "/quit"]),
        (["see", "/etc/hosts", "/nothing"], ["see\n/etc/hosts\n/nothing"]),
    ],
)
def test_what_comes_at_once_is_one_message_but_for_commands(lines: list[str], messages: list[str]) -> None:
    assert list(messages_of(lines, KNOWN)) == messages


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("one", ""),
        ("one\n", ""),
        ("one\n\n", ""),
        ("one\n\ntwo", "one\n\n"),
        ("one\n\n  indented", ""),
        ("- a\n\n- b", ""),
        ("- a\n\n-", ""),
        ("1. a\n\n2", ""),
        ("- a\n\n  more of a\n\nover", "- a\n\n  more of a\n\n"),
        ("```\na\n\nb\n", ""),
        ("```\na\n\nb\n```\n\nc", "```\na\n\nb\n```\n\n"),
        ("````\n```\n\nb", ""),
        ("~~~\n```\n\n~~~\n\nb", "~~~\n```\n\n~~~\n\n"),
        ("one\n\n```\na\n\nb", "one\n\n"),
        ("one\n\ntwo\n\nthree", "one\n\ntwo\n\n"),
    ],
)
def test_only_whole_blocks_are_finished(text: str, head: str) -> None:
    assert text[: finished(text)] == head


@given(st.text(alphabet="ab-`\n 1.~", max_size=60))
def test_what_was_finished_stays_finished_whatever_comes(text: str) -> None:
    cuts = [finished(text[:length]) for length in range(len(text) + 1)]

    assert cuts == sorted(cuts)


@given(st.text(alphabet="ab-`\n 1.~", max_size=60))
def test_cutting_piece_by_piece_loses_nothing(text: str) -> None:
    rest, done = "", ""
    for char in text:
        rest += char
        cut = finished(rest)
        done, rest = done + rest[:cut], rest[cut:]

    assert done + rest == text


def test_the_end_of_a_fence_is_still_a_fence() -> None:
    assert last_lines("```python\na\nb\nc", 2, 80) == "```python\nb\nc"
    assert last_lines("```\na", 2, 80) == "```\na"
    assert last_lines("a\nb\nc", 2, 80) == "b\nc"
    assert last_lines("a", 2, 80) == "a"
    assert last_lines("x" * 1000 + "y", 2, 10) == "x" * 19 + "y"


def test_nothing_in_a_text_can_steer_the_terminal() -> None:
    assert printable("a\x1b[31m\x07\x9b2J\u202eb\ud800\r\n\tc") == "a�[31m��2J�b�\n\tc"
    assert printable("👩‍👩‍👧 é　\xa0می‌خواهم") == "👩‍👩‍👧 é　\xa0می‌خواهم"


def test_a_result_is_folded_to_its_first_lines() -> None:
    assert folded("") == ()
    assert folded("\n \n") == ()
    assert folded("a\nb\n") == ("a", "b")
    assert folded("\n".join("abcdef")) == tuple("abcdef")
    assert folded("\n".join("abcdefg")) == (*"abcde", "… (+2 lines)")
    assert folded("x" * 1000) == ("x" * 99 + "…",)


def test_a_line_is_cut_where_it_is_too_long() -> None:
    assert one_line("a\nb\tc") == "a⏎b c"
    assert one_line("abcdef", 4) == "abc…"
    assert first_line("a\nb\nc") == "a (+2 lines)"
    assert first_line("a\nb") == "a (+1 line)"
    assert first_line("") == ""


def test_arguments_are_shown_as_in_a_call_and_as_written_where_they_do_not_parse() -> None:
    assert arguments_line(alloy.ToolCall("1", "f", {"a": 1, "b": "x\n"})) == "a=1, b='x\\n'"
    assert arguments_line(alloy.ToolCall("1", "f", {}, arguments_text='{"a": ', parse_error="cut")) == '{"a":'[:5] + " "


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0"), (999, "999"), (1000, "1.0k"), (12_345, "12.3k"), (999_949, "999.9k"), (999_950, "1.0M"), (2e6, "2.0M")],
)
def test_tokens_are_counted_as_people_say_it(number: int, text: str) -> None:
    assert count_of(number) == text


def test_a_second_column_that_has_no_room_is_wrapped_or_stands_below() -> None:
    rows = [("left", "some words that are rather long"), ("l", "short")]

    assert columns(rows) == "left  some words that are rather long\nl     short"
    assert columns(rows, 30) == "left  some words that are\n      rather long\nl     short"
    assert columns(rows, 20) == "left\n  some words that\n  are rather long\nl\n  short"


STANDING = Standing(
    model="scripted:demo",
    doing="working 3 s",
    usage=Usage(input_tokens=12_000, output_tokens=300, cost=Decimal("0.0123")),
    context=20_000,
    window=200_000,
    queued=2,
)


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (100, "working 3 s · scripted:demo · 12.3k tokens · context 10% of 200.0k · $0.0123 · 2 waiting"),
        (70, "working 3 s · scripted:demo · context 10% of 200.0k · $0.0123"),
        (50, "working 3 s · context 10% of 200.0k · $0.0123"),
        (30, "working 3 s · $0.0123"),
        (12, "working 3 s"),
        (6, "worki…"),
        (0, ""),
    ],
)
def test_the_status_line_leaves_out_what_matters_least(width: int, line: str) -> None:
    assert status_line(STANDING, width) == line


@given(st.integers(0, 120))
def test_the_status_line_is_never_too_long(width: int) -> None:
    assert len(status_line(STANDING, width)) <= width


def test_the_status_line_of_a_new_conversation_is_its_model() -> None:
    assert status_line(Standing(model="a:b"), 80) == "a:b"


def shown(*events: alloy.Event) -> list[Piece]:
    return [piece for event in events for piece in pieces(event)]


def test_an_answer_is_shown_as_it_comes_and_an_error_with_its_type() -> None:
    result = alloy.Result(status=alloy.Status.ERROR, text="a", error=RateLimited("too many"))

    assert shown(
        alloy.TextDelta(0, "a\x07", agent_path=("agent",)),
        alloy.RunFinished(result, agent_path=("agent",)),
    ) == [Said("a�"), Final("a"), Problem("RateLimited: too many")]


def test_of_an_agent_that_works_for_another_only_its_tools_are_shown() -> None:
    path = ("lead", "helper")
    call = alloy.ToolCall("1", "read", {"path": "x"})
    record = alloy.ToolCallRecord(id="1", name="read", arguments={}, outcome="error", duration=0.5, turn=1)

    assert shown(
        alloy.TextDelta(0, "a", agent_path=path),
        alloy.ToolStarted(call, None, agent_path=path),
        alloy.ToolFinished(record, alloy.ToolResult("no\nway"), agent_path=path),
        alloy.RunFinished(alloy.Result(status=alloy.Status.COMPLETED, text="a"), agent_path=path),
    ) == [
        Note("helper → read(path='x')"),
        Returned("helper ← read: error, 0.50 s", ("no", "way"), True),
    ]


def test_an_answer_that_broke_off_is_told() -> None:
    assert shown(alloy.Retracted(1, 2)) == [Whole(), Note("the answer broke off; it begins anew")]


def test_a_transcript_shows_what_was_said_and_done() -> None:
    stop = alloy.StopInfo(alloy.StopReason.TOOL_USE)
    messages = [
        alloy.UserMessage(["read it\nplease"]),
        alloy.AssistantMessage([alloy.Text("I do."), alloy.ToolCall("1", "read", {"path": "x"})], stop=stop),
        alloy.ToolMessage([alloy.ToolResult("\n".join("abcdefgh"), call_id="1", name="read")]),
    ]

    assert transcript(messages, whole=False) == (
        "\n> read it\n  please\n\nI do.\n→ read(path='x')\n← read: ok\n"
        "    a\n    b\n    c\n    d\n    e\n    … (+3 lines)"
    )
    assert transcript(messages, whole=True).endswith("\n    g\n    h")
    assert transcript([], whole=True) == "nothing was said yet"


def test_usage_and_context_are_told_in_rows() -> None:
    usage = Usage(requests=2, input_tokens=10, output_tokens=5, reasoning_tokens=3)

    assert usage_rows(usage) == (
        ("requests", "2"),
        ("input tokens", "10"),
        ("output tokens", "5"),
        ("  reasoning", "3"),
        ("cost", "unknown"),
    )
    assert context_rows([], None, None)[0] == ("context", "unknown before the first answer")
    assert context_rows([], 5000, 10_000)[0] == ("context", "5.0k tokens, 50.0% of 10.0k")


APPROVAL = alloy.Pending(kind="approval", question="really?", call=alloy.ToolCall("1", "bash", {"command": "ls\x1b"}))
QUESTION = alloy.Pending(kind="question", question="which?")


@pytest.mark.parametrize(
    ("pending", "text", "decided"),
    [
        (APPROVAL, "y", Verdict(alloy.Approve())),
        (APPROVAL, " YES ", Verdict(alloy.Approve())),
        (APPROVAL, "always", Verdict(alloy.Approve(), always=True)),
        (APPROVAL, "n", Verdict(alloy.Deny("the user says no"))),
        (APPROVAL, "yes, but not there", Verdict(alloy.Deny("yes, but not there"))),
        (APPROVAL, "", None),
        (APPROVAL, "?", None),
        (QUESTION, "y", Verdict(alloy.Answer("y"))),
        (QUESTION, " ", None),
    ],
)
def test_only_a_plain_yes_approves(pending: alloy.Pending, text: str, decided: Verdict | None) -> None:
    assert verdict(pending, text) == decided


def test_what_is_to_be_approved_is_shown_without_anything_cut_from_its_lines() -> None:
    command = "\n".join(f"{number} " + "x" * 300 for number in range(30))
    call = alloy.ToolCall("1", "bash", {"command": command, "timeout": 3})
    pending = alloy.Pending(kind="approval", question=question_of(["a", "b"], call), call=call, agent_path=("a", "b"))

    assert asked(pending).question == "a → b: bash?"
    assert asked(pending).lines[0] == "command: 0 " + "x" * 300
    assert asked(pending).lines[-1] == "… (+11 lines)"
    assert asked(pending, whole=True).lines[-2:] == ("         29 " + "x" * 300, "timeout: 3")
    assert asked(APPROVAL) == Asked(": bash: really?", ("command: ls�",))
    assert asked(QUESTION) == Asked("which?", ())
