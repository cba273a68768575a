"""The two programs of the Elixir original, as our examples have them: on a script, and at every dialect."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import attrs
import pytest

import alloy
from alloy import Outcome, Status
from alloy.llm.scripted import Calls, Says
from alloy.testing import ScriptedModel, calls, says
from end_to_end.vendors import VENDORS, Turn, vendor
from providers.loopback import Server

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def example(name: str) -> ModuleType:
    """An example as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def turns(script: Iterable[Says | Calls]) -> Iterator[Turn]:
    """The steps of a script as a small vendor plays them."""
    for number, step in enumerate(script):
        if isinstance(step, Says):
            yield step.text
        else:
            yield [(f"call_{number}", step.name, json.loads(step.arguments_text))]


@asynccontextmanager
async def models(name: str, script: Sequence[Says | Calls], **profile: Any) -> AsyncIterator[tuple[Any, Server | None]]:
    """A model that plays this script, and the server behind it if there is one."""
    if name == "scripted":
        yield ScriptedModel(*script), None
        return
    async with vendor(name, *turns(script)) as server:
        base_url = server.url + "/v1" * (name != "anthropic")
        yield alloy.model(VENDORS[name][3], base_url=base_url, api_key="k", **profile), server


EVERYWHERE = pytest.mark.parametrize("name", ["scripted", *VENDORS])


@pytest.mark.works("Structured output by `until_tool`, at every dialect, from a model that first answers otherwise")
@EVERYWHERE
async def test_structured_output_by_until_tool(name: str) -> None:
    program = example("structured_output")
    async with models(name, program.SCRIPT) as (model, server):
        result = await program.main(model)

    assert result.status is Status.COMPLETED
    assert result.output == {"sender": "Ada's Bakery", "amount": 240.5, "currency": "EUR", "number": 17}
    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.INVALID, Outcome.OK]
    assert result.turns == 4
    if server is not None:
        assert "Call the tool 'submit' to finish" in server.received[2].body.decode()
        assert "@ amount" in server.received[3].body.decode()
        assert len(server.received) == 4


@pytest.mark.works("A middleware that edits a dangerous call, at every dialect; the model's history shows the edit")
@EVERYWHERE
async def test_a_middleware_that_edits_a_dangerous_call(name: str) -> None:
    program = example("safe_deletes")
    async with models(name, program.SCRIPT) as (model, server):
        result, files = await program.main(model)

    assert (result.status, result.text) == (Status.COMPLETED, "The drafts are in .trash now.")
    assert files == [".trash/drafts/poem.txt"]
    (record,) = result.tool_calls
    assert record.edited_from == {"command": "rm -rf drafts"}
    assert record.arguments == {"command": "mkdir -p .trash && mv drafts .trash/"}
    if server is not None:
        second = server.received[1].body.decode()
        assert "mv drafts .trash/" in second
        assert "rm -rf drafts" not in second


@pytest.mark.parametrize("command", ["rm -rf a; ls", "ls && rm a", "cat x | xargs rm", "rm $(cat list)"])
async def test_what_is_no_plain_deletion_is_blocked(command: str) -> None:
    call = alloy.ToolCall("c", "bash", {"command": command})

    assert isinstance(await example("safe_deletes").SafeDeletes().before_tool_call(None, call), alloy.Block)


# Typed output: by a tool, and by the vendors' own structured output.


@attrs.frozen
class Invoice:
    """What an invoice says."""

    sender: str
    amount: float
    currency: Literal["EUR", "USD"]


FIELDS = {"sender": "Ada's Bakery", "amount": 240.5, "currency": "EUR"}


@pytest.mark.parametrize("name", VENDORS)
async def test_typed_output_by_a_tool(name: str) -> None:
    wrong = {**FIELDS, "amount": "240.50"}
    async with models(name, [calls("final_answer", **wrong), calls("final_answer", **FIELDS)]) as (model, server):
        result = await alloy.run("What does it say?", model=model, output=Invoice)

    assert result.output == Invoice("Ada's Bakery", 240.5, "EUR")
    assert server is not None
    assert "@ amount" in server.received[1].body.decode()


PLACES: dict[str, tuple[str, ...]] = {  # of the schema in the body
    "anthropic": ("output_config", "format", "schema"),
    "openai": ("text", "format", "schema"),
    "openai-compatible": ("response_format", "json_schema", "schema"),
    "google": ("generationConfig", "responseJsonSchema"),
    "ollama": ("format",),
}


@pytest.mark.works("Typed output by the vendors' own structured output, where they enforce it")
@pytest.mark.parametrize("name", VENDORS)
async def test_typed_output_by_the_vendors_structured_output(name: str) -> None:
    script = [says(json.dumps({**FIELDS, "currency": "euros"})), says(json.dumps(FIELDS))]
    async with models(name, script, output="schema") as (model, server):
        result = await alloy.run("What does it say?", model=model, output=Invoice)

    assert result.output == Invoice("Ada's Bakery", 240.5, "EUR")
    assert server is not None
    sent = json.loads(server.received[0].body)
    schema = sent
    for key in PLACES[name]:
        schema = schema[key]
    assert schema["required"] == ["sender", "amount", "currency"]
    assert not sent.get("tools")
    assert "@ currency" in server.received[1].body.decode()


@pytest.mark.parametrize("name", VENDORS)
async def test_a_toolset_that_gives_the_same_tools_again_leaves_the_head_of_the_request_as_it_was(name: str) -> None:
    def toolset(run: alloy.RunInfo) -> list[alloy.Tool]:
        async def look_up(key: str) -> str:
            """Look something up."""
            return key

        return [alloy.tool(look_up)]

    async with models(name, [calls("look_up", key="a"), says("done")]) as (model, server):
        await alloy.run("x", model=model, system_prompt="Be brief.", tools=[toolset])

    assert server is not None
    first, second = (json.loads(received.body) for received in server.received)
    assert first["tools"] == second["tools"]
    assert "look_up" in json.dumps(first["tools"])
