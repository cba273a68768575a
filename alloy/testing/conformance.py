"""What a dialect must prove: `check_dialect`, for ours and for yours."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from alloy.llm.content import JSON, Image, Opaque, Text, ToolCall, ToolResult
from alloy.llm.errors import UnsupportedFeature
from alloy.llm.history import replay as replay_policy
from alloy.llm.history import sendable
from alloy.llm.message import AssistantMessage, Message, StopInfo, StopReason, ToolMessage, UserMessage
from alloy.llm.request import Request, ToolDefinition
from alloy.providers.dialect import Dialect, Target
from alloy.testing.recorded import Decoded, Recording, Split, decode, pieces, target_for
from alloy.testing.wire_rules import WIRE_RULES

Calls: TypeAlias = Sequence[tuple[str | None, str, JSON]]
WireRules: TypeAlias = Callable[[JSON], Iterable[str]]

BYTEWISE_LIMIT = 2_000  # bytes of a body that is always read byte by byte
RANDOM_SPLITS = 2


@attrs.frozen(kw_only=True)
class Expected:
    """What a recorded response says, in neutral words. What is None is not compared.

    Attributes:
        text, thinking: all of it, joined; where there is an error, what had come before it.
        tool_calls: id, name and arguments of each; an id of None stands for any; arguments that are no JSON
            object are given as their text.
        stop: the neutral reason.
        usage: counts by the names of `Usage`'s fields; None where there is none to be reported.
        error: the name of the error's class; None if there must be none.
        opaque: the first 16 hexadecimal digits of the SHA-256 of each signature and each piece of encrypted
            reasoning. They must be in the message, and in the request that sends it back.
    """

    text: str | None = None
    thinking: str | None = None
    tool_calls: Calls | None = None
    stop: str | None = None
    usage: Mapping[str, int] | None = None
    error: str | None = None
    opaque: Sequence[str] = ()


def check_dialect(
    dialect: Dialect,
    recordings: Mapping[str, Recording],
    expected: Mapping[str, Sequence[Expected | None]],
    *,
    target_of: Callable[[Recording], Target] | None = None,
    wire_rules: WireRules | None = None,
    exhaustive: bool = False,
    seed: int = 0,
) -> None:
    """Check a dialect against recorded traffic and against the rules of its wire.

    Decoding: every response reads as expected – whole, at random splits, in the pieces in which it once
    arrived and, if it is short, byte by byte – and gives the same deltas each time; and a stream that is cut
    short is never a success. Encoding: what was answered goes back, vendor state included; the samples of
    `histories` break none of the rules; and each request of a conversation begins as the one before it.

    Args:
        dialect: to be checked.
        recordings: by name.
        expected: by the same names, one for each exchange; None for one that is not for a dialect.
        target_of: who answered a recording; by default somebody with the usual profile.
        wire_rules: takes a request's body and returns what is wrong with it; by default those of
            `alloy.testing.wire_rules`, where there are some for the dialect's name.
        exhaustive: read every stream byte by byte.
        seed: of the random splits.

    Raises:
        AssertionError: the dialect deviates; the message lists how, with recording and exchange.
    """
    rules = wire_rules or WIRE_RULES.get(dialect.name) or (lambda body: ())
    chance = random.Random(seed)
    faults: list[str] = []
    for name, recording in recordings.items():
        target = target_of(recording) if target_of else target_for(dialect)
        if len(expected[name]) != len(recording["exchanges"]):
            raise ValueError(f"{name} has {len(recording['exchanges'])} exchanges, expected are {len(expected[name])}")
        for number, (exchange, want) in enumerate(zip(recording["exchanges"], expected[name], strict=True)):
            if want is None:
                continue
            found = _exchange_faults(dialect, exchange, want, target, rules, chance, exhaustive=exhaustive)
            faults += (f"{name}, exchange {number}: {fault}" for fault in found)
    faults += encoding_faults(dialect, target_for(dialect), rules)
    if faults:
        raise AssertionError(f"{dialect.name} deviates {len(faults)} times:\n" + "\n".join(faults))


def _exchange_faults(
    dialect: Dialect,
    exchange: Mapping[str, JSON],
    want: Expected,
    target: Target,
    rules: WireRules,
    chance: random.Random,
    *,
    exhaustive: bool,
) -> Iterator[str]:
    whole = decode(dialect, exchange, target=target)
    yield from deviations(want, whole)
    response = exchange["response"]
    if response.get("stream"):
        for label, split in _splits(response, chance, exhaustive=exhaustive):
            other = decode(dialect, exchange, split=split, target=target)
            if other.deltas != whole.deltas or _what(other) != _what(whole):
                yield f"read {label} it is {_what(other)}, read whole {_what(whole)}"
        if whole.message is not None and want.error is None:
            yield from _cut_faults(dialect, exchange, target)
    if whole.message is not None:
        yield from _return_faults(dialect, whole.message, want, target, rules)


def _splits(response: Mapping[str, JSON], chance: random.Random, *, exhaustive: bool) -> Iterator[tuple[str, Split]]:
    size = sum(map(len, pieces(response)))
    if response.get("chunk_sizes"):
        yield "as it arrived", "recorded"
    for _ in range(RANDOM_SPLITS):
        sizes: list[int] = []
        while sum(sizes) < size:
            sizes.append(chance.randint(1, max(2, size // 10)))
        yield f"in pieces of {sizes}", sizes
    if exhaustive or size <= BYTEWISE_LIMIT:
        yield "byte by byte", 1


def _cut_faults(dialect: Dialect, exchange: Mapping[str, JSON], target: Target) -> Iterator[str]:
    """The first third of a stream is without its terminal marker, so it must not pass for an answer."""
    response = exchange["response"]
    raw = "".join(piece.decode() for piece in pieces(response))
    cut = {**exchange, "response": {**response, "body": raw[: len(raw) // 3]}}
    decoded = decode(dialect, cut, target=target)
    if decoded.message is not None or type(decoded.error).__name__ != "StreamTruncated":
        yield f"cut after a third it is {_what(decoded)}, expected StreamTruncated"


def _what(decoded: Decoded) -> str:
    if decoded.error is not None:
        return f"{type(decoded.error).__name__}({decoded.error})"
    message = decoded.message
    assert message is not None
    return f"{message.stop.reason} {message.text!r:.80} {[call.name for call in message.tool_calls]} {message.usage}"


# Comparing.


def deviations(want: Expected, decoded: Decoded) -> Iterator[str]:
    """Yield how a decoded response differs from what it says."""
    error = type(decoded.error).__name__ if decoded.error is not None else None
    if error != want.error:
        yield f"error is {error} ({decoded.error}), expected {want.error}"
        return
    message = decoded.message if decoded.error is None else decoded.error.partial
    got: dict[str, JSON] = {
        "text": message.text if message else "",
        "thinking": message.thinking if message else "",
    }
    if decoded.message is not None:
        got["tool_calls"] = [(call.id, call.name, _arguments(call)) for call in decoded.message.tool_calls]
        got["stop"] = decoded.message.stop.reason
        got["usage"] = _counts(decoded.message, want.usage)
    for name, value in got.items():
        wanted = getattr(want, name)
        if wanted is None or (name == "thinking" and decoded.error is not None):
            continue
        if name == "tool_calls":
            wanted = [
                (call[0] or value[n][0] if n < len(value) else call[0], *call[1:]) for n, call in enumerate(wanted)
            ]
        if value != wanted:
            yield f"{name} is {value!r:.400}, expected {wanted!r:.400}"
    if decoded.message is not None:
        held = {_digest(text) for item in decoded.message.content for o in item.opaque for text in _strings(o.data)}
        if missing := [digest for digest in want.opaque if digest not in held]:
            yield f"vendor state is missing: {missing}"


def _arguments(call: ToolCall) -> JSON:
    return call.arguments_text if call.parse_error is not None else dict(call.arguments)


def _counts(message: AssistantMessage, wanted: Mapping[str, int] | None) -> Mapping[str, int] | None:
    if wanted is None or message.usage is None:
        return None
    return {name: getattr(message.usage, name) for name in wanted}


def _strings(value: JSON) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for inner in value.values():
                yield from _strings(inner)
        case list():
            for inner in value:
                yield from _strings(inner)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


# Sending back.


def _return_faults(
    dialect: Dialect, answer: AssistantMessage, want: Expected, target: Target, rules: WireRules
) -> Iterator[str]:
    """An answer goes back with all that was said, called and held."""
    results = [ToolResult("done", call_id=call.id, name=call.name) for call in answer.tool_calls]
    history: list[Message] = [UserMessage("Hello"), answer, ToolMessage(results), UserMessage("Go on")]
    body = _encode(dialect, history, target)
    yield from (f"sent back: {fault}" for fault in rules(body))
    sent = list(_strings(body))
    text = "".join(sent)
    for item in answer.content:
        if isinstance(item, Text) and item.text.strip() and item.text not in text:
            yield f"the text {item.text!r:.80} is not sent back"
        if isinstance(item, ToolCall) and item.name not in sent:
            yield f"the call of {item.name!r} is not sent back"
    digests = set(map(_digest, sent))
    has_said = any(isinstance(item, ToolCall) or (isinstance(item, Text) and item.text) for item in answer.content)
    if has_said and (missing := [digest for digest in want.opaque if digest not in digests]):
        yield f"vendor state is not sent back: {missing}"


def _encode(dialect: Dialect, history: Iterable[Message], target: Target, tools: Iterable[ToolDefinition] = ()) -> JSON:
    messages = replay_policy(sendable(history), target.origin, other_model=dialect.keeps_for_other_model)
    request = Request(model=target.origin.model, system="Be brief.", messages=messages, tools=tools)
    return dialect.encode(request, target).json()


@attrs.frozen
class _Tool:
    name: str
    description: str
    parameters: Mapping[str, JSON]
    strict: bool = True


TOOLS: Sequence[ToolDefinition] = tuple(
    _Tool(name, f"Looks up the {name}.", {"type": "object", "properties": {}, "additionalProperties": False})
    for name in ("weather", "time")
)


def histories(target: Target) -> Mapping[str, Sequence[Message]]:
    """Conversations that a dialect must be able to send, each at every point where a model is asked."""
    done, stop = StopInfo(StopReason.END_TURN), StopInfo(StopReason.TOOL_USE)
    foreign = attrs.evolve(target.origin, vendor="elsewhere")
    signed = Opaque(foreign, "signature", "c2lnbmVk")
    picture = Image(b"\x89PNG\r\n", media_type="image/png")

    def calls(*names: str) -> AssistantMessage:
        made = [ToolCall(f"call:{name}.{'x' * 70}", name, {"of": name}) for name in names]
        return AssistantMessage([Text("Let me see."), *made], stop=stop, origin=target.origin)

    def results(
        message: AssistantMessage, *content: str | Sequence[Text | Image], is_error: bool = False
    ) -> ToolMessage:
        made = zip(message.tool_calls, content, strict=True)
        return ToolMessage([ToolResult(c, call_id=call.id, name=call.name, is_error=is_error) for call, c in made])

    def says(text: str) -> AssistantMessage:
        return AssistantMessage(text, stop=done, origin=target.origin)

    one, two = calls("weather"), calls("weather", "time")
    broken = AssistantMessage(
        [ToolCall("call_1", "weather", {}, arguments_text='{"of": ', parse_error="cut off")], stop=stop
    )
    thought = AssistantMessage([Text("Hm.", opaque=[signed]), Text("Yes.")], stop=done, origin=foreign)
    return {
        "text": [UserMessage("Hello"), says("Hello."), UserMessage("And now?")],
        "a tool": [UserMessage("Weather?"), one, results(one, "sunny"), says("Sunny."), UserMessage("Thanks")],
        "two tools": [UserMessage("Both?"), two, results(two, "sunny", "noon"), says("Done."), UserMessage("Thanks")],
        "a steered run": [
            UserMessage("Both?"),
            two,
            results(two, "", "noon"),
            UserMessage("Quick!"),
            says("Done."),
            UserMessage("Thanks"),
        ],
        "an error": [
            UserMessage("Weather?"),
            one,
            results(one, "no such place", is_error=True),
            says("No."),
            UserMessage("Why?"),
        ],
        "a picture": [
            UserMessage([picture, "What?"]),
            one,
            results(one, [Text("this"), picture]),
            says("A dot."),
            UserMessage("Thanks"),
        ],
        "pictures and a word": [
            UserMessage("?"),
            one,
            results(one, [picture]),
            UserMessage("Quick!"),
            says("A dot."),
            UserMessage("Thanks"),
        ],
        "bad arguments": [
            UserMessage("Weather?"),
            broken,
            results(broken, "bad", is_error=True),
            says("No."),
            UserMessage("Why?"),
        ],
        "failed runs": [UserMessage("One"), UserMessage("Two"), says("Three."), UserMessage("Four")],
        "blanks": [
            UserMessage(["", "Hello", "  \n"]),
            AssistantMessage([Text(" "), Text("Yes?")], stop=done),
            UserMessage("Hm"),
        ],
        "two answers": [UserMessage("Hello"), says("One."), says("Two."), UserMessage("Three?")],
        "another vendor's": [UserMessage("Hello"), thought, UserMessage("And?"), says("Well.")],
        "no answer to a call": [UserMessage("Weather?"), one, UserMessage("Forget it"), says("Well.")],
        "odd text": [UserMessage('\ud800 \u2028 \x00 "\\'), says("\U0001f600 \ud83d"), UserMessage("?")],
    }


def encoding_faults(dialect: Dialect, target: Target, wire_rules: WireRules) -> Iterator[str]:
    """Yield how the requests of the sample conversations break the rules, or do not begin as those before them."""
    for name, history in histories(target).items():
        before: JSON = None
        for end in range(1, len(history) + 1):
            if isinstance(history[end - 1], AssistantMessage):
                continue
            try:
                body = _encode(dialect, history[:end], target, TOOLS)
            except UnsupportedFeature as error:
                if error.feature != "image" or end > 1:  # which it may refuse when it is new, but not for ever
                    yield f"history of {name!r}, {end} messages, is refused: {error}"
                continue
            yield from (f"history of {name!r}, {end} messages: {fault}" for fault in wire_rules(body))
            joins = end > 1 and isinstance(history[end - 1], UserMessage) and not _answers(history[end - 2])
            if before is not None and not joins and not _begins_as(before, body):
                yield f"history of {name!r}, {end} messages: does not begin as the request before it"
            before = body
    try:
        mute = dialect.encode(Request(model="model", messages=[UserMessage("Hello")]), target).json()
    except UnsupportedFeature as error:
        yield f"the simplest of all requests is refused: {error}"
    else:
        yield from (f"the simplest of all requests: {fault}" for fault in wire_rules(mute))


def _answers(message: Message) -> bool:
    return isinstance(message, AssistantMessage)


def _begins_as(before: JSON, body: JSON) -> bool:
    """Equal but for the list of messages, whose members are equal as far as it went."""
    old, new = _without_marks(before), _without_marks(body)
    lists = [name for name in old if isinstance(old[name], list) and name != "tools"]
    return all(
        new.get(name, [])[: len(value)] == value if name in lists else new.get(name) == value
        for name, value in old.items()
    )


def _without_marks(value: JSON) -> JSON:
    match value:
        case dict():
            return {key: _without_marks(inner) for key, inner in value.items() if key != "cache_control"}
        case list():
            return [_without_marks(inner) for inner in value]
        case _:
            return value
