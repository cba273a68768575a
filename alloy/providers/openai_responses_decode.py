"""OpenAI's Responses API: reading answers, streamed or whole.

Source: OpenAI, Responses API, "Streaming events", and its Python SDK 3.54.0; xAI, Responses API (read 2026-11-24).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from alloy.llm.content import JSON, Citation, Opaque, ServerTool, Text, Thinking, ToolCall, Unknown
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
from alloy.llm.errors import ProviderError
from alloy.llm.message import StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import count
from alloy.providers.classify import error_within
from alloy.providers.cost import reported_cost
from alloy.providers.dialect import FrameDecoder, Target, loads
from alloy.providers.framing import Frame

INCOMPLETE: Mapping[str, StopReason] = {
    "max_output_tokens": StopReason.MAX_TOKENS,
    "max_messages": StopReason.MAX_TOKENS,
    "content_filter": StopReason.CONTENT_FILTER,
    "steered": StopReason.PAUSE,
}

# Calls of the API's own tools that the client is to run; we do not have these tools.
_FOR_CLIENTS = ("computer_call", "local_shell_call", "shell_call", "apply_patch_call")

Key = tuple[int, str, int]  # of a part: its item's number, its kind, its own number


@attrs.define(eq=False)
class _Part:
    """Something that grows: its place in the answer, what it began as, and the text that came since."""

    place: int
    start: Text | Thinking | ToolCall
    texts: list[str] = attrs.Factory(list)


# Events that repeat what an item says when it is done: not worth reading where they can be told by their name.
_REPEATING = frozenset(
    {
        "response.content_part.added",
        "response.content_part.done",
        "response.output_text.done",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_part.done",
        "response.reasoning_summary_text.done",
        "response.reasoning_text.done",
    }
)


class ResponsesDecoder(FrameDecoder):
    """Reads one answer: a list of output items, each of which may hold several parts.

    What an item says when it is done is what counts. Deltas may be missing before it, and the encrypted
    reasoning of an item that was only just added may be incomplete.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._begun = False
        self._places = 0  # taken so far
        self._parts: dict[Key, _Part] = {}
        self._kept: dict[int, int] = {}  # the places of items that are kept raw
        self._done: set[int] = set()  # numbers of items
        self._refusal: list[str] = []

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Read one event."""
        if frame.data == "[DONE]" or frame.event in _REPEATING:  # the former by OpenRouter, behind the end
            return
        if self._begun and frame.event == "response.in_progress":
            return
        event = loads(frame.data)
        match event.get("type"):
            case "response.output_text.delta":  # nearly all events are this
                part = self._part((event["output_index"], "text", event.get("content_index", 0)), Text(""), deltas)
                part.texts.append(event["delta"])
                deltas.append(TextPart(part.place, event["delta"]))
            case "response.reasoning_summary_text.delta":
                key = (event["output_index"], "summary", event.get("summary_index", 0))
                self._think(self._part(key, Thinking("", summary=True), deltas), event["delta"], deltas)
            case "response.reasoning_text.delta":
                key = (event["output_index"], "thought", event.get("content_index", 0))
                self._think(self._part(key, Thinking(""), deltas), event["delta"], deltas)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                if call := self._parts.get((event["output_index"], "call", 0)):
                    call.texts.append(event["delta"])
                    deltas.append(ArgumentsPart(call.place, event["delta"]))
            case "response.function_call_arguments.done":
                if (event["output_index"], "call", 0) in self._parts:
                    self._settle((event["output_index"], "call", 0), None, event["arguments"], deltas)
            case "response.output_item.added":
                self._added(event["output_index"], event["item"], deltas)
            case "response.output_item.done":
                self._finished(event["output_index"], event["item"], deltas)
            case "response.created" | "response.queued" | "response.in_progress":
                self._begin(event["response"], deltas)
            case "response.completed" | "response.incomplete" | "response.done":  # the last is a quirk of Codex
                self._ended(event["response"], deltas, in_stream=True)
            case "response.failed" | "response.cancelled":
                raise self._failure(event["response"], in_stream=True)
            case "error":
                raise error_within(event, self.target, in_stream=True)
            case "codex.rate_limits":
                deltas.append(Noted("rate_limits", event))
            case None if event.get("error"):
                raise error_within(event, self.target, in_stream=True)
            # Any other event repeats what an item says when it is done, or is not for us.

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Read the answer to a request that was not streamed."""
        if "output" not in body and body.get("error"):
            raise error_within(body, self.target, in_stream=False)
        if not isinstance(body["output"], list):
            raise ValueError("an answer without output")
        self._ended(body, deltas, in_stream=False)

    def _begin(self, response: Mapping[str, JSON], deltas: list[Delta]) -> None:
        if not self._begun:
            self._begun = True
            deltas.append(Begun(response.get("model") or "", response.get("id")))

    def _ended(self, response: Mapping[str, JSON], deltas: list[Delta], *, in_stream: bool) -> None:
        """Read the response as it is at its end; of its items those that were not done before."""
        status = response.get("status") or "completed"
        if status in ("failed", "cancelled"):
            raise self._failure(response, in_stream=in_stream)
        self._begin(response, deltas)
        for number, item in enumerate(response.get("output") or ()):
            if number not in self._done:
                self._finished(number, item, deltas)
        if usage := response.get("usage"):
            tools = response.get("tool_usage") or {}
            deltas.append(UsagePart(usage_of(usage, tools, reports_cost=self.target.profile.reports_cost)))
        if done := response.get("input_transformations"):
            deltas.append(Noted("input_transformations", done))
        deltas.append(Stopped(self._stop(status, response.get("incomplete_details") or {})))
        self.is_complete = True

    def _stop(self, status: str, details: Mapping[str, JSON]) -> StopInfo:
        """Why the model stopped. That it did so to call a tool shows in the calls only."""
        detail = {"refusal": "".join(self._refusal)} if self._refusal else {}
        if status == "completed":
            return StopInfo(StopReason.REFUSAL if detail else StopReason.END_TURN, status, detail=detail)
        word = details.get("reason") or status  # a status such as `queued` is of background mode, and no end
        return StopInfo(INCOMPLETE.get(word, StopReason.OTHER), word, detail=detail)

    def _failure(self, response: Mapping[str, JSON], *, in_stream: bool) -> ProviderError:
        status = response.get("status") or "failed"
        error = response.get("error") or {"code": status, "message": f"the response is {status}"}
        return error_within({"error": error}, self.target, in_stream=in_stream)

    # Parts.

    def _place(self) -> int:
        self._places += 1
        return self._places - 1

    def _part(self, key: Key, start: Text | Thinking | ToolCall, deltas: list[Delta]) -> _Part:
        """The part of this key; it begins now as `start` if there is none yet."""
        part = self._parts.get(key)
        if part is None:
            part = self._parts[key] = _Part(self._place(), start)
            deltas.append(ItemStarted(part.place, start))
        return part

    def _think(self, part: _Part, text: str, deltas: list[Delta]) -> None:
        part.texts.append(text)
        deltas.append(ThinkingPart(part.place, text))

    def _settle(self, key: Key, start: Text | Thinking | ToolCall | None, text: str, deltas: list[Delta]) -> int:
        """End a part with all its text, and return its place. What was streamed stands, if it is the same or all."""
        part = self._parts.get(key)
        if part is None:
            assert start is not None
            return self._part(key, _with_text(start, text), deltas).place
        if text and text != "".join(part.texts):
            part.texts = [text]
            deltas.append(ItemStarted(part.place, _with_text(part.start, text)))
        return part.place

    # Items.

    def _is_ours(self, kind: str) -> bool:
        """Whether an item is a call for us to run: xAI runs custom tools itself."""
        return kind == "function_call" or (kind == "custom_tool_call" and not self.target.profile.runs_custom_tools)

    def _added(self, number: int, item: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Tell of a call at once. Text and reasoning begin with what they say: until then nothing has come of them."""
        kind = item["type"]
        if self._is_ours(kind):
            self._part((number, "call", 0), _call(item), deltas)
        elif kind not in ("message", "reasoning"):
            self._keep(number, item, deltas)

    def _finished(self, number: int, item: Mapping[str, JSON], deltas: list[Delta]) -> None:
        self._done.add(number)
        kind = item["type"]
        if kind == "message":
            self._message(number, item, deltas)
        elif kind == "reasoning":
            self._reasoning(number, item, deltas)
        elif self._is_ours(kind):
            place = self._settle((number, "call", 0), _call(item), _arguments(item), deltas)
            extra = {key: item[key] for key in ("namespace", "caller") if item.get(key)}
            deltas.append(OpaquePart(place, Opaque(self.target.origin, kind, None, id=item.get("id"), extra=extra)))
        else:
            self._keep(number, item, deltas)

    def _message(self, number: int, item: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Each text is an item of ours. What is no text goes back as it came, and so with the message's id."""
        places: list[int] = []
        others: list[JSON] = []
        for index, part in enumerate(item.get("content") or ()):
            if part.get("type") != "output_text":
                others.append(part)
                if part.get("type") == "refusal":
                    self._refusal.append(part["refusal"])
            elif part.get("text"):
                place = self._settle((number, "text", index), Text(""), part["text"], deltas)
                places.append(place)
                deltas += (CitationPart(place, citation) for citation in _citations(part))
        if others:
            self._keep(number, {**item, "content": others}, deltas)
            return
        extra = {"phase": item["phase"]} if item.get("phase") else {}
        opaque = Opaque(self.target.origin, "message", None, id=item.get("id"), extra=extra)
        deltas += (OpaquePart(place, opaque) for place in places)

    def _reasoning(self, number: int, item: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Each summary and each thought is an item of ours. The first has all that goes back, the others its id."""
        places = [
            self._settle((number, kind, index), Thinking("", summary=kind == "summary"), part["text"], deltas)
            for kind, name in (("summary", "summary"), ("thought", "content"))
            for index, part in enumerate(item.get(name) or ())
            if part.get("text")
        ]
        if not places:
            places = [self._part((number, "thought", 0), Thinking(""), deltas).place]
        origin, id = self.target.origin, item.get("id")
        deltas.append(OpaquePart(places[0], Opaque(origin, "reasoning", item, id=id)))
        deltas += (OpaquePart(place, Opaque(origin, "reasoning", None, id=id)) for place in places[1:])

    def _keep(self, number: int, item: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Keep an item as it is: a tool that the vendor ran, or something we do not know."""
        if number not in self._kept:
            self._kept[number] = self._place()
        place, kind, id = self._kept[number], item["type"], item.get("id")
        if kind.endswith("_call") and kind not in _FOR_CLIENTS:
            tool = item["name"] if kind == "custom_tool_call" else kind.removesuffix("_call")
            deltas.append(ItemStarted(place, ServerTool("call", tool, id or "", item)))
            return
        raw = {key: value for key, value in item.items() if key != "id"}
        deltas.append(ItemStarted(place, Unknown(raw, opaque=[Opaque(self.target.origin, "item", None, id=id)])))


def _with_text(start: Text | Thinking | ToolCall, text: str) -> Text | Thinking | ToolCall:
    if isinstance(start, ToolCall):
        return attrs.evolve(start, arguments_text=text)
    return attrs.evolve(start, text=text)


def _call(item: Mapping[str, JSON]) -> ToolCall:
    return ToolCall(item.get("call_id") or item.get("id") or "", item["name"], {})


def _arguments(item: Mapping[str, JSON]) -> str:
    """The text of a call's arguments; a custom tool's is free, and so mostly no valid JSON."""
    return (item.get("input") if item["type"] == "custom_tool_call" else item.get("arguments")) or ""


def _citations(part: Mapping[str, JSON]) -> Iterator[Citation]:
    for raw in part.get("annotations") or ():
        yield Citation(url=raw.get("url"), title=raw.get("title") or raw.get("filename"), raw=raw)


def usage_of(raw: Mapping[str, JSON], tools: Mapping[str, JSON], *, reports_cost: bool) -> Usage:
    """Put a usage object into neutral form; input includes what the cache holds, output includes reasoning.

    Args:
        raw: `usage` of a response.
        tools: its `tool_usage`; xAI counts in `usage` itself.
        reports_cost: whether what it says of its cost is in USD.
    """
    input_details, output_details = raw.get("input_tokens_details") or {}, raw.get("output_tokens_details") or {}
    last = raw.get("context_details") or raw  # xAI: of the last pass, where its tools made several
    return Usage(
        input_tokens=count(raw, "input_tokens"),
        output_tokens=count(raw, "output_tokens"),
        cache_read_tokens=count(input_details, "cached_tokens"),
        cache_write_tokens=count(input_details, "cache_write_tokens"),
        reasoning_tokens=count(output_details, "reasoning_tokens"),
        requests=1,
        server_tool_calls=_server_tool_calls(raw, tools),
        cost=reported_cost(raw) if reports_cost else None,
        context_tokens=count(last, "input_tokens") + count(last, "output_tokens"),
        raw=raw,
    )


def _server_tool_calls(raw: Mapping[str, JSON], tools: Mapping[str, JSON]) -> dict[str, int]:
    by_xai: Mapping[str, JSON] = raw.get("server_side_tool_usage_details") or {}
    counts = {name.removesuffix("_calls"): count for name, count in by_xai.items()}
    counts |= {name: used["num_requests"] for name, used in tools.items() if used and "num_requests" in used}
    return {name: count for name, count in counts.items() if count}
