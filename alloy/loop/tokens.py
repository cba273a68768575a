"""How many tokens a request takes: a guess from its characters, put right by what the vendor has reported. Pure.

No vendor's tokeniser is at hand, and all differ. So a text is guessed, and each answer says how far off the guess was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence

import attrs

from alloy.llm.content import (
    JSON,
    Audio,
    Content,
    Document,
    Image,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Video,
)
from alloy.llm.message import AssistantMessage, Message, ToolMessage
from alloy.llm.request import ToolDefinition
from alloy.llm.usage import Usage

PROSE = 4.0  # ASCII characters of a token
CODE = 3.0  # of code and of JSON
BEYOND_ASCII = 0.4  # tokens for each byte of UTF-8 that a character takes beyond its first: 1 for a Chinese one
PER_MESSAGE = 4
PER_ITEM = 3

# What a file takes whose content does not tell; vendors count by pixels, pages and seconds.
MEDIA: dict[type[Image | Document | Audio | Video], int] = {Image: 1_500, Document: 3_000, Audio: 1_000, Video: 5_000}

# How far off a guess may be, before the report is held for the odd one.
LEAST_RATIO, MOST_RATIO = 0.5, 4.0


def tokens_of_text(text: str, per_token: float = PROSE) -> int:
    """About how many tokens a text takes."""
    beyond = 0 if text.isascii() else len(text.encode("utf-8", "surrogatepass")) - len(text)
    return math.ceil(len(text) / per_token + beyond * BEYOND_ASCII)


def tokens_of_message(message: Message) -> int:
    """About how many tokens a message takes."""
    items: Iterable[object] = message.results if isinstance(message, ToolMessage) else message.content
    return PER_MESSAGE + sum(map(_tokens_of_item, items))


def tokens_of_head(system: str, tools: Iterable[ToolDefinition], schema: JSON = None) -> int:
    """About how many tokens stand before the messages: the system prompt, the tools, and the form of the answer."""
    total = tokens_of_text(system) + (_tokens_of_json(schema) if schema is not None else 0)
    for tool in tools:
        words = tokens_of_text(tool.name) + tokens_of_text(tool.description)
        total += PER_MESSAGE + words + _tokens_of_json(dict(tool.parameters))
    return total


def _tokens_of_item(item: object) -> int:
    match item:
        case Text(text=text) | Thinking(text=text):
            tokens = tokens_of_text(text)
        case ToolCall():
            arguments = item.arguments_text or json.dumps(item.arguments, default=str, ensure_ascii=False)
            tokens = tokens_of_text(item.name) + tokens_of_text(arguments, CODE)
        case ToolResult():
            texts = [one.text for one in item.content if isinstance(one, Text)]
            files = [one for one in item.content if not isinstance(one, Text)]
            tokens = sum(tokens_of_text(text, CODE) for text in texts) + sum(map(_tokens_of_item, files))
        case Document(data=bytes(data), media_type=kind) if kind.startswith("text/"):
            tokens = math.ceil(len(data) / CODE)
        case Image() | Document() | Audio() | Video():
            tokens = MEDIA[type(item)]
        case ServerTool(payload=payload) | Unknown(raw=payload):
            tokens = _tokens_of_json(payload)
        case _:  # a cache mark
            return 0
    return PER_ITEM + tokens + (_tokens_of_state(item) if isinstance(item, Content) else 0)


def _tokens_of_state(item: Content) -> int:
    """Reasoning that is encrypted takes about as much as it would in words; base64 makes it longer."""
    return sum(len(o.data) for o in item.opaque if isinstance(o.data, str) and o.type != "signature") // 6


def _tokens_of_json(value: JSON) -> int:
    return tokens_of_text(json.dumps(value, default=str, ensure_ascii=False), CODE)


class Sizes:
    """The sizes of the messages of a history, as guessed: a `Sum`.

    Attributes:
        ends: how much the messages take up to each place; one more than there are messages.
        reported: the place of the last answer of which the vendor reported the usage, and that; None if there is none.
    """

    def __init__(self) -> None:
        self.ends: list[int] = [0]
        self.reported: tuple[int, Usage] | None = None

    def extend(self, messages: Sequence[Message]) -> None:
        """Go on with these."""
        for message in messages:
            if isinstance(message, AssistantMessage) and message.usage is not None and message.usage.input_tokens:
                self.reported = len(self.ends) - 1, message.usage
            self.ends.append(self.ends[-1] + tokens_of_message(message))

    def between(self, start: int, end: int) -> int:
        """How much the messages from one place to before another take."""
        return self.ends[end] - self.ends[start]


@attrs.frozen
class Measure:
    """How much a request takes.

    Attributes:
        tokens: all of it.
        ratio: of what the vendor counts to what was guessed.
    """

    tokens: int
    ratio: float = 1.0


def measure(sizes: Sizes, head: int, *, since: int = 0, ratio: float = 1.0) -> Measure:
    """Measure a request: what the vendor reported of the last answer, and a guess for what has come since.

    Args:
        sizes: of its messages.
        head: what stands before them, as guessed.
        since: the place from which on answers were given to these very messages; what is reported of earlier ones is
            about others.
        ratio: to go by where nothing is reported.
    """
    total = sizes.ends[-1]
    if sizes.reported is None or sizes.reported[0] < since:
        return Measure(math.ceil((head + total) * ratio), ratio)
    place, usage = sizes.reported
    asked = max(1, head + sizes.ends[place])
    ratio = within_reason(usage.input_tokens / asked)
    used = usage.total_tokens if usage.context_tokens is None else usage.context_tokens
    reported = used + math.ceil(ratio * (total - sizes.ends[place + 1]))
    # Some servers leave out of the count what they had in a cache.
    return Measure(max(reported, math.ceil(LEAST_RATIO * (head + total))), ratio)


def within_reason(ratio: float) -> float:
    """The ratio, within its bounds."""
    return min(max(ratio, LEAST_RATIO), MOST_RATIO)
