"""Summing up the old part of a conversation: what a model is asked, and what is known without one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from alloy.llm.content import Text, Thinking, ToolCall
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage

SYSTEM = """\
You sum up the earlier part of a conversation between a user and an agent that works with tools. The agent will go on \
with your summary in place of that part, so whatever it needs and you leave out is lost. Be exact with names, paths, \
numbers, commands, error texts and decisions; leave out what has no more bearing. Do not answer the conversation and \
do not go on with it. Write nothing but the summary, under these headings:

## Goal
## Constraints
## Progress
## Decisions
## Next steps
## Files read and changed
"""

RESULT = 2_000  # characters of a tool result that whoever sums up is shown
WORDS = 8_000  # of anything else
REMEMBERED = 40  # files of each kind

_PATHS = ("path", "file_path", "file", "filename")
_READERS = ("read", "view", "open", "cat", "show", "list", "grep", "search", "find")


def clipped(text: str, limit: int) -> str:
    """Head and tail of a text, with a note of what is missing between them; a short one as it is."""
    if len(text) <= limit:
        return text
    half = max(limit // 2 - 25, 1)
    return f"{text[:half]}\n[… {len(text) - 2 * half:,} characters left out …]\n{text[-half:]}"


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen
class Files:
    """The files that an agent has read and changed, the latest last.

    They are taken from the calls themselves, so they are known however a model sums up.
    """

    read: tuple[str, ...] = attrs.field(default=(), converter=_names)
    changed: tuple[str, ...] = attrs.field(default=(), converter=_names)

    def after(self, messages: Iterable[Message]) -> Files:
        """These, and those of some further messages."""
        read, changed = dict.fromkeys(self.read), dict.fromkeys(self.changed)
        for message in messages:
            for call in message.tool_calls if isinstance(message, AssistantMessage) else ():
                if (path := _path_of(call.arguments)) is not None:
                    kind = read if call.name.lower().startswith(_READERS) else changed
                    kind.pop(path, None)
                    kind[path] = None
        return Files(list(read)[-REMEMBERED:], list(changed)[-REMEMBERED:])

    def text(self) -> str:
        """Two lines, or fewer; empty if there are no files."""
        lines = (("Files read so far: ", self.read), ("Files changed so far: ", self.changed))
        return "\n".join(head + ", ".join(names) for head, names in lines if names)


def _path_of(arguments: Mapping[str, object]) -> str | None:
    found = next((arguments[name] for name in _PATHS if name in arguments), None)
    return found if isinstance(found, str) and found else None


def prompt(former: str, part: str, words: int) -> str:
    """What whoever sums up is asked: to bring the former summary, if there is one, up to date with what followed."""
    task = (
        f"Sum up this part of the conversation, in at most {words} words."
        if not former
        else f"Bring the summary up to date with the part of the conversation that followed it, in at most {words} "
        "words. Keep of it all that still holds."
    )
    summary = f"<summary>\n{former}\n</summary>\n\n" if former else ""
    return f"{summary}<conversation>\n{part}\n</conversation>\n\n{task}"


def parts(messages: Iterable[Message], limit: int) -> Iterator[str]:
    """Write messages out for whoever sums up, in parts of at most so many characters."""
    lines: list[str] = []
    size = 0
    for message in messages:
        text = clipped(written_out(message), limit)
        if lines and size + len(text) + 2 > limit:
            yield "\n\n".join(lines)
            lines, size = [], 0
        lines.append(text)
        size += len(text) + 2
    if lines:
        yield "\n\n".join(lines)


def written_out(message: Message) -> str:
    """One message as text."""
    match message:
        case UserMessage():
            return f"User: {clipped(message.text, WORDS) or '(no text)'}{_files_in(message.content)}"
        case AssistantMessage():
            said = [_said(item) for item in message.content if not isinstance(item, Thinking)]
            return "Agent: " + ("\n".join(filter(None, said)) or "(no text)")
        case ToolMessage():
            return "\n".join(
                f"Result of {result.name or 'a tool'} ({result.outcome}): {clipped(result.text, RESULT)}"
                + _files_in(result.content)
                for result in message.results
            )


def _said(item: object) -> str:
    match item:
        case Text(text=text):
            return clipped(text, WORDS)
        case ToolCall():
            return f"(calls {item.name} with {clipped(item.arguments_text or str(dict(item.arguments)), RESULT)})"
        case _:
            return f"({type(item).__name__})"


def _files_in(content: Sequence[object]) -> str:
    kinds = [type(item).__name__.lower() for item in content if hasattr(item, "media_type")]
    return f" (with {', '.join(kinds)})" if kinds else ""


def digest(former: str, messages: Sequence[Message]) -> str:
    """What can be said of messages without asking a model."""
    tools: dict[str, int] = {}
    for message in messages:
        for call in message.tool_calls if isinstance(message, AssistantMessage) else ():
            tools[call.name] = tools.get(call.name, 0) + 1
    calls = ", ".join(f"{name} ({count})" for name, count in tools.items())
    line = f"{len(messages)} messages are left out" + (f"; tools called in them: {calls}" if calls else "")
    return clipped(f"{former}\n{line}".strip(), 4_000)
