"""A console of plain lines: for pipes, for simple terminals, and where the `cli` extra is not installed."""

from __future__ import annotations

import codecs
import errno
import math
import os
import re
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import TextIO

import trio

from alloy.cli.commands import Command, messages_of
from alloy.cli.console import nothing_stands, takes_colour
from alloy.cli.pieces import Asked, Final, Note, Piece, Problem, Returned, Said, Shown, Table, Thought, Typed, Whole
from alloy.cli.status import Standing
from alloy.cli.text import columns, printable

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
PAUSE = 0.05  # seconds: whoever types needs longer for a line, a paste does not
CHUNK = 65_536
_END = re.compile(r"(?<!\\)\n")


class PlainFace:
    """The answers on standard output, everything else on standard error.

    On a terminal the text comes as the model writes it; into a pipe only the final text of a run is written.

    Args:
        all_answers: into a pipe too, whatever the model says that is no mere word before a tool call.
    """

    def __init__(self, out: TextIO | None = None, err: TextIO | None = None, *, all_answers: bool = False) -> None:
        self._all_answers = all_answers
        self._told = ""  # the last answer of this run that was written into a pipe
        self._out = out or sys.stdout
        self._err = err or sys.stderr
        self._live = self._out.isatty()
        self._colour = takes_colour(self._err)
        self._open: TextIO | None = None  # where a line has no end yet
        self._thinking = False
        self._prompted = ""  # what stands before the user's words, if nothing was written since

    def put(self, piece: Piece) -> None:
        """Show a piece."""
        match piece:
            case Said(text):
                self._stop_thinking()
                if self._live:
                    self._write(text)
            case Thought(text):
                if self._live:
                    self._think(text)
            case Whole(text):
                self._stop_thinking()
                self.end_line()
                if self._all_answers:
                    self._tell(text)
            case Final(text):
                self._tell(text)
                self._told = ""
            case Note(text):
                self.note(text)
            case Returned(head, lines, _):
                self.note(f"{head}: {lines[0]}" if len(lines) == 1 else head)
                for line in lines if len(lines) > 1 else ():
                    self.note(f"    {line}")
            case Asked(question, lines):
                self._print("\n    ".join((question, *lines)), self._err)
            case Problem(text):
                self._print(f"alloy: {text}", self._err)
            case Shown(text):
                self._print(printable(text), self._out)
            case Table(rows):
                width = shutil.get_terminal_size().columns if self._live else None
                self._print(printable(columns(rows, width)), self._out)
            case Typed():
                pass  # it stands there already

    def note(self, text: str) -> None:
        """Write a line that is not part of the answer."""
        text = printable(text)
        self._print(f"{DIM}{text}{PLAIN}" if self._colour else text, self._err)

    def prompt(self, text: str) -> None:
        """Write what stands before the user's own words; only where a person can see it, and once."""
        if self._open is not None and self._prompted == text:
            return
        self.end_line()
        place = self._out if self._live else self._err
        if place.isatty():
            place.write(text)
            place.flush()
            self._open, self._prompted = place, text

    def entered(self) -> None:
        """The user has ended the line."""
        self._open = None

    def end_line(self) -> None:
        """End the line that is open, if one is."""
        if self._open is not None:
            self._open.write("\n")
            self._open.flush()
            self._open = None

    def _print(self, text: str, place: TextIO) -> None:
        self._stop_thinking()
        self.end_line()
        print(text, file=place, flush=True)

    def _tell(self, text: str) -> None:
        """Write a whole answer, where it was not seen as it came."""
        if not self._live and text and text != self._told:
            self._print(text, self._out)
            self._told = text

    def _write(self, text: str) -> None:
        self._prompted = ""
        self._out.write(text)
        self._out.flush()
        self._open = None if text.endswith("\n") else self._out

    def _think(self, text: str) -> None:
        if not self._thinking:
            self.end_line()
            self._err.write(DIM if self._colour else "(thinking) ")
            self._thinking = True
            self._prompted = ""
        self._err.write(text)
        self._err.flush()
        self._open = None if text.endswith("\n") else self._err

    def _stop_thinking(self) -> None:
        if self._thinking:
            self._thinking = False
            self.end_line()
            if self._colour:
                self._err.write(PLAIN)
                self._err.flush()


class PlainConsole:
    """A `Console` of plain lines."""

    lines: trio.MemoryReceiveChannel[str]
    interrupts: trio.MemoryReceiveChannel[None]
    gone: trio.Event

    def __init__(self, known: Mapping[str, Command]) -> None:
        self.interactive: bool = sys.stdin.isatty()
        # Somebody who types may always be heard; from a pipe no more is read than is used.
        self._typed, self.lines = trio.open_memory_channel[str](math.inf if self.interactive else 0)
        self._interrupted, self.interrupts = trio.open_memory_channel[None](math.inf)  # presses of a key
        self.gone = trio.Event()
        self.standing: Callable[[], Standing] = nothing_stands
        self._known = known
        self._face = PlainFace(all_answers=True)

    def put(self, piece: Piece) -> None:
        """See `Console.put`."""
        self._face.put(piece)

    def interrupt(self) -> None:
        """See `Console.interrupt`."""
        self._face.end_line()  # behind the ^C that the terminal echoes
        self._interrupted.send_nowait(None)

    def invite(self, prompt: str) -> None:
        """See `Console.invite`."""
        if self.interactive and prompt:
            self._face.prompt(prompt)

    def hand_back(self, text: str) -> None:
        """See `Console.hand_back`."""
        self._face.note(f"not sent: {text}")

    async def read(self) -> None:
        """Bring what is typed until the input ends."""
        async with self._typed, aclosing(bursts(sys.stdin.fileno(), alone=not self.interactive)) as bunches:
            async for lines in bunches:
                self._face.entered()
                for message in messages_of(lines, self._known):
                    await self._typed.send(message)
            if self.interactive:
                self._face.end_line()
                self.gone.set()


@asynccontextmanager
async def open_plain(known: Mapping[str, Command]) -> AsyncIterator[PlainConsole]:
    """A plain console on standard input and output."""
    console = PlainConsole(known)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(console.read)
        yield console
        nursery.cancel_scope.cancel(reason="the chat is over")


async def bursts(fd: int, *, alone: bool) -> AsyncGenerator[list[str], None]:
    """The lines of a file descriptor; those together that came at once, or each `alone`.

    A line that ends in a backslash goes on with the next one.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    rest, over = "", False
    while not over:
        chunk = await _read(fd, math.inf)
        while chunk:
            rest += decoder.decode(chunk)
            chunk = None if alone else await _read(fd, PAUSE)
        over = chunk == b""
        *lines, rest = _END.split(rest.replace("\r\n", "\n"))
        if over and rest:
            lines.append(rest)
        lines = [line.replace("\\\n", "\n") for line in lines]
        for burst in [[line] for line in lines] if alone else [lines] if lines else []:
            yield burst


async def _read(fd: int, seconds: float) -> bytes | None:
    """What there is to be read: nothing at the end, None if nothing came in time."""
    with trio.move_on_after(seconds) as scope:
        try:
            await trio.lowlevel.wait_readable(fd)
        except PermissionError:
            await trio.lowlevel.checkpoint()  # a regular file: epoll refuses it, for it never has to be waited for
    if scope.cancelled_caught:
        return None
    try:
        return os.read(fd, CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # the terminal is gone
            return b""
        raise
