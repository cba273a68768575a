"""Tools in processes of their own: what comes back, and how they die."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from alloy.llm.content import Image, Outcome, ToolResult
from alloy.tools import Executor, Tool, tool
from tools import isolated
from tools.helpers import batch_of, call, run, wait_none_alive


async def result_of(made: Tool, /, timeout: float = 30, **arguments: Any) -> ToolResult:  # noqa: ASYNC109
    (result,) = await run(batch_of([made], call("1", made.name, **arguments)), timeout=timeout)
    return result


async def test_arguments_go_there_and_the_result_comes_back_whatever_is_printed() -> None:
    result = await result_of(isolated.repeat, point={"x": 1}, times=2)

    assert (result.text, result.outcome) == ('[{"x": 1}, {"x": 1}]', Outcome.OK)


async def test_an_async_def_and_a_function_that_is_no_tool_in_its_module_work_too() -> None:
    assert (await result_of(isolated.wait_a_little)).text == "waited"
    assert (await result_of(tool(isolated.plain, isolation="process"), a=1)).text == "2"


async def test_content_comes_back_as_content() -> None:
    result = await result_of(isolated.returns, what="an image")

    assert result.content == (Image(b"\x00\xff", media_type="image/png"),)
    assert (result.details, result.stop) == ({"a": 1}, True)


async def test_a_result_that_is_long_is_cut_as_any_other() -> None:
    assert len((await result_of(isolated.returns, what="much")).text) <= 30_000


RAISED = {
    "ToolError": "expected",
    "ToolRetry": "another way",
    "ValueError": "ValueError: unexpected",
    "SystemExit": "SystemExit: 3",
}


@pytest.mark.parametrize("kind", RAISED)
async def test_what_it_raises_is_an_error_result(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    result = await result_of(isolated.raises, kind=kind)

    assert (result.text, result.outcome) == (RAISED[kind], Outcome.ERROR)
    assert ("Traceback" in caplog.text) == (kind in {"ValueError", "SystemExit"})


async def test_fatal_is_fatal_from_there_too() -> None:
    batch = batch_of([isolated.raises], call("1", "raises", kind="Fatal"))

    await run(batch)

    assert str(batch.fatal) == "the end"


DEATHS = {
    "exit": "the tool's process ended with exit code 7 before it had a result",
    "exit well": "the tool's process gave no answer, but b''",
    "SIGKILL": "the tool's process was killed by SIGKILL before it had a result",
    "SIGSEGV": "the tool's process was killed by SIGSEGV before it had a result",
}


@pytest.mark.parametrize("how", DEATHS)
async def test_its_death_is_an_error_that_says_of_what(how: str) -> None:
    result = await result_of(isolated.ends, how=how)

    assert (result.text, result.outcome) == (DEATHS[how], Outcome.ERROR)


async def test_its_time_limit_really_kills_it_with_all_it_has_started() -> None:
    mark = f"6{os.getpid()}"
    start = time.monotonic()

    result = await result_of(isolated.starts_others_and_hangs, timeout=1.5, mark=mark)

    assert result.outcome is Outcome.TIMED_OUT
    assert result.text == "timed out after 1.5 s: its process was killed; it may have had effects"
    assert time.monotonic() - start < 5
    await wait_none_alive(mark)


async def test_what_it_leaves_behind_ends_with_it() -> None:
    mark = f"5{os.getpid()}"

    assert (await result_of(isolated.leaves_others, mark=mark)).text == "done"

    await wait_none_alive(mark)


async def test_it_sees_no_keys_and_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_API_KEY", "secret")

    assert (await result_of(isolated.returns, what="its keys")).text == "[]"
    assert (await result_of(isolated.returns, what="its standard input")).text == ""


async def test_a_result_without_a_form_is_told_as_for_any_tool() -> None:
    result = await result_of(isolated.returns, what="an object")

    assert result.text == "the tool returned a value of type object that is no JSON: object has no form in JSON"


async def test_arguments_that_cannot_be_sent_are_told_so() -> None:
    result = await result_of(isolated.takes_what_cannot_be_sent, anything=lambda: None)

    assert result.outcome is Outcome.ERROR
    assert result.text.startswith("the arguments cannot be sent to another process: ")


async def test_no_more_processes_than_allowed_run_at_once() -> None:
    nap = tool(isolated.nap, concurrent=True, isolation="process")
    executor = Executor(processes=1)

    results = await run(batch_of([nap], call("1", "nap"), call("2", "nap")), executor=executor)

    first, second = sorted([float(time) for time in result.text.split()] for result in results)
    assert first[1] <= second[0]


SCRIPT = """
import attrs, trio
from alloy.llm.content import ToolCall
from alloy.tools import Batch, Executor, Job, ToolContext, tool

@attrs.frozen
class Point:
    x: int

@tool(isolation="process")
def double(point: Point) -> Point:
    return Point(point.x * 2)

class Listener:
    async def around(self, job, run): return await run()
    def started(self, job): ...
    def finished(self, job, result, duration): print(result.text)

async def main():
    batch = Batch([Job(call=ToolCall("1", "double", {"point": {"x": 2}}), tool=double)])
    await Executor().run(batch, context=lambda job: ToolContext(), known=[], listener=Listener())

if __name__ == "__main__":
    trio.run(main)
"""


@pytest.mark.parametrize("as_module", [False, True])
async def test_a_tool_of_the_script_itself_works(as_module: bool, tmp_path: Path) -> None:
    (tmp_path / "the_script.py").write_text(SCRIPT)
    command = [sys.executable, "-m", "the_script"] if as_module else [sys.executable, "the_script.py"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    done = await trio.run_process(command, capture_stdout=True, cwd=tmp_path, env=environment)

    assert done.stdout == b'{"x": 4}\n'


async def test_a_tool_typed_in_is_refused_with_the_reason() -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}

    done = await trio.run_process([sys.executable, "-c", SCRIPT], capture_stderr=True, check=False, env=environment)

    assert b"TypeError: isolation='process' takes a function from a file; 'double' was typed in" in done.stderr
