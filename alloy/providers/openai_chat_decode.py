"""OpenAI's Chat Completions, as some twenty servers speak it: reading answers, streamed or whole.

They agree on the outline only. What is tolerated here was seen in recorded traffic or is documented.

Source: OpenAI, Chat Completions; OpenRouter, xAI, DeepSeek, Mistral and Groq, API references (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import attrs

from alloy.llm.completion import parse_arguments
from alloy.llm.content import JSON, Citation, Opaque, Thinking, ToolCall, Unknown
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    CitationPart,
    Delta,
    ItemStarted,
    OpaquePart,
    Stopped,
    TextPart,
    ThinkingPart,
    UsagePart,
)
from alloy.llm.message import StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import count
from alloy.providers.classify import error_within
from alloy.providers.cost import reported_cost
from alloy.providers.dialect import FrameDecoder, Target, loads
from alloy.providers.framing import Frame

STOP_REASONS: Mapping[str, StopReason] = {
    "stop": StopReason.END_TURN,
    "eos": StopReason.END_TURN,
    "end": StopReason.END_TURN,
    "end_turn": StopReason.END_TURN,
    "stop_sequence": StopReason.STOP_SEQUENCE,
    "tool_calls": StopReason.TOOL_USE,
    "function_call": StopReason.TOOL_USE,
    "tool_use": StopReason.TOOL_USE,
    "length": StopReason.MAX_TOKENS,
    "max_tokens": StopReason.MAX_TOKENS,
    "model_length": StopReason.CONTEXT_WINDOW,  # Mistral
    "content_filter": StopReason.CONTENT_FILTER,
    "refusal": StopReason.REFUSAL,
}
FAILURES = ("error", "insufficient_system_resource")  # reasons that are none: the server gave up


@attrs.define(eq=False)
class _Call:
    """A tool call under way: its place in the answer, and what the server numbers it by."""

    index: int
    number: JSON
    id: str
    name: str
    texts: list[str] = attrs.Factory(list)
    given: bool = False  # its arguments came as an object

    def is_whole(self) -> bool:
        text = "".join(self.texts)
        return self.given or (bool(text.strip()) and parse_arguments(text)[1] is None)


class ChatDecoder(FrameDecoder):
    """Reads one answer; of several choices the first.

    A message has one text and one reasoning, wherever their parts stand among those of the calls; so each
    has one place in the answer, that of its first part.
    """

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._begun = False
        self._items = 0  # content items so far
        self._text = self._thinking = -1  # their places; -1 before their first part
        self._calls: list[_Call] = []
        self._details: list[dict[str, JSON]] = []  # OpenRouter's `reasoning_details`, put together
        self._reasoning: list[str] = []  # the text of `reasoning_content`
        self._thoughts: list[str] = []  # the text of Mistral's chunks of thinking
        self._thinking_extra: dict[str, JSON] = {}  # what else those chunks hold
        self._refusal: list[str] = []
        self._stop: str | None = None
        self._stop_detail: dict[str, JSON] = {}

    # Nearly all frames are a piece of text and nothing else: they take the short way.
    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Read one chunk."""
        data = frame.data
        if data == "[DONE]":
            self.complete()
            return
        chunk = loads(data)
        if self._text >= 0 and "error" not in chunk and not chunk.get("usage"):
            choices = chunk.get("choices")
            if choices and len(choices) == 1:
                choice = choices[0]
                delta = choice.get("delta")
                if delta and not choice.get("finish_reason") and not choice.get("index") and "error" not in choice:
                    text = delta.get("content")
                    if type(text) is str and (len(delta) == 1 or (len(delta) == 2 and "role" in delta)):
                        if text:
                            deltas.append(TextPart(self._text, text))
                        return
        if frame.event == "error":
            raise error_within(chunk, self.target, in_stream=True)
        self._chunk(chunk, deltas, in_stream=True)

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Read the answer to a request that was not streamed."""
        self._chunk(body, deltas, in_stream=False)
        if not body["choices"]:
            raise ValueError("an answer without a choice")
        self.complete()

    def finish(self, deltas: list[Delta]) -> None:
        """Hand out what is only whole now: reasoning that has to go back, and why the model stopped."""
        origin = self.target.origin
        if self._details:
            deltas.append(OpaquePart(self._thinking, Opaque(origin, "reasoning_details", self._details)))
        if self._reasoning:
            deltas.append(OpaquePart(self._thinking, Opaque(origin, "reasoning_content", "".join(self._reasoning))))
        if self._thoughts or self._thinking_extra:
            said = [{"type": "text", "text": "".join(self._thoughts)}]
            chunk = {"type": "thinking", "thinking": said, **self._thinking_extra}
            deltas.append(OpaquePart(self._thinking, Opaque(origin, "thinking", chunk)))
        word = self._stop
        reason = STOP_REASONS.get(word, StopReason.OTHER) if word else StopReason.END_TURN
        if refusal := "".join(self._refusal):
            reason = StopReason.REFUSAL
            self._stop_detail["refusal"] = refusal
        deltas.append(Stopped(StopInfo(reason, word, detail=self._stop_detail)))

    def _chunk(self, chunk: Mapping[str, JSON], deltas: list[Delta], *, in_stream: bool) -> None:
        groq = chunk.get("x_groq") or {}
        if error := chunk.get("error") or groq.get("error"):
            raise error_within({"error": error}, self.target, in_stream=in_stream)
        if not self._begun and (chunk.get("id") or chunk.get("model")):
            self._begun = True
            deltas.append(Begun(chunk.get("model") or "", chunk.get("id") or None))
        usage = chunk.get("usage") or groq.get("usage")
        choice = next((one for one in chunk.get("choices") or () if not one.get("index")), None)
        if choice is not None:
            names = ("delta", "message") if in_stream else ("message", "delta")  # Perplexity sends both, one empty
            if message := next((choice[name] for name in names if choice.get(name)), None):
                self._message(message, deltas)
            usage = usage or choice.get("usage")  # Moonshot
        if usage:
            deltas.append(UsagePart(usage_of(usage, reports_cost=self.target.profile.reports_cost)))
        if choice is not None:
            self._take_stop(choice, in_stream=in_stream)

    def _take_stop(self, choice: Mapping[str, JSON], *, in_stream: bool) -> None:
        """A reason may come twice, and null or an empty one after it changes nothing."""
        word = choice.get("finish_reason")
        if choice.get("error") or word in FAILURES:
            error = choice.get("error") or {"message": f"the model stopped with {word!r}", "code": word}
            raise error_within({"error": error}, self.target, in_stream=in_stream)
        if word is not None and not self._stop:
            self._stop = word
        if word:
            self.complete()
        if (native := choice.get("native_finish_reason")) and native != word:
            self._stop_detail["native_finish_reason"] = native

    def _message(self, message: Mapping[str, JSON], deltas: list[Delta]) -> None:
        self._take_reasoning(message, deltas)
        if content := message.get("content"):
            self._take_content(content, deltas)
        if refusal := message.get("refusal"):
            self._refusal.append(refusal)
        for annotation in message.get("annotations") or ():
            deltas.append(CitationPart(self._text_place(), _citation(annotation)))
        for position, call in enumerate(message.get("tool_calls") or ()):
            self._take_call(position, call, deltas)

    def _take_reasoning(self, message: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Of the names that reasoning goes by the first that is filled counts: some servers send copies."""
        details = message.get("reasoning_details") or ()
        content = message.get("reasoning_content")
        if text := content or message.get("reasoning") or self._text_of(details):
            deltas.append(ThinkingPart(self._thinking_place(deltas), text))
        if content:
            self._reasoning.append(content)
        if details:
            self._thinking_place(deltas)
            for detail in details:
                _merge_detail(self._details, detail)

    def _text_of(self, details: Iterable[Mapping[str, JSON]]) -> str:
        """What the details say, for servers that send nothing else."""
        if self._thinking >= 0 and not self._details:
            return ""  # it came under another name before
        return "".join(detail.get("text") or detail.get("summary") or "" for detail in details)

    def _take_content(self, content: JSON, deltas: list[Delta]) -> None:
        if isinstance(content, str):
            deltas.append(TextPart(self._text_place(), content))
            return
        for part in content:  # Mistral
            match part:
                case str() as text:
                    deltas.append(TextPart(self._text_place(), text))
                case {"type": "text", "text": str() as text}:
                    if text:
                        deltas.append(TextPart(self._text_place(), text))
                case {"type": "thinking", "thinking": thinking}:
                    text = thinking if isinstance(thinking, str) else "".join(p.get("text") or "" for p in thinking)
                    deltas.append(ThinkingPart(self._thinking_place(deltas), text))
                    self._thoughts.append(text)
                    extra = {key: value for key, value in part.items() if key not in ("type", "thinking")}
                    self._thinking_extra |= {key: value for key, value in extra.items() if value is not None}
                case _:
                    deltas.append(ItemStarted(self._next_place(), Unknown(part)))

    def _take_call(self, position: int, fragment: Mapping[str, JSON], deltas: list[Delta]) -> None:
        """Add a fragment to the call that it belongs to, which is by index; or begin the next one.

        Servers differ: no index, or always 0 with a new id; name and id in each fragment; no id at all.
        """
        function = fragment.get("function") or _as_function(fragment.get("custom")) or {}
        id, name, arguments = fragment.get("id"), function.get("name") or "", function.get("arguments")
        id = "" if id in (None, "null") else str(id)
        number = fragment.get("index")
        call = self._call_for(number, position, id)
        if call is None or _is_another(call, id, name, arguments):
            given: JSON = arguments if isinstance(arguments, dict) else None
            number = f"unnumbered {position}" if number is None else number
            call = _Call(self._next_place(), number, id, name, given=given is not None)
            self._calls.append(call)
            deltas.append(ItemStarted(call.index, ToolCall(id, name, given or {})))
        elif name and not call.name:
            call.name = name
            so_far = "".join(call.texts)
            deltas.append(ItemStarted(call.index, ToolCall(call.id, name, {}, arguments_text=so_far)))
        if isinstance(arguments, str) and arguments:
            call.texts.append(arguments)
            deltas.append(ArgumentsPart(call.index, arguments))

    def _call_for(self, number: JSON, position: int, id: str) -> _Call | None:
        """The latest call that a fragment may belong to."""
        if number is None and not id and position == 0:
            return self._calls[-1] if self._calls else None
        number = f"unnumbered {position}" if number is None and not id else number
        return next((c for c in reversed(self._calls) if c.number == number or (number is None and c.id == id)), None)

    # Places: a content item's number in the answer.

    def _next_place(self) -> int:
        self._items += 1
        return self._items - 1

    def _text_place(self) -> int:
        if self._text < 0:
            self._text = self._next_place()
        return self._text

    def _thinking_place(self, deltas: list[Delta]) -> int:
        if self._thinking < 0:
            self._thinking = self._next_place()
            deltas.append(ItemStarted(self._thinking, Thinking("")))
        return self._thinking


