"""What a dialect is: one wire format, as pure functions from and to the neutral nouns of `alloy.llm`.

A dialect knows no HTTP library, no clock and no key. `alloy.providers.client` puts it to work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Protocol

import attrs

from alloy.llm.content import JSON, Opaque, Origin
from alloy.llm.delta import Delta
from alloy.llm.errors import ProviderError, StreamTruncated
from alloy.llm.request import EFFORTS, Effort, Request
from alloy.providers import fast_json
from alloy.providers.checked import check
from alloy.providers.framing import Frame


def _is_of(kind: type) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if type(value) is not kind:
            raise TypeError(f"{attribute.name} must be of type {kind.__name__}, got {value!r}")

    return check


def _one_of(*known: str) -> Callable[[object, attrs.Attribute[Any], object], None]:
    def check(_: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if value not in known:
            raise ValueError(f"{attribute.name} must be {' or '.join(map(repr, known))}, got {value!r}")

    return check


def _efforts(given: Sequence[Effort]) -> tuple[Effort, ...]:
    return tuple(given)


def _known_efforts(_: object, attribute: attrs.Attribute[Any], value: Sequence[str]) -> None:
    if not value or not set(value) <= set(EFFORTS):
        raise ValueError(f"{attribute.name} must be some of {', '.join(EFFORTS)}, got {value!r}")


_FLAG = _is_of(bool)


@attrs.frozen(kw_only=True)
class Profile:
    """What one vendor's models want on the wire, where a dialect leaves room. Users can override each field.

    Attributes:
        max_output_tokens: sent where the dialect demands a limit and the settings give none.
        max_tokens_field: the body's name for the limit on output tokens.
        system_role: the role of the system prompt.
        usage_option: how usage is asked for in a stream: by `stream_options`, by `usage`, or not at all.
        temperature: whether the model accepts one.
        temperature_needs: the effort with which it accepts one: `any`, `none`, or `default`, which is `none` or no word
            of it.
        limits_output: whether the model accepts a limit on output tokens.
        stop: whether the model accepts stop sequences.
        efforts: whether the model accepts an effort.
        known_efforts: those it accepts; any other becomes the next lower one, and is never switched off by that.
        effort_field: the body's name for the effort; `reasoning` is an object that holds it.
        thinking_switch: whether an effort of `"none"` is a field of its own.
        thinking: how much thinking is asked for: by a `level`, or by a `budget` of tokens.
        strict: whether to ask the server to hold the model to tools' and output's schemas by its `strict` flag.
        output: how a typed output is asked for: by a `tool`, or, if the vendor can enforce its schema, by that
            `schema`, which the answer's text then fits.
        output_format: how an answer is held to JSON: by a schema, or to any object at all.
        tool_choice_none: whether tools may be sent that must not be called; else they are left out.
        tool_ids: what ids of calls may look like: `any`, or `alnum9`, nine letters and digits.
        file_parts: whose shapes documents and sounds have, where there are two.
        files_in_results: whether files may stand in a tool's result; else they follow it.
        encrypted_reasoning: whether reasoning is asked for in the form in which it can go back.
        runs_custom_tools: whether the server itself runs the custom tools that the model calls.
        instructions: whether the system prompt's field is sent even without one.
        signed_calls: whether the first call of an answer has to be signed; a call of another vendor's model gets
            the signature that stands for none.
        reasoning_with_calls: whether an answer with calls goes back with its reasoning, be that empty.
        answer_after_tools: whether the model must have answered a tool's result before the user speaks again; if
            not, an answer is put there.
        context_window: tokens of context to ask for where the server has to be told; None leaves it to the server.
        thinks_silently: whether the server may send nothing while the model thinks, for longer than
            `Timeouts.silence`; then `Timeouts.no_content` alone bounds how long it may be silent.
        reports_cost: whether a number under `usage.cost` is what the answer costs in USD, and one under
            `usage.cost_in_usd_ticks` in units of 1e-10 USD.

    Raises:
        TypeError, ValueError: a value is of the wrong type or out of its bounds.
    """

    max_output_tokens: int = attrs.field(default=32_000, validator=_is_of(int))
    max_tokens_field: str = attrs.field(default="max_tokens", validator=_is_of(str))
    system_role: Literal["system", "developer"] = attrs.field(
        default="system", validator=_one_of("system", "developer")
    )
    usage_option: Literal["stream_options", "usage", "none"] = attrs.field(
        default="stream_options", validator=_one_of("stream_options", "usage", "none")
    )
    temperature: bool = attrs.field(default=True, validator=_FLAG)
    temperature_needs: Literal["any", "default", "none"] = attrs.field(
        default="any", validator=_one_of("any", "default", "none")
    )
    limits_output: bool = attrs.field(default=True, validator=_FLAG)
    stop: bool = attrs.field(default=True, validator=_FLAG)
    efforts: bool = attrs.field(default=True, validator=_FLAG)
    known_efforts: tuple[Effort, ...] = attrs.field(default=EFFORTS, converter=_efforts, validator=_known_efforts)
    effort_field: Literal["reasoning_effort", "reasoning"] = attrs.field(
        default="reasoning_effort", validator=_one_of("reasoning_effort", "reasoning")
    )
    thinking_switch: bool = attrs.field(default=False, validator=_FLAG)
    thinking: Literal["level", "budget"] = attrs.field(default="level", validator=_one_of("level", "budget"))
    strict: bool = attrs.field(default=False, validator=_FLAG)
    output: Literal["tool", "schema"] = attrs.field(default="tool", validator=_one_of("tool", "schema"))
    output_format: Literal["json_schema", "json_object"] = attrs.field(
        default="json_schema", validator=_one_of("json_schema", "json_object")
    )
    tool_choice_none: bool = attrs.field(default=True, validator=_FLAG)
    tool_ids: Literal["any", "alnum9"] = attrs.field(default="any", validator=_one_of("any", "alnum9"))
    file_parts: Literal["openai", "mistral"] = attrs.field(default="openai", validator=_one_of("openai", "mistral"))
    files_in_results: bool = attrs.field(default=True, validator=_FLAG)
    encrypted_reasoning: bool = attrs.field(default=True, validator=_FLAG)
    runs_custom_tools: bool = attrs.field(default=False, validator=_FLAG)
    instructions: bool = attrs.field(default=False, validator=_FLAG)
    signed_calls: bool = attrs.field(default=True, validator=_FLAG)
    reasoning_with_calls: bool = attrs.field(default=False, validator=_FLAG)
    answer_after_tools: bool = attrs.field(default=False, validator=_FLAG)
    context_window: int | None = attrs.field(default=None, validator=attrs.validators.optional(_is_of(int)))
    thinks_silently: bool = attrs.field(default=False, validator=_FLAG)
    reports_cost: bool = attrs.field(default=False, validator=_FLAG)


@attrs.frozen(kw_only=True)
class Target:
    """Whom a request is for: what a dialect may know of vendor and model."""

    origin: Origin
    profile: Profile = Profile()


@attrs.frozen(kw_only=True)
class WireRequest:
    """A request as it goes over the wire, without secrets.

    Attributes:
        path: appended to the base URL, from its first slash.
        headers: those that the dialect itself needs.
        body: fragments of the JSON text, to be sent one after the other.
    """

    path: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: Sequence[bytes]

    def json(self) -> JSON:
        """The body, parsed again."""
        return json.loads(b"".join(self.body))


class Decoder(Protocol):
    """Reads one answer. Holds the little state that the wire format demands; the fold does the rest."""

    @property
    def is_complete(self) -> bool:
        """The terminal marker has been seen. What may follow, such as usage, is worth a short wait, not a long one."""
        ...

    def feed(self, frames: Sequence[Frame]) -> Sequence[Delta]:
        """Read some frames of a stream, in their order.

        An error never swallows what came before it: where frames of one batch hold both, the call returns
        the deltas, and the next one – of `feed`, even without frames, or of `end` – raises.

        Raises:
            ProviderError: the stream carries an error, of the same subclass as for the HTTP status that
                means the same, with `in_stream` set.
            ValueError, KeyError, TypeError: a frame is not what the API promises; the client makes it a
                `ProtocolError`.
        """
        ...

    def whole(self, body: JSON) -> Sequence[Delta]:
        """Read an answer that came in one piece, though a stream was asked for.

        Raises:
            As `feed`.
        """
        ...

    def end(self) -> Sequence[Delta]:
        """The body is over.

        Raises:
            StreamTruncated: the terminal marker has not been seen.
        """
        ...


class Dialect(Protocol):
    """One wire format."""

    @property
    def name(self) -> str:
        """Such as `"anthropic.messages"`; stands in every `Origin`."""
        ...

    @property
    def framing(self) -> Literal["sse", "lines"]:
        """How frames are told apart in a stream's bytes: server-sent events, or a JSON value a line."""
        ...

    def encode(self, request: Request, target: Target) -> WireRequest:
        """Write a request whose history is sendable and has passed the replay policy.

        Raises:
            UnsupportedFeature: the settings or the content ask for what this vendor or model cannot do.
        """
        ...

    def decoder(self, request: Request, target: Target) -> Decoder:
        """A fresh decoder for the answer to `request`."""
        ...

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """Read an answer whose HTTP status is an error. Header names are lower case; the body may be anything."""
        ...

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """The replay policy's question: may this go back to another model of the same vendor?"""
        ...


