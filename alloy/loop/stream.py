"""A run that is watched while it goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Generator
from typing import Any, Generic, Protocol

import attrs
import trio

from alloy.errors import AlloyError
from alloy.loop.events import Event, TextDelta
from alloy.loop.result import Out, Result
from alloy.loop.run import Run

BUFFER = 1024  # events; beyond it the run waits for whoever iterates


@attrs.define(eq=False)
class Outbox:
    """Events on their way to one reader: put at once, taken in batches.

    The run never waits for the reader while it hands on what one read brought; it waits between reads, when
    more than `BUFFER` events lie here. So a burst costs one wake-up, not one for each event.
    """

    events: deque[Event] = attrs.field(factory=deque)
    closed: bool = False
    _reader: trio.Event = attrs.field(factory=trio.Event)
    _writer: trio.Event = attrs.field(factory=trio.Event)

    def put(self, event: Event) -> None:
        self.events.append(event)
        self._reader.set()

    async def room(self) -> None:
        while len(self.events) > BUFFER and not self.closed:
            self._writer = trio.Event()
            await self._writer.wait()

    async def take(self) -> deque[Event]:
        """All there is; waits for the first one. Empty only once the box is closed."""
        while not self.events and not self.closed:
            self._reader = trio.Event()
            await self._reader.wait()
        taken, self.events = self.events, deque()
        self._writer.set()
        await trio.lowlevel.checkpoint()
        return taken

    def close(self) -> None:
        """Nothing more will be put, and nobody need wait for room."""
        self.closed = True
        self._reader.set()
        self._writer.set()


class Course(Protocol):
    """What a stream shows: a run of its own, or one that an agent does elsewhere."""

    async def execute(self) -> Result[Any]:
        """Go on to the end."""
        ...

    def cancel(self, reason: str) -> None:
        """End it now."""
        ...

    def snapshot(self) -> Result[Any]:
        """What the result would be if it were cancelled now."""
        ...

    def partial(self) -> object:
        """What there is of the answer that comes."""
        ...


@attrs.define(eq=False)
class OwnCourse:
    """A run that the stream itself does."""

    run: Run
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)

    async def execute(self) -> Result[Any]:
        return await self.run.execute(self.scope)

    def cancel(self, reason: str) -> None:
        self.scope.cancel(reason=reason)

    def snapshot(self) -> Result[Any]:
        return self.run.snapshot()

    def partial(self) -> object:
        return self.run.partial()


class Stream(Generic[Out]):
    """A run under way: iterate for its events, then ask for its result. Made by `alloy.stream`.

    Iterating ends after `RunFinished` and never raises the run's own error; `text()` and `result()` do.
    One reader: what one iteration has taken, another does not see. A reader that falls far behind makes the
    run wait, never miss events; a run that nobody reads waits too, until `result()` or the end of the block.
    """

    def __init__(self, course: Course, outbox: Outbox) -> None:
        self._course = course
        self._outbox = outbox
        self._batch: deque[Event] = deque()
        self._done = trio.Event()
        self._result: Result[Out] | None = None
        self._error: AlloyError | None = None

    async def drive(self) -> None:
        """Run to the end; the task of `alloy.stream` does this."""
        try:
            self._result = await self._course.execute()
            self._error = self._result.error
        except AlloyError as error:
            self._error = error
        finally:
            self._outbox.close()
            self._done.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if not self._batch:
            self._batch = await self._outbox.take()
            if not self._batch:
                raise StopAsyncIteration
        return self._batch.popleft()

    def text(self) -> TextOf:
        """The answer's text: `async for piece in stream.text()` as it comes, or `await stream.text()` whole.

        Raises:
            AlloyError: the run ended in an error, once the text is over.
        """
        return TextOf(self)

    async def result(self) -> Result[Out]:
        """Wait for the end of the run. Events that nobody has read are passed over.

        Raises:
            AlloyError: the run ended in an error; `.result` on it has the state reached.
        """
        while not self._done.is_set():
            self._batch.clear()
            await self._outbox.take()
        await self._done.wait()
        if self._error is not None:
            raise self._error
        assert self._result is not None
        return self._result

    def cancel(self) -> None:
        """End the run with status `cancelled`; `result()` has what was reached."""
        self._course.cancel("Stream.cancel()")

    def close(self) -> None:
        """End the run because nobody is there any more."""
        if not self._done.is_set():
            self._outbox.close()
            self._course.cancel("the block of the stream was left")

    def snapshot(self) -> Result[Out]:
        """What the run has reached by now: its result once it has one, else as if it were cancelled here."""
        return self._result if self._result is not None else self._course.snapshot()

    def partial(self) -> object:
        """What there is of the answer that comes, to be shown before it is whole.

        The text so far; where the run has an output, that in the making: plain JSON values that nobody has checked,
        whose last string or number may be cut. None while there is nothing of it. Once the run is done, what it
        came to.
        """
        if self._result is None:
            return self._course.partial()
        return self._result.output if self._result.has_output else self._result.text


@attrs.frozen
class TextOf:
    """The text of a stream; see `Stream.text`."""

    _stream: Stream[Any]

    async def __aiter__(self) -> AsyncIterator[str]:
        async for event in self._stream:
            if isinstance(event, TextDelta):
                yield event.text
        await self._stream.result()

    def __await__(self) -> Generator[Any, Any, str]:
        return self._whole().__await__()

    async def _whole(self) -> str:
        return (await self._stream.result()).text
