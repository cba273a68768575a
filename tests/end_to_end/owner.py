"""A process that drives a session with a run: `python owner.py KIND PATH LEASE`; its tool waits for a line."""

from __future__ import annotations

import sys
from pathlib import Path

import trio

import alloy
from alloy.stores import JSONLStore, SQLiteStore
from alloy.testing import ScriptedModel, calls, says


async def main(kind: str, path: Path, lease: float) -> None:
    async def wait() -> str:
        """Wait for a line."""
        print("waiting", flush=True)
        await trio.to_thread.run_sync(sys.stdin.readline)
        return "waited"

    store = JSONLStore(path / "s", lease=lease) if kind == "jsonl" else SQLiteStore(path / "s.db", lease=lease)
    async with store:
        try:
            model = ScriptedModel(calls("wait"), says("done"))
            result = await alloy.run("go", model=model, tools=[wait], store=store, session_id="s")
        except alloy.AlloyError as error:
            print(type(error).__name__, flush=True)
        else:
            print(result.text, flush=True)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], Path(sys.argv[2]), float(sys.argv[3]))
