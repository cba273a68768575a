"""A conversation, and what is in it, as text. Pure."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from alloy.cli.text import arguments_line, count_of, folded
from alloy.llm.codec import to_json
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.llm.usage import Usage
from alloy.loop.session import Session
from alloy.tools import Tool

Rows: TypeAlias = tuple[tuple[str, str], ...]


def transcript(messages: Sequence[Message], *, whole: bool) -> str:
    """What was said and done, the results folded unless `whole`."""
    return "\n".join(_lines(messages, whole)) or "nothing was said yet"


def _lines(messages: Sequence[Message], whole: bool) -> Iterator[str]:
    for message in messages:
        match message:
            case UserMessage():
                yield from ("", *_marked("> ", message.text or "(no text)"))
            case AssistantMessage():
                yield from ("", *message.text.splitlines()) if message.text else ()
                for call in message.tool_calls:
                    yield f"→ {call.name}({arguments_line(call)})"
            case ToolMessage():
                for result in message.results:
                    yield f"← {result.name}: {result.outcome}"
                    lines = result.text.splitlines() if whole else folded(result.text)
                    yield from (f"    {line}" for line in lines)


def _marked(mark: str, text: str) -> Iterable[str]:
    first, *rest = text.splitlines()
    return (mark + first, *(" " * len(mark) + line for line in rest))


def as_json(session: Session) -> str:
    """A conversation as JSON; each of the messages is what `alloy.from_json` reads."""
    messages = [to_json(message) for message in session.messages]
    return json.dumps({"id": session.id, "created_at": session.created_at, "messages": messages}, ensure_ascii=False)


def usage_rows(usage: Usage) -> Rows:
    """What was used, a line for each kind."""
    cost = "unknown" if usage.cost is None and usage.total_tokens else f"${usage.cost or 0:.4f}"
    rows = [
        ("requests", str(usage.requests)),
        ("input tokens", str(usage.input_tokens)),
        ("  read from the cache", str(usage.cache_read_tokens)),
        ("  written to the cache", str(usage.cache_write_tokens)),
        ("output tokens", str(usage.output_tokens)),
        ("  reasoning", str(usage.reasoning_tokens)),
        ("cost", cost),
    ]
    return tuple((name, value) for name, value in rows if value != "0" or not name.startswith(" "))


def context_rows(messages: Sequence[Message], tokens: int | None, window: int | None) -> Rows:
    """What fills the model's window."""
    kinds = Counter(type(message).__name__ for message in messages)
    results = sum(len(message.results) for message in messages if isinstance(message, ToolMessage))
    used = "unknown before the first answer" if tokens is None else f"{count_of(tokens)} tokens"
    if tokens is not None and window is not None:
        used += f", {tokens / window:.1%} of {count_of(window)}"
    return (
        ("context", used),
        ("prompts", str(kinds["UserMessage"])),
        ("answers", str(kinds["AssistantMessage"])),
        ("tool results", str(results)),
    )


def tool_rows(tools: Iterable[Tool]) -> Rows:
    """The tools, each with the first line of what the model reads about it."""
    return tuple((tool.name, tool.description.partition("\n")[0]) for tool in tools)
