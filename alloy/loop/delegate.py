"""Agents as tools: ask one and go on with its answer, or hand the conversation over to it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Protocol, TypeAlias, runtime_checkable
from weakref import WeakKeyDictionary

import attrs

from alloy.llm.content import ToolResult
from alloy.llm.message import Prompt
from alloy.loop.agent import Agent
from alloy.loop.errors import DelegationTooDeep
from alloy.loop.result import Result, Status
from alloy.tools import Tool, ToolContext, ToolError, tool
from alloy.tools.results import json_text

MAX_DEPTH = 8  # agents that work for each other in one chain, the root included


@runtime_checkable
class Chats(Protocol):
    """An agent that lives somewhere else: an `AgentRef` is one."""

    @property
    def name(self) -> str:
        """What it is called."""
        ...

    async def chat(self, prompt: Prompt) -> Result[Any]:
        """Let it work on a prompt, and wait for the result."""
        ...


Target: TypeAlias = Agent[Any] | Chats | str


@attrs.frozen
class Handoff:
    """Stands in a tool result's `details`: the run goes on as this agent."""

    agent: Agent[Any]


def deeper(path: tuple[str, ...], name: str) -> tuple[str, ...]:
    """The path of an agent that works for the one at `path`.

    Raises:
        DelegationTooDeep: it would be the ninth in a row.
    """
    longer = (*path, name)
    if len(longer) > MAX_DEPTH:
        chain = " → ".join(longer)
        raise DelegationTooDeep(f"{len(longer)} agents work for each other, {MAX_DEPTH} may: {chain}", path=longer)
    return longer


def as_tool(target: Target, *, name: str | None = None, description: str | None = None) -> Tool:
    """Make a tool that asks another agent and returns its answer. Calls of it may run side by side.

    Args:
        target: an `Agent`, which is run afresh at each call, within the run that calls; an `AgentRef`; or the name
            of a member of the team.
        name: by default the target's own.
        description: for the model; by default that the agent can be asked.

    Raises:
        TypeError: `target` is none of these.
        ValueError: the name cannot be a tool's.
    """
    if not isinstance(target, Agent | Chats | str):
        raise TypeError(f"as_tool takes an Agent, an AgentRef or a member's name, got {target!r}")
    called = target if isinstance(target, str) else target.name

    async def ask(prompt: Annotated[str, "What it is to do, with all it has to know."], *, context: ToolContext) -> str:
        result = await context.delegate(target, prompt)
        if result.status is not Status.COMPLETED:
            why = f": {result.reason}" if result.reason else ""
            said = f"; it said: {result.text}" if result.text else ""
            raise ToolError(f"{called} did not finish ({result.status!s}{why}){said}")
        return told(result)

    return tool(
        ask,
        name=name or _tool_name(called),
        description=description or f"Ask the agent {called!r} to work on something, and get its answer.",
        concurrent=True,
        # Its run is written down as one of its own: called again, it goes on where that was.
        replay="safe" if isinstance(target, Agent) else "never",
    )


def told(result: Result[Any]) -> str:
    """What another agent is told of a result: its output as JSON, or its text where there is none."""
    return json_text(result.output) if result.has_output else result.text


def handoff_to(agent: Agent[Any], *, name: str | None = None) -> Tool:
    """Make a tool that ends the turn and lets `agent` go on in the same run.

    The history stays; prompt, tools, model and limits are the other agent's from then on, and the turns count on.

    Args:
        agent: who goes on; `Result.agent` then names it.
        name: by default `transfer_to_<agent's name>`.

    Raises:
        TypeError: `agent` is no Agent.
        ValueError: the name cannot be a tool's.
    """
    if not isinstance(agent, Agent):
        raise TypeError(f"handoff_to takes an Agent, got {agent!r}")

    async def transfer() -> ToolResult:
        return ToolResult(f"{agent.name} goes on from here", details=Handoff(agent))

    _handoffs[transfer] = agent
    return tool(
        transfer,
        name=name or f"transfer_to_{_tool_name(agent.name)}",
        description=f"Let the agent {agent.name!r} go on with this conversation.",
        replay="safe",
    )


_handoffs: WeakKeyDictionary[Callable[..., Any], Agent[Any]] = WeakKeyDictionary()  # by what the tools call


def handoff_target(tool: Tool) -> Agent[Any] | None:
    """Whom a tool hands over to; None for any other tool."""
    return _handoffs.get(tool.function)


def _tool_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:50] or "agent"
