"""One SQLite file: what a cut and a changed byte leave of it."""

from __future__ import annotations

import contextlib
import random
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
import trio

from alloy import CorruptStore, StoreError, UnknownSession, UnknownVersion
from alloy.loop.records import ModelChanged
from alloy.stores import SQLiteStore
from stores.damage import SESSIONS, records_of, whole, write


async def written(folder: Path) -> bytes:
    """The bytes of a store with the sessions in it."""
    async with SQLiteStore(folder / "whole.db") as store:
        await write(store)
    return (folder / "whole.db").read_bytes()


async def check_damaged(path: Path, data: bytes) -> int:
    """A damaged file gives whole sessions or errors, and never a changed text; how many errors."""
    await trio.Path(path).write_bytes(data)
    places: list[str] = []
    try:
        async with SQLiteStore(path) as store:
            for session_id in SESSIONS:
                try:
                    assert await records_of(store, session_id) == whole(session_id)
                except CorruptStore as error:
                    places.append(error.place)
            with contextlib.suppress(CorruptStore):
                assert set(await store.sessions()) == set(SESSIONS)
    except (CorruptStore, UnknownVersion):
        return len(SESSIONS)
    finally:
        for left in ("-wal", "-shm"):
            await trio.Path(f"{path}{left}").unlink(missing_ok=True)
    assert all(str(path) in place for place in places)
    return len(places)


async def test_a_changed_byte_gives_an_error_or_whole_sessions(tmp_path: Path) -> None:
    data = await written(tmp_path)
    chance = random.Random(0)
    texts = [place for place in range(len(data)) if data[place : place + 6] in (b"A talk", b"And th", b"script")]
    places = [*texts, *range(0, 110, 3), *chance.sample(range(len(data)), 60)]

    errors = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << chance.randrange(8)
        errors += await check_damaged(tmp_path / "damaged.db", bytes(damaged)) > 0
    assert errors >= len(texts)


@pytest.mark.slow
async def test_any_changed_byte_gives_an_error_or_whole_sessions(tmp_path: Path) -> None:
    data = await written(tmp_path)
    chance = random.Random(1)

    for place in range(len(data)):
        if data[place] or place % 16 == 0:  # of the long empty stretches, some
            for bit in chance.sample(range(8), 2):
                damaged = bytearray(data)
                damaged[place] ^= 1 << bit
                await check_damaged(tmp_path / "damaged.db", bytes(damaged))


async def test_a_cut_file_gives_an_error(tmp_path: Path) -> None:
    data = await written(tmp_path)

    for cut in (1, 50, 99, 100, 1000, 4096, 5000, 8192, len(data) - 4096, len(data) - 1):
        assert await check_damaged(tmp_path / "cut.db", data[:cut]) > 0


async def test_a_lost_entry_is_noticed_wherever_it_was(tmp_path: Path) -> None:
    data = await written(tmp_path)
    path = tmp_path / "lost.db"

    for number in range(4):
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("DELETE FROM entries WHERE session = 'first' AND n = ?", (number,))
        async with SQLiteStore(path) as store:
            with pytest.raises(CorruptStore, match="session 'first'"):
                await store.load("first")
            assert await records_of(store, "the/second") == whole("the/second")


async def test_a_later_version_is_refused(tmp_path: Path) -> None:
    await written(tmp_path)
    with closing(sqlite3.connect(tmp_path / "whole.db")) as database:
        database.execute("PRAGMA user_version = 7")

    with pytest.raises(UnknownVersion) as caught:
        async with SQLiteStore(tmp_path / "whole.db"):
            pass

    assert caught.value.version == 7


async def test_a_file_of_somebody_else_is_refused_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE theirs (x)")

    with pytest.raises(CorruptStore, match="is no store of alloy"):
        async with SQLiteStore(path):
            pass

    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("theirs",)]


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("Dear diary, " * 100)

    with pytest.raises(CorruptStore, match="it is damaged"):
        async with SQLiteStore(tmp_path / "text.db"):
            pass


async def test_a_file_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot open"):
        async with SQLiteStore(tmp_path / "nowhere" / "x.db"):
            pass


@pytest.mark.parametrize("path", [":memory:", ""])
def test_a_path_that_names_no_file_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="MemoryStore"):
        SQLiteStore(path)


async def test_a_session_that_is_fenced_fails_alone_of_those_that_are_committed_together(tmp_path: Path) -> None:
    failed: list[BaseException] = []

    async def append(journal: object) -> None:
        try:
            await journal.append(ModelChanged(model="m"))  # type: ignore[attr-defined]  # a Journal
        except StoreError as error:
            failed.append(error)

    path = tmp_path / "x.db"
    async with SQLiteStore(path) as store, SQLiteStore(path) as other, contextlib.AsyncExitStack() as stack:
        journals = [await stack.enter_async_context(store.open(f"s{number}")) for number in range(10)]
        async with other.open("s3", steal=True), trio.open_nursery() as nursery:
            for journal in journals:
                nursery.start_soon(append, journal)
        lengths = {name: len(await store.entries(name)) for name in await store.sessions()}

    assert [type(error).__name__ for error in failed] == ["Fenced"]
    assert lengths == {f"s{number}": int(number != 3) for number in range(10)}


async def test_a_file_locked_by_another_is_a_store_error_and_the_session_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alloy.stores.sqlite._BUSY", 0.05)
    async with SQLiteStore(tmp_path / "x.db") as store, store.open("s") as journal:
        await journal.append(ModelChanged(model="before"))
        with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as database:
            database.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="locked by another process"):
                await journal.append(ModelChanged(model="lost"))
            database.execute("ROLLBACK")
        await journal.append(ModelChanged(model="after"))

        assert await records_of(store, "s") == [ModelChanged(model="before"), ModelChanged(model="after")]


async def test_an_unknown_session_of_a_sound_file_is_just_unknown(tmp_path: Path) -> None:
    async with SQLiteStore(tmp_path / "x.db") as store:
        with pytest.raises(UnknownSession):
            await store.load("nobody")


async def test_nothing_but_the_file_is_left(tmp_path: Path) -> None:
    await written(tmp_path)

    assert [path.name for path in await trio.Path(tmp_path).rglob("*") if await path.is_file()] == ["whole.db"]


def test_sqlite_is_loaded_when_it_is_wanted_and_not_before() -> None:
    code = (
        "import sys, alloy, alloy.stores; assert 'sqlite3' not in sys.modules; "
        "alloy.stores.SQLiteStore; assert 'sqlite3' in sys.modules"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
