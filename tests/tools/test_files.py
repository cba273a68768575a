"""read_file, write_file, edit_file."""

from __future__ import annotations

import os
import random
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from alloy.llm.content import Image, Outcome, ToolResult
from alloy.tools import Tool, ToolContext, ToolError, core_tools, edit_file, read_file, write_file
from alloy.tools.builtin.editing import Edit, edited
from tools.helpers import batch_of, call, names, run, wait_until


@pytest.fixture
def context(tmp_path: Path) -> ToolContext:
    return ToolContext(working_directory=tmp_path)


async def result_of(made: Tool, directory: Path, /, **arguments: Any) -> ToolResult:
    (result,) = await run(batch_of([made], call("1", made.name, **arguments)), working_directory=directory)
    return result


def test_the_core_tools_are_these_and_only_reading_may_run_beside_others() -> None:
    tools = core_tools()

    assert [t.name for t in tools] == ["read_file", "write_file", "edit_file", "bash"]
    assert [t.concurrent for t in tools] == [True, False, False, False]
    assert [list(t.parameters["properties"]) for t in tools] == [
        ["path", "offset", "limit"],
        ["path", "content"],
        ["path", "old", "new", "replace_all", "edits"],
        ["command", "timeout"],
    ]
    assert [t.parameters["required"] for t in tools] == [["path"], ["path", "content"], ["path"], ["command"]]
    assert all(t.description and all("description" in p for p in t.parameters["properties"].values()) for t in tools)


# Reading.


