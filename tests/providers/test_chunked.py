"""Bodies in chunks: read as h11 reads them, however they are cut."""

from __future__ import annotations

from collections.abc import Sequence

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alloy.providers.chunked import MAX_LINE_BYTES, ChunkedBody

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PLAIN = b"5\r\nHello\r\n1\r\n,\r\n0\r\n\r\n"


def read(pieces: Sequence[bytes]) -> tuple[bytes, bool, bytes]:
    """The body, whether it is over, and what is behind it."""
    body = ChunkedBody()
    data = b"".join([body.feed(piece) for piece in pieces])
    return data, body.is_over, body.rest


def by_h11(pieces: Sequence[bytes]) -> tuple[bytes, bool, bytes]:
    http = h11.Connection(h11.CLIENT)
    http.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    http.send(h11.EndOfMessage())
    data, is_over = b"", False
    for piece in filter(None, (HEAD, *pieces)):  # no bytes would be the end of the connection
        http.receive_data(piece)
        while not is_over and (event := http.next_event()) is not h11.NEED_DATA:
            data += bytes(event.data) if isinstance(event, h11.Data) else b""
            is_over = isinstance(event, h11.EndOfMessage)
    return data, is_over, http.trailing_data[0] if is_over else b""


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = sorted(place % (len(data) + 1) for place in places)
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """A body in chunks as servers write it, whole or not, with something behind it or not."""
    chunks = draw(st.lists(st.binary(min_size=1, max_size=40), max_size=6))
    spell = draw(st.sampled_from(["{:x}", "{:X}", "{:04x}", "{:x} ", "{:x};name=value", "{:x};a;b=c"]))
    written = [spell.format(len(chunk)).encode() + b"\r\n" + chunk + b"\r\n" for chunk in chunks]
    trailer = draw(st.sampled_from([b"", b"x-sum: 1\r\n", b"a: 1\r\nb: 2\r\n"]))
    whole = b"".join(written) + b"0\r\n" + trailer + b"\r\n"
    return whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole + draw(st.binary(max_size=4))


@given(bodies(), st.lists(st.integers(0, 400), max_size=5))
@example(PLAIN, list(range(len(PLAIN))))
def test_a_body_reads_as_h11_reads_it_however_it_is_cut(data: bytes, places: Sequence[int]) -> None:
    assert read(cut(data, places)) == by_h11(cut(data, places))


def test_a_body_reads_the_same_byte_by_byte() -> None:
    assert read([bytes([byte]) for byte in PLAIN + b"next"]) == (b"Hello,", True, b"next")


def test_what_has_come_of_a_chunk_is_handed_out_at_once() -> None:
    body = ChunkedBody()

    assert [body.feed(piece) for piece in (b"ff", b"ff\r\nab", b"cd")] == [b"", b"ab", b"cd"]


@pytest.mark.parametrize(
    "data",
    [
        b"x\r\n",
        b"\r\n",
        b"-1\r\n",
        b"+5\r\nHello\r\n",
        b"1_0\r\n",
        b"0x5\r\nHello\r\n",
        b"5\nHello\n",
        b"5\r\nHello!\r\n",
        b"5\r\nHello\n",
        b"1" * 16 + b"\r\n",
        b"5;" + b"x" * MAX_LINE_BYTES,
        b"0\r\n" + b"x" * (MAX_LINE_BYTES + 1),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 100_000])
def test_what_is_no_chunk_is_refused(data: bytes, size: int) -> None:
    with pytest.raises(ValueError, match=r"chunk"):
        read([data[at : at + size] for at in range(0, len(data), size)])
