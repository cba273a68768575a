"""JSON by msgspec: what it reads is what the standard library reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import recordings
from alloy.providers import fast_json
from alloy.providers.dialect import loads
from recordings import needs_recordings

pytest.importorskip("msgspec", reason="needs the extra fast")

ODD = [
    "NaN",
    "[1e400, -Infinity]",
    '"\\ud800"',
    '"\ud800"',
    '"\\ud83d\\ude00"',
    '{"a": 1, "b": 2, "a": 3}',
    "123456789012345678901234567890",
    "-0",
    "-0.0",
    "1E5",
    "5e-324",
    " [1] \n",
    "\ufeff1",
    '"\x01"',
    "01",
    "[1,]",
    "{} x",
    "",
    "[" * 500 + "]" * 500,
]


def outcome(text: str) -> tuple[str, Any]:
    """What is read, spelled out so that 1, 1.0 and True differ; or that it is no JSON."""
    try:
        return "read", repr(loads(text))
    except ValueError:
        return "no JSON", None


def without_msgspec(text: str) -> tuple[str, Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fast_json, "decode", None)
        return outcome(text)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@pytest.mark.parametrize("text", ODD)
def test_odd_text_reads_the_same_with_and_without(text: str) -> None:
    assert outcome(text) == without_msgspec(text)
    assert outcome(f"[{text}]") == without_msgspec(f"[{text}]")


@given(values.map(json.dumps) | st.text())
def test_any_text_reads_the_same_with_and_without(text: str) -> None:
    assert outcome(text) == without_msgspec(text)


def frames() -> Iterator[str]:
    """All JSON in the bodies of the recordings, line by line."""
    for wire in ("anthropic-messages", "openai-chat", "openai-responses", "gemini", "ollama-chat"):
        for name in recordings.names(wire):
            for exchange in recordings.load(name)["exchanges"]:
                body = exchange["response"]["body"]
                for line in (body if isinstance(body, str) else json.dumps(body)).splitlines():
                    yield line.removeprefix("data:").strip()


@needs_recordings
def test_all_that_was_recorded_reads_the_same_with_and_without() -> None:
    texts = [text for text in frames() if text.startswith("{")]

    assert len(texts) > 1_000
    assert [text for text in texts if outcome(text) != without_msgspec(text)] == []


def test_it_is_used_where_it_is_installed_and_not_missed_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, _ = fast_json._find()
    monkeypatch.setitem(sys.modules, "msgspec", None)

    assert found is not None
    assert fast_json._find() == (None, ())
