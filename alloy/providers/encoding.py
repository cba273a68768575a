"""What the encoders of all dialects have in common. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

from alloy.llm.content import JSON, Media
from alloy.llm.errors import UnsupportedFeature
from alloy.llm.message import AssistantMessage, Message, UserMessage
from alloy.llm.request import EFFORTS, Effort, Request
from alloy.llm.transcript import begins_with, kept_with
from alloy.providers.dialect import Profile, Target, dumps

T = TypeVar("T")

JOINED_BYTES = 16_384  # pieces are joined up to here: few to join for a request, little to copy for a turn


class Written(Generic[T]):
    """The messages of one conversation as a dialect writes them: the settled ones once, and only the last ones anew.

    What is written of an answer, and of all that follows, does not depend on what was before it, unless its
    neighbour before is an answer too. So everything before the last such answer is settled.

    Args:
        write: writes messages that are neighbours, as JSON that commas may join. What has to be looked at again
            each time may be something else.
        sends: whether there is anything of a message on the wire.
    """

    def __init__(
        self, write: Callable[[Sequence[Message]], Iterable[bytes | T]], sends: Callable[[Message], object]
    ) -> None:
        self._write = write
        self._sends = sends
        self._settled = 0  # so many messages
        self._seen: list[Message] = []  # they, and the answer behind them
        self._written: list[bytes | T] = []

    def of(self, messages: Sequence[Message]) -> list[bytes | T]:
        """Write these messages; neighbours that are bytes may have been joined, by a comma."""
        if not begins_with(messages, self._seen):
            self._settled, self._seen, self._written = 0, [], []
        start, end = self._settled, self._last_answer(messages)
        if end > start:
            pieces: list[bytes | T] = [*self._written[-1:], *self._write(messages[start:end])]  # this may raise
            self._written[-1:] = joined(pieces)
            self._seen += messages[len(self._seen) : end + 1]
            self._settled = start = end
        return [*self._written, *self._write(messages[start:])]

    def _last_answer(self, messages: Sequence[Message]) -> int:
        """The place of the last answer that begins something of its own; 0 if there is none that is not settled."""
        for place in range(len(messages) - 1, self._settled, -1):
            if isinstance(messages[place], AssistantMessage) and self._sends(messages[place]):
                before = place - 1
                while before > 0 and not self._sends(messages[before]):
                    before -= 1
                if not isinstance(messages[before], AssistantMessage):
                    return place
        return 0


def joined(pieces: Iterable[bytes | T]) -> Iterator[bytes | T]:
    """Join neighbours that are bytes by commas, to pieces that are not much longer than `JOINED_BYTES`."""
    parts: list[bytes] = []
    size = 0
    for piece in pieces:
        if not isinstance(piece, bytes):
            if parts:
                yield b",".join(parts)
                parts, size = [], 0
            yield piece
            continue
        parts.append(piece)
        size += len(piece)
        if size >= JOINED_BYTES:
            yield b",".join(parts)
            parts, size = [], 0
    if parts:
        yield b",".join(parts)


def written(
    messages: Sequence[Message],
    who: Hashable,
    write: Callable[[Sequence[Message]], Iterable[bytes | T]],
    sends: Callable[[Message], object],
) -> list[bytes | T]:
    """Write messages as `Written` does, with what is kept of `who` with the conversation."""
    kept = kept_with(messages)
    if (known := kept.get(who)) is None:
        known = kept[who] = Written(write, sends)
    result: list[bytes | T] = known.of(messages)
    return result


def body_of(
    head: Mapping[str, JSON],
    messages: Iterable[bytes],
    tail: Mapping[str, JSON],
    vendor: Mapping[str, JSON],
    *,
    of: Sequence[Message] = (),
    name: str = "messages",
) -> tuple[bytes, ...]:
    """Write the body of a request: `head`, the encoded messages under `name`, then `tail`.

    What stays equal from one request to the next comes first, so that it is a prefix for the vendor's cache.

    Args:
        head: fields before the messages.
        messages: the messages, already JSON; one piece may be several, with their commas.
        tail: fields after the messages.
        vendor: fields as the user gave them: each replaces the field of its name as a whole, but a list of
            `tools` is added to ours, since ours are what the program can run.
        of: the messages as they were before they were encoded; what was written of the head is kept with them.
        name: what the dialect calls its list of messages.
    """
    if isinstance(extra := vendor.get("tools"), list):
        vendor = {**vendor, "tools": [*head.get("tools", ()), *extra]}
    in_head = {**head, **{name: vendor[name] for name in ("tools", *head) if name in vendor}}
    in_tail = {**tail, **{name: value for name, value in vendor.items() if name not in in_head}}
    if name in in_tail:
        return (dumps({**in_head, **in_tail}),)
    fragments = [_opening(in_head, of), b'"' + name.encode() + b'":[']
    for number, piece in enumerate(messages):
        fragments += (b",", piece) if number else (piece,)
    fragments.append(b"]," + dumps(in_tail)[1:] if in_tail else b"]}")
    return tuple(fragments)


def _opening(head: Mapping[str, JSON], messages: Sequence[Message]) -> bytes:
    """The head, up to where the messages begin; mostly the tools, which are the same as in the request before."""
    kept = kept_with(messages)
    known: tuple[Mapping[str, JSON], bytes] | None = kept.get(_opening)
    if known is None or known[0] != head:
        known = kept[_opening] = head, dumps(head)[:-1] + b"," if head else b"{"
    return known[1]


def refuse_unsupported(
    request: Request,
    target: Target,
    takes: Callable[[Media], bool],
    *,
    takes_temperature: bool,
    also: Mapping[str, bool] = {},
) -> None:
    """Refuse what the caller asks for now and this model does not take.

    A file in an older message is no reason to refuse, or its conversation could never go on: it is encoded as
    `left_out` says.

    Args:
        request: to be encoded.
        target: whom it is for.
        takes: whether the dialect can write a file.
        takes_temperature: whether the dialect and the model do.
        also: further settings by name, True for what is asked for and not taken.

    Raises:
        UnsupportedFeature: a setting, or a file in the last message, is not taken.
    """
    settings, profile = request.settings, target.profile
    asked = {
        "temperature": settings.temperature is not None and not takes_temperature,
        "effort": settings.effort is not None and not profile.efforts,
        "stop": bool(settings.stop) and not profile.stop,
        **also,
    }
    for feature, is_refused in asked.items():
        if is_refused:
            raise _unsupported(target, feature, f"takes no {feature}; leave it out of the settings")
    if request.messages and isinstance(last := request.messages[-1], UserMessage):
        for item in last.content:
            if isinstance(item, Media) and not takes(item):
                way = "by URL" if item.url is not None else "by id" if item.file_id is not None else item.media_type
                raise _unsupported(target, _kind(item), f"takes no {_kind(item)} ({way}); send it in another form")


def effort_of(request: Request, profile: Profile) -> Effort | None:
    """The effort to ask for: the next lower one that the model knows, if it does not know that of the settings.

    Thinking is switched off only where that was asked for; where it cannot be, the least effort is as near as it gets.
    """
    effort, known = request.settings.effort, profile.known_efforts
    if effort is None or effort in known:
        return effort
    on: list[Effort] = [one for one in EFFORTS if one in known and one != "none"] or ["none"]
    lower: list[Effort] = [one for one in on if EFFORTS.index(one) < EFFORTS.index(effort)]
    return lower[-1] if lower else on[0]


def _unsupported(target: Target, feature: str, problem: str) -> UnsupportedFeature:
    origin = target.origin
    return UnsupportedFeature(
        f"{origin.vendor}:{origin.model} {problem}", feature=feature, vendor=origin.vendor, model=origin.model
    )


def wire_id(call_id: str) -> str:
    """The id as most APIs accept it, the same for a call and its result: up to 64 of `A-Z a-z 0-9 _ -`."""
    if re.fullmatch(r"[A-Za-z0-9_-]{1,64}", call_id):
        return call_id
    digest = hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:16]
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', call_id)[:47]}_{digest}"


def left_out(item: Media) -> str:
    """What the model reads in place of a file that it cannot take."""
    what = " ".join(filter(None, (_kind(item), item.media_type, item.name)))
    return f"[{what}: left out, as this model cannot take it]"


def _kind(item: Media) -> str:
    return type(item).__name__.lower()
