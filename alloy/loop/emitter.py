"""Where events come from: numbered here, and handed to whoever watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import attrs

from alloy.llm.completion import Fold
from alloy.llm.content import JSON, Text, Thinking, ToolCall
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


class Watcher(Protocol):
    """Who gets events."""

    def put(self, event: Event) -> None:
        """Take an event, at once."""
        ...

    async def room(self) -> None:
        """Wait until more events may come."""
        ...


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


@attrs.define(eq=False)
class Tape:
    """One numbered sequence of events: of a root run and all that work for it, or of an agent's whole life.

    Attributes:
        watchers: who gets them.
        seq: the number of the last event.
    """

    watchers: tuple[Watcher, ...] = ()
    seq: int = 0

    def add(self, watcher: Watcher) -> None:
        """Hand `watcher` all events from now on."""
        self.watchers = (*self.watchers, watcher)

    def remove(self, watcher: Watcher) -> None:
        """Hand `watcher` nothing more."""
        self.watchers = tuple(other for other in self.watchers if other is not watcher)


@attrs.define(eq=False, kw_only=True)
class Emitter:
    """Makes the events of one run. Follows the model's answers as a `Listener`.

    Attributes:
        tapes: where they go: a run inside another, or for another's request, is seen in both.
        turn: stamped on what is emitted.
        fold: the answer that comes, or that has come last; None while nothing of it is there.
    """

    run_id: str
    agent_path: tuple[str, ...]
    tapes: Sequence[Tape]
    parent_call_id: str | None = None
    turn: int = 0
    fold: Fold | None = attrs.field(default=None, init=False)
    _notices: dict[str, JSON] = attrs.field(factory=dict, init=False)  # the last of each topic
    _answer_from: dict[Tape, int] = attrs.field(factory=dict, init=False)  # the first delta of what may be retracted

    def emit(self, event: type[EventBase], *fields: Any) -> None:
        """Make an event of these fields and hand it out.

        Raises:
            HookError: `on_event` raised.
        """
        for tape in self.tapes:
            self._put(tape, event, fields)

    def _put(self, tape: Tape, event: type[EventBase], fields: tuple[Any, ...]) -> None:
        tape.seq += 1
        if tape.watchers:
            made = event(
                *fields,
                seq=tape.seq,
                run_id=self.run_id,
                agent_path=self.agent_path,
                parent_call_id=self.parent_call_id,
                turn=self.turn,
                at=time.time(),
            )
            for watcher in tape.watchers:
                watcher.put(made)  # type: ignore[arg-type]  # every class that is emitted is one of Event's

    async def room(self) -> None:
        """Wait until all watchers have caught up."""
        for tape in self.tapes:
            for watcher in tape.watchers:
                await watcher.room()

    def answering(self) -> None:
        """A model is about to be asked: what follows may be retracted."""
        self._answer_from = {}
        self.fold = None

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        """Hand on what of these deltas is to be seen."""
        self.fold = fold
        if not any(tape.watchers for tape in self.tapes):
            return
        for tape in self.tapes:
            self._answer_from.setdefault(tape, tape.seq + 1)
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
                    self.notice(topic, data)
                case _:
                    pass

    def notice(self, topic: str, data: JSON) -> None:
        """Tell something that changes nothing, but not twice: what is so in one turn is often so in the next."""
        if self._notices.get(topic) != data:
            self._notices[topic] = data
            self.emit(Notice, topic, data)

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        """The model will be asked again."""
        self.emit(Retrying, error, attempt, delay)

    def retracted(self) -> None:
        """What was handed on of this answer is void."""
        for tape, first in self._answer_from.items():
            self._put(tape, Retracted, (first, tape.seq))
        self.answering()
