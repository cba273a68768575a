"""What somebody has to decide before a run goes on, and the desk where it waits for that.

A run that lives in an agent server has desks, its own and those of whoever it works for; a pending lies on all of
them at once, and the first decision takes it off all. A run without a desk cannot wait: nothing is approved there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol, TypeAlias

import attrs
import trio

from alloy.llm.content import JSON, ToolCall
from alloy.llm.message import mint

SHOWN = 500  # characters of a call's arguments in a question


@attrs.frozen(kw_only=True)
class Pending:
    """Something that waits for a decision.

    Attributes:
        id: unique among all that ever pend; the key of `AgentRef.decide`.
        kind: `"approval"` of a call that has not begun, or a `"question"` of a tool that runs.
        question: for whoever decides.
        call: the call that is to be approved, or that asks.
        agent_path: the names of the agents from the root down to the one whose call it is.
        created_at: UNIX seconds.
        expires_at: UNIX seconds; who has not decided by then has denied. None to wait for ever.
    """

    id: str = attrs.field(factory=lambda: mint("pend"))
    kind: Literal["approval", "question"]
    question: str
    call: ToolCall | None = None
    agent_path: tuple[str, ...] = ()
    session_id: str = ""
    run_id: str = ""
    created_at: float = attrs.field(factory=time.time)
    expires_at: float | None = None


@attrs.frozen
class Approve:
    """Run the call as it is."""


@attrs.frozen
class Edit:
    """Run the call with these arguments instead; the model's history then shows them.

    Raises:
        TypeError: `arguments` is no mapping.
    """

    arguments: Mapping[str, JSON]

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.arguments, Mapping):
            raise TypeError(f"the arguments of an Edit must be a mapping of names to values, got {self.arguments!r}")


@attrs.frozen
class Deny:
    """Do not run the call, or do not answer the question; the model is told `reason`."""

    reason: str = ""


@attrs.frozen
class Answer:
    """Answer a question."""

    text: str


Decision: TypeAlias = Approve | Edit | Deny | Answer


@attrs.frozen
class Expired:
    """Nobody decided within `seconds`."""

    seconds: float


@attrs.frozen
class Withdrawn:
    """The call was cancelled before anybody decided."""


Fate: TypeAlias = Decision | Expired | Withdrawn


class Lapsing(Protocol):
    """A pending, or what is stored of one."""

    @property
    def created_at(self) -> float: ...
    @property
    def expires_at(self) -> float | None: ...


def lapse(pending: Lapsing) -> Expired:
    """What becomes of a pending that nobody decided on in its time, as it was given, not as it was measured."""
    assert pending.expires_at is not None
    return Expired(round(pending.expires_at - pending.created_at, 3))


def question_of(agent_path: Sequence[str], call: ToolCall) -> str:
    """The call as whoever decides can read it: `root → coder: bash(command='ls')?`."""
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    if len(arguments) > SHOWN:
        arguments = f"{arguments[:SHOWN]}…"
    return f"{' → '.join(agent_path)}: {call.name}({arguments})?"


def as_decision(fate: Fate) -> Decision:
    """What became of a pending, as the decision that it amounts to."""
    match fate:
        case Expired(seconds):
            return Deny(f"nobody decided within {seconds:g} s")
        case Withdrawn():
            return Deny("withdrawn before anybody decided")
        case _:
            return fate


def check_decision(pending: Pending, decision: object) -> Decision:
    """Return `decision` if it can be one of this pending.

    Raises:
        TypeError: it is none, or one of the other kind.
    """
    fitting = (Approve, Edit, Deny) if pending.kind == "approval" else (Answer, Deny)
    if not isinstance(decision, fitting):
        names = " or ".join([", ".join(cls.__name__ for cls in fitting[:-1]), fitting[-1].__name__])
        raise TypeError(f"the decision on {pending.kind} {pending.id!r} must be {names}, got {decision!r}")
    if isinstance(decision, Answer) and not isinstance(decision.text, str):
        raise TypeError(f"an Answer's text must be a str, got {decision.text!r}")
    return decision


@attrs.define(eq=False)
class Slot:
    """One pending while it waits.

    Attributes:
        desks: where it lies.
        check: raises where the arguments of an `Edit` do not fit the tool; None for a question.
        record: writes a decision down, before it counts; None where nothing is written down.
        limit: seconds that may pass before it expires; None for ever.
        fate: what became of it; None while it waits.
    """

    pending: Pending
    desks: Sequence[Desk]
    check: Callable[[Edit], object] | None = None
    limit: float | None = None
    record: Callable[[Pending, Decision], Awaitable[None]] | None = None
    fate: Fate | None = None
    _settled: trio.Event = attrs.field(factory=trio.Event)

    def __attrs_post_init__(self) -> None:
        for desk in self.desks:
            desk.slots[self.pending.id] = self

    async def decide(self, decision: object) -> None:
        """Somebody has decided; it is off all desks at once.

        Raises:
            TypeError: that is no decision for this kind of pending.
            ValueError: it is an edit whose arguments do not fit the tool; the call still waits.
            StoreError: it could not be written down; the call still waits.
        """
        fitting = check_decision(self.pending, decision)
        if isinstance(fitting, Edit) and self.check is not None:
            self.check(fitting)
        if self.record is not None:
            await self.record(self.pending, fitting)
        self.settle(fitting)

    def settle(self, fate: Fate) -> None:
        """This is what became of it, unless that is settled already."""
        for desk in self.desks:
            desk.slots.pop(self.pending.id, None)
        if self.fate is None:
            self.fate = fate
            self._settled.set()

    async def wait(self) -> Fate:
        """Wait for the decision. Cancelling the wait takes it off the desks."""
        try:
            with trio.move_on_after(math.inf if self.limit is None else self.limit):
                await self._settled.wait()
            if self.limit is not None:
                self.settle(lapse(self.pending))
        finally:
            self.settle(Withdrawn())
        assert self.fate is not None
        return self.fate


@attrs.define(eq=False)
class Desk:
    """Where pendings lie until somebody decides.

    Attributes:
        slots: by the id of the pending, in the order in which they came.
    """

    slots: dict[str, Slot] = attrs.field(factory=dict)

    def pending(self) -> tuple[Pending, ...]:
        """All that waits, the oldest first."""
        return tuple(slot.pending for slot in self.slots.values())

    def withdraw(self, run_id: str, call_id: str) -> bool:
        """Cancel a call of this run that waits for its approval; False if none does."""
        for slot in tuple(self.slots.values()):
            pending = slot.pending
            if pending.kind == "approval" and pending.run_id == run_id and pending.call and pending.call.id == call_id:
                slot.settle(Withdrawn())
                return True
        return False
