"""Types to JSON Schema, and JSON to values: strictly, with every problem and its path."""

from __future__ import annotations

import dataclasses
import datetime
import enum
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NewType, NotRequired, Required, TypedDict

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alloy.tools import Constraint, ValidationError, schema_of, structure, tool


class Unit(enum.StrEnum):
    C = "c"
    F = "f"


class Level(enum.IntEnum):
    LOW = 1


@attrs.frozen
class Point:
    x: float
    y: float


@dataclasses.dataclass
class Circle:
    """A circle.

    Attributes:
        radius: In metres.
    """

    radius: Annotated[float, Constraint(minimum=0)]
    centre: Point | None = None
    tags: list[str] = dataclasses.field(default_factory=list)


@attrs.define
class Node:
    value: int
    _hidden: int = 0
    children: list[Node] = attrs.field(factory=list)
    derived: int = attrs.field(init=False, default=7)


class Base(TypedDict):
    a: int


class Row(Base, total=False):
    b: Required[str]
    c: NotRequired[Unit]
    d: datetime.date


@attrs.define
class Even:
    n: int = attrs.field()

    @n.validator
    def _check(self, attribute: Any, value: int) -> None:
        if value % 2:
            raise ValueError(f"{value} is odd")


UserId = NewType("UserId", int)

POINT = {
    "type": "object",
    "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
    "required": ["x", "y"],
    "additionalProperties": False,
}

