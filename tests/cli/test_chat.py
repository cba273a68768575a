"""`alloy chat`, driven in a terminal as a new user would, on scripted models."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from terminal import ALT_ENTER, CTRL_C, CTRL_D, ENTER, PATIENCE, ROOT, TAB, UP, Terminal, terminal

READY = "/help lists the commands, Ctrl-D leaves"
EDITOR: dict[str, str] = {}
DUMB = {"TERM": "dumb"}
both_consoles = pytest.mark.parametrize("environment", [EDITOR, DUMB], ids=["editor", "dumb"])
# Every story begins with a process that imports an editor: what differs little waits for the slow run.
editor_first = pytest.mark.parametrize(
    "environment", [EDITOR, pytest.param(DUMB, marks=pytest.mark.slow)], ids=["editor", "dumb"]
)


@contextmanager
def chat(model: str, *arguments: str, **options: Any) -> Iterator[Terminal]:
    """A chat that waits for its first prompt."""
    with terminal("chat", "--model", model, *arguments, **options) as screen:
        screen.wait_for(READY)
        yield screen


def leaves(screen: Terminal) -> int:
    """Leave as a user does; the exit code."""
    screen.type(CTRL_D)
    return screen.wait_end()


@pytest.mark.works("`alloy chat`: a conversation in the terminal, steered while it works, stopped by Ctrl-C")
@both_consoles
def test_a_conversation_from_the_greeting_to_the_farewell(tmp_path: Path, environment: dict[str, str]) -> None:
    with chat("scripted:echo", home=tmp_path, environment=environment) as screen:
        screen.type("hello Ünï 漢字 👩‍👩‍👧" + ENTER)
        screen.wait_for("hello Ünï 漢字 👩‍👩‍👧")
        screen.wait_for("hello Ünï 漢字 👩‍👩‍👧")
        screen.type("/usage" + ENTER)
        screen.wait_for("requests")

        assert leaves(screen) == 0
        assert "Traceback" not in screen.text
        assert screen.echoes()


@both_consoles
def test_ctrl_c_stops_a_streaming_answer_and_keeps_the_conversation(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with chat("scripted:slow", home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("word20")
        screen.type(CTRL_C)
        screen.wait_for("cancelled")
        screen.type(CTRL_C)
        screen.wait_for("Ctrl-D leaves")
        screen.type("/history" + ENTER)
        screen.wait_for("> go")
        screen.type("/quit" + ENTER)

        assert screen.wait_end() == 0
        assert screen.echoes()


@editor_first
def test_ctrl_c_twice_at_once_stops_the_run_and_leaves_the_chat_open(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with chat("scripted:slow", home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("word20")
        screen.type(CTRL_C + CTRL_C)
        screen.wait_for("cancelled")
        screen.type("/usage" + ENTER)
        screen.wait_for("requests")

        assert leaves(screen) == 0


@editor_first
def test_ctrl_c_during_a_tool_stops_the_tool_and_all_it_started(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = ("scripted:stubborn", "--tools", "bash", "--yes")
    with chat(*arguments, home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("→ bash(command=")
        child = int(screen.wait_file("pid"))
        screen.type(CTRL_C)
        screen.wait_for("← bash: cancelled")
        screen.wait_for("cancelled")

        assert leaves(screen) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)


@both_consoles
def test_what_is_typed_during_a_run_steers_it_and_then_waits_for_its_end(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ("scripted:busy", "--tools", "bash", "--yes")
    with chat(*arguments, home=tmp_path, environment=environment) as screen:
        screen.type("begin" + ENTER)
        screen.wait_for("→ bash(")
        screen.type("/then do more" + ENTER)
        screen.type("turn left" + ENTER)
        screen.wait_for("it reads this before its next answer")
        (tmp_path / "go").touch()
        screen.wait_for("← bash: ok")
        screen.wait_for("(+196 lines)")
        screen.wait_for("heard: begin; turn left")
        screen.wait_for("heard: begin; turn left; do more")

        assert leaves(screen) == 0


@editor_first
def test_what_a_stopped_run_had_not_read_is_handed_back(tmp_path: Path, environment: dict[str, str]) -> None:
    arguments = ("scripted:stubborn", "--tools", "bash", "--yes")
    with chat(*arguments, home=tmp_path, environment=environment) as screen:
        screen.type("begin" + ENTER)
        screen.wait_for("→ bash(")
        screen.type("turn left" + ENTER)
        screen.wait_for("it reads this before its next answer")
        screen.type(CTRL_C)
        screen.wait_for("turn left")
        screen.wait_for("cancelled")
        screen.type(CTRL_C)

        assert leaves(screen) == 0


@both_consoles
def test_a_paste_of_200_lines_is_one_message(tmp_path: Path, environment: dict[str, str]) -> None:
    lines = [f"line {number}" for number in range(1, 201)]
    with chat("scripted:echo", home=tmp_path, environment=environment) as screen:
        if environment is DUMB:
            screen.type("\n".join(lines) + "\n")
        else:
            screen.paste("\r".join(lines))
            screen.type(ENTER)
        screen.wait_for("line 199" if environment is DUMB else "(+195 lines)")
        screen.wait_for("199")
        screen.type("/context" + ENTER)
        screen.wait_for("prompts")
        screen.type("/history all" + ENTER)
        screen.wait_for("> line 1")
        screen.wait_for("line 200")

        assert leaves(screen) == 0
        assert "prompts       1\n" in screen.text.replace("\r", "")


@pytest.mark.slow
def test_a_paste_from_a_terminal_that_does_not_say_so_is_one_message(tmp_path: Path) -> None:
    with chat("scripted:echo", home=tmp_path) as screen:
        screen.type("\r".join(f"line {number}" for number in range(1, 201)) + ENTER)
        screen.wait_for("(+195 lines)")

        assert leaves(screen) == 0


def test_commands_are_completed_and_several_lines_can_be_written(tmp_path: Path) -> None:
    with chat("scripted:echo", home=tmp_path) as screen:
        screen.type("/us")
        screen.wait_for("/usage")
        screen.type(TAB + ENTER)
        screen.wait_for("requests")
        screen.type("one" + ALT_ENTER + "two\\" + ENTER)
        screen.type("three")
        screen.wait_for("three")
        screen.type(ENTER)
        screen.wait_for("> one")
        screen.wait_for("three")
        screen.wait_for("one two three")  # as Markdown has it

        assert leaves(screen) == 0


def test_what_was_typed_is_there_the_next_time_and_only_for_the_user(tmp_path: Path) -> None:
    with chat("scripted:echo", home=tmp_path) as screen:
        screen.type("remember me" + ENTER)
        screen.wait_for("> remember me")
        screen.type(CTRL_D)
        screen.wait_end()
    with chat("scripted:echo", home=tmp_path) as screen:
        screen.type(UP)
        screen.wait_for("remember me")
        screen.type(CTRL_C + CTRL_D)

        assert screen.wait_end() == 0
    folder = tmp_path / ".local" / "state" / "alloy"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "history").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_without_a_place_for_the_history_one_can_talk_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    environment = {"XDG_STATE_HOME": str(tmp_path / "taken")}
    with terminal("chat", "--model", "scripted:echo", home=tmp_path, environment=environment) as screen:
        screen.wait_for("what you type is not kept")
        screen.type("hi" + ENTER)
        screen.wait_for("> hi")
        screen.wait_for("hi")

        assert leaves(screen) == 0


@pytest.mark.parametrize(
    "size", [(20, 6), pytest.param((1, 1), marks=pytest.mark.slow), pytest.param((0, 0), marks=pytest.mark.slow)]
)
def test_a_narrow_window_shows_the_answer_all_the_same(tmp_path: Path, size: tuple[int, int]) -> None:
    with terminal("chat", "--model", "scripted:pretty", home=tmp_path, size=size) as screen:
        screen.wait_for("alloy")
        screen.type("go" + ENTER)
        screen.wait_for("Title")
        screen.wait_for("two")

        assert leaves(screen) == 0
        assert "Traceback" not in screen.text


def test_the_window_may_change_while_an_answer_comes(tmp_path: Path) -> None:
    with chat("scripted:slow", home=tmp_path) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("word20")
        screen.resize(30, 10)
        screen.wait_for("word80")
        screen.resize(120, 40)
        screen.wait_for("word120")
        screen.type(CTRL_C)
        screen.wait_for("cancelled")

        assert leaves(screen) == 0
        assert all(f"word{number} " in screen.text or f"word{number}\r" in screen.text for number in range(1, 120))


def test_markdown_is_shown_and_no_colour_where_none_is_wanted(tmp_path: Path) -> None:
    with chat("scripted:pretty", home=tmp_path, environment={"NO_COLOR": "1"}) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("two")
        screen.wait_for("x = 1")

        assert leaves(screen) == 0
        assert "*stress*" not in screen.text
        assert not re.search(r"\x1b\[([\d;]*;)?(3\d|9\d)[;m]", screen.seen)


def test_a_signal_to_leave_leaves_the_terminal_in_order(tmp_path: Path) -> None:
    with chat("scripted:slow", home=tmp_path) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("word20")
        screen.process.send_signal(signal.SIGTERM)

        assert screen.wait_end() == 128 + signal.SIGTERM
        assert screen.echoes()
        assert "Traceback" not in screen.text


def test_wrong_commands_and_models_are_told_and_change_nothing(tmp_path: Path) -> None:
    with chat("scripted:echo", home=tmp_path) as screen:
        screen.type("/modle" + ENTER)
        screen.wait_for("did you mean '/model'?")
        screen.type("/model scripted:demmo" + ENTER)
        screen.wait_for("no script is called 'demmo'")
        screen.type("/model scripted:demo" + ENTER)
        screen.wait_for("model: scripted:demo")
        screen.type("/etc/hosts is a file" + ENTER)
        screen.wait_for("This is alloy's scripted demo model.")
        screen.type("/reset" + ENTER)
        screen.wait_for("the conversation is forgotten")
        screen.type("/history" + ENTER)
        screen.wait_for("nothing was said yet")

        assert leaves(screen) == 0


FILES = ("--tools", "write_file,edit_file,read_file")


@pytest.mark.works("`alloy chat` asks before a tool changes anything: yes, no, always, or why not")
@both_consoles
def test_calls_that_change_something_are_asked_about_one_after_the_other(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    with chat("scripted:demo", *FILES, home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("agent: write_file?")
        screen.wait_for("path: shopping.txt")
        screen.wait_for("content: apples")
        screen.wait_for("allow?")
        assert not (tmp_path / "shopping.txt").exists()
        screen.type("y" + ENTER)
        screen.wait_for("← write_file: ok")
        screen.wait_for("agent: edit_file?")
        screen.type(ENTER)  # shows it again
        screen.wait_for("agent: edit_file?")
        screen.wait_for("allow?")
        screen.type("a" + ENTER)
        screen.wait_for("← edit_file: ok")
        screen.wait_for("The list has 3 entries: apples, bread, oat milk.")
        screen.type("again" + ENTER)
        screen.wait_for("agent: write_file?")
        screen.type("/context" + ENTER)
        screen.wait_for("prompts")
        screen.type("that is not what I meant" + ENTER)
        screen.wait_for("← write_file: denied")
        screen.wait_for("that is not what I meant")
        screen.wait_for("oat oat milk.")  # nobody was asked about the edit again

        assert leaves(screen) == 0
        assert screen.text.count("edit_file?") == 2


@editor_first
def test_ctrl_c_where_something_is_asked_stops_the_run(tmp_path: Path, environment: dict[str, str]) -> None:
    with chat("scripted:demo", *FILES, home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("allow?")
        screen.type(CTRL_C)
        screen.wait_for("cancelled")
        screen.type("/history" + ENTER)
        screen.wait_for("> go")

        assert leaves(screen) == 0
        assert not (tmp_path / "shopping.txt").exists()


def test_without_the_extra_there_is_a_plain_prompt(tmp_path: Path) -> None:
    for package in ("rich", "prompt_toolkit"):
        (tmp_path / f"{package}.py").write_text("raise ImportError")
    environment = {"PYTHONPATH": f"{tmp_path}:{ROOT}"}
    with chat("scripted:pretty", home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("Some *stress* and `code`.")

        assert leaves(screen) == 0
        assert "Traceback" not in screen.text


@editor_first
def test_when_the_terminal_is_gone_the_chat_ends_and_its_tools_with_it(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    arguments = ("scripted:stubborn", "--tools", "bash", "--yes")
    with chat(*arguments, home=tmp_path, environment=environment) as screen:
        screen.type("go" + ENTER)
        screen.wait_for("→ bash(command=")
        child = int(screen.wait_file("pid"))
        screen.hang_up()

        assert screen.process.wait(PATIENCE) != 0
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
