"""The agent: a frozen description of who is asked, with what, and within which limits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypedDict, TypeVar, overload

import attrs

from alloy.errors import closest_of, items_of
from alloy.llm.driver import Retry
from alloy.llm.provider import Model
from alloy.llm.request import Settings
from alloy.loop.compaction import Compaction
from alloy.loop.form import Form
from alloy.loop.middleware import Middleware
from alloy.loop.output import Goal, goal_of
from alloy.loop.result import Out
from alloy.loop.state import RunInfo
from alloy.loop.toolset import Offer, as_offers, fixed_tools
from alloy.tools import Tool

_T = TypeVar("_T")

Models: TypeAlias = str | Model | Sequence[str | Model]
SystemPrompt: TypeAlias = str | Callable[[RunInfo], str] | None


@attrs.frozen(kw_only=True)
class Limits:
    """Bounds of one run.

    Attributes:
        max_turns: how many answers a model may give; 0 asks none.
        max_tool_calls: how many tool calls may run; None for no limit. The run ends with status `budget`
            after the batch that would exceed it, whose further calls do not run.
        parallel_tools: how many calls of one batch may run at once.
        tool_timeout: seconds, for each call of a tool that sets no timeout of its own.
        wrap_up: after `max_turns`, let the model give one last answer without tools.

    Raises:
        ValueError: a value is out of its bounds.
        TypeError: a value is no number.
    """

    max_turns: int = 25
    max_tool_calls: int | None = None
    parallel_tools: int = 16
    tool_timeout: float = 120.0
    wrap_up: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("max_turns", "max_tool_calls", "parallel_tools"):
            value = getattr(self, name)
            if not isinstance(value, int) and not (value is None and name == "max_tool_calls"):
                raise TypeError(f"{name} must be an int, got {value!r}")
        if self.max_turns < 0:
            raise ValueError(f"max_turns must be 0 or more, got {self.max_turns!r}")
        if self.max_tool_calls is not None and self.max_tool_calls < 0:
            raise ValueError(f"max_tool_calls must be 0 or more, or None, got {self.max_tool_calls!r}")
        if self.parallel_tools < 1:
            raise ValueError(f"parallel_tools must be 1 or more, got {self.parallel_tools!r}")
        if not self.tool_timeout > 0:
            raise ValueError(f"tool_timeout must be more than 0, got {self.tool_timeout!r}")


def _model(value: Models) -> str | Model | tuple[str | Model, ...]:
    return value if isinstance(value, str | Model) or not isinstance(value, Sequence) else tuple(value)


def _middleware(value: Iterable[Middleware]) -> tuple[Middleware, ...]:
    return items_of("middleware", value, "instances of Middleware")


@attrs.frozen(kw_only=True)
class Agent(Generic[Out]):
    """An immutable description, safe to run many times at once.

    Attributes:
        model: `"vendor:model"`, or what `alloy.model` or `alloy.testing.ScriptedModel` made; or several of these,
            a fallback chain: the next one is asked when one fails by no fault of the request.
        system_prompt: a text, or a function of the run that makes one when the run starts. alloy adds nothing
            to it but the context files that `discover` asks for.
        tools: tools, or bare typed functions, which are as if decorated with `@tool`; or toolsets, functions that
            take a `RunInfo` and return such, and are asked before each turn.
        output: the type of the result's `output`: an attrs class, a dataclass, a TypedDict, or a `Form` of any other
            type that JSON can hold. The run is complete only when the model has given a value that fits.
        until_tool: the run is complete only when the model has called this tool successfully; its arguments
            are the result's `output`.
        compaction: how a conversation goes on that outgrows the model's window.
        discover: add the context files `.alloy/context/*.md` of the home directory, the git root and the
            working directory to the system prompt, and a list of the skills `.alloy/skills/**/*.md`, which the model
            reads with a tool; or of the folders given here.
        working_directory: what the file tools work in; relative to the process's own.

    Raises:
        ValueError: two tools have one name, no tool is called `until_tool`, or `model` is an empty sequence.
        TypeError: something is of the wrong kind; `output` and `until_tool` are both given.
    """

    model: str | Model | tuple[str | Model, ...] = attrs.field(converter=_model)
    system_prompt: SystemPrompt = None
    tools: tuple[Offer, ...] = attrs.field(default=(), converter=as_offers)
    name: str = "agent"
    output: type[Out] | Form[Out] | None = None
    until_tool: str | None = None
    middleware: tuple[Middleware, ...] = attrs.field(default=(), converter=_middleware)
    limits: Limits = Limits()
    retry: Retry = Retry()
    compaction: Compaction = Compaction()
    discover: bool | Sequence[str | os.PathLike[str]] = False
    settings: Settings = Settings()
    working_directory: str | os.PathLike[str] = "."
    goal: Goal | None = attrs.field(
        default=attrs.Factory(lambda self: goal_of(self.output, self.until_tool), takes_self=True),
        init=False,
        eq=False,
        repr=False,
    )

    def __attrs_post_init__(self) -> None:
        for field, kind in (
            ("limits", Limits),
            ("retry", Retry),
            ("compaction", Compaction),
            ("settings", Settings),
            ("name", str),
        ):
            if not isinstance(value := getattr(self, field), kind):
                raise TypeError(f"{field} must be a {kind.__name__}, got {value!r}")
        if not (self.system_prompt is None or isinstance(self.system_prompt, str) or callable(self.system_prompt)):
            raise TypeError(f"system_prompt must be a str, a function of the run, or None, got {self.system_prompt!r}")
        if not isinstance(self.working_directory, str | os.PathLike):
            raise TypeError(f"working_directory must be a path, got {self.working_directory!r}")
        if not isinstance(self.discover, bool):
            items_of("discover", self.discover, "folders, or True or False")
        for model in self.models:
            if not isinstance(model, str | Model):
                raise TypeError(f"model must be 'vendor:model' or a Model, or a sequence of these, got {model!r}")
        if not self.models:
            raise ValueError("model is a sequence without a model; name at least one")
        for middleware in self.middleware:
            if not isinstance(middleware, Middleware):
                raise TypeError(f"middleware must be instances of Middleware, got {middleware!r}")
        self._check_names([tool.name for tool in fixed_tools(self.tools)])

    @property
    def models(self) -> tuple[str | Model, ...]:
        """The fallback chain, first choice first; of one model where there is no other."""
        return self.model if isinstance(self.model, tuple) else (self.model,)

    def _check_names(self, names: Sequence[str]) -> None:
        """Check what does not wait for the toolsets."""
        if (goal := self.goal) is None:
            return
        if goal.tool is not None and goal.name in names:
            raise ValueError(f"the tool {goal.name!r} has the name of the one that gives the output; rename it")
        has_toolsets = len(names) < len(self.tools)
        if goal.tool is None and goal.name not in names and not has_toolsets:
            raise ValueError(f"until_tool {goal.name!r} is no tool of the agent; it has {_listed(names)}")

    @overload
    def evolve(self, *, output: type[_T] | Form[_T], **changes: Any) -> Agent[_T]: ...
    @overload
    def evolve(self, **changes: Any) -> Agent[Out]: ...
    def evolve(self, **changes: Any) -> Agent[Any]:
        """A copy with these fields changed. `max_turns=5` is short for limits with that one changed.

        Raises:
            TypeError: there is no such field.
        """
        return attrs.evolve(self, **as_fields(changes, self.limits))


class AgentChanges(TypedDict, Generic[Out], total=False):
    """What `run` and its like take besides an agent: fields of `Agent`, and `max_turns` for short."""

    model: Models
    system_prompt: SystemPrompt
    tools: Sequence[Tool | Callable[..., Any]]
    name: str
    output: type[Out] | Form[Out] | None
    until_tool: str | None
    middleware: Sequence[Middleware]
    limits: Limits
    max_turns: int
    retry: Retry
    compaction: Compaction
    discover: bool | Sequence[str | os.PathLike[str]]
    settings: Settings
    working_directory: str | os.PathLike[str]


def as_fields(changes: Mapping[str, Any], limits: Limits = Limits(), *, also: Iterable[str] = ()) -> dict[str, Any]:
    """Turn what a caller may change into fields of `Agent`.

    Raises:
        TypeError: an option is neither a field, nor `max_turns`, nor one of `also`; names the closest.
    """
    known = [*(field.name for field in attrs.fields(Agent) if field.init), "max_turns", *also]
    for name in changes:
        if name not in known:
            raise TypeError(f"unknown option {name!r}{closest_of(name, known)}; known: {', '.join(sorted(known))}")
    fields = dict(changes)
    if "max_turns" in fields:
        fields["limits"] = attrs.evolve(fields.get("limits", limits), max_turns=fields.pop("max_turns"))
    return fields


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names)) or "none"
