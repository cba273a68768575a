"""What a session remembers, as records: each is one thing that happened. Pure.

A run is written down as it goes, around each of its effects: what will be done before it is done, what came
of it after. So a process that dies leaves at most one effect of which nobody knows whether it happened – the
last that was announced and not settled – and everything else is certain. `alloy.loop.recovery` reads them.

Records name a call by its run and its id, because only within one run are the ids of calls unique.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from alloy.llm.codec import KINDS, Codec
from alloy.llm.content import JSON, ToolResult
from alloy.llm.message import AssistantMessage, Message, StopInfo, UserMessage
from alloy.llm.usage import Usage

# The conversation.


@attrs.frozen(kw_only=True)
class HistoryGiven:
    """Messages that were said elsewhere, put at the end of the conversation: `run(history=…)`."""

    messages: tuple[Message, ...]


@attrs.frozen(kw_only=True)
class Said:
    """A run's prompt, what was said to it meanwhile, or what alloy itself said, as the model gets it.

    If the message had been accepted to be said later (`Accepted`), this takes it out of what waits.
    """

    run_id: str
    message: UserMessage


@attrs.frozen(kw_only=True)
class Answered:
    """A model's answer, after its calls were vetted. Settles `Asked`.

    Attributes:
        turn: from 1.
        model: who answered, `"vendor:model"`.
        edited_from: by call id: the arguments that the model asked for, where a hook edited them.
    """

    run_id: str
    turn: int
    message: AssistantMessage
    model: str = ""
    edited_from: Mapping[str, Mapping[str, JSON]] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class BatchClosed:
    """All calls of the last answer have their results: those settled, and `not_started` for any other.

    Attributes:
        message_id: of the `ToolMessage` that they make up, in the order of the calls.
    """

    run_id: str
    message_id: str


# A run.


@attrs.frozen(kw_only=True)
class RunBegun:
    """A run begins. Written together with its prompt, and before any model is asked.

    Attributes:
        agent: the name of the agent.
        agent_path: the names from the root's agent down to this one.
        request_id: the agent server's request that it serves; empty for none.
        parent_run_id, parent_call_id: the run and the call that it works for; empty for a root run.
        n: which of the runs of that call, from 0: a call that is run again finds its own former runs by it.
    """

    run_id: str
    agent: str
    agent_path: tuple[str, ...] = ()
    request_id: str = ""
    parent_run_id: str = ""
    parent_call_id: str = ""
    n: int = 0


@attrs.frozen(kw_only=True)
class Asked:
    """A model is about to be asked. If nothing settles this, asking again is all there is to do."""

    run_id: str
    turn: int
    model: str = ""


@attrs.frozen(kw_only=True)
class AskFailed:
    """A model was asked and gave no answer. Settles `Asked`.

    Attributes:
        error: its class name and its text.
        usage: what it cost all the same.
    """

    run_id: str
    turn: int
    error: str
    model: str = ""
    usage: Usage = attrs.field(factory=Usage)


@attrs.frozen(kw_only=True)
class HandedOver:
    """The run goes on as another agent, over the same history."""

    run_id: str
    agent: str
    agent_path: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RunEnded:
    """A run has its outcome; with a `request_id`, so has that request, even if no run of it ever began.

    A run that pauses writes none of these: it is a run under way whose calls pend.

    Attributes:
        status: a `Status`.
        error: for status `error`: `type`, its class name, and `message`.
        output: as JSON holds it.
        usage: of this run and the runs inside it.
        turns: how many answers the model gave.
        agent: who ended it.
        duration: seconds.
    """

    run_id: str
    status: str
    request_id: str = ""
    reason: str = ""
    error: Mapping[str, JSON] | None = None
    output: object = None
    usage: Usage = attrs.field(factory=Usage)
    turns: int = 0
    stop: StopInfo | None = None
    model: str = ""
    agent: str = ""
    duration: float = 0.0


def told(error: BaseException) -> dict[str, JSON]:
    """An error as `RunEnded` holds it, and an event's JSON."""
    return {"type": type(error).__name__, "message": str(error)}


# A tool call.


@attrs.frozen(kw_only=True)
class CallStarted:
    """A tool is about to be run. If nothing settles this, nobody knows whether it ran.

    Attributes:
        replay: the tool's policy now. It is run again only if that of then and that of the resuming agree.
        attempt: from 1.
    """

    run_id: str
    call_id: str
    replay: Literal["never", "safe", "key"] = "never"
    attempt: int = 1


@attrs.frozen(kw_only=True)
class CallSettled:
    """A call has its result, its own or one that says why it has none. The first one counts.

    Attributes:
        duration: seconds; 0 for a call that never started.
    """

    run_id: str
    call_id: str
    result: ToolResult
    duration: float = 0.0


@attrs.frozen(kw_only=True)
class CallPending:
    """A call waits for somebody's decision. Written with the answer that asks for it.

    Attributes:
        ask: an approval comes before the call starts; a question is the running tool's own.
        created_at, expires_at: UNIX seconds; None for never.
    """

    run_id: str
    call_id: str
    pending_id: str
    ask: Literal["approval", "question"] = "approval"
    question: str = ""
    agent_path: tuple[str, ...] = ()
    created_at: float = 0.0
    expires_at: float | None = None


