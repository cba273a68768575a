"""Which JSON Schemas the vendors can hold an answer to. Pure.

Where a vendor enforces a schema it compiles it to a grammar, and takes only part of JSON Schema. These are the
rules that all of them have in common, the strictest of each; what breaks one is asked for by a tool, whose schema
they only read.
"""

from __future__ import annotations

from collections.abc import Mapping

from alloy.llm.content import JSON

_KEYWORDS = frozenset(
    {"type", "description", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "$ref", "$defs"}
)
_SHAPING = frozenset({"type", "anyOf", "$ref"})
_DEEPEST = 5  # objects in one another
_MOST_PROPERTIES = 100


def is_enforceable(schema: Mapping[str, JSON]) -> bool:
    """Whether any vendor that enforces schemas takes this one.

    It is one object at its root. All objects are closed and all their properties required; everything has a type;
    nothing refers to itself; and there are neither bounds on values nor defaults.

    Source: OpenAI, "Structured model outputs", supported schemas; Anthropic, "Structured outputs", JSON Schema
    limitations; Google, Gemini API, "Structured output" (all read 2026-11-24, in part from copies).
    """
    definitions = schema.get("$defs", {})
    room = [_MOST_PROPERTIES]
    return schema.get("type") == "object" and _fits(schema, definitions, frozenset(), 0, room)


def _fits(schema: JSON, definitions: JSON, within: frozenset[str], depth: int, room: list[int]) -> bool:
    """`within` are the definitions that this one is part of, `room` how many more properties there may be."""
    if not isinstance(schema, Mapping) or schema.keys() - _KEYWORDS or not schema.keys() & _SHAPING:
        return False
    match schema:
        case {"$ref": str(reference)}:
            name = reference.removeprefix("#/$defs/")
            inside = definitions.get(name)
            return name not in within and _fits(inside, definitions, within | {name}, depth, room)
        case {"anyOf": arms}:
            return all(_fits(arm, definitions, within, depth, room) for arm in arms)
        case {"type": "object"}:
            properties = schema.get("properties", {})
            room[0] -= len(properties)
            is_closed = schema.get("additionalProperties") is False and {*schema.get("required", ())} == {*properties}
            is_small = depth < _DEEPEST and room[0] >= 0
            inner = properties.values()
            return is_closed and is_small and all(_fits(one, definitions, within, depth + 1, room) for one in inner)
        case {"type": "array"}:
            return _fits(schema.get("items"), definitions, within, depth, room)
    return True
