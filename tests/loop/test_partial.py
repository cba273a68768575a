"""What there is of an answer before it is whole."""

from __future__ import annotations

import json
from typing import Literal

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import alloy
from alloy.llm.completion import Fold
from alloy.llm.content import ToolCall
from alloy.llm.delta import ArgumentsPart, ItemStarted, TextPart
from alloy.loop.partial import partial_json
from alloy.testing import ScriptedModel, calls, says

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("nonsense", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a": ', {}),
        ('{"a": 1', {"a": 1}),
        ('{"a": 1, "b": [1, "tw', {"a": 1, "b": [1, "tw"]}),
        ('{"a": [1, 2], "b": tr', {"a": [1, 2]}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00e', {"a": "x"}),
        ('{"a": "x\\\\', {"a": "x\\"}),
        ('["{", "[', ["{", "["]),
        ('{"a": "b, c", "d": -', {"a": "b, c"}),
        ("[[], [", [[], []]),
        ("[" * 100_000, None),
    ],
)
def test_a_cut_text_gives_what_is_there(text: str, value: object) -> None:
    assert partial_json(text) == value


@given(value=JSON, ascii=st.booleans(), data=st.data())
def test_a_text_cut_anywhere_gives_a_beginning_of_its_value(value: object, ascii: bool, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    cut = data.draw(st.integers(0, len(text)))

    found = partial_json(text[:cut])

    assert _begins(found, value)
    assert partial_json(text) == value


def _begins(part: object, whole: object) -> bool:
    """Whether `part` could become `whole` by getting longer."""
    match part, whole:
        case (None, _):
            return True
        case (dict(), dict()):
            # A key may come twice in a text, but not in a value.
            return all(key in whole and _begins(part[key], whole[key]) for key in part)
        case (list(), list()):
            return len(part) <= len(whole) and all(map(_begins, part, whole))
        case (str(), str()):
            # Half of a surrogate pair stands for itself until the other half comes.
            return whole.startswith((part, part[:-1]))
        case (bool(), bool()):
            return part == whole
        case (int(), int()):
            return str(whole).startswith(str(part))
        case _:
            return False


@attrs.frozen
class Offer:
    title: str
    price: float


def fold_of(*pieces: str, name: str = "final_answer") -> Fold:
    fold = Fold()
    fold.add([ItemStarted(0, ToolCall("c", name, {})), *(ArgumentsPart(0, piece) for piece in pieces)])
    return fold


def test_an_output_in_the_making_is_shown_by_its_fields() -> None:
    goal = alloy.Agent(model="scripted:echo", output=Offer).goal
    assert goal is not None

    assert goal.of_partial(fold_of('{"title": "Em', 'ma", "pri')) == {"title": "Emma"}
    assert goal.of_partial(fold_of('{"title": "Em', name="look_up")) is None


def test_an_output_that_is_no_object_is_shown_as_itself() -> None:
    goal = alloy.Agent(model="scripted:echo", output=Literal["yes", "no"]).goal
    assert goal is not None

    assert goal.of_partial(fold_of('{"value": "ye')) == "ye"


def test_an_output_that_the_vendor_sends_as_text_is_shown_too() -> None:
    goal = alloy.Agent(model="scripted:echo", output=Offer).goal
    assert goal is not None
    fold = Fold()
    fold.add([TextPart(0, '{"title": "Emma", "price": 8.5')])

    assert goal.of_partial(fold) == {"title": "Emma", "price": 8.5}


async def test_a_stream_shows_the_text_so_far_and_at_last_what_it_came_to() -> None:
    seen: list[object] = []
    model = ScriptedModel(says("Good morning", chunks=["Good ", "morning"]))

    def on_event(event: alloy.Event) -> None:
        if isinstance(event, alloy.TurnStarted | alloy.TextDelta):
            seen.append(stream.partial())

    async with alloy.stream("x", model=model, on_event=on_event) as stream:
        await stream.result()

    assert seen == [None, "Good ", "Good morning"]
    assert stream.partial() == "Good morning"


async def test_a_stream_of_an_agent_server_shows_what_there_is_of_its_request() -> None:
    seen: list[object] = []
    model = ScriptedModel(calls("final_answer", title="Emma", price=8.5))

    def on_event(event: alloy.Event) -> None:
        if isinstance(event, alloy.ToolCallDelta):
            seen.append(stream.partial())

    async with (
        alloy.open_agent(alloy.Agent(model=model)) as ref,
        ref.stream_chat("x", on_event=on_event, output=Offer) as stream,
    ):
        await stream.result()

    assert seen[-1] == {"title": "Emma", "price": 8.5}
    assert stream.partial() == Offer("Emma", 8.5)