def _is_another(call: _Call, id: str, name: str, arguments: JSON) -> bool:
    """Whether a fragment that `call` would be next for begins another call.

    Without an id that shows by another name, or by arguments where those of `call` are whole.
    """
    if id and call.id:
        return id != call.id
    return bool(name) and bool(call.name) and (name != call.name or (bool(arguments) and call.is_whole()))


def _as_function(custom: JSON) -> JSON:
    """A custom tool's call: its input is free text, and so no valid arguments."""
    return {"name": custom.get("name"), "arguments": custom.get("input")} if custom else None


def _merge_detail(details: list[dict[str, JSON]], detail: Mapping[str, JSON]) -> None:
    """Add a piece of `reasoning_details`: pieces of one index and type are one entry. Encrypted ones come whole.

    Source: OpenRouter, "Reasoning tokens" (read 2026-11-22).
    """
    for entry in details:
        if entry.get("index") == detail.get("index") and entry.get("type") == detail.get("type"):
            break
    else:
        details.append(dict(detail))
        return
    if detail.get("data") and detail.get("id") != entry.get("id"):
        details.append(dict(detail))
        return
    for key, value in detail.items():
        if key in ("text", "summary", "data") and isinstance(value, str):
            entry[key] = (entry.get(key) or "") + value
        elif value is not None:
            entry[key] = value


def _citation(annotation: Mapping[str, JSON]) -> Citation:
    place = annotation.get("url_citation") or annotation
    return Citation(text=place.get("content"), url=place.get("url"), title=place.get("title"), raw=annotation)


def usage_of(raw: Mapping[str, JSON], *, reports_cost: bool) -> Usage:
    """Put a usage object into neutral form. Prompt tokens include what the cache holds, completion tokens reasoning.

    xAI leaves reasoning out of its completion tokens, but not out of its total.
    """
    prompt, completion = count(raw, "prompt_tokens"), count(raw, "completion_tokens")
    prompt_details = raw.get("prompt_tokens_details") or {}
    reasoning = count(raw.get("completion_tokens_details") or {}, "reasoning_tokens")
    if reasoning and count(raw, "total_tokens") >= prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        input_tokens=prompt,
        output_tokens=completion,
        cache_read_tokens=count(prompt_details, "cached_tokens") or count(raw, "prompt_cache_hit_tokens"),
        cache_write_tokens=count(prompt_details, "cache_write_tokens"),
        reasoning_tokens=reasoning,
        requests=1,
        cost=reported_cost(raw) if reports_cost else None,
        context_tokens=prompt + completion,
        raw=raw,
    )
