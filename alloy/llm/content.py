"""What a message is made of.

Every item is a frozen value. `opaque` holds what a vendor attached to it (signatures, encrypted
reasoning): it is never shown and never edited, and goes back only where the replay policy lets it.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import attrs

JSON: TypeAlias = Any  # what `json.loads` returns


@attrs.frozen
class Origin:
    """Who made a message; decides whether its opaque parts may be sent back.

    Attributes:
        dialect: the wire format, such as `"anthropic.messages"`.
        vendor: the row of the vendor table, such as `"anthropic"`.
        endpoint: the base URL that was asked.
        model: the model that was asked for, without the vendor.
    """

    dialect: str
    vendor: str
    endpoint: str
    model: str


@attrs.frozen
class Opaque:
    """A piece of vendor state attached to a content item, kept byte for byte.

    Attributes:
        type: what it is: `"signature"`, `"redacted"`, `"encrypted"`, `"reasoning_details"`, `"item"` …
        data: a string or JSON value, as it came.
        id: the vendor's own id of the item, if it gave one.
        extra: further fields that must go back with it.
    """

    origin: Origin
    type: str
    data: JSON = attrs.field(repr=False)
    id: str | None = attrs.field(default=None, kw_only=True)
    extra: Mapping[str, JSON] = attrs.field(factory=dict, kw_only=True, repr=False)


def _opaques(value: Iterable[Opaque]) -> tuple[Opaque, ...]:
    return tuple(value)


@attrs.frozen
class Content:
    """What all content items have in common."""

    opaque: tuple[Opaque, ...] = attrs.field(default=(), converter=_opaques, kw_only=True, repr=False)


@attrs.frozen
class Citation:
    """Where a text comes from; `raw` is the vendor's own object."""

    text: str | None = None
    url: str | None = None
    title: str | None = None
    raw: JSON = attrs.field(default=None, repr=False)


def _citations(value: Iterable[Citation]) -> tuple[Citation, ...]:
    return tuple(value)


@attrs.frozen
class Text(Content):
    """Text, as the user wrote it or the model answered."""

    text: str
    citations: tuple[Citation, ...] = attrs.field(default=(), converter=_citations, kw_only=True)


@attrs.frozen
class Thinking(Content):
    """Reasoning of the model; the text may be empty where the vendor keeps it to itself."""

    text: str
    summary: bool = attrs.field(default=False, kw_only=True)
    redacted: bool = attrs.field(default=False, kw_only=True)


@attrs.frozen
class ToolCall(Content):
    """The model asks for a tool.

    Attributes:
        arguments: the parsed arguments; `{}` where `parse_error` is set.
        arguments_text: the vendor's own text of them, sent back unchanged; empty if it gave none.
        parse_error: why the text is no JSON object; None if it is one.
    """

    id: str
    name: str
    arguments: Mapping[str, JSON]
    arguments_text: str = attrs.field(default="", kw_only=True)
    parse_error: str | None = attrs.field(default=None, kw_only=True)


@attrs.frozen
class MediaItem(Content):
    """A file in a message: exactly one of `data`, `url` and `file_id` is set.

    Raises:
        ValueError: none or several of the three are given, or `data` comes without `media_type`.
    """

    data: bytes | None = attrs.field(default=None, repr=False)
    media_type: str = attrs.field(default="", kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    file_id: str | None = attrs.field(default=None, kw_only=True)
    name: str | None = attrs.field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        kind = type(self).__name__
        given = [n for n in ("data", "url", "file_id") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"{kind} takes exactly one of data, url and file_id, got {' and '.join(given) or 'none'}")
        if self.data is not None and not self.media_type:
            raise ValueError(f"{kind}(data=…) needs a media_type such as {_EXAMPLES.get(kind, 'text/plain')!r}")

    @classmethod
    def from_path(cls, path: str | os.PathLike[str], *, media_type: str | None = None) -> Self:
        """Read a file from disk at once (it blocks); the media type is guessed from the name if not given.

        Raises:
            OSError: the file cannot be read.
            ValueError: no media type was given and none can be guessed.
        """
        file = Path(path)
        kind = media_type or mimetypes.guess_type(file.name)[0]
        if kind is None:
            raise ValueError(f"no media type is known for {file.name!r}; give media_type=")
        return cls(file.read_bytes(), media_type=kind, name=file.name)


_EXAMPLES = {"Image": "image/png", "Document": "application/pdf", "Audio": "audio/wav", "Video": "video/mp4"}


@attrs.frozen
class Image(MediaItem):
    """A picture."""


@attrs.frozen
class Document(MediaItem):
    """A document, such as a PDF."""


@attrs.frozen
class Audio(MediaItem):
    """A sound."""


@attrs.frozen
class Video(MediaItem):
    """A film."""


Media: TypeAlias = Image | Document | Audio | Video


@attrs.frozen
class ServerTool(Content):
    """A tool that the vendor ran itself: its call or its result, as the vendor wrote it. Never run by us."""

    stage: Literal["call", "result"]
    tool: str
    call_id: str
    payload: JSON = attrs.field(repr=False)


@attrs.frozen
class Unknown(Content):
    """A content item of a kind we do not know: kept, and sent back to the same dialect only."""

    raw: JSON


@attrs.frozen
class CacheMark:
    """Everything up to here may be cached by the vendor, for `ttl`. Stands in a user message's content."""

    ttl: str = "5m"


class Outcome(StrEnum):
    """How a tool call ended."""

    OK = "ok"
    ERROR = "error"
    INVALID = "invalid"  # the arguments do not fit
    UNKNOWN_TOOL = "unknown_tool"
    BLOCKED = "blocked"  # by a middleware
    DENIED = "denied"  # by an approver
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"  # stopped by us; it may have had effects
    NOT_STARTED = "not_started"
    INTERRUPTED = "interrupted"  # the process died while it ran


def _as_content(value: str | Sequence[Text | Image | Document]) -> tuple[Text | Image | Document, ...]:
    return (Text(value),) if isinstance(value, str) else tuple(value)


@attrs.frozen
class ToolResult(Content):
    """What one tool call came to.

    Attributes:
        content: what the model is told; a str becomes one `Text`.
        details: for the program, never sent to the model.
        stop: end the run after this batch.
        call_id, name, outcome: filled in by the executor.
    """

    content: tuple[Text | Image | Document, ...] = attrs.field(default=(), converter=_as_content)
    details: object = attrs.field(default=None, kw_only=True)
    is_error: bool = attrs.field(default=False, kw_only=True)
    stop: bool = attrs.field(default=False, kw_only=True)
    call_id: str = attrs.field(default="", kw_only=True)
    name: str = attrs.field(default="", kw_only=True)
    outcome: Outcome = attrs.field(default=Outcome.OK, kw_only=True)

    @property
    def text(self) -> str:
        """All its text, joined."""
        return "".join([item.text for item in self.content if isinstance(item, Text)])

    def of_call(self, call: ToolCall) -> ToolResult:
        """The same, as the result of this call."""
        return ToolResult(
            self.content,
            details=self.details,
            is_error=self.is_error,
            stop=self.stop,
            call_id=call.id,
            name=call.name,
            outcome=self.outcome,
            opaque=self.opaque,
        )
