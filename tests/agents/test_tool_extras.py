"""What tools may do besides answering: stop, report, show images, be stopped; in a run and in an agent server."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import trio
import trio.testing

import alloy
from alloy import Image, Outcome, Status, ToolContext, ToolResult
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import idempotency_key, read_file
from end_to_end.vendors import VENDORS, vendor

MockClock = trio.testing.MockClock
Ask: TypeAlias = Callable[[str], Awaitable[alloy.Result]]
Way: TypeAlias = Callable[[alloy.Agent], AbstractAsyncContextManager[Ask]]

# The smallest picture there is: one transparent pixel.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


@asynccontextmanager
async def by_run(agent: alloy.Agent) -> AsyncIterator[Ask]:
    async def ask(prompt: str) -> alloy.Result:
        return await alloy.run(prompt, agent)

    yield ask


@asynccontextmanager
async def by_server(agent: alloy.Agent) -> AsyncIterator[Ask]:
    async with alloy.open_agent(agent) as ref:
        yield ref.chat


BOTH = pytest.mark.parametrize("way", [by_run, by_server])


async def nap(seconds: float) -> str:
    """Sleep."""
    await trio.sleep(seconds)
    return "rested"


@BOTH
async def test_a_result_that_stops_ends_the_run_after_its_batch(way: Way) -> None:
    ran: list[str] = []

    async def hang_up() -> ToolResult:
        """End the call."""
        return ToolResult("bye", stop=True)

    async def note(text: str) -> None:
        """Note something."""
        ran.append(text)

    model = ScriptedModel([calls("hang_up"), calls("note", text="after")])
    async with way(alloy.Agent(model=model, tools=[hang_up, note])) as ask:
        result = await ask("x")

    assert (result.status, result.turns, ran) == (Status.COMPLETED, 1, ["after"])
    assert [told.text for told in result.messages[-1].results] == ["bye", "null"]  # type: ignore[union-attr]


@BOTH
async def test_each_call_has_an_idempotency_key_of_run_and_call(way: Way) -> None:
    contexts: list[ToolContext] = []

    @alloy.tool(replay="key")
    async def pay(amount: int, context: ToolContext) -> str:
        """Pay."""
        contexts.append(context)
        return "paid"

    model = ScriptedModel([calls("pay", amount=1), calls("pay", amount=1)], says("done"))
    async with way(alloy.Agent(model=model, tools=[pay])) as ask:
        result = await ask("x")

    keys = [context.idempotency_key for context in contexts]
    assert keys == [idempotency_key(result.run_id, record.id) for record in result.tool_calls]
    assert len(set(keys)) == 2


async def test_progress_is_seen_by_whoever_watches_and_not_by_the_model(autojump_clock: MockClock) -> None:
    async def build(context: ToolContext) -> str:
        """Build."""
        for percent in (50, 100):
            await trio.sleep(1)
            context.progress({"percent": percent})
        return "built"

    model = ScriptedModel(calls("build", id="c1"), says("done"))
    seen: list[alloy.ToolProgress] = []
    async with alloy.open_agent(alloy.Agent(model=model, tools=[build])) as ref, ref.subscribe() as events:
        await ref.chat("x")
        async for event in events:
            if isinstance(event, alloy.ToolProgress):
                seen.append(event)
            if isinstance(event, alloy.RunFinished):
                break

    assert [(event.call_id, event.data) for event in seen] == [("c1", {"percent": 50}), ("c1", {"percent": 100})]
    assert "percent" not in str(model.requests[1].messages)


async def test_a_thread_reports_its_progress_too() -> None:
    def build(context: ToolContext) -> str:
        """Build."""
        context.progress("half")
        return "built"

    seen: list[alloy.Event] = []

    await alloy.run("x", model=ScriptedModel(calls("build"), says("done")), tools=[build], on_event=seen.append)

    assert [event.data for event in seen if isinstance(event, alloy.ToolProgress)] == ["half"]


@BOTH
async def test_an_image_file_is_shown_to_the_model_as_an_image(way: Way, tmp_path: Path) -> None:
    (tmp_path / "pixel.png").write_bytes(PNG)
    model = ScriptedModel(calls("read_file", path="pixel.png"), says("a pixel"))
    async with way(alloy.Agent(model=model, tools=[read_file], working_directory=tmp_path)) as ask:
        result = await ask("x")

    (told,) = model.requests[1].messages[-1].results  # type: ignore[union-attr]
    assert told.content == (Image(PNG, media_type="image/png", name="pixel.png"),)
    assert alloy.from_json(json.loads(json.dumps(alloy.to_json(result.messages[2])))) == result.messages[2]


@pytest.mark.works("Tools show images: as results where the vendor takes them there, else in a message of their own")
@pytest.mark.parametrize("name", VENDORS)
async def test_every_dialect_sends_an_image_that_a_tool_returned(name: str, tmp_path: Path) -> None:
    (tmp_path / "pixel.png").write_bytes(PNG)
    turns = ([("call_1", "read_file", {"path": "pixel.png"})], "A pixel.")
    async with vendor(name, *turns) as server:
        model = alloy.model(VENDORS[name][3], base_url=server.url + "/v1" * (name != "anthropic"), api_key="k")
        result = await alloy.run("x", model=model, tools=[read_file], working_directory=tmp_path)

    assert result.text == "A pixel."
    assert base64.b64encode(PNG).decode() in server.received[1].body.decode()


async def test_stopping_one_call_leaves_its_siblings_and_the_run(autojump_clock: MockClock) -> None:
    model = ScriptedModel(
        [calls("nap", id="a", seconds=50), calls("nap", id="b", seconds=60), calls("nap", id="c", seconds=70)],
        says("so be it"),
    )
    agent = alloy.Agent(model=model, tools=[alloy.tool(nap, concurrent=True)])
    async with alloy.open_agent(agent) as ref:
        request = await ref.send_message("x")
        await trio.sleep(1)
        assert await ref.cancel_tool("b")
        assert not await ref.cancel_tool("b")
        result = await ref.result(request)

    assert [record.outcome for record in result.tool_calls] == [Outcome.OK, Outcome.CANCELLED, Outcome.OK]
    told = model.requests[1].messages[-1].results[1]  # type: ignore[union-attr]
    assert told.text == "cancelled: it was stopped; it may have had effects"
    assert result.text == "so be it"


async def test_a_call_of_an_agent_inside_can_be_stopped_from_outside(autojump_clock: MockClock) -> None:
    inner = alloy.Agent(model=ScriptedModel(calls("nap", id="deep", seconds=50), says("interrupted")), tools=[nap])
    model = ScriptedModel(calls("helper", prompt="go"), says("done"))
    async with alloy.open_agent(alloy.Agent(model=model, tools=[alloy.as_tool(inner, name="helper")])) as ref:
        request = await ref.send_message("x")
        await trio.sleep(1)
        assert await ref.cancel_tool("deep")
        result = await ref.result(request)
        assert not await ref.cancel_tool("deep")

    assert model.requests[1].messages[-1].results[0].text == "interrupted"  # type: ignore[union-attr]
    assert (result.text, trio.current_time()) == ("done", 1)
