"""What the Tab key offers."""

from __future__ import annotations

from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from alloy.cli.actions import actions
from alloy.cli.commands import Command
from alloy.cli.completing import ChatCompleter

COMMANDS = {name: action.command for name, action in actions(interactive=True).items()} | {
    "keep": Command("keep", "PATH", "", takes_path=True)
}


def offered(text: str, *, pressed_tab: bool = True) -> list[str]:
    """What the line becomes by each completion."""
    completer = ChatCompleter(COMMANDS)
    completions = completer.get_completions(Document(text), CompleteEvent(completion_requested=pressed_tab))
    return [text[: len(text) + one.start_position] + one.text for one in completions]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.md").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "deep.txt").touch()
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("/hi", ["/history"]),
        ("/h", ["/help", "/history"]),
        ("/history ", ["/history all"]),
        ("/model scripted:", ["/model scripted:demo", "/model scripted:echo"]),
        ("/quit ", []),
        ("/nope x", []),
        ("/keep no", ["/keep notes.md"]),
        ("read no", ["read notes.md"]),
        ("read sub/d", ["read sub/deep.txt"]),
        ("read ", []),
        ("", []),
    ],
)
def test_commands_arguments_and_files_are_offered(text: str, becomes: list[str]) -> None:
    assert offered(text) == becomes


@pytest.mark.usefixtures("folder")
def test_files_are_offered_only_where_tab_was_pressed() -> None:
    assert offered("read no", pressed_tab=False) == []


def test_the_models_of_the_price_list_are_offered() -> None:
    assert "/model anthropic:claude-sonnet-4-6" in offered("/model anthropic:")
