"""Compaction: how a history that is longer than a model's window is shown to it. Pure.

The history itself is never rewritten. A `View` says what a model is shown of its first part; the rest is shown as it
is. `plan` decides on the next view, `show` makes the messages of one. `alloy.loop.compacting` acts on them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from alloy.llm.content import JSON, Content, Text, ToolCall, ToolResult
from alloy.llm.history import without_reasoning
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.llm.provider import Model
from alloy.llm.transcript import Transcript
from alloy.loop.summary import Files, clipped
from alloy.loop.tokens import PROSE, tokens_of_message

if TYPE_CHECKING:
    from alloy.loop.events import Compacted


def _tokens(least: int) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise TypeError(f"{attribute.name} must be a number of tokens, got {value!r}")
        if value < least:
            raise ValueError(f"{attribute.name} must be {least} or more, got {value!r}")

    return check


@attrs.frozen(kw_only=True)
class Compaction:
    """How a conversation goes on that does not fit into the model's window any more.

    Looked at before each request. First the old tool results are replaced by a line about each; if that is not
    enough, a model sums up the old part. What was said last, the first instruction and the last one stay as they
    were. The history, and so `Result.messages`, keeps everything: only what is sent changes.

    Attributes:
        window: tokens that the model can have before it, the answer included. None takes what is known of the model;
            where nothing is known, there is compaction only when the vendor says that the request is too long.
        reserve: tokens that are kept free for the answer; at most a quarter of the window, unless
            `Settings.max_output_tokens` wants more.
        keep_recent: tokens of the latest messages that stay as they are; at most a third of the room.
        summarise: False leaves the old part out without asking a model to sum it up.
        summary_model: who sums up; None asks the model of the run.
        on_compaction: called with the `Compacted` event of each compaction, sync or async. Its errors are logged.

    Raises:
        TypeError: a number is none, `summary_model` is no model, or `on_compaction` cannot be called.
        ValueError: a number is out of its bounds.
    """

    window: int | None = attrs.field(default=None, validator=attrs.validators.optional(_tokens(1)))
    reserve: int = attrs.field(default=16_384, validator=_tokens(0))
    keep_recent: int = attrs.field(default=20_000, validator=_tokens(0))
    summarise: bool = True
    summary_model: str | Model | None = None
    on_compaction: Callable[[Compacted], object] | None = None

    def __attrs_post_init__(self) -> None:
        if self.summary_model is not None and not isinstance(self.summary_model, str | Model):
            raise TypeError(f"summary_model must be 'vendor:model' or a Model, got {self.summary_model!r}")
        if self.on_compaction is not None and not callable(self.on_compaction):
            raise TypeError(f"on_compaction must be callable, got {self.on_compaction!r}")


LEAST_SUMMARY = 100  # tokens; a shorter one would say nothing


@attrs.frozen
class Room:
    """How the tokens of a window are shared out.

    Attributes:
        limit: the most that a request may take.
        keep: what the latest messages may take that stay as they are.
        summary: what a summary may take.
    """

    limit: int
    keep: int
    summary: int

    @property
    def goal(self) -> int:
        """What is aimed at, so that there is some way to go until the next time."""
        return self.limit * 3 // 4

    def tightened(self) -> Room:
        """For a request that was too long although it seemed to fit."""
        return Room(self.limit * 2 // 3, self.keep // 3, self.summary * 2 // 3)


def room_in(window: int, compaction: Compaction, max_output: int | None = None) -> Room:
    """Share out a window. In a small one, all parts are smaller."""
    reserve = min(compaction.reserve, window // 4)
    if max_output is not None:
        reserve = min(max(reserve, max_output), window // 2)
    limit = window - reserve
    return Room(limit, min(compaction.keep_recent, limit // 3), max(min(4_000, limit // 8), LEAST_SUMMARY))


@attrs.frozen(kw_only=True)
class View:
    """How the first part of a history is shown. Messages are named by their ids.

    Attributes:
        last: the last message of that part; those behind it are shown as they are.
        first: the first that is still shown; empty if all are.
        cleared: the first whose tool results are shown, if there are any before; of those, a line each.
        cap: the most characters of a tool result that are shown; None for no bound.
        summary: of what is not shown.
        files: that were read and changed there.
        ratio: of the vendor's count of tokens to ours.
    """

    last: str
    first: str = ""
    cleared: str = ""
    cap: int | None = None
    summary: str = ""
    files: Files = Files()
    ratio: float = 1.0

    def to_json(self) -> dict[str, JSON]:
        """The view as plain JSON values; `from_json` makes it again."""
        made = attrs.asdict(self)
        return {**made, "files": {kind: list(names) for kind, names in made["files"].items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, JSON]) -> View:
        """The view that `to_json` was asked for; what a later version may have added is passed over.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        known = {field.name: data[field.name] for field in attrs.fields(cls) if field.name in data}
        return cls(**{**known, "files": Files(**data.get("files", {}))})


