"""From types to JSON Schema, and from JSON to values: strictly, with every problem and its path.

Strict means that nothing is turned into something else: `"5"` is no 5, `"false"` no False, and `2.0` no 2,
although JSON itself would not tell those two apart. An integer will do where a float is wanted, and text in
ISO 8601 where a date is.

What a tool's arguments and a run's structured output may be: str, int, float, bool, None, Any, datetime, date;
list, tuple, set, frozenset and dict of such, with str keys; Literal, Enum, unions and Annotated (a str is the
description, `Constraint` the bounds); attrs classes, dataclasses and TypedDicts, nested and recursive.
"""

from __future__ import annotations

import dataclasses
import datetime
import enum
import types
import typing
from collections.abc import Iterator, Mapping, Sequence, Set
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, cast

import attrs

from alloy.llm.content import JSON
from alloy.tools.docstring import parse_docstring
from alloy.tools.record import HIDDEN, REQUIRED, Definitions, Field, Record
from alloy.tools.shapes import (
    JSON_TYPES,
    Anything,
    Array,
    Choice,
    Constraint,
    Misfit,
    Moment,
    Noted,
    OneOf,
    Row,
    Scalar,
    Shape,
    Table,
    Whole,
    located,
)

T = TypeVar("T")


class ValidationError(ValueError):
    """JSON that does not fit a type.

    Attributes:
        problems: all there are, each with its path: `expected integer, got string "5" @ at.y`.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems: tuple[str, ...] = tuple(problems)


def schema_of(tp: Any) -> dict[str, JSON]:
    """Return the JSON Schema of a type: of a class written out, with `$defs` for the classes inside it.

    Raises:
        TypeError: JSON cannot hold this type, or one of its annotations names what cannot be found.
    """
    return schema(shape_of(tp))


def structure(value: JSON, tp: type[T]) -> T:
    """Return `value`, parsed JSON, as a value of type `tp`; any annotation that `schema_of` takes will do.

    Raises:
        ValidationError: it does not fit.
        TypeError: as `schema_of`.
    """
    return cast("T", read(shape_of(cast("Any", tp)), value))


def schema(shape: Shape) -> dict[str, JSON]:
    """Return the JSON Schema of a shape, complete in itself."""
    definitions = Definitions()
    described = shape.written_out(definitions) if isinstance(shape, Record) else shape.schema(definitions)
    return definitions.added_to(described)


def arguments_of(tp: Any) -> tuple[Shape, dict[str, JSON]]:
    """Return how a call gives a value of a type – read as the one argument `value` –, and its JSON Schema.

    The arguments are the fields of the type; of one that is no object in JSON, the one field `value`.

    Raises:
        TypeError: as `schema_of`.
    """
    shape = Shapes().of(tp)  # not from the cache: there `int | float` is `float | int`
    described = schema(shape)
    if described.get("type") == "object":
        return Whole(shape), described
    wrapped = Record(name="value", make=dict, fields=[Field(name="value", shape=shape)])
    return wrapped, schema(wrapped)


def read(shape: Shape, value: JSON) -> Any:
    """Make the value that `value`, parsed JSON, stands for.

    Raises:
        ValidationError: it does not fit.
    """
    try:
        return shape.read(value)
    except Misfit as misfit:
        raise ValidationError(located(misfit.problems)) from misfit


@cache
def shape_of(tp: Any) -> Shape:
    """Return the shape of a type.

    Raises:
        TypeError: as `schema_of`.
    """
    return Shapes().of(tp)


_UNIONS = (Union, types.UnionType)
_ARRAYS = {list: list, Sequence: list, tuple: tuple, set: set, frozenset: frozenset, Set: frozenset}
_TABLES = (dict, Mapping)


class Shapes:
    """Makes shapes from types; one for all types of one function or class, which may name each other.

    Args:
        names: what annotations that are text may name besides the globals of their module.
    """

    def __init__(self, names: Mapping[str, Any] | None = None) -> None:
        self._names = dict(names or {})
        self._records: dict[type, Record] = {}

    def of(self, tp: Any) -> Shape:
        """Return the shape of a type.

        Raises:
            TypeError: JSON cannot hold it.
        """
        if tp is None or tp in (str, int, float, bool, types.NoneType):
            return Scalar(types.NoneType if tp is None else tp)
        if tp is Any or tp is object:
            return Anything()
        if tp in (datetime.datetime, datetime.date):
            return Moment(tp)
        if isinstance(tp, type) and issubclass(tp, enum.Enum):
            return _choice(tp, [(member.value, member) for member in tp])
        if isinstance(tp, type) and (attrs.has(tp) or dataclasses.is_dataclass(tp) or typing.is_typeddict(tp)):
            return self._record(tp)
        if (other_name_of := getattr(tp, "__supertype__", None) or getattr(tp, "__value__", None)) is not None:
            return self.of(other_name_of)  # a NewType or a `type` statement
        return self._of_generic(tp, typing.get_origin(tp) or tp, typing.get_args(tp))

    def _of_generic(self, tp: Any, origin: Any, arguments: tuple[Any, ...]) -> Shape:
        if origin is Annotated:
            notes = [note for note in arguments[1:] if isinstance(note, str)]
            constraints = tuple(note for note in arguments[1:] if isinstance(note, Constraint))
            return Noted(self.of(arguments[0]), notes[0] if notes else "", constraints)
        if origin is Literal:
            return _choice(tp, [(value, value) for value in arguments])
        if origin in _UNIONS:
            return OneOf(tuple(self.of(arm) for arm in arguments))
        if origin is tuple and arguments and arguments[-1] is not ...:
            return Row(tuple(self.of(item) for item in arguments))
        if origin in _ARRAYS:
            return Array(self.of(arguments[0]) if arguments else Anything(), _ARRAYS[origin])
        if origin in _TABLES:
            key, value = arguments or (str, Any)
            if key is not str:
                raise TypeError(f"the keys of a JSON object are str, not {_named(key)}")
            return Table(self.of(value))
        hint = "; take a str" if tp in (bytes, bytearray) else ""
        raise TypeError(f"JSON cannot hold {_named(tp)}{hint}")

    def _record(self, cls: Any) -> Record:
        if (record := self._records.get(cls)) is None:
            doc = parse_docstring(None if _has_generated_doc(cls) else cls.__doc__)
            record = Record(name=cls.__name__, make=cls, description=doc.description)
            self._records[cls] = record  # before its fields are known: they may lead back to it
            record.fields = [
                self.field(name, tp, default=default, description=doc.notes.get(name, ""), of=f"{_named(cls)}.{name}")
                for name, tp, default in _fields_of(cls, self._names)
            ]
        return record

    def field(self, name: str, tp: Any, *, default: Any, description: str, of: str) -> Field:
        """Return a property of type `tp`.

        Raises:
            TypeError: JSON cannot hold its type; the message begins with `of`.
        """
        try:
            return Field(name=name, shape=self.of(tp), default=default, description=description)
        except TypeError as error:
            raise TypeError(f"{of}: {error}") from error


def _choice(tp: Any, members: list[tuple[Any, Any]]) -> Choice:
    if not members or any(type(value) not in JSON_TYPES or isinstance(value, list | dict) for value, _ in members):
        raise TypeError(f"the values of {_named(tp)} must be str, int, float, bool or None")
    return Choice(tuple(members))


def _fields_of(cls: Any, names: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of all that a class takes."""
    try:
        if attrs.has(cls):
            attrs.resolve_types(cls, localns=dict(names))
            return _attrs_fields(cls)
        hints = typing.get_type_hints(cls, localns=dict(names), include_extras=True)
    except NameError as error:
        raise TypeError(f"an annotation of {_named(cls)} cannot be resolved: {error}") from error
    return _dataclass_fields(cls, hints) if dataclasses.is_dataclass(cls) else _keys(cls, hints)


