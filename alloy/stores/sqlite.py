"""Sessions in one SQLite file. Imported when it is first wanted, and with it `sqlite3`."""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from os import PathLike
from pathlib import Path
from typing import TypeAlias

import attrs
import trio

from alloy.llm.message import mint
from alloy.loop.errors import CorruptStore, StoreError, UnknownSession, UnknownVersion
from alloy.stores.disk import DiskStore, Durability
from alloy.stores.entries import Raw, Stored, dumps, lost, taken, unknown
from alloy.stores.owner import Owner
from alloy.stores.writer import Job

VERSION = 1
_APPLICATION = 0x616C6C6F  # "allo": whose file this is
_SMALLEST = 512  # bytes of a page, and so of a file
_BUSY = 30.0  # seconds to wait for another process that writes

# `checksum` of an entry is that of all entries up to it, and of a session that of its row: so a changed byte, a lost
# entry and one too many are all noticed. Who drives a session is left out: at worst nobody seems to.
_SCHEMA = """
CREATE TABLE sessions (
    id TEXT PRIMARY KEY, created_at REAL NOT NULL, entries INTEGER NOT NULL, last INTEGER NOT NULL,
    checksum INTEGER NOT NULL, token TEXT NOT NULL DEFAULT '', owner TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE TABLE entries (
    session TEXT NOT NULL, n INTEGER NOT NULL, entry TEXT NOT NULL, checksum INTEGER NOT NULL,
    PRIMARY KEY (session, n)
) STRICT, WITHOUT ROWID;
"""
_NOT_DAMAGE = {
    sqlite3.SQLITE_BUSY: "it stays locked by another process",
    sqlite3.SQLITE_LOCKED: "it stays locked",
    sqlite3.SQLITE_FULL: "there is no space left",
    sqlite3.SQLITE_READONLY: "it is read-only",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened",
    sqlite3.SQLITE_IOERR: "the disk failed",
    sqlite3.SQLITE_PERM: "it may not be used",
    sqlite3.SQLITE_AUTH: "it may not be used",
    sqlite3.SQLITE_NOMEM: "there is no memory left",
    sqlite3.SQLITE_TOOBIG: "an entry is too big",
    sqlite3.SQLITE_INTERRUPT: "it was interrupted",
}
Row: TypeAlias = tuple[str, int, str, int]


@attrs.define(eq=False)
class _Lease:
    """That of one session, with what its row says."""

    session_id: str
    token: str
    created_at: float
    entries: int
    last: int


@attrs.frozen
class _Commit:
    lease: _Lease
    texts: Sequence[str]


