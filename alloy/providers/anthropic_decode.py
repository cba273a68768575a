"""Anthropic's Messages API: reading answers, streamed or whole.

Source: Anthropic, "Streaming messages", and the event types of its Python SDK 2.12.0 (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from alloy.llm.completion import parse_arguments
from alloy.llm.content import JSON, Citation, Opaque, Origin, ServerTool, Text, Thinking, ToolCall, Unknown
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    CitationPart,
    Delta,
    ItemStarted,
    Noted,
    OpaquePart,
    Stopped,
    TextPart,
    ThinkingPart,
    UsagePart,
)
from alloy.llm.message import AssistantContent, StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import count
from alloy.providers.classify import error_within
from alloy.providers.dialect import FrameDecoder, Target, loads
from alloy.providers.framing import Frame

STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": StopReason.END_TURN,
    "tool_use": StopReason.TOOL_USE,
    "max_tokens": StopReason.MAX_TOKENS,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "refusal": StopReason.REFUSAL,
    "pause_turn": StopReason.PAUSE,
    "compaction": StopReason.PAUSE,
    "model_context_window_exceeded": StopReason.CONTEXT_WINDOW,
}


@attrs.define(eq=False)
class _Raw:
    """A block that is kept as the vendor wrote it, under way."""

    block: dict[str, JSON]
    input: list[str] = attrs.Factory(list)
    has_grown: bool = False


class MessagesDecoder(FrameDecoder):
    """Reads one answer. Remembers the usage so far, which later events correct, and the blocks kept raw."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._usage: dict[str, JSON] = {}
        self._raw: dict[int, _Raw] = {}

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Read one event."""
        event = loads(frame.data)
        kind = event["type"]
        if kind == "content_block_delta":
            delta = event["delta"]
            if delta["type"] == "text_delta":  # nearly all events are this
                deltas.append(TextPart(event["index"], delta["text"]))
            else:
                self._more(event["index"], delta, deltas)
            return
        match kind:
            case "content_block_start":
                self._start(event["index"], event["content_block"], deltas)
            case "content_block_stop":
                self._stop(event.get("index"), deltas)
            case "message_start":
                self._message(event["message"], deltas)
            case "message_delta":
                self._take_usage(event.get("usage"), deltas)
                self._stopped({**event["delta"], "context_management": event.get("context_management")}, deltas)
                _note(event, deltas)
            case "message_stop":
                self.complete()
            case "error":
                raise error_within(event, self.target, in_stream=True)
            # Any other event, such as a ping, is not for us: the API may add kinds at any time.

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Read the answer to a request that was not streamed."""
        if body["type"] == "error":
            raise error_within(body, self.target, in_stream=False)
        self._message(body, deltas)
        for index, block in enumerate(body["content"]):
            self._start(index, block, deltas)
        self._stopped(body, deltas)
        self.complete()

    def finish(self, deltas: list[Delta]) -> None:
        """Hand out the blocks whose end was not announced."""
        for index in list(self._raw):
            self._stop(index, deltas)

    def _message(self, message: Mapping[str, JSON], deltas: list[Delta]) -> None:
        deltas.append(Begun(message.get("model") or "", message.get("id")))
        self._take_usage(message.get("usage"), deltas)
        _note(message, deltas)

    def _take_usage(self, usage: JSON, deltas: list[Delta]) -> None:
        """Each report is a total so far; a count that is left out or null keeps its former value."""
        if usage:
            self._usage.update({name: value for name, value in usage.items() if value is not None})
            deltas.append(UsagePart(usage_of(self._usage)))

    def _stopped(self, delta: Mapping[str, JSON], deltas: list[Delta]) -> None:
        if word := delta.get("stop_reason"):
            detail = {
                name: value
                for name in ("stop_details", "container", "context_management")
                if (value := delta.get(name)) is not None
            }
            reason = STOP_REASONS.get(word, StopReason.OTHER)
            deltas.append(Stopped(StopInfo(reason, word, sequence=delta.get("stop_sequence"), detail=detail)))

    def _start(self, index: int, block: dict[str, JSON], deltas: list[Delta]) -> None:
        origin = self.target.origin
        match block:
            case {"type": "text", "text": str() as text}:
                citations = [_citation(raw) for raw in block.get("citations") or ()]
                if text or citations:  # an empty one begins with its first delta, or never was
                    deltas.append(ItemStarted(index, Text(text, citations=citations)))
            case {"type": "thinking", "thinking": str() as text}:
                signature = block.get("signature")
                opaque = (Opaque(origin, "signature", signature),) if signature else ()
                deltas.append(ItemStarted(index, Thinking(text, opaque=opaque)))
            case {"type": "redacted_thinking", "data": data}:
                opaque = (Opaque(origin, "redacted", data),)
                deltas.append(ItemStarted(index, Thinking("", redacted=True, opaque=opaque)))
            case {"type": "tool_use", "id": str() as id, "name": str() as name}:
                deltas.append(ItemStarted(index, _call(id, name, block, origin)))
            case _:
                self._raw[index] = _Raw(block)
                deltas.append(ItemStarted(index, _kept(block)))  # it takes its place now, and its end may replace it

    def _more(self, index: int, delta: Mapping[str, JSON], deltas: list[Delta]) -> None:
        if raw := self._raw.get(index):
            _extend(raw, delta)
            return
        match delta:
            case {"type": "input_json_delta", "partial_json": str() as text}:
                if text:
                    deltas.append(ArgumentsPart(index, text))
            case {"type": "thinking_delta", "thinking": str() as text}:
                deltas.append(ThinkingPart(index, text))
            case {"type": "signature_delta", "signature": str() as signature}:
                if signature:
                    deltas.append(OpaquePart(index, Opaque(self.target.origin, "signature", signature)))
            case {"type": "citations_delta", "citation": dict() as citation}:
                deltas.append(CitationPart(index, _citation(citation)))
            # An unknown kind of delta to a known block adds nothing that we could keep.

    def _stop(self, index: int | None, deltas: list[Delta]) -> None:
        if index is not None and (raw := self._raw.pop(index, None)) and raw.has_grown:
            if raw.input:
                raw.block["input"] = parse_arguments("".join(raw.input))[0]
            deltas.append(ItemStarted(index, _kept(raw.block)))


