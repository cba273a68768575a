"""Ollama's own chat API: reading answers, streamed or whole.

Source: Ollama, "API reference", and its server's source, August 2026 (read 2026-11-22).
"""

from __future__ import annotations

from collections.abc import Mapping

from alloy.llm.content import JSON, ToolCall
from alloy.llm.delta import Begun, Delta, ItemStarted, Stopped, TextPart, ThinkingPart, UsagePart
from alloy.llm.message import StopInfo, StopReason
from alloy.llm.usage import Usage
from alloy.providers.checked import count
from alloy.providers.classify import error_within
from alloy.providers.dialect import FrameDecoder, Target, loads
from alloy.providers.framing import Frame

# Any other, such as "load" and "unload", tells of a model that was not asked anything.
STOP_REASONS: Mapping[str, StopReason] = {"stop": StopReason.END_TURN, "length": StopReason.MAX_TOKENS}


class OllamaDecoder(FrameDecoder):
    """Reads one answer. It has one text and one reasoning, each in the place of its first piece."""

    def __init__(self, target: Target) -> None:
        super().__init__(target)
        self._begun = False
        self._items = 0  # content items so far
        self._text = self._thinking = -1  # their places; -1 before their first piece

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Read one line."""
        self._line(loads(frame.data), deltas, in_stream=True)

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Read the answer to a request that was not streamed."""
        self._line(body, deltas, in_stream=False)
        if not self.is_complete:
            raise ValueError("an answer that is not done")

    def _line(self, line: Mapping[str, JSON], deltas: list[Delta], *, in_stream: bool) -> None:
        if line.get("error"):
            raise error_within(line, self.target, in_stream=in_stream)
        if not self._begun and (model := line.get("model")):
            self._begun = True
            deltas.append(Begun(model))
        self._message(line.get("message") or {}, deltas)
        if line.get("done"):
            if "prompt_eval_count" in line or "eval_count" in line:
                deltas.append(UsagePart(usage_of(line)))
            word = line.get("done_reason") or None
            reason = STOP_REASONS.get(word, StopReason.OTHER) if word else StopReason.END_TURN
            deltas.append(Stopped(StopInfo(reason, word)))
            self.is_complete = True

    def _message(self, message: Mapping[str, JSON], deltas: list[Delta]) -> None:
        if thought := message.get("thinking"):
            if self._thinking < 0:
                self._thinking = self._next_place()
            deltas.append(ThinkingPart(self._thinking, thought))
        if text := message.get("content"):
            if self._text < 0:
                self._text = self._next_place()
            deltas.append(TextPart(self._text, text))
        for call in message.get("tool_calls") or ():
            # Each is whole and one of its own: their `index` may be equal, and an id is missing from older servers.
            deltas.append(ItemStarted(self._next_place(), _call(call)))

    def _next_place(self) -> int:
        self._items += 1
        return self._items - 1


def _call(call: Mapping[str, JSON]) -> ToolCall:
    function = call["function"]
    id, name, arguments = call.get("id") or "", function["name"], function.get("arguments")
    if isinstance(arguments, str):  # some servers in Ollama's place write text
        return ToolCall(id, name, {}, arguments_text=arguments)
    return ToolCall(id, name, dict(arguments or {}))


def usage_of(raw: Mapping[str, JSON]) -> Usage:
    """Put the counts of an answer's last line into neutral form. The prompt's may lack what the cache held."""
    prompt, output = count(raw, "prompt_eval_count"), count(raw, "eval_count")
    counts = {name: raw[name] for name in raw if name.endswith(("_count", "_duration"))}
    return Usage(input_tokens=prompt, output_tokens=output, requests=1, context_tokens=prompt + output, raw=counts)
