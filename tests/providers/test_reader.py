"""What the body of an answer is, found out from the body itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from alloy.llm import Origin, ProtocolError, RateLimited, StreamTruncated
from alloy.llm.delta import Delta, TextPart
from alloy.providers import reader as module
from alloy.providers.dialect import FrameDecoder, Target
from alloy.providers.framing import Frame
from alloy.providers.reader import Reader

TARGET = Target(origin=Origin("letters", "test", "http://x", "abc"))


class Letters(FrameDecoder):
    """Reads `{"text": …}` and `{"end": true}`, one a frame, or `{"all": […]}` in one piece."""

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        self._value(json.loads(frame.data), deltas)

    def read_whole(self, body: Any, deltas: list[Delta]) -> None:
        for value in body.get("all", [body]):
            self._value(value, deltas)

    def _value(self, value: Any, deltas: list[Delta]) -> None:
        if "error" in value:
            raise RateLimited(value["error"])
        if value.get("end"):
            self.is_complete = True
        else:
            deltas.append(TextPart(0, value["text"]))


def read(chunks: Sequence[bytes], framing: Any = "sse", content_type: str = "") -> str:
    """All the text in a body."""
    reader = Reader(framing, Letters(TARGET), content_type)
    deltas = [delta for chunk in chunks for delta in reader.feed(chunk)]
    deltas += [*reader.close(), *reader.end()]
    return "".join(delta.text for delta in deltas if isinstance(delta, TextPart))


A, B, END = b'data: {"text": "a"}\n\n', b'data: {"text": "b"}\n\n', b'data: {"end": true}\n\n'
BOM = b"\xef\xbb\xbf"


@pytest.mark.parametrize(
    "body",
    [
        A + B + END,
        BOM + A + B + END,
        b"\n\n\n: waiting\n\n" + A + B + END,
        A + B + END.rstrip(),
        A.replace(b"\n", b"\r\n") + B + END,
        b'[{"text": "a"}, {"text": "b"}, {"end": true}]',
        BOM + b'\n\n [\n {"text": "a"},\n {"text": "b"},\n {"end": true}]\n',
        BOM + b'\n\n {"all": [{"text": "a"},\n {"text": "b"},\n {"end": true}]}\n',
    ],
)
def test_a_stream_and_one_piece_are_told_apart_whatever_the_header_says(body: bytes) -> None:
    for content_type in ("text/event-stream", "application/json", ""):
        assert read([body], content_type=content_type) == "ab"
        assert read([body[i : i + 1] for i in range(len(body))], content_type=content_type) == "ab"


def test_lines_of_json_are_a_stream_where_lines_were_asked_for() -> None:
    assert read([b'{"text": "a"}\n{"text": "b"}\n{"end": true}'], "lines") == "ab"


@pytest.mark.parametrize("body", [b"<!DOCTYPE html><html>Sign in", b"\n  <html>Sign in", b"Sign in, please", b"[1, 2"])
def test_what_is_no_answer_is_a_protocol_error_that_shows_its_start(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        read([body])

    assert caught.value.body == body.decode()


@pytest.mark.parametrize(
    ("chunks", "content_type"),
    [
        ([], ""),
        ([b"\n\n"], ""),
        ([b": ping\n\n"], "text/event-stream"),
        ([A], ""),
        ([A, b'data: {"text": "b'], ""),
        ([A, b'data: {"te'], ""),
        ([b'[{"text": "a"},\n'], "application/json"),
        ([b'[{"te'], "application/json"),
        ([b"["], "application/json"),
    ],
)
def test_a_stream_that_ends_before_its_end_is_truncated(chunks: list[bytes], content_type: str) -> None:
    with pytest.raises(StreamTruncated):
        read(chunks, content_type=content_type)


def test_a_line_that_is_cut_is_truncated_too() -> None:
    with pytest.raises(StreamTruncated):
        read([b'{"tex'], "lines")


def test_what_comes_after_the_end_may_be_cut() -> None:
    assert read([A + END + b'data: {"te']) == "a"


@pytest.mark.parametrize("frame", ["{", "[]", "1", '"x"', "null", "{}", '{"text": 1', "[" * 100_000])
def test_a_frame_that_cannot_be_read_is_a_protocol_error(frame: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be read") as caught:
        read([A, f"data: {frame}\n\n".encode(), END])

    assert caught.value.__cause__ is not None
    assert frame[:100] in caught.value.body


def test_an_error_behind_deltas_shows_after_them_and_without_waiting_for_more() -> None:
    reader = Reader("sse", Letters(TARGET))

    assert reader.feed(A + b'data: {"error": "slow down"}\n\n') == [TextPart(0, "a")]
    with pytest.raises(RateLimited, match="slow down"):
        reader.feed(b"")


def test_an_error_in_one_piece_is_of_its_kind() -> None:
    with pytest.raises(RateLimited, match="slow down"):
        read([b'{"error": "slow down"}'])


def test_an_error_that_stands_bare_in_a_stream_of_events_is_of_its_kind() -> None:
    with pytest.raises(RateLimited, match="slow down"):
        read([A, b'{\n  "error": "slow', b' down"\n}\n', END])


def test_one_piece_is_not_gathered_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BODY_BYTES", 100)

    with pytest.raises(ProtocolError, match="longer than 100 bytes"):
        read([b'{"text": "', *[b"a" * 20] * 10])
