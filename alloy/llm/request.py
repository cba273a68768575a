"""What is asked of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from alloy.llm.content import JSON
from alloy.llm.message import Message
from alloy.llm.transcript import as_messages

Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
EFFORTS: tuple[Effort, ...] = ("none", "minimal", "low", "medium", "high", "xhigh", "max")


def _strings(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


@attrs.frozen(kw_only=True)
class Settings:
    """How a model is to answer, by neutral names; None leaves it to the vendor.

    Attributes:
        max_output_tokens: the most tokens of one answer, reasoning included.
        temperature: 0 and up.
        effort: how hard to think.
        tool_choice: `"auto"`, `"none"`, `"required"`, or the name of a tool to call; None as `"auto"`.
        parallel_tool_calls: False allows one tool call an answer.
        stop: texts that end the answer.
        cache: ask for the vendor's prompt cache, where that has to be asked for.
        vendor: fields for the body of the request as the vendor names them; they win over all others.

    Raises:
        ValueError: a value is out of its bounds.
        TypeError: a value is no number.
    """

    max_output_tokens: int | None = None
    temperature: float | None = None
    effort: Effort | None = None
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    stop: tuple[str, ...] = attrs.field(default=(), converter=_strings)
    cache: bool = True
    vendor: Mapping[str, JSON] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        for name in ("max_output_tokens", "temperature"):
            if not isinstance(value := getattr(self, name), int | float | None):
                raise TypeError(f"{name} must be a number, or None, got {value!r}")
        if self.max_output_tokens is not None and self.max_output_tokens < 1:
            raise ValueError(f"max_output_tokens must be 1 or more, got {self.max_output_tokens!r}")
        if self.temperature is not None and self.temperature < 0:
            raise ValueError(f"temperature must be 0 or more, got {self.temperature!r}")
        if self.effort is not None and self.effort not in EFFORTS:
            raise ValueError(f"effort must be one of {', '.join(EFFORTS)}, got {self.effort!r}")


@runtime_checkable
class ToolDefinition(Protocol):
    """What a model is told of a tool. `alloy.Tool` is one."""

    @property
    def name(self) -> str:
        """By which the model calls it: no two tools of one request share it."""
        ...

    @property
    def description(self) -> str:
        """What it does, as the model reads it."""
        ...

    @property
    def parameters(self) -> Mapping[str, JSON]:
        """JSON Schema of the arguments, an object."""
        ...

    @property
    def strict(self) -> bool:
        """Ask the vendor to hold the arguments to the schema, where it can."""
        ...


def _tools(value: Iterable[ToolDefinition]) -> tuple[ToolDefinition, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class Request:
    """One question to a model: everything it gets, in neutral form.

    Attributes:
        model: the model's name at its vendor.
        system: the system prompt; empty for none.
        messages: the history, sendable as it stands.
        output_schema: JSON Schema that the answer's text is to fit, where the vendor can hold it to one.
    """

    model: str
    system: str = ""
    messages: tuple[Message, ...] = attrs.field(converter=as_messages)
    tools: tuple[ToolDefinition, ...] = attrs.field(default=(), converter=_tools)
    settings: Settings = Settings()
    output_schema: JSON | None = None
