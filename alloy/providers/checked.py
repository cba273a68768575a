"""What a decoder reads out of JSON is of the types that it should be: servers promise more than they keep. Pure.

What is only told – names, ids, counts – is dropped where it makes no sense. What is said is refused: nobody could go
on with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from alloy.llm.content import JSON, Citation, Opaque, ServerTool, Text, Thinking, ToolCall
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    CitationPart,
    Delta,
    ItemStarted,
    OpaquePart,
    Stopped,
    TextPart,
    ThinkingPart,
    UsagePart,
)
from alloy.llm.message import AssistantContent


def count(usage: Mapping[str, JSON], name: str) -> int:
    """A count of a usage object; 0 for none, and for what is no count."""
    value = usage.get(name)
    return value if type(value) is int and value > 0 else 0


def check(deltas: list[Delta], begun: dict[int, type], start: int = 0) -> None:
    """Check the deltas from `start` on.

    Args:
        deltas: of one answer, in their order.
        begun: what the items are that have begun before; those that begin here are added.
        start: the first one that has not been checked.

    Raises:
        TypeError: one holds what cannot be said; it, and what follows it, has been taken out of the list.
    """
    for place in range(start, len(deltas)):
        if not _is_sound(delta := deltas[place], begun):
            del deltas[place:]
            raise TypeError(f"content of an unexpected type: {delta!r:.200}")


def _is_sound(delta: Delta, begun: dict[int, type]) -> bool:
    match delta:
        case TextPart(index, text) | ThinkingPart(index, text):
            if type(text) is not str or type(index) is not int:
                return False
            if index not in begun:
                begun[index] = Text
        case ArgumentsPart(index, text):
            return type(text) is str and type(index) is int and begun.get(index) is ToolCall
        case ItemStarted(index, item):
            if type(index) is not int or not _is_sound_item(item):
                return False
            begun[index] = type(item)
            if item.opaque or (isinstance(item, Text) and item.citations):
                delta.item = _mended(item)
        case OpaquePart(index, opaque):
            delta.opaque = _with_id(opaque)
            return type(index) is int and index in begun
        case CitationPart(index, citation):
            if type(index) is not int:
                return False
            begun.setdefault(index, Text)
            delta.citation = _with_texts(citation)
        case Begun():
            delta.model = _text(delta.model) or ""
            delta.response_id = _text(delta.response_id)
        case Stopped(stop):
            if not (_is_text(stop.raw) and _is_text(stop.sequence) and isinstance(stop.detail, Mapping)):
                detail = stop.detail if isinstance(stop.detail, Mapping) else {}
                delta.stop = attrs.evolve(stop, raw=_text(stop.raw), sequence=_text(stop.sequence), detail=detail)
        case UsagePart(usage):
            if not all(type(number) is int for number in usage.server_tool_calls.values()):
                numbers = {name: count(usage.server_tool_calls, name) for name in usage.server_tool_calls}
                delta.usage = attrs.evolve(usage, server_tool_calls=numbers)
    return True


def _is_sound_item(item: object) -> bool:
    match item:
        case Text() | Thinking():
            return type(item.text) is str
        case ToolCall(id, name, arguments):
            named = type(id) is str and type(name) is str and type(item.arguments_text) is str
            return named and isinstance(arguments, Mapping)
        case ServerTool(_, tool, call_id):
            return type(tool) is str and type(call_id) is str
    return True


def _mended(item: AssistantContent) -> AssistantContent:
    item = attrs.evolve(item, opaque=tuple(map(_with_id, item.opaque)))
    return attrs.evolve(item, citations=tuple(map(_with_texts, item.citations))) if isinstance(item, Text) else item


def _with_id(opaque: Opaque) -> Opaque:
    return opaque if _is_text(opaque.id) else attrs.evolve(opaque, id=None)


def _with_texts(citation: Citation) -> Citation:
    texts = {name: getattr(citation, name) for name in ("text", "url", "title")}
    wrong = {name: None for name, value in texts.items() if not _is_text(value)}
    return attrs.evolve(citation, **wrong) if wrong else citation


def _is_text(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
