"""What a store holds of an agent's session, brought back: the conversation, what waits, what came of what was asked.

The same at every start of a server, be it the first of the program or one after a crash. The requests that somebody
in this process waits for stay the objects that they are.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import attrs

from alloy.agents.entry import Entry, PerRun
from alloy.agents.session_state import SessionState
from alloy.llm.errors import AuthError
from alloy.llm.fallback import name_of
from alloy.llm.message import UserMessage, mint
from alloy.loop.agent import Agent
from alloy.loop.ledger import Ledger, history_of
from alloy.loop.means import Connections, connect_all
from alloy.loop.records import Accepted, Described, Record, RunEnded, Withdrawn
from alloy.loop.recovery import StoredRun, fold
from alloy.loop.result import Result, Status
from alloy.loop.resuming import changes_of, error_of, options_of, result_of, usage_with

_log = logging.getLogger("alloy.agents")

DIED = "the server ended while it worked on this"


async def restore(state: SessionState, ledger: Ledger, connections: Connections) -> None:
    """Bring back what the ledger holds.

    A run that was under way when the program ended is the first that waits. One that went down with a server
    of this program has its end: whoever waited for it has been told.

    Raises:
        StoreError: that could not be written.
    """
    records = _told_first(state, ledger)
    await ledger.append(*records)
    was = ledger.was = fold(ledger.journal.entries)
    if state.incarnations == 1 and was.model:
        state.model_set = was.model
        state.agent = await _with_model(state.agent, was.model, connections)
    state.messages = history_of(was)
    state.usage = was.spent
    state.answered = set(was.requests)
    state.created_at = ledger.journal.created_at
    state.updated_at = was.updated_at if was.updated_at is not None else state.created_at
    for request_id, ended in tuple(was.requests.items())[-state.keep_results :]:
        if request_id not in state.entries:
            entry = state.entries[request_id] = Entry(id=request_id, prompt=None, options=PerRun())
            entry.finish_later(partial(_result, state, ledger, ended))
            state.finished.append(request_id)
    unheard = [record.request_id for record in records if isinstance(record, Accepted)]  # come first
    queue = [waiting(state, one) for one in sorted(was.queue, key=lambda one: one.request_id not in unheard)]
    if was.run is not None:
        queue.insert(0, _under_way(state, ledger, was.run))
    # One to have the history shown in short is not written down.
    state.queue[:] = [*queue, *(entry for entry in state.queue if entry.prompt is None and entry.stored is None)]
    state.steering[:] = [one.message for one in was.inputs if one.how == "steer"]
    state.follow_ups[:] = [one.message for one in was.inputs if one.how == "follow_up"]


def _told_first(state: SessionState, ledger: Ledger) -> list[Record]:
    """What has to be written before anything else: whose session it is, and what a crash in this program has ended."""
    was = ledger.was
    records: list[Record] = []
    if was.metadata.get("agent") != state.agent.name:
        records.append(Described(metadata={**was.metadata, "agent": state.agent.name}))
    under_way = was.run
    if under_way is not None and _is_done(state, under_way.begun.request_id):
        died = _died(under_way.begun.run_id, under_way.begun.request_id)
        records.append(attrs.evolve(died, usage=usage_with(under_way, was), turns=under_way.answers))
        under_way = None
    if under_way is None:
        records += requests_of([one.message for one in was.inputs])
    # One whose run had not written anything yet.
    return [*records, *(_died("", one.request_id) for one in was.queue if _is_done(state, one.request_id))]


def _is_done(state: SessionState, request_id: str) -> bool:
    """Whether whoever waits for this request in this program has been told what came of it."""
    return (entry := state.entries.get(request_id)) is not None and entry.done.is_set()


def _died(run_id: str, request_id: str) -> RunEnded:
    error = {"type": "ServerExited", "message": DIED}
    return RunEnded(run_id=run_id, status="error", request_id=request_id, error=error)


def requests_of(said: Sequence[UserMessage]) -> list[Record]:
    """What was said to a run that ended without it becomes requests of its own."""
    if not said:
        return []
    accepted = [Accepted(message=message, request_id=mint("req")) for message in said]
    return [Withdrawn(ids=tuple(message.id for message in said)), *accepted]


def accepted(entry: Entry) -> Accepted:
    """What is remembered of a request that waits."""
    assert entry.prompt is not None
    return Accepted(message=entry.prompt, request_id=entry.id, options=options_of(entry.options.changes))


def waiting(state: SessionState, stored: Accepted) -> Entry:
    """A request that waits; the one that somebody waits for, if somebody does."""
    if (entry := state.entries.get(stored.request_id)) is None:
        options = PerRun(changes=changes_of(stored.options))
        entry = state.entries[stored.request_id] = Entry(id=stored.request_id, prompt=stored.message, options=options)
    return entry


def _under_way(state: SessionState, ledger: Ledger, run: StoredRun) -> Entry:
    request_id = run.begun.request_id or mint("req")
    options = PerRun(changes=changes_of(ledger.options(request_id)))
    entry = state.entries[request_id] = Entry(id=request_id, prompt=None, options=options, stored=run)
    return entry


def _result(state: SessionState, ledger: Ledger, ended: RunEnded) -> Result[object]:
    """What a request came to in an earlier process."""
    run = ledger.was.runs.get(ended.run_id)
    if run is not None and run.ended is not None:
        agent = state.agent.evolve(**changes_of(ledger.options(ended.request_id)))
        return result_of(agent, run, ledger.was, state.id)
    return Result(
        status=Status(ended.status),
        reason=ended.reason,
        usage=ended.usage,
        error=error_of(ended),
        agent=ended.agent or state.agent.name,
        run_id=ended.run_id,
        session_id=state.id,
        request_id=ended.request_id,
    )


async def _with_model(agent: Agent[object], names: str, connections: Connections) -> Agent[object]:
    """The agent with the model that it was changed to, if that can be asked here."""
    given = names.split(", ")
    if given == [name_of(model) for model in agent.models]:
        return agent
    changed = agent.evolve(model=given)
    try:
        await connect_all(connections, changed.models)
    except (AuthError, ValueError) as error:
        _log.warning("agent %r was set to %s, which cannot be asked here: %s", agent.name, names, error)
        return agent
    return changed
