"""What a tool knows of its run, and what it can ask of it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from alloy.tools import ToolContext, ToolError, idempotency_key


def test_a_context_can_be_made_for_a_test() -> None:
    context = ToolContext(working_directory=Path("/tmp"))

    context.progress("to nobody")
    assert (context.deps, context.run_id, context.agent_path, context.attempt) == (None, "", (), 1)
    assert (context.budget, context.shared, context.deadline) == (None, None, math.inf)


def test_the_key_is_made_of_run_and_call_and_always_the_same() -> None:
    key = ToolContext(run_id="run_1", call_id="call_1", attempt=2).idempotency_key

    assert key == ToolContext(run_id="run_1", call_id="call_1").idempotency_key == "0c669eed827fa4e02558b384727b8a1e"
    assert len({key, idempotency_key("run_1", "call_2"), idempotency_key("run_2", "call_1")}) == 3
    assert idempotency_key("a", "bc") != idempotency_key("ab", "c")


async def test_without_a_user_or_a_team_asking_is_an_error_that_says_so() -> None:
    with pytest.raises(ToolError, match=r"nobody is there to ask 'really\?'"):
        await ToolContext().ask("really?")
    with pytest.raises(ToolError, match="there is no team to delegate to: 'coder' is not reachable"):
        await ToolContext().delegate("coder", "do it")


async def test_progress_questions_and_delegation_reach_whoever_runs_the_tool() -> None:
    heard: list[object] = []

    async def answer(question: str) -> str:
        return f"{question} yes"

    async def hand_on(target: object, prompt: str) -> object:
        return target, prompt

    context = ToolContext(report=heard.append, answer=answer, hand_on=hand_on)
    context.progress(1)

    assert heard == [1]
    assert await context.ask("really?") == "really? yes"
    assert await context.delegate("coder", "do it") == ("coder", "do it")


async def test_resolve_allows_the_working_directory_and_the_roots(tmp_path: Path) -> None:
    inside, root = tmp_path / "inside", tmp_path / "root"
    inside.mkdir()
    root.mkdir()
    context = ToolContext(working_directory=inside, roots=(root,))

    assert Path(await context.resolve("a/b.txt")) == inside / "a/b.txt"
    assert Path(await context.resolve(str(root / "c"))) == root / "c"
    with pytest.raises(ToolError, match=r"'\.\./other' is outside the allowed folders"):
        await context.resolve("../other")
