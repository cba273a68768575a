"""A store, made of six operations on entries as JSON: whoever writes a store writes these."""

from __future__ import annotations

import abc
import json
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, Self, TypeAlias, TypeVar

import attrs
import trio

from alloy.llm.content import JSON
from alloy.llm.message import mint
from alloy.loop.errors import CorruptStore, Fenced, UnknownSession, UnknownVersion
from alloy.loop.journal import HEAD, Entry, branch, entry, entry_from_json, entry_to_json
from alloy.loop.records import Forked, Record
from alloy.loop.recovery import fold
from alloy.loop.session import Session

FORMAT = "alloy.session"
VERSION = 1
_POLL = 0.02, 0.5  # seconds between two looks at a session that is taken: the first, and the longest
_RELEASE = 10.0  # seconds to give a lease back; a store that cannot in that time will not
_DECODED_AT_ONCE = 200  # entries, before others get their turn

Raw: TypeAlias = Mapping[str, JSON]  # an entry as plain JSON values
Lease = TypeVar("Lease")


@attrs.frozen(kw_only=True)
class Stored:
    """A session as it is stored.

    Attributes:
        created_at: UNIX seconds.
        entries: in the order in which they were committed.
    """

    created_at: float
    entries: Sequence[Raw] = ()


class EntryStore(abc.ABC, Generic[Lease]):
    """A `Store` for whoever can keep entries as JSON: write what is abstract here, the rest is done.

    A lease is whatever the store needs to know again who may write.
    Every one of the operations either happens or raises; one that happened never raises `Cancelled`. They
    are async functions that checkpoint.
    """

    _entered = False

    async def __aenter__(self) -> Self:
        if self._entered:
            raise RuntimeError(f"this {type(self).__name__} is open already; open it once and share it")
        await self.start()
        self._entered = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._entered = False
        await self.stop()

    # What to write.

    async def start(self) -> None:
        """Open what the store needs. Raises `StoreError` if that fails, with nothing left open."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Close it again, also when cancelled."""

    @abc.abstractmethod
    async def names(self) -> Iterable[str]:
        """The ids of all sessions, in any order."""

    @abc.abstractmethod
    async def read(self, session_id: str) -> Stored:
        """What is stored. Raises `UnknownSession`, `CorruptStore`, `UnknownVersion`."""

    @abc.abstractmethod
    async def create(self, session_id: str, stored: Stored) -> bool:
        """Make a session, with all of its entries or not at all; False if there is one of this id."""

    @abc.abstractmethod
    async def acquire(self, session_id: str, *, steal: bool) -> tuple[Lease, Stored]:
        """Make the caller the only one who may write, and read what there is.

        Raises `Fenced` if another owner lives, unless `steal`; and what `read` raises.
        """

    @abc.abstractmethod
    async def commit(self, lease: Lease, entries: Sequence[Raw]) -> None:
        """Add entries, all or none. Raises `Fenced` if the lease is not the session's last, and writes nothing."""

    @abc.abstractmethod
    async def release(self, lease: Lease) -> None:
        """Let the session go, if it is still held."""

    # What comes of it.

    def open(
        self, session_id: str, *, create: bool = True, wait: float | None = 0.0, steal: bool = False
    ) -> AbstractAsyncContextManager[OpenSession[Lease]]:
        """See `Store.open`."""
        return self._opened(checked_id(session_id), create=create, wait=wait, steal=steal)

    @asynccontextmanager
    async def _opened(
        self, session_id: str, *, create: bool, wait: float | None, steal: bool
    ) -> AsyncIterator[OpenSession[Lease]]:
        self.check_entered()
        lease, stored = await self._acquired(session_id, create=create, wait=wait, steal=steal)
        journal: OpenSession[Lease] | None = None
        try:
            entries = await decoded(session_id, stored)
            yield (journal := OpenSession(self, lease, session_id, stored.created_at, entries))
        finally:
            if journal is not None:
                journal.is_open = False
            if self._entered:
                with trio.move_on_after(_RELEASE, shield=True):
                    await self.release(lease)

    async def _acquired(
        self, session_id: str, *, create: bool, wait: float | None, steal: bool
    ) -> tuple[Lease, Stored]:
        until = trio.current_time() + (wait if wait is not None else float("inf"))
        pause, longest = _POLL
        while True:
            try:
                return await self.acquire(session_id, steal=steal)
            except UnknownSession:
                if not create:
                    raise
                await self.create(session_id, Stored(created_at=time.time()))
                continue
            except Fenced:
                if trio.current_time() >= until:
                    raise
            await trio.sleep(min(pause, max(0.0, until - trio.current_time())))
            pause = min(2 * pause, longest)

    async def sessions(self) -> tuple[str, ...]:
        """See `Store.sessions`."""
        self.check_entered()
        return tuple(sorted(await self.names()))

    async def entries(self, session_id: str) -> tuple[Entry, ...]:
        """See `Store.entries`."""
        return tuple(await decoded(session_id, await self._stored(session_id)))

    async def load(self, session_id: str) -> Session:
        """See `Store.load`."""
        stored = await self._stored(session_id)
        return fold(await decoded(session_id, stored)).session(session_id, stored.created_at)

    async def fork(self, session_id: str, *, at: str | None = None) -> str:
        """See `Store.fork`."""
        stored = await self._stored(session_id)
        way = {made.id: made for made in branch(await decoded(session_id, stored), at)}
        return await self._copy(session_id, [raw for raw in stored.entries if raw["id"] in way])

    async def _copy(self, session_id: str, way: Sequence[Raw]) -> str:
        """Make a session of these entries, the last of which is its head, and say where they are from."""
        last = str(way[-1]["id"]) if way else None
        mark = entry(Forked(session_id=session_id, entry_id=last or ""), last)
        new_id = mint("ses")
        await self.create(new_id, Stored(created_at=time.time(), entries=[*way, entry_to_json(mark)]))
        return new_id

    async def export(self, session_id: str) -> JSON:
        """See `Store.export`."""
        stored = await self._stored(session_id)
        await decoded(session_id, stored)  # what cannot be read again is not given out
        head = {"kind": FORMAT, "v": VERSION, "id": session_id, "created_at": stored.created_at}
        return {**head, "entries": [dict(raw) for raw in stored.entries]}

    async def import_(self, data: JSON) -> str:
        """See `Store.import_`."""
        self.check_entered()
        session_id, stored = exported(data)
        await decoded(session_id, stored, "the export of ")
        if await self.create(session_id, stored):
            return session_id
        return await self._copy(session_id, stored.entries)

    async def _stored(self, session_id: str) -> Stored:
        self.check_entered()
        return await self.read(checked_id(session_id))

    def check_entered(self) -> None:
        """Raise RuntimeError if the store is not open."""
        if not self._entered:
            name = type(self).__name__
            raise RuntimeError(f"the {name} is not open; use it inside `async with {name}(…) as store:`")


