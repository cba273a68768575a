"""`alloy sessions`, on folders and databases."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from alloy import AssistantMessage, StopInfo, StopReason, ToolCall, ToolResult, UserMessage
from alloy.cli.main import main
from alloy.loop.records import (
    Answered,
    BatchClosed,
    CallPending,
    CallSettled,
    CallStarted,
    Record,
    RunBegun,
    RunEnded,
    Said,
)
from alloy.stores import JSONLStore, SQLiteStore, Store

CALL = ToolCall("call_1", "read_file", {"path": "notes.txt"})
ASKED: Sequence[Record] = (
    RunBegun(run_id="r", agent="coder"),
    Said(run_id="r", message=UserMessage("What is in \x1b[31mnotes.txt?")),
    Answered(run_id="r", turn=1, message=AssistantMessage([CALL], stop=StopInfo(StopReason.TOOL_USE))),
)
ANSWERED: Sequence[Record] = (
    *ASKED,
    CallStarted(run_id="r", call_id="call_1"),
    CallSettled(run_id="r", call_id="call_1", result=ToolResult("milk", call_id="call_1", name="read_file")),
    BatchClosed(run_id="r", message_id="m"),
    Answered(run_id="r", turn=2, message=AssistantMessage("Milk.", stop=StopInfo(StopReason.END_TURN))),
    RunEnded(run_id="r", status="completed"),
)
PENDING: Sequence[Record] = (*ASKED, CallPending(run_id="r", call_id="call_1", pending_id="p"))


def fill(store: Store, sessions: dict[str, Sequence[Record]]) -> None:
    async def write() -> None:
        async with store:
            for session_id, records in sessions.items():
                async with store.open(session_id) as journal:
                    await journal.append(*records)

    trio.run(write)


@pytest.fixture(params=["folder", "database"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store with three sessions, as an option of the command line."""
    path = tmp_path / ("sessions" if request.param == "folder" else "sessions.db")
    store = JSONLStore(path) if request.param == "folder" else SQLiteStore(path)
    fill(store, {"done": ANSWERED, "paused": PENDING, "cut/off": ASKED})
    return str(path)


Said_ = Callable[[], str]


@pytest.fixture
def out(capsys: pytest.CaptureFixture[str]) -> Said_:
    """What was printed since the last time."""
    return lambda: capsys.readouterr().out


@pytest.mark.works("`alloy sessions`: list, show, export and import what a store holds")
def test_sessions_are_listed_the_last_one_first_with_what_is_under_way(kept: str, out: Said_) -> None:
    assert main(["sessions", "--store", kept]) == 0

    lines = [line.split() for line in out().splitlines()]
    assert [line[0] for line in lines] == ["cut/off", "paused", "done"]
    assert [line[3:6] for line in lines] == [
        ["3", "messages", "interrupted"],
        ["3", "messages", "paused"],
        ["4", "messages", "What"],
    ]


def test_a_conversation_is_shown_without_what_would_steer_the_terminal(kept: str, out: Said_) -> None:
    assert main(["sessions", "--store", kept, "show", "done"]) == 0

    text = out()
    assert "> What is in �[31mnotes.txt?" in text
    assert "→ read_file(path='notes.txt')" in text
    assert text.endswith("Milk.\n")


def test_an_export_is_taken_up_by_another_store(
    kept: str, tmp_path: Path, out: Said_, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert main(["sessions", "--store", kept, "export", "done"]) == 0
    (tmp_path / "done.json").write_text(out())

    assert main(["sessions", "import", str(tmp_path / "done.json")]) == 0
    assert out() == "done\n"
    assert main(["sessions", "show", "done"]) == 0
    assert out().endswith("Milk.\n")
    assert main(["sessions", "export", "done"]) == 0
    assert json.loads(out()) == json.loads((tmp_path / "done.json").read_text())


def test_a_damaged_session_does_not_hide_the_others(tmp_path: Path, out: Said_) -> None:
    fill(JSONLStore(tmp_path), {"done": ANSWERED, "broken": ASKED})
    path = tmp_path / "broken.jsonl"
    path.write_bytes(path.read_bytes().replace(b"notes", b"votes"))

    assert main(["sessions", "--store", str(tmp_path)]) == 1

    done, broken = out().splitlines()
    assert done.startswith("done")
    assert "CorruptStore: broken.jsonl:3 is damaged" in broken


@pytest.mark.parametrize(
    ("arguments", "code", "what"),
    [
        (["show", "nobody"], 1, "UnknownSession: the store has no session 'nobody'"),
        (["export", "nobody"], 1, "UnknownSession"),
        (["import", "nowhere.json"], 1, "No such file"),
    ],
)
def test_what_is_not_there_is_said(
    kept: str, arguments: list[str], code: int, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sessions", "--store", kept, *arguments]) == code
    assert what in capsys.readouterr().err


def test_a_store_that_is_not_there_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "--store", str(tmp_path / "nowhere")]) == 2
    assert "there is no store at" in capsys.readouterr().err
    assert not (tmp_path / "nowhere").exists()


def test_what_is_no_export_is_refused(kept: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "list").write_text("[1]")

    assert main(["sessions", "--store", kept, "import", str(tmp_path / "text")]) == 2
    assert main(["sessions", "--store", kept, "import", str(tmp_path / "list")]) == 1
    assert "CorruptStore: no session is in this" in capsys.readouterr().err


def test_an_empty_store_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "--store", str(tmp_path)]) == 0
    assert capsys.readouterr() == ("", "there are no sessions\n")


@pytest.mark.works("`alloy run --session` and `alloy sessions resume`: conversations and runs that outlive the process")
@pytest.mark.parametrize("store", [[], ["--store", "kept.db"], ["--store", "folder"]])
def test_a_run_goes_on_with_its_session(
    store: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    for text in ("one", "two"):
        assert main(["run", text, "--model", "scripted:echo", "--session", "mine", *store]) == 0
    capsys.readouterr()

    assert main(["sessions", *store, "show", "mine"]) == 0

    assert capsys.readouterr().out.split() == [">", "one", "one", ">", "two", "two"]


def test_a_store_without_a_session_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "x", "--model", "scripted:echo", "--store", "x.db"]) == 2

    assert "--store needs --session" in capsys.readouterr().err


def test_a_paused_session_is_told_and_resumed(
    kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("milk")
    resume = ["sessions", "--store", kept, "resume", "paused", "--model", "scripted:echo", "--tools", "read_file"]

    assert main(resume) == 3
    assert capsys.readouterr().err.splitlines()[-1].startswith("p  ")
    assert main([*resume, "--approve", "nope"]) == 1
    assert "no decision 'nope' is pending; there are: 'p'" in capsys.readouterr().err
    assert main([*resume, "--approve", "p"]) == 0
    capsys.readouterr()
    assert main(["sessions", "--store", kept, "show", "paused"]) == 0

    assert "milk" in capsys.readouterr().out


def test_a_session_that_is_done_is_told_again(kept: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sessions", "--store", kept, "resume", "done", "--model", "scripted:echo"]) == 0

    assert capsys.readouterr().out == "Milk.\n"
