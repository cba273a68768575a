"""What a tool returned, as the model is told it. Pure."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import inspect
import json
import os
import uuid
from collections.abc import Mapping, Sequence, Set
from typing import Any, TypeAlias

import attrs

from alloy.llm.content import Content, Document, Image, MediaItem, Outcome, Text, ToolResult
from alloy.tools.errors import Fatal, ToolError

Told: TypeAlias = Text | Image | Document


def as_result(value: object) -> ToolResult:
    """Make a result of whatever a tool returned.

    Text and content stay what they are, bytes are read as UTF-8, anything else becomes JSON. What cannot be
    encoded as UTF-8 is replaced. An outcome that says that something went wrong makes it an error result.

    Raises:
        ToolError: the value is neither text nor content, and JSON cannot hold it.
    """
    match value:
        case str():
            return ToolResult(encodable(value))
        case bytes() | bytearray():
            return ToolResult(value.decode("utf-8", "replace"))
        case ToolResult():
            outcome = Outcome.ERROR if value.is_error and value.outcome is Outcome.OK else value.outcome
            content = [_told(item) for item in value.content]
            return attrs.evolve(value, content=content, outcome=outcome, is_error=outcome is not Outcome.OK)
        case Text() | MediaItem():
            return ToolResult([_told(value)])
        case list() | tuple() if any(isinstance(item, Content) for item in value):
            return ToolResult([_told(item) for item in value])
        case _:
            return ToolResult(encodable(_as_json(value)))


def error_result(text: str, outcome: Outcome = Outcome.ERROR) -> ToolResult:
    """A result that tells the model what went wrong."""
    return ToolResult(encodable(text), is_error=True, outcome=outcome)


def describe(error: BaseException) -> str:
    """What a model is told of an error: the message of a ToolError, else type and message; of a group, each of it."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(describe(inner) for inner in error.exceptions)
    name = type(error).__name__
    try:
        message = str(error)
    except Exception:  # its __str__ is as broken as the tool
        message = "(its message cannot be read)"
    if isinstance(error, ToolError | Fatal):
        return message or name
    return f"{name}: {message}" if message else name


def json_text(value: object) -> str:
    """Write a value as JSON: attrs classes, dataclasses and what else a program is made of as one expects.

    Raises:
        TypeError: it holds something that has no form in JSON; the message names the type.
        ValueError: it contains itself.
        RecursionError: it is nested too deeply.
    """
    return _ENCODER.encode(value)


def encodable(text: str) -> str:
    """Replace what UTF-8 cannot encode; two surrogates that belong together become the character they mean."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def cut(result: ToolResult, limit: int, spilled_to: str | None = None) -> ToolResult:
    """Leave out the middle of the text so that head, marker and tail have `limit` characters at most.

    Args:
        result: what may be too long.
        limit: characters, of all its texts together.
        spilled_to: where the whole can be read; named in the marker if there is room for it.
    """
    total = len(result.text)
    if total <= limit:
        return result
    marker, room = _marker(total, limit, spilled_to)
    head, tail = room - room // 2, room // 2
    return attrs.evolve(result, content=_without_middle(result.content, head, total - tail, marker))


def _marker(total: int, limit: int, spilled_to: str | None) -> tuple[str, int]:
    """The most telling marker that there is room for, and how many characters then remain for the text."""
    forms = ["\n[… {} characters are left out …]\n", "…"]
    if spilled_to:
        forms.insert(0, f"\n[… {{}} characters are left out; all of it is in {spilled_to} …]\n")
    for form in forms:
        room = limit - len(form.format(total))  # more digits than the number that is told cannot have
        if room >= 0:
            return form.format(total - room), room
    return "", limit


def _without_middle(content: Sequence[Told], start: int, end: int, marker: str) -> list[Told]:
    """Replace the characters from `start` to `end`, counted through all texts, by the marker."""
    kept: list[Told] = []
    position = 0
    for item in content:
        if not isinstance(item, Text):
            kept.append(item)
            continue
        first, last = position, position + len(item.text)
        position = last
        head = item.text[: max(0, start - first)]
        tail = item.text[max(0, end - first) :] if last > end else ""
        middle = marker if first <= start < last else ""
        if head or middle or tail:
            kept.append(attrs.evolve(item, text=head + middle + tail))
    return kept


def _told(item: object) -> Told:
    match item:
        case str():
            return Text(encodable(item))
        case Text() if (text := encodable(item.text)) is not item.text:
            return attrs.evolve(item, text=text)
        case Text() | Image() | Document():
            return item
    raise ToolError(f"a tool result holds Text, Image and Document, not {type(item).__name__}")


def _as_json(value: object) -> str:
    if inspect.iscoroutine(value):
        value.close()  # it will never run; without this Python would warn of it
        raise ToolError("the tool returned a coroutine: it must be `async def` itself to be awaited")
    try:
        return json_text(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolError(f"the tool returned a value of type {type(value).__name__} that is no JSON: {error}") from error


def _plain(value: Any) -> object:
    """What `json` is to write in place of a value that it does not know."""
    cls = type(value)
    if attrs.has(cls):
        return {field.name: getattr(value, field.name) for field in attrs.fields(cls)}
    if dataclasses.is_dataclass(cls):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(cls)}
    match value:
        case enum.Enum():
            return value.value
        case datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            return dict(value)
        case Set():
            return sorted(value, key=repr)  # a set has no order of its own, and the model should see the same twice
        case bytes() | bytearray():
            return value.decode("utf-8", "replace")
        case decimal.Decimal() | uuid.UUID() | os.PathLike():
            return str(value)
    raise TypeError(f"{cls.__name__} has no form in JSON")


_ENCODER = json.JSONEncoder(ensure_ascii=False, default=_plain)  # once: `json.dumps` with options makes one each time