@attrs.define(eq=False)
class OpenSession(Generic[Lease]):
    """A `Journal`, as `EntryStore.open` gives it."""

    _store: EntryStore[Lease]
    _lease: Lease
    session_id: str
    created_at: float
    _entries: list[Entry]
    is_open: bool = True
    _ids: set[str] = attrs.field(init=False)
    _turn: trio.Lock = attrs.field(factory=trio.Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._ids = {made.id for made in self._entries}

    @property
    def entries(self) -> Sequence[Entry]:
        """See `Journal.entries`."""
        return tuple(self._entries)

    async def append(self, *records: Record, parent: str | None = HEAD) -> tuple[Entry, ...]:
        """See `Journal.append`."""
        async with self._turn:  # so that each one's head is what the one before it has committed
            if not self.is_open:
                raise RuntimeError(f"session {self.session_id!r} is not open any more: its block has been left")
            self._store.check_entered()
            made = self._chained(records, parent)
            if made:
                await self._store.commit(self._lease, [entry_to_json(one) for one in made])
                self._entries += made
                self._ids.update(one.id for one in made)
            return tuple(made)

    def _chained(self, records: Iterable[Record], parent: str | None) -> list[Entry]:
        if parent == HEAD:
            parent = self._entries[-1].id if self._entries else None
        elif parent is not None and parent not in self._ids:
            raise ValueError(f"session {self.session_id!r} has no entry {parent!r}")
        made: list[Entry] = []
        for record in records:
            made.append(entry(record, made[-1].id if made else parent))
        return made


def checked_id(session_id: str) -> str:
    """Return the id.

    Raises:
        TypeError, ValueError: no session can have it.
    """
    if not isinstance(session_id, str):
        raise TypeError(f"a session id is a str, got {session_id!r}")
    try:
        encoded = session_id.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"a session id must be encodable, got {session_id!r}") from error
    if not encoded or b"\0" in encoded:
        raise ValueError(f"a session id must not be empty or hold a zero byte, got {session_id!r}")
    return session_id


async def decoded(session_id: str, stored: Stored, of: str = "") -> list[Entry]:
    """Read the entries, and check that they make up a tree.

    Raises:
        CorruptStore, UnknownVersion: they do not, or one cannot be read.
    """
    entries: list[Entry] = []
    ids: set[str] = set()
    for number, raw in enumerate(stored.entries):
        place = f"{of}session {session_id!r}, entry {number}"
        made = entry_from_json(raw, place)
        if made.id in ids or (made.parent is not None and made.parent not in ids):
            fault = "comes twice" if made.id in ids else "follows one that is not there"
            raise CorruptStore(f"{place}: {made.id!r} {fault}", place=place)
        ids.add(made.id)
        entries.append(made)
        if number % _DECODED_AT_ONCE == 0:
            await trio.lowlevel.checkpoint()
    return entries


def exported(data: JSON) -> tuple[str, Stored]:
    """Read what `export` gave.

    Raises:
        CorruptStore, UnknownVersion: it is something else.
    """
    match data:
        case {"kind": "alloy.session", "v": version} if version != VERSION:
            raise UnknownVersion(f"the export is of version {version!r}; this alloy reads {VERSION}", version=version)
        case {
            "kind": "alloy.session",
            "id": str(session_id),
            "created_at": float() | int() as created_at,
            "entries": list(entries),
        } if all(isinstance(raw, dict) for raw in entries):
            return checked_id(session_id), Stored(created_at=created_at, entries=entries)
    raise CorruptStore(f"no session is in this: expected what export() gives, got {data!r:.80}", place="the export")


def dumps(value: JSON) -> str:
    """Write JSON in one line, as readable as it can be."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can hold
        return json.dumps(value, separators=(",", ":"))
    return text


def taken(session_id: str, owner: str = "") -> Fenced:
    """The error for a session that another drives."""
    by = f" (owner {owner})" if owner else ""
    return Fenced(
        f"session {session_id!r} is driven by another{by}; wait for it with wait=, or take it with steal=True"
    )


def lost(session_id: str) -> Fenced:
    """The error for who no longer drives a session."""
    return Fenced(f"session {session_id!r} was taken over by another; nothing was written")


def unknown(session_id: str) -> UnknownSession:
    """The error for a session that is not there."""
    return UnknownSession(f"the store has no session {session_id!r}", id=session_id)
