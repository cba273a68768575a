"""What a run needs decided before it goes on: asked in the conversation, one after the other."""

from __future__ import annotations

import json
from collections.abc import Iterator

import attrs

from alloy.cli.pieces import Asked, Problem, Typed
from alloy.cli.talk import Talk
from alloy.cli.text import folded, printable
from alloy.llm.content import ToolCall
from alloy.loop.approval import Answer, Approve, Decision, Deny, Pending, question_of
from alloy.loop.errors import UnknownRequest

APPROVE, ANSWER = "allow? yes, always, no, or say why not > ", "answer > "
SHOWN = 20  # lines of the arguments that are to be approved; all of them for a question mark
NOBODY = "nobody is there to ask"


@attrs.frozen
class Verdict:
    """What the user decided, and whether it goes for all calls of that tool."""

    decision: Decision
    always: bool = False


def verdict(pending: Pending, text: str) -> Verdict | None:
    """What a line decides; None if it decides nothing, and more is to be shown."""
    words = text.strip()
    if words in ("", "?"):
        return None
    if pending.kind == "question":
        return Verdict(Answer(words))
    match words.lower():
        case "y" | "yes":
            return Verdict(Approve())
        case "a" | "always":
            return Verdict(Approve(), always=True)
        case "n" | "no":
            return Verdict(Deny("the user says no"))
        case _:
            return Verdict(Deny(words))


def asked(pending: Pending, *, whole: bool = False) -> Asked:
    """How a pending is put to the user: nothing of what is to be approved is cut off, only folded."""
    if pending.kind == "question" or pending.call is None:
        return Asked(printable(pending.question), ())
    who, call = " → ".join(pending.agent_path), pending.call
    is_custom = pending.question != question_of(pending.agent_path, call)
    head = printable(f"{who}: {call.name}: {pending.question}" if is_custom else f"{who}: {call.name}?")
    text = printable("\n".join(_arguments(call)))
    return Asked(head, tuple(text.split("\n")) if whole else folded(text, SHOWN, width=None))


def _arguments(call: ToolCall) -> Iterator[str]:
    for name, value in call.arguments.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        first, *rest = text.split("\n")
        yield f"{name}: {first}"
        yield from (" " * (len(name) + 2) + line for line in rest)


@attrs.define(eq=False)
class Questions:
    """What waits for the user. Where nobody is there, all is denied.

    Attributes:
        waiting: by id, the oldest first: that one is asked.
        always: names of the tools whose calls need not be asked about any more.
    """

    talk: Talk
    waiting: dict[str, Pending] = attrs.field(factory=dict)
    always: set[str] = attrs.field(factory=set)

    @property
    def prompt(self) -> str:
        """What stands before the user's answer; empty if nothing is asked."""
        first = next(iter(self.waiting.values()), None)
        return "" if first is None else ANSWER if first.kind == "question" else APPROVE

    async def add(self, pending: Pending) -> None:
        """Ask, or decide at once what need not or cannot be asked."""
        if not self.talk.console.interactive:
            await self._decide(pending, Deny(NOBODY))
        elif pending.kind == "approval" and pending.call is not None and pending.call.name in self.always:
            await self._decide(pending, Approve())
        else:
            self.waiting[pending.id] = pending
            if len(self.waiting) == 1:
                self._put()

    def drop(self, pending_id: str) -> None:
        """It is decided, or the run is over; the next one is asked."""
        was_first = pending_id == next(iter(self.waiting), None)
        self.waiting.pop(pending_id, None)
        if was_first and self.waiting:
            self._put()

    async def answer(self, text: str) -> None:
        """Take the user's answer to the one that is asked."""
        pending = next(iter(self.waiting.values()))
        self.talk.console.put(Typed(text))
        decided = verdict(pending, text)
        if decided is None:
            self._put(whole=True)
            return
        alike = [pending]
        if decided.always and pending.call is not None:
            self.always.add(pending.call.name)
            alike = [other for other in self.waiting.values() if other.call and other.call.name in self.always]
        for one in alike:
            await self._decide(one, decided.decision)

    async def _decide(self, pending: Pending, decision: Decision) -> None:
        try:
            await self.talk.ref.decide(pending.id, decision)
        except UnknownRequest:  # the run has ended meanwhile
            self.drop(pending.id)
            self.talk.console.put(Problem("that is decided already, or the run is over"))

    def _put(self, *, whole: bool = False) -> None:
        pending = next(iter(self.waiting.values()))
        self.talk.console.put(asked(pending, whole=whole))
        self.talk.console.invite(self.prompt)