async def test_lines_are_numbered(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\n\nfour")

    assert await read_file("a.txt", context=context) == "     1\tone\n     2\ttwo\n     3\t\n     4\tfour"


async def test_a_page_says_how_to_read_on(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nthree\n")

    assert await read_file("a.txt", 1, 1, context=context) == "     1\tone\n[more lines follow; read on with offset=2]"
    assert await read_file("a.txt", 2, 2, context=context) == "     2\ttwo\n     3\tthree"
    assert await read_file("a.txt", 4, context=context) == "[the file has 3 lines; offset=4 is past its end]"


@pytest.mark.parametrize(("offset", "limit"), [(0, 1), (-1, 1), (1, 0), (1, -5)])
async def test_an_offset_or_limit_below_one_is_refused(
    offset: int, limit: int, context: ToolContext, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one\n")

    with pytest.raises(ToolError, match=f"offset and limit must be 1 or more, got {offset} and {limit}"):
        await read_file("a.txt", offset, limit, context=context)


LOOKS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "[the file is empty]"),
    "one line feed": (b"\n", "     1\t"),
    "CR LF": (b"a\r\nb\r\n", "     1\ta\n     2\tb"),
    "other line ends are no line ends": ("a\u2028b\x0cc\x85d\re\n".encode(), "     1\ta\u2028b\x0cc\x85d\re"),
    "a byte order mark": (b"\xef\xbb\xbfa", "     1\ta"),
    "no UTF-8": (b"caf\xe9", "     1\tcaf�"),
}


@pytest.mark.parametrize(("data", "shown"), LOOKS.values(), ids=LOOKS)
async def test_a_file_looks_as_in_an_editor(data: bytes, shown: str, context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(data)

    assert await read_file("a.txt", context=context) == shown


async def test_a_number_may_be_wider_than_its_column(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\n" * 1_234_567 + b"x")

    assert await read_file("a.txt", 1_234_568, context=context) == "1234568\tx"


async def test_a_very_long_line_is_shortened_and_a_long_file_paged(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("ä" * 5_000_000 + "\nnext\n")
    (tmp_path / "many.txt").write_text("".join(f"line {n}\n" for n in range(1, 20_001)))

    long = await read_file("long.txt", context=context)
    pages: list[str] = []
    offset = 1
    while offset:
        page = await read_file("many.txt", offset, 100_000, context=context)
        assert len(page) <= read_file.max_result_chars
        *lines, last = page.split("\n")
        offset = int(last.removeprefix("[more lines follow; read on with offset=").rstrip("]")) if "[" in last else 0
        pages += lines if offset else [*lines, last]

    assert long == f"     1\t{'ä' * 2000} [… the line has 10000001 bytes …]\n     2\tnext"
    assert pages == [f"{n:6}\tline {n}" for n in range(1, 20_001)]


PNG = b"\x89PNG\r\n\x1a\n\0\0"
PICTURES = {
    "image/png": PNG,
    "image/jpeg": b"\xff\xd8\xff\xe0\0\0",
    "image/gif": b"GIF89a\0\0",
    "image/webp": b"RIFF\x0a\0\0\0WEBPVP8 ",
}


@pytest.mark.parametrize("media_type", PICTURES)
async def test_an_image_is_returned_as_an_image_whatever_its_name(media_type: str, tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(PICTURES[media_type] + b"\0" * 10_000)

    result = await result_of(read_file, tmp_path, path="picture")

    assert result.content == (Image(PICTURES[media_type] + b"\0" * 10_000, media_type=media_type, name="picture"),)


BINARY = {
    "binary": ("a.pdf", b"%PDF\0", "'a.pdf' is binary, application/pdf, 5 bytes; only text and images can be read"),
    "of no known type": ("a", b"\0", "'a' is binary, of an unknown type, 1 bytes; only text and images can be read"),
    "a huge image": ("a.png", PNG + bytes(5 << 20), "'a.png' is an image/png of 5242890 bytes; more than 5242880"),
}


@pytest.mark.parametrize(("name", "data", "message"), BINARY.values(), ids=BINARY)
async def test_what_is_neither_text_nor_image_is_refused(name: str, data: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)

    result = await result_of(read_file, tmp_path, path=name)

    assert result.outcome is Outcome.ERROR
    assert result.text.startswith(message)


@pytest.mark.parametrize("made", [read_file, write_file, edit_file])
async def test_no_file_tool_reaches_outside(made: Tool, tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "proj-evil").mkdir()
    (tmp_path / "proj-evil/s").write_text("secret")
    arguments = {"read_file": {}, "write_file": {"content": ""}, "edit_file": {"old": "secret", "new": ""}}[made.name]

    result = await result_of(made, tmp_path / "proj", path="../proj-evil/s", **arguments)

    assert (result.outcome, "is outside the allowed folders" in result.text) == (Outcome.ERROR, True)
    assert (tmp_path / "proj-evil/s").read_text() == "secret"


async def test_roots_are_allowed_too(tmp_path: Path) -> None:
    (tmp_path / "proj").mkdir()
    (tmp_path / "more").mkdir()
    read, write, edit, _ = core_tools(roots=[tmp_path / "more"])
    path = str(tmp_path / "more/a.txt")

    await result_of(write, tmp_path / "proj", path=path, content="one\n")
    await result_of(edit, tmp_path / "proj", path=path, old="one", new="two")

    assert (await result_of(read, tmp_path / "proj", path=path)).text == "     1\ttwo"


# Writing.


async def test_writing_makes_or_replaces_a_file_whole(context: ToolContext, tmp_path: Path) -> None:
    assert await write_file("a/b/c.txt", "één\n", context=context) == "wrote 6 bytes to the new file a/b/c.txt"
    (tmp_path / "a/b/c.txt").chmod(0o755)
    assert await write_file("a/b/c.txt", "x", context=context) == "wrote 1 bytes to a/b/c.txt"

    assert (tmp_path / "a/b/c.txt").read_text() == "x"
    assert stat.S_IMODE((tmp_path / "a/b/c.txt").stat().st_mode) == 0o755
    assert names(tmp_path / "a/b") == ["c.txt"]


async def test_text_that_utf8_cannot_hold_is_not_written(context: ToolContext, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="content cannot be written as UTF-8"):
        await write_file("a.txt", "\ud800", context=context)

    assert names(tmp_path) == []


async def test_a_cancelled_write_leaves_the_old_file_and_nothing_else(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: write_file("a.txt", "new" * (20 << 20), context=context))
            await wait_until(lambda: len(names(tmp_path)) == 2)
            scope.cancel()

    assert scope.cancelled_caught
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


WRITER = """
import itertools, sys, trio
from alloy.tools import ToolContext, write_file

async def main():
    context = ToolContext(working_directory=sys.argv[1])
    for n in itertools.count():
        await write_file("a.txt", f"{n % 10}" * 300_000, context=context)
        print(n, flush=True)

trio.run(main)
"""


def kill_while_writing(directory: Path, delay: float) -> None:
    """Let a process write without end, and kill it after a while."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(directory)], stdout=subprocess.PIPE, env=environment
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"0\n"
        timer = threading.Timer(delay, writer.kill)
        timer.start()
        writer.stdout.read()
    timer.join()
    assert writer.returncode == -signal.SIGKILL


def check_kills(directory: Path, times: int) -> None:
    chance = random.Random(1)
    for _ in range(times):
        kill_while_writing(directory, chance.uniform(0, 0.05))
        content = (directory / "a.txt").read_text()

        assert content == content[0] * 300_000


def test_a_write_that_is_killed_leaves_the_old_file_or_the_new(tmp_path: Path) -> None:
    check_kills(tmp_path, 5)


@pytest.mark.slow
def test_a_write_that_is_killed_leaves_the_old_file_or_the_new_every_time(tmp_path: Path) -> None:
    check_kills(tmp_path, 200)


# Editing.


async def test_an_edit_answers_with_a_diff(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("".join(f"line {n}\n" for n in range(1, 21)))
    (tmp_path / "a.py").chmod(0o700)

    answer = await edit_file("a.py", "line 10\n", "line ten\n", context=context)

    assert answer == (
        "--- a/a.py\n+++ b/a.py\n@@ -7,7 +7,7 @@\n line 7\n line 8\n line 9\n-line 10\n+line ten\n"
        " line 11\n line 12\n line 13"
    )
    assert (tmp_path / "a.py").read_text().splitlines()[9] == "line ten"
    assert stat.S_IMODE((tmp_path / "a.py").stat().st_mode) == 0o700


async def test_several_edits_are_made_one_after_the_other_or_none(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a b a")

    await edit_file("a.txt", edits=[Edit("b", "c"), Edit("a", "d", replace_all=True)], context=context)
    with pytest.raises(ToolError, match=r"'a.txt' is not changed: edit 2 of 2: old does not occur in the file"):
        await edit_file("a.txt", edits=[Edit("c", "e"), Edit("c", "f")], context=context)

    assert (tmp_path / "a.txt").read_text() == "d c d"


async def test_edits_come_as_json_from_a_model(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n")

    result = await result_of(edit_file, tmp_path, path="a.txt", edits=[{"old": "one", "new": "two"}])
    wrong = await result_of(edit_file, tmp_path, path="a.txt", edits=[{"old": "two"}])

    assert result.text == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two"
    assert (wrong.outcome, wrong.text) == (
        Outcome.INVALID,
        "the arguments of edit_file do not fit: required field missing @ edits[0].new",
    )


async def test_a_diff_shows_where_the_last_line_end_is_missing(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo")

    assert (await edit_file("a.txt", "two", "two\n", context=context)).endswith(
        " one\n-two\n\\ No newline at end of file\n+two"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "there is nothing to replace; give old and new, or edits"),
        ({"old": "a"}, "old and new belong together"),
        ({"new": "a"}, "old and new belong together"),
        ({"edits": []}, "there is nothing to replace"),
        ({"old": "", "new": "x"}, "old is empty; use write_file"),
        ({"old": "one", "new": "one"}, "old and new are the same"),
        ({"old": "three", "new": "x"}, "old does not occur in the file"),
        (
            {"old": "o", "new": "x"},
            "old occurs 3 times, on lines 1, 2, 3; give more of the text around it, or replace_all",
        ),
        ({"old": "one", "new": "\ud800"}, "cannot be written as UTF-8"),
    ],
)
async def test_an_edit_that_is_not_clear_changes_nothing(
    arguments: dict[str, Any], message: str, context: ToolContext, tmp_path: Path
) -> None:
    (tmp_path / "a.txt").write_text("one\ntwo\nfo\n")

    with pytest.raises(ToolError) as caught:
        await edit_file("a.txt", **arguments, context=context)

    assert message in str(caught.value)
    assert (tmp_path / "a.txt").read_text() == "one\ntwo\nfo\n"


CLOSE: dict[str, tuple[str, str, str]] = {
    "indented otherwise": ("def f():\n    return 1\n", "\treturn 1", "; the closest is line 2: '    return 1'"),
    "a letter": ("alpha\nbeta\n", "betta\nmore", "; the closest is line 2: 'beta'"),
    "nothing like it": ("alpha\n", "zzzzzz", "old does not occur in the file"),
    "only space": ("alpha\n", "\n\n", "old does not occur in the file"),
}


@pytest.mark.parametrize(("text", "old", "hint"), CLOSE.values(), ids=CLOSE)
def test_the_closest_line_is_named_where_nothing_matches(text: str, old: str, hint: str) -> None:
    with pytest.raises(ToolError) as caught:
        edited(text.encode(), [Edit(old, "new")])

    assert str(caught.value).endswith(hint)


def test_what_overlaps_is_not_one_place() -> None:
    with pytest.raises(ToolError, match="old occurs 2 times, on lines 1, 1"):
        edited(b"aaa", [Edit("aa", "b")])


EDITED: dict[str, tuple[bytes, Edit, bytes]] = {
    "CR LF": (b"a\r\nb\r\nc\r\n", Edit("a\nb", "x\ny"), b"x\r\ny\r\nc\r\n"),
    "CR LF given": (b"a\r\nb\r\n", Edit("a\r\nb", "x\ny"), b"x\r\ny\r\n"),
    "new lines in a CR LF file": (b"a\r\nb\r\n", Edit("b", "x\ny"), b"a\r\nx\r\ny\r\n"),
    "a byte order mark": (b"\xef\xbb\xbfa\n", Edit("a", "b"), b"\xef\xbb\xbfb\n"),
    "mostly LF": (b"a\r\nb\nc\nd\n", Edit("b\nc", "x"), b"a\r\nx\nd\n"),
    "other line ends": ("a\u2028b\n".encode(), Edit("a", "x"), "x\u2028b\n".encode()),
    "all": (b"a b a", Edit("a", "aa", replace_all=True), b"aa b aa"),
    "to nothing": (b"abc", Edit("b", ""), b"ac"),
}


@pytest.mark.parametrize(("before", "edit", "after"), EDITED.values(), ids=EDITED)
def test_an_edit_keeps_what_it_does_not_replace(before: bytes, edit: Edit, after: bytes) -> None:
    assert edited(before, [edit]) == after


@given(st.text(st.sampled_from("ab\n")), st.text(st.sampled_from("ab\n"), min_size=1), st.text(st.sampled_from("bc\n")))
def test_a_single_match_is_replaced_and_all_else_is_refused(text: str, old: str, new: str) -> None:
    places = sum(text.startswith(old, place) for place in range(len(text)))

    try:
        result = edited(text.encode(), [Edit(old, new)]).decode()
    except ToolError:
        assert places != 1 or old == new
    else:
        assert (places, result) == (1, text.replace(old, new))


async def test_a_file_that_is_no_text_or_too_large_is_not_edited(context: ToolContext, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"caf\xe9")
    (tmp_path / "b").write_bytes(b"x" * ((10 << 20) + 1))

    with pytest.raises(ToolError, match="'a' is not changed: it is no UTF-8 text"):
        await edit_file("a", "c", "d", context=context)
    with pytest.raises(ToolError, match="'b' has more than 10485760 bytes"):
        await edit_file("b", "c", "d", context=context)
