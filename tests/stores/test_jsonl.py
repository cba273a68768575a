"""Files of lines: what a cut, a changed byte and a full disk leave of them."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from alloy import CorruptStore, StoreError, UnknownSession, UnknownVersion
from alloy.loop.records import ModelChanged
from alloy.stores import JSONLStore, Stored, lines
from alloy.stores.jsonl import file_name
from stores.damage import SESSIONS, records_of, whole, write

A, B = ({"id": "a", "parent": None, "at": 1.0, "record": {"kind": "x"}}, {"id": "b", "text": "\u2028"})


def file_of_two_commits() -> bytes:
    return b"".join(
        [
            lines.header("ses", Stored(created_at=1.5)),
            lines.lease(1, "lse", "own"),
            lines.commit(2, [A]),
            lines.commit(3, [B, A]),
        ]
    )


def test_a_file_cut_at_any_byte_has_all_whole_commits() -> None:
    data = file_of_two_commits()
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]

    for cut in range(len(data) + 1):
        file = lines.parse(data[:cut], "x")
        count = sum(end <= cut for end in ends)
        assert (file.lines if file else 0) == count
        assert (file.end if file else 0) == (ends[count - 1] if count else 0)
        assert (file.entries if file else []) == [[], [], [], [A], [A, B, A]][count]


def test_a_changed_byte_is_never_taken_for_what_was_written() -> None:
    data = file_of_two_commits()

    for place in range(len(data)):
        for change in (1, 32, 128, data[place] ^ 10):
            damaged = bytes([*data[:place], data[place] ^ change, *data[place + 1 :]])
            if damaged != data:
                with pytest.raises(CorruptStore) as caught:
                    lines.parse(damaged, "x")
                assert caught.value.place.startswith("x:")


def test_a_session_that_is_made_with_entries_has_all_of_them_or_is_not_there() -> None:
    data = lines.header("ses", Stored(created_at=1.5, entries=[A, B]))

    assert [lines.parse(data[:cut], "x") for cut in range(len(data))] == [None] * len(data)
    file = lines.parse(data, "x")
    assert file is not None
    assert file.entries == [A, B]


@pytest.mark.parametrize("order", [(0, 1, 3), (0, 2, 1, 3), (0, 1, 2, 2, 3), (1, 2, 3)])
def test_a_lost_repeated_or_misplaced_line_is_noticed(order: tuple[int, ...]) -> None:
    there = file_of_two_commits().splitlines(keepends=True)

    with pytest.raises(CorruptStore, match="damaged"):
        lines.parse(b"".join(there[number] for number in order), "x")


def test_zero_bytes_that_a_power_cut_left_are_a_torn_end() -> None:
    file = lines.parse(file_of_two_commits() + bytes(5000), "x")

    assert file is not None
    assert file.entries == [A, B, A]


def test_a_later_version_is_refused() -> None:
    line = lines._line(0, {"kind": "alloy.session", "v": 2, "id": "ses", "created_at": 1.0})

    with pytest.raises(UnknownVersion) as caught:
        lines.parse(line, "x")

    assert caught.value.version == 2


def test_each_line_is_json() -> None:
    for line in file_of_two_commits().splitlines():
        assert isinstance(json.loads(line), dict)


async def test_a_store_cut_at_any_byte_opens_and_goes_on(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path / "whole") as store:
        await write(store)
    path = tmp_path / "whole" / "first.jsonl"
    data = path.read_bytes()
    cuts = [*range(0, len(data), 7), *(place for place, byte in enumerate(data, 1) if byte == 10)]

    async with JSONLStore(tmp_path / "cut") as store:
        for cut in cuts:
            (tmp_path / "cut" / "first.jsonl").write_bytes(data[:cut])
            commits = data[:cut].count(b'"entries":') if data[:cut].endswith(b"\n") else None
            try:
                before = await records_of(store, "first")
            except UnknownSession:
                before = []
            async with store.open("first") as journal:
                await journal.append(ModelChanged(model="more"))
            assert await records_of(store, "first") == [*before, ModelChanged(model="more")]
            assert before in [whole("first", number) for number in range(4)]
            assert commits is None or before == whole("first", commits)


async def test_a_damaged_session_leaves_the_others_alone(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path) as store:
        await write(store)
        path = tmp_path / "first.jsonl"
        path.write_bytes(path.read_bytes().replace(b"A talk", b"A walk"))

        with pytest.raises(CorruptStore) as caught:
            await store.load("first")

        assert caught.value.place == "first.jsonl:4"
        with pytest.raises(CorruptStore):
            async with store.open("first"):
                pass
        assert await records_of(store, "the/second") == whole("the/second")
        assert await store.sessions() == tuple(sorted(SESSIONS))


async def test_a_full_disk_fails_the_commit_and_the_next_one_can_succeed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with JSONLStore(tmp_path) as store, store.open("full") as journal:
        await journal.append(ModelChanged(model="before"))
        write = os.pwrite

        def some_of_it(file: int, text: bytes, place: int) -> int:
            if len(text) < 30:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, text[:25], place)

        with monkeypatch.context() as patch:
            patch.setattr(os, "pwrite", some_of_it)
            with pytest.raises(StoreError, match="No space left"):
                await journal.append(ModelChanged(model="lost"))
        await journal.append(ModelChanged(model="after"))

        assert await records_of(store, "full") == [ModelChanged(model="before"), ModelChanged(model="after")]


async def test_a_file_that_was_taken_away_is_an_error_and_not_made_anew(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path) as store, store.open("gone") as journal:
        (tmp_path / "gone.jsonl").unlink()

        with pytest.raises(StoreError, match="cannot write session 'gone'"):
            await journal.append(ModelChanged(model="m"))

        assert not (tmp_path / "gone.jsonl").exists()


async def test_a_file_under_another_name_is_refused(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path) as store:
        async with store.open("one"):
            pass
        (tmp_path / "one.jsonl").rename(tmp_path / "two.jsonl")

        with pytest.raises(CorruptStore, match="it is of session 'one', not 'two'"):
            await store.load("two")


async def test_a_folder_that_cannot_be_made_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="cannot use"):
        async with JSONLStore(tmp_path / "file" / "sessions"):
            pass


async def test_files_are_for_their_user_alone(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path / "sessions") as store:
        await write(store)

    assert stat.S_IMODE((tmp_path / "sessions").stat().st_mode) == 0o700
    modes = {stat.S_IMODE((await path.stat()).st_mode) for path in await trio.Path(tmp_path).glob("*/*.jsonl")}
    assert modes == {0o600}


async def test_nothing_but_the_sessions_is_left(tmp_path: Path) -> None:
    async with JSONLStore(tmp_path) as store:
        await write(store)

    left = sorted([path.name for path in await trio.Path(tmp_path).rglob("*") if await path.is_file()])
    assert left == sorted(f"{file_name(session_id)}.jsonl" for session_id in SESSIONS)


@pytest.mark.parametrize(("field", "value"), [("durability", "hope"), ("lease", 0.0), ("lease", -1.0)])
def test_an_option_that_does_not_fit_is_refused(tmp_path: Path, field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        JSONLStore(tmp_path, **{field: value})  # type: ignore[arg-type]  # the point of it


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=300)


@given(st.lists(names, max_size=20, unique=True))
def test_every_id_has_a_file_name_of_its_own_that_is_safe(ids: list[str]) -> None:
    made = [file_name(session_id) for session_id in ids]

    assert len({name.casefold() for name in made}) == len(ids)
    assert all(name.isascii() and "/" not in name and not name.startswith(".") and len(name) <= 80 for name in made)
