"""From what is stored of a run to a state that it goes on with, or to the result that it came to. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from alloy.errors import AlloyError
from alloy.llm.budget import Budget
from alloy.llm.content import JSON
from alloy.llm.message import AssistantMessage, Message, UserMessage, mint
from alloy.llm.request import Settings
from alloy.llm.usage import Usage
from alloy.loop.agent import Agent, Limits
from alloy.loop.approval import Decision, Pending, check_decision
from alloy.loop.compaction import view_of, with_view
from alloy.loop.delegate import handoff_target
from alloy.loop.errors import UnknownRequest
from alloy.loop.form import Form
from alloy.loop.journal import Entry
from alloy.loop.ledger import stored_view
from alloy.loop.output import Given
from alloy.loop.records import Accepted, CallPending, RunBegun, RunEnded
from alloy.loop.recovery import Recovered, StoredCall, StoredRun
from alloy.loop.result import Result, Status, ToolCallRecord
from alloy.loop.state import State
from alloy.tools import Tool
from alloy.tools.results import json_text
from alloy.tools.schema import ValidationError, read, shape_of


def resumed(
    agent: Agent[Any], stored: StoredRun, was: Recovered, *, session_id: str, deps: object, budget: Budget | None
) -> State:
    """The state of a run under way, from which it goes on as `agent`. The calls of its last answer are open."""
    is_root = not stored.begun.parent_call_id
    messages = was.transcript if is_root else stored.messages
    settled = messages[:-1] if stored.calls else messages
    state = State.begin(
        agent,
        with_view(settled, stored_view(was if is_root else stored)),
        run_id=stored.begun.run_id,
        session_id=session_id,
        agent_path=stored.agent_path,
        deps=deps,
        budget=budget,
    )
    state.first = stored.first
    state.messages += messages[len(settled) :]
    state.call_ids.update(call.call.id for call in stored.calls)
    state.turn, state.answers, state.model = stored.turn, stored.answers, stored.model
    state.usage = stored.usage + _usage_inside(stored, was)
    state.records = [record_of(call) for call in stored.former_calls]
    state.calls_started = sum(
        call.started is not None and call.settled is not None for call in (*stored.former_calls, *stored.calls)
    )
    answers = [message for message in stored.messages if isinstance(message, AssistantMessage)]
    state.stop = answers[-1].stop if answers else None
    return state


def line_of(agent: Agent[Any], stored: StoredRun) -> list[Agent[Any]]:
    """The agent that began a run, and those that it was handed over to, in order; the last is the one of now.

    Raises:
        ValueError: one has no tool that hands over to an agent of the name of the next.
    """
    line = [agent]
    for name in stored.handed_to:
        offers = (offer for offer in line[-1].tools if isinstance(offer, Tool))
        targets = (target for offer in offers if (target := handoff_target(offer)) is not None)
        if (after := next((target for target in targets if target.name == name), None)) is None:
            raise ValueError(
                f"the run was handed over to {name!r}, and no tool of {line[-1].name!r} hands over to an agent so named"
            )
        line.append(after)
    return line


def _usage_inside(stored: StoredRun, was: Recovered) -> Usage:
    """What the runs inside this one have used, but those that it goes on with: they tell themselves."""
    open_calls = {call.call.id for call in stored.calls if call.settled is None}
    inside = (run for run in was.runs.values() if run.begun.parent_run_id == stored.begun.run_id)
    done = [run for run in inside if run.begun.parent_call_id not in open_calls]
    return sum((usage_with(run, was) for run in done), Usage())


def usage_with(stored: StoredRun, was: Recovered) -> Usage:
    """What a run has used, and the runs inside it."""
    if stored.ended is not None:
        return stored.usage
    inside = (run for run in was.runs.values() if run.begun.parent_run_id == stored.begun.run_id)
    return sum((usage_with(run, was) for run in inside), stored.usage)


def record_of(call: StoredCall) -> ToolCallRecord:
    """What is known of a call, as a result tells it."""
    duration = call.settled.duration if call.settled is not None else 0.0
    return ToolCallRecord.of(call.call, call.result(), turn=call.turn, edited_from=call.edited_from, duration=duration)


def result_of(agent: Agent[Any], stored: StoredRun, was: Recovered, session_id: str) -> Result[Any]:
    """What a run came to that has ended.

    Raises:
        ValueError: its output does not fit the agent's `output` type any more.
    """
    ended = stored.ended
    assert ended is not None
    is_root = not stored.begun.parent_call_id
    answers = [message for message in stored.messages if isinstance(message, AssistantMessage)]
    given = _output(agent, ended.output)
    error = error_of(ended)
    before = was.messages[: stored.first] if is_root else ()
    result: Result[Any] = Result(
        status=Status(ended.status),
        text=next((answer.text for answer in reversed(answers) if answer.text), ""),
        output=None if given is None else given.value,
        has_output=given is not None,
        messages=(*before, *stored.messages),
        new_messages=stored.messages,
        usage=ended.usage,
        turns=ended.turns,
        stop=ended.stop,
        reason=ended.reason,
        tool_calls=tuple(map(record_of, stored.former_calls)),
        error=error,
        model=ended.model,
        agent=ended.agent or stored.agent,
        run_id=stored.begun.run_id,
        session_id=session_id,
        request_id=stored.begun.request_id or None,
        duration=ended.duration,
    )
    if error is not None:
        error.result = result
    return result


def _output(agent: Agent[Any], stored: object) -> Given | None:
    if not isinstance(stored, dict) or "value" not in stored:
        return None
    if agent.output is None:
        return Given(stored["value"])
    wanted: Any = agent.output.type if isinstance(agent.output, Form) else agent.output
    try:
        return Given(read(shape_of(wanted), stored["value"]))
    except ValidationError as error:
        raise ValueError(f"the stored output does not fit the output type of {agent.name!r}: {error}") from error


def error_of(ended: RunEnded) -> AlloyError | None:
    """The error of a run that ended in an earlier process: of the same class where there is one, with its message."""
    if ended.error is None:
        return None
    kind, message = str(ended.error["type"]), str(ended.error["message"])
    cls = next((cls for cls in _subclasses(AlloyError) if cls.__name__ == kind), None)
    if cls is None:
        return AlloyError(f"{kind}: {message}")
    try:
        made = cls(message)
    except TypeError:  # a class that is made in another way
        return AlloyError(f"{kind}: {message}")
    return made if str(made) == message else AlloyError(f"{kind}: {message}")


def _subclasses(cls: type[AlloyError]) -> Iterable[type[AlloyError]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


# How a session is gone on with.


@attrs.frozen(kw_only=True)
class Start:
    """What is to be done next.

    Attributes:
        agent: whom to run.
        prompt: None to go on with the history, or with the run that is under way.
        begun: how the run stands in the session; None for one that is under way, and for one that serves no request.
    """

    agent: Agent[Any]
    prompt: UserMessage | None = None
    begun: RunBegun | None = None


def start_of(agent: Agent[Any], was: Recovered) -> Start:
    """The run under way; else the request that waits first; else the conversation, as far as it got.

    Raises:
        ValueError: there is nothing to go on with.
    """
    if was.run is not None:
        return Start(agent=agent)
    if was.queue:
        first = was.queue[0]
        begun = RunBegun(run_id=mint("run"), agent=agent.name, agent_path=(agent.name,), request_id=first.request_id)
        return Start(agent=agent.evolve(**changes_of(first.options)), prompt=first.message, begun=begun)
    if not was.messages or is_answered(was):
        raise ValueError("the session has nothing to go on with: no run was broken off, and no request waits")
    return Start(agent=agent)


def answered_by(was: Recovered) -> StoredRun | None:
    """The run that has given the last answer, if that is all that there is to be had."""
    last = last_run(was)
    if was.run is not None or was.queue or last is None or last.ended is None:
        return None
    return last if last.ended.status == Status.COMPLETED or is_answered(was) else None


def checked_decisions(
    decisions: Mapping[str, Decision], entries: Iterable[Entry], was: Recovered
) -> Mapping[str, Decision]:
    """Return the decisions, if each is on something that pends, or did, in the session.

    Raises:
        UnknownRequest: one is not.
        TypeError: one is none of its kind.
    """
    known = {made.record.pending_id: made.record for made in entries if isinstance(made.record, CallPending)}
    for pending_id, decision in decisions.items():
        if (asked := known.get(pending_id)) is None:
            there = ", ".join(repr(waits.pending_id) for waits in was.pending) or "none"
            raise UnknownRequest(f"no decision {pending_id!r} is pending; there are: {there}", request_id=pending_id)
        check_decision(Pending(id=pending_id, kind=asked.ask, question=asked.question), decision)
    return decisions


def joined(before: Sequence[Message], more: Sequence[Message]) -> Sequence[Message]:
    """A conversation, and messages that were said elsewhere."""
    if not more or not before:
        return before or more
    return with_view((*before, *more), view_of(before))


@attrs.define(eq=False)
class Waiting:
    """The inbox of a run that is gone on with: what was said to it and is not yet part of it."""

    said: Sequence[Accepted]

    def take(self) -> Sequence[UserMessage]:
        """See `alloy.loop.means.Inbox.take`."""
        taken = [one.message for one in self.said if one.how == "steer"]
        self.said = [one for one in self.said if one.how != "steer"]
        return taken

    def take_next(self) -> Sequence[UserMessage]:
        """See `alloy.loop.means.Inbox.take_next`."""
        first, self.said = self.said[:1], self.said[1:]
        return [one.message for one in first]


# What a request may have other than its agent, as far as JSON holds it.


def options_of(changes: Mapping[str, Any]) -> dict[str, JSON]:
    """The changes of an agent that can be kept; types and functions cannot."""
    options: dict[str, JSON] = {}
    for name, kind in _KEPT.items():
        if isinstance(value := changes.get(name), kind):
            options[name] = json.loads(json_text(value))
    return options


def changes_of(options: Mapping[str, JSON]) -> dict[str, Any]:
    """The changes of an agent that were kept."""
    return {
        name: kind(**_known_fields(kind, value)) if isinstance(value := options[name], Mapping) else value
        for name, kind in _KEPT.items()
        if name in options
    }


def _known_fields(kind: type, value: Mapping[str, JSON]) -> dict[str, Any]:
    return {field.name: value[field.name] for field in attrs.fields(kind) if field.name in value}


_KEPT: Mapping[str, type] = {"until_tool": str, "limits": Limits, "settings": Settings}


def last_run(was: Recovered) -> StoredRun | None:
    """The last root run of the conversation; None if there was none."""
    roots = [run for run in was.runs.values() if not run.begun.parent_call_id]
    return roots[-1] if roots else None


def is_answered(was: Recovered) -> bool:
    """Whether the conversation ends with a whole answer, so that there is nothing to go on with."""
    last = was.messages[-1] if was.messages else None
    return isinstance(last, AssistantMessage) and last.complete
