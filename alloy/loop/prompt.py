"""The system prompt of a run: what the agent says, then the context files and the skills, and nothing of ours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from alloy.loop.discovery import context_files
from alloy.loop.errors import HookError
from alloy.loop.skills import Skill, listing
from alloy.loop.state import RunInfo


async def system_prompt(run: RunInfo, skills: Sequence[Skill] = ()) -> str:
    """Make the system prompt, once a run: it must not change between turns, or the vendor's cache is lost.

    Raises:
        HookError: a `system_prompt` callable raised, or returned no str.
    """
    given = run.agent.system_prompt
    if callable(given):
        try:
            given = given(run)
        except Exception as error:
            raise HookError(f"system_prompt raised {type(error).__name__}: {error}", hook="system_prompt") from error
        if not isinstance(given, str):
            wrong = TypeError(f"system_prompt must return a str, got {given!r}")
            raise HookError(str(wrong), hook="system_prompt") from wrong
    found = await context_files(run.agent.discover, Path(run.agent.working_directory))
    return "\n\n".join(part for part in (given, found, listing(skills)) if part)
