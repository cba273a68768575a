"""Objects with known properties: a shape of its own, because classes are described once and may be recursive. Pure."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from alloy.llm.content import JSON
from alloy.tools.results import json_text
from alloy.tools.shapes import Misfit, Shape, expect

REQUIRED = object()
HIDDEN = object()


@attrs.frozen(kw_only=True)
class Field:
    """One property of a record.

    Attributes:
        default: `REQUIRED` if there is none; `HIDDEN` if there is one that cannot be shown.
    """

    name: str
    shape: Shape
    default: Any = REQUIRED
    description: str = ""

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        """Describe it as a property."""
        inner = self.shape.schema(definitions)
        extra = {"description": self.description} if self.description and "description" not in inner else {}
        if self.default is not REQUIRED and self.default is not HIDDEN:
            # A default that JSON cannot show is still one: the property is not required.
            with contextlib.suppress(TypeError, ValueError, RecursionError):
                extra["default"] = json.loads(json_text(self.default))
        return definitions.extended(inner, extra)


@attrs.define(eq=False, kw_only=True)
class Record:
    """An object with these properties and no others: a class, or the parameters of a tool.

    Attributes:
        make: is called with the properties that were given.
        fields: filled in once they are known, because they may lead back to this record.
    """

    name: str
    make: Callable[..., Any]
    description: str = ""
    fields: Sequence[Field] = ()

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return definitions.reference(self)

    def written_out(self, definitions: Definitions) -> dict[str, JSON]:
        """Describe it in place instead of referring to its definition."""
        schema = {
            "type": "object",
            "properties": {field.name: field.schema(definitions) for field in self.fields},
            "required": [field.name for field in self.fields if field.default is REQUIRED],
            "additionalProperties": False,
        }
        return schema | {"description": self.description} if self.description else schema

    def read(self, value: JSON) -> Any:
        given: dict[str, Any] = {}
        problems: list[tuple[str, str]] = []
        for field in self.fields:
            if field.name in expect(dict, value):
                try:
                    given[field.name] = field.shape.read(value[field.name])
                except Misfit as misfit:
                    problems += misfit.below(field.name)
            elif field.default is REQUIRED:
                problems.append((field.name, "required field missing"))
        if extra := expect(dict, value).keys() - {field.name for field in self.fields}:
            problems.append(("", f"extra fields found ({', '.join(sorted(extra))})"))
        if problems:
            raise Misfit(problems)
        try:
            return self.make(**given)
        except Exception as error:  # a validator of the class may refuse with whatever it likes
            raise Misfit([("", str(error) or type(error).__name__)]) from error


class Definitions:
    """The classes that one schema refers to, as `$defs`. Each is described once, so that it may be recursive."""

    def __init__(self) -> None:
        self._schemas: dict[str, dict[str, JSON]] = {}
        self._names: dict[Record, str] = {}

    def reference(self, record: Record) -> dict[str, JSON]:
        """Return a `$ref` to the record's definition."""
        if (name := self._names.get(record)) is None:
            name, number = record.name, 1
            while name in self._schemas:  # two classes of one name
                number += 1
                name = f"{record.name}_{number}"
            self._names[record] = name
            self._schemas[name] = {}  # holds the name while the record's own fields are described
            self._schemas[name] = record.written_out(self)
        return {"$ref": f"#/$defs/{name}"}

    def extended(self, schema: dict[str, JSON], extra: Mapping[str, JSON]) -> dict[str, JSON]:
        """Add keywords. Some vendors allow none beside a `$ref`, so there its definition is copied.

        A recursive class that is still being described cannot be copied: it goes without them.
        """
        if extra and "$ref" in schema:
            definition = self._schemas[_target(schema)]
            return {**definition, **extra} if definition else schema
        return {**schema, **extra}

    def added_to(self, schema: dict[str, JSON]) -> dict[str, JSON]:
        """Add the definitions that `schema` needs, directly or through others."""
        needed: dict[str, JSON] = {}
        todo = _targets(schema)
        while todo:
            if (name := todo.pop()) not in needed:
                needed[name] = self._schemas[name]
                todo += _targets(self._schemas[name])
        return {**schema, "$defs": dict(sorted(needed.items()))} if needed else schema


def _targets(schema: JSON) -> list[str]:
    match schema:
        case {"$ref": str()}:
            return [_target(schema)]
        case dict():
            return [name for value in schema.values() for name in _targets(value)]
        case list():
            return [name for value in schema for name in _targets(value)]
    return []


def _target(schema: Mapping[str, JSON]) -> str:
    return str(schema["$ref"]).removeprefix("#/$defs/")