SCHEMAS: dict[str, tuple[Any, dict[str, Any]]] = {
    "str": (str, {"type": "string"}),
    "int": (int, {"type": "integer"}),
    "float": (float, {"type": "number"}),
    "bool": (bool, {"type": "boolean"}),
    "None": (None, {"type": "null"}),
    "Any": (Any, {}),
    "object": (object, {}),
    "datetime": (datetime.datetime, {"type": "string", "format": "date-time"}),
    "date": (datetime.date, {"type": "string", "format": "date"}),
    "Literal": (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    "mixed Literal": (Literal["a", 1, None], {"enum": ["a", 1, None]}),
    "StrEnum": (Unit, {"type": "string", "enum": ["c", "f"]}),
    "IntEnum": (Level, {"type": "integer", "enum": [1]}),
    "Optional": (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    "list": (list[int], {"type": "array", "items": {"type": "integer"}}),
    "bare list": (list, {"type": "array", "items": {}}),
    "Sequence": (Sequence[int], {"type": "array", "items": {"type": "integer"}}),
    "set": (set[str], {"type": "array", "items": {"type": "string"}, "uniqueItems": True}),
    "tuple of any length": (tuple[int, ...], {"type": "array", "items": {"type": "integer"}}),
    "tuple": (
        tuple[int, str],
        {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2, "maxItems": 2},
    ),
    "dict": (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    "Mapping": (Mapping[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
    "bare dict": (dict, {"type": "object", "additionalProperties": {}}),
    "NewType": (UserId, {"type": "integer"}),
    "Annotated": (
        Annotated[int, "How many.", Constraint(minimum=1, maximum=9)],
        {"type": "integer", "description": "How many.", "minimum": 1, "maximum": 9},
    ),
    "a bounded list": (
        Annotated[list[int], Constraint(min_length=1)],
        {"type": "array", "items": {"type": "integer"}, "minItems": 1},
    ),
    "a pattern": (
        Annotated[str, Constraint(pattern="^a", max_length=3)],
        {"type": "string", "pattern": "^a", "maxLength": 3},
    ),
    "attrs": (Point, POINT),
    "dataclass": (
        Circle,
        {
            "type": "object",
            "description": "A circle.",
            "properties": {
                "radius": {"type": "number", "minimum": 0, "description": "In metres."},
                "centre": {"anyOf": [{"$ref": "#/$defs/Point"}, {"type": "null"}], "default": None},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
            "required": ["radius"],
            "additionalProperties": False,
            "$defs": {"Point": POINT},
        },
    ),
    "TypedDict": (
        Row,
        {
            "type": "object",
            "properties": {
                "a": {"type": "integer"},
                "b": {"type": "string"},
                "c": {"type": "string", "enum": ["c", "f"]},
                "d": {"type": "string", "format": "date"},
            },
            "required": ["a", "b"],
            "additionalProperties": False,
        },
    ),
}


@pytest.mark.parametrize(("tp", "schema"), SCHEMAS.values(), ids=SCHEMAS)
def test_a_type_has_its_schema(tp: Any, schema: dict[str, Any]) -> None:
    assert schema_of(tp) == schema


def test_a_recursive_class_refers_to_its_definition() -> None:
    node = {
        "type": "object",
        "properties": {
            "value": {"type": "integer"},
            "hidden": {"type": "integer", "default": 0},
            "children": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
        },
        "required": ["value"],
        "additionalProperties": False,
    }

    assert schema_of(Node) == node | {"$defs": {"Node": node}}


def test_two_classes_of_one_name_have_two_definitions() -> None:
    def make(field: Any) -> Any:
        return attrs.make_class("Same", {"value": attrs.field(type=field)})

    definitions = schema_of(tuple[make(int), make(str)])["$defs"]

    assert {name: d["properties"]["value"]["type"] for name, d in definitions.items()} == {
        "Same": "integer",
        "Same_2": "string",
    }


def test_a_described_class_is_written_out_because_nothing_may_stand_beside_a_reference() -> None:
    @tool
    def f(at: Annotated[Point, "Where."], home: Point = Point(0, 0)) -> None: ...

    assert f.parameters["properties"] == {
        "at": POINT | {"description": "Where."},
        "home": POINT | {"default": {"x": 0, "y": 0}},
    }
    assert "$defs" not in f.parameters


def test_defaults_are_shown_where_json_can_show_them() -> None:
    @tool
    def f(unit: Unit = Unit.C, when: datetime.date = datetime.date(2026, 1, 2), any: Any = object) -> None: ...

    assert [p.get("default", "none shown") for p in f.parameters["properties"].values()] == [
        "c",
        "2026-01-02",
        "none shown",
    ]
    assert f.parameters["required"] == []


NO_JSON: dict[str, tuple[Any, str]] = {
    "bytes": (bytes, "JSON cannot hold bytes; take a str"),
    "inside": (list[dict[str, bytes]], "JSON cannot hold bytes"),
    "complex": (complex, "JSON cannot hold complex"),
    "keys": (dict[int, str], "the keys of a JSON object are str, not int"),
    "choices": (Literal[b"x"], "must be str, int, float, bool or None"),
    "a field": (attrs.make_class("Holder", {"b": attrs.field(type=bytes)}), "Holder.b: JSON cannot hold bytes"),
    "an unknown name": (attrs.make_class("Lost", {"b": attrs.field(type="Nowhere")}), "'Nowhere' is not defined"),
}


@pytest.mark.parametrize(("tp", "message"), NO_JSON.values(), ids=NO_JSON)
def test_a_type_that_json_cannot_hold_is_refused(tp: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        schema_of(tp)

    assert message in str(caught.value)


FITS: dict[str, tuple[Any, Any, Any]] = {
    "an integer for a float": (float, 3, 3.0),
    "Literal": (Literal[1, "1"], "1", "1"),
    "StrEnum": (Unit, "c", Unit.C),
    "IntEnum": (Level, 1, Level.LOW),
    "datetime": (
        datetime.datetime,
        "2026-01-02T03:04:05Z",
        datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC),
    ),
    "date": (datetime.date, "2026-01-02", datetime.date(2026, 1, 2)),
    "tuple": (tuple[int, str], [1, "a"], (1, "a")),
    "set": (set[int], [1, 2, 1], {1, 2}),
    "dict": (dict[str, Point], {"a": {"x": 1, "y": 2}}, {"a": Point(1.0, 2.0)}),
    "a union of classes": (Point | Even, {"n": 2}, Even(2)),
    "the first arm that fits": (int | float, 1, 1),
    "attrs": (Node, {"value": 1, "hidden": 2, "children": [{"value": 3}]}, Node(1, 2, [Node(3)])),
    "dataclass": (Circle, {"radius": 1, "centre": None}, Circle(1.0)),
    "TypedDict": (Row, {"a": 1, "b": "x"}, {"a": 1, "b": "x"}),
    "Any": (Any, {"a": [1, None]}, {"a": [1, None]}),
}


@pytest.mark.parametrize(("tp", "value", "expected"), FITS.values(), ids=FITS)
def test_json_becomes_a_value(tp: Any, value: Any, expected: Any) -> None:
    result = structure(value, tp)

    assert result == expected
    assert type(result) is type(expected)


MISFITS: dict[str, tuple[Any, Any, list[str]]] = {
    "a string for an int": (int, "5", ['expected integer, got string "5"']),
    "a bool for an int": (int, True, ["expected integer, got boolean true"]),
    "a float for an int": (int, 2.0, ["expected integer, got number 2.0"]),
    "a string for a bool": (bool, "false", ['expected boolean, got string "false"']),
    "an int for a bool": (bool, 1, ["expected boolean, got integer 1"]),
    "an int for a string": (str, 5, ["expected string, got integer 5"]),
    "null for a string": (str, None, ["expected string, got null"]),
    "a bool for a float": (float, True, ["expected number, got boolean true"]),
    "infinity": (float, float("inf"), ["expected number, got number Infinity"]),
    "too large for a float": (float, 10**400, [f"expected number, got integer 1{'0' * 38}…"]),
    "a string for a list": (list[str], "ab", ['expected array, got string "ab"']),
    "a list for a dict": (dict[str, int], [1], ["expected object, got array [1]"]),
    "a string for a class": (Point, "p", ['expected object, got string "p"']),
    "a choice": (Literal["a", 1], True, ['expected one of ["a", 1], got boolean true']),
    "an enum": (Unit, "k", ['expected one of ["c", "f"], got string "k"']),
    "a date": (datetime.date, "soon", ['expected date in ISO 8601, got string "soon"']),
    "a union": (int | str | None, True, ["expected integer or string or null, got boolean true"]),
    "inside a union": (Point | str, {"x": 1}, ["required field missing @ y"]),
    "inside several arms": (
        list[Point | Even],
        [{"z": 1}],
        [
            "no alternative fits: required field missing @ x, required field missing @ y, extra fields found (z); "
            "or required field missing @ n, extra fields found (z) @ [0]"
        ],
    ),
    "tuple too short": (tuple[int, str], [1], ["expected array of 2 items, got array [1]"]),
    "a dict's value": (dict[str, int], {"a b": "x", "c": 1}, ['expected integer, got string "x" @ ["a b"]']),
    "too small": (Annotated[int, Constraint(minimum=1)], 0, ["expected 1 or more, got integer 0"]),
    "too large": (Annotated[float, Constraint(maximum=1)], 2, ["expected 1 or less, got integer 2"]),
    "too short": (Annotated[str, Constraint(min_length=1)], "", ['expected a length of 1 or more, got string ""']),
    "too long": (
        Annotated[list[int], Constraint(max_length=1)],
        [1, 2],
        ["expected a length of 1 or less, got array [1, 2]"],
    ),
    "no match": (Annotated[str, Constraint(pattern="^a")], "b", ['expected a match of ^a, got string "b"']),
    "a validator": (list[Even], [{"n": 2}, {"n": 3}], ["3 is odd @ [1]"]),
    "no set of it": (set[Any], [[1]], ["unhashable type: 'list'"]),
    "every problem": (
        Node,
        {"value": "1", "children": [{"value": 1}, {"children": {}}], "derived": 1, "zz": 2},
        [
            'expected integer, got string "1" @ value',
            "required field missing @ children[1].value",
            "expected array, got object {} @ children[1].children",
            "extra fields found (derived, zz)",
        ],
    ),
    "a required key": (Row, {"a": 1}, ["required field missing @ b"]),
}


@pytest.mark.parametrize(("tp", "value", "problems"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_told_with_every_problem_and_path(tp: Any, value: Any, problems: list[str]) -> None:
    with pytest.raises(ValidationError) as caught:
        structure(value, tp)

    assert list(caught.value.problems) == problems
    assert str(caught.value) == "; ".join(problems)


@tool
def weather(
    where: Circle,
    unit: Unit = Unit.C,
    *,
    mode: Literal["now", "week"] = "now",
    at: Point | str | None = None,
    n: Annotated[int, Constraint(minimum=1)] = 3,
) -> None: ...


def test_arguments_are_parsed_with_defaults_filled_in() -> None:
    assert weather.parse({"where": {"radius": 1}, "at": {"x": 1, "y": 2}}) == {
        "where": Circle(1.0),
        "unit": Unit.C,
        "mode": "now",
        "at": Point(1.0, 2.0),
        "n": 3,
    }


def test_arguments_that_do_not_fit_are_all_told_at_once() -> None:
    with pytest.raises(ValidationError) as caught:
        weather.parse({"unit": "k", "mode": "x", "at": {"x": 1}, "n": True, "zz": 1})

    assert list(caught.value.problems) == [
        "required field missing @ where",
        'expected one of ["c", "f"], got string "k" @ unit',
        'expected one of ["now", "week"], got string "x" @ mode',
        "required field missing @ at.y",
        "expected integer, got boolean true @ n",
        "extra fields found (zz)",
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["x", "y", "value", "children"]), inner)
    ),
    max_leaves=20,
)
TYPES = st.sampled_from([tp for tp, _ in SCHEMAS.values()] + [Node, Even])


def problems_of(value: Any, tp: Any) -> Sequence[str] | None:
    """What is wrong with the value; None if it fits."""
    try:
        structure(value, tp)
    except ValidationError as error:
        return error.problems
    return None


@given(TYPES, JSON)
def test_any_json_either_fits_a_type_or_is_told_why_not(tp: Any, value: Any) -> None:
    problems = problems_of(value, tp)

    assert problems is None or (problems and all(problems))
