"""Google's Gemini API: reading answers, streamed or whole.

Source: Google, Gemini API, "generateContent", and the types of its Python SDK 3.4.0 (read 2026-11-22).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from alloy.llm.content import (
    JSON,
    Audio,
    Citation,
    Document,
    Image,
    Media,
    Opaque,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    Unknown,
    Video,
)
from alloy.llm.delta import Begun, CitationPart, Delta, ItemStarted, Stopped, TextPart, ThinkingPart, UsagePart
from alloy.llm.message import MALFORMED_CALL, AssistantContent, StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import count
from alloy.providers.classify import error_within
from alloy.providers.dialect import FrameDecoder, Target, loads
from alloy.providers.framing import Frame

_FILTERED = (
    *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "ESCALATION", "MODEL_ARMOR"),
    *("PUP_LIMITED_DISABLED", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
)
STOP_REASONS: Mapping[str, StopReason] = {
    "STOP": StopReason.END_TURN,  # calls or not
    "MAX_TOKENS": StopReason.MAX_TOKENS,
    "CONTINUATION": StopReason.PAUSE,
    **dict.fromkeys(_FILTERED, StopReason.CONTENT_FILTER),
}

# What the vendor's own tools leave in an answer, with the stage and the name that are ours for it.
_SERVER_PARTS: Mapping[str, tuple[Literal["call", "result"], str]] = {
    "executableCode": ("call", "code_execution"),
    "codeExecutionResult": ("result", "code_execution"),
    "toolCall": ("call", "server_tool"),
    "toolResponse": ("result", "server_tool"),
}
_OF_SPEECH = {"text", "thought", "thoughtSignature"}
_KEPT_WITH_STOP = ("finishMessage", "safetyRatings", "citationMetadata", "urlContextMetadata", "continuationToken")


class GeminiDecoder(FrameDecoder):
    """Reads one answer; of several candidates the first.

    A text is one item for as long as its parts are unsigned: a signature belongs to the very part that it
    came with, and that part is an item of its own, be its text empty.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._begun = False
        self._items = 0  # content items so far
        self._growing: type[Text | Thinking] | None = None  # what the last of them is, if more may be added to it
        self._text = -1  # the last text that says something; -1 for none
        self._usage: dict[str, JSON] = {}
        self._grounding: dict[str, JSON] = {}
        self._stop: str | None = None
        self._is_blocked = False
        self._stop_detail: dict[str, JSON] = {}

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Read one chunk, which is a whole response of its own."""
        self._chunk(loads(frame.data), deltas, in_stream=True)

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Read the answer to a request that was not streamed."""
        self._chunk(body, deltas, in_stream=False)
        if not body.get("candidates") and not self.is_complete:
            raise ValueError("an answer without a candidate")
        self.complete()

    def finish(self, deltas: list[Delta]) -> None:
        """Hand out what is only whole now: where the text comes from, and why the model stopped."""
        if self._text >= 0:
            citations = [*_cited(self._stop_detail.get("citationMetadata") or {}), *_grounded(self._grounding)]
            deltas.extend(CitationPart(self._text, citation) for citation in citations)
        if self._grounding:
            self._stop_detail["groundingMetadata"] = self._grounding
        reason = STOP_REASONS.get(self._stop, StopReason.OTHER) if self._stop else StopReason.END_TURN
        if self._is_blocked:
            reason = StopReason.CONTENT_FILTER
        if self._stop == "MALFORMED_FUNCTION_CALL":
            self._stop_detail[MALFORMED_CALL] = self._stop_detail.get("finishMessage") or ""
        deltas.append(Stopped(StopInfo(reason, self._stop, detail=self._stop_detail)))

    def _chunk(self, chunk: Mapping[str, JSON], deltas: list[Delta], *, in_stream: bool) -> None:
        if chunk.get("error"):
            raise error_within(chunk, self.target, in_stream=in_stream)
        if not self._begun and (chunk.get("modelVersion") or chunk.get("responseId")):
            self._begun = True
            deltas.append(Begun(chunk.get("modelVersion") or "", chunk.get("responseId") or None))
        if candidate := next((one for one in chunk.get("candidates") or () if not one.get("index")), None):
            self._candidate(candidate, deltas)
        match chunk.get("promptFeedback"):
            case {"blockReason": str() as word} as feedback:
                self._stop, self._is_blocked = word, True
                self.complete()
                self._stop_detail["promptFeedback"] = feedback
        if usage := chunk.get("usageMetadata"):
            # Each report is a total so far; a later one may lack what an earlier one had.
            self._usage.update({name: value for name, value in usage.items() if value})
            deltas.append(UsagePart(usage_of(self._usage)))

    def _candidate(self, candidate: Mapping[str, JSON], deltas: list[Delta]) -> None:
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._part(part, deltas)
        if grounding := candidate.get("groundingMetadata"):
            self._grounding = grounding
        self._stop_detail |= {name: value for name in _KEPT_WITH_STOP if (value := candidate.get(name))}
        if word := candidate.get("finishReason"):
            self._stop = word
            self.complete()

    def _part(self, part: Mapping[str, JSON], deltas: list[Delta]) -> None:
        signature = part.get("thoughtSignature")
        opaque = (Opaque(self.target.origin, "signature", signature),) if signature else ()
        if part.keys() <= _OF_SPEECH:
            self._speak(part.get("text") or "", Thinking if part.get("thought") else Text, opaque, deltas)
        else:
            self._begin(_item(part, opaque, self.target), deltas)

    def _speak(self, text: str, kind: type[Text | Thinking], opaque: tuple[Opaque, ...], deltas: list[Delta]) -> None:
        if opaque:
            self._begin(kind(text, opaque=opaque), deltas)
        elif text:
            if self._growing is not kind:
                self._growing = kind
                self._items += 1
            place = self._items - 1
            deltas.append(TextPart(place, text) if kind is Text else ThinkingPart(place, text))
        if text and kind is Text:
            self._text = self._items - 1

    def _begin(self, item: AssistantContent, deltas: list[Delta]) -> None:
        self._growing = None
        deltas.append(ItemStarted(self._items, item))
        self._items += 1


