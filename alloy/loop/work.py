"""Pieces of work, for those who measure: a run, a model that is asked, a tool that runs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

from alloy.llm.content import Origin, ToolCall, ToolResult
from alloy.llm.message import AssistantMessage
from alloy.llm.request import Request
from alloy.loop.result import Result
from alloy.tools import Tool

if TYPE_CHECKING:
    from alloy.loop.middleware import Middleware
    from alloy.loop.state import RunInfo

_log = logging.getLogger("alloy.loop")


@attrs.define(eq=False, kw_only=True)
class RunWork:
    """A run.

    Attributes:
        origin: the model that is asked first.
        asked_in: the context of whoever asked for it, where that was in another task; else None: it is this one.
        result: what it came to; None while it is on.
    """

    origin: Origin
    asked_in: Context | None = None
    result: Result[Any] | None = None


@attrs.define(eq=False, kw_only=True)
class ModelWork:
    """A model that is asked, until it has answered, retries included.

    Attributes:
        model: `"vendor:model"`.
        answer: what it said; None while it is asked, and if it failed.
    """

    model: str
    origin: Origin
    request: Request
    answer: AssistantMessage | None = None


@attrs.define(eq=False, kw_only=True)
class ToolWork:
    """A tool that runs. A call that is blocked, denied or does not fit is none.

    Attributes:
        result: what it gave; None while it runs.
    """

    call: ToolCall
    tool: Tool
    result: ToolResult | None = None


Work: TypeAlias = RunWork | ModelWork | ToolWork


class Around(AbstractContextManager[None]):
    """The blocks that some middleware put around a piece of work, the first outermost. Their errors are logged."""

    def __init__(self, watchers: Sequence[tuple[Middleware, RunInfo]], work: Work) -> None:
        self._watchers = watchers
        self._work = work
        self._entered: list[AbstractContextManager[object]] = []

    def __enter__(self) -> None:
        for middleware, run in self._watchers:
            try:
                if (block := middleware.around(run, self._work)) is not None:
                    block.__enter__()
                    self._entered.append(block)
            except Exception:
                _log.exception("around of %s failed", type(middleware).__name__)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for block in reversed(self._entered):
            try:
                block.__exit__(kind, error, trace)
            except Exception as own:
                if own is not error:
                    _log.exception("what %r put around a piece of work failed", block)
