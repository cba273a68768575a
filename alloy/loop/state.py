"""What a run knows of itself: the state it works on, and the view of it that hooks and tools get."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import trio

from alloy.errors import AlloyError
from alloy.llm.budget import Budget
from alloy.llm.content import ToolCall
from alloy.llm.history import Whole, with_unique_ids
from alloy.llm.message import AssistantMessage, Message, StopInfo, ToolMessage
from alloy.llm.spending import usage_of
from alloy.llm.transcript import Transcript, as_messages, growing
from alloy.llm.usage import Usage
from alloy.loop.approval import Pending
from alloy.loop.compaction import View, show, view_of
from alloy.loop.output import Given
from alloy.loop.result import Result, Status, ToolCallRecord
from alloy.loop.session import Session
from alloy.loop.tokens import Measure, Sizes, measure
from alloy.tools import Batch, Job, Tool

if TYPE_CHECKING:
    from alloy.loop.agent import Agent


@attrs.frozen(kw_only=True)
class RunInfo:
    """A run as its hooks see it, at one moment.

    Attributes:
        agent_path: the names of the agents from the root down to this one.
        turn: from 1; 0 before the first turn.
        messages: the history so far.
        usage: of this run so far.
        budget: what it and others may still spend; None without one.
        deps: what the caller gave `run(deps=…)`.
        tools: those that the model was offered last; empty before the first turn.
    """

    run_id: str
    session_id: str
    agent: Agent[Any]
    agent_path: tuple[str, ...]
    turn: int
    messages: tuple[Message, ...]
    usage: Usage
    deps: object
    tools: tuple[Tool, ...] = ()
    budget: Budget | None = None


@attrs.frozen(kw_only=True)
class End:
    """How a run ends."""

    status: Status
    reason: str = ""
    error: AlloyError | None = None
    output: Given | None = None
    pending: tuple[Pending, ...] = ()


@attrs.frozen
class Paused:
    """A run cannot go on before somebody has decided on these, and does not wait for it."""

    pending: tuple[Pending, ...]


@attrs.define(eq=False, kw_only=True)
class State:
    """A run in progress. The history only ever grows, but for the answer whose calls are being vetted.

    Attributes:
        first: how many messages were there before the run.
        tools: those that the model was offered last.
        budget: what it draws from; None for no bounds.
        turn: the number of the current turn; 0 before the first.
        answers: how many answers have come in full.
        call_ids: of all calls in the history.
        kept: what is worked out of the history and goes on with it, see `Transcript`.
        view: how the first part of the history is shown to a model; None if all is shown as it is.
        windows: tokens of the window of a model, by its name, as far as its vendor has said in this run.
        head: what stood before the messages when that was measured last, and how much it was.
        records: of the calls of former batches, in the order of the calls.
        batch: the tool calls under way; None while there are none.
        batch_records: of those of them that have ended, by their place.
        calls_started: how many tool calls have begun to run.
    """

    agent: Agent[Any]
    run_id: str
    session_id: str
    agent_path: tuple[str, ...]
    deps: object
    messages: list[Message]
    first: int
    budget: Budget | None = None
    started_at: float = attrs.field(factory=trio.current_time)
    tools: tuple[Tool, ...] = ()
    turn: int = 0
    answers: int = 0
    usage: Usage = attrs.field(factory=Usage)
    stop: StopInfo | None = None
    model: str = ""
    records: list[ToolCallRecord] = attrs.field(factory=list)
    call_ids: set[str] = attrs.field(factory=set)
    kept: dict[Hashable, Any] = attrs.field(factory=dict, repr=False)
    view: View | None = None
    windows: dict[str, int] = attrs.field(factory=dict)
    head: tuple[tuple[object, ...], int] | None = attrs.field(default=None, repr=False)
    batch: Batch | None = None
    batch_records: dict[int, ToolCallRecord] = attrs.field(factory=dict)
    calls_started: int = 0
    _shown: tuple[View, Sequence[Message], int] | None = attrs.field(default=None, init=False, repr=False)

    @classmethod
    def begin(cls, agent: Agent[Any], history: Iterable[Message], **fields: Any) -> State:
        """A state with a history that is whole: what a former run left open is closed."""
        given = as_messages(history)
        kept = given.take() if isinstance(given, Transcript) else {}
        whole = growing(kept, Whole).of(given)
        messages = list(whole.closed())
        ids, view = set(whole.call_ids), view_of(given)
        return cls(agent=agent, messages=messages, first=len(messages), call_ids=ids, kept=kept, view=view, **fields)

    def info(self) -> RunInfo:
        """The view for hooks and tools."""
        return RunInfo(
            run_id=self.run_id,
            session_id=self.session_id,
            agent=self.agent,
            agent_path=self.agent_path,
            turn=self.turn,
            messages=tuple(self.messages),
            usage=self.usage,
            deps=self.deps,
            tools=self.tools,
            budget=self.budget,
        )

    def session(self) -> Session:
        """The conversation as it stands."""
        return Session(self.session_id, self.sendable(), self.usage)

    def sendable(self) -> Transcript:
        """The history, whole: calls under way have the result that they would have if the run ended now."""
        last: list[Message] = []
        settled: Sequence[Message] = self.messages
        if settled and isinstance(settled[-1], AssistantMessage):  # which may still be edited while it is vetted
            settled, last = settled[:-1], [settled[-1]]
        if self.batch is not None:
            last.append(ToolMessage(self.batch.results()))
        whole = growing(self.kept, Whole).of(settled).closed(*last)
        return Transcript(whole, self.kept, self.view)

    def shown(self) -> Transcript:
        """The history as a model is shown it: whole, and what the view leaves out left out."""
        whole = self.sendable()
        if (view := self.view) is None:
            return whole
        if self._shown is None or self._shown[0] is not view:
            if (made := show(view, whole)) is None:  # it was the view of another history
                self.view = None
                return self.sendable()
            self._shown = (view, *made)
        _, first, end = self._shown
        return Transcript([*first, *whole[end:]], self.kept, view)

    def measured(self, head: int, shown: Sequence[Message]) -> Measure:
        """How much a request takes that shows the history like this.

        Args:
            head: tokens of what stands before the messages, as guessed.
            shown: what `shown` has made, perhaps with other messages in the place of some.
        """
        sizes = growing(self.kept, Sizes).of(shown)
        if (view := self.view) is None or self._shown is None:
            return measure(sizes, head)
        return measure(sizes, head, since=len(self._shown[1]), ratio=view.ratio)

    def take(self, message: AssistantMessage, model: str) -> AssistantMessage:
        """A model has answered; returns the answer as it stands in the history."""
        message = with_unique_ids(message, self.call_ids)
        self.messages.append(message)
        self.usage += usage_of(message)
        self.answers += 1
        self.stop = message.stop
        self.model = model
        return message

    def replace_call(self, old: ToolCall, new: ToolCall) -> None:
        """The history shows `new` where the last answer asks for `old`."""
        answer = self.messages[-1]
        assert isinstance(answer, AssistantMessage)
        content = tuple(new if item is old else item for item in answer.content)
        self.messages[-1] = attrs.evolve(answer, content=content)

    def close_calls(self) -> ToolMessage | None:
        """Add the results of the last answer's calls, as far as they are known; None if no call is open."""
        last = self.messages[-1] if self.messages else None
        if not isinstance(last, AssistantMessage) or not last.tool_calls:
            return None
        batch = self.batch or Batch([Job(call=call, tool=None) for call in last.tool_calls])
        results = ToolMessage(batch.results())
        self.messages.append(results)
        self.records, self.batch, self.batch_records = self.all_records(), None, {}
        return results

    def record(self, job: Job, record: ToolCallRecord) -> None:
        """A call of the batch has ended."""
        assert self.batch is not None
        self.batch_records[self.batch.place(job)] = record

    def all_records(self) -> list[ToolCallRecord]:
        """The records so far, in the order of the calls."""
        return [*self.records, *(self.batch_records[place] for place in sorted(self.batch_records))]

    def counts(self, job: Job) -> bool:
        """Whether limits on tool calls are for this one: not if it gives the output, which may come as text as well."""
        goal = self.agent.goal
        return goal is None or goal.tool is None or job.tool is not goal.tool

    def calls_left(self) -> int | None:
        """How many more tool calls may run; None for no limit."""
        limit = self.agent.limits.max_tool_calls
        return None if limit is None else max(0, limit - self.calls_started)

    def result(self, end: End) -> Result[Any]:
        """The result if the run ends like this now."""
        messages = self.sendable()
        new = messages[self.first :]
        answers = [message for message in new if isinstance(message, AssistantMessage)]
        return Result(
            status=end.status,
            text=next((answer.text for answer in reversed(answers) if answer.text), ""),
            output=end.output.value if end.output is not None else None,
            has_output=end.output is not None,
            messages=messages,
            new_messages=new,
            usage=self.usage,
            turns=self.answers,
            stop=self.stop,
            reason=end.reason,
            tool_calls=tuple(self.all_records()),
            pending=end.pending,
            error=end.error,
            model=self.model,
            agent=self.agent.name,
            run_id=self.run_id,
            session_id=self.session_id,
            duration=trio.current_time() - self.started_at,
        )
