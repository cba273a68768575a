"""The faults of a dialect of Gemini or Ollama, each of which the conformance suite must find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import pytest

from alloy.llm import BadRequest, Text, Thinking
from alloy.llm.delta import Delta, ItemStarted, TextPart, ThinkingPart, UsagePart
from alloy.llm.message import StopReason
from alloy.providers.dialect import Dialect, Target
from alloy.providers.framing import Frame
from alloy.providers.gemini import Gemini
from alloy.providers.gemini_decode import GeminiDecoder
from alloy.providers.ollama import OllamaChat
from alloy.providers.ollama_decode import OllamaDecoder
from recordings import needs_recordings
from testing.test_conformance import (
    Deltas,
    check,
    decodes,
    each,
    only_the_first_call,
    reads,
    stopping,
    summing,
    without,
    writes,
)

pytestmark = needs_recordings


def unsigned(delta: Delta) -> Delta:
    """An item without what the vendor attached to it."""
    if isinstance(delta, ItemStarted) and isinstance(delta.item, Text | Thinking):
        return ItemStarted(delta.index, attrs.evolve(delta.item, opaque=()))
    return delta


def thoughtless(delta: Delta) -> Delta:
    """Output counted without thoughts."""
    if isinstance(delta, UsagePart):
        counted = delta.usage.output_tokens - delta.usage.reasoning_tokens
        return UsagePart(attrs.evolve(delta.usage, output_tokens=counted))
    return delta


def spoken(delta: Delta) -> Delta:
    """Thoughts taken for text."""
    return TextPart(delta.index, delta.text) if isinstance(delta, ThinkingPart) else delta


class SwallowsTruncation(GeminiDecoder):
    def end(self) -> Deltas:
        self.is_complete = True
        return super().end()


class IgnoresErrors(GeminiDecoder):
    def _chunk(self, chunk: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        super()._chunk({key: value for key, value in chunk.items() if key != "error"}, deltas, in_stream=in_stream)


class KnowsNoBlock(GeminiDecoder):
    def _chunk(self, chunk: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        kept = {key: value for key, value in chunk.items() if key != "promptFeedback"}
        super()._chunk(kept, deltas, in_stream=in_stream)


class WantsAnId(GeminiDecoder):
    def _part(self, part: Mapping[str, Any], deltas: list[Delta]) -> None:
        if "id" in part.get("functionCall", {"id": ""}):
            super()._part(part, deltas)


class LosesTextOfBatches(GeminiDecoder):
    def feed(self, frames: Sequence[Frame]) -> Deltas:
        return super().feed([frame for frame in frames if frame is frames[0] or '"text"' not in frame.data])


class TakesAnOverloadForAMistake(Gemini):
    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> Any:
        error = super().error_from(status, headers, body, target)
        return BadRequest(str(error)) if status == 503 else error


def _parts(body: Any) -> list[Any]:
    return [part for content in body["contents"] for part in content["parts"]]


def signatures_left_out(body: Any) -> Any:
    for part in _parts(body):
        part.pop("thoughtSignature", None)
    return body


def bare_results(body: Any) -> Any:
    for part in _parts(body):
        if result := part.get("functionResponse"):
            result["response"] = next(iter(result["response"].values()))
    return body


def results_apart(body: Any) -> Any:
    contents: list[Any] = []
    for content in body["contents"]:
        results = content["role"] == "user" and len(content["parts"]) > 1
        contents += [{**content, "parts": [part]} for part in content["parts"]] if results else [content]
    return {**body, "contents": contents}


def blank(body: Any) -> Any:
    body["contents"][0]["parts"].append({"text": ""})
    return body


def headless(body: Any) -> Any:
    return {**body, "contents": body["contents"][-1:]}


class OllamaSwallowsTruncation(OllamaDecoder):
    def end(self) -> Deltas:
        self.is_complete = True
        return super().end()


class OllamaIgnoresErrors(OllamaDecoder):
    def _line(self, line: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        if "error" in line:
            self.is_complete = True
        else:
            super()._line(line, deltas, in_stream=in_stream)


def text_of_arguments(body: Any) -> Any:
    for message in body["messages"]:
        for call in message.get("tool_calls", ()):
            call["function"]["arguments"] = str(call["function"]["arguments"])
    return body


def no_results(body: Any) -> Any:
    return {**body, "messages": [message for message in body["messages"] if message["role"] != "tool"]}


G, L = Gemini, OllamaChat
MUTANTS: Mapping[str, Dialect] = {
    "gemini: drops signatures": reads(G, each(unsigned)),
    "gemini: does not send signatures back": writes(G, signatures_left_out),
    "gemini: adds up usage": reads(G, summing),
    "gemini: counts output without thoughts": reads(G, each(thoughtless)),
    "gemini: takes thoughts for text": reads(G, each(spoken)),
    "gemini: takes a cut stream for a success": decodes(G, SwallowsTruncation),
    "gemini: ignores errors in a stream": decodes(G, IgnoresErrors),
    "gemini: does not know that a prompt was blocked": decodes(G, KnowsNoBlock),
    "gemini: does not know a filter": reads(G, stopping((StopReason.CONTENT_FILTER, StopReason.END_TURN))),
    "gemini: takes calls with ids only": decodes(G, WantsAnId),
    "gemini: loses the second call": reads(G, only_the_first_call),
    "gemini: loses text": reads(G, without(TextPart)),
    "gemini: depends on how the bytes arrive": decodes(G, LosesTextOfBatches),
    "gemini: does not know an overload": TakesAnOverloadForAMistake(),
    "gemini: results that are no objects": writes(G, bare_results),
    "gemini: results in contents of their own": writes(G, results_apart),
    "gemini: blank text": writes(G, blank),
    "gemini: sends the last content only": writes(G, headless),
    "ollama: takes a cut stream for a success": decodes(L, OllamaSwallowsTruncation),
    "ollama: ignores errors in a stream": decodes(L, OllamaIgnoresErrors),
    "ollama: stops for the wrong reason": reads(L, stopping((StopReason.MAX_TOKENS, StopReason.END_TURN))),
    "ollama: takes thoughts for text": reads(L, each(spoken)),
    "ollama: loses calls": reads(L, without(ItemStarted)),
    "ollama: loses usage": reads(L, without(UsagePart)),
    "ollama: arguments as text": writes(L, text_of_arguments),
    "ollama: leaves calls unanswered": writes(L, no_results),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_dialect_with_a_fault_is_found_out(mutant: Dialect) -> None:
    with pytest.raises(AssertionError, match=f"{mutant.name} deviates"):
        check(mutant)


@pytest.mark.parametrize("dialect", [G(), L()], ids=["gemini", "ollama"])
def test_a_dialect_without_a_fault_passes(dialect: Dialect) -> None:
    check(dialect)