def view_of(messages: Sequence[Message]) -> View | None:
    """The view that goes with a history, as with `Result.messages`; None if all of it is shown as it is."""
    found = messages.view if isinstance(messages, Transcript) else None
    return found if isinstance(found, View) else None


def with_view(messages: Sequence[Message], view: View | None) -> Transcript:
    """A history that is whole, to be shown as `view` says."""
    return Transcript(messages, view=view)


# Showing.


def show(view: View, messages: Sequence[Message]) -> tuple[list[Message], int] | None:
    """Make the messages that stand for the first part of a history, and tell how long that part is.

    None if this is not the history of the view: one of the messages that it names is not there.
    """
    end = _place_of(view.last, messages)
    first = _place_of(view.first, messages) if view.first else 0
    cleared = _place_of(view.cleared, messages) if view.cleared else 0
    if end is None or first is None or cleared is None:
        return None
    shown = list(_stand_ins(view, messages, first)) if first else []
    for place in range(first, end + 1):
        message = messages[place]
        if isinstance(message, ToolMessage):
            message = _short(message, view.cap, cleared=place < cleared)
        elif isinstance(message, AssistantMessage) and place < end:  # one at the end has paused, and goes on
            message = unbound(message)
        if not isinstance(message, AssistantMessage) or message.content:
            shown.append(message)
    return shown, end + 1


def _place_of(id: str, messages: Sequence[Message]) -> int | None:
    return next((place for place in range(len(messages) - 1, -1, -1) if messages[place].id == id), None)


PINNED = 8_000  # characters of an instruction that is shown again; of a longer one, head and tail


def _stand_ins(view: View, messages: Sequence[Message], first: int) -> Iterator[Message]:
    """What stands for the messages before `first`: the task, a summary, and what is still being worked on."""
    prompts = [m for m in messages[:first] if isinstance(m, UserMessage) and m.source != "engine"]
    if prompts:
        yield _pinned(prompts[0])
    text = view.summary
    if files := view.files.text():
        text = f"{text}\n\n{files}"
    yield UserMessage(f"{SUMMARY_HEAD}\n\n{text}", source="engine", id=f"{view.last}/summary")
    if len(prompts) > 1 and not isinstance(messages[first], UserMessage):
        yield _pinned(prompts[-1])


SUMMARY_HEAD = "[Earlier messages of this conversation are left out here. This is what they came to.]"


def _pinned(prompt: UserMessage) -> UserMessage:
    """A prompt that is short enough to be shown again and again; files in it are only named where it is not."""
    if tokens_of_message(prompt) <= PINNED / PROSE:
        return prompt
    return attrs.evolve(prompt, content=(Text(clipped(prompt.text, PINNED)),))


def _short(message: ToolMessage, cap: int | None, *, cleared: bool) -> ToolMessage:
    results = [trace(result) if cleared else _capped(result, cap) for result in message.results]
    changed = any(new is not old for new, old in zip(results, message.results, strict=True))
    return attrs.evolve(message, results=results) if changed else message


TRACE = 200  # characters of the line that a result leaves


def trace(result: ToolResult) -> ToolResult:
    """The line that stands for a result: the tool, how much it was, and how it began."""
    text, files = result.text, sum(not isinstance(item, Text) for item in result.content)
    if len(text) <= TRACE and not files:
        return result
    first = next((line.strip() for line in text.splitlines() if line.strip()), "")
    size = f"{len(text):,} characters" + (f", {files} files" if files else "")
    line = f"[result of {result.name or 'a tool'} left out: {size}; it began: {first[: TRACE // 2]!r}]"
    return attrs.evolve(result, content=(Text(line),))


