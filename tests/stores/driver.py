"""A process that drives a session as it is told, a line at a time: `python driver.py KIND PATH LEASE`.

open WAIT       -> "open", or the name of the error
append TEXT     -> "done", or the name of the error; two records each
race            -> "acknowledged N" after each commit, for ever
count N         -> "done", when it has opened the session N times, each time adding one more than was there
close           -> "closed"
"""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import trio

from alloy import AlloyError
from alloy.loop.records import ModelChanged
from alloy.stores import Journal, JSONLStore, SQLiteStore, Store

SESSION = "shared"


def made(kind: str, path: Path, lease: float) -> Store:
    """A store of the kind on disk."""
    match kind:
        case "jsonl":
            return JSONLStore(path / "sessions", lease=lease)
        case "sqlite":
            return SQLiteStore(path / "sessions.db", lease=lease)
        case _:
            raise ValueError(kind)


async def add(journal: Journal, text: str) -> None:
    """A commit of two records."""
    await journal.append(ModelChanged(model=text), ModelChanged(model=text))


async def obey(store: Store, stack: AsyncExitStack, journals: list[Journal], command: str, argument: str) -> str:
    """Do as told, and say what came of it."""
    match command:
        case "open":
            journals.append(await stack.enter_async_context(store.open(SESSION, wait=float(argument))))
            return "open"
        case "append":
            await add(journals[-1], argument)
            return "done"
        case "race":
            for number in count():
                await add(journals[-1], str(number))
                print("acknowledged", number, flush=True)
        case "count":
            for _ in range(int(argument)):
                async with store.open(SESSION, wait=60.0) as journal:
                    await add(journal, str(len(journal.entries) // 2))
            return "done"
        case "close":
            await stack.aclose()
            return "closed"
    raise ValueError(command)


async def main(kind: str, path: str, lease: str) -> None:
    journals: list[Journal] = []
    async with made(kind, Path(path), float(lease)) as store, AsyncExitStack() as stack:
        print("ready", flush=True)
        async for line in trio.wrap_file(sys.stdin):
            command, _, argument = line.strip().partition(" ")
            try:
                answer = await obey(store, stack, journals, command, argument)
            except AlloyError as error:
                answer = type(error).__name__
            print(answer, flush=True)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
