"""What of a history may be sent, and to whom. Pure.

Two questions, one function each: `sendable` makes a history whole (every call has exactly one result,
whatever broke off), for any vendor; `replay` decides what of it one vendor gets to see again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial

import attrs

from alloy.llm.content import (
    Opaque,
    Origin,
    Outcome,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from alloy.llm.message import AssistantContent, AssistantMessage, Message, ToolMessage, UserMessage, mint
from alloy.llm.transcript import Growing, Transcript, as_messages, kept_with

_SYNTHETIC = {
    Outcome.NOT_STARTED: "not started: the run ended before this call",
    Outcome.INTERRUPTED: "interrupted: the process ended while this call ran; it may have had effects",
    Outcome.CANCELLED: "cancelled: this call was stopped while it ran; it may have had effects",
    Outcome.DENIED: "denied: this call was not approved, and did not run",
    Outcome.TIMED_OUT: "timed out: this call was stopped at its time limit; it may have had effects",
}


def synthetic_result(call: ToolCall, outcome: Outcome, text: str | None = None) -> ToolResult:
    """The result of a call that gave none of its own; `text` tells the model more than the outcome's own words."""
    return ToolResult(text or _SYNTHETIC[outcome], is_error=True, call_id=call.id, name=call.name, outcome=outcome)


def with_unique_ids(message: AssistantMessage, taken: set[str]) -> AssistantMessage:
    """Give a call a new id if another of the conversation has its id already; adds all its ids to `taken`.

    Weak servers count their calls from 1 in each answer, and strict ones refuse a history in which an id comes twice.
    """
    content = list(message.content)
    for place, item in enumerate(content):
        if isinstance(item, ToolCall):
            if item.id in taken:
                item = content[place] = attrs.evolve(item, id=mint("call"))
            taken.add(item.id)
    changed = any(new is not old for new, old in zip(content, message.content, strict=True))
    return attrs.evolve(message, content=content) if changed else message


def sendable(messages: Iterable[Message]) -> tuple[Message, ...]:
    """Make a history whole: every tool call has exactly one result, directly after it, in the order of the calls.

    Calls without a result get one that says `not_started`; results without a call, and messages without
    content, are left out. A history that is whole already comes back as it is, message by message; the same
    history always comes back the same.
    """
    if isinstance(messages, Transcript):
        return messages
    whole = Whole()
    whole.extend(as_messages(messages))
    return tuple(whole.closed())


class Whole:
    """A history that is being made whole: the `Sum` behind `sendable`.

    Attributes:
        call_ids: of all calls.
    """

    def __init__(self) -> None:
        self.call_ids: set[str] = set()
        self._messages: list[Message] = []
        self._open_calls: Sequence[ToolCall] = ()

    def extend(self, messages: Sequence[Message]) -> None:
        """Go on with these."""
        for message in messages:
            if isinstance(message, ToolMessage):
                if self._open_calls:
                    self._messages.append(_answered(self._open_calls, message))
                    self._open_calls = ()
                continue
            if self._open_calls:
                self._close()
            if isinstance(message, AssistantMessage) and (calls := message.tool_calls):
                self._open_calls = calls
                self.call_ids.update(call.id for call in calls)
            elif not isinstance(message, AssistantMessage | UserMessage):
                raise TypeError(f"a history is made of messages, got {message!r:.200}")
            if message.content:
                self._messages.append(message)

    def closed(self, *more: Message) -> Sequence[Message]:
        """The history if it ended here, or after these. It is not to be changed."""
        if not more and not self._open_calls:
            return self._messages
        end = Whole()
        end._messages, end._open_calls = list(self._messages), self._open_calls
        end.extend(more)
        end._close()
        return end._messages

    def _close(self) -> None:
        if self._open_calls:
            results = [synthetic_result(call, Outcome.NOT_STARTED) for call in self._open_calls]
            # An id of its own, that is: the same history comes back the same, whoever makes it whole.
            self._messages.append(ToolMessage(results, id=f"{self._messages[-1].id}_results"))
            self._open_calls = ()


def _answered(calls: Sequence[ToolCall], message: ToolMessage) -> ToolMessage:
    if len(calls) == len(message.results) and all(
        c.id == r.call_id for c, r in zip(calls, message.results, strict=True)
    ):
        return message
    by_id = {result.call_id: result for result in message.results}
    results = [by_id.get(call.id) or synthetic_result(call, Outcome.NOT_STARTED) for call in calls]
    return ToolMessage(results, id=message.id)


OtherModel = Callable[[Opaque], bool]


def _keep_all(_: Opaque) -> bool:
    return True


