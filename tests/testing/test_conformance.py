"""The conformance suite must find faults: each mutant here is a dialect with one, and each must be caught."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import pytest

import recordings
from alloy.llm import RateLimited, Request, Usage
from alloy.llm.delta import ArgumentsPart, Delta, ItemStarted, OpaquePart, Stopped, TextPart, UsagePart
from alloy.llm.message import StopReason
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.anthropic_decode import MessagesDecoder
from alloy.providers.dialect import Decoder, Dialect, Target, WireRequest
from alloy.providers.framing import Frame
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_chat_decode import ChatDecoder
from alloy.providers.openai_responses import Responses
from alloy.providers.openai_responses_decode import ResponsesDecoder
from alloy.testing.conformance import Expected, check_dialect
from recordings import needs_recordings

pytestmark = needs_recordings


WIRES = {
    "anthropic.messages": "anthropic-messages",
    "openai.chat": "openai-chat",
    "openai.responses": "openai-responses",
    "gemini": "gemini",
    "ollama.chat": "ollama-chat",
}


def check(dialect: Dialect) -> None:
    """Run the suite over a choice of recordings, as the author of a dialect would."""
    wire = WIRES[dialect.name]
    words = ("documented/", "-stream-", "-finish-", "-refusal-", "/xai-")
    names = [name for name in recordings.names(wire) if any(word in name for word in words)]
    check_dialect(
        dialect,
        {name: recordings.load(name) for name in names},
        {name: recordings.expected(name) for name in names},
        target_of=lambda recording: recordings.target_of(recording, dialect.name),
    )


# How to break a dialect: its decoder's deltas, its decoder, the body that it writes.

Deltas = Sequence[Delta]


class Filtered:
    """A decoder whose deltas pass through a function."""

    def __init__(self, inner: Any, change: Callable[[Deltas], Deltas]) -> None:
        self._inner, self._change = inner, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def feed(self, frames: Sequence[Frame]) -> Deltas:
        return self._change(self._inner.feed(frames))

    def whole(self, body: Any) -> Deltas:
        return self._change(self._inner.whole(body))

    def end(self) -> Deltas:
        return self._change(self._inner.end())


def reads(base: type[Any], change: Callable[[], Callable[[Deltas], Deltas]]) -> Dialect:
    """A dialect with a decoder whose deltas are changed; `change` makes a fresh function for each."""

    class Mutant(base):  # type: ignore[misc]  # any dialect
        def decoder(self, request: Request, target: Target) -> Decoder:
            return Filtered(super().decoder(request, target), change())

    return Mutant()


def decodes(base: type[Any], decoder: type[Any]) -> Dialect:
    """A dialect with another decoder."""

    class Mutant(base):  # type: ignore[misc]  # any dialect
        def decoder(self, request: Request, target: Target) -> Decoder:
            made: Decoder = decoder(target)
            return made

    return Mutant()


def writes(base: type[Any], change: Callable[[Any], Any]) -> Dialect:
    """A dialect whose bodies are changed."""

    class Mutant(base):  # type: ignore[misc]  # any dialect
        def encode(self, request: Request, target: Target) -> WireRequest:
            wire = super().encode(request, target)
            return attrs.evolve(wire, body=[json.dumps(change(wire.json())).encode()])

    return Mutant()


def each(change: Callable[[Delta], Delta | None]) -> Callable[[], Callable[[Deltas], Deltas]]:
    return lambda: lambda deltas: [made for delta in deltas if (made := change(delta)) is not None]


# The faults.


def without(*kinds: type[Any]) -> Callable[[], Callable[[Deltas], Deltas]]:
    return each(lambda delta: None if isinstance(delta, kinds) else delta)


def summing() -> Callable[[Deltas], Deltas]:
    so_far = Usage()

    def change(deltas: Deltas) -> Deltas:
        nonlocal so_far
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, UsagePart):
                so_far = so_far + delta.usage
                out.append(UsagePart(so_far))
            else:
                out.append(delta)
        return out

    return change


def only_the_first_call() -> Callable[[Deltas], Deltas]:
    kept: list[int] = []

    def change(deltas: Deltas) -> Deltas:
        out: list[Delta] = []
        for delta in deltas:
            if isinstance(delta, ItemStarted) and type(delta.item).__name__ == "ToolCall":
                kept.append(delta.index)
            if getattr(delta, "index", -1) not in kept[1:]:
                out.append(delta)
        return out

    return change


def stopping(*changes: tuple[StopReason, StopReason]) -> Callable[[], Callable[[Deltas], Deltas]]:
    table = dict(changes)

    def change(delta: Delta) -> Delta:
        if isinstance(delta, Stopped):
            return Stopped(attrs.evolve(delta.stop, reason=table.get(delta.stop.reason, delta.stop.reason)))
        return delta

    return each(change)


class IgnoresErrors(MessagesDecoder):
    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        if '"error"' not in frame.data:
            super().read(frame, deltas)
        else:
            self.is_complete = True


class SwallowsTruncation(MessagesDecoder):
    def end(self) -> Deltas:
        self.is_complete = True
        return super().end()


class ChatSwallowsTruncation(ChatDecoder):
    def end(self) -> Deltas:
        self.is_complete = True
        return super().end()


class ForgetsUsage(MessagesDecoder):
    def _take_usage(self, usage: Any, deltas: list[Delta]) -> None:
        self._usage.clear()
        super()._take_usage(usage, deltas)


class WholeInputOnly(MessagesDecoder):
    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        if "partial_json" not in frame.data:
            super().read(frame, deltas)


class StopsAtTheReason(ChatDecoder):
    def _chunk(self, chunk: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        if not self.is_complete:
            super()._chunk(chunk, deltas, in_stream=in_stream)


class IgnoresNumbers(ChatDecoder):
    def _call_for(self, number: Any, position: int, id: str) -> Any:
        return self._calls[-1] if self._calls and not id else None


class BeginsEachTime(ChatDecoder):
    def _call_for(self, number: Any, position: int, id: str) -> Any:
        return None


class TakesEveryCopy(ChatDecoder):
    def _take_reasoning(self, message: Mapping[str, Any], deltas: list[Delta]) -> None:
        super()._take_reasoning(message, deltas)
        if message.get("reasoning_details") and message.get("reasoning"):
            super()._take_reasoning({"reasoning": message["reasoning"]}, deltas)


class KeepsLastReasonOnly(ChatDecoder):
    def _take_stop(self, choice: Mapping[str, Any], *, in_stream: bool) -> None:
        super()._take_stop(choice, in_stream=in_stream)
        self._stop = "stop" if choice.get("finish_reason") is None and self._stop else self._stop


class IgnoresErrorChunks(ChatDecoder):
    def _chunk(self, chunk: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        super()._chunk({key: value for key, value in chunk.items() if key != "error"}, deltas, in_stream=in_stream)


class LosesTextOfBatches(ChatDecoder):
    """Reads the first frame of a batch only, as if each read were one event."""

    def feed(self, frames: Sequence[Frame]) -> Deltas:
        return super().feed([frame for frame in frames if frame is frames[0] or '"content":"' not in frame.data])


class TakesEveryChoice(ChatDecoder):
    def _chunk(self, chunk: Mapping[str, Any], deltas: list[Delta], *, in_stream: bool) -> None:
        choices = [{**choice, "index": 0} for choice in chunk.get("choices") or ()]
        super()._chunk({**chunk, "choices": choices}, deltas, in_stream=in_stream)


class EverythingIsALimit(AnthropicMessages):
    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> Any:
        return (
            RateLimited("wait", status=status) if status == 429 else super().error_from(status, headers, body, target)
        )


class OtherFraming(AnthropicMessages):
    framing: Any = "lines"


def folded(delta: Delta) -> Delta:
    """As if xAI counted like the others."""
    if isinstance(delta, UsagePart) and (raw := delta.usage.raw).get("completion_tokens"):
        return UsagePart(attrs.evolve(delta.usage, output_tokens=raw["completion_tokens"]))
    return delta


def unsigned(body: Any) -> Any:
    for message in body["messages"]:
        if message["role"] == "assistant":
            message["content"] = [b for b in message["content"] if b["type"] != "thinking"] or [
                {"type": "text", "text": "."}
            ]
    return body


def apart(body: Any) -> Any:
    """Each result in a message of its own."""
    out: list[Any] = []
    for message in body["messages"]:
        out += (
            [{**message, "content": [block]} for block in message["content"]]
            if message["role"] == "user"
            else [message]
        )
    return {**body, "messages": out}


def blank(body: Any) -> Any:
    body["messages"][0]["content"].append({"type": "text", "text": ""})
    return body


def words_first(body: Any) -> Any:
    for message in body["messages"]:
        message["content"].sort(key=lambda block: block["type"] == "tool_result")
    return body


def clock() -> Callable[[Any], Any]:
    ticks = itertools.count()
    return lambda body: {**body, "system": f"It is {next(ticks)} o'clock."}


def moody() -> Callable[[Any], Any]:
    """The tools in another order each time."""
    ticks = itertools.count()
    return lambda body: {**body, "tools": body.get("tools", [])[:: -1 if next(ticks) % 2 else 1]}


def headless(body: Any) -> Any:
    return {**body, "messages": body["messages"][-1:]}


def no_results(body: Any) -> Any:
    return {**body, "messages": [message for message in body["messages"] if message["role"] != "tool"]}


def no_details(body: Any) -> Any:
    for message in body["messages"]:
        message.pop("reasoning_details", None)
    return body


class TakesWhatWasAdded(ResponsesDecoder):
    """Reads an item as soon as it begins."""

    def _added(self, number: int, item: Mapping[str, Any], deltas: list[Delta]) -> None:
        self._finished(number, item, deltas)

    def _finished(self, number: int, item: Mapping[str, Any], deltas: list[Delta]) -> None:
        if number not in self._done:
            super()._finished(number, item, deltas)


class ResponsesSwallowsTruncation(ResponsesDecoder):
    def end(self) -> Deltas:
        self.is_complete = True
        return super().end()


class TrustsTheEvent(ResponsesDecoder):
    """Knows an event by its `event:` line, which some servers do not write."""

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        if frame.event or frame.data == "[DONE]":
            super().read(frame, deltas)


class IgnoresFlatErrors(ResponsesDecoder):
    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        if '"type":"error"' not in frame.data:
            super().read(frame, deltas)


class EveryEndIsAnEnd(ResponsesDecoder):
    def _stop(self, status: str, details: Mapping[str, Any]) -> Any:
        return super()._stop("completed", {})


class DoesNotKnowRefusals(ResponsesDecoder):
    def _stop(self, status: str, details: Mapping[str, Any]) -> Any:
        self._refusal.clear()
        return super()._stop(status, details)


class DropsThoughts(ResponsesDecoder):
    def _reasoning(self, number: int, item: Mapping[str, Any], deltas: list[Delta]) -> None:
        super()._reasoning(number, {**item, "summary": [], "content": []}, deltas)


class OnlyWhatOpenAISays(ResponsesDecoder):
    """Reads no thoughts but summaries."""

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        if "reasoning_text" not in frame.data:
            super().read(frame, deltas)


def without_reasoning(body: Any) -> Any:
    return {**body, "input": [item for item in body["input"] if item.get("type") != "reasoning"]}


def reasoning_last(body: Any) -> Any:
    return {**body, "input": sorted(body["input"], key=lambda item: item.get("type") == "reasoning")}


def kept_by_the_server(body: Any) -> Any:
    return {**body, "store": True}


def as_messages(body: Any) -> Any:
    """The results of tools as something the user says."""
    for item in body["input"]:
        if item.get("type") == "function_call_output":
            item |= {"type": "message", "role": "user", "content": item.pop("output") or "nothing"}
    return body


def stateless(body: Any) -> Any:
    return {**body, "input": body["input"][-1:]}


def lenient(body: Any) -> Any:
    for tool in body.get("tools", ()):
        tool.pop("strict")
    return body


A, C, R = AnthropicMessages, ChatCompletions, Responses
MUTANTS: Mapping[str, Dialect] = {
    "anthropic: drops signatures": reads(A, without(OpaquePart)),
    "anthropic: does not send signed thinking back": writes(A, unsigned),
    "anthropic: adds up usage": reads(A, summing),
    "anthropic: forgets the usage of the start": decodes(A, ForgetsUsage),
    "anthropic: ignores errors in a stream": decodes(A, IgnoresErrors),
    "anthropic: takes a cut stream for a success": decodes(A, SwallowsTruncation),
    "anthropic: stops for the wrong reason": reads(A, stopping((StopReason.MAX_TOKENS, StopReason.END_TURN))),
    "anthropic: does not know a refusal": reads(A, stopping((StopReason.REFUSAL, StopReason.OTHER))),
    "anthropic: loses the second call": reads(A, only_the_first_call),
    "anthropic: loses arguments": decodes(A, WholeInputOnly),
    "anthropic: loses text": reads(A, without(TextPart)),
    "anthropic: takes a spent quota for a rate": EverythingIsALimit(),
    "anthropic: cuts frames wrongly": OtherFraming(),
    "anthropic: results in messages of their own": writes(A, apart),
    "anthropic: blank text": writes(A, blank),
    "anthropic: words before results": writes(A, words_first),
    "anthropic: a system prompt that changes": writes(A, clock()),
    "anthropic: tools that change places": writes(A, moody()),
    "anthropic: sends the last message only": writes(A, headless),
    "chat: takes a cut stream for a success": decodes(C, ChatSwallowsTruncation),
    "chat: does not read on after the reason": decodes(C, StopsAtTheReason),
    "chat: does not tell calls apart by their number": decodes(C, IgnoresNumbers),
    "chat: begins a call with each fragment": decodes(C, BeginsEachTime),
    "chat: reads reasoning twice": decodes(C, TakesEveryCopy),
    "chat: a later null erases the reason": decodes(C, KeepsLastReasonOnly),
    "chat: ignores errors in a stream": decodes(C, IgnoresErrorChunks),
    "chat: depends on how the bytes arrive": decodes(C, LosesTextOfBatches),
    "chat: mixes several choices": decodes(C, TakesEveryChoice),
    "chat: does not fold xAI's reasoning in": reads(C, each(folded)),
    "chat: loses arguments": reads(C, without(ArgumentsPart)),
    "chat: drops reasoning details": reads(C, without(OpaquePart)),
    "chat: does not send reasoning details back": writes(C, no_details),
    "chat: leaves calls unanswered": writes(C, no_results),
    "responses: takes encrypted reasoning too early": decodes(R, TakesWhatWasAdded),
    "responses: takes a cut stream for a success": decodes(R, ResponsesSwallowsTruncation),
    "responses: needs the name of an event": decodes(R, TrustsTheEvent),
    "responses: ignores errors in a stream": decodes(R, IgnoresFlatErrors),
    "responses: does not know why it stopped": decodes(R, EveryEndIsAnEnd),
    "responses: does not know a refusal": decodes(R, DoesNotKnowRefusals),
    "responses: reads summaries only": decodes(R, OnlyWhatOpenAISays),
    "responses: reads no thoughts of whole answers": decodes(R, DropsThoughts),
    "responses: loses text": reads(R, without(TextPart)),
    "responses: loses usage": reads(R, without(UsagePart)),
    "responses: loses the second call": reads(R, only_the_first_call),
    "responses: drops vendor state": reads(R, without(OpaquePart)),
    "responses: does not send reasoning back": writes(R, without_reasoning),
    "responses: sends reasoning back out of its place": writes(R, reasoning_last),
    "responses: lets the server keep all": writes(R, kept_by_the_server),
    "responses: results as messages": writes(R, as_messages),
    "responses: sends the last item only": writes(R, stateless),
    "responses: does not say whether tools are strict": writes(R, lenient),
}


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_dialect_with_a_fault_is_found_out(mutant: Dialect) -> None:
    with pytest.raises(AssertionError, match=f"{mutant.name} deviates"):
        check(mutant)


@pytest.mark.parametrize("dialect", [A(), C(), R()], ids=["anthropic", "chat", "responses"])
def test_a_dialect_without_a_fault_passes(dialect: Dialect) -> None:
    check(dialect)


def test_every_deviation_is_listed_with_its_place() -> None:
    name = "documented/anthropic-stream-thinking-tool.json"

    with pytest.raises(AssertionError) as caught:
        check_dialect(
            A(),
            {name: recordings.load(name)},
            {name: [Expected(text="another", thinking="another", stop="end_turn", opaque=["0" * 16])]},
        )

    lines = str(caught.value).splitlines()
    assert lines[0] == "anthropic.messages deviates 5 times:"
    assert all(line.startswith(f"{name}, exchange 0: ") for line in lines[1:])


def test_expectations_that_do_not_fit_the_recording_are_a_mistake_of_the_caller() -> None:
    name = "documented/anthropic-refusal.json"

    with pytest.raises(ValueError, match="has 1 exchanges, expected are 2"):
        check_dialect(A(), {name: recordings.load(name)}, {name: [Expected(), Expected()]})
