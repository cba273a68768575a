"""bash in bubblewrap: it can read, and harm nothing but the working directory."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio

import alloy
from alloy import Outcome
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import Tool, bash, core_tools
from alloy.tools.builtin.sandbox import Sandbox
from tools.helpers import batch_of, call, run, wait_none_alive


def why_not() -> str | None:
    """Why there is no sandbox on this machine; None if there is."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed"
    tried = subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], capture_output=True, text=True)
    return f"bubblewrap does not work here: {tried.stderr.strip()}" if tried.returncode else None


REASON = why_not()
needs_sandbox = pytest.mark.skipif(REASON is not None, reason=str(REASON))


def sandboxed_bash() -> Tool:
    return core_tools(sandbox="bwrap")[-1]


async def result_of(command: str, directory: Path, tool: Tool | None = None, **more: Any) -> alloy.ToolResult:
    batch = batch_of([tool or sandboxed_bash()], call("1", "bash", command=command, **more))
    (result,) = await run(batch, working_directory=directory, timeout=30)
    return result


def written(path: str) -> bool:
    return Path(path).expanduser().exists()


@pytest.mark.works("`bash` in a sandbox: no network, and nothing can be written but the working directory")
@needs_sandbox
async def test_only_the_working_directory_can_be_written(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "note").write_text("old")

    result = await result_of(
        f"cat note; echo new > note; touch {outside}/x /usr/alloy-x ~/alloy-x; rm -rf {outside};"
        " echo a >/tmp/t; cat /tmp/t",
        inside,
    )

    assert result.outcome is Outcome.OK
    assert result.text.startswith("old")
    assert "a\nexit code: 0" in result.text
    assert (inside / "note").read_text() == "new\n"
    assert outside.is_dir()
    assert not any(map(written, ("/tmp/t", "/usr/alloy-x", "~/alloy-x")))


@needs_sandbox
async def test_there_is_no_network_not_even_this_machines_own(tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    local = socket.socket(socket.AF_UNIX)
    path = Path(f"/tmp/alloy-test-{os.getpid()}.sock")
    local.bind(str(path))
    local.listen()
    connect = f"echo x > /dev/tcp/127.0.0.1/{port}"
    try:
        with listener, local:
            outside = await result_of(connect, tmp_path, bash)
            result = await result_of(f"{connect}; ls {path}; ls /run", tmp_path)
    finally:
        os.unlink(path)

    assert outside.text.endswith("exit code: 0")
    assert "Connection refused" in result.text
    assert f"{path}': No such file" in result.text


@needs_sandbox
async def test_the_environment_has_no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-secret")

    result = await result_of("env", tmp_path, core_tools(sandbox="bwrap", env={"MINE": "1"})[-1])

    assert "sk-secret" not in result.text
    assert "MINE=1" in result.text


@needs_sandbox
async def test_the_exit_code_is_the_commands_own(tmp_path: Path) -> None:
    assert (await result_of("echo hi; exit 7", tmp_path)).text == "hi\nexit code: 7"
    assert (await result_of("echo bwrap: no >&2; exit 1", tmp_path)).text == "bwrap: no\nexit code: 1"


@needs_sandbox
async def test_what_it_leaves_behind_is_killed_even_in_a_session_of_its_own(tmp_path: Path) -> None:
    mark = f"5{os.getpid()}1"

    result = await result_of(f"setsid sleep {mark} & (sleep {mark} &) ; echo done", tmp_path)

    assert result.text == "done\nexit code: 0"
    await wait_none_alive(mark)


@needs_sandbox
async def test_its_limit_kills_it(tmp_path: Path) -> None:
    mark = f"5{os.getpid()}2"

    result = await result_of(f"setsid sleep {mark} & echo begun; sleep {mark}", tmp_path, timeout=0.5)

    assert result.outcome is Outcome.TIMED_OUT
    assert "begun" in result.text
    await wait_none_alive(mark)


@needs_sandbox
async def test_a_cancel_kills_it(tmp_path: Path) -> None:
    mark = f"5{os.getpid()}3"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(result_of, f"setsid sleep {mark} & touch begun; sleep {mark}", tmp_path)
        while not await trio.Path(tmp_path, "begun").exists():  # noqa: ASYNC110  # another process does it
            await trio.sleep(0.01)
        nursery.cancel_scope.cancel()

    await wait_none_alive(mark)


@needs_sandbox
async def test_a_relative_working_directory_behind_a_link_is_the_one_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path)

    result = await result_of("pwd; echo x > made", Path("link"))

    assert result.text == f"{tmp_path}/real\n\nexit code: 0".replace("\n\n", "\n")
    assert (tmp_path / "real/made").exists()


@needs_sandbox
async def test_through_a_run(tmp_path: Path) -> None:
    model = ScriptedModel(calls("bash", command="echo x > /usr/x; echo y > y; cat y"), says("done"))

    result = await alloy.run("x", model=model, tools=core_tools(sandbox="bwrap"), working_directory=tmp_path)

    told = result.messages[2].results[0].text  # type: ignore[union-attr]
    assert "Read-only file system" in told
    assert told.endswith("y\nexit code: 0")


async def test_where_the_whole_file_system_would_be_writable_nothing_is_run() -> None:
    with pytest.raises(alloy.ToolError, match="protects nothing when '/' is the working directory"):
        await Sandbox("/usr/bin/true").wrap(["bash", "-c", "true"], Path("/"))


async def test_where_it_cannot_be_set_up_nothing_is_run_and_the_model_is_told_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "bin/bwrap"
    refusing.parent.mkdir()
    refusing.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{refusing.parent}:{os.environ['PATH']}")

    result = await result_of("touch ran", tmp_path)

    assert result.outcome is Outcome.ERROR
    assert result.text.startswith("the sandbox cannot be set up, so nothing was run: bwrap: No permissions to create a")
    assert not (tmp_path / "ran").exists()


def test_without_bubblewrap_it_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(RuntimeError, match="needs bubblewrap, but no 'bwrap' is on PATH"):
        core_tools(sandbox="bwrap")


def test_what_makes_no_sense_is_refused() -> None:
    async def execute(command: str, directory: Path) -> tuple[str, int]:
        return "", 0

    with pytest.raises(ValueError, match="exclude each other"):
        core_tools(sandbox="bwrap", executor=execute)
    with pytest.raises(ValueError, match="must be one of 'bwrap' or None, got 'docker'"):
        core_tools(sandbox="docker")  # type: ignore[arg-type]
