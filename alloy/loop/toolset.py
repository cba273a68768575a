"""Tools that change between turns: functions that are asked for them before each."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from alloy.errors import items_of
from alloy.loop.errors import HookError
from alloy.loop.state import RunInfo
from alloy.tools import Tool, as_tools

Toolset: TypeAlias = Callable[[RunInfo], Sequence[Tool | Callable[..., Any]]]
Offer: TypeAlias = Tool | Toolset  # what stands in `Agent.tools`

_HOOK = "tools"


def as_offers(given: Iterable[Tool | Callable[..., Any]]) -> tuple[Offer, ...]:
    """Keep toolsets, and make tools of bare functions.

    Raises:
        ValueError: two tools have one name.
        TypeError: something is neither.
    """
    given = items_of("tools", given, "tools, functions and toolsets")
    fixed = iter(as_tools(item for item in given if not is_toolset(item)))
    return tuple(item if is_toolset(item) else next(fixed) for item in given)


def is_toolset(value: object) -> bool:
    """Whether this is a function of the run: all it takes is a `RunInfo`, or one thing of no type at all.

    No tool looks like that: the parameters of tools have types, which the model is told.
    """
    if isinstance(value, Tool) or inspect.isclass(value) or not callable(value):
        return False
    try:
        parameters = list(inspect.signature(value).parameters.values())
    except ValueError:  # of some built-in functions
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    match parameters:
        case [only] if only.kind in positional:
            noted = only.annotation
            name = noted.rpartition(".")[2] if isinstance(noted, str) else noted
            return name in (RunInfo, RunInfo.__name__, only.empty)
    return False


def fixed_tools(offers: Iterable[Offer]) -> tuple[Tool, ...]:
    """The tools that are there whatever the turn."""
    return tuple(offer for offer in offers if isinstance(offer, Tool))


def tools_of(offers: Sequence[Offer], run: RunInfo) -> tuple[Tool, ...]:
    """The tools for the turn that begins.

    Raises:
        HookError: a toolset raised, returned something else than tools, or one of a name that there is already.
    """
    if all(isinstance(offer, Tool) for offer in offers):
        return fixed_tools(offers)
    found: list[Tool] = []
    for offer in offers:
        found += (offer,) if isinstance(offer, Tool) else _asked(offer, run)
    try:
        return as_tools(found)
    except ValueError as error:
        raise HookError(f"the toolsets give tools of one name: {error}", hook=_HOOK) from error


def with_output_tool(tools: tuple[Tool, ...], output: Tool) -> tuple[Tool, ...]:
    """The tools of a turn, and last the one that gives the output.

    Raises:
        HookError: a toolset gave one of that name.
    """
    if output.name in (tool.name for tool in tools):
        wrong = ValueError(f"a toolset gives a tool {output.name!r}, which is the one that gives the output; rename it")
        raise HookError(str(wrong), hook=_HOOK) from wrong
    return (*tools, output)


def _asked(toolset: Toolset, run: RunInfo) -> tuple[Tool, ...]:
    name = getattr(toolset, "__qualname__", type(toolset).__name__)
    try:
        given: Any = toolset(run)
    except Exception as error:
        raise HookError(f"toolset {name!r} raised {type(error).__name__}: {error}", hook=_HOOK) from error
    try:
        if inspect.iscoroutine(given):
            given.close()  # it will never run; without this Python would warn of it
            raise TypeError("a toolset is no `async def`")
        if isinstance(given, str | Tool) or not isinstance(given, Iterable):
            raise TypeError("a toolset returns a sequence of tools")
        return as_tools(given)
    except (TypeError, ValueError) as error:
        raise HookError(
            f"toolset {name!r} returned {given!r:.200}: {error}; "
            "if it is meant to be a tool, give its parameter a type",
            hook=_HOOK,
        ) from error
