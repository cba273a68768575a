"""A vendor SDK's own types as a strict judge of request bodies.

Pydantic alone lets nearly everything pass: the SDKs type their lists `Iterable`, which is never looked into;
typed dicts ignore keys they do not know; values are coerced; and unions also admit the models of *responses*,
which take any key. So its schema of a type is rewritten before it judges: lists are lists, unknown keys are
forbidden, and models are no choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

_NOT_SCHEMAS = ("metadata", "serialization", "cls", "config", "default")
_DEPTH = 12  # of references, which may be circular


class StrictType:
    """Judges JSON values by a type of an SDK, such as `MessageCreateParamsStreaming`."""

    def __init__(self, type_: Any) -> None:
        schema: Any = TypeAdapter(type_).core_schema
        self._definitions = {one["ref"]: one for one in schema.get("definitions", ())}
        self._validator = SchemaValidator(self._rewrite(schema))

    def faults(self, value: object) -> list[str]:
        """What is wrong with the value, each fault with its place; nothing if it fits."""
        try:
            self._validator.validate_python(value, strict=True)
        except ValidationError as error:
            return list(_explain(error))
        return []

    def _rewrite(self, schema: Any) -> Any:
        if isinstance(schema, list | tuple):
            return type(schema)(map(self._rewrite, schema))
        if not isinstance(schema, dict):
            return schema
        kind = schema.get("type")
        if kind == "generator":
            return {"type": "list", "items_schema": self._rewrite(schema.get("items_schema", {"type": "any"}))}
        if kind == "union":
            kept = [choice for choice in schema["choices"] if not self._is_model(_bare(choice))]
            schema = {**schema, "choices": kept or schema["choices"]}
        out = {key: value if key in _NOT_SCHEMAS else self._rewrite(value) for key, value in schema.items()}
        config = schema.get("config") or {}
        if kind == "typed-dict" and "allow" not in (schema.get("extra_behavior"), config.get("extra_fields_behavior")):
            out["extra_behavior"] = "forbid"
        return out

    def _is_model(self, schema: Any, depth: int = 0) -> bool:
        if not isinstance(schema, dict) or depth > _DEPTH:
            return False
        match schema.get("type"):
            case "model" | "is-instance" | "is-subclass":
                return True
            case "definition-ref":
                return self._is_model(self._definitions.get(schema["schema_ref"]), depth + 1)
            case "union":
                return all(self._is_model(_bare(choice), depth + 1) for choice in schema["choices"])
            case "tagged-union":
                return all(self._is_model(choice, depth + 1) for choice in schema["choices"].values())
            case _:
                return "schema" in schema and self._is_model(schema["schema"], depth + 1)


def _bare(choice: Any) -> Any:
    return choice[0] if isinstance(choice, tuple) else choice


def _explain(error: ValidationError, limit: int = 3) -> Iterator[str]:
    """A union reports a fault for each of its choices: tell those of the choice that fits best."""
    groups: dict[tuple[Any, ...], list[Any]] = {}
    for fault in error.errors():
        groups.setdefault(fault["loc"][:-1], []).append(fault)

    def misfit(group: tuple[tuple[Any, ...], list[Any]]) -> tuple[bool, int, int]:
        place, faults = group
        tag_differs = any(f["loc"][-1] in ("type", "role") and f["type"] == "literal_error" for f in faults)
        return tag_differs, len(faults), -len(place)

    for _, faults in sorted(groups.items(), key=misfit)[:limit]:
        for fault in faults[:2]:
            yield f"{'.'.join(str(part) for part in fault['loc'] if len(str(part)) < 45)}: {fault['msg']}"
