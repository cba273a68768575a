"""What a dialect is: one wire format, as pure functions from and to the neutral nouns of `alloy.llm`.

A dialect knows no HTTP library, no clock and no key. `alloy.providers.client` puts it to work.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

import attrs

from alloy.llm.content import JSON, Opaque, Origin
from alloy.llm.delta import Delta
from alloy.llm.errors import ProviderError
from alloy.llm.request import Request
from alloy.providers.framing import Frame


@attrs.frozen(kw_only=True)
class Profile:
    """What one vendor's models want on the wire, where a dialect leaves room. Users can override each field.

    Attributes:
        max_output_tokens: sent where the dialect demands a limit and the settings give none.
        max_tokens_field: the body's name for the limit on output tokens.
        system_role: the role of the system prompt.
        usage_option: how usage is asked for in a stream: `stream_options`, or not at all.
        temperature: whether the model accepts one.
        stop: whether the model accepts stop sequences.
        efforts: whether the model accepts an effort.
    """

    max_output_tokens: int = 32_000
    max_tokens_field: str = "max_tokens"
    system_role: Literal["system", "developer"] = "system"
    usage_option: Literal["stream_options", "none"] = "stream_options"
    temperature: bool = True
    stop: bool = True
    efforts: bool = True


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

    def feed(self, frames: Sequence[Frame]) -> Sequence[Delta]:
        """Read some frames of a stream, in their order.

        Raises:
            ProviderError: the stream carries an error, of the same subclass as for the HTTP status that
                means the same, with `in_stream` set.
            ValueError, KeyError, TypeError: a frame is not what the API promises; the client makes it a
                `ProtocolError`.
        """

    def whole(self, body: JSON) -> Sequence[Delta]:
        """Read an answer that came in one piece, though a stream was asked for.

        Raises:
            As `feed`.
        """

    def end(self) -> Sequence[Delta]:
        """The body is over.

        Raises:
            StreamTruncated: the terminal marker has not been seen.
        """


class Dialect(Protocol):
    """One wire format."""

    @property
    def name(self) -> str:
        """Such as `"anthropic.messages"`; stands in every `Origin`."""

    @property
    def framing(self) -> Literal["sse", "lines"]:
        """How frames are told apart in a stream's bytes: server-sent events, or a JSON value a line."""

    def encode(self, request: Request, target: Target) -> WireRequest:
        """Write a request whose history is sendable and has passed the replay policy.

        Raises:
            UnsupportedFeature: the settings or the content ask for what this vendor or model cannot do.
        """

    def decoder(self, request: Request, target: Target) -> Decoder:
        """A fresh decoder for the answer to `request`."""

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """Read an answer whose HTTP status is an error. Header names are lower case; the body may be anything."""

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """The replay policy's question: may this go back to another model of the same vendor?"""


def dumps(value: JSON) -> bytes:
    """JSON text in UTF-8, compact. A lone surrogate, which UTF-8 cannot hold, becomes a question mark."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
