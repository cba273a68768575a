"""What happens in a run, as it happens.

`MessageAdded` and `MessageFinished`, less what `Retracted` takes back, are the transcript.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, TypeAlias

import attrs

from alloy.errors import AlloyError
from alloy.llm.codec import VERSION, plain
from alloy.llm.content import JSON, ToolCall, ToolResult
from alloy.llm.message import AssistantMessage, ToolMessage, UserMessage
from alloy.llm.usage import Usage
from alloy.loop.approval import Answer, Approve, Decision, Deny, Edit, Pending
from alloy.loop.records import told
from alloy.loop.result import Result, ToolCallRecord


@attrs.frozen
class EventBase:
    """What all events carry.

    Attributes:
        seq: 1, 2, … without a gap within the stream of one root run.
        run_id: the run it happened in.
        agent_path: the names of the agents from the root down to this one.
        parent_call_id: the tool call that a sub-agent works for; None at the root.
        turn: from 1; 0 before the first turn.
        at: UNIX seconds.
    """

    seq: int = attrs.field(default=0, kw_only=True)
    run_id: str = attrs.field(default="", kw_only=True)
    agent_path: tuple[str, ...] = attrs.field(default=(), kw_only=True)
    parent_call_id: str | None = attrs.field(default=None, kw_only=True)
    turn: int = attrs.field(default=0, kw_only=True)
    at: float = attrs.field(default=0.0, kw_only=True)

    def to_json(self) -> dict[str, JSON]:
        """The event as plain JSON values, with `kind` and `v`. Of a result, all but the messages."""
        fields = {field.name: _plain(getattr(self, field.name)) for field in attrs.fields(type(self))}
        return {"kind": kind_of(type(self)), "v": VERSION, **fields}


def kind_of(tagged: type) -> str:
    """The tag of a class: its name in snake case."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", tagged.__name__).lower()


@attrs.frozen
class RunStarted(EventBase):
    """A run begins."""

    agent: str
    model: str
    session_id: str


@attrs.frozen
class TurnStarted(EventBase):
    """A model is asked."""

    model: str


@attrs.frozen
class MessageAdded(EventBase):
    """A prompt, or the results of a batch of tool calls, was added to the history."""

    message: UserMessage | ToolMessage


@attrs.frozen
class MessageFinished(EventBase):
    """The model's answer was added to the history: the deltas before it, put together."""

    message: AssistantMessage


@attrs.frozen
class TextDelta(EventBase):
    """More text of content item `index`."""

    index: int
    text: str


@attrs.frozen
class ThinkingDelta(EventBase):
    """More reasoning of content item `index`."""

    index: int
    text: str


@attrs.frozen
class ToolCallDelta(EventBase):
    """More of the arguments' JSON text of a tool call; the first one of a call may be empty."""

    index: int
    call_id: str
    name: str
    text: str


@attrs.frozen
class ToolStarted(EventBase):
    """A tool runs. `edited_from` has the model's own arguments where a middleware edited them."""

    call: ToolCall
    edited_from: Mapping[str, JSON] | None


@attrs.frozen
class ToolProgress(EventBase):
    """What a running tool reports."""

    call_id: str
    data: object


@attrs.frozen
class ToolFinished(EventBase):
    """A call has its result. A call that never ran has no `ToolStarted`."""

    record: ToolCallRecord
    result: ToolResult


@attrs.frozen
class Retrying(EventBase):
    """Attempt `attempt` failed with `error`; the next one comes in `delay` seconds."""

    error: AlloyError
    attempt: int
    delay: float


@attrs.frozen
class FellBack(EventBase):
    """The model `old` failed, or has just failed elsewhere, with `error`: `new` is asked, the next of the chain."""

    old: str
    new: str
    error: AlloyError


@attrs.frozen
class Retracted(EventBase):
    """The deltas of this run with `seq` from `first` to `last` are void: their answer broke off and comes anew."""

    first: int
    last: int


@attrs.frozen
class Notice(EventBase):
    """Something worth knowing that changes nothing, such as reasoning that a vendor dropped."""

    topic: str
    data: Mapping[str, JSON]


@attrs.frozen
class ApprovalRequested(EventBase):
    """A call, or a tool that asks a question, waits for a decision."""

    pending: Pending


@attrs.frozen
class ApprovalDecided(EventBase):
    """What was decided; a `Deny` also where nobody decided in time, or the run ended before."""

    pending_id: str
    decision: Decision


@attrs.frozen
class BudgetWarning(EventBase):
    """Most of a limit is used: four fifths. Told once for each limit of each budget, to the run that came so far.

    Attributes:
        limit: `"usd"`, `"tokens"`, `"tool_calls"` or `"seconds"`.
        spent: how much of it is used.
        of: the limit.
    """

    limit: str
    spent: Decimal | float
    of: Decimal | float


@attrs.frozen
class Compacted(EventBase):
    """From now on less of the history is shown to the model; the history itself is as it was.

    Attributes:
        tokens_before, tokens_after: of the request, as far as can be told.
        summary: of what is left out; empty if only old tool results are.
    """

    tokens_before: int
    tokens_after: int
    summary: str


@attrs.frozen
class TurnFinished(EventBase):
    """A turn is over. `usage` is this turn's."""

    usage: Usage


@attrs.frozen
class RunFinished(EventBase):
    """The run is over; nothing follows."""

    result: Result[Any]


@attrs.frozen
class Lagged(EventBase):
    """Only from `AgentRef.subscribe()`: here the reader has missed so many events."""

    missed: int


Event: TypeAlias = (
    RunStarted
    | TurnStarted
    | MessageAdded
    | MessageFinished
    | TextDelta
    | ThinkingDelta
    | ToolCallDelta
    | ToolStarted
    | ToolProgress
    | ToolFinished
    | Retrying
    | FellBack
    | Retracted
    | Notice
    | ApprovalRequested
    | ApprovalDecided
    | BudgetWarning
    | Compacted
    | TurnFinished
    | RunFinished
    | Lagged
)


def _plain(value: object) -> JSON:
    match value:
        case Enum():
            return value.value
        case Decimal():
            return str(value)
        case AlloyError():
            return told(value)
        case Result():
            skipped = ("messages", "new_messages")
            return {f.name: _plain(getattr(value, f.name)) for f in attrs.fields(Result) if f.name not in skipped}
        case ToolCallRecord() | Pending():
            return {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
        case Approve() | Edit() | Deny() | Answer():
            fields = {field.name: _plain(getattr(value, field.name)) for field in attrs.fields(type(value))}
            return {"kind": kind_of(type(value)), **fields}
        case tuple():
            return [_plain(item) for item in value]
        case _:
            return plain(value)
