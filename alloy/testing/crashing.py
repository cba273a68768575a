"""Crashes, at every place where one can hurt: a store that dies as its process would, and what comes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from types import TracebackType
from typing import Generic, NoReturn, Self, TypeVar

import attrs
import trio

from alloy.errors import AlloyError
from alloy.llm.content import JSON
from alloy.loop.errors import StoreError
from alloy.loop.journal import HEAD, Entry, Journal, Store
from alloy.loop.records import Record
from alloy.loop.session import Session
from alloy.stores.memory import MemoryStore

T = TypeVar("T")


@attrs.frozen
class CrashPoint:
    """Where a program dies: at one of its commits.

    Attributes:
        commit: which one, from 1.
        written: it is in the store, though the program never learns of it; else what it was to tell of has happened,
            and is not in the store.
    """

    commit: int
    written: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.written else 'before'} commit {self.commit}"

    def next(self) -> CrashPoint:
        """The one that comes after it."""
        return CrashPoint(self.commit + self.written, not self.written)


@attrs.define(eq=False)
class CrashingStore:
    """A store that dies at a commit, and from then on neither writes nor reads.

    Whoever uses it then gets a `StoreError`. The store that it stands for can be entered again, as by the next process.

    Args:
        store: what keeps the sessions.
        at: where to die; None for never.
        on_crash: called at that moment, and need not return: `lambda: os.kill(os.getpid(), signal.SIGKILL)`.

    Attributes:
        commits: how many there were, the one that it dies at included.
        is_dead: it has died.
    """

    store: Store
    at: CrashPoint | None = None
    on_crash: Callable[[], object] = lambda: None
    commits: int = attrs.field(default=0, init=False)
    is_dead: bool = attrs.field(default=False, init=False)

    async def __aenter__(self) -> Self:
        await self.store.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.store.__aexit__(kind, error, trace)

    def open(
        self, session_id: str, *, create: bool = True, wait: float | None = 0.0, steal: bool = False
    ) -> AbstractAsyncContextManager[Journal]:
        """See `Store.open`."""
        return self._opened(self._alive().open(session_id, create=create, wait=wait, steal=steal))

    @asynccontextmanager
    async def _opened(self, opened: AbstractAsyncContextManager[Journal]) -> AsyncIterator[Journal]:
        async with opened as journal:
            yield _Journal(self, journal)

    async def sessions(self) -> tuple[str, ...]:
        """See `Store.sessions`."""
        return await self._alive().sessions()

    async def entries(self, session_id: str) -> tuple[Entry, ...]:
        """See `Store.entries`."""
        return await self._alive().entries(session_id)

    async def load(self, session_id: str) -> Session:
        """See `Store.load`."""
        return await self._alive().load(session_id)

    async def fork(self, session_id: str, *, at: str | None = None) -> str:
        """See `Store.fork`."""
        return await self._alive().fork(session_id, at=at)

    async def export(self, session_id: str) -> JSON:
        """See `Store.export`."""
        return await self._alive().export(session_id)

    async def import_(self, data: JSON) -> str:
        """See `Store.import_`."""
        return await self._alive().import_(data)

    async def commit(self, write: Callable[[], Awaitable[tuple[Entry, ...]]]) -> tuple[Entry, ...]:
        """Have a commit written, or die at it."""
        self._alive()
        self.commits += 1
        point = CrashPoint(self.commits)
        if point == self.at:
            self._crash()
        made = await write()
        if attrs.evolve(point, written=True) == self.at:
            self._crash()
        return made

    def _crash(self) -> NoReturn:
        self.is_dead = True
        self.on_crash()
        raise StoreError(f"the store died {self.at}, as it was told to")

    def _alive(self) -> Store:
        if self.is_dead:
            raise StoreError(f"the store is dead: it died {self.at}, as it was told to")
        return self.store


@attrs.frozen(eq=False)
class _Journal:
    """A session of a store that dies."""

    store: CrashingStore
    journal: Journal

    @property
    def session_id(self) -> str:
        return self.journal.session_id

    @property
    def created_at(self) -> float:
        return self.journal.created_at

    @property
    def entries(self) -> Sequence[Entry]:
        return self.journal.entries

    async def append(self, *records: Record, parent: str | None = HEAD) -> tuple[Entry, ...]:
        return await self.store.commit(lambda: self.journal.append(*records, parent=parent))


@attrs.frozen(kw_only=True)
class Survivor(Generic[T]):
    """What came of a program that crashed and was started again until it was done.

    Attributes:
        points: where it crashed, once for each time; empty for never.
        result: what `begin` or `go_on` returned in the end.
        store: where its sessions are; not open, so that it can be opened.
    """

    points: tuple[CrashPoint, ...]
    result: T
    store: Store


def crash_points(
    begin: Callable[[Store], Awaitable[T]],
    go_on: Callable[[Store], Awaitable[T]],
    *,
    store: Callable[[], Store] = MemoryStore,
    crashes: int = 1,
) -> CrashPoints[T]:
    """Let a program crash at every point where it can, each time in a new store, and go on until it is done.

    `async for survivor in crash_points(begin, go_on): …` gives what came of it: first undisturbed, then for each point.
    A crash is that of the store: what would be written afterwards is not, and the program is cancelled.

    Args:
        begin: the program, with an open store; such as `alloy.run`. It is called anew if nothing was written.
        go_on: what is done after a crash, as often as there is one; such as `alloy.resume`.
        store: makes an empty store.
        crashes: how often it crashes at most. With 2, it crashes a second time, at every point of what goes on.

    Raises:
        AssertionError: while iterating: the program writes nothing, so that it cannot go on.
        Exception: what `begin` or `go_on` raises that is no consequence of a crash; a note says where they crashed.
    """
    if crashes < 1:
        raise ValueError(f"crashes must be 1 or more, got {crashes}")
    return CrashPoints(begin, go_on, store, crashes)


@attrs.define(eq=False)
class CrashPoints(Generic[T]):
    """See `crash_points`."""

    _begin: Callable[[Store], Awaitable[T]]
    _go_on: Callable[[Store], Awaitable[T]]
    _make: Callable[[], Store]
    _crashes: int
    _next: list[CrashPoint] | None = attrs.field(factory=list, init=False)  # where to crash; None when it is over

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Survivor[T]:
        """Try the points depth first: at the last crash of a way, one point after the other."""
        while (points := self._next) is not None:
            survivor = await self._survive(points)
            way = points[: len(survivor.points)]
            if len(way) == len(points) < self._crashes:
                self._next = [*points, CrashPoint(1)]
            else:
                self._next = [*way[:-1], way[-1].next()] if way else None
            if len(way) == len(points):  # else a point was not reached: there are no more of them on this way
                return survivor
        raise StopAsyncIteration

    async def _survive(self, points: Sequence[CrashPoint]) -> Survivor[T]:
        """Live, and die at each of these points in turn, as far as they are reached."""
        store = self._make()
        crashed: tuple[CrashPoint, ...] = ()
        program = self._begin
        while True:
            at = points[len(crashed)] if len(crashed) < len(points) else None
            try:
                lived = await _live(program, store, at)
            except Exception as error:
                error.add_note(f"crashed {', then '.join(map(str, crashed)) or 'nowhere'}")
                raise
            if not crashed and not lived.commits:
                raise AssertionError("the program has written nothing to the store that it was given")
            if not lived.has_crashed:
                (result,) = lived.results
                return Survivor(points=crashed, result=result, store=store)
            assert at is not None
            crashed = (*crashed, at)
            program = self._go_on if await _has_entries(store) else self._begin


@attrs.frozen(kw_only=True)
class _Lived(Generic[T]):
    commits: int
    has_crashed: bool
    results: tuple[T, ...]


async def _live(program: Callable[[Store], Awaitable[T]], store: Store, at: CrashPoint | None) -> _Lived[T]:
    results: list[T] = []
    life = trio.CancelScope()
    mortal = CrashingStore(store, at, lambda: life.cancel(reason="the store died, and its program with it"))
    try:
        with life:
            async with mortal:
                results.append(await program(mortal))
    except Exception as error:
        if not (mortal.is_dead and _is_of_a_crash(error)):
            raise
    return _Lived(commits=mortal.commits, has_crashed=mortal.is_dead, results=tuple(results))


def _is_of_a_crash(error: BaseException) -> bool:
    """Whether it may come of a store that died: it, or all of a group of a user's nursery, is of ours."""
    if isinstance(error, BaseExceptionGroup):
        return all(map(_is_of_a_crash, error.exceptions))
    return isinstance(error, AlloyError)


async def _has_entries(store: Store) -> bool:
    async with store:
        for session_id in await store.sessions():
            if await store.entries(session_id):
                return True
    return False