def _capped(result: ToolResult, cap: int | None) -> ToolResult:
    if cap is None or len(result.text) <= cap:
        return result
    files = [item for item in result.content if not isinstance(item, Text)]
    return attrs.evolve(result, content=(Text(clipped(result.text, cap)), *files))


def unbound(message: AssistantMessage) -> AssistantMessage:
    """An answer without what is bound to the very messages before it: its signed reasoning and its vendor's state."""
    if all(type(item) in (Text, ToolCall) and not item.opaque for item in message.content if isinstance(item, Content)):
        return message
    return without_reasoning(message)


# Deciding.


@attrs.frozen(kw_only=True)
class Plan:
    """What to do.

    Attributes:
        view: the next one; its summary is the one before until a new one is made.
        old: what is to be summed up, and added to the summary; empty if nothing is.
    """

    view: View
    old: Sequence[Message] = ()


USEFUL = 0.9  # what is left after a compaction that is worth it


def plan(messages: Sequence[Message], view: View | None, room: Room, *, head: int, ratio: float) -> Plan | None:
    """Decide how a history is to be shown; None if nothing makes it notably shorter.

    Args:
        messages: the whole of it.
        view: the one so far.
        room: in the window.
        head: tokens of what stands before the messages, as guessed.
        ratio: of the vendor's count of tokens to ours.
    """
    if not messages:
        return None
    before = _guess(view, messages, head)
    expected = [
        (one, math.ceil(_guess(one.view, messages, head) * ratio + (room.summary if one.old else 0)))
        for one in _plans(messages, view, room, ratio)
    ]
    useful = [(one, tokens) for one, tokens in expected if tokens < USEFUL * before * ratio]
    for most in (room.goal, room.limit):
        if found := next((one for one, tokens in useful if tokens <= most), None):
            return found
    return min(useful, key=lambda pair: pair[1])[0] if useful else None


def _guess(view: View | None, messages: Sequence[Message], head: int) -> int:
    """What a request takes that shows the history like this."""
    shown, end = (view and show(view, messages)) or ((), 0)
    return head + sum(map(tokens_of_message, (*shown, *messages[end:])))


def _plans(messages: Sequence[Message], view: View | None, room: Room, ratio: float) -> Iterator[Plan]:
    """The gentlest first."""
    base = attrs.evolve(view or View(last=""), last=messages[-1].id, ratio=ratio)
    start = (_place_of(view.first, messages) or 0) if view is not None and view.first else 0
    recent = _recent(messages, start, room.keep / ratio)
    cleared = attrs.evolve(base, cleared=messages[recent].id)
    if any(isinstance(message, ToolMessage) for message in messages[start:recent]):
        yield Plan(view=cleared)
    if recent > start:
        yield Plan(view=attrs.evolve(cleared, first=messages[recent].id), old=messages[start:recent])
    # What is left are the latest messages, of which one alone may be too much.
    last = _recent(messages, recent, 0)
    if last > recent:
        shorter = attrs.evolve(base, first=messages[last].id, cleared=messages[last].id)
        yield Plan(view=shorter, old=messages[start:last])
    for share in (1, 2, 4, 8):
        cap = max(int(room.keep / ratio * PROSE) // share, 400)
        first = messages[last].id if last > start else base.first
        yield Plan(view=attrs.evolve(base, first=first, cleared=messages[last].id, cap=cap), old=messages[start:last])


def _recent(messages: Sequence[Message], start: int, tokens: float) -> int:
    """Where the latest messages begin that take no more than so much; the last exchange is always one of them.

    Never between a call and its result.
    """
    place = len(messages)
    used = 0.0
    for at in range(len(messages) - 1, start - 1, -1):
        used += tokens_of_message(messages[at])
        if isinstance(messages[at], ToolMessage):
            continue
        if used > tokens and place < len(messages):
            break
        place = at
    return min(place, len(messages) - 1)
