"""Keys that do not show, and their removal from what others wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NoReturn
from urllib.parse import quote

_SHOWN = "[secret]"
_SHORTEST = 4


class Secret:
    """A key. Only `reveal` gives it away: not repr, str or format, and it cannot be pickled.

    Raises:
        ValueError: it is empty, or has characters that no HTTP header can carry.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not value:
            raise ValueError("a secret must not be empty")
        if not (value.isascii() and value.isprintable()) or value != value.strip():
            raise ValueError("a secret must be printable ASCII without blanks around it; is it pasted in full?")
        self._value = value

    def reveal(self) -> str:
        """The key itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __str__(self) -> str:
        return _SHOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret cannot be pickled or copied; make it anew where it is needed")


def redact(text: str, secrets: Sequence[Secret]) -> str:
    """Replace each secret in `text`, plain or percent-encoded, with a `Bearer` before it or not, by `[secret]`.

    One of less than four characters stays: it is a stand-in, and part of many a word.
    """
    for secret in sorted(secrets, key=lambda secret: len(secret.reveal()), reverse=True):
        value = secret.reveal()
        for form in {value, quote(value, safe="")} if len(value) >= _SHORTEST else ():
            if form in text:
                text = re.sub(rf"(?:[Bb]earer )?{re.escape(form)}", _SHOWN, text)
    return text


def redact_error(error: BaseException, secrets: Sequence[Secret]) -> None:
    """Take the secrets out of what an error says. Of its causes those that show one are cut off."""
    if not any(_shows(link, secrets) for link in _chain(error)):
        return
    error.args = tuple(redact(a, secrets) if isinstance(a, str) else a for a in error.args)
    for name, value in vars(error).items():
        if isinstance(value, str):
            setattr(error, name, redact(value, secrets))
    for link in _chain(error):
        if any(_shows(further, secrets) for further in _chain(link) if further is not link):
            link.__cause__ = link.__context__ = None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or found.__context__


def _shows(error: BaseException, secrets: Sequence[Secret]) -> bool:
    texts = [str(error), *map(str, error.args), *map(str, vars(error).values())]
    return any(redact(text, secrets) != text for text in texts)
