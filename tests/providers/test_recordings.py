"""Recorded traffic, read by the dialects, and conversations played again over the whole client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

import recordings
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.dialect import Dialect
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.testing.conformance import check_dialect, deviations
from alloy.testing.recorded import decode
from recordings import needs_recordings

pytestmark = needs_recordings

DIALECTS: Mapping[str, Dialect] = {
    "anthropic-messages": AnthropicMessages(),
    "openai-chat": ChatCompletions(),
    "openai-responses": Responses(),
    "gemini": Gemini(),
    "ollama-chat": OllamaChat(),
}
LEAST = {"ollama-chat": 8, "gemini": 90}  # recordings that there are; of the others more than 100
CASES = [(wire, name) for wire in DIALECTS for name in recordings.names(wire)]


def check(wire: str, name: str, **options: Any) -> None:
    dialect = DIALECTS[wire]
    check_dialect(
        dialect,
        {name: recordings.load(name)},
        {name: recordings.expected(name)},
        target_of=lambda recording: recordings.target_of(recording, dialect.name),
        **options,
    )


def test_there_are_recordings_of_each_wire() -> None:
    assert all(len(recordings.names(wire)) >= LEAST.get(wire, 100) for wire in DIALECTS)


@pytest.mark.parametrize(("wire", "name"), CASES)
def test_a_recording_reads_as_the_vendors_sdk_read_it(wire: str, name: str) -> None:
    check(wire, name)


@pytest.mark.parametrize(("name", "number"), recordings.EXCEPTIONS)
def test_an_exception_from_the_sdks_reading_is_one(name: str, number: int) -> None:
    sdk = recordings.as_the_sdk_reads(name, number)
    assert sdk is not None

    recording = recordings.load(name)
    assert list(deviations(sdk, decode(DIALECTS[recording["wire"]], recording["exchanges"][number])))


@pytest.mark.slow
@pytest.mark.parametrize(("wire", "name"), CASES)
def test_a_recording_reads_the_same_byte_by_byte(wire: str, name: str) -> None:
    check(wire, name, exhaustive=True, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("wire", DIALECTS)
def test_a_short_stream_reads_the_same_however_it_is_cut_in_two(wire: str) -> None:
    dialect, checked = DIALECTS[wire], 0
    for name, number in _short_streams(wire):
        exchange = recordings.load(name)["exchanges"][number]
        target = recordings.target_of(recordings.load(name), dialect.name)
        want = recordings.expected(name)[number]
        whole = decode(dialect, exchange, target=target)
        assert want is not None
        for cut in range(1, len(exchange["response"]["body"].encode())):
            halves = decode(dialect, exchange, split=[cut], target=target)
            assert halves.deltas == whole.deltas, (name, number, cut)
            assert not list(deviations(want, halves)), (name, number, cut)
        checked += 1

    assert checked > min(5, LEAST.get(wire, 100) / 3)


def _short_streams(wire: str) -> list[tuple[str, int]]:
    return [
        (name, number)
        for name in recordings.names(wire)
        for number, exchange in enumerate(recordings.load(name)["exchanges"])
        if exchange["response"].get("stream") and len(exchange["response"]["body"]) < 3_500
    ]
