"""Messages: what the user said, what the model answered, what the tools returned."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal, TypeAlias

import attrs

from alloy.llm.content import (
    JSON,
    Audio,
    CacheMark,
    Document,
    Image,
    Media,
    Origin,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Video,
)
from alloy.llm.usage import Usage


class StopReason(StrEnum):
    """Why the model stopped, in one vocabulary for all vendors."""

    END_TURN = "end_turn"
    TOOL_USE = "tool_use"
    MAX_TOKENS = "max_tokens"
    STOP_SEQUENCE = "stop_sequence"
    REFUSAL = "refusal"
    CONTENT_FILTER = "content_filter"
    PAUSE = "pause"  # to be continued by sending the history again
    CONTEXT_WINDOW = "context_window"
    OTHER = "other"


MALFORMED_CALL = "malformed_call"  # in `StopInfo.detail`: the vendor dropped a call, and says this of it


@attrs.frozen
class StopInfo:
    """Why the model stopped: the neutral reason, and the vendor's own word in `raw`."""

    reason: StopReason
    raw: str | None = None
    sequence: str | None = attrs.field(default=None, kw_only=True)
    detail: Mapping[str, JSON] = attrs.field(factory=dict, kw_only=True)


def mint(prefix: str) -> str:
    """A new id, unique enough for ever: `prefix` and 16 hexadecimal digits."""
    return f"{prefix}_{secrets.token_hex(8)}"


def _message_id(given: str) -> str:
    return given or mint("msg")


UserContent: TypeAlias = Text | Image | Document | Audio | Video | CacheMark
AssistantContent: TypeAlias = Text | Thinking | ToolCall | Image | Document | Audio | Video | ServerTool | Unknown


def _user_content(value: str | Sequence[str | UserContent]) -> tuple[UserContent, ...]:
    if isinstance(value, str):
        return (Text(value),)
    return tuple(Text(item) if isinstance(item, str) else item for item in value)


def _assistant_content(value: str | Sequence[AssistantContent]) -> tuple[AssistantContent, ...]:
    return (Text(value),) if isinstance(value, str) else tuple(value)


@attrs.frozen
class UserMessage:
    """What the user, or the engine in the user's place, says.

    Attributes:
        source: `"user"`; `"steer"` and `"follow_up"` for text that came while a run was on;
            `"engine"` for what alloy itself added, such as a reminder.
    """

    content: tuple[UserContent, ...] = attrs.field(converter=_user_content)
    source: Literal["user", "steer", "follow_up", "engine"] = attrs.field(default="user", kw_only=True)
    id: str = attrs.field(default="", converter=_message_id, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return "".join(item.text for item in self.content if isinstance(item, Text))


@attrs.frozen
class AssistantMessage:
    """One answer of a model.

    Attributes:
        usage: None where the vendor reported none.
        model: the model that answered, as the vendor named it.
        response_id: the vendor's id of the answer.
        complete: False for what was left of an answer that broke off.
    """

    content: tuple[AssistantContent, ...] = attrs.field(converter=_assistant_content)
    stop: StopInfo = attrs.field(kw_only=True)
    usage: Usage | None = attrs.field(default=None, kw_only=True)
    model: str = attrs.field(default="", kw_only=True)
    origin: Origin | None = attrs.field(default=None, kw_only=True)
    response_id: str | None = attrs.field(default=None, kw_only=True)
    complete: bool = attrs.field(default=True, kw_only=True)
    id: str = attrs.field(default="", converter=_message_id, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return "".join(item.text for item in self.content if isinstance(item, Text))

    @property
    def thinking(self) -> str:
        """All its visible reasoning, joined."""
        return "".join(item.text for item in self.content if isinstance(item, Thinking))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls it asks for, in order."""
        return tuple([item for item in self.content if isinstance(item, ToolCall)])


def _results(value: Iterable[ToolResult]) -> tuple[ToolResult, ...]:
    return tuple(value)


@attrs.frozen
class ToolMessage:
    """The results of all calls of one assistant message, in the order of the calls."""

    results: tuple[ToolResult, ...] = attrs.field(converter=_results)
    id: str = attrs.field(default="", converter=_message_id, kw_only=True)


Message: TypeAlias = UserMessage | AssistantMessage | ToolMessage
Prompt: TypeAlias = str | UserMessage | Sequence[str | Text | Media]


def as_user_message(prompt: Prompt, *, source: Literal["user", "steer", "follow_up", "engine"] = "user") -> UserMessage:
    """Make one message of what a caller may give as a prompt.

    Raises:
        TypeError: it is neither a str, a `UserMessage` nor a sequence of str, `Text` and media.
        ValueError: it is empty.
    """
    if isinstance(prompt, UserMessage):
        return prompt
    if not isinstance(prompt, str) and not (
        isinstance(prompt, Sequence) and all(isinstance(item, str | Text | Media | CacheMark) for item in prompt)
    ):
        raise TypeError(f"a prompt is a str, a UserMessage or a sequence of str, Text and media, got {prompt!r}")
    if not prompt or (isinstance(prompt, str) and not prompt.strip()):
        raise ValueError("the prompt is empty; give some text, or prompt=None to go on with the history")
    return UserMessage(prompt, source=source)
