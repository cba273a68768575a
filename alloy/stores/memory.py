"""Sessions that last as long as the store object: for tests, and for what need not outlive the process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

import attrs
import trio

from alloy.llm.message import mint
from alloy.stores.entries import EntryStore, Raw, Stored, dumps, lost, taken, unknown


@attrs.define(eq=False)
class _Kept:
    """A session. Its entries are text, as in the stores that write them down: what comes back is no one's object."""

    created_at: float
    texts: list[str]
    token: str = ""  # of the lease; empty if nobody drives it


@attrs.frozen
class _Lease:
    session_id: str
    token: str


class MemoryStore(EntryStore[_Lease]):
    """A store in memory: `async with MemoryStore() as store: …`.

    What it holds stays when the block is left, for as long as the object lives.
    """

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}

    async def stop(self) -> None:
        """Give back every lease: who held one cannot write any more."""
        for kept in self._kept.values():
            kept.token = ""

    async def names(self) -> Iterable[str]:
        """See `EntryStore.names`."""
        await trio.lowlevel.checkpoint()
        return tuple(self._kept)

    async def read(self, session_id: str) -> Stored:
        """See `EntryStore.read`."""
        await trio.lowlevel.checkpoint()
        if (kept := self._kept.get(session_id)) is None:
            raise unknown(session_id)
        return Stored(created_at=kept.created_at, entries=[json.loads(text) for text in kept.texts])

    async def create(self, session_id: str, stored: Stored) -> bool:
        """See `EntryStore.create`."""
        texts = [dumps(raw) for raw in stored.entries]
        await trio.lowlevel.checkpoint()
        if session_id in self._kept:
            return False
        self._kept[session_id] = _Kept(stored.created_at, texts)
        return True

    async def acquire(self, session_id: str, *, steal: bool) -> tuple[_Lease, Stored]:
        """See `EntryStore.acquire`."""
        stored = await self.read(session_id)
        kept = self._kept[session_id]
        if kept.token and not steal:
            raise taken(session_id)
        kept.token = mint("lse")
        return _Lease(session_id, kept.token), stored

    async def commit(self, lease: _Lease, entries: Sequence[Raw]) -> None:
        """See `EntryStore.commit`."""
        texts = [dumps(raw) for raw in entries]
        await trio.lowlevel.checkpoint()
        kept = self._kept[lease.session_id]
        if kept.token != lease.token:
            raise lost(lease.session_id)
        kept.texts += texts

    async def release(self, lease: _Lease) -> None:
        """See `EntryStore.release`."""
        await trio.lowlevel.checkpoint()
        kept = self._kept[lease.session_id]
        if kept.token == lease.token:
            kept.token = ""
