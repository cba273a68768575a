"""Sessions as files of lines, one file each: to be read with any tool, and copied as they are."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import attrs
import trio

from alloy.llm.message import mint
from alloy.loop.errors import StoreError
from alloy.stores import lines
from alloy.stores.disk import DiskStore, Durability
from alloy.stores.entries import Raw, Stored, lost, taken, unknown
from alloy.stores.owner import Owner
from alloy.stores.writer import Job

_SAFE = re.compile(r"[a-z0-9_-]{1,80}")  # no upper case: some file systems do not tell it apart
_LOCK_WAIT = 5.0  # seconds; who writes a file holds it for milliseconds, unless stopped just then


@attrs.define(eq=False)
class _Lease:
    """That of one session. `lines` and `end` are those of the file as we left it: another who writes moves them."""

    session_id: str
    path: Path
    token: str
    lines: int
    end: int


@attrs.frozen
class _Commit:
    lease: _Lease
    entries: Sequence[Raw]


class JSONLStore(DiskStore[_Lease, _Commit]):
    """A folder with a file for each session: `async with JSONLStore("sessions") as store: …`.

    A session is driven by one owner at a time, also across processes. The folder must be on a file
    system with locks (`flock`), as all local ones are.
    """

    def __init__(
        self,
        directory: str | PathLike[str],
        *,
        durability: Durability = "process",
        lease: float = 30.0,
    ) -> None:
        """Name the folder; it is made when the store is entered, for its user alone.

        Args:
            directory: the folder.
            durability: what a commit survives: the end of the process, or a power cut too, at the price of waiting
                for the disk.
            lease: seconds without a sign of life after which another may take a session over.

        Raises:
            ValueError: there is no such durability, or `lease` is not positive.
        """
        super().__init__(durability, lease)
        self._folder = Path(directory)

    def _become_owner(self) -> Owner:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return Owner(self._folder / ".owners", self._lease)
        except OSError as error:
            raise StoreError(f"cannot use {str(self._folder)!r} for sessions: {error}") from error

    async def names(self) -> Iterable[str]:
        """See `EntryStore.names`."""
        return await trio.to_thread.run_sync(self._names)

    def _names(self) -> list[str]:
        names: list[str] = []
        for path in self._folder.glob("*.jsonl"):
            with _failing(f"read {path.name}"), contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                first = file.readline()
                if path.stem == file_name(path.stem):  # the name says it, even if the file is damaged
                    names += [path.stem] if first.endswith(b"\n") else []
                elif (found := lines.parse(first, path.name)) is not None:
                    names.append(found.id)
        return names

    async def read(self, session_id: str) -> Stored:
        """See `EntryStore.read`."""
        return (await trio.to_thread.run_sync(self._read, session_id)).stored

    def _read(self, session_id: str) -> lines.File:
        path = self._path(session_id)
        with _failing(f"read session {session_id!r}"):
            try:
                with open(path, "rb") as file, _locked(file.fileno(), path, fcntl.LOCK_SH):
                    found = lines.parse(file.read(), path.name)
            except FileNotFoundError:
                raise unknown(session_id) from None
        if found is None:
            raise unknown(session_id)
        lines.check_id(found, session_id, path.name)
        return found

    async def create(self, session_id: str, stored: Stored) -> bool:
        """See `EntryStore.create`."""
        return await self._writer.call(lambda: self._create(session_id, stored))

    def _create(self, session_id: str, stored: Stored) -> bool:
        text = lines.header(session_id, stored)
        path = self._path(session_id)
        with _failing(f"make session {session_id!r}"), _opened(path, os.O_CREAT) as file:
            if lines.parse(_content(file), path.name) is not None:
                return False
            os.ftruncate(file, 0)  # of a first line that was torn off
            self._write(file, 0, text)
            if self._syncs:
                _sync_folder(self._folder)
        return True

    async def acquire(self, session_id: str, *, steal: bool) -> tuple[_Lease, Stored]:
        """See `EntryStore.acquire`."""
        return await self._writer.call(lambda: self._acquire(session_id, steal=steal))

    def _acquire(self, session_id: str, *, steal: bool) -> tuple[_Lease, Stored]:
        path, owner = self._path(session_id), self._owner
        with _failing(f"open session {session_id!r}"):
            try:
                with _opened(path) as file:
                    found = lines.parse(_content(file), path.name)
                    if found is None:
                        raise unknown(session_id)
                    lines.check_id(found, session_id, path.name)
                    if not steal and self._is_driven(found.token, found.owner):
                        raise taken(session_id, found.owner)
                    os.ftruncate(file, found.end)  # of a commit that was torn off
                    token = mint("lse")
                    line = lines.lease(found.lines, token, owner.id)
                    self._write(file, found.end, line)
            except FileNotFoundError:
                raise unknown(session_id) from None
        self._held.add(token)
        return _Lease(session_id, path, token, found.lines + 1, found.end + len(line)), found.stored

    async def commit(self, lease: _Lease, entries: Sequence[Raw]) -> None:
        """See `EntryStore.commit`."""
        await self._writer.commit(_Commit(lease, entries))

    def _commit_all(self, jobs: Sequence[Job[_Commit]]) -> None:
        for job in jobs:
            assert job.item is not None
            lease, entries = job.item.lease, job.item.entries
            try:
                self._add(lease, lines.commit(lease.lines, entries))
            except (StoreError, TypeError, ValueError) as error:  # the last two: JSON cannot hold it
                job.error = error

    def _add(self, lease: _Lease, line: bytes) -> None:
        with _failing(f"write session {lease.session_id!r}"), _opened(lease.path) as file:
            # The file only grows, and whoever takes it over adds a line first: so its size is the token.
            if os.fstat(file).st_size != lease.end:
                raise lost(lease.session_id)
            self._write(file, lease.end, line)
        lease.lines += 1
        lease.end += len(line)

    def _write(self, file: int, end: int, text: bytes) -> None:
        """Write at the end, or leave the file as it was."""
        try:
            written = 0
            while written < len(text):
                written += os.pwrite(file, text[written:], end + written)
            if self._syncs:
                os.fdatasync(file)
        except OSError:
            os.ftruncate(file, end)
            raise

    async def release(self, lease: _Lease) -> None:
        """See `EntryStore.release`."""
        await self._writer.call(lambda: self._release(lease))

    def _release(self, lease: _Lease) -> None:
        self._held.discard(lease.token)
        with contextlib.suppress(StoreError):  # it was taken over, or its owner's death will do
            self._add(lease, lines.lease(lease.lines, "", ""))

    def _path(self, session_id: str) -> Path:
        return self._folder / f"{file_name(session_id)}.jsonl"


def file_name(session_id: str) -> str:
    """A name that no other id has, on any file system: the id itself where that is one, else what it begins with."""
    if _SAFE.fullmatch(session_id):
        return session_id
    start = re.sub(r"[^a-z0-9_-]+", "-", session_id.lower())[:40].strip("-")
    return f"{start}~{hashlib.sha256(session_id.encode()).hexdigest()[:32]}"


@contextmanager
def _opened(path: Path, flags: int = 0) -> Iterator[int]:
    """A file to read and write, with its lock, as a descriptor."""
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
    try:
        with _locked(file, path, fcntl.LOCK_EX):
            yield file
    finally:
        os.close(file)


@contextmanager
def _locked(file: int, path: Path, how: int) -> Iterator[None]:
    until = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise StoreError(f"{path.name} stays locked: its owner was stopped while it wrote") from None
            time.sleep(0.001)
        else:
            break
    yield  # closing the file unlocks it


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _failing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"cannot {what}: {error}") from error
