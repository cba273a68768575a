"""The nouns of a message."""

from __future__ import annotations

from pathlib import Path

import pytest

from alloy.llm.content import Document, Image, Text, ToolResult
from alloy.llm.message import UserMessage, as_user_message


def test_a_str_given_as_content_is_one_text() -> None:
    assert UserMessage("hello").content == (Text("hello"),)
    assert ToolResult("done").content == (Text("done"),)
    assert ToolResult(["a", "b"][:0]).text == ""


def test_a_message_without_an_id_gets_one_of_its_own() -> None:
    first, second = UserMessage("x"), UserMessage("x")

    assert first.id.startswith("msg_")
    assert first.id != second.id


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "exactly one of data, url and file_id, got none"),
        ({"url": "https://x", "file_id": "f"}, "got url and file_id"),
        ({"data": b"x"}, "needs a media_type such as 'image/png'"),
    ],
)
def test_media_come_from_exactly_one_place(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Image(**fields)  # type: ignore[arg-type]


def test_a_file_is_read_with_the_media_type_of_its_name(tmp_path: Path) -> None:
    file = tmp_path / "paper.pdf"
    file.write_bytes(b"%PDF-")

    document = Document.from_path(file)

    assert document == Document(b"%PDF-", media_type="application/pdf", name="paper.pdf")
    assert "%PDF" not in repr(document)


def test_a_file_of_no_known_type_needs_one_given(tmp_path: Path) -> None:
    file = tmp_path / "thing.qqq"
    file.write_bytes(b"?")

    with pytest.raises(ValueError, match=r"give media_type="):
        Image.from_path(file)
    assert Image.from_path(file, media_type="image/png").media_type == "image/png"


@pytest.mark.parametrize("prompt", ["", "  \n", (), []])
def test_an_empty_prompt_is_refused(prompt: object) -> None:
    with pytest.raises(ValueError, match="the prompt is empty"):
        as_user_message(prompt)  # type: ignore[arg-type]


@pytest.mark.parametrize("prompt", [5, None, [5], {"a": 1}, b"x"])
def test_a_prompt_of_another_kind_is_a_type_error(prompt: object) -> None:
    with pytest.raises(TypeError, match="a prompt is a str"):
        as_user_message(prompt)  # type: ignore[arg-type]