@attrs.frozen(kw_only=True)
class Decided:
    """Somebody has decided. The first decision counts.

    Attributes:
        arguments: those to call with instead, for `edit`.
        text: the reason of a `deny`, the text of an `answer`.
        by: who, where that is known.
    """

    pending_id: str
    verdict: Literal["approve", "edit", "deny", "answer"]
    arguments: Mapping[str, JSON] | None = None
    text: str = ""
    by: str = ""


# What waits.


@attrs.frozen(kw_only=True)
class Accepted:
    """Something to be said, promised to whoever said it: it will be said, handed back, or still be here.

    A request waits until a run of its id begins or ends; what is to be said to a run, until it is `Said`.

    Attributes:
        how: a request of its own; or for the run under way, to change its course or to come after.
        request_id: of a request.
        options: of a request: what it may have other than its agent, as far as JSON holds it.
    """

    message: UserMessage
    how: Literal["request", "steer", "follow_up"] = "request"
    request_id: str = ""
    options: Mapping[str, JSON] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Withdrawn:
    """What was accepted will not be said: it was handed back.

    Attributes:
        ids: of requests, and of messages.
    """

    ids: tuple[str, ...]


# The session.


@attrs.frozen(kw_only=True)
class CompactionDone:
    """From here on models see less of what was before. The history itself stays.

    Attributes:
        summary: of what is no longer shown; empty if nothing was summarised.
        kept_from: the id of the first message that is shown in full; empty for all.
        cleared: ids of calls whose results are shown as one line.
        tokens_before, tokens_after: estimated.
        model: who summarised, `"vendor:model"`; empty for nobody.
        more: for who makes the view.
    """

    run_id: str = ""
    summary: str = ""
    kept_from: str = ""
    cleared: tuple[str, ...] = ()
    tokens_before: int = 0
    tokens_after: int = 0
    model: str = ""
    more: Mapping[str, JSON] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class ModelChanged:
    """The session's agent asks another model from now on, `"vendor:model"`."""

    model: str


@attrs.frozen(kw_only=True)
class Forked:
    """This is a copy of another session, up to one of its entries. What was under way there is not under way here."""

    session_id: str
    entry_id: str


@attrs.frozen(kw_only=True)
class Described:
    """The session's metadata, from now on."""

    metadata: Mapping[str, JSON] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Labelled:
    """A name for an entry; an empty one takes it away."""

    entry_id: str
    label: str


@attrs.frozen(kw_only=True)
class Other:
    """A record of a kind that this alloy does not know. It is kept as it is, and means nothing here.

    Attributes:
        data: the whole of it, `kind` and `v` included.
    """

    data: Mapping[str, JSON]


Record: TypeAlias = (
    HistoryGiven
    | Said
    | Answered
    | BatchClosed
    | RunBegun
    | Asked
    | AskFailed
    | HandedOver
    | RunEnded
    | CallStarted
    | CallSettled
    | CallPending
    | Decided
    | Accepted
    | Withdrawn
    | CompactionDone
    | ModelChanged
    | Forked
    | Described
    | Labelled
    | Other
)

# The tags are what is stored: a class may be renamed, a tag may not.
RECORDS: dict[str, type] = {
    "history_given": HistoryGiven,
    "said": Said,
    "answered": Answered,
    "batch_closed": BatchClosed,
    "run_begun": RunBegun,
    "asked": Asked,
    "ask_failed": AskFailed,
    "handed_over": HandedOver,
    "run_ended": RunEnded,
    "call_started": CallStarted,
    "call_settled": CallSettled,
    "call_pending": CallPending,
    "decided": Decided,
    "accepted": Accepted,
    "withdrawn": Withdrawn,
    "compaction_done": CompactionDone,
    "model_changed": ModelChanged,
    "forked": Forked,
    "described": Described,
    "labelled": Labelled,
}

_codec = Codec({**KINDS, **RECORDS})


def kind_of(record: Record) -> str:
    """The tag that a record is stored under."""
    return str(record.data.get("kind")) if isinstance(record, Other) else _KIND_OF[type(record)]


def record_to_json(record: Record) -> JSON:
    """Turn a record into plain JSON values: a dict with `kind` and `v`.

    Raises:
        TypeError: it is no record.
    """
    if isinstance(record, Other):
        return dict(record.data)
    if type(record) not in _KIND_OF:
        raise TypeError(f"a session remembers records, not {type(record).__name__}; see alloy.loop.records")
    return _codec.to_json(record)


def record_from_json(data: JSON) -> Record:
    """Make a record again; one of a kind that is not known comes back as `Other`.

    Raises:
        CodecError: it has no kind, or is not what `record_to_json` makes; `.version` tells an unknown version.
    """
    if isinstance(data, Mapping) and isinstance(kind := data.get("kind"), str) and kind not in RECORDS:
        return Other(data=dict(data))
    record: Record = _codec.from_json(data)
    return record


_KIND_OF = {cls: kind for kind, cls in RECORDS.items()}