class FrameDecoder:
    """A decoder but for the wire format itself, which is in what the dialect overrides.

    Attributes:
        target: who answers.
        is_complete: see `Decoder.is_complete`; the dialect sets it.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self.is_complete: bool = False
        self._held: Exception | None = None
        self._kinds: dict[int, type] = {}  # of the items that have begun

    def complete(self) -> None:
        """The terminal marker has come."""
        self.is_complete = True

    def read(self, frame: Frame, deltas: list[Delta]) -> None:
        """Append what one frame adds to the answer."""
        raise NotImplementedError

    def read_whole(self, body: JSON, deltas: list[Delta]) -> None:
        """Append all of an answer that came in one piece."""
        raise NotImplementedError

    def finish(self, deltas: list[Delta]) -> None:
        """Append what can only be said at the end of a complete answer."""

    def feed(self, frames: Sequence[Frame]) -> Sequence[Delta]:
        """See `Decoder.feed`."""
        if self._held is not None:
            raise self._held
        deltas: list[Delta] = []
        try:
            for frame in frames:
                start = len(deltas)
                self.read(frame, deltas)
                check(deltas, self._kinds, start)
        except (ProviderError, ValueError, *_MISSHAPEN) as error:
            self._held = _as_unreadable(error) if isinstance(error, _MISSHAPEN) else error
            if not deltas:
                raise self._held from error.__cause__
        return deltas

    def whole(self, body: JSON) -> Sequence[Delta]:
        """See `Decoder.whole`."""
        deltas: list[Delta] = []
        try:
            self.read_whole(body, deltas)
            self.finish(deltas)
            check(deltas, self._kinds)
        except _MISSHAPEN as error:
            raise _as_unreadable(error) from error
        return deltas

    def end(self) -> Sequence[Delta]:
        """See `Decoder.end`. A frame that could not be read just before the end was cut, like the answer."""
        if isinstance(self._held, ProviderError):
            raise self._held
        if not self.is_complete:
            origin = self.target.origin
            raise StreamTruncated(
                f"the answer of {origin.vendor} ended before its end",
                vendor=origin.vendor,
                model=origin.model,
                in_stream=True,
            ) from self._held
        deltas: list[Delta] = []
        try:
            self.finish(deltas)
            check(deltas, self._kinds)
        except _MISSHAPEN as error:
            raise _as_unreadable(error) from error
        return deltas


_MISSHAPEN = (AttributeError, LookupError, TypeError, RecursionError)  # JSON of another shape than promised


def _as_unreadable(error: Exception) -> ValueError:
    return ValueError(f"JSON of an unexpected shape: {type(error).__name__}: {error}")


def _plain_mapping(value: object) -> JSON:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=_plain_mapping)
_DECODER = json.JSONDecoder(parse_constant=lambda _: None)  # NaN, which some servers write, is null


def dumps(value: JSON) -> bytes:
    """JSON text in UTF-8, compact. A lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    return _ENCODER.encode(value).encode("utf-8", "replace")


def loads(text: str) -> JSON:
    """Read JSON text, at less cost than `json.loads`; NaN and infinities become None.

    Raises:
        ValueError: it is no JSON.
    """
    if fast_json.decode is not None:
        try:
            return fast_json.decode(text)
        except fast_json.REFUSED:
            pass  # perhaps for one of the few things that the standard library reads nevertheless
    try:
        value, end = _DECODER.raw_decode(text)
    except ValueError:
        return _DECODER.decode(text)  # there may be white space before it
    return value if end == len(text) else _DECODER.decode(text)
