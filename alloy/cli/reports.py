"""What is logged, shown among the rest: the tracebacks in it would fill the terminal."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import trio

from alloy.cli.text import first_line


@contextmanager
def reports_shown_by(show: Callable[[str], None], *, whole: bool = False) -> Iterator[None]:
    """Show the head of each report that is logged while the block runs, of warnings and what is worse.

    Args:
        show: called in Trio's thread, with a line.
        whole: the whole report, as the handlers that there are show it; nothing is changed.
    """
    if whole:
        yield
        return
    handler = _Heads(show, trio.lowlevel.current_trio_token())
    logger = logging.getLogger("alloy")
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagated


class _Heads(logging.Handler):
    def __init__(self, show: Callable[[str], None], token: trio.lowlevel.TrioToken) -> None:
        super().__init__(logging.WARNING)
        self._show = show
        self._token = token

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.name}: {first_line(record.getMessage())}"
        if trio.lowlevel.in_trio_run():
            self._show(line)
        else:  # a tool's thread
            self._token.run_sync_soon(self._show, line)
