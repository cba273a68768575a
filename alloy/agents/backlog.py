"""Watching an agent: the events of late, and the feeds of those who watch."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import attrs
import trio

from alloy.loop.emitter import Tape
from alloy.loop.events import Event, Lagged
from alloy.loop.session import Session

KEPT = 256  # events that somebody who comes late can still see


@attrs.define(eq=False)
class Backlog:
    """The last events of an agent. A watcher of its tape; never makes the run wait."""

    events: deque[Event] | tuple[()] = ()  # an empty deque is larger than all else of an idle agent

    def put(self, event: Event) -> None:
        if isinstance(self.events, tuple):
            self.events = deque(maxlen=KEPT)
        self.events.append(event)

    async def room(self) -> None:
        return

    def since(self, seq: int) -> tuple[int, list[Event]]:
        """The events with a higher number, and how many of them are gone."""
        kept = [event for event in self.events if event.seq > seq]
        missed = kept[0].seq - seq - 1 if kept else 0
        return missed, kept


class Subscription:
    """Events of an agent as they come, for one reader. Made by `AgentRef.subscribe`.

    It watches and never owns: a reader that is too slow misses the oldest events, and gets a `Lagged` in their place.

    Attributes:
        snapshot: the conversation when the subscription began; what it brings goes on from there.
    """

    def __init__(self, snapshot: Session, buffer: int) -> None:
        self.snapshot = snapshot
        self._events: deque[Event] = deque()
        self._buffer = buffer
        self._missed = 0
        self._closed = False
        self._arrived = trio.Event()

    def put(self, event: Event) -> None:
        """Take an event, at once."""
        if len(self._events) >= self._buffer:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._arrived.set()

    async def room(self) -> None:
        """There always is some."""

    def miss(self, missed: int) -> None:
        """So many events before the next are gone."""
        self._missed += missed
        self._arrived.set()

    def close(self) -> None:
        """Nothing more will come; what has come can still be read."""
        self._closed = True
        self._arrived.set()

    async def aclose(self) -> None:
        """Watch no more: the iteration ends."""
        self._events.clear()
        self._missed = 0
        self.close()
        await trio.lowlevel.checkpoint()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events and not self._missed:
            if self._closed:
                raise StopAsyncIteration
            self._arrived = trio.Event()
            await self._arrived.wait()
        await trio.lowlevel.checkpoint()
        if self._missed:
            first = self._events[0].seq if self._events else 0
            missed, self._missed = self._missed, 0
            return Lagged(missed, seq=max(0, first - 1))
        return self._events.popleft()


@contextmanager
def subscribed(tape: Tape, backlog: Backlog, snapshot: Session, *, since: int, buffer: int) -> Iterator[Subscription]:
    """Follow a tape for as long as the block runs, from the event after number `since`, as far as they are kept.

    Raises:
        ValueError: `buffer` is less than 1.
    """
    if buffer < 1:
        raise ValueError(f"buffer must be 1 or more, got {buffer!r}")
    subscription = Subscription(snapshot, buffer)
    missed, events = backlog.since(since)
    if missed:
        subscription.miss(missed)
    for event in events:
        subscription.put(event)
    tape.add(subscription)
    try:
        yield subscription
    finally:
        tape.remove(subscription)
        subscription.close()
