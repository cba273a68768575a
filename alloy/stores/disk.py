"""What stores on disk have in common: an owner that lives for as long as they are open, and one thread that writes."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Generic, Literal, TypeAlias

import trio

from alloy.stores.entries import EntryStore, Lease
from alloy.stores.owner import Owner
from alloy.stores.writer import Item, Job, Writer

Durability: TypeAlias = Literal["process", "power"]


class DiskStore(EntryStore[Lease], Generic[Lease, Item]):
    """An `EntryStore` whose files other processes may use too.

    Args:
        durability: `"power"` waits for the disk at each commit.
        lease: seconds without a sign of life after which another may take a session over.

    Raises:
        ValueError: there is no such durability, or `lease` is not positive.
    """

    def __init__(self, durability: Durability, lease: float) -> None:
        if durability not in ("process", "power"):
            raise ValueError(f"durability is 'process' or 'power', got {durability!r}")
        if not lease > 0:
            raise ValueError(f"lease must be positive, got {lease!r}")
        self._syncs = durability == "power"
        self._lease = lease
        self._owner_or_none: Owner | None = None
        self._writer_or_none: Writer[Item] | None = None
        self._held: set[str] = set()  # the tokens of the sessions that are driven through this store

    @abc.abstractmethod
    def _become_owner(self) -> Owner:
        """Make or open the files, and an owner beside them; in a thread."""

    @abc.abstractmethod
    def _commit_all(self, jobs: Sequence[Job[Item]]) -> None:
        """Write what all jobs want, and set `error` on those that cannot be; in the writing thread."""

    @property
    def _owner(self) -> Owner:
        assert self._owner_or_none is not None
        return self._owner_or_none

    @property
    def _writer(self) -> Writer[Item]:
        assert self._writer_or_none is not None
        return self._writer_or_none

    async def start(self) -> None:
        """See `EntryStore.start`."""
        owner = self._owner_or_none = await trio.to_thread.run_sync(self._become_owner)
        self._writer_or_none = Writer(type(self).__name__, self._commit_all, idle=owner.touch, every=self._lease / 3)
        self._writer.start()

    async def stop(self) -> None:
        """See `EntryStore.stop`."""
        await self._writer.stop()
        self._owner.close()
        self._held.clear()

    def _is_driven(self, token: str, holder: str) -> bool:
        """Whether the owner that took a session with this token still drives it."""
        if holder == self._owner.id:
            return token in self._held
        return token != "" and self._owner.life_of(holder) == "alive"
