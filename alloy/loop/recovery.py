"""What a session's entries come to: the conversation, the run under way, and what waits. Pure.

Two folds, because two things are remembered. The conversation and its runs are those of the current branch.
What was accepted, what it cost and how the session is described hold whatever the branch.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from alloy.llm.content import JSON, Outcome, ToolCall, ToolResult
from alloy.llm.history import sendable, synthetic_result
from alloy.llm.message import AssistantMessage, Message, ToolMessage
from alloy.llm.usage import Usage
from alloy.loop.journal import Entry, branch
from alloy.loop.keeping import Keeping, usage_of
from alloy.loop.records import (
    Accepted,
    Answered,
    Asked,
    AskFailed,
    BatchClosed,
    CallPending,
    CallSettled,
    CallStarted,
    CompactionDone,
    Decided,
    Forked,
    HandedOver,
    HistoryGiven,
    ModelChanged,
    Record,
    RunBegun,
    RunEnded,
    Said,
)
from alloy.loop.session import Session


@attrs.frozen(kw_only=True)
class StoredCall:
    """What is known of one tool call.

    Attributes:
        call: as the history shows it: edited, if it was.
        turn: of the answer that asks for it.
        edited_from: the arguments that the model asked for, where others took their place.
        started: the last time that it was announced; None if it never was.
        settled: None while it has no result.
        pending: the last decision that was asked for; None for none.
        decided: what came of that.
    """

    call: ToolCall
    turn: int
    edited_from: Mapping[str, JSON] | None = None
    started: CallStarted | None = None
    settled: CallSettled | None = None
    pending: CallPending | None = None
    decided: Decided | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether nobody can say if it ran: it was announced, and never settled."""
        return self.started is not None and self.settled is None

    @property
    def waits(self) -> bool:
        """Whether somebody has to decide before it may start."""
        return self.pending is not None and self.decided is None and self.settled is None and self.started is None

    def result(self) -> ToolResult:
        """Its result; if it has none, one that says what is known."""
        if self.settled is not None:
            return self.settled.result
        return synthetic_result(self.call, Outcome.INTERRUPTED if self.is_unknown else Outcome.NOT_STARTED)


@attrs.frozen(kw_only=True)
class StoredRun:
    """What is known of one run.

    Attributes:
        begun: how it began.
        agent, agent_path: who it is now, after any hand-over.
        handed_to: the agents that it was handed over to, in order.
        turn: of its last answer; 0 before the first.
        answers: how many there were.
        first: where in the transcript its messages begin; 0 for a run that works for another.
        messages: its own, in which the calls of the last answer may be open.
        calls: of the last answer, in order, while they are open; else empty.
        former_calls: of the answers before, in order.
        asked: a model was asked and has not answered.
        compaction: the last one, of a run that works for another; that of a root run is the session's.
        usage: its own, so far; once ended, with that of the runs inside it.
        ended: None while it is under way.
        is_abandoned: it was not ended, and never will be: another root run began, or this is a copy.
    """

    begun: RunBegun
    agent: str
    agent_path: tuple[str, ...]
    handed_to: tuple[str, ...] = ()
    turn: int = 0
    answers: int = 0
    first: int = 0
    messages: tuple[Message, ...] = attrs.field(default=(), repr=False)
    calls: tuple[StoredCall, ...] = ()
    former_calls: tuple[StoredCall, ...] = ()
    asked: Asked | None = None
    compaction: CompactionDone | None = None
    model: str = ""
    usage: Usage = attrs.field(factory=Usage)
    ended: RunEnded | None = None
    is_abandoned: bool = False

    @property
    def is_under_way(self) -> bool:
        """Whether it can be gone on with."""
        return self.ended is None and not self.is_abandoned


