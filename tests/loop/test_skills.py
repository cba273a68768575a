"""Skills: known by name and description, read when wanted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

import alloy
from alloy.loop.skills import CAP, MOST
from alloy.testing import ScriptedModel, calls, says


def write(root: Path, name: str, text: str | bytes) -> Path:
    file = root / ".alloy" / "skills" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home, and beside it a git root with a package; no skills yet."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "repo" / ".git").mkdir(parents=True)
    (tmp_path / "repo" / "pkg").mkdir()
    return tmp_path


async def listed(here: Path, **options: object) -> str:
    """What the system prompt says."""
    model = ScriptedModel(says("ok"))
    await alloy.run("x", model=model, working_directory=here, **{"discover": True, **options})  # type: ignore[arg-type]
    return model.requests[0].system


async def read(here: Path, name: str, **options: object) -> alloy.ToolResult:
    """What the model reads of a skill."""
    model = ScriptedModel(calls("read_skill", name=name), says("ok"))
    result = await alloy.run("x", model=model, working_directory=here, discover=True, **options)  # type: ignore[arg-type]
    message = result.messages[2]
    assert isinstance(message, alloy.ToolMessage)
    return message.results[0]


RELEASE = "---\nname: release\ndescription: How to cut a release.\n---\n\n# Releasing\n\nTag it.\n"


@pytest.mark.works("Skills `.alloy/skills/**/*.md`: listed by name and description, read when wanted")
async def test_a_skill_is_listed_and_its_text_is_read_with_a_tool(tree: Path) -> None:
    file = write(tree / "repo", "release.md", RELEASE)

    system = await listed(tree / "repo", system_prompt="You.")

    assert system == (
        "You.\n\n# Skills\n\nRead one with read_skill before you do what it is about.\n\n"
        "- release: How to cut a release."
    )
    result = await read(tree / "repo", "release")
    assert result.outcome is alloy.Outcome.OK
    assert result.text == f"[skill release, from {file}]\n\n# Releasing\n\nTag it."


async def test_the_nearest_of_two_with_one_name_counts(tree: Path) -> None:
    write(tree / "home", "a.md", "of home")
    write(tree / "home", "h.md", "only at home")
    write(tree / "repo", "a.md", "of repo")
    write(tree / "repo", "b.md", "of repo")
    write(tree / "repo" / "pkg", "deep/b.md", "of pkg")

    assert (await listed(tree / "repo" / "pkg")).splitlines()[-3:] == [
        "- a: of repo",
        "- b: of pkg",
        "- h: only at home",
    ]


async def test_without_front_matter_the_files_name_and_first_line_count(tree: Path) -> None:
    write(tree / "repo", "deploy.md", "\n# Deploy to staging\n\nPush the button.")
    write(tree / "repo", "review/SKILL.md", "How to review.")
    write(tree / "repo", "empty.md", "")
    write(tree / "repo", "hollow.md", "---\n---\nA rule under nothing.")
    write(tree / "repo", "notes.txt", "never listed")

    assert (await listed(tree / "repo")).splitlines()[-4:] == [
        "- deploy: Deploy to staging",
        "- empty",
        "- hollow: A rule under nothing.",
        "- review: How to review.",
    ]


async def test_front_matter_may_be_quoted_and_windows_made_and_is_no_part_of_the_text(tree: Path) -> None:
    write(
        tree / "repo",
        "x.md",
        b"\xef\xbb\xbf---\r\nname: \"my skill\"\r\ndescription: 'Says: hello'\r\n---\r\nThe text.\r\n",
    )

    assert (await listed(tree / "repo")).endswith("- my skill: Says: hello")
    assert (await read(tree / "repo", "my skill")).text.endswith("]\n\nThe text.")


async def test_a_description_is_one_line(tree: Path) -> None:
    write(tree / "repo", "x.md", f"---\ndescription: {'long ' * 300}\n---\n")

    line = (await listed(tree / "repo")).splitlines()[-1]
    assert line.startswith("- x: long long")
    assert len(line) < 520


async def test_nothing_is_said_or_offered_without_skills_or_unless_asked_for(tree: Path) -> None:
    model = ScriptedModel(says("ok"), says("ok"))
    await alloy.run("x", model=model, working_directory=tree / "repo", discover=True)
    write(tree / "repo", "a.md", "text")
    await alloy.run("x", model=model, working_directory=tree / "repo")

    assert [(request.system, request.tools) for request in model.requests] == [("", ()), ("", ())]


async def test_the_folders_that_are_listed_are_looked_through_the_last_first(tree: Path) -> None:
    write(tree / "one", "a.md", "first")
    write(tree / "two", "a.md", "second")

    assert (await listed(tree / "repo", discover=[tree / "one", tree / "two"])).endswith("- a: second")


async def test_an_unknown_skill_is_an_error_that_lists_them(tree: Path) -> None:
    write(tree / "repo", "a.md", "text")

    result = await read(tree / "repo", "b")

    assert result.is_error
    assert result.text == "there is no skill 'b'; there are 'a'"


async def test_a_symlink_does_not_lead_out_of_the_folder(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    secret = tree / "secret.md"
    secret.write_text("the key")
    write(tree / "repo", "a.md", "text")
    (tree / "repo" / ".alloy" / "skills" / "b.md").symlink_to(secret)

    with caplog.at_level(logging.WARNING, "alloy"):
        system = await listed(tree / "repo")

    assert system.endswith("- a: text")
    assert "b.md is left out" in caplog.text
    assert "outside the allowed folders" in caplog.text


async def test_a_file_that_became_a_symlink_is_not_read(tree: Path) -> None:
    secret = tree / "secret.md"
    secret.write_text("the key")
    file = write(tree / "repo", "a.md", "text")

    def swap(_: alloy.Request) -> object:
        file.unlink()
        file.symlink_to(secret)
        return calls("read_skill", name="a")

    model = ScriptedModel(swap, says("ok"))  # type: ignore[arg-type]
    result = await alloy.run("x", model=model, working_directory=tree / "repo", discover=True)

    assert "the key" not in str(result.messages)
    assert result.tool_calls[0].outcome is alloy.Outcome.ERROR


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_what_may_not_be_read_is_left_out_with_a_warning(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tree / "repo", "a.md", "text").chmod(0)

    with caplog.at_level(logging.WARNING, "alloy"):
        assert await listed(tree / "repo") == ""

    assert "a.md is left out" in caplog.text


async def test_what_is_no_text_is_left_out_with_a_warning(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tree / "repo", "a.md", b"\xff\xfe\x00")
    os.mkfifo(tree / "repo" / ".alloy" / "skills" / "pipe.md")

    with caplog.at_level(logging.WARNING, "alloy"):
        assert await listed(tree / "repo") == ""

    assert "a.md is left out" in caplog.text
    assert "pipe.md is left out" in caplog.text


async def test_a_long_skill_is_cut_and_says_so(tree: Path) -> None:
    write(tree / "repo", "a.md", "ä" * CAP)

    text = (await read(tree / "repo", "a")).text

    assert text.endswith(f"[cut: only the first {CAP:,} bytes of this skill are shown]")
    assert text.count("ä") == CAP // 2


async def test_there_is_a_bound_to_how_many(tree: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(MOST + 1):
        write(tree / "repo", f"s{number:04}.md", "text")

    with caplog.at_level(logging.WARNING, "alloy"):
        system = await listed(tree / "repo")

    assert system.count("\n- ") == MOST
    assert f"s{MOST:04}.md is left out" in caplog.text


async def test_a_tool_of_that_name_that_the_agent_has_stays(tree: Path) -> None:
    async def read_skill(name: str) -> str:
        """Read it in another way."""
        return f"mine: {name}"

    write(tree / "repo", "a.md", "text")

    assert (await read(tree / "repo", "a", tools=[read_skill])).text == "mine: a"


async def test_whoever_takes_over_has_skills_of_its_own(tree: Path) -> None:
    write(tree / "repo", "a.md", "of repo")
    write(tree / "repo" / "pkg", "a.md", "of pkg")
    second = ScriptedModel(calls("read_skill", name="a"), says("done"))
    other = alloy.Agent(model=second, name="other", discover=True, working_directory=tree / "repo" / "pkg")
    first = ScriptedModel(calls("transfer_to_other"))

    result = await alloy.run(
        "x", model=first, discover=True, working_directory=tree / "repo", tools=[alloy.handoff_to(other)]
    )

    assert result.messages[4].results[0].text.endswith("of pkg")  # type: ignore[union-attr]