def may_replay(opaque: Opaque, target: Origin, *, other_model: OtherModel = _keep_all) -> bool:
    """Decide whether a piece of vendor state may go back.

    The same dialect, vendor, endpoint and model: yes. The same but for the model: as the dialect says by
    `other_model`. Anyone else: no; signatures do not travel.
    """
    origin = opaque.origin
    if (origin.dialect, origin.vendor, origin.endpoint) != (target.dialect, target.vendor, target.endpoint):
        return False
    return origin.model == target.model or other_model(opaque)


def replay(messages: Iterable[Message], target: Origin, *, other_model: OtherModel = _keep_all) -> tuple[Message, ...]:
    """Return the history as `target` may see it: foreign vendor state and reasoning left out.

    Foreign reasoning is dropped rather than sent as text, because models then imitate it. A tool that another
    vendor ran becomes a short note. Messages that need no change come back as the same objects, and a `Transcript`
    that needs none as it is.
    """
    history = as_messages(messages)
    kept = kept_with(history)
    key = (replay, target, other_model)
    if (known := kept.get(key)) is None:
        known = kept[key] = Growing(partial(Replayed, target, other_model))
    replayed: Replayed = known.of(history)
    return Transcript(replayed.messages, kept) if replayed.is_changed else history


class Replayed:
    """A history as one vendor may see it: the `Sum` behind `replay`."""

    def __init__(self, target: Origin, other_model: OtherModel) -> None:
        self._target = target
        self._other_model = other_model
        self.messages: list[Message] = []
        self.is_changed: bool = False

    def extend(self, messages: Sequence[Message]) -> None:
        """Go on with these."""
        start = len(self.messages)
        self.messages += messages
        for place, message in enumerate(messages, start):
            if isinstance(message, AssistantMessage) and not _is_all_own(message, self._target):
                self.messages[place] = _replay_answer(message, self._target, self._other_model)
                self.is_changed = True


def _is_all_own(message: AssistantMessage, target: Origin) -> bool:
    if message.origin is not None and message.origin != target:
        return False
    return all(opaque.origin == target for item in message.content if item.opaque for opaque in item.opaque)


NOBODY = Origin("", "", "", "")


def without_reasoning(message: AssistantMessage) -> AssistantMessage:
    """The answer as another vendor would see it: its text and calls, without reasoning and vendor state."""
    return _replay_answer(message, NOBODY, _keep_all)


def reasoning_lost(before: Iterable[Message], after: Iterable[Message]) -> tuple[str, ...]:
    """Whose reasoning `after`, which `replay` made of `before`, does not hold any more, as `"vendor:model"`."""
    lost = {
        f"{old.origin.vendor}:{old.origin.model}": None
        for old, new in zip(before, after, strict=True)
        if isinstance(old, AssistantMessage) and old is not new and old.origin is not None
        if isinstance(new, AssistantMessage) and _reasoning_in(new) < _reasoning_in(old)
    }
    return tuple(lost)


def _reasoning_in(message: AssistantMessage) -> int:
    thoughts = sum(1 + len(item.opaque) for item in message.content if isinstance(item, Thinking))
    return thoughts + sum(opaque.type == "signature" for item in message.content for opaque in item.opaque)


def _replay_answer(message: AssistantMessage, target: Origin, other_model: OtherModel) -> AssistantMessage:
    content = tuple(kept for item in message.content if (kept := _replay_item(item, message, target, other_model)))
    return attrs.evolve(message, content=content)


def _replay_item(
    item: AssistantContent, message: AssistantMessage, target: Origin, other_model: OtherModel
) -> AssistantContent | None:
    kept = tuple(opaque for opaque in item.opaque if may_replay(opaque, target, other_model=other_model))
    same_dialect = message.origin is not None and message.origin.dialect == target.dialect
    same_endpoint = (
        same_dialect
        and message.origin is not None
        and ((message.origin.vendor, message.origin.endpoint) == (target.vendor, target.endpoint))
    )
    match item:
        case Thinking() if not kept and not same_endpoint:
            return None
        case ServerTool() if not same_endpoint:
            return Text(f"[{item.tool}: {item.stage} of a tool that {_vendor(message)} ran]")
        case Unknown() if not same_dialect:
            return None
        case _:
            return item if kept == item.opaque else attrs.evolve(item, opaque=kept)


def _vendor(message: AssistantMessage) -> str:
    return message.origin.vendor if message.origin else "the vendor"


def last_user_text(messages: Sequence[Message]) -> str:
    """The text of the last thing the user said; empty if there is none."""
    return next((m.text for m in reversed(messages) if isinstance(m, UserMessage)), "")
