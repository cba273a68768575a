"""Where events come from: numbered here, and handed to whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import attrs

from alloy.llm.completion import Fold
from alloy.llm.content import Text, Thinking, ToolCall
from alloy.llm.delta import ArgumentsPart, Delta, ItemStarted, Noted, TextPart, ThinkingPart
from alloy.llm.errors import ProviderError
from alloy.loop.errors import HookError
from alloy.loop.events import (
    Event,
    EventBase,
    Notice,
    Retracted,
    Retrying,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
)

AnyEvent = TypeVar("AnyEvent", bound=EventBase)


class Watcher(Protocol):
    """Who gets a run's events."""

    def put(self, event: Event) -> None:
        """Take an event, at once."""

    async def room(self) -> None:
        """Wait until more events may come."""


@attrs.define(eq=False)
class Callback:
    """A watcher that is a function of the user's. Once it has raised it is not called again."""

    function: Callable[[Event], object]
    failed: bool = False

    def put(self, event: Event) -> None:
        if self.failed:
            return
        try:
            self.function(event)
        except Exception as error:
            self.failed = True
            raise HookError(f"on_event raised {type(error).__name__}: {error}", hook="on_event") from error

    async def room(self) -> None:
        return


@attrs.define(eq=False, kw_only=True)
class Emitter:
    """Numbers the events of one run and hands them to the watchers. Follows the model's answers as a `Listener`.

    Attributes:
        turn: stamped on what is emitted.
    """

    run_id: str
    agent_path: tuple[str, ...]
    watchers: Sequence[Watcher]
    parent_call_id: str | None = None
    turn: int = 0
    seq: int = 0
    _answer_from: int | None = None

    def emit(self, event: type[AnyEvent], *fields: Any) -> None:
        """Make an event of these fields and hand it out.

        Raises:
            HookError: `on_event` raised.
        """
        self.seq += 1
        if self.watchers:
            made = event(
                *fields,
                seq=self.seq,
                run_id=self.run_id,
                agent_path=self.agent_path,
                parent_call_id=self.parent_call_id,
                turn=self.turn,
                at=time.time(),
            )
            for watcher in self.watchers:
                watcher.put(made)  # type: ignore[arg-type]  # every class that is emitted is one of Event's

    async def room(self) -> None:
        """Wait until all watchers have caught up."""
        for watcher in self.watchers:
            await watcher.room()

    def answering(self) -> None:
        """A model is about to be asked: what follows may be retracted."""
        self._answer_from = None

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        """Hand on what of these deltas is to be seen."""
        if not self.watchers:
            return
        if self._answer_from is None:
            self._answer_from = self.seq + 1
        for delta in deltas:
            match delta:
                case TextPart(index, text):
                    self.emit(TextDelta, index, text)
                case ArgumentsPart(index, text):
                    call = fold.call_at(index)
                    self.emit(ToolCallDelta, index, call.id, call.name, text)
                case ThinkingPart(index, text):
                    self.emit(ThinkingDelta, index, text)
                case ItemStarted(index, Text(text=text)) if text:
                    self.emit(TextDelta, index, text)
                case ItemStarted(index, Thinking(text=text)) if text:
                    self.emit(ThinkingDelta, index, text)
                case ItemStarted(index, ToolCall()):
                    call = fold.call_at(index)
                    self.emit(ToolCallDelta, index, call.id, call.name, call.arguments_text)
                case Noted(topic, data):
                    self.emit(Notice, topic, data)
                case _:
                    pass

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        """The model will be asked again."""
        self.emit(Retrying, error, attempt, delay)

    def retracted(self) -> None:
        """What was handed on of this answer is void."""
        if self._answer_from is not None:
            first, last, self._answer_from = self._answer_from, self.seq, None
            self.emit(Retracted, first, last)
