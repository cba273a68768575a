"""What JSON may look like, and what is made of it. Pure.

A shape is one kind of type. It describes itself as JSON Schema and reads JSON into a value; both stand side by
side, so that what is promised to a model and what is accepted from it are one thing. `alloy.tools.schema` makes
shapes from types.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import re
import types
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from alloy.llm.content import JSON

if TYPE_CHECKING:
    from alloy.tools.record import Definitions

JSON_TYPES: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    types.NoneType: "null",
    list: "array",
    dict: "object",
}


class Misfit(Exception):
    """A value does not fit a shape.

    Attributes:
        problems: what is wrong, each as its path from the value and the problem itself.
        expected: what would have done, where the value as a whole is of the wrong kind; else empty.
    """

    def __init__(self, problems: Iterable[tuple[str, str]], expected: str = "") -> None:
        super().__init__()
        self.problems: tuple[tuple[str, str], ...] = tuple(problems)
        self.expected = expected

    @classmethod
    def of(cls, expected: str, value: JSON) -> Misfit:
        """The value as a whole is not what was expected."""
        return cls([("", f"expected {expected}, got {_shown(value)}")], expected)

    def below(self, step: str) -> Iterator[tuple[str, str]]:
        """The problems, seen from one step further up."""
        for path, problem in self.problems:
            yield step + (f".{path}" if path and not path.startswith("[") else path), problem


def _shown(value: JSON) -> str:
    kind = JSON_TYPES.get(type(value), type(value).__name__)
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return kind if value is None else f"{kind} {text if len(text) <= 40 else text[:39] + '…'}"


class Shape(Protocol):
    """One kind of type."""

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        """Describe it; classes go into `definitions`."""
        ...

    def read(self, value: JSON) -> Any:
        """Make the value that JSON stands for.

        Raises:
            Misfit: it is not of this shape.
        """


@attrs.frozen
class Anything:
    """Any JSON at all."""

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return {}

    def read(self, value: JSON) -> Any:
        return value


@attrs.frozen
class Scalar:
    """A str, int, float, bool or None. An int will do for a float; nothing else for anything else."""

    type: type

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return {"type": JSON_TYPES[self.type]}

    def read(self, value: JSON) -> Any:
        match value:
            case float() if self.type is float and math.isfinite(value):
                return value
            case int() if self.type is float and type(value) is int:
                with contextlib.suppress(OverflowError):
                    return float(value)
            case _ if type(value) is self.type is not float:
                return value
        raise Misfit.of(JSON_TYPES[self.type], value)


@attrs.frozen
class Moment:
    """A datetime or date, as ISO 8601 writes it."""

    type: type[datetime.date]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return {"type": "string", "format": self._format}

    def read(self, value: JSON) -> Any:
        if type(value) is str:
            with contextlib.suppress(ValueError):
                return self.type.fromisoformat(value)
        raise Misfit.of(f"{self._format} in ISO 8601", value)

    @property
    def _format(self) -> str:
        return "date-time" if self.type is datetime.datetime else "date"


@attrs.frozen
class Choice:
    """One of some values, each with what stands for it in JSON: a Literal or an Enum."""

    members: tuple[tuple[JSON, Any], ...]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        values = [value for value, _ in self.members]
        kinds = {JSON_TYPES[type(value)] for value in values}
        return {"type": kinds.pop(), "enum": values} if len(kinds) == 1 else {"enum": values}

    def read(self, value: JSON) -> Any:
        for known, member in self.members:
            if type(known) is type(value) and known == value:  # 1 is not True
                return member
        raise Misfit.of(f"one of {json.dumps([known for known, _ in self.members], ensure_ascii=False)}", value)


@attrs.frozen
class Array:
    """Any number of items of one shape, in a list, tuple, set or frozenset."""

    item: Shape
    make: Callable[[Iterable[Any]], Any]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        schema: dict[str, JSON] = {"type": "array", "items": self.item.schema(definitions)}
        return schema | {"uniqueItems": True} if self.make in (set, frozenset) else schema

    def read(self, value: JSON) -> Any:
        items = _read_each(value, [self.item] * len(expect(list, value)))
        try:
            return self.make(items)
        except TypeError as error:  # a set of what cannot be in one
            raise Misfit([("", str(error))]) from error


@attrs.frozen
class Row:
    """A tuple with a shape for each place."""

    items: tuple[Shape, ...]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        items = [item.schema(definitions) for item in self.items]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def read(self, value: JSON) -> Any:
        if len(expect(list, value)) != len(self.items):
            raise Misfit.of(f"array of {len(self.items)} items", value)
        return tuple(_read_each(value, self.items))


@attrs.frozen
class Table:
    """Any names, with values of one shape: a dict."""

    item: Shape

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return {"type": "object", "additionalProperties": self.item.schema(definitions)}

    def read(self, value: JSON) -> Any:
        names = expect(dict, value).keys()
        steps = [f"[{json.dumps(name, ensure_ascii=False)}]" for name in names]
        return dict(zip(names, _read_each(value.values(), [self.item] * len(names), steps), strict=True))


@attrs.frozen
class OneOf:
    """A union: the first arm that fits is taken."""

    arms: tuple[Shape, ...]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return {"anyOf": [arm.schema(definitions) for arm in self.arms]}

    def read(self, value: JSON) -> Any:
        misfits = []
        for arm in self.arms:
            try:
                return arm.read(value)
            except Misfit as misfit:
                misfits.append(misfit)
        deep = [misfit for misfit in misfits if not misfit.expected]  # of the right kind, but for something inside
        match deep:
            case []:
                raise Misfit.of(" or ".join(misfit.expected for misfit in misfits), value)
            case [only]:
                raise only
        tries = "; or ".join(", ".join(located(misfit.problems)) for misfit in deep)
        raise Misfit([("", f"no alternative fits: {tries}")])


@attrs.frozen(kw_only=True)
class Constraint:
    """What a value must hold to besides its type: `Annotated[int, Constraint(minimum=1)]`.

    Attributes:
        minimum, maximum: of a number, themselves allowed.
        min_length, max_length: of a string in characters, of a list or dict in items.
        pattern: a regular expression that must match somewhere in a string.
    """

    minimum: float | None = None
    maximum: float | None = None
    min_length: int | None = None
    max_length: int | None = None
    pattern: str | None = None

    def keywords(self, kind: JSON) -> dict[str, JSON]:
        """As JSON Schema, for a value of JSON type `kind`."""
        unit = {"array": "Items", "object": "Properties"}.get(kind, "Length")
        keywords = {
            "minimum": self.minimum,
            "maximum": self.maximum,
            f"min{unit}": self.min_length,
            f"max{unit}": self.max_length,
            "pattern": self.pattern,
        }
        return {keyword: value for keyword, value in keywords.items() if value is not None}

    def expected(self, value: Any) -> str | None:
        """What a value that does not hold to it should have been; None for one that does."""
        if self.minimum is not None and value < self.minimum:
            return f"{self.minimum} or more"
        if self.maximum is not None and value > self.maximum:
            return f"{self.maximum} or less"
        if self.min_length is not None and len(value) < self.min_length:
            return f"a length of {self.min_length} or more"
        if self.max_length is not None and len(value) > self.max_length:
            return f"a length of {self.max_length} or less"
        if self.pattern is not None and not re.search(self.pattern, value):
            return f"a match of {self.pattern}"
        return None


@attrs.frozen
class Noted:
    """A shape with a description, constraints, or both: what `Annotated` says."""

    inner: Shape
    description: str
    constraints: tuple[Constraint, ...]

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        inner = self.inner.schema(definitions)
        extra = {"description": self.description} if self.description else {}
        for constraint in self.constraints:
            extra |= constraint.keywords(inner.get("type"))
        return definitions.extended(inner, extra)

    def read(self, value: JSON) -> Any:
        result = self.inner.read(value)
        for constraint in self.constraints:
            if expected := constraint.expected(result):
                raise Misfit.of(expected, value)
        return result


@attrs.frozen
class Whole:
    """What stands for the arguments of a call as a whole: read as the one argument `value`."""

    inner: Shape

    def schema(self, definitions: Definitions) -> dict[str, JSON]:
        return self.inner.schema(definitions)

    def read(self, value: JSON) -> Any:
        return {"value": self.inner.read(value)}


def expect(kind: type, value: JSON) -> Any:
    """Return `value` if it is of this JSON type.

    Raises:
        Misfit: it is not.
    """
    if type(value) is not kind:
        raise Misfit.of(JSON_TYPES[kind], value)
    return value


def _read_each(values: Iterable[JSON], shapes: Sequence[Shape], steps: Sequence[str] = ()) -> list[Any]:
    """Read each value by its shape; all problems of all values are one misfit."""
    found: list[Any] = []
    problems: list[tuple[str, str]] = []
    for index, (value, shape) in enumerate(zip(values, shapes, strict=True)):
        try:
            found.append(shape.read(value))
        except Misfit as misfit:
            problems += misfit.below(steps[index] if steps else f"[{index}]")
    if problems:
        raise Misfit(problems)
    return found


def located(problems: Iterable[tuple[str, str]]) -> list[str]:
    """Write each problem with its path: `expected integer, got string "5" @ at.y`."""
    return [f"{problem} @ {path}" if path else problem for path, problem in problems]
