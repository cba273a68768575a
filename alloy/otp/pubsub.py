"""Topics: a broadcast reaches every subscriber and waits for none."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import attrs

from alloy.otp.address import Ref
from alloy.otp.context import here, snapshot
from alloy.otp.feed import Feed, Lagged, Overflow, check_overflow
from alloy.otp.mailbox import Info
from alloy.otp.reasons import Shutdown
from alloy.otp.registry import strict
from alloy.otp.signals import Notice

if TYPE_CHECKING:
    from alloy.otp.process import Process


class Broadcast(Info):
    """A message of one subscription in a mailbox; or, where it gave way to a later one, the gap it left."""

    __slots__ = ("is_dropped", "missed", "subscription")
    is_urgent = False

    def __init__(self, message: object, subscription: Subscription) -> None:
        super().__init__(message, snapshot())
        self.subscription: Subscription = subscription
        self.is_dropped: bool = False
        self.missed: int = 0  # how many this gap stands for; 0 where an earlier one does

    async def act(self, process: Process) -> None:
        """Hand over the message or the news of the gap."""
        subscription = self.subscription
        if not self.is_dropped:
            if subscription.queued and subscription.queued[0] is self:
                subscription.queued.popleft()
            process.mailbox.taken()
            await process.hand_over(self, process.server.handle_info)
        elif self.missed:
            subscription.gap = None
            await process.hand_over(Notice(Lagged(self.missed)), process.server.handle_info)


@attrs.define(eq=False)
class Subscription:
    """One process on one topic.

    Attributes:
        queued: its broadcasts that wait, oldest first.
        gap: the first of them that gave way, until it is read.
        missed: dropped where the mailbox was full of other mail, so that none could give way.
    """

    process: Process
    overflow: Overflow
    queued: deque[Broadcast] = attrs.field(factory=deque)
    gap: Broadcast | None = None
    missed: int = 0

    def deliver(self, message: object) -> bool:
        """Queue a broadcast as the overflow policy says; whether it got in."""
        mailbox = self.process.mailbox
        if mailbox.drain is not None and mailbox.drain.is_outsider():
            return False
        broadcast = Broadcast(message, self)
        if mailbox.has_room:
            if self.missed:
                mailbox.signal(Notice(Lagged(self.missed)))
                self.missed = 0
            mailbox.post(broadcast)
        elif self.overflow == "drop_old" and self.queued:
            self._drop_oldest()
            mailbox.signal(broadcast)  # takes the counted place of the one that gave way
        else:
            if self.overflow == "exit":
                self.process.interrupt(Shutdown("overflow"))
            elif self.overflow == "drop_old":
                self.missed += 1
            return False
        self.queued.append(broadcast)
        return True

    def _drop_oldest(self) -> None:
        oldest = self.queued.popleft()
        oldest.is_dropped, oldest.message = True, None
        if self.gap is None:
            self.gap = oldest
        self.gap.missed += 1


class PubSub:
    """Topics of one program or part of it; an object to be handed to whoever needs it.

    Topics compare by type and value. A broadcast never waits: what a slow receiver has no room for is
    dropped as its own `overflow` says.
    """

    def __init__(self) -> None:
        self._subscriptions: dict[Hashable, dict[Process, Subscription]] = {}
        self._topics_of: dict[Process, set[Hashable]] = {}
        self._feeds: dict[Hashable, dict[Feed[object], None]] = {}

    def subscribe(self, topic: Hashable, *, overflow: Overflow = "drop_new") -> None:
        """Let the calling process get what is broadcast on `topic`, as `handle_info(message)`, until it ends.

        Only inside a process; twice is once, with the later `overflow`.

        Args:
            topic: anything hashable.
            overflow: when the mailbox is full: "drop_new" drops what comes; "drop_old" the oldest
                broadcast of this subscription, with a `Lagged` before what is left; "exit" ends the
                subscriber with `Shutdown("overflow")`.
        """
        process = here("PubSub.listen")
        check_overflow(overflow)
        subscriptions = self._subscriptions.setdefault(strict(topic), {})
        if process in subscriptions:
            subscriptions[process].overflow = overflow
            return
        subscriptions[process] = Subscription(process, overflow)
        self._topics_of.setdefault(process, set()).add(strict(topic))
        process.enter(self)

    def unsubscribe(self, topic: Hashable) -> None:
        """Undo `subscribe`; nothing if there is none. What waits already still comes."""
        process = here("the block of PubSub.listen")
        self._topics_of.get(process, set()).discard(strict(topic))
        self._drop(strict(topic), process)

    def broadcast(self, topic: Hashable, message: object, *, exclude: Ref | None = None) -> int:
        """Send `message` to everybody on `topic` but `exclude`, and return how many it reached."""
        subscriptions = tuple(self._subscriptions.get(strict(topic), {}).values())
        reached = sum(sub.deliver(message) for sub in subscriptions if sub.process.ref is not exclude)
        return reached + sum(feed.push(message) for feed in tuple(self._feeds.get(strict(topic), ())))

    @asynccontextmanager
    async def listen(
        self, topic: Hashable, *, buffer: int = 256, overflow: Overflow = "drop_old"
    ) -> AsyncIterator[AsyncIterator[object]]:
        """Iterate over what is broadcast on `topic` from now on, in any Trio task.

        Args:
            topic: anything hashable.
            buffer: how many messages may wait for the reader.
            overflow: as for `subscribe`; "exit" ends the iteration. A gap is a `Lagged`.
        """
        feed: Feed[object] = Feed(buffer, overflow)
        feeds = self._feeds.setdefault(strict(topic), {})
        feeds[feed] = None
        try:
            yield feed
        finally:
            del feeds[feed]
            if not feeds and self._feeds.get(strict(topic)) is feeds:
                del self._feeds[strict(topic)]
            feed.close()

    def release(self, process: Process) -> None:
        """Strike out a process that has ended."""
        for topic in self._topics_of.pop(process, ()):
            self._drop(topic, process)

    def _drop(self, topic: Hashable, process: Process) -> None:
        subscriptions = self._subscriptions.get(topic, {})
        subscriptions.pop(process, None)
        if not subscriptions:
            self._subscriptions.pop(topic, None)
