"""What is worked out of a conversation once, and not again for each of its requests. Pure.

A conversation is sent as a whole each time, and only ever grows at its end. `PerMessage` remembers what became of
a message, `Growing` what became of all of them so far, and a `Transcript` is a history that carries such memories
along, from request to request and from run to run. None of them is ever believed: what they have seen has to be
the beginning of what they are shown, object for object, or they begin anew.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from operator import is_
from typing import Any, Generic, Protocol, Self, TypeVar

from alloy.errors import items_of
from alloy.llm.message import Message

T = TypeVar("T")


class Kept(weakref.ref[Message], Generic[T]):
    """A message and what was worked out of it, in one object: each that lives costs at every garbage collection."""

    __slots__ = ("key", "result")
    key: int
    result: T


class PerMessage(Generic[T]):
    """A function of a message, worked out once: the result is kept for as long as the message lives.

    Messages are found again by identity. They are frozen, so that is safe; and comparing two of them
    would cost more than encoding one.
    """

    def __init__(self, function: Callable[[Message], T]) -> None:
        self._function = function
        self._known: dict[int, Kept[T]] = {}
        self._drop = self._forget  # made once, and not for each message

    def __call__(self, message: Message) -> T:
        key = id(message)
        known = self._known.get(key)
        if known is not None and known() is message:
            return known.result
        result = self._function(message)
        kept = self._known[key] = Kept(message, self._drop)
        kept.key, kept.result = key, result
        return result

    def _forget(self, kept: weakref.ref[Message]) -> None:
        """Called before the message's memory, and so its id, can be used again."""
        assert isinstance(kept, Kept)
        self._known.pop(kept.key, None)

    def of_all(self, messages: Sequence[Message]) -> list[T]:
        """The results for all of these, in turn."""
        find = self._known.get
        return [
            known.result if (known := find(id(message))) is not None and known() is message else self(message)
            for message in messages
        ]

    def __reduce__(self) -> tuple[object, ...]:
        return PerMessage, (self._function,)  # a copy begins without results: they are bound to this process


class Sum(Protocol):
    """What messages add up to, one after the other."""

    def extend(self, messages: Sequence[Message], /) -> None:
        """Take more messages in."""
        ...


S = TypeVar("S", bound=Sum)


class Growing(Generic[S]):
    """The sum of a conversation, to which only what is new is added.

    Args:
        empty: makes the sum of no message.
    """

    def __init__(self, empty: Callable[[], S]) -> None:
        self._empty = empty
        self._seen: list[Message] = []
        self._sum = empty()

    def of(self, messages: Sequence[Message]) -> S:
        """The sum of these messages. It is changed by the next call."""
        if not begins_with(messages, self._seen):
            self._seen, self._sum = [], self._empty()
        new = messages[len(self._seen) :]
        try:
            self._sum.extend(new)
        except BaseException:  # some of them may be in it, and some not
            self._seen, self._sum = [], self._empty()
            raise
        self._seen += new  # a copy of them all would touch each: what costs is the memory
        return self._sum


def begins_with(messages: Sequence[Message], beginning: Sequence[Message]) -> bool:
    """Whether the first of these messages are the very same objects as those."""
    return len(messages) >= len(beginning) and all(map(is_, beginning, messages))


class Transcript(tuple[Message, ...]):
    """A history that is whole, see `alloy.llm.history.sendable`, and carries what was worked out of it.

    It is equal to the tuple of its messages; a slice, a sum or a copy of it is a plain tuple.

    Attributes:
        kept: what was worked out, by who keeps it. Those who keep it check that it still fits.
        view: how a model is shown it, as `alloy.loop.compaction` has decided; None for as it is.
    """

    kept: dict[Hashable, Any]
    view: object

    def __new__(
        cls, messages: Iterable[Message] = (), kept: dict[Hashable, Any] | None = None, view: object = None
    ) -> Self:
        self = super().__new__(cls, messages)
        self.kept = {} if kept is None else kept
        self.view = view
        return self

    def take(self) -> dict[Hashable, Any]:
        """Hand over what is kept, to the conversation that goes on from here.

        It is kept once, with the end of the conversation, and not with each result on the way. Another conversation
        that goes on from here, too, works it out again.
        """
        kept, self.kept = self.kept, {}
        return kept

    def __reduce__(self) -> tuple[object, ...]:
        return tuple, (list(self),)  # of use in this process only


def kept_with(messages: Sequence[Message]) -> dict[Hashable, Any]:
    """What is kept with these messages; a dict that is soon forgotten for those with which nothing is."""
    return messages.kept if isinstance(messages, Transcript) else {}


def growing(kept: dict[Hashable, Any], empty: Callable[[], S]) -> Growing[S]:
    """The sum that is kept of this kind."""
    found: Growing[S] | None = kept.get(empty)
    if found is None:
        found = kept[empty] = Growing(empty)
    return found


def as_messages(value: Iterable[Message]) -> tuple[Message, ...]:
    """A tuple of these messages; one that is a tuple already stays what it is."""
    return value if isinstance(value, tuple) else items_of("history", value, "messages, such as Result.messages")
