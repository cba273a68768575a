"""Values made up of schemas, and the model that answers with them."""

from __future__ import annotations

import datetime
import enum
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alloy
from alloy import Outcome, Status
from alloy.testing import ScriptedModel, auto_model, made_up
from alloy.tools import Constraint, core_tools, schema_of, structure


class Mood(enum.Enum):
    GOOD = "good"
    BAD = "bad"


@attrs.frozen
class Tree:
    name: str
    children: list[Tree]
    parent: Tree | None


class Movie(TypedDict):
    title: str
    year: NotRequired[int]


@dataclass
class Everything:
    mood: Mood
    when: datetime.datetime
    day: datetime.date
    pair: tuple[int, str]
    table: dict[str, float]
    choice: Literal[1, "a", None]
    movies: Annotated[list[Movie], Constraint(min_length=3)]
    names: Annotated[set[str], Constraint(min_length=2)]
    numbers: Annotated[frozenset[int], Constraint(min_length=3)]
    counts: Annotated[dict[str, int], Constraint(min_length=2)]
    code: Annotated[str, Constraint(pattern=r"^\d{4}-\d\d-\d\d$")]
    short: Annotated[str, Constraint(max_length=2)]
    long: Annotated[str, Constraint(min_length=40)]
    far: Annotated[int, Constraint(minimum=1000)]
    cold: Annotated[float, Constraint(maximum=-273.0)]
    anything: Any
    left_out: int = 3


@pytest.mark.parametrize("tp", [int, str, bool, float, None, Mood, Tree, Movie, Everything, list[int], int | str])
def test_what_is_made_up_fits(tp: Any) -> None:
    structure(made_up(schema_of(tp)), tp)


SHAPES = st.recursive(
    st.sampled_from([int, str, bool, float, None, Mood, Movie, Literal["a", 2], datetime.date]),
    lambda inner: st.one_of(
        inner.map(lambda tp: list[tp]),  # type: ignore[valid-type]
        inner.map(lambda tp: dict[str, tp]),  # type: ignore[valid-type]
        st.tuples(inner, inner).map(lambda two: tuple[two[0], two[1]]),  # type: ignore[valid-type]
        inner.map(lambda tp: Annotated[list[tp], Constraint(min_length=2)]),  # type: ignore[valid-type]
    ),
    max_leaves=6,
)


@given(SHAPES)
def test_what_is_made_up_of_any_shape_fits(tp: Any) -> None:
    structure(made_up(schema_of(tp)), tp)


@given(st.integers(-5, 5), st.integers(0, 5), st.sampled_from([int, float]), st.integers(0, 1))
def test_what_is_made_up_keeps_to_bounds(least: int, room: int, number: type, items: int) -> None:
    bounds = Constraint(minimum=least, maximum=least + room)
    tp: Any = Annotated[list[Annotated[number, bounds]], Constraint(min_length=items)]

    structure(made_up(schema_of(tp)), tp)


def test_a_value_without_an_end_is_refused() -> None:
    @attrs.frozen
    class Endless:
        again: Any

    schema = schema_of(Endless)
    schema["$defs"] = {
        "Endless": {"type": "object", "properties": {"a": {"$ref": "#/$defs/Endless"}}, "required": ["a"]}
    }
    schema["properties"]["again"] = {"$ref": "#/$defs/Endless"}

    with pytest.raises(ValueError, match="would have no end"):
        made_up(schema)


def test_a_pattern_that_nothing_matches_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"matches the pattern .*give it: auto_model"):
        made_up({"type": "string", "pattern": "^[0-9a-f]{32}$"})


async def search(query: str, limit: Annotated[int, Constraint(maximum=10)], mood: Mood = Mood.GOOD) -> str:
    """Search."""
    return f"{query} {limit} {mood.value}"


async def order(trees: list[Tree]) -> int:
    """Order trees."""
    return len(trees)


@pytest.mark.works("`auto_model()`: an agent run through all its tools and its output without a script")
async def test_each_tool_is_called_once_and_then_comes_the_output() -> None:
    model = auto_model()

    result = await alloy.run("x", model=model, tools=[search, order], output=Everything)

    assert result.status is Status.COMPLETED
    assert [(record.name, record.outcome) for record in result.tool_calls] == [
        ("search", Outcome.OK),
        ("order", Outcome.OK),
        ("final_answer", Outcome.OK),
    ]
    assert isinstance(result.output, Everything)
    assert len(model.requests) == 2


async def test_without_an_output_it_says_its_text() -> None:
    result = await alloy.run("x", model=auto_model(text="over"), tools=[search])

    assert (result.text, result.turns) == ("over", 2)


async def test_until_tool_is_one_of_the_tools() -> None:
    result = await alloy.run("x", model=auto_model(), tools=[order, search], until_tool="search")

    assert result.output == {"query": "text", "limit": 1, "mood": "good"}


async def test_it_answers_in_text_where_the_schema_is_held() -> None:
    class Held(ScriptedModel):
        def holds_to(self, schema: Any) -> bool:
            return True

    auto = auto_model()
    model = Held(lambda request: auto._next(request)(request), loop=True)  # type: ignore[operator,arg-type,return-value]

    result = await alloy.run("x", model=model, output=Movie)

    assert result.output == {"title": "text"}


async def test_arguments_may_be_given() -> None:
    model = auto_model(arguments={"search": {"query": "mine", "limit": 2}})

    result = await alloy.run("x", model=model, tools=[search])

    assert result.messages[2].results[0].text == "mine 2 good"  # type: ignore[union-attr]


async def test_what_does_not_fit_after_all_fails_the_test() -> None:
    @attrs.frozen
    class Even:
        number: int = attrs.field()

        @number.validator
        def check(self, attribute: Any, value: int) -> None:
            if value % 2:
                raise ValueError(f"{value} is odd")

    with pytest.raises(AssertionError, match=r"'final_answer' does not fit: .*1 is odd"):
        await alloy.run("x", model=auto_model(), output=Even)

    result = await alloy.run("x", model=auto_model(arguments={"final_answer": {"number": 2}}), output=Even)
    assert result.output == Even(2)


async def test_every_prompt_begins_anew() -> None:
    async with alloy.open_agent(alloy.Agent(model=auto_model(), tools=[search])) as ref:
        first = await ref.chat("x")
        second = await ref.chat("y")

    assert [len(result.tool_calls) for result in (first, second)] == [1, 1]


def test_the_tools_that_come_with_alloy_can_be_called_with_what_is_made_up() -> None:
    for tool in core_tools():
        tool.parse(made_up(tool.parameters))
