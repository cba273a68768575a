"""What a run looks like in a terminal: the answer on standard output, everything else on standard error."""

from __future__ import annotations

import sys
from typing import Any, TextIO

import alloy
from alloy.loop.result import Result, Status

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
WIDTH = 100  # characters of a call's arguments or of a result's first line


class Renderer:
    """Shows a run's events one by one.

    On a terminal the text comes as the model writes it; into a pipe only the final text is written.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None) -> None:
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._live = self._out.isatty()
        self._colour = self._err.isatty()
        self._open_line = False

    def show(self, event: alloy.Event) -> None:
        """Show one event."""
        match event:
            case alloy.TextDelta(text=text) if self._live:
                self._write(text)
            case alloy.MessageFinished():
                self._end_line()
            case alloy.ToolStarted(call=call):
                self.note(f"→ {call.name}({arguments_line(call)})")
            case alloy.ToolFinished(record=record, result=result):
                self.note(f"← {record.name}: {record.outcome}, {record.duration:.2f} s: {first_line(result.text)}")
            case alloy.Retrying(error=error, delay=delay):
                self.note(f"{type(error).__name__}: {error}; trying again in {delay:.1f} s")
            case alloy.FellBack(old=old, new=new, error=error):
                self.note(f"{old}: {type(error).__name__}: {error}; {new} is asked instead")
            case alloy.Retracted():
                self.note("the answer broke off; it begins anew")
            case alloy.RunFinished(result=result):
                self._finish(result)
            case _:
                pass

    def note(self, text: str) -> None:
        """Write a line that is not part of the answer."""
        self._end_line()
        line = f"{DIM}{text}{PLAIN}" if self._colour else text
        print(line, file=self._err, flush=True)

    def _finish(self, result: Result[Any]) -> None:
        if not self._live and result.text:
            print(_printable(result.text), file=self._out, flush=True)
        self._end_line()
        if result.error is not None:
            print(f"alloy: {type(result.error).__name__}: {_printable(str(result.error))}", file=self._err, flush=True)
        elif result.status is not Status.COMPLETED:
            why = f": {result.reason}" if result.reason else f" after {result.turns} turns"
            print(f"alloy: the run ended as {result.status!s}{why}", file=self._err, flush=True)

    def _write(self, text: str) -> None:
        self._out.write(_printable(text))
        self._out.flush()
        self._open_line = not text.endswith("\n")

    def _end_line(self) -> None:
        if self._open_line:
            self._out.write("\n")
            self._out.flush()
            self._open_line = False


def arguments_line(call: alloy.ToolCall) -> str:
    """A call's arguments, as in a Python call, cut to `WIDTH`."""
    return _short(", ".join(f"{name}={value!r}" for name, value in call.arguments.items()))


def first_line(text: str) -> str:
    """The first line of a text, cut to `WIDTH`, and how many lines more there are."""
    lines = text.splitlines()
    more = f" (+{len(lines) - 1} lines)" if len(lines) > 1 else ""
    return _short(lines[0] if lines else "") + more


def _short(text: str) -> str:
    text = _printable(text.replace("\n", "⏎"))
    return text if len(text) <= WIDTH else f"{text[: WIDTH - 1]}…"


def _printable(text: str) -> str:
    """Without control characters: what a model or a file says must not steer the user's terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)
