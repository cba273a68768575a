"""Messages as JSON and back."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given

from alloy.llm.codec import CodecError, from_json, to_json
from alloy.llm.content import Image, Origin, Text, ToolResult
from alloy.llm.message import AssistantMessage, StopInfo, StopReason, ToolMessage, UserMessage
from alloy.llm.usage import Usage
from strategies import media, messages, text_items, usages


@pytest.mark.works("Messages as JSON and back, exactly")
@given(messages | text_items | media | usages)
def test_everything_survives_json_unchanged(value: object) -> None:
    wire = json.dumps(to_json(value))

    assert from_json(json.loads(wire)) == value


def test_every_tagged_object_says_its_kind_and_version() -> None:
    data = to_json(UserMessage(["look", Image(b"\x89PNG", media_type="image/png")], id="msg_1"))

    assert data == {
        "kind": "user_message",
        "v": 1,
        "content": [
            {"kind": "text", "v": 1, "text": "look"},
            {"kind": "image", "v": 1, "data": "iVBORw==", "media_type": "image/png"},
        ],
        "id": "msg_1",
    }


def test_money_is_exact() -> None:
    message = AssistantMessage("x", stop=StopInfo(StopReason.END_TURN), usage=Usage(cost=Decimal("0.1000")))

    assert str(from_json(to_json(message)).usage.cost) == "0.1000"


def test_details_that_json_cannot_hold_become_what_they_say_of_themselves() -> None:
    message = ToolMessage([ToolResult("x", details={"seen": {1}, "fine": [1, None]})])

    assert to_json(message)["results"][0]["details"] == {"seen": "{1}", "fine": [1, None]}


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ([], "expected an object"),
        ({}, "unknown kind None"),
        ({"kind": "poem", "v": 1}, "unknown kind 'poem'"),
        ({"kind": ["text"], "v": 1}, "unknown kind"),
        ({"kind": "text", "v": 2, "text": "x"}, "unknown version 2"),
        ({"kind": "text", "text": "x"}, "unknown version None"),
        ({"kind": "text", "v": 1}, "'text' cannot be read"),
        ({"kind": "image", "v": 1, "data": "no base64!"}, "'image' cannot be read"),
        ({"kind": "image", "v": 1}, "exactly one of data, url and file_id"),
        ({"kind": "user_message", "v": 1, "content": [{"kind": "poem", "v": 1}]}, "unknown kind 'poem'"),
        ({"kind": "user_message", "v": 1, "content": 5}, "'user_message' cannot be read"),
        ({"kind": "tool_result", "v": 1, "content": [], "outcome": "fine"}, "'tool_result' cannot be read"),
    ],
)
def test_what_to_json_did_not_make_is_refused(data: object, complaint: str) -> None:
    with pytest.raises(CodecError, match=complaint):
        from_json(data)


def test_a_field_of_a_later_version_is_passed_over() -> None:
    assert from_json({"kind": "text", "v": 1, "text": "x", "mood": "good"}) == Text("x")


def test_what_has_no_json_form_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="no JSON form is known for dict"):
        to_json({})


def test_opaque_parts_are_kept_and_never_printed() -> None:
    origin = Origin("anthropic.messages", "anthropic", "https://api", "claude")
    data = {"kind": "text", "v": 1, "text": "x", "opaque": [
        {"kind": "opaque", "v": 1, "origin": to_json(origin), "type": "signature", "data": "c2VjcmV0"}
    ]}  # fmt: skip

    item = from_json(data)

    assert item.opaque[0].data == "c2VjcmV0"
    assert "c2VjcmV0" not in repr(item)
