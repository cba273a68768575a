"""Two processes on one session, through `alloy.run`: one drives it, and the other is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

import alloy
from alloy.stores import JSONLStore, SQLiteStore, Store
from alloy.testing import ScriptedModel, says
from end_to_end import owner

KINDS = pytest.mark.parametrize("kind", ["sqlite", "jsonl"])


@contextmanager
def other(kind: str, path: Path, lease: float) -> Iterator[subprocess.Popen[str]]:
    """The other process, which is in the middle of its run."""
    environment = {**os.environ, "PYTHONPATH": str(Path(alloy.__file__).parents[1])}
    command = [sys.executable, owner.__file__, kind, str(path), str(lease)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
    ) as process:
        try:
            assert said(process) == "waiting"
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    print(file=process.stdin, flush=True)


def made(kind: str, path: Path, lease: float) -> Store:
    return JSONLStore(path / "s", lease=lease) if kind == "jsonl" else SQLiteStore(path / "s.db", lease=lease)


@KINDS
async def test_the_second_process_is_fenced_and_the_first_goes_on(kind: str, tmp_path: Path) -> None:
    with other(kind, tmp_path, 60.0) as process:
        async with made(kind, tmp_path, 60.0) as store:
            with pytest.raises(alloy.Fenced, match="is driven by another"):
                await alloy.run("mine", model=ScriptedModel(), store=store, session_id="s")
            tell(process)
            assert said(process) == "done"
            process.wait(30)
            session = await store.load("s")

    assert (session.messages[0].text, session.messages[-1].text) == ("go", "done")


@KINDS
async def test_an_owner_that_was_stopped_cannot_write_when_it_wakes(kind: str, tmp_path: Path) -> None:
    with other(kind, tmp_path, 0.5) as process:
        process.send_signal(signal.SIGSTOP)
        async with made(kind, tmp_path, 0.5) as store:
            with trio.fail_after(30):
                while True:
                    try:
                        result = await alloy.run("mine", model=ScriptedModel(says("yes")), store=store, session_id="s")
                        break
                    except alloy.Fenced:
                        await trio.sleep(0.1)
            process.send_signal(signal.SIGCONT)
            tell(process)

            assert said(process) == "Fenced"
            assert process.wait(30) == 0
            assert (await store.load("s")).messages == result.messages
