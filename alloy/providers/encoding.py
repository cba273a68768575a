"""What the encoders of all dialects have in common. Pure."""

from __future__ import annotations

import hashlib
import re
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Generic, TypeVar

from alloy.llm.content import JSON, Media
from alloy.llm.errors import UnsupportedFeature
from alloy.llm.message import Message, UserMessage
from alloy.llm.request import EFFORTS, Effort, Request
from alloy.providers.dialect import Profile, Target, dumps

T = TypeVar("T")


class PerMessage(Generic[T]):
    """A function of a message, worked out once: the result is kept for as long as the message lives.

    Messages are found again by identity. They are frozen, so that is safe; and comparing two of them
    would cost more than encoding one.
    """

    def __init__(self, function: Callable[[Message], T]) -> None:
        self._function = function
        self._known: dict[int, tuple[weakref.ref[Message], T]] = {}

    def __call__(self, message: Message) -> T:
        key = id(message)
        known = self._known.get(key)
        if known is not None and known[0]() is message:
            return known[1]
        result = self._function(message)
        # The callback runs before the message's memory, and so its id, can be used again.
        self._known[key] = (weakref.ref(message, lambda _: self._known.pop(key, None)), result)
        return result

    def __reduce__(self) -> tuple[object, ...]:
        return PerMessage, (self._function,)  # a copy begins without results: they are bound to this process


def body_of(
    head: Mapping[str, JSON],
    messages: Iterable[bytes],
    tail: Mapping[str, JSON],
    vendor: Mapping[str, JSON],
    *,
    name: str = "messages",
) -> tuple[bytes, ...]:
    """Write the body of a request: `head`, the encoded messages under `name`, then `tail`.

    What stays equal from one request to the next comes first, so that it is a prefix for the vendor's cache.

    Args:
        head: fields before the messages.
        messages: the messages, already JSON.
        tail: fields after the messages.
        vendor: fields as the user gave them: each replaces the field of its name as a whole, but a list of
            `tools` is added to ours, since ours are what the program can run.
        name: what the dialect calls its list of messages.
    """
    if isinstance(extra := vendor.get("tools"), list):
        vendor = {**vendor, "tools": [*head.get("tools", ()), *extra]}
    in_head = {**head, **{name: vendor[name] for name in ("tools", *head) if name in vendor}}
    in_tail = {**tail, **{name: value for name, value in vendor.items() if name not in in_head}}
    if name in in_tail:
        return (dumps({**in_head, **in_tail}),)
    opening = dumps(in_head)[:-1] + b"," if in_head else b"{"
    fragments = [opening, b'"' + name.encode() + b'":[']
    for number, message in enumerate(messages):
        if number:
            fragments.append(b",")
        fragments.append(message)
    fragments.append(b"]," + dumps(in_tail)[1:] if in_tail else b"]}")
    return tuple(fragments)


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
