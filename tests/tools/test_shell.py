"""bash, as a model uses it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from alloy.llm.content import Outcome, ToolResult
from alloy.tools import Tool, ToolContext, bash, core_tools
from tools.helpers import batch_of, call, run, wait_none_alive


async def result_of(
    command: str, directory: Path, /, *, made: Tool = bash, limit: float = 30, **more: Any
) -> ToolResult:
    batch = batch_of([made], call("1", "bash", command=command, **more))
    (result,) = await run(batch, working_directory=directory, timeout=limit)
    return result


ANSWERS = {
    "output": ("echo hi", "hi\nexit code: 0"),
    "without a line end": ("printf hi", "hi\nexit code: 0"),
    "blank lines stay": ("printf 'a\\n\\n'", "a\n\nexit code: 0"),
    "nothing": ("true", "\nexit code: 0"),
    "errors too": ("echo out; echo err >&2; exit 3", "out\nerr\nexit code: 3"),
    "no such command": (
        "no_such_command_here",
        "bash: line 1: no_such_command_here: command not found\nexit code: 127",
    ),
    "a signal": ("kill -9 $$", "\nexit code: 137"),
    "standard input is empty": ("cat; read x; echo $?", "1\nexit code: 0"),
    "binary": ("printf 'a\\377\\000b'", "a�\0b\nexit code: 0"),
}


@pytest.mark.parametrize(("command", "text"), ANSWERS.values(), ids=ANSWERS)
async def test_it_answers_with_output_and_exit_code_and_any_exit_is_ok(command: str, text: str, tmp_path: Path) -> None:
    result = await result_of(command, tmp_path)

    assert (result.text, result.outcome, result.is_error) == (text, Outcome.OK, False)


async def test_it_runs_in_the_working_directory_each_time_anew(tmp_path: Path) -> None:
    await result_of("cd /; export X=1; touch /dev/null", tmp_path)

    assert (await result_of("pwd; echo [$X]", tmp_path)).text == f"{tmp_path}\n[]\nexit code: 0"


async def test_its_own_limit_is_timed_out_and_tells_what_there_was(tmp_path: Path) -> None:
    mark = f"4{os.getpid()}"

    result = await result_of(f"echo begun; sleep {mark} & sleep {mark}", tmp_path, timeout=0.3)

    assert (result.outcome, result.is_error) == (Outcome.TIMED_OUT, True)
    assert result.text == "begun\n\ntimed out after 0.3 s: the command was killed; it may have had effects"
    await wait_none_alive(mark)


async def test_the_limit_of_the_call_wins_and_tells_what_there_was_too(tmp_path: Path) -> None:
    start = time.monotonic()

    result = await result_of("echo begun; sleep 60", tmp_path, limit=0.5, timeout=60)

    assert result.outcome is Outcome.TIMED_OUT
    assert result.text.startswith("begun\n\ntimed out after 0.47")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan")])
async def test_a_limit_that_is_none_is_refused(timeout: float, tmp_path: Path) -> None:  # noqa: ASYNC109
    result = await result_of("true", tmp_path, timeout=timeout)

    assert result.is_error


async def test_a_flood_keeps_both_ends_and_the_exit_code(tmp_path: Path) -> None:
    result = await result_of("echo first; head -c 100000000 /dev/zero | tr '\\0' x; echo; echo last; exit 4", tmp_path)

    assert len(result.text) <= bash.max_result_chars
    assert result.text.startswith("first\nxxxx")
    assert result.text.endswith("xxxx\nlast\nexit code: 4")
    assert "characters are left out" in result.text


async def test_what_a_program_prints_without_end_ends_with_its_time(tmp_path: Path) -> None:
    result = await result_of("yes", tmp_path, timeout=0.3)

    assert result.outcome is Outcome.TIMED_OUT
    assert result.text.startswith("y\ny\n")
    assert result.text.endswith("timed out after 0.3 s: the command was killed; it may have had effects")


async def test_it_sees_the_variables_it_is_given_and_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")
    monkeypatch.setenv("PLAIN", "seen")
    given = core_tools(env={"OTHER_API_KEY": "given"})[3]
    command = "echo [$SOME_API_KEY$PLAIN$OTHER_API_KEY]"

    assert (await result_of(command, tmp_path)).text == "[seen]\nexit code: 0"
    assert (await result_of(command, tmp_path, made=given)).text == "[seengiven]\nexit code: 0"


async def test_a_working_directory_that_is_not_there_is_told(tmp_path: Path) -> None:
    result = await result_of("true", tmp_path / "none")

    assert result.text == f"bash cannot be started in '{tmp_path}/none': No such file or directory"


async def test_a_nul_is_refused(tmp_path: Path) -> None:
    assert (await result_of("echo \0", tmp_path)).text == "the command holds a NUL character"


async def test_another_executor_runs_the_commands(tmp_path: Path) -> None:
    asked = []

    async def elsewhere(command: str, working_directory: Path) -> tuple[str, int]:
        asked.append((command, working_directory))
        return "there\n", 5

    made = core_tools(executor=elsewhere)[3]

    assert (await result_of("echo hi", tmp_path, made=made)).text == "there\nexit code: 5"
    assert asked == [("echo hi", tmp_path)]


async def test_another_executor_has_the_same_limit_and_its_errors_are_told(autojump_clock: Any) -> None:
    async def elsewhere(command: str, working_directory: Path) -> tuple[str, int]:
        if command == "hang":
            await trio.sleep_forever()
        raise ConnectionError("the container is gone")

    made = core_tools(executor=elsewhere)[3]
    hung = await result_of("hang", Path(), made=made, limit=1000)
    broken = await result_of("fail", Path(), made=made)

    assert (hung.outcome, hung.text) == (
        Outcome.TIMED_OUT,
        "timed out after 120 s: the command was killed; it may have had effects",
    )
    assert trio.current_time() == 120
    assert (broken.outcome, broken.text) == (Outcome.ERROR, "ConnectionError: the container is gone")


async def test_it_can_be_called_in_a_test_of_ones_own(tmp_path: Path) -> None:
    result = await bash("echo hi", context=ToolContext(working_directory=tmp_path))

    assert result.text == "hi\nexit code: 0"
