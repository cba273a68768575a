"""What outlives an agent's server: the conversation, what waits for it, and what came of what was asked.

It belongs to the child spec, which hands it to every incarnation. Only the server of the moment changes
the conversation; whoever asked may withdraw, at once, what is theirs.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents.backlog import Backlog
from alloy.agents.entry import Entry
from alloy.llm.history import sendable
from alloy.llm.message import Message, UserMessage
from alloy.llm.usage import Usage
from alloy.loop.agent import Agent
from alloy.loop.approval import Desk
from alloy.loop.emitter import Tape
from alloy.loop.errors import UnknownRequest
from alloy.loop.ledger import Ledger
from alloy.loop.records import Record
from alloy.loop.result import Result, Status
from alloy.loop.run import Run
from alloy.loop.session import Session
from alloy.otp.reasons import how


@attrs.define(eq=False, kw_only=True)
class SessionState:
    """An agent through all its incarnations.

    Attributes:
        agent: as it is now; `set_model` changes it.
        model_set: the names of the models that `set_model` has set; empty if it never has.
        queue: accepted requests that wait, in order.
        current: the request that is worked on.
        run: its run, once that has begun.
        steering, follow_ups: what was said to the run and is not yet part of it.
        entries: requests by id: those that are not done, and the last that are.
        ref: the incarnation of the moment, dead or alive.
        supervisor: who would bring the next one.
        over: why there will be no next one; None while there may be.
        returns: somebody is bringing it back, under another supervisor perhaps.
        changed: a new incarnation lives, or it is over.
        waiting: how many tasks wait for that, or for a request.
        heir: with whose end, while somebody waits, it is over.
        waits_for: the agents that the current run waits for, and how often.
        desk: what the current run, and those that work for it, need decided.
        answered: ids of all requests that have their outcome, with a ledger; also those whose results are not kept.
        ledger: where all this is written down, while a server is up that does.
        notes: what is still to be written there, and the event that tells of it.
        runs_end_by: by Trio's clock; set when the block that the agent lives in is left.
    """

    agent: Agent[Any]
    id: str
    keep_results: int
    restart: otp.Restart
    model_set: str = ""
    messages: tuple[Message, ...] = ()
    usage: Usage = attrs.field(factory=Usage)
    created_at: float = attrs.field(factory=time.time)
    updated_at: float = attrs.field(factory=time.time)
    queue: list[Entry] = attrs.field(factory=list)
    current: Entry | None = None
    run: Run | None = None
    steering: list[UserMessage] = attrs.field(factory=list)
    follow_ups: list[UserMessage] = attrs.field(factory=list)
    entries: dict[str, Entry] = attrs.field(factory=dict)
    finished: list[str] = attrs.field(factory=list)
    tape: Tape = attrs.field(factory=Tape)
    backlog: Backlog = attrs.field(factory=Backlog)
    ref: otp.Ref | None = None
    supervisor: otp.Ref | None = None
    over: otp.ExitReason | None = None
    returns: bool = False
    waiting: int = 0
    heir: otp.Ref | None = None
    changed: trio.Event = attrs.field(factory=trio.Event)
    incarnations: int = 0
    last_error: str | None = None
    waits_for: dict[SessionState, int] = attrs.field(factory=dict)
    desk: Desk = attrs.field(factory=Desk)
    answered: set[str] = attrs.field(factory=set)
    ledger: Ledger | None = None
    notes: list[Record] = attrs.field(factory=list)
    noted: trio.Event = attrs.field(factory=trio.Event)
    runs_end_by: float = math.inf

    # The inbox of the run under way.

    def take(self) -> Sequence[UserMessage]:
        """See `alloy.loop.means.Inbox.take`."""
        taken = tuple(self.steering)
        self.steering.clear()
        return taken

    def take_next(self) -> Sequence[UserMessage]:
        """See `alloy.loop.means.Inbox.take_next`."""
        return (self.follow_ups.pop(0),) if self.follow_ups else ()

    # The conversation.

    def history(self) -> tuple[Message, ...]:
        """All of it, what the run under way has reached included; always sendable."""
        return self.run.snapshot().messages if self.run is not None else self.messages

    def used(self) -> Usage:
        """Of all runs, the one under way included."""
        return self.usage + self.run.state.usage if self.run is not None else self.usage

    def session(self) -> Session:
        """The conversation as a value."""
        return Session(self.id, self.history(), self.used(), {}, self.created_at, self.updated_at)

    def absorb(self, result: Result[Any]) -> None:
        """A run has ended like this: its messages and usage are the session's."""
        self.messages = sendable(result.messages)
        self.usage += result.usage
        self.updated_at = time.time()
        self.run = None

    # What is said of single calls of the run under way.

    def cancel_tool(self, call_id: str) -> bool:
        """Stop a call of the run under way, or of one inside it, also one that waits for its approval.

        Returns False if there is none.
        """
        runs = [run.state for run in self.run.tree()] if self.run is not None else []
        return any(
            (run.batch is not None and run.batch.cancel(call_id)) or self.desk.withdraw(run.run_id, call_id)
            for run in runs
        )

    async def decide(self, pending_id: str, decision: object) -> None:
        """Somebody has decided on a pending.

        Raises:
            UnknownRequest: there is none of this id, or it is decided, expired or withdrawn already.
            TypeError, ValueError: see `Slot.decide`.
        """
        if (slot := self.desk.slots.get(pending_id)) is None:
            there = ", ".join(map(repr, self.desk.slots)) or "none"
            raise UnknownRequest(f"no decision {pending_id!r} is pending; there are: {there}", request_id=pending_id)
        await slot.decide(decision)

    # Requests.

    def accept(self, entry: Entry) -> None:
        """Put a request behind the others."""
        self.entries[entry.id] = entry
        self.queue.append(entry)

    def find(self, request_id: str) -> Entry:
        """A request by its id.

        Raises:
            UnknownRequest: there is none.
        """
        if (entry := self.entries.get(request_id)) is None:
            raise UnknownRequest(
                f"no request {request_id!r} is known; the last {self.keep_results} results are kept",
                request_id=request_id,
            )
        return entry

    def settle(self, entry: Entry) -> None:
        """A request is done; of those that are, only so many are remembered."""
        entry.asked_in = None  # it may hold much, and the entry is kept
        if self.ledger is not None:
            self.answered.add(entry.id)
        self.finished.append(entry.id)
        while len(self.finished) > self.keep_results:
            self.entries.pop(self.finished.pop(0), None)

    def withdraw(self, entry: Entry) -> None:
        """Whoever asked is not interested any more: take the request out, or stop its run."""
        entry.is_withdrawn = True
        if entry in self.queue:
            self.take_out(entry, Status.CANCELLED)
        elif entry.scope is not None:
            entry.scope.cancel(reason="the request was withdrawn")

    def take_out(self, entry: Entry, status: Status) -> None:
        """A request that waits will never run; this is how it ends."""
        self.queue.remove(entry)
        if self.ledger is not None and (entry.prompt is not None or entry.stored is not None):
            self.notes.append(entry.ended(self.ledger.was, status))
            self.noted.set()
        messages, agent = self.history(), self.agent.name
        entry.finish(Result(status=status, messages=messages, agent=agent, session_id=self.id, request_id=entry.id))
        self.settle(entry)

    # Its server, through the incarnations.

    def whereis(self) -> otp.Ref | None:
        """The incarnation that lives now; None between two."""
        return self.ref if self.ref is not None and self.ref.alive else None

    def up(self, ref: otp.Ref, supervisor: otp.Ref | None) -> None:
        """A new incarnation lives."""
        if self.ref is not None and isinstance(self.ref.reason, otp.Crash | otp.Killed):
            self.last_error = f"the server {how(self.ref.reason)}"
        self._attend_no_more()
        self.ref = ref
        self.supervisor = supervisor
        if self.waiting:
            self._attend()
        self.over = None
        self.incarnations += 1
        self._change()

    def close(self, reason: otp.ExitReason) -> None:
        """There will be no next incarnation: whoever waits is told."""
        self.over = reason
        for entry in tuple(self.queue):
            entry.fail(otp.ServerExited(self.ref or self, reason))
            self.settle(entry)
        self.queue.clear()
        self._change()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    async def wait_next(self) -> None:
        """Wait until a server is alive.

        Raises:
            ServerExited: none will be.
        """
        with self._attended():
            while self.ref is None or not self.ref.alive:
                if self.over is not None:
                    raise otp.ServerExited(self.ref or self, self.over)
                await self.changed.wait()

    async def wait_done(self, entry: Entry) -> None:
        """Wait until a request has its outcome, if only that nobody is left to give it one.

        One whose seconds are over while it waits for its turn ends there.
        """
        with self._attended():
            if entry.ends_by != math.inf and entry in self.queue:
                with trio.move_on_at(entry.ends_by):
                    await entry.done.wait()
                if entry in self.queue:
                    self.take_out(entry, Status.DEADLINE)
            await entry.done.wait()

    @contextmanager
    def _attended(self) -> Iterator[None]:
        """While somebody waits, learn of the end of whoever could bring the next incarnation."""
        self.waiting += 1
        if self.waiting == 1:
            self._attend()
        try:
            yield
        finally:
            self.waiting -= 1
            if self.waiting == 0:
                self._attend_no_more()

    def _attend(self) -> None:
        self.heir = self.ref if self.restart is otp.Restart.TEMPORARY else self.supervisor
        if self.heir is None:
            return
        if self.heir.process is not None:
            self.heir.process.notify(self)
        else:
            self.wake()

    def _attend_no_more(self) -> None:
        if self.heir is not None and self.heir.process is not None:
            self.heir.process.ignore(self)

    def wake(self) -> None:
        """Whoever could bring the next incarnation has ended. Called by that process."""
        if not self.returns and self.heir is not None:
            self.close(self.heir.reason or otp.NoProcess())
