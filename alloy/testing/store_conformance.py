"""What a store must prove: `check_store`, for ours and for yours."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from typing import TypeAlias

import attrs
import trio

from alloy.errors import AlloyError, sole_error
from alloy.llm.content import JSON
from alloy.llm.history import sendable
from alloy.llm.message import ToolMessage
from alloy.loop.errors import CorruptStore, Fenced, UnknownSession, UnknownVersion
from alloy.loop.journal import Entry, Journal, Store
from alloy.loop.records import (
    Described,
    Forked,
    ModelChanged,
    Record,
    Said,
)
from alloy.testing.cancelling import Cut
from alloy.testing.store_samples import ODD_IDS, ODD_TEXT, one_of_each, story, user

Factory: TypeAlias = Callable[[], Store]

PATIENCE = 10.0  # seconds to wait for a session that is about to be free
TOGETHER = 20  # sessions, and appends to one of them


async def check_store(factory: Factory) -> None:
    """Check a store: what is committed is there, all of it and in order, for one owner at a time.

    Args:
        factory: makes a store, not yet entered, on always the same storage: two of them are as two processes on it.
            A store that lives in memory may return itself.

    Raises:
        AssertionError: the store deviates; the message lists how.
    """
    faults: list[str] = []
    for check in CHECKS:
        what = check.__name__.strip("_").replace("_", " ")
        found = Found()
        try:
            with sole_error():
                await check(factory, found)
        except Exception as error:  # whatever a store may raise where it must not
            found.faults.append(f"{type(error).__name__}: {error}")
        faults += [f"{what}: {fault}" for fault in found.faults]
    if faults:
        raise AssertionError(f"{type(factory()).__name__} deviates {len(faults)} times:\n" + "\n".join(faults))


@attrs.define
class Found:
    """What one check has found."""

    faults: list[str] = attrs.field(factory=list)

    def expect(self, claim: bool, otherwise: str) -> None:
        """Note a fault unless the claim holds."""
        if not claim:
            self.faults.append(otherwise)

    def same(self, what: str, got: object, expected: object) -> None:
        """Note a fault unless both are equal."""
        self.expect(got == expected, f"{what} is {got!r:.300}, expected {expected!r:.300}")

    @contextmanager
    def raises(self, *kinds: type[BaseException], what: str) -> Iterator[None]:
        """Note a fault unless the block raises one of these."""
        names = " or ".join(kind.__name__ for kind in kinds)
        try:
            yield
        except kinds:
            return
        except (AlloyError, ValueError, TypeError, RuntimeError, KeyError) as error:
            self.faults.append(f"{what} raises {type(error).__name__} ({error}), expected {names}")
        else:
            self.faults.append(f"{what} raises nothing, expected {names}")


Check: TypeAlias = Callable[[Factory, Found], Awaitable[None]]


async def _fill(store: Store, session_id: str, records: Sequence[Record]) -> tuple[Entry, ...]:
    """A commit for each record."""
    async with store.open(session_id) as journal:
        for record in records:
            await journal.append(record)
        return tuple(journal.entries)


def _records(entries: Iterable[Entry]) -> list[Record]:
    return [made.record for made in entries]


# The checks. Each has sessions of its own.


async def _what_is_committed_is_there(factory: Factory, found: Found) -> None:
    records = one_of_each()
    async with factory() as store:
        written = await _fill(store, "committed", records)
        found.same("what the journal shows", _records(written), records)
        found.same("what the store shows", await store.entries("committed"), written)
    async with factory() as store:
        found.same("what is there when the store is opened again", await store.entries("committed"), written)
        async with store.open("committed", create=False) as journal:
            found.same("what is there when the session is opened again", tuple(journal.entries), written)
            more = await journal.append(ModelChanged(model="m"), ModelChanged(model="n"))
        found.same("what is there after more", await store.entries("committed"), (*written, *more))
        found.expect("committed" in await store.sessions(), "the session is not listed")


async def _entries_make_up_a_tree(factory: Factory, found: Found) -> None:
    async with factory() as store, store.open("tree") as journal:
        one, two = await journal.append(ModelChanged(model="1"), ModelChanged(model="2"))
        (three,) = await journal.append(ModelChanged(model="3"), parent=one.id)
        (four,) = await journal.append(ModelChanged(model="4"))
        (five,) = await journal.append(ModelChanged(model="5"), parent=None)
        parents = [made.parent for made in (one, two, three, four, five)]
        found.same("the parents", parents, [None, one.id, one.id, three.id, None])
        with found.raises(ValueError, what="an unknown parent"):
            await journal.append(ModelChanged(model="6"), parent="ent_nowhere")
        found.same("what append gives for nothing", await journal.append(), ())
        found.same("what is stored", [made.id for made in await store.entries("tree")], [e.id for e in journal.entries])


async def _a_commit_is_whole_or_not_at_all(factory: Factory, found: Found) -> None:
    async with factory() as store, store.open("whole") as journal:
        await journal.append(ModelChanged(model="before"))
        with found.raises(TypeError, what="what is no record"):
            await journal.append(ModelChanged(model="lost"), "no record")  # type: ignore[arg-type]  # the point of it
        await journal.append(ModelChanged(model="after"))
        models = [getattr(record, "model", None) for record in _records(await store.entries("whole"))]
        found.same("what is left of commits that failed", models, ["before", "after"])
        found.same("what the journal shows of them", len(journal.entries), 2)


async def _what_is_stored_is_nobodys_object(factory: Factory, found: Found) -> None:
    given: dict[str, JSON] = {"list": [1]}
    async with factory() as store:
        await _fill(store, "object", [Described(metadata=given)])
        given["list"].append(2)
        first = await store.load("object")
        found.same("metadata that was changed after the commit", dict(first.metadata), {"list": [1]})
        first.metadata["list"].append(3)
        found.same("metadata that a reader changed", dict((await store.load("object")).metadata), {"list": [1]})


async def _one_owner_at_a_time(factory: Factory, found: Found) -> None:
    async with _two(factory) as (store, other):
        async with store.open("owned") as journal:
            with found.raises(Fenced, what="opening a session that is driven"):
                async with other.open("owned"):
                    pass
            with found.raises(Fenced, what="the same in one store"):
                async with store.open("owned"):
                    pass
            await journal.append(ModelChanged(model="mine"))
            seen = await other.entries("owned")
            found.same("what others read meanwhile", seen, tuple(journal.entries))
        async with other.open("owned") as journal:
            await journal.append(ModelChanged(model="yours"))
        found.same("what both wrote", len(await store.entries("owned")), 2)


async def _who_waits_gets_the_session(factory: Factory, found: Found) -> None:
    async with _two(factory) as (store, other), trio.open_nursery() as nursery, store.open("waited for") as journal:
        nursery.start_soon(_wait_and_write, other, "waited for")
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        await journal.append(ModelChanged(model="first"))
    async with factory() as store:
        models = [getattr(record, "model", "") for record in _records(await store.entries("waited for"))]
        found.same("what the one, then the other wrote", models, ["first", "second"])


async def _wait_and_write(store: Store, session_id: str) -> None:
    async with store.open(session_id, wait=PATIENCE) as journal:
        await journal.append(ModelChanged(model="second"))


async def _who_was_taken_over_is_fenced_off(factory: Factory, found: Found) -> None:
    async with _two(factory) as (store, thief):
        async with store.open("stolen") as journal:
            await journal.append(ModelChanged(model="before"))
            async with thief.open("stolen", steal=True) as theirs:
                with found.raises(Fenced, what="writing after another took the session over"):
                    await journal.append(ModelChanged(model="stale"))
                await theirs.append(ModelChanged(model="theirs"))
                with found.raises(Fenced, what="writing after that, again"):
                    await journal.append(ModelChanged(model="stale"))
                found.same("what the fenced one shows", len(journal.entries), 1)
        async with store.open("stolen") as journal, thief.open("stolen", steal=True) as theirs:
            pass
        async with thief.open("stolen") as theirs:  # what the fenced one gave back was not its own any more
            await theirs.append(ModelChanged(model="last"))
        models = [getattr(record, "model", "") for record in _records(await store.entries("stolen"))]
        found.same("what was written", models, ["before", "theirs", "last"])


async def _the_thief_keeps_what_the_fenced_one_gives_back(factory: Factory, found: Found) -> None:
    async with _two(factory) as (store, thief), AsyncExitStack() as first:
        await first.enter_async_context(store.open("kept"))
        async with thief.open("kept", steal=True) as theirs:
            await first.aclose()
            await theirs.append(ModelChanged(model="theirs"))
            with found.raises(Fenced, what="opening it while the thief drives it"):
                async with store.open("kept"):
                    pass


async def _an_error_gives_the_session_back(factory: Factory, found: Found) -> None:
    async with factory() as store:
        with found.raises(KeyError, what="a block that raises"):
            async with store.open("failed"):
                raise KeyError("as if something went wrong")
        with trio.CancelScope() as scope:
            async with store.open("failed"):
                scope.cancel(reason="as if the run were cancelled")
                await trio.sleep_forever()
        async with store.open("failed", create=False) as journal:
            await journal.append(ModelChanged(model="m"))


async def _what_is_not_open_says_so(factory: Factory, found: Found) -> None:
    store = factory()
    await _expect_closed(store, "a store that was never entered", found)
    async with store:
        async with store.open("closed") as journal:
            await journal.append(ModelChanged(model="m"))
        with found.raises(RuntimeError, what="appending when the block was left"):
            await journal.append(ModelChanged(model="n"))
        with found.raises(RuntimeError, what="entering the store twice"):
            async with store:
                pass
    await _expect_closed(store, "a store that was left", found)


async def _expect_closed(store: Store, what: str, found: Found) -> None:
    async def opening() -> None:
        async with store.open("closed"):
            pass

    methods: Mapping[str, Callable[[], Awaitable[object]]] = {
        "open": opening,
        "sessions": store.sessions,
        "entries": partial(store.entries, "closed"),
        "load": partial(store.load, "closed"),
        "fork": partial(store.fork, "closed"),
        "export": partial(store.export, "closed"),
        "import_": partial(store.import_, {}),
    }
    for name, method in methods.items():
        with found.raises(RuntimeError, what=f"{name}() of {what}"):
            await method()


async def _what_is_not_there_is_unknown(factory: Factory, found: Found) -> None:
    async with factory() as store:
        for method in (store.entries, store.load, store.fork, store.export):
            with found.raises(UnknownSession, what=f"{method.__name__}() of a session that is not there"):
                await method("nowhere")
        with found.raises(UnknownSession, what="open(create=False) of a session that is not there"):
            async with store.open("nowhere", create=False):
                pass
        found.expect("nowhere" not in await store.sessions(), "asking for a session has made it")
        try:
            await store.load("nowhere")
        except UnknownSession as error:
            found.same("the error's id", error.id, "nowhere")
        with found.raises(ValueError, what="an empty id"):
            async with store.open(""):
                pass
        await _fill(store, "empty", [])
        found.same("the messages of a session without entries", (await store.load("empty")).messages, ())


async def _any_id_will_do(factory: Factory, found: Found) -> None:
    async with factory() as store:
        for session_id in ODD_IDS:
            await _fill(store, session_id, [Described(metadata={"id": session_id})])
    async with factory() as store:
        listed = await store.sessions()
        found.expect(set(ODD_IDS) <= set(listed), f"of {ODD_IDS!r} only {listed!r} are listed")
        for session_id in ODD_IDS:
            session = await store.load(session_id)
            found.same(f"the metadata of {session_id!r:.20}", dict(session.metadata), {"id": session_id})
            found.same("the id of the session", session.id, session_id)


async def _a_session_is_loaded_whole(factory: Factory, found: Found) -> None:
    async with factory() as store:
        await _fill(store, "loaded", story())
        session = await store.load("loaded")
        found.same("the history made sendable", sendable(session.messages), session.messages)
        results = session.messages[-1]
        outcomes = [str(r.outcome) for r in results.results] if isinstance(results, ToolMessage) else []
        found.same("the outcomes of a settled call and one that was only started", outcomes, ["ok", "interrupted"])
        found.same("the tokens used", session.usage.total_tokens, 15)
        found.expect(0 < session.created_at <= session.updated_at, "the session was changed before it was made")


async def _a_fork_goes_its_own_way(factory: Factory, found: Found) -> None:
    async with factory() as store:
        written = await _fill(store, "forked", story())
        for place, made in enumerate(written):
            copy = await store.fork("forked", at=made.id)
            kept = await store.entries(copy)
            found.same(f"a fork at entry {place}", kept[:-1], written[: place + 1])
            found.expect(isinstance(kept[-1].record, Forked), f"a fork at entry {place} does not say that it is one")
            async with store.open(copy) as journal:
                await journal.append(ModelChanged(model="of the copy"))
        found.same("the original after it was forked", await store.entries("forked"), written)
        whole = await store.entries(await store.fork("forked"))
        found.same("a fork at the end", whole[:-1], written)
        with found.raises(ValueError, what="a fork at an entry that is not there"):
            await store.fork("forked", at="ent_nowhere")
        async with store.open("forked") as journal:
            await journal.append(ModelChanged(model="branch"), parent=written[0].id)
        branch = await store.entries(await store.fork("forked"))
        found.same("a fork of a branch", [m.kind for m in branch], ["run_begun", "model_changed", "forked"])


async def _an_export_is_taken_up_again(factory: Factory, found: Found) -> None:
    async with factory() as store:
        written = await _fill(store, "exported", one_of_each())
        data = json.loads(json.dumps(await store.export("exported")))
        moved = await store.import_({**data, "id": "moved here"})
        found.same("the id of an import whose id is free", moved, "moved here")
        found.same("the entries of it", await store.entries(moved), written)
        copy = await store.import_(data)
        found.expect(copy not in ("exported", moved), f"an import whose id is taken is {copy!r}, not a new session")
        entries = await store.entries(copy)
        found.same("the entries of that", entries[:-1], written)
        found.expect(isinstance(entries[-1].record, Forked), "an import whose id is taken does not say it is a copy")
        found.same("the original", await store.entries("exported"), written)
        there = await store.sessions()
        for what, bad, kind in _bad_exports(data):
            with found.raises(kind, what=what):
                await store.import_(bad)
        found.same("what the bad ones have left", await store.sessions(), there)


def _bad_exports(data: JSON) -> Iterator[tuple[str, JSON, type[AlloyError]]]:
    first, *rest = data["entries"]
    yield "an export of a later version", {**data, "id": "bad 1", "v": 99}, UnknownVersion
    later = {**first, "record": {**first["record"], "v": 99}}
    yield "an entry of a later version", {**data, "id": "bad 2", "entries": [later, *rest]}, UnknownVersion
    yield "something else", {"id": "bad 3"}, CorruptStore
    yield "an entry without its parent", {**data, "id": "bad 4", "entries": rest}, CorruptStore
    yield "an entry that comes twice", {**data, "id": "bad 5", "entries": [first, *data["entries"]]}, CorruptStore
    broken = {**first, "record": {"kind": "said", "v": 1}}
    yield "a record without its fields", {**data, "id": "bad 6", "entries": [broken, *rest]}, CorruptStore


async def _many_write_at_once(factory: Factory, found: Found) -> None:
    async def write(session_id: str) -> None:
        async with store.open(session_id) as journal:
            for number in range(TOGETHER):
                await journal.append(ModelChanged(model=f"{session_id} {number}"))

    async def write_to(journal: Journal, number: int) -> None:
        await journal.append(ModelChanged(model=str(number)), ModelChanged(model=str(number)))

    async with factory() as store:
        async with trio.open_nursery() as nursery:
            for number in range(TOGETHER):
                nursery.start_soon(write, f"one of many {number}")
        for session_id in (f"one of many {number}" for number in range(TOGETHER)):
            models = [getattr(record, "model", "") for record in _records(await store.entries(session_id))]
            found.same(f"what {session_id!r} holds", models, [f"{session_id} {n}" for n in range(TOGETHER)])
        async with store.open("shared") as journal, trio.open_nursery() as nursery:
            for number in range(TOGETHER):
                nursery.start_soon(write_to, journal, number)
        entries = await store.entries("shared")
        parents = [None, *(made.id for made in entries[:-1])]
        found.same("the chain of entries that tasks wrote at once", [made.parent for made in entries], parents)
        models = [getattr(made.record, "model", "") for made in entries]
        found.same("whether each commit stayed in one piece", models[::2], models[1::2])
        found.same("how many there are", len(set(models)), TOGETHER)


async def _a_cancelled_commit_is_whole_or_not_at_all(factory: Factory, found: Found) -> None:
    async with factory() as store, store.open("cancelled") as journal:
        written = 0
        cut = Cut()
        while cut := await cut.next(partial(journal.append, ModelChanged(model="m"), ModelChanged(model="n"))):
            written += 2 * cut.returned
            there = len(await store.entries("cancelled"))
            found.same(f"what is stored, cancelled at wait {cut.wait}", there, written)
            found.same(f"what is shown, cancelled at wait {cut.wait}", len(journal.entries), written)


async def _a_cancelled_fork_is_whole_or_not_at_all(factory: Factory, found: Found) -> None:
    async with factory() as store:
        entries = await _fill(store, "to fork", story())
        before = set(await store.sessions())
        cut = Cut()
        while cut := await cut.next(partial(store.fork, "to fork")):
            new = set(await store.sessions()) - before
            before |= new
            found.expect(len(new) >= cut.returned, f"a fork that returned, cancelled at wait {cut.wait}, is not there")
            for session_id in new:
                found.same("the entries of a cancelled fork", (await store.entries(session_id))[:-1], entries)


async def _who_is_cancelled_holds_nothing(factory: Factory, found: Found) -> None:
    async with factory() as store:
        for _ in ("while it is made", "while it is there"):
            cut = Cut()
            while cut := await cut.next(partial(_fill, store, "held", [])):
                if "held" in await store.sessions():
                    async with store.open("held"):
                        pass


async def _long_texts_are_kept(factory: Factory, found: Found) -> None:
    text = (ODD_TEXT + "x" * 1000) * 500
    async with factory() as store:
        await _fill(store, "long", [Said(run_id="run_1", message=user(text))])
    async with factory() as store:
        (made,) = await store.entries("long")
        found.expect(getattr(made.record, "message", None) == user(text), "a long text is not what it was")


@asynccontextmanager
async def _two(factory: Factory) -> AsyncIterator[tuple[Store, Store]]:
    """Two handles on one storage; the same twice if it cannot have two."""
    first, second = factory(), factory()
    async with AsyncExitStack() as stack:
        for store in {id(store): store for store in (first, second)}.values():
            await stack.enter_async_context(store)
        yield first, second


CHECKS: Sequence[Check] = (
    _what_is_committed_is_there,
    _entries_make_up_a_tree,
    _a_commit_is_whole_or_not_at_all,
    _what_is_stored_is_nobodys_object,
    _one_owner_at_a_time,
    _who_waits_gets_the_session,
    _who_was_taken_over_is_fenced_off,
    _the_thief_keeps_what_the_fenced_one_gives_back,
    _an_error_gives_the_session_back,
    _what_is_not_open_says_so,
    _what_is_not_there_is_unknown,
    _any_id_will_do,
    _a_session_is_loaded_whole,
    _a_fork_goes_its_own_way,
    _an_export_is_taken_up_again,
    _many_write_at_once,
    _a_cancelled_commit_is_whole_or_not_at_all,
    _a_cancelled_fork_is_whole_or_not_at_all,
    _who_is_cancelled_holds_nothing,
    _long_texts_are_kept,
)
