"""A tool: a typed function, with what a model is told of it and how it is to be run."""

from __future__ import annotations

import inspect
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from types import FrameType
from typing import Any, Literal, TypeAlias, TypedDict, Unpack, get_args, overload

import attrs

from alloy.errors import closest_of
from alloy.llm.content import JSON
from alloy.tools.schema import arguments_of, read, schema
from alloy.tools.shapes import Shape
from alloy.tools.signature import read_signature
from alloy.tools.worker import target_of

Isolation: TypeAlias = Literal["task", "thread", "process"]
Replay: TypeAlias = Literal["never", "safe", "key"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@attrs.frozen(eq=False, kw_only=True)
class Tool:
    """A function that a model may call. Made by `tool`; calling it calls the function.

    Attributes:
        function: what is run.
        name: what the model calls it, `[A-Za-z0-9_-]{1,64}`.
        description: when and how to use it, for the model.
        arguments: reads the arguments that the model gives.
        parameters: JSON Schema of the arguments, an object.
        context: the name of the parameter that takes a `ToolContext`; None if there is none.
        concurrent: it may run beside other calls that may; else it runs alone, in its place in the order.
        max_result_chars: the middle of a longer result is left out.
        timeout: seconds that a call may take; None for the limit of the run.
        isolation: it runs as a task, in a thread that cannot be stopped, or in a process that can be killed.
        replay: what to do with a call that was under way when the program died: `"never"` run it again;
            it is `"safe"` to; or the `"key"` of the context makes it so.
        approve: someone has to approve each call.
        strict: ask the vendor to hold the arguments to the schema, where it can.

    Raises:
        ValueError: an option is out of its bounds.
        TypeError: the function cannot be run with this isolation.
    """

    function: Callable[..., Any] = attrs.field(repr=False)
    name: str
    description: str = attrs.field(default="", repr=False)
    arguments: Shape = attrs.field(repr=False)
    parameters: Mapping[str, JSON] = attrs.field(repr=False)
    context: str | None = None
    concurrent: bool = False
    max_result_chars: int = 30_000
    timeout: float | None = None
    isolation: Isolation
    replay: Replay = "never"
    approve: bool = False
    strict: bool = True

    def __attrs_post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"a tool's name must be 1 to 64 of A-Z, a-z, 0-9, _ and -, got {self.name!r}")
        if self.max_result_chars < 1:
            raise ValueError(f"max_result_chars must be 1 or more, got {self.max_result_chars!r}")
        if self.timeout is not None and not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout must be seconds, more than 0 and finite, got {self.timeout!r}")
        if self.replay not in get_args(Replay):
            raise ValueError(f"replay must be one of {', '.join(get_args(Replay))}, got {self.replay!r}")
        self._check_isolation()

    def _check_isolation(self) -> None:
        match self.isolation, is_async(self.function):
            case "task", False:
                raise TypeError(f"tool {self.name!r} is no `async def`: as a task it would block all others")
            case "thread", True:
                raise TypeError(f"tool {self.name!r} is `async def`, and so runs as a task or in a process")
            case "process", _:
                if self.context is not None:
                    raise TypeError(f"tool {self.name!r} runs in a process of its own, where there is no context")
                target_of(self.function)  # raises if it has none
            case (("task" | "thread"), _):
                pass
            case unknown, _:
                raise ValueError(f"isolation must be one of {', '.join(get_args(Isolation))}, got {unknown!r}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function itself, without checks and limits; of an `async def`, await what this returns."""
        return self.function(*args, **kwargs)

    def parse(self, arguments: Mapping[str, JSON]) -> dict[str, Any]:
        """Return the function's keyword arguments for what a model gave, those left out by their default.

        Raises:
            ValidationError: they do not fit; it names every problem and where it is.
        """
        parsed: dict[str, Any] = read(self.arguments, dict(arguments))
        return parsed


class ToolOptions(TypedDict, total=False):
    """What `tool` takes: fields of `Tool`."""

    name: str
    description: str
    concurrent: bool
    max_result_chars: int
    timeout: float | None
    isolation: Isolation
    replay: Replay
    approve: bool
    strict: bool


@overload
def tool(function: Callable[..., Any], /, **options: Unpack[ToolOptions]) -> Tool: ...
@overload
def tool(**options: Unpack[ToolOptions]) -> Callable[[Callable[..., Any]], Tool]: ...
def tool(
    function: Callable[..., Any] | None = None, /, **options: Unpack[ToolOptions]
) -> Tool | Callable[[Callable[..., Any]], Tool]:
    """Make a tool of a typed function, bound method, `functools.partial`, or object with `__call__`.

    The model reads the docstring up to the first section on parameters, results or errors; what it says of each
    parameter (Google or Sphinx form), unless `Annotated[int, "…"]` says it; and the types. A parameter of type
    `ToolContext`, under any name, is filled in by alloy.

        @tool
        async def search(query: Annotated[str, "What to look for."], limit: int = 5) -> list[Hit]: ...

        @tool(concurrent=True, timeout=10.0)
        def add(a: int, b: int) -> int: ...

    Args:
        function: what is to become a tool, or a tool, for one with other options; without it, a decorator is returned.
        options: fields of `Tool`. By default name and description are the function's own, and `isolation` is
            `"task"` for `async def` and `"thread"` for `def`.

    Raises:
        TypeError: a parameter has no type, or one that JSON cannot hold; or it is no function that a model could call.
        ValueError: an option is out of its bounds.
    """
    if function is not None:
        return _make(function, options, sys._getframe(1))
    return lambda function: _make(function, options, sys._getframe(1))


def _make(function: Callable[..., Any], options: ToolOptions, frame: FrameType) -> Tool:
    for name in options:
        if name not in (known := ToolOptions.__annotations__):
            raise TypeError(f"unknown option {name!r}{closest_of(name, known)}; known: {', '.join(sorted(known))}")
    if isinstance(function, Tool):
        return attrs.evolve(function, **options)
    signature = read_signature(function, frame)
    defaults = ToolOptions(
        name=signature.name,
        description=signature.description,
        isolation="task" if is_async(function) else "thread",
    )
    return Tool(
        function=function,
        arguments=signature.arguments,
        parameters=schema(signature.arguments),
        context=signature.context,
        **(defaults | options),
    )


def tool_of_type(tp: Any, *, name: str, description: str, function: Callable[[Any], Any]) -> Tool:
    """Make a tool by which a model gives a value of a type: its parameters are the fields of the type.

    What is no object in JSON stands in one field, `value`.

    Args:
        tp: whatever annotation `alloy.tools.schema_of` takes.
        name: what the model calls it.
        description: for the model.
        function: an `async def` of one argument, `value`.

    Raises:
        TypeError: JSON cannot hold the type.
    """
    arguments, parameters = arguments_of(tp)
    return Tool(
        function=function,
        name=name,
        description=description,
        arguments=arguments,
        parameters=parameters,
        isolation="task",
    )


def as_tools(tools: Iterable[Tool | Callable[..., Any]]) -> tuple[Tool, ...]:
    """Return these as tools: a bare function is as if decorated with `@tool`. That is done once per function.

    Raises:
        ValueError: two have the same name.
        TypeError: as `tool`.
    """
    made = tuple(item if isinstance(item, Tool) else _as_tool(item) for item in tools)
    names = [item.name for item in made]
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(
            f"several tools are called {', '.join(map(repr, twice))}; give them other names: tool(…, name=…)"
        )
    return made


def is_async(function: Callable[..., Any]) -> bool:
    """Whether calling it gives something to await."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__)


def _as_tool(function: Callable[..., Any]) -> Tool:
    if not inspect.isfunction(function):
        return _make(function, {}, sys._getframe())  # there is no place to keep it
    if (made := vars(function).get("__alloy_tool__")) is None:
        made = _make(function, {}, sys._getframe())
        function.__alloy_tool__ = made  # type: ignore[attr-defined]  # functions take any attribute
    assert isinstance(made, Tool)
    return made
