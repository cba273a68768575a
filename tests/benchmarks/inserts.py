"""The floor of a store: what one would first write, a row for each commit, inserted in a thread."""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path

import trio


class Inserts:
    """Bare inserts, one at a time, each its own transaction."""

    @asynccontextmanager
    async def commits(self, durability: str, sessions: int) -> AsyncIterator[list[Callable[[str], Awaitable[None]]]]:
        """A function for each session, which commits a text."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "inserts.db"
            with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as database:
                database.execute("PRAGMA journal_mode = WAL")
                database.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
                database.execute("CREATE TABLE entries (session INTEGER, entry TEXT)")
                one_at_a_time = trio.Lock()

                async def commit(text: str) -> None:
                    async with one_at_a_time:
                        await trio.to_thread.run_sync(database.execute, "INSERT INTO entries VALUES (?, ?)", (1, text))

                yield [commit] * sessions


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Inserts]:
    """Open the floor; it needs no server."""
    yield Inserts()
