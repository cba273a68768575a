"""A tree of processes, drawn."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from alloy import otp
from alloy.cli.tree import TreeView, drawing, restarts


class Terminal(io.StringIO):
    """A file that says that it is one."""

    def isatty(self) -> bool:
        return True


def node(label: str, ref: int, *children: dict[str, Any], restarts: int = 0) -> dict[str, Any]:
    inner = {"children": children} if children else {}
    return {"label": label, "ref": ref, "server": "S", "status": "running", "restarts": restarts, **inner}


DOWN = {"label": "b", "status": "restarting", "restarts": 2}
TREE = node("root", 1, node("a", 2, node("x", 3), node("y", 4, restarts=1)), DOWN)
DRAWN = [
    "root #1 (S) running",
    "├─ a #2 (S) running",
    "│  ├─ x #3 (S) running",
    "│  └─ y #4 (S) running, restarts: 1",
    "└─ b restarting, restarts: 2",
]


def test_a_drawing_shows_who_is_below_whom_and_who_is_down() -> None:
    assert list(drawing(TREE)) == DRAWN
    assert restarts(TREE) == 3


async def test_what_otp_tree_returns_can_be_drawn() -> None:
    async with otp.open_system(otp.Supervisor(children=[otp.ChildSpec(start=otp.Server, id="one")])) as root:
        lines = list(drawing(otp.tree(root)))

    assert lines == [f"Supervisor #{root.id} (Supervisor) running", f"└─ one #{root.id + 1} (Server) running"]


@pytest.mark.parametrize("with_rich", [True, False])
def test_only_a_terminal_with_rich_gets_drawings_in_place(with_rich: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    if not with_rich:
        monkeypatch.setitem(sys.modules, "rich.live", None)
    out = Terminal()
    with TreeView(out) as view:
        view.draw(TREE)
        first = out.getvalue()
        view.draw(DOWN, passing=True)

    assert [line.strip() for line in first.removeprefix("\x1b[?25l").splitlines()] == DRAWN
    assert ("b restarting, restarts: 2" in out.getvalue()[len(first) :]) is with_rich
    assert out.getvalue().endswith("\x1b[?25h") is with_rich


def test_into_a_pipe_a_passing_drawing_is_left_out() -> None:
    out = io.StringIO()
    with TreeView(out) as view:
        view.draw(TREE)
        view.draw(DOWN, passing=True)

    assert out.getvalue().splitlines() == DRAWN
