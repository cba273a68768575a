"""What a tool returned, as the model is told it."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import types
import uuid
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alloy.llm.content import Audio, Document, Image, Outcome, Text, ToolResult
from alloy.tools import Fatal, ToolError, ToolRetry
from alloy.tools.results import as_result, cut, describe

PNG = Image(b"x", media_type="image/png")


class Colour(enum.Enum):
    RED = "red"


@attrs.frozen
class Hit:
    title: str
    when: datetime.date | None = None


@dataclasses.dataclass
class Page:
    hits: list[Hit]
    colour: Colour = Colour.RED


TOLD: dict[str, tuple[Any, str]] = {
    "text": ("hello", "hello"),
    "empty text": ("", ""),
    "None": (None, "null"),
    "a number": (1.5, "1.5"),
    "a bool": (True, "true"),
    "a list": ([1, "ä"], '[1, "ä"]'),
    "an empty list": ([], "[]"),
    "a dict": ({"a": (1, None), 2: "b"}, '{"a": [1, null], "2": "b"}'),
    "attrs": (Hit("t", datetime.date(2026, 1, 2)), '{"title": "t", "when": "2026-01-02"}'),
    "dataclass": (Page([Hit("t")]), '{"hits": [{"title": "t", "when": null}], "colour": "red"}'),
    "a set": ({"b", "a"}, '["a", "b"]'),
    "an enum": (Colour.RED, '"red"'),
    "a datetime": (datetime.datetime(2026, 1, 2, 3, 4), '"2026-01-02T03:04:00"'),
    "the usual values": (
        [decimal.Decimal("1.10"), uuid.UUID(int=0), pathlib.PurePosixPath("/a")],
        '["1.10", "00000000-0000-0000-0000-000000000000", "/a"]',
    ),
    "a mapping with bytes": (types.MappingProxyType({"a": b"\xff"}), '{"a": "�"}'),
    "bytes": (b"ok \xff", "ok �"),
    "a lone surrogate": ("a\udcff", "a�"),
    "a pair of surrogates": ("\ud83d\ude00", "😀"),
    "a surrogate inside": ({"a": "\ud800"}, '{"a": "�"}'),
}


@pytest.mark.parametrize(("value", "text"), TOLD.values(), ids=TOLD)
def test_what_is_no_content_becomes_text(value: Any, text: str) -> None:
    result = as_result(value)

    assert result.content == (Text(text),)
    assert result.outcome is Outcome.OK
    text.encode()


def test_content_stays_content() -> None:
    document = Document(b"d", media_type="application/pdf")

    assert as_result(PNG).content == (PNG,)
    assert as_result(["see:\udcff", PNG, document, Text("t\udcff")]).content == (
        Text("see:�"),
        PNG,
        document,
        Text("t�"),
    )
    assert as_result(ToolResult([PNG], details=3, stop=True)) == ToolResult([PNG], details=3, stop=True)


def test_a_result_that_is_an_error_says_so_in_its_outcome_too() -> None:
    assert as_result(ToolResult("no", is_error=True)).outcome is Outcome.ERROR
    assert as_result(ToolResult("late", outcome=Outcome.TIMED_OUT)).is_error


async def coroutine() -> None: ...


def circle() -> list[Any]:
    items: list[Any] = []
    items.append(items)
    return items


NOT_TOLD: dict[str, tuple[Any, str]] = {
    "an object": (object(), "the tool returned a value of type object that is no JSON: object has no form in JSON"),
    "an object inside": ([{"a": object()}], "type list that is no JSON: object has no form in JSON"),
    "a class": (Hit, "type type that is no JSON"),
    "a generator": ((i for i in "a"), "generator has no form in JSON"),
    "a tuple as a key": ({(1, 2): 3}, "keys must be str"),
    "a circle": (circle(), "Circular reference detected"),
    "sound": (Audio(b"x", media_type="audio/wav"), "a tool result holds Text, Image and Document, not Audio"),
    "content and more": ([PNG, 3], "a tool result holds Text, Image and Document, not int"),
    "a wrong result": (ToolResult([3]), "not int"),  # type: ignore[list-item]  # that is the point
    "a coroutine": (coroutine(), "it must be `async def` itself to be awaited"),
}


@pytest.mark.parametrize(("value", "message"), NOT_TOLD.values(), ids=NOT_TOLD)
def test_what_has_no_form_is_an_error_that_names_its_type(value: Any, message: str) -> None:
    with pytest.raises(ToolError) as caught:
        as_result(value)

    assert message in str(caught.value)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]

    with pytest.raises(ToolError, match="type list that is no JSON"):
        as_result(deep)


class Broken(Exception):
    def __str__(self) -> str:
        raise RuntimeError


DESCRIBED: dict[str, tuple[BaseException, str]] = {
    "any": (ValueError("bad"), "ValueError: bad"),
    "without a message": (ValueError(), "ValueError"),
    "ToolError": (ToolError("no such note"), "no such note"),
    "ToolRetry": (ToolRetry("give an id"), "give an id"),
    "an empty ToolError": (ToolError(), "ToolError"),
    "Fatal": (Fatal("the disk is full"), "the disk is full"),
    "SystemExit": (SystemExit(3), "SystemExit: 3"),
    "a group of one": (ExceptionGroup("g", [ToolError("a")]), "a"),
    "a group": (BaseExceptionGroup("g", [KeyError("k"), ExceptionGroup("h", [ToolError("b")])]), "KeyError: 'k'; b"),
    "a broken __str__": (Broken(), "Broken: (its message cannot be read)"),
}


@pytest.mark.parametrize(("error", "text"), DESCRIBED.values(), ids=DESCRIBED)
def test_an_error_is_described(error: BaseException, text: str) -> None:
    assert describe(error) == text


def test_a_long_result_keeps_head_and_tail_and_says_how_much_is_missing() -> None:
    result = cut(ToolResult("a" * 500 + "b" * 500), 100)

    assert result.text == "a" * 32 + "\n[… 936 characters are left out …]\n" + "b" * 32
    assert len(result.text) == 99  # of the marker's number, the widest that it can be is reckoned with


def test_the_marker_names_where_the_whole_is_if_there_is_room() -> None:
    assert "; all of it is in .alloy/spill/1.txt …]" in cut(ToolResult("a" * 1000), 100, ".alloy/spill/1.txt").text
    assert "spill" not in cut(ToolResult("a" * 1000), 60, ".alloy/spill/1.txt").text


def test_images_between_texts_stay_where_the_cut_leaves_them() -> None:
    result = cut(ToolResult([Text("a" * 100), PNG, Text("b" * 100), PNG, Text("c" * 100)]), 55)

    assert result.content == (
        Text("a" * 10 + "\n[… 280 characters are left out …]\n"),
        PNG,
        PNG,
        Text("c" * 10),
    )


@given(st.lists(st.text(max_size=60) | st.just(PNG), max_size=8), st.integers(1, 120), st.none() | st.just("p.txt"))
def test_a_cut_result_fits_and_is_made_of_its_head_and_tail(items: list[Any], limit: int, path: str | None) -> None:
    whole = ToolResult([Text(item) if isinstance(item, str) else item for item in items])

    result = cut(whole, limit, path)

    assert len(result.text) <= limit
    assert [item for item in result.content if item is PNG] == [item for item in items if item is PNG]
    if len(whole.text) <= limit:
        assert result is whole
    elif "left out" in result.text and "left out" not in whole.text:
        head, _, rest = result.text.partition("\n[… ")
        number, tail = rest.split(" ", 1)[0], rest.split("…]\n", 1)[1]
        assert whole.text.startswith(head)
        assert whole.text.endswith(tail)
        assert len(head) + len(tail) + int(number) == len(whole.text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_json_values_are_told_as_json(value: Any) -> None:
    text = as_result(value).text

    assert text == value if isinstance(value, str) else json.loads(text) == value
