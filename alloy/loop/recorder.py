"""Writing down what one run does, as `alloy.loop.records` wants it: each thing once, in order, and in time.

The records of the conversation are taken from the run's state, as far as it has grown since the last commit. So
whoever changes the history need not know of this; only the effects that must not be done twice are announced here.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import trio

from alloy.llm.content import JSON, ToolResult
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.loop.approval import Decision, Pending
from alloy.loop.ledger import Ledger, decided_record, pending_record
from alloy.loop.records import (
    Answered,
    Asked,
    AskFailed,
    BatchClosed,
    CallSettled,
    CallStarted,
    HistoryGiven,
    Record,
    RunBegun,
    RunEnded,
    Said,
    told,
)
from alloy.loop.recovery import StoredCall
from alloy.loop.result import Result
from alloy.loop.state import State
from alloy.tools import Job
from alloy.tools.results import json_text

_log = logging.getLogger("alloy.loop")

SETTLE = 10.0  # seconds for what has to be written though all else was cancelled


@attrs.define(eq=False)
class Recorder:
    """Writes down what one run does.

    All of its methods that write raise `StoreError` if that fails; nothing of what they were to write is there then.

    Attributes:
        begun: how the run began.
    """

    ledger: Ledger
    state: State
    begun: RunBegun
    _queue: list[Record] = attrs.field(factory=list, init=False)  # to be written with the next commit
    _written: int = attrs.field(default=0, init=False)  # so many of the history's messages are, or are in the queue
    _results: dict[str, ToolResult] = attrs.field(factory=dict, init=False)  # that are written, of the open calls
    _is_asked: bool = attrs.field(default=False, init=False)

    def begin(self, given: Sequence[Message]) -> None:
        """A new run; `given` are messages that were said elsewhere."""
        self._queue += [HistoryGiven(messages=tuple(given)), self.begun] if given else [self.begun]
        self._written = self.state.first

    def go_on(self, calls: Iterable[StoredCall]) -> None:
        """The run was begun before, and this is what is known of the calls of its last answer."""
        self._written = len(self.state.messages)
        self._results = {call.call.id: call.settled.result for call in calls if call.settled is not None}

    def note(self, record: Record) -> None:
        """Write this after what was said so far; at the next commit, because nobody need wait for it."""
        self._catch_up()
        self._queue.append(record)

    def decide(self, pending_id: str, decision: Decision) -> None:
        """Whoever resumes has decided. It is written before anything is done about it."""
        self._queue.append(decided_record(pending_id, decision))

    async def decided(self, pending: Pending, decision: Decision) -> None:
        """Somebody has decided."""
        await self.ledger.append(decided_record(pending.id, decision))

    async def asks(self, model: str) -> None:
        """A model is about to be asked."""
        await self._commit(Asked(run_id=self.begun.run_id, turn=self.state.turn, model=model))
        self._is_asked = True

    async def answered(self) -> None:
        """A model has given an answer without calls."""
        await self._commit()

    async def vetted(self, jobs: Sequence[Job], known: Mapping[str, ToolResult], pending: Iterable[Pending]) -> None:
        """The calls of an answer were vetted; none of them has begun.

        Args:
            jobs: the calls.
            known: of those that cannot run, though nobody forbids it: their results, by id.
            pending: what has to be decided first.
        """
        edited = {job.call.id: dict(job.edited_from) for job in jobs if job.edited_from is not None}
        self._catch_up(edited)
        results = {job.call.id: job.settled for job in jobs if job.settled is not None} | dict(known)
        await self._commit(*self._settled(results), *map(pending_record, pending))
        self._results |= results

    async def starts(self, job: Job, attempt: int) -> None:
        """A tool is about to be called."""
        assert job.tool is not None
        record = CallStarted(run_id=self.begun.run_id, call_id=job.call.id, replay=job.tool.replay, attempt=attempt)
        await self._commit(record)

    async def settles(self, job: Job, result: ToolResult, duration: float) -> None:
        """A call has its result."""
        result = result.of_call(job.call)
        if self._results.get(job.call.id) != result:
            await self._commit(self._call_settled(job.call.id, result, duration))
            self._results[job.call.id] = result

    async def ends(self, result: Result[Any]) -> None:
        """The run has its outcome. Cancelling does not keep it from being written, unless the store takes too long."""
        records: list[Record] = []
        if self._is_asked and self.ledger.broken is None:
            error = "" if result.error is None else f"{type(result.error).__name__}: {result.error}"
            failed = AskFailed(run_id=self.begun.run_id, turn=self.state.turn, error=error or str(result.status))
            records.append(failed)
        await self._shielded(*records, self._ended(result))

    async def cut(self) -> None:
        """The run is cut, and may be gone on with: only what became of calls that began is written.

        Of those whose tools may be called again, nothing is: they will be.
        """
        if (batch := self.state.batch) is None or self.ledger.broken is not None:
            return
        begun = {
            job.call.id: batch.result(place)
            for place, job in enumerate(batch.jobs)
            if batch.has_begun(place) and (batch.is_over(place) or job.tool is None or job.tool.replay == "never")
        }
        await self._shielded(*self._settled(begun), catch_up=False)

    async def _shielded(self, *records: Record, catch_up: bool = True) -> None:
        with trio.move_on_after(SETTLE, shield=True) as scope:
            await self._commit(*records, catch_up=catch_up)
        if scope.cancelled_caught:
            _log.error("the end of run %s could not be written within %g s", self.begun.run_id, SETTLE)

    async def _commit(self, *records: Record, catch_up: bool = True) -> None:
        if catch_up:
            self._catch_up()
        queue, self._queue = self._queue, []
        if queue or records:
            try:
                await self.ledger.append(*queue, *records)
            except BaseException:
                self._queue = queue + self._queue
                raise

    # From the state to records.

    def _catch_up(self, edited: Mapping[str, Mapping[str, JSON]] | None = None) -> None:
        """Queue what has been said since."""
        new = self.state.messages[self._written :]
        self._written += len(new)
        for message in new:
            self._queue += self._said(message, edited or {})

    def _said(self, message: Message, edited: Mapping[str, Mapping[str, JSON]]) -> Iterator[Record]:
        run_id = self.begun.run_id
        match message:
            case UserMessage():
                yield Said(run_id=run_id, message=message)
            case AssistantMessage():
                self._is_asked = False
                self._results = {}
                turn, model = self.state.turn, self.state.model or message.model
                yield Answered(run_id=run_id, turn=turn, message=message, model=model, edited_from=edited)
            case ToolMessage(results=results):
                yield from self._settled({result.call_id: result for result in results})
                yield BatchClosed(run_id=run_id, message_id=message.id)

    def _settled(self, results: Mapping[str, ToolResult]) -> list[Record]:
        """The results that are not written yet."""
        return [
            self._call_settled(call_id, result)
            for call_id, result in results.items()
            if self._results.get(call_id) != result
        ]

    def _call_settled(self, call_id: str, result: ToolResult, duration: float = 0.0) -> CallSettled:
        return CallSettled(run_id=self.begun.run_id, call_id=call_id, result=result, duration=duration)

    def _ended(self, result: Result[Any]) -> RunEnded:
        error = result.error
        return RunEnded(
            run_id=self.begun.run_id,
            status=str(result.status),
            request_id=self.begun.request_id,
            reason=result.reason,
            error=None if error is None else told(error),
            output={"value": json.loads(json_text(result.output))} if result.has_output else None,
            usage=result.usage,
            turns=result.turns,
            stop=result.stop,
            model=result.model,
            agent=result.agent,
            duration=result.duration,
        )
