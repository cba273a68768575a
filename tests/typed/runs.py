"""What a type checker sees of running an agent. `nox -s types` checks this file; nobody runs it.

A line that ends in `type: ignore[…]` must be an error: a strict checker complains of an ignore too many.
"""

from __future__ import annotations

from typing import Any, assert_type

import alloy
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import core_tools, read_file


@alloy.tool
async def plain(a: int) -> int:
    """Take a number."""
    return a


@alloy.tool(concurrent=True, timeout=1.0)
def with_options(a: int, *, context: alloy.ToolContext) -> str:
    """Take a number."""
    return f"{context.call_id}: {a}"


def bare(text: str) -> str:
    """Take a text."""
    return text


async def runs(http: alloy.HTTP) -> None:
    agent = alloy.Agent(model="anthropic:claude-sonnet-4-6", tools=[plain, with_options, bare, read_file])
    result = await alloy.run("hello", agent, http=http, max_turns=3)
    assert_type(result, alloy.Result[Any])
    assert_type(result.text, str)
    assert_type(result.status, alloy.Status)
    assert_type(result.messages, tuple[alloy.Message, ...])
    assert_type(result.tool_calls, tuple[alloy.ToolCallRecord, ...])

    assert_type(alloy.run_sync("hello", model=alloy.model("scripted:echo"), tools=core_tools()), alloy.Result[Any])
    assert_type(alloy.run_sync("hello", model=ScriptedModel(calls("plain", a=1), says("1"))), alloy.Result[Any])
    await alloy.run("again", agent, history=result.messages)

    await alloy.run("hello", agent, modell="openai:gpt-5.5")  # type: ignore[call-arg]
    await alloy.run("hello", agent, max_turns="3")  # type: ignore[arg-type]
    alloy.Agent(tools=[plain])  # type: ignore[call-arg]
    result.text = "frozen"  # type: ignore[misc]


async def streams(agent: alloy.Agent[Any]) -> None:
    async with alloy.stream("hello", agent) as stream:
        assert_type(stream, alloy.Stream[Any])
        async for event in stream:
            match event:
                case alloy.TextDelta(text=text):
                    assert_type(text, str)
                case alloy.ToolFinished(record=record, result=tool_result):
                    assert_type(record, alloy.ToolCallRecord)
                    assert_type(tool_result, alloy.ToolResult)
                case alloy.RunFinished(result=result):
                    assert_type(result, alloy.Result[Any])
                case _:
                    assert_type(event.seq, int)
        assert_type(await stream.text(), str)
        assert_type(stream.snapshot(), alloy.Result[Any])


class Watch(alloy.Middleware):
    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Block | alloy.Edit | None:
        return alloy.Block("no") if call.name == "bash" else None

    async def after_completion(self, run: alloy.RunInfo, message: alloy.AssistantMessage) -> alloy.Continue | None:
        return None


class Wrong(alloy.Middleware):
    async def after_completion(self, run: alloy.RunInfo, message: alloy.AssistantMessage) -> str:  # type: ignore[override]
        return ""


def errors(error: alloy.AlloyError) -> None:
    assert_type(error.result, alloy.Result[Any] | None)
    match error:
        case alloy.RateLimited():
            assert_type(error.retry_after, float | None)
        case alloy.MissingKey():
            assert_type(error.variable, str)
        case _:
            pass