@attrs.frozen(kw_only=True)
class Recovered:
    """What a session's entries come to.

    Attributes:
        transcript: the conversation; the calls of the last answer may be open.
        messages: the same, sendable: open calls have a result that says what is known.
        run: the root run under way; None for none.
        runs: those of the branch, by id.
        compaction: the last one of the conversation.
        model: that the session was changed to, `"vendor:model"`; empty if never.
        queue: requests that wait, in order.
        inputs: what was said to a run and is not yet part of it, in order.
        requests: those that have their outcome, by id, in the order of their ends.
        usage: of all runs.
        spent: the same, but for the root run under way and those that work for it.
        labels: entry ids by label.
        updated_at: UNIX seconds of the last entry; None if there are none.
    """

    transcript: tuple[Message, ...] = attrs.field(default=(), repr=False)
    messages: tuple[Message, ...] = attrs.field(default=(), repr=False)
    run: StoredRun | None = None
    runs: Mapping[str, StoredRun] = attrs.field(factory=dict)
    compaction: CompactionDone | None = None
    model: str = ""
    queue: tuple[Accepted, ...] = ()
    inputs: tuple[Accepted, ...] = ()
    requests: Mapping[str, RunEnded] = attrs.field(factory=dict)
    usage: Usage = attrs.field(factory=Usage)
    spent: Usage = attrs.field(factory=Usage)
    metadata: Mapping[str, JSON] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    updated_at: float | None = None

    @property
    def pending(self) -> tuple[CallPending, ...]:
        """What has to be decided before the run can go on, of all agents that work in it."""
        return () if self.run is None else tuple(self._pending_in(self.run))

    def _pending_in(self, run: StoredRun) -> Iterator[CallPending]:
        for call in run.calls:
            if call.waits and call.pending is not None:
                yield call.pending
            if call.settled is None:  # else nobody waits any more for who worked for it
                for child in self.children(run.begun.run_id, call.call.id):
                    if child.is_under_way:
                        yield from self._pending_in(child)

    def children(self, run_id: str, call_id: str) -> tuple[StoredRun, ...]:
        """The runs that work, or worked, for a call, in order."""
        found = [
            run
            for run in self.runs.values()
            if (run.begun.parent_run_id, run.begun.parent_call_id) == (run_id, call_id)
        ]
        return tuple(sorted(found, key=lambda run: run.begun.n))

    def session(self, session_id: str, created_at: float) -> Session:
        """The conversation as a value."""
        updated_at = self.updated_at if self.updated_at is not None else created_at
        return Session(session_id, self.messages, self.usage, self.metadata, created_at, updated_at)


def fold(entries: Sequence[Entry]) -> Recovered:
    """What the entries of a session come to, in the order in which they were committed.

    Any beginning of a session's entries comes to something whole: it is what a process that died
    there leaves behind.
    """
    conversation = _Conversation()
    for made in branch(entries):
        conversation.take(made.record)
    keeping = Keeping()
    for made in entries:
        keeping.take(made.record)
    root = conversation.root
    return Recovered(
        transcript=tuple(conversation.messages),
        messages=sendable(conversation.whole()),
        run=root.stored() if root is not None else None,
        runs={run_id: run.stored() for run_id, run in conversation.runs.items()},
        compaction=conversation.compaction,
        model=conversation.model,
        queue=tuple(keeping.queue.values()),
        inputs=tuple(keeping.inputs.values()),
        requests=keeping.requests,
        usage=sum(keeping.usage.values(), keeping.spent),
        spent=keeping.spent_but_for(root.begun.run_id if root is not None else ""),
        metadata=keeping.metadata,
        labels=keeping.labels,
        updated_at=entries[-1].at if entries else None,
    )


@attrs.define(eq=False, kw_only=True)
class _Run:
    """A run while its entries are read. `history` is shared with the session if it is a root run."""

    begun: RunBegun
    history: list[Message]
    first: int
    agent: str
    agent_path: tuple[str, ...]
    handed_to: tuple[str, ...] = ()
    turn: int = 0
    answers: int = 0
    last: int | None = None  # where in the history its own messages end, once it is over
    answer: int = -1  # where in the history its last answer is
    calls: dict[str, StoredCall] = attrs.field(factory=dict)
    former_calls: list[StoredCall] = attrs.field(factory=list)
    asked: Asked | None = None
    compaction: CompactionDone | None = None
    model: str = ""
    usage: Usage = attrs.field(factory=Usage)
    ended: RunEnded | None = None
    is_abandoned: bool = False

    @property
    def is_root(self) -> bool:
        return not self.begun.parent_call_id

    def change(self, call_id: str, **changes: Any) -> None:
        if (call := self.calls.get(call_id)) is not None:
            self.calls[call_id] = attrs.evolve(call, **changes)

    def take_answer(self, record: Answered) -> None:
        self.close()
        self.answer = len(self.history)
        self.history.append(record.message)
        self.turn, self.model, self.asked = record.turn, record.model or self.model, None
        self.answers += 1
        self.usage += usage_of(record.message)
        self.calls = {
            call.id: StoredCall(call=call, turn=record.turn, edited_from=record.edited_from.get(call.id))
            for call in record.message.tool_calls
        }

    def decide(self, call_id: str, decided: Decided) -> None:
        call = self.calls.get(call_id)
        if call is None or call.decided is not None:
            return
        self.change(call_id, decided=decided)
        if decided.verdict == "edit" and decided.arguments is not None:
            edited = attrs.evolve(call.call, arguments=decided.arguments, arguments_text="", parse_error=None)
            original = call.edited_from if call.edited_from is not None else call.call.arguments
            self.change(call_id, call=edited, edited_from=original)
            answer = self.history[self.answer]
            assert isinstance(answer, AssistantMessage)
            content = [edited if item is call.call else item for item in answer.content]
            self.history[self.answer] = attrs.evolve(answer, content=content)

    def results(self, message_id: str = "") -> ToolMessage:
        """The results of the open calls. Its id is always the same, also where none was stored."""
        answer = self.history[self.answer]
        return ToolMessage([call.result() for call in self.calls.values()], id=message_id or f"{answer.id}_results")

    def close(self, message_id: str = "") -> None:
        """Give the open calls their results."""
        if self.calls:
            self.history.append(self.results(message_id))
            self.former_calls += self.calls.values()
            self.calls = {}

    def end(self) -> None:
        self.close()
        self.last = len(self.history)

    def stored(self) -> StoredRun:
        return StoredRun(
            begun=self.begun,
            agent=self.agent,
            agent_path=self.agent_path,
            handed_to=self.handed_to,
            turn=self.turn,
            answers=self.answers,
            first=self.first,
            messages=tuple(self.history[self.first : self.last]),
            calls=tuple(self.calls.values()),
            former_calls=tuple(self.former_calls),
            asked=self.asked,
            compaction=self.compaction,
            model=self.model,
            usage=self.usage,
            ended=self.ended,
            is_abandoned=self.is_abandoned,
        )


