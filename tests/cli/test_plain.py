"""Plain lines, in and out."""

from __future__ import annotations

import io
import os
from contextlib import aclosing

import pytest
import trio

from alloy.cli.pieces import Asked, Final, Note, Piece, Problem, Returned, Said, Shown, Table, Thought, Whole
from alloy.cli.plain import PlainFace, bursts


class Screen(io.StringIO):
    """A terminal that remembers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def simple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")


def written(*pieces: Piece, out: io.StringIO, err: io.StringIO | None = None, all_answers: bool = False) -> str:
    err = out if err is None else err
    face = PlainFace(out, err, all_answers=all_answers)
    for piece in pieces:
        face.put(piece)
    return out.getvalue()


ANSWERS = (Said("o"), Said("ne"), Whole("one"), Said("two"), Whole("two"), Final("two"))


def test_into_a_pipe_only_the_final_text_is_written() -> None:
    err = io.StringIO()

    assert written(*ANSWERS, Thought("hm"), Note("a note"), out=io.StringIO(), err=err) == "two\n"
    assert err.getvalue() == "a note\n"


def test_into_the_pipe_of_a_chat_every_answer_is_written_once() -> None:
    assert written(*ANSWERS, *ANSWERS, out=io.StringIO(), all_answers=True) == "one\ntwo\none\ntwo\n"


def test_a_word_before_a_tool_call_is_written_where_nothing_else_was_said() -> None:
    pieces = (Said("I look."), Whole(), Note("→ look()"), Final("I look."))

    assert written(*pieces, out=io.StringIO(), err=io.StringIO(), all_answers=True) == "I look.\n"


def test_on_a_terminal_the_text_comes_as_it_is_said_and_lines_are_never_mixed() -> None:
    pieces = (Thought("hm"), Said("an"), Said("swer"), Note("note"), Said("more\n"), Whole("x"), Problem("bad"))

    assert written(*pieces, out=Screen()) == "(thinking) hm\nanswer\nnote\nmore\nalloy: bad\n"


def test_reasoning_and_notes_are_dimmed_where_colours_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured = written(Thought("hm"), Said("a"), Note("n"), out=Screen())
    monkeypatch.setenv("NO_COLOR", "1")
    plain = written(Note("n"), out=Screen())

    assert coloured == "\x1b[2mhm\n\x1b[0ma\n\x1b[2mn\x1b[0m\n"
    assert plain == "n\n"


def test_results_questions_and_tables_have_their_own_looks() -> None:
    pieces = (
        Returned("← f: ok", ("one",), False),
        Returned("← g: ok", ("one", "two"), False),
        Returned("← h: ok", (), False),
        Asked("agent: bash?", ("command: ls",)),
        Shown("text\x07"),
        Table((("a", "b"),)),
    )

    assert written(*pieces, out=io.StringIO()) == (
        "← f: ok: one\n← g: ok\n    one\n    two\n← h: ok\nagent: bash?\n    command: ls\ntext�\na  b\n"
    )


def test_the_prompt_stands_there_once_and_before_whatever_comes() -> None:
    screen = Screen()
    face = PlainFace(screen, screen)
    face.prompt("> ")
    face.prompt("> ")
    face.put(Note("note"))
    face.prompt("> ")
    face.entered()
    face.put(Said("hi"))
    face.prompt("> ")

    assert screen.getvalue() == "> \nnote\n> hi\n> "


async def read(*chunks: bytes, alone: bool) -> list[list[str]]:
    """What comes of chunks that are written one by one, each as soon as the one before was read."""
    ours, theirs = os.pipe()
    seen: list[list[str]] = []

    async def write() -> None:
        for chunk in chunks:
            os.write(theirs, chunk)
            await trio.testing.wait_all_tasks_blocked(0.001)
        os.close(theirs)

    async with trio.open_nursery() as nursery, aclosing(bursts(ours, alone=alone)) as bunches:
        nursery.start_soon(write)
        async for bunch in bunches:
            seen.append(bunch)
    os.close(ours)
    return seen


async def test_lines_from_a_pipe_come_alone_whatever_the_chunks() -> None:
    text = "één\r\ntwo \\\nmore\n\nlast".encode()

    whole = await read(text, alone=True)
    pieces = await read(*(text[place : place + 1] for place in range(len(text))), alone=True)

    assert whole == pieces == [["één"], ["two \nmore"], [""], ["last"]]


async def test_lines_that_come_at_once_are_one_burst() -> None:
    assert await read(b"one\ntwo\nthr", b"ee\n", alone=False) == [["one", "two", "three"]]
    assert await read(b"", alone=False) == []


async def test_bytes_that_are_no_text_are_read_as_well_as_they_can_be() -> None:
    assert await read(b"a\xffb\n", alone=True) == [["a�b"]]
