"""Following the answer to one request: what comes is handed on, and what breaks off is kept and counted."""

from __future__ import annotations

import time
from collections.abc import Sequence

import attrs

from alloy.llm.completion import Fold
from alloy.llm.delta import Delta
from alloy.llm.errors import ProviderError
from alloy.llm.request import Request
from alloy.llm.spending import billed, usage_of
from alloy.loop.context import RunContext
from alloy.loop.events import MessageFinished


@attrs.define(eq=False)
class Answering:
    """A driver's `Listener` that tells the run's emitter, and sees to it that the run counts what failed tries used.

    Attributes:
        fold: of the try of the moment; None before anything has come.
    """

    run: RunContext
    request: Request
    fold: Fold | None = None

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        """See `alloy.llm.driver.Listener.deltas`."""
        self.fold = fold
        self.run.emitter.deltas(fold, deltas)

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        """See `alloy.llm.driver.Listener.retrying`."""
        self.fold = None
        if error.partial is not None:
            self.run.state.usage += usage_of(error.partial)
        self.run.emitter.retrying(error, attempt, delay)

    def retracted(self) -> None:
        """See `alloy.llm.driver.Listener.retracted`."""
        self.run.emitter.retracted()

    async def room(self) -> None:
        """See `alloy.llm.driver.Listener.room`."""
        await self.run.emitter.room()

    def keep(self) -> None:
        """The answer was cut off from outside: its text so far stands in the history."""
        run = self.run
        if self.fold is None or (partial := self.fold.partial()) is None:
            return
        message = billed(partial, run.model, self.request, at=time.time())
        run.state.usage += usage_of(message)
        if message.content:
            run.state.messages.append(message)
            run.emitter.emit(MessageFinished, message)
