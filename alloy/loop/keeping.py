"""What a session keeps whatever its branch: what waits, what it cost, how it is described. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from alloy.llm.content import JSON
from alloy.llm.message import AssistantMessage
from alloy.llm.usage import Usage
from alloy.loop.records import (
    Accepted,
    Answered,
    AskFailed,
    Described,
    Forked,
    Labelled,
    Record,
    RunBegun,
    RunEnded,
    Said,
    Withdrawn,
)


def usage_of(message: AssistantMessage) -> Usage:
    """What an answer cost, as one request."""
    return attrs.evolve(message.usage or Usage(), requests=1)


@attrs.define(eq=False)
class Keeping:
    """The fold over all entries, in the order in which they were committed.

    Attributes:
        queue: requests that wait, by id.
        inputs: what was said to a run and is not yet part of it, by the id of the message.
        requests: those that have their outcome, by id.
        spent: by root runs that have ended.
        usage: of all other runs, by id.
        labels: entry ids by label.
    """

    queue: dict[str, Accepted] = attrs.field(factory=dict)
    inputs: dict[str, Accepted] = attrs.field(factory=dict)
    requests: dict[str, RunEnded] = attrs.field(factory=dict)
    spent: Usage = attrs.field(factory=Usage)
    usage: dict[str, Usage] = attrs.field(factory=dict)
    metadata: Mapping[str, JSON] = attrs.field(factory=dict)
    labels: dict[str, str] = attrs.field(factory=dict)
    _begun: dict[str, RunBegun] = attrs.field(factory=dict)
    _ended: set[str] = attrs.field(factory=set)

    def take(self, record: Record) -> None:
        """Read one more."""
        match record:
            case Accepted(how="request", request_id=request_id):
                self.queue[request_id] = record
            case Accepted(message=message):
                self.inputs[message.id] = record
            case Withdrawn(ids=ids):
                for id in ids:
                    self.queue.pop(id, None)
                    self.inputs.pop(id, None)
            case RunBegun(run_id=run_id, request_id=request_id):
                self._begun[run_id] = record
                self.queue.pop(request_id, None)
            case Said(message=message):
                self.inputs.pop(message.id, None)
            case Answered(run_id=run_id, message=answer):
                self._spend(run_id, usage_of(answer))
            case AskFailed(run_id=run_id, usage=usage):
                self._spend(run_id, usage)
            case RunEnded():
                self._end(record)
            case Forked():
                self.queue, self.inputs, self.requests = {}, {}, {}
            case Described(metadata=metadata):
                self.metadata = metadata
            case Labelled(entry_id=entry_id, label=label):
                self._label(entry_id, label)
            case _:
                pass

    def spent_but_for(self, root: str) -> Usage:
        """What all runs have used but this one and those that work for it."""
        others = (used for run_id, used in self.usage.items() if run_id != root and not self._works_for(run_id, root))
        return sum(others, self.spent)

    def _spend(self, run_id: str, usage: Usage) -> None:
        self.usage[run_id] = self.usage.get(run_id, Usage()) + usage

    def _end(self, record: RunEnded) -> None:
        begun = self._begun.get(record.run_id)
        if record.run_id not in self._ended:  # the first end counts
            self._ended.add(record.run_id)
            self._count(record, is_root=begun is None or not begun.parent_run_id)
        request_id = record.request_id or (begun.request_id if begun is not None else "")
        if request_id:
            self.queue.pop(request_id, None)
            self.requests.pop(request_id, None)
            self.requests[request_id] = record

    def _count(self, record: RunEnded, *, is_root: bool) -> None:
        """A run that has ended counts the runs inside it."""
        for run_id in [run_id for run_id in self.usage if self._works_for(run_id, record.run_id)]:
            del self.usage[run_id]
        self.usage.pop(record.run_id, None)
        if is_root:
            self.spent += record.usage
        else:
            self.usage[record.run_id] = record.usage

    def _works_for(self, run_id: str, other: str) -> bool:
        """Whether a run is inside another, at any depth."""
        seen: set[str] = set()
        while (begun := self._begun.get(run_id)) is not None and run_id not in seen:
            seen.add(run_id)
            run_id = begun.parent_run_id
            if run_id == other:
                return True
        return False

    def _label(self, entry_id: str, label: str) -> None:
        self.labels = {name: entry for name, entry in self.labels.items() if entry != entry_id and name != label}
        if label:
            self.labels[label] = entry_id
