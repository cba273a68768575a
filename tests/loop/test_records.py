"""What a session remembers: exact in JSON and back, and never guessed."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import strategies as some
from alloy import AssistantMessage, CorruptStore, StopInfo, StopReason, ToolResult, UnknownVersion, UserMessage
from alloy.loop.journal import Entry, branch, entry, entry_from_json, entry_to_json
from alloy.loop.records import (
    RECORDS,
    Accepted,
    Answered,
    AskFailed,
    CallPending,
    CallSettled,
    Decided,
    Described,
    HistoryGiven,
    ModelChanged,
    Other,
    RunBegun,
    RunEnded,
    Said,
    kind_of,
    record_to_json,
)

others = st.builds(
    Other,
    data=some.json_objects.map(lambda fields: {**fields, "kind": "of_another_day", "v": 3}),
)
records = st.one_of(
    others,
    st.builds(HistoryGiven, messages=st.lists(some.messages, max_size=3).map(tuple)),
    st.builds(Said, run_id=some.ids, message=some.user_messages),
    st.builds(
        Answered,
        run_id=some.ids,
        turn=st.integers(1, 9),
        message=some.assistant_messages,
        edited_from=st.dictionaries(some.ids, some.json_objects, max_size=2),
    ),
    st.builds(RunBegun, run_id=some.ids, agent=some.texts, agent_path=st.lists(some.texts, max_size=2).map(tuple)),
    st.builds(AskFailed, run_id=some.ids, turn=st.just(1), error=some.texts, usage=some.usages),
    st.builds(
        RunEnded,
        run_id=some.ids,
        status=some.ids,
        error=st.none() | some.json_objects,
        output=some.json_values,
        usage=some.usages,
        stop=st.none() | some.stops,
        duration=st.floats(0, 1e6),
    ),
    st.builds(CallSettled, run_id=some.ids, call_id=some.ids, result=some.results),
    st.builds(CallPending, run_id=some.ids, call_id=some.ids, pending_id=some.ids, expires_at=st.none() | st.just(1.5)),
    st.builds(
        Decided,
        pending_id=some.ids,
        verdict=st.sampled_from(["approve", "edit", "deny", "answer"]),
        arguments=st.none() | some.json_objects,
    ),
    st.builds(Accepted, message=some.user_messages, request_id=some.ids, options=some.json_objects),
    st.builds(Described, metadata=some.json_objects),
)
entries = st.builds(Entry, id=some.ids, parent=st.none() | some.ids, at=st.floats(0, 1e10), record=records)


@given(entries)
def test_an_entry_is_itself_again_after_json(made: Entry) -> None:
    text = json.dumps(entry_to_json(made))

    assert entry_from_json(json.loads(text), "x") == made


def test_every_kind_of_record_has_a_tag_and_a_version() -> None:
    for kind, cls in RECORDS.items():
        required = {field.name: "x" for field in attrs.fields(cls) if field.default is attrs.NOTHING}
        special: dict[str, Any] = {
            "message": AssistantMessage("x", stop=StopInfo(StopReason.END_TURN))
            if cls is Answered
            else UserMessage("x"),
            "messages": (),
            "ids": (),
            "turn": 1,
            "verdict": "deny",
            "result": ToolResult("done"),
        }
        record = cls(**{name: special.get(name, value) for name, value in required.items()})

        data = record_to_json(record)

        assert (data["kind"], data["v"], kind_of(record)) == (kind, 1, kind)


def stored(**changes: Any) -> dict[str, Any]:
    """An entry's JSON, with the record's fields changed."""
    data = entry_to_json(entry(ModelChanged(model="m"), None))
    return {**data, "record": {**data["record"], **changes}}


@pytest.mark.parametrize("version", [0, 2, "1"])
def test_a_known_kind_in_an_unknown_version_is_refused(version: object) -> None:
    with pytest.raises(UnknownVersion, match="here: unknown version") as caught:
        entry_from_json(stored(v=version), "here")

    assert caught.value.version == version


def test_an_unknown_version_inside_a_record_is_refused() -> None:
    data = entry_to_json(entry(Said(run_id="r", message=UserMessage("Hello")), None))
    data["record"]["message"]["v"] = 2

    with pytest.raises(UnknownVersion):
        entry_from_json(data, "here")


def test_an_unknown_kind_is_kept_as_it_is() -> None:
    data = stored(kind="of_another_day", v=9, more={"a": [1]})

    made = entry_from_json(data, "here")

    assert made.kind == "of_another_day"
    assert entry_to_json(made) == data


def test_a_field_of_a_later_minor_version_is_left_out() -> None:
    assert entry_from_json(stored(more=1), "here").record == ModelChanged(model="m")


@pytest.mark.parametrize(
    "data",
    [
        None,
        {},
        {"id": "a"},
        {"id": 1, "parent": None, "at": 1.0, "record": {"kind": "model_changed", "v": 1, "model": "m"}},
        {"id": "a", "parent": None, "at": 1.0, "record": {"kind": "model_changed", "v": 1}},
        {"id": "a", "parent": None, "at": 1.0, "record": {"v": 1}},
        {
            "id": "a",
            "parent": None,
            "at": 1.0,
            "record": {"kind": "decided", "v": 1, "pending_id": "p", "verdict": "?"},
        },
    ],
)
def test_what_is_no_entry_is_corrupt_and_says_where(data: object) -> None:
    with pytest.raises(CorruptStore, match="here") as caught:
        entry_from_json(data, "here")

    assert caught.value.place == "here"


def test_what_is_no_record_has_no_json() -> None:
    with pytest.raises(TypeError, match="a session remembers records, not UserMessage"):
        record_to_json(UserMessage("Hello"))  # type: ignore[arg-type]  # the point of it


def test_a_branch_leads_from_the_root_to_an_entry() -> None:
    one, two = entry(ModelChanged(model="1"), None), entry(ModelChanged(model="2"), None)
    three = entry(ModelChanged(model="3"), one.id)
    there = [one, two, three]

    assert branch(there) == [one, three]
    assert branch(there, two.id) == [two]
    assert branch([]) == []
    with pytest.raises(ValueError, match="no entry 'x'"):
        branch(there, "x")
