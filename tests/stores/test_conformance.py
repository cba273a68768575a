"""Our stores pass the conformance suite; and it must find faults: each mutant here has one, and is caught."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from alloy.llm.message import mint
from alloy.loop.records import ModelChanged
from alloy.stores import JSONLStore, MemoryStore, Raw, SQLiteStore, Store, Stored
from alloy.stores.entries import dumps
from alloy.testing import check_store
from alloy.testing.cancelling import Cut
from leaks import Holdings

STORES: dict[str, Callable[[Path], Store]] = {
    "jsonl": lambda folder: JSONLStore(folder / "sessions"),
    "jsonl, power": lambda folder: JSONLStore(folder / "sessions", durability="power"),
    "sqlite": lambda folder: SQLiteStore(folder / "sessions.db"),
    "sqlite, power": lambda folder: SQLiteStore(folder / "sessions.db", durability="power"),
}


@pytest.mark.works("Sessions in memory, in files of lines and in SQLite, proven by `check_store`")
@pytest.mark.parametrize("make", STORES.values(), ids=STORES)
async def test_a_store_on_disk_conforms_and_leaves_nothing(make: Callable[[Path], Store], tmp_path: Path) -> None:
    before = Holdings.now()

    await check_store(lambda: make(tmp_path))

    assert Holdings.now() == before


@pytest.mark.parametrize("make", [STORES["jsonl"], STORES["sqlite"]], ids=["jsonl", "sqlite"])
async def test_a_store_that_is_cancelled_anywhere_leaves_nothing(make: Callable[[Path], Store], tmp_path: Path) -> None:
    async def life() -> None:
        async with make(tmp_path) as store, store.open("s") as journal:
            await journal.append(ModelChanged(model="m"))
            await store.load("s")

    before = Holdings.now()
    cut = Cut()
    while cut := await cut.next(life):
        assert Holdings.now() == before
        async with make(tmp_path) as store, store.open("s"):  # nobody holds it
            pass
    assert cut.wait > 8
    assert [path.name for path in await trio.Path(tmp_path).rglob("*.owner")] == []


async def test_the_store_in_memory_conforms() -> None:
    store = MemoryStore()

    await check_store(lambda: store)


async def test_the_store_in_memory_conforms_on_a_clock_that_jumps(autojump_clock: trio.testing.MockClock) -> None:
    store = MemoryStore()

    await check_store(lambda: store)


# The faults.


class LosesTheLast(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        await super().commit(lease, entries[:-1] or entries)


class TurnsRound(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        await super().commit(lease, entries[::-1])


class RoundsNumbers(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        rounded = json.loads(dumps(list(entries)), parse_float=lambda text: float(int(float(text))))
        await super().commit(lease, rounded)


class ReplacesOddCharacters(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        plain = json.dumps(list(entries), ensure_ascii=False).encode("utf-8", "replace").decode()
        await super().commit(lease, json.loads(plain))


class CutsLongTexts(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        def cut(value: Any) -> Any:
            match value:
                case str():
                    return value[:65536]
                case list():
                    return [cut(inner) for inner in value]
                case dict():
                    return {key: cut(inner) for key, inner in value.items()}
                case _:
                    return value

        await super().commit(lease, cut(json.loads(dumps(list(entries)))))


class ForgetsWhenClosed(MemoryStore):
    async def stop(self) -> None:
        self._kept.clear()


class HandsOutItsOwn(MemoryStore):
    read_once: dict[str, Stored]

    async def read(self, session_id: str) -> Stored:
        self.read_once = getattr(self, "read_once", {})
        stored = await super().read(session_id)
        return self.read_once.setdefault(f"{session_id} {len(stored.entries)}", stored)


class LetsAnybodyIn(MemoryStore):
    async def acquire(self, session_id: str, *, steal: bool) -> Any:
        return await super().acquire(session_id, steal=True)


class NeverLetsGo(MemoryStore):
    async def release(self, lease: Any) -> None:
        await trio.lowlevel.checkpoint()


class CannotBeStolenFrom(MemoryStore):
    async def acquire(self, session_id: str, *, steal: bool) -> Any:
        return await super().acquire(session_id, steal=False)


class LetsTheStaleWrite(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        await super().commit(attrs.evolve(lease, token=self._kept[lease.session_id].token), entries)


class LetsTheStaleGiveBack(MemoryStore):
    async def release(self, lease: Any) -> None:
        await super().release(attrs.evolve(lease, token=self._kept[lease.session_id].token))


class WaitsForNobody(MemoryStore):
    def open(self, session_id: str, *, create: bool = True, wait: float | None = 0.0, steal: bool = False) -> Any:
        return super().open(session_id, create=create, wait=0.0, steal=steal)


class WritesInHalves(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        half = len(entries) // 2
        await super().commit(lease, entries[:half])
        await super().commit(lease, entries[half:])


class IsCancelledAfterWriting(MemoryStore):
    async def commit(self, lease: Any, entries: Sequence[Raw]) -> None:
        await super().commit(lease, entries)
        await trio.lowlevel.checkpoint()


class MakesAndThenFills(MemoryStore):
    async def create(self, session_id: str, stored: Stored) -> bool:
        made = await super().create(session_id, attrs.evolve(stored, entries=()))
        await trio.lowlevel.checkpoint()
        self._kept[session_id].texts += map(dumps, stored.entries)
        return made


class KeepsTheLeaseWhenCancelled(MemoryStore):
    async def acquire(self, session_id: str, *, steal: bool) -> Any:
        acquired = await super().acquire(session_id, steal=steal)
        await trio.lowlevel.checkpoint()
        return acquired


class FoldsCase(MemoryStore):
    def open(self, session_id: str, **how: Any) -> Any:
        return super().open(session_id.lower(), **how)

    async def read(self, session_id: str) -> Stored:
        return await super().read(session_id.lower())


class MakesWhatIsAskedFor(MemoryStore):
    async def read(self, session_id: str) -> Stored:
        await self.create(session_id, Stored(created_at=0.0))
        return await super().read(session_id)


class AppendsWhenClosed(MemoryStore):
    def check_entered(self) -> None:
        pass


class ForksAll(MemoryStore):
    async def fork(self, session_id: str, *, at: str | None = None) -> str:
        stored = await self._stored(session_id)
        return await self._copy(session_id, stored.entries)


class ForksUnmarked(MemoryStore):
    async def _copy(self, session_id: str, way: Sequence[Raw]) -> str:
        await self.create(new_id := mint("ses"), Stored(created_at=0.0, entries=way))
        return new_id


class ImportsOverWhatIsThere(MemoryStore):
    async def create(self, session_id: str, stored: Stored) -> bool:
        if stored.entries:
            self._kept.pop(session_id, None)
        return await super().create(session_id, stored)


class ExportsWhatItKnows(MemoryStore):
    async def export(self, session_id: str) -> Any:
        data = await super().export(session_id)
        known = [raw for raw in data["entries"] if raw["record"]["kind"] != "of_another_day"]
        return {**data, "entries": known}


class ListsNothing(MemoryStore):
    async def names(self) -> Sequence[str]:
        await trio.lowlevel.checkpoint()
        return ()


MUTANTS: Sequence[type[MemoryStore]] = (
    LosesTheLast,
    TurnsRound,
    RoundsNumbers,
    ReplacesOddCharacters,
    CutsLongTexts,
    ForgetsWhenClosed,
    HandsOutItsOwn,
    LetsAnybodyIn,
    NeverLetsGo,
    CannotBeStolenFrom,
    LetsTheStaleWrite,
    LetsTheStaleGiveBack,
    WaitsForNobody,
    WritesInHalves,
    IsCancelledAfterWriting,
    MakesAndThenFills,
    KeepsTheLeaseWhenCancelled,
    FoldsCase,
    MakesWhatIsAskedFor,
    AppendsWhenClosed,
    ForksAll,
    ForksUnmarked,
    ImportsOverWhatIsThere,
    ExportsWhatItKnows,
    ListsNothing,
)


@pytest.mark.parametrize("mutant", MUTANTS)
async def test_a_store_with_a_fault_is_caught(
    mutant: type[MemoryStore], autojump_clock: trio.testing.MockClock
) -> None:
    store = mutant()

    with pytest.raises(AssertionError, match=f"{mutant.__name__} deviates"):
        await check_store(lambda: store)
