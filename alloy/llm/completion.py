"""The fold: deltas in, one `AssistantMessage` out. Pure, and the same for every dialect."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import assert_never

import attrs

from alloy.llm.content import JSON, Citation, Opaque, Origin, Text, Thinking, ToolCall
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
from alloy.llm.message import AssistantContent, AssistantMessage, StopInfo, StopReason, mint
from alloy.llm.usage import Usage


@attrs.define(eq=False)
class _Item:
    """One content item in the making."""

    start: AssistantContent
    texts: list[str] = attrs.Factory(list)
    citations: list[Citation] = attrs.Factory(list)
    opaque: list[Opaque] = attrs.Factory(list)

    def finish(self) -> AssistantContent:
        item = self.start
        text = "".join(self.texts)
        opaque = (*item.opaque, *self.opaque) if self.opaque else item.opaque
        match item:
            case Text():
                if not text and not self.citations and opaque is item.opaque:
                    return item
                return Text(item.text + text, citations=(*item.citations, *self.citations), opaque=opaque)
            case Thinking():
                return Thinking(item.text + text, summary=item.summary, redacted=item.redacted, opaque=opaque)
            case ToolCall():
                return _finish_call(item, item.arguments_text + text, opaque)
            case _:
                return attrs.evolve(item, opaque=opaque) if self.opaque else item


def _finish_call(call: ToolCall, text: str, opaque: tuple[Opaque, ...]) -> ToolCall:
    arguments, problem = parse_arguments(text) if text else (call.arguments, call.parse_error)
    return ToolCall(
        call.id or mint("call"), call.name, arguments, arguments_text=text, parse_error=problem, opaque=opaque
    )


def _no_constant(name: str) -> JSON:
    raise ValueError(f"{name} is no JSON value")


_DECODER = json.JSONDecoder(parse_constant=_no_constant)  # Python's own would read NaN, which nobody can send


def parse_arguments(text: str) -> tuple[dict[str, JSON], str | None]:
    """Read the text of a call's arguments: the arguments and None, or `{}` and what is wrong with the text.

    Blank text and `null` are an empty object: several servers send them for a tool without parameters.
    """
    if not text.strip():
        return {}, None
    try:
        value = _DECODER.decode(text)
    except ValueError as error:
        return {}, f"the arguments are no valid JSON: {error}"
    except RecursionError:
        return {}, "the arguments are nested too deeply"
    if value is None:
        return {}, None
    if not isinstance(value, dict):
        return {}, f"the arguments must be a JSON object, got {type(value).__name__}"
    return value, None


class Fold:
    """Puts the deltas of one answer together."""

    __slots__ = ("_items", "_model", "_origin", "_response_id", "_stop", "_usage")

    def __init__(self, origin: Origin | None = None) -> None:
        self._origin = origin
        self._items: dict[int, _Item] = {}
        self._model = ""
        self._response_id: str | None = None
        self._usage: Usage | None = None
        self._stop: StopInfo | None = None

    @property
    def has_content(self) -> bool:
        """Some content has come."""
        return bool(self._items)

    def so_far(self, name: str | None = None) -> str:
        """The text that has come; with a name, that of the arguments of the first call of this tool."""
        if name is None:
            pieces = ((item.start.text, *item.texts) for item in self._items.values() if isinstance(item.start, Text))
            return "".join(text for texts in pieces for text in texts)
        for item in self._items.values():
            if isinstance(item.start, ToolCall) and item.start.name == name:
                return item.start.arguments_text + "".join(item.texts)
        return ""

    def call_at(self, index: int) -> ToolCall:
        """The tool call at `index` as it was started: its id and name are known, its arguments are not."""
        start = self._items[index].start
        assert isinstance(start, ToolCall)
        return start

    def add(self, deltas: Iterable[Delta]) -> None:
        """Take in some deltas, in their order."""
        items = self._items
        for delta in deltas:
            match delta:
                case TextPart():
                    if delta.index in items:
                        items[delta.index].texts.append(delta.text)
                    else:
                        items[delta.index] = _Item(Text(delta.text))
                case ArgumentsPart():
                    items[delta.index].texts.append(delta.text)
                case ThinkingPart():
                    if delta.index in items:
                        items[delta.index].texts.append(delta.text)
                    else:
                        items[delta.index] = _Item(Thinking(delta.text))
                case ItemStarted():
                    item = delta.item
                    if isinstance(item, ToolCall) and not item.id:
                        item = attrs.evolve(item, id=mint("call"))
                    items[delta.index] = _Item(item)
                case CitationPart():
                    items.setdefault(delta.index, _Item(Text(""))).citations.append(delta.citation)
                case OpaquePart():
                    items[delta.index].opaque.append(delta.opaque)
                case UsagePart():
                    self._usage = delta.usage
                case Stopped():
                    self._stop = delta.stop
                case Begun():
                    self._model = delta.model or self._model
                    self._response_id = delta.response_id or self._response_id
                case Noted():
                    pass
                case _:
                    assert_never(delta)

    def message(self, cap: int | None = None) -> AssistantMessage:
        """The whole answer, once the decoder has seen its end.

        `cap` is the most output tokens that were asked for: an answer that used them up was cut, whatever
        reason the server gives (vllm-project/vllm#58228).
        A stop word that stands for no reason of ours is `tool_use` if there are calls, else `other`; and an
        answer with calls that says it just ended is `tool_use` too, since servers differ in what they say.
        """
        content = tuple(kept for item in self._items.values() if _worth_keeping(kept := item.finish()))
        stop = self._stop or StopInfo(StopReason.OTHER)
        if cap is not None and self._usage is not None and self._usage.output_tokens >= cap:
            stop = attrs.evolve(stop, reason=StopReason.MAX_TOKENS)
        if any(isinstance(item, ToolCall) for item in content) and stop.reason in (
            StopReason.END_TURN,
            StopReason.STOP_SEQUENCE,
            StopReason.OTHER,
        ):
            stop = attrs.evolve(stop, reason=StopReason.TOOL_USE)
        return self._message(content, stop, complete=True)

    def partial(self) -> AssistantMessage | None:
        """What there is of an answer that broke off; None if nothing.

        Text is kept; calls, whose arguments may be cut, and reasoning, which may lack its signature, are not.
        """
        content = tuple(
            attrs.evolve(item, opaque=())
            for item in (item.finish() for item in self._items.values())
            if isinstance(item, Text) and item.text
        )
        if not content and self._usage is None:
            return None
        return self._message(content, self._stop or StopInfo(StopReason.OTHER), complete=False)

    def _message(self, content: tuple[AssistantContent, ...], stop: StopInfo, *, complete: bool) -> AssistantMessage:
        return AssistantMessage(
            content,
            stop=stop,
            usage=self._usage,
            model=self._model or (self._origin.model if self._origin else ""),
            origin=self._origin,
            response_id=self._response_id,
            complete=complete,
        )


def _worth_keeping(item: AssistantContent) -> bool:
    """Empty text says nothing, and several vendors refuse it when it is sent back."""
    return not (isinstance(item, Text | Thinking) and not item.text and not item.opaque) or (
        isinstance(item, Thinking) and item.redacted
    )
