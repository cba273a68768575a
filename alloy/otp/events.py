"""What happens in a tree, as values, and the block that lets any task watch it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import TypeAlias

import attrs

from alloy.otp.address import Address, Ref, resolve
from alloy.otp.feed import Feed, Lagged
from alloy.otp.reasons import ExitReason


@attrs.frozen
class ChildStarted:
    """A process has finished its `init`, for the first time or again."""

    id: Hashable
    ref: Ref


@attrs.frozen
class ChildExited:
    """A process has ended, whatever the reason."""

    id: Hashable
    ref: Ref
    reason: ExitReason


@attrs.frozen
class Restarting:
    """A supervisor will start a child again in `delay` seconds; 0.0 is at once."""

    id: Hashable
    delay: float


@attrs.frozen
class GaveUp:
    """The supervisor `ref` ends, because `child` (its id) ended once too often."""

    ref: Ref
    child: Hashable


@attrs.frozen
class ShutdownError:
    """A child that its supervisor stopped did not end as it should: it failed, or had to be killed."""

    id: Hashable
    ref: Ref
    reason: ExitReason


@attrs.frozen
class Unkillable:
    """A killed process still runs: it shields itself, or waits for a thread. `stack` says where, outermost first."""

    ref: Ref
    stack: tuple[str, ...]


@attrs.frozen
class PoisonDropped:
    """A message has ended the process often enough (`ChildSpec.poison_limit`); it is not tried again."""

    ref: Ref
    message: object


SystemEvent: TypeAlias = ChildStarted | ChildExited | Restarting | GaveUp | ShutdownError | Unkillable | PoisonDropped


@asynccontextmanager
async def watch_events(ref: Address, *, buffer: int = 256) -> AsyncIterator[AsyncIterator[SystemEvent | Lagged]]:
    """Iterate over what happens to `ref` and everything below it, from any Trio task.

    The iteration ends when `ref` has ended. A reader slower than `buffer` events loses the oldest ones
    and gets a `Lagged` in their place; it never slows the tree.

    Raises:
        ServerExited: `ref` is dead.
    """
    process = resolve(ref)
    feed: Feed[SystemEvent] = Feed(buffer, "drop_old")
    process.system.watches[feed] = process
    try:
        yield feed
    finally:
        process.system.watches.pop(feed, None)
        feed.close()
