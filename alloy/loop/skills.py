"""Skills: how-tos that an agent knows by name and reads when it wants to.

A skill is a Markdown file below `.alloy/skills`. Its name and description stand in the system prompt, its text does
not: the model reads it with a tool. So there may be many, and few tokens are spent on those that are not used.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import trio

from alloy.loop.discovery import roots_of
from alloy.tools import Tool, ToolError, tool
from alloy.tools.paths import PathPolicy, open_file

if TYPE_CHECKING:
    from alloy.loop.agent import Agent

FOLDER = Path(".alloy", "skills")
CAP = 65_536  # bytes of one file; what is over is left out, and the text says so
MOST = 200  # skills; further ones are left out with a warning
NAME = 64  # characters
DESCRIPTION = 500  # characters
TOOL = "read_skill"

_log = logging.getLogger("alloy.loop")


@attrs.frozen
class Skill:
    """What the model is told of a skill, and where its text is.

    Attributes:
        name: from the front matter, or the file's name; that of its folder for a `SKILL.md`.
        description: from the front matter, or the first line of the text.
        folder: the skills folder that it was found in; its file never leads out of it.
        file: relative to that.
    """

    name: str
    description: str
    folder: Path
    file: Path


def find_skills(discover: bool | Sequence[str | os.PathLike[str]], working_directory: Path) -> tuple[Skill, ...]:
    """Find the skills, by name. It blocks.

    Looked for in `.alloy/skills/**/*.md` of the working directory, the git root and the home directory; of two with
    one name the first is taken. Of folders that `discover` lists the later ones come first. What cannot be read is
    left out with a warning in the log.
    """
    if discover is False:
        return ()
    found: dict[str, Skill] = {}
    roots = reversed(list(roots_of(discover, working_directory)))
    for folder in dict.fromkeys((root / FOLDER).resolve() for root in roots):
        for skill in _skills_in(folder):
            if len(found) == MOST and skill.name not in found:
                _log.warning("skill %s is left out: there are %d already", skill.folder / skill.file, MOST)
                continue
            found.setdefault(skill.name, skill)
    return tuple(found[name] for name in sorted(found))


async def skills_of(agent: Agent[Any]) -> tuple[Skill, ...]:
    """Those of an agent; see `find_skills`."""
    if agent.discover is False:
        return ()
    return await trio.to_thread.run_sync(find_skills, agent.discover, Path(agent.working_directory))


def listing(skills: Iterable[Skill]) -> str:
    """What the system prompt says of them; empty if there are none."""
    lines = [f"- {skill.name}: {skill.description}" if skill.description else f"- {skill.name}" for skill in skills]
    return "\n".join([f"# Skills\n\nRead one with {TOOL} before you do what it is about.\n", *lines]) if lines else ""


def skill_tool(skills: Iterable[Skill]) -> Tool:
    """The tool that reads them."""
    by_name = {skill.name: skill for skill in skills}

    def read_skill(name: Annotated[str, "The name of the skill, as the system prompt lists it."]) -> str:
        """Read a skill: how to do something, written for you by those you work for."""
        if (skill := by_name.get(name)) is None:
            raise ToolError(f"there is no skill {name!r}; there are {', '.join(map(repr, by_name))}")
        return f"[skill {skill.name}, from {skill.folder / skill.file}]\n\n{_split(_read(skill))[1].strip()}"

    return tool(read_skill, name=TOOL, concurrent=True, max_result_chars=CAP + 1_000, replay="safe")


def _skills_in(folder: Path) -> Iterator[Skill]:
    """The skills below a folder, by path; symlinks to folders are not followed."""
    for path, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            if not file.endswith(".md"):
                continue
            relative = Path(path, file).relative_to(folder)
            default = relative.parent.name if file == "SKILL.md" and relative.parent.name else relative.stem
            try:
                yield _skill(Skill(default, "", folder, relative))
            except (ToolError, UnicodeDecodeError) as error:
                _log.warning("skill %s is left out: %s", Path(path, file), error)


def _skill(found: Skill) -> Skill:
    fields, text = _split(_read(found))
    first = next((line.lstrip("# ").strip() for line in text.splitlines() if line.strip("# \t")), "")
    return attrs.evolve(
        found,
        name=_one_line(fields.get("name") or found.name, NAME),
        description=_one_line(fields.get("description") or first, DESCRIPTION),
    )


def _read(skill: Skill) -> str:
    """The text of a file, through the path policy: no symlink leads out of the folder.

    Raises:
        ToolError: it cannot be read.
        UnicodeDecodeError: it is no UTF-8.
    """
    with open_file(PathPolicy((skill.folder,)).locate(str(skill.file))) as file:
        data = file.read(CAP + 1)
    if len(data) <= CAP:
        return data.decode("utf-8-sig")
    # The cut may be in the middle of a character.
    text = data[:CAP].decode("utf-8-sig", "ignore")
    return f"{text}\n[cut: only the first {CAP:,} bytes of this skill are shown]"


_FRONT_MATTER = re.compile(r"---[ \t]*\r?\n(.*?)(?<=\n)---[ \t]*(?:\r?\n|$)", re.DOTALL)
_FIELD = re.compile(r"^([A-Za-z_-]+):[ \t]*(.*?)[ \t]*\r?$", re.MULTILINE)


def _split(text: str) -> tuple[Mapping[str, str], str]:
    """The front matter's plain fields, and the rest. Of YAML only that much is read."""
    if (found := _FRONT_MATTER.match(text)) is None:
        return {}, text
    fields = {name.lower(): _unquoted(value) for name, value in _FIELD.findall(found[1])}
    return fields, text[found.end() :]


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'" else value


def _one_line(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
