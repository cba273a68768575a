"""Which schemas a vendor can hold an answer to, and which models are asked that way."""

from __future__ import annotations

import enum
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import pytest

import alloy
from alloy.providers.enforceable import is_enforceable
from alloy.tools import Constraint, schema_of


@attrs.frozen
class Flat:
    """A flat thing."""

    name: Annotated[str, "What it is called."]
    kind: Literal["a", "b"]
    number: int | None


@attrs.frozen
class Nested:
    flats: list[Flat]
    either: Flat | str


class Open(TypedDict):
    name: str
    more: NotRequired[int]


@attrs.frozen
class Tree:
    children: list[Tree]


@attrs.frozen
class Defaulted:
    name: str = "x"


@attrs.frozen
class Bounded:
    number: Annotated[int, Constraint(minimum=1)]


@attrs.frozen
class Loose:
    anything: Any


@attrs.frozen
class Table:
    counts: dict[str, int]


@attrs.frozen
class Pair:
    pair: tuple[int, str]


@attrs.frozen
class Unique:
    numbers: set[int]


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@attrs.frozen
class OfMixed:
    mixed: Mixed


@pytest.mark.parametrize("tp", [Flat, Nested])
def test_closed_objects_whose_properties_are_required_can_be_enforced(tp: Any) -> None:
    assert is_enforceable(schema_of(tp))


@pytest.mark.parametrize("tp", [Open, Tree, Defaulted, Bounded, Loose, Table, Pair, Unique, OfMixed, int, Flat | str])
def test_what_one_of_the_vendors_does_not_take_is_not(tp: Any) -> None:
    assert not is_enforceable(schema_of(tp))


def test_very_deep_and_very_wide_objects_are_not() -> None:
    deep: dict[str, Any] = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    for _ in range(5):
        deep = {**deep, "properties": {"in": deep}, "required": ["in"]}
    names = [f"p{number}" for number in range(101)]
    wide = {**deep, "properties": {name: {"type": "string"} for name in names}, "required": names}

    assert is_enforceable(deep["properties"]["in"])
    assert not is_enforceable(deep)
    assert not is_enforceable(wide)


@pytest.mark.parametrize(
    ("spec", "held"),
    [
        ("openai:gpt-5", True),
        ("openai:gpt-6-sol", True),
        ("openai:gpt-5.4-mini", True),
        ("openai:o3", True),
        ("openai:gpt-4o", False),
        ("openai:something-new", False),
        ("anthropic:claude-sonnet-4-6", True),
        ("anthropic:claude-opus-5-5", True),
        ("anthropic:claude-sonnet-4-20250514", False),
        ("google:gemini-3.8-flash", True),
        ("google:gemini-2.5-pro", False),
        ("deepseek:deepseek-v4-pro", False),
        ("ollama:qwen3:8b", False),
    ],
)
def test_which_models_are_held_to_a_schema(spec: str, held: bool) -> None:
    model = alloy.model(spec, api_key="k")

    assert model.holds_to(schema_of(Flat)) is held
    assert not model.holds_to(schema_of(Bounded))
    assert alloy.model(spec, api_key="k", output="schema", output_format="json_schema").holds_to(schema_of(Flat))
    assert not alloy.model(spec, api_key="k", output="schema", output_format="json_object").holds_to(schema_of(Flat))
    assert not alloy.model(spec, api_key="k", output="tool").holds_to(schema_of(Flat))
