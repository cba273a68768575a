"""Bytes into frames: what the specification says, and what servers do instead."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import Any, Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alloy.providers.framing import Frame, Objects, framer

Kind = Literal["sse", "lines"]


def cut(chunks: Sequence[bytes], kind: Kind = "sse") -> list[Frame]:
    cutter = framer(kind)
    return [*itertools.chain.from_iterable(map(cutter.feed, chunks)), *cutter.close()]


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ("data: 1\n\n", [Frame("1")]),
        ("data:1\n\n", [Frame("1")]),
        ("data:  1\n\n", [Frame(" 1")]),
        ("data: 1\r\n\r\ndata: 2\r\n\r\n", [Frame("1"), Frame("2")]),
        ("data: 1\r\rdata: 2\r\r", [Frame("1"), Frame("2")]),
        ("data: 1\n\r\ndata: 2\r\n\n", [Frame("1"), Frame("2")]),
        ("\ufeffdata: 1\n\n", [Frame("1")]),
        ("data: \ufeff1\n\n", [Frame("\ufeff1")]),
        (": ping\n\ndata: 1\n\n: ping\n\n", [Frame("1")]),
        ("data: 1\n: between\ndata: 2\n\n", [Frame("1\n2")]),
        ("data\ndata: 2\n\n", [Frame("\n2")]),
        ("event: delta\ndata: 1\n\n", [Frame("1", "delta")]),
        ("data: 1\nevent:delta\n\ndata: 2\n\n", [Frame("1", "delta"), Frame("2")]),
        ("event: ping\n\ndata: 1\n\n", [Frame("1")]),
        ("event: ping\ndata:\n\ndata: 1\n\n", [Frame("1")]),
        ("id: 7\nretry: 10\nunknown: x\ndata: 1\n\n", [Frame("1")]),
        ('{\n  "a": {\n    "b": "}"\n  }\n}\ndata: 1\n\n', [Frame('{\n  "a": {\n    "b": "}"\n  }\n}'), Frame("1")]),
        ('data: 1\n\n{"a": 2}\r\n{"b": 3}\r\n', [Frame("1"), Frame('{"a": 2}'), Frame('{"b": 3}')]),
        ('data: 1\n{"a": 2}\n\n{"b": 3\n\ndata: 4\n\n', [Frame("1"), Frame("4")]),
        ("data: a\u2028b\x85c\x0bd\x0ce\n\n", [Frame("a\u2028b\x85c\x0bd\x0ce")]),
        ("data: é😀\n\n", [Frame("é😀")]),
        ("data: 1\n\ndata: last", [Frame("1"), Frame("last")]),
        ("data: 1\n\ndata: last\n", [Frame("1"), Frame("last")]),
        ("data: 1\n\nevent: last", [Frame("1")]),
        ("", []),
        ("\n\n\n", []),
    ],
)
def test_events_are_cut_as_the_specification_says_in_one_piece_and_byte_by_byte(text: str, frames: list[Frame]) -> None:
    data = text.encode()

    assert cut([data]) == frames
    assert cut(bytewise(data)) == frames


@pytest.mark.parametrize(
    ("text", "frames"),
    [
        ('{"a":1}\n{"b":2}\n', [Frame('{"a":1}'), Frame('{"b":2}')]),
        ('{"a":1}\r\n\r\n{"b":2}', [Frame('{"a":1}'), Frame('{"b":2}')]),
        ('{"a":"x\u2028y\x85z"}\n', [Frame('{"a":"x\u2028y\x85z"}')]),
        ('\ufeff{"a":1}', [Frame('{"a":1}')]),
        ("\n  \n", []),
        ("", []),
    ],
)
def test_lines_are_cut_at_line_feeds_and_blank_ones_skipped(text: str, frames: list[Frame]) -> None:
    data = text.encode()

    assert cut([data], "lines") == frames
    assert cut(bytewise(data), "lines") == frames


def objects(chunks: Sequence[bytes]) -> list[Frame]:
    cutter = Objects()
    return [*itertools.chain.from_iterable(map(cutter.feed, chunks)), *cutter.close()]


@pytest.mark.parametrize(
    ("text", "texts"),
    [
        ('[{"a": 1},\r\n{"b": {"c": []}}\r\n]', ['{"a": 1}', '{"b": {"c": []}}']),
        ('[{"a": "}{\\"}\\\\"}, {"é": "\u2028"}]', ['{"a": "}{\\"}\\\\"}', '{"é": "\u2028"}']),
        ('{"a": 1}{"b": 2}', ['{"a": 1}', '{"b": 2}']),
        ('["{", 1, {}] }} {"a": 1', ["{}"]),
        ("", []),
    ],
)
def test_objects_are_cut_at_their_braces_wherever_they_stand(text: str, texts: list[str]) -> None:
    data = text.encode()

    assert [frame.data for frame in objects([data])] == texts
    assert [frame.data for frame in objects(bytewise(data))] == texts


JSON = st.recursive(
    st.none() | st.text('a"\\{}[],', max_size=8) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text('"\\}', max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(
    values=st.lists(st.dictionaries(st.text(max_size=3), JSON, max_size=3), max_size=4),
    indent=st.sampled_from([None, 0, 2]),
    size=st.integers(1, 9),
)
def test_the_objects_of_an_array_are_its_members(values: list[Any], indent: int | None, size: int) -> None:
    data = json.dumps(values, indent=indent).encode()

    frames = objects([data[i : i + size] for i in range(0, len(data), size)])

    assert [json.loads(frame.data) for frame in frames] == values


def test_an_object_without_end_is_refused_once_it_is_too_long() -> None:
    cutter = Objects(max_bytes=100)
    cutter.feed(b'[{"a": "')

    with pytest.raises(ValueError, match="longer than 100 bytes"):
        [cutter.feed(b"x" * 10) for _ in range(20)]


PIECES = st.lists(
    st.sampled_from(["data: ", "data:", "data", "event: e", ": ", "x", "{", "é", "\u2028", "\x85", "😀", "\ufeff"])
    | st.sampled_from(["\n", "\r", "\r\n", "\n\n", "\r\n\r\n", "\r\r"]),
    max_size=30,
)


@given(pieces=PIECES, ends=st.lists(st.integers(0, 200), max_size=8), kind=st.sampled_from(["sse", "lines"]))
@example(pieces=["data: 1", "\r\n", "\r\n", "data: 2", "\r\n\r\n"], ends=[8, 10, 11], kind="sse")
def test_any_split_of_the_bytes_gives_the_same_frames(pieces: list[str], ends: list[int], kind: Kind) -> None:
    data = "".join(pieces).encode()
    places = sorted({0, len(data), *(end for end in ends if end < len(data))})
    parts = [data[a:b] for a, b in itertools.pairwise(places)]

    assert cut(parts, kind) == cut([data], kind)


def test_every_split_into_two_of_a_stream_with_all_there_is_gives_the_same_frames() -> None:
    data = (
        '\ufeff: hello\n\nevent: a\r\ndata: {"t":"x\u2028y\x85z"}\r\n\r\ndata:1\ndata: 2\n\n'
        "event: ping\ndata: {}\n\n\n\ndata: é😀\r\rid: 7\ndata: [DONE]\n\ndata: tail"
    ).encode()
    whole = cut([data])

    assert [frame.data for frame in whole] == ['{"t":"x\u2028y\x85z"}', "1\n2", "{}", "é😀", "[DONE]", "tail"]
    assert all(cut([data[:i], data[i:]]) == whole for i in range(len(data) + 1))


@given(st.binary(max_size=300), st.sampled_from(["sse", "lines"]))
def test_no_bytes_are_an_error(data: bytes, kind: Kind) -> None:
    assert cut(bytewise(data), kind) == cut([data], kind)


def test_invalid_utf8_is_replaced() -> None:
    assert cut([b"data: a\xffb\n\n"]) == [Frame("a\ufffdb")]


def test_a_frame_is_handed_out_as_soon_as_it_is_complete() -> None:
    cutter = framer("sse")

    assert cutter.feed(b"data: 1\n") == []
    assert cutter.feed(b"\ndata: 2") == [Frame("1")]
    assert cutter.feed(b"\r\r") == [Frame("2")]
    assert cutter.close() == []


@pytest.mark.parametrize("kind", ["sse", "lines"])
def test_a_line_without_end_is_refused_once_it_is_too_long(kind: Kind) -> None:
    cutter = framer(kind, max_bytes=100)
    cutter.feed(b"data: ")

    with pytest.raises(ValueError, match="longer than 100 bytes"):
        [cutter.feed(b"x" * 10) for _ in range(20)]


def test_an_event_without_end_is_refused_once_it_is_too_long() -> None:
    cutter = framer("sse", max_bytes=100)

    with pytest.raises(ValueError, match="longer than 100 bytes"):
        [cutter.feed(b"data: 123\n") for _ in range(20)]


def test_many_small_events_are_not_too_long_together() -> None:
    cutter = framer("sse", max_bytes=100)

    frames = [frame for _ in range(100) for frame in cutter.feed(b"data: 123\n\ndata: 4\n\n: ping\n")]

    assert len(frames) == 200
