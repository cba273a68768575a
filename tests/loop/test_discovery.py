"""Context files."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

import alloy
from alloy.loop.discovery import CAP
from alloy.testing import ScriptedModel, says


def write(root: Path, name: str, text: str | bytes) -> None:
    folder = root / ".alloy" / "context"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and in it a git root with a package; nothing to discover yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "pkg").mkdir()
    return tmp_path


async def system_of(**options: object) -> str:
    model = ScriptedModel(says("ok"))
    await alloy.run("x", model=model, **options)  # type: ignore[arg-type]
    return model.requests[0].system


@pytest.mark.works("Context files `.alloy/context/*.md`")
async def test_home_git_root_and_working_directory_come_in_this_order_with_names_as_headings(tree: Path) -> None:
    write(tree / "home", "style.md", "be brief")
    write(tree / "repo", "b.md", "second\n")
    write(tree / "repo", "a.md", "first")
    write(tree / "repo" / "pkg", "style.md", "no tabs")
    write(tree / "repo" / "pkg", "notes.txt", "never read")

    system = await system_of(system_prompt="You.", discover=True, working_directory=tree / "repo" / "pkg")

    assert system == "You.\n\n# style\n\nbe brief\n\n# a\n\nfirst\n\n# b\n\nsecond\n\n# style\n\nno tabs"


async def test_nothing_is_discovered_unless_asked_for(tree: Path) -> None:
    write(tree / "repo", "a.md", "first")

    assert await system_of(working_directory=tree / "repo") == ""


async def test_a_folder_that_is_two_of_the_three_is_read_once(tree: Path) -> None:
    write(tree / "repo", "a.md", "once")

    assert await system_of(discover=True, working_directory=tree / "repo") == "# a\n\nonce"


async def test_folders_can_be_named_instead(tree: Path) -> None:
    write(tree / "repo", "a.md", "not this")
    write(tree / "home", "b.md", "this")

    assert await system_of(discover=[tree / "home"], working_directory=tree / "repo") == "# b\n\nthis"


async def test_a_file_that_is_too_long_is_cut_and_says_so(tree: Path) -> None:
    write(tree / "repo", "a.md", "x" * (CAP + 1))

    system = await system_of(discover=True, working_directory=tree / "repo")

    assert system.endswith(f"x\n[cut: only the first {CAP} characters of this file are shown]")


async def test_a_file_that_cannot_be_read_is_left_out_with_a_warning(
    tree: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tree / "repo", "bad.md", b"\xff\xfe\x00")
    (tree / "repo" / ".alloy" / "context" / "folder.md").mkdir()
    write(tree / "repo", "good.md", "good")

    with caplog.at_level(logging.WARNING, "alloy.loop"):
        system = await system_of(discover=True, working_directory=tree / "repo")

    assert system == "# good\n\ngood"
    assert sorted(record.args[0].name for record in caplog.records) == ["bad.md", "folder.md"]  # type: ignore[union-attr,index]
