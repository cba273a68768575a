"""A console with an editor, on prompt_toolkit and rich: the `cli` extra.

At the foot of the terminal stand the part of the answer that still grows, the line that is typed, and the
status; everything above is printed once. prompt_toolkit has an event loop of its own, so it lives in a thread:
what it brings comes through Trio's token, what it is to show goes through its loop.
"""

from __future__ import annotations

import contextvars
import errno
import math
import os
import select
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio
from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.data_structures import Point, Size
from prompt_toolkit.filters import Condition, is_searching
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import AnyContainer, Dimension, FormattedTextControl, HSplit, Layout, VerticalAlign, Window
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.widgets import CompletionsToolbar, SearchToolbar, TextArea

from alloy.cli.commands import Command, messages_of
from alloy.cli.completing import ChatCompleter
from alloy.cli.console import nothing_stands
from alloy.cli.painting import Painter
from alloy.cli.pieces import Piece
from alloy.cli.status import Standing, status_line

FRAMES = 12  # drawings of the tail a second, at most
INPUT_LINES = 10  # of what is typed, seen at once
WELCOME = "> "  # before what is typed, where nothing is asked
FOOT = 4  # lines that are never the tail's


class Screen:
    """A `Console` with an editor. Made by `open_screen`."""

    lines: trio.MemoryReceiveChannel[str]
    interrupts: trio.MemoryReceiveChannel[None]
    gone: trio.Event

    def __init__(self, known: Mapping[str, Command], history: Path | None) -> None:
        self.interactive = True
        # Typed by a person, so unbounded: what is said while an answer comes must not be lost.
        self._typed, self.lines = trio.open_memory_channel[str](math.inf)
        self._interrupted, self.interrupts = trio.open_memory_channel[None](math.inf)
        self.gone = trio.Event()
        self.standing: Callable[[], Standing] = nothing_stands
        self._known = known
        self._token = trio.lowlevel.current_trio_token()
        self._painter = Painter()
        self._changed = trio.Event()
        self._context: contextvars.Context | None = None
        # What the editor's thread draws; written there alone.
        self._tail = ""
        self._status = ""
        self._prompt = WELCOME
        self._busy = False
        self._closing = False
        self._input = self._text_area(FileHistory(str(history)) if history is not None else InMemoryHistory())
        self._app = self._application()

    # A Console.

    def put(self, piece: Piece) -> None:
        """See `Console.put`."""
        self._painter.put(piece)
        self._changed.set()

    def interrupt(self) -> None:
        """See `Console.interrupt`."""
        self._interrupted.send_nowait(None)

    def invite(self, prompt: str) -> None:
        """See `Console.invite`."""
        self._in_editor(self._set_prompt, prompt or WELCOME)
        self._changed.set()

    def hand_back(self, text: str) -> None:
        """See `Console.hand_back`."""
        self._in_editor(self._input.buffer.insert_text, text if text.endswith("\n") else f"{text}\n")

    # Trio's side.

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Let the editor run in its thread until this is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._close_in_time)
            await trio.to_thread.run_sync(self._run, task_status.started)
            self.gone.set()
            nursery.cancel_scope.cancel(reason="the editor has ended")

    async def _close_in_time(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            # The thread must not be left: it would keep the terminal raw.
            self._closing = True
            self._in_editor(self._exit)

    async def paint(self) -> None:
        """Show what changes, at most `FRAMES` times a second, and the time at least once."""
        while True:
            with trio.move_on_after(1):
                await self._changed.wait()
            self._changed = trio.Event()
            self.flush(whole=False)
            await trio.sleep(1 / FRAMES)

    def flush(self, *, whole: bool = True) -> None:
        """Show what there is; what still grows as well, as if it were `whole`."""
        size = _size()
        printed, tail = self._painter.take(size.columns, max(3, size.rows - FOOT), whole=whole)
        standing = self.standing()
        self._in_editor(self._show, printed, tail, status_line(standing, size.columns - 1), bool(standing.doing))

    def _in_editor(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the editor's thread do this, in order."""
        if self._context is not None and (loop := self._app.loop) is not None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(function, *arguments, context=self._context)

    # The editor's side: its thread.

    def _run(self, started: Callable[[], object]) -> None:
        def begin() -> None:
            self._context = contextvars.copy_context()
            if self._closing:
                self._exit()
            self._token.run_sync_soon(started)

        try:
            self._app.run(pre_run=begin, handle_sigint=False, set_exception_handler=False)
        except (EOFError, OSError) as error:
            if isinstance(error, OSError) and error.errno != errno.EIO:
                raise
            # The terminal is gone; `serve` says so.

    def _exit(self) -> None:
        if self._app.is_running and not self._app.is_done:
            self._app.exit()

    def _show(self, printed: str, tail: str, status: str, busy: bool) -> None:
        if self._app.is_done:
            return
        self._busy = busy
        if printed:
            # Above the editor, for good. The next drawing begins below.
            self._app.renderer.erase()
            self._app.output.write_raw(printed)
            self._app.output.flush()
        if printed or (tail, status) != (self._tail, self._status):
            self._tail, self._status = tail, status
            self._app.invalidate()

    def _set_prompt(self, prompt: str) -> None:
        self._prompt = prompt
        self._app.invalidate()

    def _accept(self, buffer: Buffer) -> bool:
        text = buffer.text.encode("utf-8", "replace").decode()
        for message in messages_of(text.split("\n"), self._known):
            self._token.run_sync_soon(self._typed.send_nowait, message)
        return False  # the editor is empty again

    def _application(self) -> Application[None]:
        tail = FormattedTextControl(lambda: ANSI(self._tail), get_cursor_position=self._end_of_tail, show_cursor=False)
        status = Window(FormattedTextControl(lambda: self._status), height=1, style="class:status")
        parts: list[AnyContainer] = [
            Window(tail, dont_extend_height=True, height=self._tail_height),
            self._input,
            CompletionsToolbar(),
            self._search,
            status,
        ]
        return Application(
            layout=Layout(HSplit(parts, align=VerticalAlign.TOP), focused_element=self._input),
            key_bindings=self._bindings(),
            output=_output(),
            erase_when_done=True,
            terminal_size_polling_interval=0.2,  # a thread gets no signal when the window changes
        )

    def _tail_height(self) -> Dimension:
        lines = self._tail.count("\n") + 1 if self._tail else 0
        return Dimension(min=0, preferred=lines, max=lines)

    def _end_of_tail(self) -> Point:
        return Point(x=0, y=self._tail.count("\n"))  # what has no room is the beginning

    def _text_area(self, history: History) -> TextArea:
        self._search = SearchToolbar()
        area = TextArea(
            multiline=True,
            wrap_lines=True,
            dont_extend_height=True,
            height=lambda: Dimension(min=1, max=INPUT_LINES),
            prompt=lambda: self._prompt,
            completer=ChatCompleter(self._known),
            complete_while_typing=Condition(lambda: area.text.startswith("/")),
            history=history,
            accept_handler=self._accept,
            search_field=self._search,
        )
        return area

    def _bindings(self) -> KeyBindings:
        keys = KeyBindings()
        here = ~is_searching

        @keys.add("enter", filter=here)
        def _(event: KeyPressEvent) -> None:
            buffer = event.current_buffer
            if buffer.document.text_before_cursor.endswith("\\"):
                buffer.delete_before_cursor()
                buffer.insert_text("\n")
            elif event.key_processor.input_queue or _is_more_to_read():
                buffer.insert_text("\n")  # nobody types so fast: a paste, from a terminal that does not say so
            elif self._prompt == WELCOME:
                buffer.validate_and_handle()
            else:  # an answer, which is nothing to say again: not for the history
                self._accept(buffer)
                buffer.reset()

        @keys.add("escape", "enter", filter=here)
        def _(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        @keys.add("c-c", filter=here)
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text and not self._busy:
                event.current_buffer.reset()
            else:
                self._token.run_sync_soon(self.interrupt)

        @keys.add("c-d", filter=here)
        def _(event: KeyPressEvent) -> None:
            if event.current_buffer.text:
                event.current_buffer.delete()
            else:
                self._token.run_sync_soon(self.gone.set)

        return keys


@asynccontextmanager
async def open_screen(known: Mapping[str, Command], history: Path | None) -> AsyncIterator[Screen]:
    """A console with an editor, on the terminal of standard input and output.

    Args:
        known: the commands, by name.
        history: the file of what was typed before; None keeps it in memory.
    """
    screen = Screen(known, history)
    async with trio.open_nursery() as nursery:
        await nursery.start(screen.serve)
        nursery.start_soon(screen.paint)
        try:
            yield screen
        finally:
            screen.flush()
            nursery.cancel_scope.cancel(reason="the chat is over")


def _size() -> Size:
    try:
        columns, rows = os.get_terminal_size(sys.stdout.fileno())
    except OSError:
        columns, rows = 0, 0
    return Size(rows=rows or 24, columns=columns or 80)  # some terminals say that they have none


def _output() -> Vt100_Output:
    # Without asking where the cursor is: the answer would come among what is typed.
    depth = ColorDepth.from_env()
    return Vt100_Output(
        sys.stdout, _size, term=os.environ.get("TERM"), default_color_depth=depth, enable_bell=False, enable_cpr=False
    )


def _is_more_to_read() -> bool:
    return bool(select.select([sys.stdin], [], [], 0)[0])
