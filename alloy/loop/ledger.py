"""A session that is open for writing, as the runs use it that go on in it: a root run and all that work for it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

from alloy.llm.content import JSON
from alloy.llm.message import Message, UserMessage
from alloy.loop.approval import Answer, Approve, Decision, Deny, Edit, Expired, Fate, Pending, lapse
from alloy.loop.compaction import View, with_view
from alloy.loop.errors import StoreError
from alloy.loop.journal import HEAD, Entry, Journal, Store
from alloy.loop.records import Accepted, CallPending, CompactionDone, Decided, Record
from alloy.loop.recovery import Recovered, StoredCall, StoredRun, fold


@attrs.define(eq=False, kw_only=True)
class Ledger:
    """Where runs write down what they do, and find what they did before.

    Attributes:
        was: what had been there when it was opened.
        decisions: on what pends, by its id, from whoever resumes.
        misfits: of those, the edits whose arguments do not fit, and why; those calls still pend.
        broken: why nothing can be written any more; None while all is well.
    """

    journal: Journal
    was: Recovered
    decisions: Mapping[str, Decision] = attrs.field(factory=dict)
    misfits: list[ValueError] = attrs.field(factory=list)
    broken: StoreError | None = None
    _found: set[str] = attrs.field(factory=set, init=False)  # former runs that were gone on with
    _numbers: dict[tuple[str, str], int] = attrs.field(factory=dict, init=False)  # of the runs of each call

    async def append(self, *records: Record, parent: str | None = HEAD) -> tuple[Entry, ...]:
        """Commit records, all or none.

        Raises:
            StoreError: it cannot be done, or could not be done before: what follows a gap would be a lie.
        """
        if self.broken is not None:
            raise self.broken
        try:
            return await self.journal.append(*records, parent=parent)
        except StoreError as error:
            self.broken = error
            raise

    def options(self, request_id: str) -> Mapping[str, JSON]:
        """What a request may have other than its agent."""
        records = (made.record for made in reversed(self.journal.entries))
        found = (r for r in records if isinstance(r, Accepted) and r.how == "request" and r.request_id == request_id)
        return next((record.options for record in found), {})

    def find(self, run_id: str, call_id: str, agent: str, prompt: UserMessage) -> StoredRun | None:
        """The run that worked for a call before, for this agent and prompt; each is found once."""
        for stored in self.was.children(run_id, call_id):
            first = stored.messages[0] if stored.messages else None
            is_it = stored.begun.agent == agent and isinstance(first, UserMessage) and first.content == prompt.content
            if is_it and stored.begun.run_id not in self._found:
                self._found.add(stored.begun.run_id)
                return stored
        return None

    def number(self, run_id: str, call_id: str) -> int:
        """The number of one more run that is to work for a call, from 0."""
        key = run_id, call_id
        number = self._numbers.get(key, len(self.was.children(run_id, call_id)))
        self._numbers[key] = number + 1
        return number


def as_store(given: Store) -> Store:
    """Return it.

    Raises:
        TypeError: it is no store.
    """
    if isinstance(given, type) or not callable(getattr(given, "open", None)) or not hasattr(given, "entries"):
        raise TypeError(f"store must be a store, such as alloy.stores.SQLiteStore(path), got {given!r}")
    return given


@asynccontextmanager
async def open_ledger(
    store: Store, session_id: str, *, create: bool = True, wait: float | None = 0.0
) -> AsyncIterator[Ledger]:
    """Drive a session for as long as the block lasts.

    Raises:
        Fenced, UnknownSession, CorruptStore, UnknownVersion: see `Store.open`.
        RuntimeError: the store is not open.
        TypeError: it is no store.
    """
    async with as_store(store).open(session_id, create=create, wait=wait) as journal:
        yield Ledger(journal=journal, was=fold(journal.entries))


# Between what runs know and what is stored.


def stored_view(was: Recovered | StoredRun) -> View | None:
    """How the history of a session, or of a run that works for another, was shown last; None if all of it was."""
    done = was.compaction
    try:
        return None if done is None or not done.more else View.from_json(done.more)
    except (KeyError, TypeError, ValueError):  # of a later version; the history is shown as it is
        return None


def history_of(was: Recovered) -> tuple[Message, ...]:
    """The conversation so far, whole, and with its view."""
    return with_view(was.messages, stored_view(was))


def compaction_done(view: View, *, run_id: str, before: int, after: int, model: str) -> CompactionDone:
    """What is remembered of a compaction."""
    more: dict[str, JSON] = view.to_json()
    return CompactionDone(
        run_id=run_id,
        summary=view.summary,
        kept_from=view.first,
        tokens_before=before,
        tokens_after=after,
        model=model,
        more=more,
    )


def stored_pending(call: StoredCall, asked: CallPending, session_id: str) -> Pending:
    """Something that waits for a decision, as whoever decides sees it."""
    return Pending(
        id=asked.pending_id,
        kind=asked.ask,
        question=asked.question,
        call=call.call,
        agent_path=asked.agent_path,
        session_id=session_id,
        run_id=asked.run_id,
        created_at=asked.created_at,
        expires_at=asked.expires_at,
    )


def pending_record(pending: Pending) -> CallPending:
    """What is remembered of it."""
    assert pending.call is not None
    return CallPending(
        run_id=pending.run_id,
        call_id=pending.call.id,
        pending_id=pending.id,
        ask=pending.kind,
        question=pending.question,
        agent_path=pending.agent_path,
        created_at=pending.created_at,
        expires_at=pending.expires_at,
    )


def decided_record(pending_id: str, decision: Decision) -> Decided:
    """What is remembered of a decision."""
    match decision:
        case Approve():
            return Decided(pending_id=pending_id, verdict="approve")
        case Edit(arguments):
            return Decided(pending_id=pending_id, verdict="edit", arguments=dict(arguments))
        case Deny(reason):
            return Decided(pending_id=pending_id, verdict="deny", text=reason)
        case Answer(text):
            return Decided(pending_id=pending_id, verdict="answer", text=text)


def fate_of(decided: Decided) -> Fate:
    """The decision that is remembered. An edit is part of the stored call already, so it approves of that."""
    match decided.verdict:
        case "deny":
            return Deny(decided.text)
        case "answer":
            return Answer(decided.text)
        case _:
            return Approve()


def expired(asked: CallPending) -> Expired | None:
    """Whether nobody decided in time."""
    if asked.expires_at is None or time.time() < asked.expires_at:
        return None
    return lapse(asked)