class SQLiteStore(DiskStore[_Lease, _Commit]):
    """One file for all sessions: `async with SQLiteStore("sessions.db") as store: …`.

    One thread writes, and puts what many sessions commit at the same time into one transaction. A session is
    driven by one owner at a time, also across processes, all of which must be on one machine.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        durability: Durability = "process",
        lease: float = 30.0,
    ) -> None:
        """Name the file; it is made when the store is entered, in a folder that must be there.

        Args:
            path: the file. Beside it there will be those of SQLite, and a folder with a file for each open store.
            durability: what a commit survives: the end of the process, or a power cut too, at the price of waiting
                for the disk. After a power cut `"process"` may lack the last commits, and is whole up to them.
            lease: seconds without a sign of life after which another may take a session over.

        Raises:
            ValueError: there is no such durability, `lease` is not positive, or `path` is `:memory:`.
        """
        super().__init__(durability, lease)
        if str(path) in (":memory:", ""):
            raise ValueError(f"path must name a file, got {str(path)!r}; for sessions in memory there is MemoryStore")
        self._path = Path(path)
        self._database: sqlite3.Connection | None = None  # the writing thread's

    def _become_owner(self) -> Owner:
        with self._failing("open"):
            try:
                self._make_file()
                owner = Owner(self._path.with_name(f"{self._path.name}.owners"), self._lease)
            except OSError as error:
                raise StoreError(f"cannot open {str(self._path)!r}: {error}") from error
            try:
                self._database = self._connect()
                self._prepare(self._database)
            except BaseException:
                if self._database is not None:
                    self._database.close()
                owner.close()
                raise
        return owner

    def _make_file(self) -> None:
        """Make it for its user alone, if it is not there."""
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
        if 0 < self._path.stat().st_size < _SMALLEST:  # SQLite would take it for a new one
            raise CorruptStore(f"{str(self._path)!r} is cut short", place=str(self._path))

    def _connect(self) -> sqlite3.Connection:
        # Threads take turns: the one that opens it hands it to the one that writes.
        database = sqlite3.connect(self._path, timeout=_BUSY, isolation_level=None, check_same_thread=False)
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        return database

    def _prepare(self, database: sqlite3.Connection) -> None:
        """Make the tables of a new file; check that it is ours if it is not new."""
        database.execute(f"PRAGMA synchronous = {'FULL' if self._syncs else 'NORMAL'}")
        database.execute("PRAGMA journal_mode = WAL")
        with _transaction(database):
            if database.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
                for statement in _SCHEMA.split(";"):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {VERSION}")
        if database.execute("PRAGMA application_id").fetchone() != (_APPLICATION,):
            raise CorruptStore(f"{str(self._path)!r} is no store of alloy", place=str(self._path))
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            raise UnknownVersion(
                f"{str(self._path)!r} is of version {version}; this alloy reads {VERSION}", version=version
            )

    async def stop(self) -> None:
        """See `EntryStore.stop`."""
        with contextlib.suppress(StoreError), trio.CancelScope(shield=True):
            await self._writer.call(self._disconnect)
        await super().stop()

    def _disconnect(self) -> None:
        database, self._database = self._writable(), None
        with self._failing("close"):
            database.close()

    def _writable(self) -> sqlite3.Connection:
        assert self._database is not None
        return self._database

    @contextmanager
    def _failing(self, what: str) -> Iterator[None]:
        """Tell damage from what is no fault of the file's content."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter: even the error's text is damaged
            place = str(self._path)
            if not self._is_damage(code := getattr(error, "sqlite_errorcode", 0)):
                raise StoreError(f"cannot {what} {place!r}: {_NOT_DAMAGE[code & 0xFF]} ({error})") from error
            raise CorruptStore(f"cannot {what} {place!r}: it is damaged ({error})", place=place) from error

    def _is_damage(self, code: int) -> bool:
        if code == sqlite3.SQLITE_IOERR_SHORT_READ:  # the file ends too early
            return True
        if code & 0xFF == sqlite3.SQLITE_READONLY:  # a flag inside the file says so too
            return os.access(self._path, os.W_OK)
        return code & 0xFF not in _NOT_DAMAGE

    # Reading: each time over a connection of its own, so that it waits for no writer and no writer for it.

    async def names(self) -> Iterable[str]:
        """See `EntryStore.names`."""
        return await trio.to_thread.run_sync(self._names)

    def _names(self) -> list[str]:
        with self._failing("read"), closing(self._connect()) as database, _transaction(database, "DEFERRED"):
            rows = database.execute(
                "SELECT id, created_at, entries, last, checksum FROM sessions NOT INDEXED"
            ).fetchall()
            indexed = database.execute("SELECT id FROM sessions INDEXED BY sqlite_autoindex_sessions_1").fetchall()
        for row in rows:
            self._check_session(*row)
        names = [str(row[0]) for row in rows]
        if sorted(names) != sorted([str(name) for (name,) in indexed]):  # a lost one is lost to only one of the two
            raise self._corrupt("the list of sessions")
        return names

    async def read(self, session_id: str) -> Stored:
        """See `EntryStore.read`."""
        return await trio.to_thread.run_sync(self._read, session_id)

    def _read(self, session_id: str) -> Stored:
        # In one transaction, so that both selects see the same moment.
        with self._failing("read"), closing(self._connect()) as database, _transaction(database, "DEFERRED"):
            try:
                lease = self._session(database, session_id)
            except UnknownSession:
                self._check_sessions(database)
                raise
            rows = database.execute(
                "SELECT session, n, entry, checksum FROM entries WHERE session = ? ORDER BY n", (session_id,)
            ).fetchall()
        entries = list(self._checked(session_id, rows, lease))
        return Stored(created_at=lease.created_at, entries=entries)

    def _session(self, database: sqlite3.Connection, session_id: str) -> _Lease:
        """What the row of a session says."""
        row = database.execute(
            "SELECT id, created_at, entries, last, checksum, token FROM sessions WHERE id = ?", (session_id,)
        ).fetchone()
        if row is None:
            raise unknown(session_id)
        _, created_at, entries, last, _, token = row
        self._check_session(*row[:5])
        return _Lease(session_id, token, created_at, entries, last)

    def _check_sessions(self, database: sqlite3.Connection) -> None:
        """A session may be there and not be found, if the way to it is damaged."""
        (verdict,) = database.execute("PRAGMA integrity_check('sessions')").fetchone()
        if verdict != "ok":
            raise CorruptStore(f"{str(self._path)!r} is damaged: {verdict}", place=str(self._path))

    def _check_session(self, session_id: object, created_at: object, entries: object, last: object, sum_: int) -> None:
        if sum_ != _row_sum(session_id, created_at, entries, last):
            raise self._corrupt(f"session {session_id!r}")

    def _checked(self, session_id: str, rows: Sequence[Row], lease: _Lease) -> Iterator[Raw]:
        last = _first_sum(session_id)
        for number, (_, n, text, checksum) in enumerate(rows):
            last = _entry_sum(last, text)
            if n != number or checksum != last:
                raise self._corrupt(f"session {session_id!r}, entry {number}")
            yield json.loads(text)
        if (len(rows), last) != (lease.entries, lease.last):
            raise self._corrupt(f"session {session_id!r}, after entry {len(rows) - 1}")

    def _corrupt(self, what: str) -> CorruptStore:
        place = f"{self._path}: {what}"
        return CorruptStore(f"{place} is damaged: it is not what was written there", place=place)

    # Writing: in the one thread.

    async def create(self, session_id: str, stored: Stored) -> bool:
        """See `EntryStore.create`."""
        texts = [dumps(raw) for raw in stored.entries]
        return await self._writer.call(lambda: self._create(session_id, stored.created_at, texts))

    def _create(self, session_id: str, created_at: float, texts: Sequence[str]) -> bool:
        database = self._writable()
        lease = _Lease(session_id, "", float(created_at), 0, _first_sum(session_id))
        with self._failing("write"), _transaction(database):
            made = database.execute(
                "INSERT INTO sessions (id, created_at, entries, last, checksum) VALUES (?, ?, ?, ?, ?)"
                " ON CONFLICT DO NOTHING",
                (session_id, lease.created_at, 0, lease.last, _row_sum(session_id, lease.created_at, 0, lease.last)),
            )
            if made.rowcount == 0:
                return False
            self._add(database, lease, texts)
        return True

    async def acquire(self, session_id: str, *, steal: bool) -> tuple[_Lease, Stored]:
        """See `EntryStore.acquire`."""
        lease = await self._writer.call(lambda: self._acquire(session_id, steal=steal))
        try:
            return lease, await self.read(session_id)
        except BaseException:
            with trio.CancelScope(shield=True):
                await self.release(lease)
            raise

    def _acquire(self, session_id: str, *, steal: bool) -> _Lease:
        database, owner = self._writable(), self._owner
        with self._failing("write"), _transaction(database):
            lease = self._session(database, session_id)
            (holder,) = database.execute("SELECT owner FROM sessions WHERE id = ?", (session_id,)).fetchone()
            if not steal and self._is_driven(lease.token, holder):
                raise taken(session_id, holder)
            lease.token = mint("lse")
            database.execute(
                "UPDATE sessions SET token = ?, owner = ? WHERE id = ?", (lease.token, owner.id, session_id)
            )
        self._held.add(lease.token)
        return lease

    async def commit(self, lease: _Lease, entries: Sequence[Raw]) -> None:
        """See `EntryStore.commit`."""
        await self._writer.commit(_Commit(lease, [dumps(raw) for raw in entries]))

    def _commit_all(self, jobs: Sequence[Job[_Commit]]) -> None:
        """Write all in one transaction; if that fails, each in its own, so that one's fault is not the others'."""
        database = self._writable()
        try:
            with self._failing("write"):
                self._commit_together(database, jobs)
        except StoreError as error:
            if len(jobs) == 1:
                jobs[0].error = error
                return
            for job in jobs:
                self._commit_all([job])

    def _commit_together(self, database: sqlite3.Connection, jobs: Sequence[Job[_Commit]]) -> None:
        before = {id(job.item.lease): (job.item.lease, attrs.evolve(job.item.lease)) for job in jobs if job.item}
        try:
            with _transaction(database):
                for job in jobs:
                    assert job.item is not None
                    self._add(database, job.item.lease, job.item.texts)
        except BaseException:
            for lease, former in before.values():
                lease.entries, lease.last = former.entries, former.last
            raise

    def _add(self, database: sqlite3.Connection, lease: _Lease, texts: Sequence[str]) -> None:
        """Add entries, in a transaction. The update of the session's row is what checks the lease."""
        rows: list[Row] = []
        last = lease.last
        for number, text in enumerate(texts, lease.entries):
            last = _entry_sum(last, text)
            rows.append((lease.session_id, number, text, last))
        count = lease.entries + len(rows)
        sum_ = _row_sum(lease.session_id, lease.created_at, count, last)
        updated = database.execute(
            "UPDATE sessions SET entries = ?, last = ?, checksum = ? WHERE id = ? AND token = ?",
            (count, last, sum_, lease.session_id, lease.token),
        )
        if updated.rowcount != 1:
            raise lost(lease.session_id)
        database.executemany("INSERT INTO entries VALUES (?, ?, ?, ?)", rows)
        lease.entries, lease.last = count, last

    async def release(self, lease: _Lease) -> None:
        """See `EntryStore.release`."""
        await self._writer.call(lambda: self._release(lease))

    def _release(self, lease: _Lease) -> None:
        self._held.discard(lease.token)
        with contextlib.suppress(StoreError), self._failing("write"):  # its owner's death will do
            self._writable().execute(
                "UPDATE sessions SET token = '', owner = '' WHERE id = ? AND token = ?",
                (lease.session_id, lease.token),
            )


def _first_sum(session_id: str) -> int:
    return zlib.crc32(session_id.encode())


def _entry_sum(before: int, text: object) -> int:
    return zlib.crc32(text.encode() if isinstance(text, str) else b"", before)


def _row_sum(*values: object) -> int:
    return zlib.crc32(repr(values).encode("utf-8", "replace"))


@contextmanager
def _transaction(database: sqlite3.Connection, how: str = "IMMEDIATE") -> Iterator[None]:
    """Commit at the end; leave nothing if the block raises."""
    database.execute(f"BEGIN {how}")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        if database.in_transaction:
            database.execute("ROLLBACK")
        raise
