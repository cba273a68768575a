"""What a line of a chat means: something to say, or a command. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

import attrs

from alloy.errors import closest_of

SIGN = "/"


@attrs.frozen
class Command:
    """A command of the chat.

    Attributes:
        argument: what may or must follow it, as the help shows it; empty if nothing does.
        choices: what can be offered there.
        takes_path: a file can be named there.
    """

    name: str
    argument: str
    help: str
    choices: Callable[[], Iterable[str]] = tuple
    takes_path: bool = False


@attrs.frozen
class Say:
    """Words for the model."""

    text: str


@attrs.frozen
class Do:
    """A command, and what followed it."""

    name: str
    argument: str


@attrs.frozen
class Wrong:
    """A line that looks like a command and is none."""

    complaint: str


Meaning: TypeAlias = Say | Do | Wrong


def meaning(line: str, known: Iterable[str]) -> Meaning:
    """What a line means where these commands are known.

    A path, such as `/etc/hosts`, is no command; two slashes at the beginning say one.
    """
    text = line.strip()
    if text.startswith(SIGN * 2):
        return Say(text[1:])
    if not text.startswith(SIGN):
        return Say(line)
    word, *rest = text[1:].split(maxsplit=1)[:2] or [""]
    names = sorted(known)
    if word in names:
        return Do(word, rest[0].strip() if rest else "")
    if not word.replace("-", "").isalpha():
        return Say(line)
    return Wrong(f"there is no command {SIGN + word!r}{_hint(word, names)}; {SIGN}help lists them")


def _hint(word: str, names: Sequence[str]) -> str:
    return closest_of(SIGN + word, [SIGN + name for name in names])


def messages_of(lines: Sequence[str], known: Iterable[str]) -> Iterator[str]:
    """The messages in lines that came all at once, as a paste does: one, but that a known command stands alone.

    Of nothing but empty lines it is an empty one: somebody pressed Enter.
    """
    if not any(line.strip() for line in lines):
        yield ""
        return
    names = frozenset(known)
    said: list[str] = []
    for line in lines:
        if isinstance(meaning(line, names), Do):
            yield from _joined(said)
            said = []
            yield line
        else:
            said.append(line)
    yield from _joined(said)


def _joined(lines: Sequence[str]) -> Iterator[str]:
    if any(line.strip() for line in lines):
        yield "\n".join(lines).strip("\n")


def help_rows(commands: Iterable[Command]) -> tuple[tuple[str, str], ...]:
    """The commands, each with what it does."""
    return tuple((f"{SIGN}{command.name} {command.argument}".rstrip(), command.help) for command in commands)
