"""What the Tab key offers in the chat's editor: commands, what may follow them, and files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document

from alloy.cli.commands import SIGN, Command


class ChatCompleter(Completer):
    """Completes a command and its argument; elsewhere, where asked to, the name of a file."""

    def __init__(self, known: Mapping[str, Command]) -> None:
        self._known = known
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What may stand before the cursor."""
        text = document.text_before_cursor
        word, gap, argument = text.partition(" ")
        commands = [SIGN + name for name in self._known if (SIGN + name).startswith(word)] if word else []
        if commands and not gap:
            yield from _beginning(word, commands)
        elif word in commands:
            command = self._known[word.removeprefix(SIGN)]
            yield from _beginning(argument, command.choices())
            if command.takes_path:
                yield from self._paths.get_completions(Document(argument), complete_event)
        elif complete_event.completion_requested and (last := document.get_word_before_cursor(WORD=True)):
            yield from self._paths.get_completions(Document(last), complete_event)


def _beginning(word: str, choices: Iterable[str]) -> Iterable[Completion]:
    return (Completion(choice, start_position=-len(word)) for choice in sorted(choices) if choice.startswith(word))
