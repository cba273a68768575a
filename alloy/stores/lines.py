"""The lines of a session's file: how they are written, and what a file of them says. Pure.

A line is a JSON object. It begins with the CRC-32 of the rest of it and its number, so that a changed byte, a lost
line and one out of order are all noticed. The first line says what this is, and the others are commits, or tell who
drives the session from there on.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence

import attrs

from alloy.llm.content import JSON
from alloy.loop.errors import CorruptStore, UnknownVersion
from alloy.stores.entries import FORMAT, VERSION, Raw, Stored, dumps

_HEAD = len('{"crc":"00000000",')


@attrs.define
class File:
    """What a session's file says.

    Attributes:
        token: of the lease; empty if nobody drives the session.
        owner: who has it.
        lines: how many there are.
        end: where the last whole line ends, in bytes; what comes after was torn off.
    """

    id: str
    created_at: float
    entries: list[Raw] = attrs.field(factory=list)
    token: str = ""
    owner: str = ""
    lines: int = 0
    end: int = 0

    @property
    def stored(self) -> Stored:
        """The session."""
        return Stored(created_at=self.created_at, entries=self.entries)


def header(session_id: str, stored: Stored) -> bytes:
    """The first line; what a session is made with is in it, so that it is made with all of that or not at all."""
    fields = {"kind": FORMAT, "v": VERSION, "id": session_id, "created_at": stored.created_at}
    return _line(0, {**fields, "entries": list(stored.entries)} if stored.entries else fields)


def commit(number: int, entries: Sequence[Raw]) -> bytes:
    """The line of a commit."""
    return _line(number, {"entries": list(entries)})


def lease(number: int, token: str, owner: str) -> bytes:
    """The line that says who drives the session now; nobody, if both are empty."""
    return _line(number, {"lease": token, "owner": owner})


def _line(number: int, fields: Mapping[str, JSON]) -> bytes:
    rest = dumps({"n": number, **fields})[1:].encode()
    return b'{"crc":"%08x",%s\n' % (zlib.crc32(rest), rest)


def _read(line: bytes) -> JSON:
    """The object of a line without its line feed; None if it is not what was written."""
    head, rest = line[:_HEAD], line[_HEAD:]
    if head != b'{"crc":"%08x",' % zlib.crc32(rest):
        return None
    return json.loads(b"{" + rest)


def parse(data: bytes, place: str) -> File | None:
    """What a file says; None if not even its first line is whole.

    The last line may have been torn off, or be nothing but zero bytes, which is what some file systems leave of a
    write after a power cut: it was never acknowledged, and is left out. Any other line is as it was written.

    Args:
        data: all of the file.
        place: its name, for the errors.

    Raises:
        CorruptStore: a line is not what was written; `.place` has its number, from 1.
        UnknownVersion: a later alloy wrote it.
    """
    *lines, torn = data.split(b"\n")
    if _read(torn[:-1]) is not None:
        raise _corrupt(place, len(lines) + 1, "its end is not what was written")
    file: File | None = None
    for number, line in enumerate(lines):
        made = _read(line)
        if made is None or made.get("n") != number:
            raise _corrupt(place, number + 1, "it is not what was written there")
        if file is None:
            file = _begin(made, place)
        elif "entries" in made:
            file.entries += made["entries"]
        else:
            file.token, file.owner = made["lease"], made["owner"]
        file.lines += 1
        file.end += len(line) + 1
    return file


def _begin(made: Mapping[str, JSON], place: str) -> File:
    if made.get("kind") != FORMAT:
        raise _corrupt(place, 1, "it does not begin a session")
    if (version := made.get("v")) != VERSION:
        raise UnknownVersion(f"{place} is of version {version!r}; this alloy reads {VERSION}", version=version)
    return File(id=made["id"], created_at=made["created_at"], entries=list(made.get("entries", ())))


def check_id(file: File, session_id: str, place: str) -> None:
    """Raise CorruptStore if the file is of another session than its name says."""
    if file.id != session_id:
        raise _corrupt(place, 1, f"it is of session {file.id!r}, not {session_id!r}; a session is copied by fork()")


def _corrupt(place: str, line: int, what: str) -> CorruptStore:
    where = f"{place}:{line}"
    return CorruptStore(f"{where} is damaged: {what}", place=where)
