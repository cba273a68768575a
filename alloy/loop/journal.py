"""Where a run writes down what it does: entries, and what a store must promise. Pure.

A session is a tree of entries that only grows. An entry never changes once it is committed; to go on from an
earlier one is to commit an entry whose parent that is. The *branch* that a session is on is the way from its
last entry to the root: it is the conversation. What waits and what is under way belongs to the session as a
whole, whatever the branch.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Protocol, Self

import attrs

from alloy.llm.codec import CodecError
from alloy.llm.content import JSON
from alloy.llm.message import mint
from alloy.loop.errors import CorruptStore, UnknownVersion
from alloy.loop.records import Record, kind_of, record_from_json, record_to_json
from alloy.loop.session import Session

HEAD = "head"  # as a parent: the last entry. No entry has this id.


@attrs.frozen(kw_only=True)
class Entry:
    """One thing that happened, in its place.

    Attributes:
        id: unique in its session, and kept by copies of it.
        parent: the id of the entry that it follows; None for a root.
        at: when it was committed, in UNIX seconds.
    """

    id: str
    parent: str | None
    at: float
    record: Record

    @property
    def kind(self) -> str:
        """What sort of thing, as the tag that is stored."""
        return kind_of(self.record)

    @property
    def run_id(self) -> str:
        """The run that it belongs to; empty for none."""
        return str(getattr(self.record, "run_id", ""))


class Journal(Protocol):
    """A session that is open for writing, by nobody else.

    Opening it takes the *lease* of the session, leaving the block gives it back. Every lease has a token of its
    own; who writes with a token that is not the session's last is fenced off, whatever kept them from noticing.
    """

    @property
    def session_id(self) -> str:
        """The id by which the store knows the session."""
        ...

    @property
    def created_at(self) -> float:
        """When the session was made, in UNIX seconds."""
        ...

    @property
    def entries(self) -> Sequence[Entry]:
        """All entries, in the order in which they were committed, those of this block included."""
        ...

    async def append(self, *records: Record, parent: str | None = HEAD) -> tuple[Entry, ...]:
        """Commit records, all or none, as a chain of entries.

        When this returns, they will be there for whoever opens the session next, as far as the durability of
        the store goes. If it raises, none of them will; a cancel that comes too late to stop the
        write does not make it raise.

        Args:
            records: in this order.
            parent: the id of the entry that the first one follows; `HEAD` for the last one, None to begin a new tree.

        Raises:
            Fenced: the session was taken over; nothing was written.
            StoreError: it could not be written, for want of space for example; nothing was.
            TypeError: something is no record.
            ValueError: there is no such entry as `parent`.
            RuntimeError: the block has been left.
        """
        ...


class Store(Protocol):
    """Keeps sessions. An async context manager, which may be entered again once it has been left.

    All its methods need it entered, and raise `RuntimeError` otherwise. What reads, reads what is committed,
    also while somebody else drives the session.
    `alloy.testing.check_store` checks an implementation; `alloy.stores.EntryStore` is most of one.
    """

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def open(
        self, session_id: str, *, create: bool = True, wait: float | None = 0.0, steal: bool = False
    ) -> AbstractAsyncContextManager[Journal]:
        """Drive a session: nobody else can while the block lasts.

        An owner that has died – its process killed, its machine restarted – holds no session. One that lives
        but does not stir for the store's `lease` seconds, because it is stopped or its machine is
        gone from the network, is taken over too, and is fenced off should it ever wake up.

        Args:
            session_id: any text that is not empty.
            create: make the session if there is none.
            wait: seconds to wait for another owner to be done; None to wait for ever.
            steal: take the session over at once, from an owner that lives too.

        Raises:
            Fenced: on entering: another owner still drives the session.
            UnknownSession: there is none, and `create` is False.
            CorruptStore, UnknownVersion: it cannot be read; the message says where.
            ValueError: no session can have this id.
        """
        ...

    async def sessions(self) -> tuple[str, ...]:
        """The ids of all sessions, sorted."""
        ...

    async def entries(self, session_id: str) -> tuple[Entry, ...]:
        """All entries of a session, in the order in which they were committed.

        Raises:
            UnknownSession, CorruptStore, UnknownVersion: it cannot be read.
        """
        ...

    async def load(self, session_id: str) -> Session:
        """The conversation as it stands: what is under way is closed as it would be if the process died now.

        Raises:
            UnknownSession, CorruptStore, UnknownVersion: it cannot be read.
        """
        ...

    async def fork(self, session_id: str, *, at: str | None = None) -> str:
        """Copy the branch that ends with the entry `at`, or the current one, to a new session; returns its id.

        Nothing is under way in the copy, and nothing waits.

        Raises:
            UnknownSession, CorruptStore, UnknownVersion: it cannot be read.
            ValueError: the session has no entry `at`.
        """
        ...

    async def export(self, session_id: str) -> JSON:
        """All of a session as plain JSON values, for `import_`, which knows them again in any store.

        Raises:
            UnknownSession, CorruptStore, UnknownVersion: it cannot be read.
        """
        ...

    async def import_(self, data: JSON) -> str:
        """Take up what `export` gave; returns the id of the session.

        It keeps its id if that is free: then it goes on here, with what is under way and what waits.
        Otherwise it becomes a copy with a new id, in which nothing is under way.

        Raises:
            UnknownVersion: a later alloy wrote it.
            CorruptStore: it is not what `export` gives.
        """
        ...


def entry(record: Record, parent: str | None) -> Entry:
    """A new entry, made now."""
    return Entry(id=mint("ent"), parent=parent, at=time.time(), record=record)


def entry_to_json(made: Entry) -> dict[str, JSON]:
    """Turn an entry into plain JSON values.

    Raises:
        TypeError: its record is none.
    """
    return {"id": made.id, "parent": made.parent, "at": made.at, "record": record_to_json(made.record)}


def entry_from_json(data: JSON, place: str) -> Entry:
    """Make an entry again.

    Args:
        data: the plain values.
        place: where they were found, for the errors.

    Raises:
        UnknownVersion: it is of a kind that this alloy knows, in a version that it does not.
        CorruptStore: it is not what `entry_to_json` makes.
    """
    match data:
        case {"id": str(id), "parent": None | str() as parent, "at": float() | int() as at, "record": record}:
            try:
                return Entry(id=id, parent=parent, at=at, record=record_from_json(record))
            except CodecError as error:
                if error.version is not None:
                    raise UnknownVersion(f"{place}: {error}", version=error.version) from error
                raise CorruptStore(f"{place} cannot be read: {error}", place=place) from error
    raise CorruptStore(f"{place} is no entry", place=place)


def branch(entries: Sequence[Entry], at: str | None = None) -> list[Entry]:
    """The way from the root to an entry, by default the last.

    Raises:
        ValueError: there is no entry `at`.
    """
    by_id = {made.id: made for made in entries}
    if at is not None and at not in by_id:
        raise ValueError(f"there is no entry {at!r} among the {len(by_id)} of the session")
    found = by_id[at] if at is not None else (entries[-1] if entries else None)
    way: list[Entry] = []
    while found is not None:
        way.append(found)
        found = by_id[found.parent] if found.parent is not None else None
    return way[::-1]
