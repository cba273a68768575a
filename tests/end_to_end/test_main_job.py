"""The main job, over real sockets: the opening program of the documentation, at two vendors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from itertools import permutations
from pathlib import Path

import pytest
import trio

import alloy
from alloy.tools import bash, read_file
from end_to_end.vendors import VENDORS, vendor

PROMPT = "Read pyproject.toml and tell me the version"
TURNS = ([("call_1", "read_file", {"path": "pyproject.toml"})], "It is |0.1.0.")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.1.0"\n')
    return tmp_path


@pytest.mark.works("One prompt, one answer: `alloy.run` at Anthropic, or any Chat Completions server, over HTTP")
@pytest.mark.parametrize("name", VENDORS)
async def test_the_opening_program_runs_at_every_vendor(name: str, project: Path) -> None:
    async with vendor(name, *TURNS) as server:
        base_url = server.url if name == "anthropic" else f"{server.url}/v1"
        result = await alloy.run(
            PROMPT,
            model=alloy.model(VENDORS[name][3], base_url=base_url, api_key="sk-test"),
            tools=[read_file],
            working_directory=project,
        )

    assert result.text == "It is 0.1.0."
    assert result.model == VENDORS[name][3]
    assert (result.usage.input_tokens, result.usage.output_tokens, result.usage.requests) == (20, 14, 2)
    words = {"anthropic": "end_turn", "openai": "completed", "google": "STOP"}
    assert result.stop == alloy.StopInfo(alloy.StopReason.END_TURN, words.get(name, "stop"))
    assert "0.1.0" in server.received[1].body.decode()
    assert server.opened == 1


@pytest.mark.works("Streaming: the answer as it comes, as typed events")
@pytest.mark.parametrize("name", VENDORS)
async def test_a_stream_brings_the_pieces_as_they_come(name: str, project: Path) -> None:
    async with vendor(name, *TURNS) as server:
        base_url = server.url if name == "anthropic" else f"{server.url}/v1"
        model = alloy.model(VENDORS[name][3], base_url=base_url, api_key="sk-test")
        async with alloy.stream(PROMPT, model=model, tools=[read_file], working_directory=project) as stream:
            pieces = [piece async for piece in stream.text()]

    assert pieces == ["It is ", "0.1.0."]


@pytest.mark.parametrize(("first", "second"), list(permutations(VENDORS, 2)))
async def test_a_conversation_may_change_vendor_in_the_middle(first: str, second: str, project: Path) -> None:
    async with vendor(first, *TURNS) as one, vendor(second, "The same.") as two:
        before, after = (
            alloy.model(VENDORS[name][3], base_url=server.url + "/v1" * (name != "anthropic"), api_key="k")
            for name, server in ((first, one), (second, two))
        )
        begun = await alloy.run(PROMPT, model=before, tools=[read_file], working_directory=project)
        ended = await alloy.run("Sure?", model=after, tools=[read_file], history=begun.messages)

    assert ended.text == "The same."


async def test_a_run_leaves_no_connection_behind(project: Path) -> None:
    async with vendor("anthropic", *TURNS) as server:
        model = alloy.model("anthropic:claude-test", base_url=server.url, api_key="k")
        await alloy.run(PROMPT, model=model, tools=[read_file], working_directory=project)
        await server.wait_open(0)


async def test_runs_share_connections_through_one_http(project: Path) -> None:
    async with vendor("anthropic", *["ok"] * 20) as server, alloy.HTTP() as http:
        model = alloy.model("anthropic:claude-test", base_url=server.url, api_key="k")
        for _ in range(20):
            await alloy.run("x", model=model, http=http)

        assert server.opened == 1


@pytest.mark.parametrize("name", VENDORS)
async def test_a_batch_of_calls_is_answered_in_one_message_that_the_vendor_accepts(name: str, project: Path) -> None:
    batch = [
        ("c1", "read_file", {"path": "pyproject.toml"}),
        ("c2", "read_file", {"path": "../secret"}),
        ("c3", "nothing", {}),
        ("c4", "bash", {"command": "exit 3"}),
        ("c5", "bash", {"cmd": "ls"}),
    ]
    async with vendor(name, batch, "done") as server:
        base_url = server.url if name == "anthropic" else f"{server.url}/v1"
        model = alloy.model(VENDORS[name][3], base_url=base_url, api_key="k")
        result = await alloy.run("x", model=model, tools=[read_file, bash], working_directory=project)

    assert [record.outcome for record in result.tool_calls] == ["ok", "error", "unknown_tool", "ok", "invalid"]
    assert result.text == "done"


async def cli(*arguments: str, cwd: Path, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `alloy` as a user would, from another folder."""
    root = str(Path(__file__).parents[2])
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "PYTHONPATH": root, **environment}
    return await trio.run_process(
        [sys.executable, "-W", "error", "-m", "alloy", *arguments],
        cwd=cwd, env=env, capture_stdout=True, capture_stderr=True, check=False, stdin=b"",
    )  # fmt: skip


@pytest.mark.works("The command line: `alloy run`, with tools, `--json`, and exit codes")
@pytest.mark.parametrize("name", VENDORS)
async def test_the_command_line_does_the_same(name: str, project: Path) -> None:
    async with vendor(name, *TURNS) as server:
        base_url = server.url if name == "anthropic" else f"{server.url}/v1"
        variables = ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_COMPATIBLE_API_KEY", "GOOGLE_API_KEY")
        keys = dict.fromkeys(variables, "sk-test")
        done = await cli(
            "run", PROMPT, "--model", VENDORS[name][3], "--base-url", base_url, "--tools", "read_file",
            cwd=project, **keys,
        )  # fmt: skip

    assert (done.returncode, done.stdout) == (0, b"It is 0.1.0.\n")
    assert b"read_file" in done.stderr
    assert b"sk-test" not in done.stderr


async def test_the_command_line_prints_events_as_json(project: Path) -> None:
    async with vendor("anthropic", *TURNS) as server:
        done = await cli(
            "run", PROMPT, "--base-url", server.url, "--tools", "read_file", "--json",
            cwd=project, ANTHROPIC_API_KEY="sk-test",
        )  # fmt: skip

    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["result"]["text"] == "It is 0.1.0."
    assert b"sk-test" not in done.stdout