def _item(part: Mapping[str, JSON], opaque: tuple[Opaque, ...], target: Target) -> AssistantContent:
    """The item of a part that is no text; what is not known of it is kept as it came."""
    raw = {name: value for name, value in part.items() if name != "thoughtSignature"}
    match raw:
        case {"functionCall": {"name": str() as name} as call}:
            given = call.get("id") or ""
            id_given = (Opaque(target.origin, "id", given),) if given else ()
            return ToolCall(given, name, dict(call.get("args") or {}), opaque=(*opaque, *id_given))
        case {"inlineData": {"mimeType": str() as kind, "data": str() as data}} if not raw.get("thought"):
            return media_from(kind, data, opaque)
    for key, (stage, tool) in _SERVER_PARTS.items():
        if isinstance(value := raw.get(key), dict):
            name = str(value.get("toolType") or tool).lower()
            return ServerTool(stage, name, str(value.get("id") or ""), raw, opaque=opaque)
    return Unknown(raw, opaque=opaque)


def media_from(media_type: str, data: str, opaque: tuple[Opaque, ...]) -> Media:
    """A file of an answer; `data` is base64 of either alphabet."""
    plain = re.sub(r"[^A-Za-z0-9+/]", "", data.translate(str.maketrans("-_", "+/")))
    kind: Any = {"image": Image, "audio": Audio, "video": Video}.get(media_type.partition("/")[0], Document)
    media: Media = kind(base64.b64decode(plain + "=" * (-len(plain) % 4)), media_type=media_type, opaque=opaque)
    return media


def _grounded(metadata: Mapping[str, JSON]) -> Iterator[Citation]:
    """The sources that each piece of the text is grounded in; all sources, where it is not told which is for what."""
    chunks: list[Mapping[str, JSON]] = list(metadata.get("groundingChunks") or ())
    supports: list[Mapping[str, JSON]] = list(metadata.get("groundingSupports") or ())
    for support in supports:
        segment = support.get("segment") or {}
        for number in support.get("groundingChunkIndices") or ():
            if number < len(chunks):
                yield _source(chunks[number], segment.get("text"), {"groundingSupport": support})
    if not supports:
        for chunk in chunks:
            yield _source(chunk, None, {})


def _source(chunk: Mapping[str, JSON], text: str | None, raw: Mapping[str, JSON]) -> Citation:
    place: Mapping[str, JSON] = next((value for value in chunk.values() if isinstance(value, dict)), {})
    return Citation(
        text=text or place.get("text"),
        url=place.get("uri") or place.get("sourceUri"),
        title=place.get("title"),
        raw={"groundingChunk": chunk, **raw},
    )


def _cited(metadata: Mapping[str, JSON]) -> Iterator[Citation]:
    """What the text repeats of others' works."""
    for source in metadata.get("citations") or metadata.get("citationSources") or ():
        yield Citation(url=source.get("uri"), title=source.get("title"), raw=source)


def usage_of(raw: Mapping[str, JSON]) -> Usage:
    """Put a usage object of the API into neutral form: its counts leave out what tools read and what was thought."""
    prompt, tools = count(raw, "promptTokenCount"), count(raw, "toolUsePromptTokenCount")
    thoughts = count(raw, "thoughtsTokenCount")
    output = count(raw, "candidatesTokenCount") + thoughts
    return Usage(
        input_tokens=prompt + tools,
        output_tokens=output,
        cache_read_tokens=count(raw, "cachedContentTokenCount"),
        reasoning_tokens=thoughts,
        tool_prompt_tokens=tools,
        requests=1,
        context_tokens=prompt + tools + output,
        raw=dict(raw),
    )
