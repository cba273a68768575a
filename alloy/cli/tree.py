"""A tree of processes in the terminal: what `otp.tree` returns, drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TextIO

from alloy.cli.console import moves_cursor

if TYPE_CHECKING:
    from rich.live import Live

Node = Mapping[str, Any]


class TreeView:
    """Shows a tree at the foot of the terminal as long as the block runs, each drawing in the place of the last.

    Without rich, or where `out` is no terminal that can move its cursor, the drawings stand one below the other.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._live: Live | None = None
        self._open = ExitStack()

    def __enter__(self) -> Self:
        if moves_cursor(self._out):
            self._live = _live(self._out)
            if self._live is not None:
                self._open.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def draw(self, tree: Node, *, passing: bool = False) -> None:
        """Draw it as it is now; a `passing` drawing is left out where it would stay."""
        text = "\n".join(drawing(tree))
        if self._live is not None:
            from rich.text import Text

            self._live.update(Text(text), refresh=True)
        elif not passing:
            print(text, file=self._out, flush=True)


def drawing(tree: Node) -> Iterator[str]:
    """The lines that show a tree as `otp.tree` returns it: names, Refs, classes, what is not as usual."""
    yield _line(tree)
    children = tree.get("children", ())
    for number, child in enumerate(children, 1):
        head, rest = ("└─ ", "   ") if number == len(children) else ("├─ ", "│  ")
        for line in drawing(child):
            yield head + line
            head = rest


def restarts(tree: Node) -> int:
    """How many restarts there were of the children that the tree has now."""
    return int(tree["restarts"]) + sum(restarts(child) for child in tree.get("children", ()))


def _line(node: Node) -> str:
    which = f" #{node['ref']} ({node['server']})" if "ref" in node else ""  # one that does not run has neither
    count = f", restarts: {node['restarts']}" if node["restarts"] else ""
    return f"{node['label']}{which} {node['status']}{count}"


def _live(out: TextIO) -> Live | None:
    """A place at the foot of the terminal; None without rich."""
    try:
        from rich.console import Console
        from rich.live import Live
    except ImportError:
        return None
    # No thread of its own that draws again and again: we say when.
    return Live(console=Console(file=out), auto_refresh=False, redirect_stdout=False)
