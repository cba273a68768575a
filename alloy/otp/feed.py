"""A bounded stream from many senders, who never wait, to one reader in any Trio task."""

from __future__ import annotations

from collections import deque
from typing import Generic, Literal, TypeAlias, TypeVar

import attrs
import trio

T = TypeVar("T")

Overflow: TypeAlias = Literal["drop_new", "drop_old", "exit"]


@attrs.frozen
class Lagged:
    """Here `missed` messages were dropped, because the reader was too slow."""

    missed: int


def check_overflow(overflow: str) -> None:
    """Refuse an unknown policy."""
    if overflow not in ("drop_new", "drop_old", "exit"):
        raise ValueError(f"overflow must be 'drop_new', 'drop_old' or 'exit', got {overflow!r}")


class Feed(Generic[T]):
    """At most `buffer` items wait for the reader; `overflow` says what gives way when there are more.

    "drop_old" gives up the oldest, "drop_new" the one that comes, "exit" ends the iteration after what
    waits. A gap is one `Lagged`, at its place.
    """

    def __init__(self, buffer: int, overflow: Overflow) -> None:
        if isinstance(buffer, bool) or not isinstance(buffer, int) or buffer < 1:
            raise ValueError(f"buffer must be 1 or more, got {buffer!r}")
        check_overflow(overflow)
        self._items: deque[T | Lagged] = deque()
        self._buffer = buffer
        self._overflow = overflow
        self._missed_before = 0  # dropped before the first item that waits
        self._missed_after = 0  # dropped behind the last; more than 0 only with "drop_new"
        self._closed = False
        self._arrived = trio.Event()

    def push(self, item: T) -> bool:
        """Let the reader have `item`; False if it was dropped."""
        if self._closed:
            return False
        if len(self._items) >= self._buffer:
            match self._overflow:
                case "drop_old":
                    self._items.popleft()
                    self._missed_before += 1
                case "drop_new":
                    self._missed_after += 1
                    return False
                case "exit":
                    self.close()
                    return False
        if self._missed_after:
            self._items.append(Lagged(self._missed_after))
            self._missed_after = 0
        self._items.append(item)
        self._arrived.set()
        return True

    def close(self) -> None:
        """End the iteration, after what waits."""
        self._closed = True
        self._arrived.set()

    def __aiter__(self) -> Feed[T]:
        return self

    async def __anext__(self) -> T | Lagged:
        await trio.lowlevel.checkpoint()
        while True:
            if self._missed_before:
                missed, self._missed_before = self._missed_before, 0
                return Lagged(missed)
            if self._items:
                item = self._items.popleft()
                if not self._items:
                    self._missed_before, self._missed_after = self._missed_after, 0
                return item
            if self._closed:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