def _attrs_fields(cls: Any) -> Iterator[tuple[str, Any, Any]]:
    for field in attrs.fields(cls):
        if field.init:
            has_factory = isinstance(field.default, cast("type", attrs.Factory))
            default = HIDDEN if has_factory else REQUIRED if field.default is attrs.NOTHING else field.default
            yield field.alias or field.name, field.type or Any, default


def _dataclass_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for field in dataclasses.fields(cls):
        if field.init:
            has_factory = field.default_factory is not dataclasses.MISSING
            default = HIDDEN if has_factory else REQUIRED if field.default is dataclasses.MISSING else field.default
            yield field.name, hints[field.name], default


def _keys(cls: Any, hints: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for name, hint in hints.items():
        # Where annotations are postponed, __required_keys__ does not know Required and NotRequired.
        marker = typing.get_origin(hint)
        is_marked = marker in (typing.Required, typing.NotRequired)
        is_required = marker is typing.Required if is_marked else name in cls.__required_keys__
        yield name, typing.get_args(hint)[0] if is_marked else hint, REQUIRED if is_required else HIDDEN


def _has_generated_doc(cls: Any) -> bool:
    """Dataclasses write a docstring where there is none; that of a TypedDict may be dict's own."""
    return str(cls.__doc__).startswith(f"{cls.__name__}(") or cls.__doc__ == dict.__doc__


def _named(tp: Any) -> str:
    return tp.__name__ if isinstance(tp, type) and not typing.get_args(tp) else str(tp)
