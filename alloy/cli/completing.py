"""What the Tab key offers in the chat's editor: the commands, and what may follow them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from alloy.cli.commands import SIGN


class CommandCompleter(Completer):
    """Completes the name of a command at the beginning of the line."""

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._known = known

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The commands that begin like the word before the cursor."""
        word = document.text_before_cursor
        if word.startswith(SIGN) and not any(char.isspace() for char in word):
            for name in sorted(self._known()):
                if name.startswith(word[1:]):
                    yield Completion(SIGN + name, start_position=-len(word))