def _call(id: str, name: str, block: Mapping[str, JSON], origin: Origin) -> ToolCall:
    """A call of one of our tools. Its input may come here whole, as in calls that code makes, or in deltas."""
    extra = {
        key: value
        for key, value in block.items()
        if key not in ("type", "id", "name", "input") and value not in (None, {"type": "direct"})
    }
    opaque = (Opaque(origin, "tool_use", extra),) if extra else ()
    return ToolCall(id, name, block.get("input") or {}, opaque=opaque)


def _extend(raw: _Raw, delta: Mapping[str, JSON]) -> None:
    if not raw.has_grown:
        raw.block = dict(raw.block)  # the first one has been handed out
        raw.has_grown = True
    for key, value in delta.items():
        if key == "partial_json":
            raw.input.append(value)
        elif key != "type" and value is not None:
            before = raw.block.get(key)
            raw.block[key] = before + value if isinstance(before, str) and isinstance(value, str) else value


def _kept(block: Mapping[str, JSON]) -> AssistantContent:
    """The item of a block that is kept raw: a server tool's call or result, or something we do not know."""
    match block:
        case {"type": "server_tool_use" | "mcp_tool_use", "id": str() as id, "name": str() as name}:
            return ServerTool("call", name, id, block)
        case {"type": str() as kind, "tool_use_id": str() as id} if kind.endswith("_tool_result"):
            return ServerTool("result", kind.removesuffix("_tool_result"), id, block)
        case _:
            return Unknown(block)


def _citation(raw: JSON) -> Citation:
    return Citation(
        text=raw.get("cited_text"),
        url=raw.get("url") or raw.get("source"),
        title=raw.get("title") or raw.get("document_title"),
        raw=raw,
    )


def _note(holder: Mapping[str, JSON], deltas: list[Delta]) -> None:
    """Tell of what the vendor did to our input, such as reasoning that it dropped."""
    if done := holder.get("input_transformations"):
        deltas.append(Noted("input_transformations", done))


def usage_of(raw: Mapping[str, JSON]) -> Usage:
    """Put a usage object of the API into neutral form: its `input_tokens` leaves out what the cache holds."""
    made = raw.get("cache_creation") or {}
    iterations = raw.get("iterations") or ()
    # The model's last pass is what fills its window; the totals are the sum of all passes.
    last = next((one for one in reversed(iterations) if one.get("type") == "message"), raw)
    return Usage(
        input_tokens=_input(raw),
        output_tokens=count(raw, "output_tokens"),
        cache_read_tokens=count(raw, "cache_read_input_tokens"),
        cache_write_tokens=count(raw, "cache_creation_input_tokens"),
        cache_write_1h_tokens=count(made, "ephemeral_1h_input_tokens"),
        reasoning_tokens=count(raw.get("output_tokens_details") or {}, "thinking_tokens"),
        requests=1,
        server_tool_calls=_server_tool_calls(raw.get("server_tool_use") or {}),
        context_tokens=_input(last) + count(last, "output_tokens"),
        raw=dict(raw),
    )


def _input(usage: Mapping[str, JSON]) -> int:
    parts: Sequence[str] = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    return sum(count(usage, part) for part in parts)


def _server_tool_calls(counts: Mapping[str, JSON]) -> dict[str, int]:
    return {name.removesuffix("_requests"): count for name, count in counts.items() if count}