@attrs.define(eq=False)
class _Conversation:
    """The fold of a branch."""

    messages: list[Message] = attrs.field(factory=list)
    runs: dict[str, _Run] = attrs.field(factory=dict)
    under_way: dict[str, _Run] = attrs.field(factory=dict)  # of those
    root: _Run | None = None
    pending: dict[str, CallPending] = attrs.field(factory=dict)
    compaction: CompactionDone | None = None
    model: str = ""

    def whole(self) -> Iterable[Message]:
        yield from self.messages
        if self.root is not None and self.root.calls:
            yield self.root.results()

    def take(self, record: Record) -> None:
        match record:
            case HistoryGiven(messages=messages):
                self._abandon_all()
                self.messages += messages
            case RunBegun():
                self._begin(record)
            case ModelChanged(model=model):
                self.model = model
            case Forked():
                self._abandon_all()
            case Decided(pending_id=pending_id):
                if (asked := self.pending.get(pending_id)) is not None and asked.run_id in self.under_way:
                    self.under_way[asked.run_id].decide(asked.call_id, record)
            case CompactionDone(run_id=run_id) if run_id not in self.runs or self.runs[run_id].is_root:
                self.compaction = record
            case _:
                run = self.under_way.get(getattr(record, "run_id", ""))
                if run is not None:
                    self._take_of_run(run, record)

    def _begin(self, record: RunBegun) -> None:
        is_root = not record.parent_call_id
        if is_root:
            self._abandon_all()
        history = self.messages if is_root else []
        run = _Run(begun=record, history=history, first=len(history), agent=record.agent, agent_path=record.agent_path)
        self.runs[record.run_id] = self.under_way[record.run_id] = run
        if is_root:
            self.root = run

    def _abandon_all(self) -> None:
        for run in self.under_way.values():
            run.end()
            run.is_abandoned = True
        self.under_way.clear()
        self.root = None

    def _take_of_run(self, run: _Run, record: Record) -> None:
        match record:
            case Said(message=message):
                run.close()
                run.history.append(message)
            case Asked():
                run.asked = record
            case AskFailed(usage=usage):
                run.asked = None
                run.usage += usage
            case Answered():
                run.take_answer(record)
            case CallStarted(call_id=call_id):
                run.change(call_id, started=record)
            case CallSettled(call_id=call_id):
                # What was settled before it could start may be settled anew: a hook has another result for it.
                if call_id in run.calls and (run.calls[call_id].settled is None or run.calls[call_id].started is None):
                    run.change(call_id, settled=record)
            case CallPending(call_id=call_id):
                self.pending[record.pending_id] = record
                run.change(call_id, pending=record, decided=None)
            case BatchClosed(message_id=message_id):
                run.close(message_id)
            case HandedOver(agent=agent, agent_path=agent_path):
                run.agent, run.agent_path = agent, agent_path or run.agent_path
                run.handed_to += (agent,)
            case CompactionDone():
                run.compaction = record
            case RunEnded():
                run.end()
                run.ended, run.usage, run.asked = record, record.usage, None
                self.under_way.pop(record.run_id, None)
                if run is self.root:
                    self.root = None
