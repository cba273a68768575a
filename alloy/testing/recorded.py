"""Recorded traffic, played again: over a transport for whole runs, or without HTTP for a dialect alone.

A recording is a dict, or a path to its JSON: `{"exchanges": [{"request": {…}, "response": {"status",
"headers", "body", "stream"?, "chunk_sizes"?}}, …]}`. A body that is a string stands for these very
bytes in UTF-8; any other is sent as JSON.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import attrs

from alloy.llm.completion import Fold
from alloy.llm.content import JSON, Origin
from alloy.llm.delta import Delta
from alloy.llm.errors import ProviderError
from alloy.llm.message import AssistantMessage
from alloy.llm.request import Request
from alloy.providers.dialect import Dialect, Profile, Target
from alloy.providers.reader import Reader

Recording: TypeAlias = Mapping[str, JSON]
Split: TypeAlias = int | Sequence[int] | Literal["recorded"] | None


def load(recording: Recording | str | os.PathLike[str]) -> Recording:
    """Read a recording from its file; one that is read already comes back as it is.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    if isinstance(recording, Mapping):
        return recording
    value: Recording = json.loads(Path(recording).read_text("utf-8"))
    return value


def pieces(response: Mapping[str, JSON], split: Split = None) -> Iterator[bytes]:
    """Yield the body of a recorded response.

    Args:
        response: of one exchange.
        split: None for all in one piece; a number for pieces of so many bytes; several for pieces of these
            sizes, the last of which takes the rest; `"recorded"` for the sizes in which it once arrived.
    """
    body = response["body"]
    whole = (body if isinstance(body, str) else json.dumps(body)).encode()
    if split == "recorded":
        split = response.get("chunk_sizes")
    sizes = repeat(split) if isinstance(split, int) else cast(Sequence[int], split or ())
    start = 0
    for size in sizes:
        if start >= len(whole):
            return
        yield whole[start : start + size]
        start += size
    if start < len(whole):
        yield whole[start:]


# Over HTTP.


@attrs.frozen
class SentRequest:
    """A request as it was sent; `body` is parsed, None if there was none."""

    method: str
    url: str
    headers: Mapping[str, str] = attrs.field(repr=False)
    body: JSON


def replay(recording: Recording | str | os.PathLike[str], *, split: Split = None) -> Any:
    """Make a transport that answers with a recording's responses, in their order, whatever is asked.

    ```python
    transport = replay("recordings/weather.json", split=1)
    async with alloy.HTTP(transport=transport) as http:
        await alloy.run("What is the weather?", model="anthropic:claude-sonnet-4-6", http=http)
    assert transport.requests[0].body["messages"][0]["role"] == "user"
    ```

    Args:
        recording: the exchanges to play.
        split: in which pieces a body arrives, see `pieces`.

    Returns:
        An `httpx.AsyncBaseTransport` for `alloy.HTTP(transport=…)`. Its `requests` are the `SentRequest`s so far.

    Raises:
        AssertionError: while running: a request more than there are exchanges; it names the request.
    """
    from alloy.providers.http import handler_transport  # httpx loads at first use

    exchanges = load(recording)["exchanges"]
    requests: list[SentRequest] = []

    async def answer(
        method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        request = SentRequest(method, url, headers, json.loads(body) if body else None)
        requests.append(request)
        if len(requests) > len(exchanges):
            raise AssertionError(f"the recording has {len(exchanges)} exchanges and was asked for one more: {request}")
        response = exchanges[len(requests) - 1]["response"]
        return response["status"], response.get("headers", {}), _arrive(response, split)

    transport: Any = handler_transport(answer)
    transport.requests = requests
    return transport


async def _arrive(response: Mapping[str, JSON], split: Split) -> AsyncIterator[bytes]:
    for piece in pieces(response, split):
        yield piece


# Without HTTP.


@attrs.frozen(kw_only=True)
class Decoded:
    """What a dialect made of a recorded response: a message or an error.

    Attributes:
        message: None if there is an error; what had come before it is in `error.partial`.
        deltas: what the decoder read, in order.
    """

    message: AssistantMessage | None = None
    error: ProviderError | None = None
    deltas: tuple[Delta, ...] = ()


def decode(
    dialect: Dialect, exchange: Mapping[str, JSON], *, split: Split = None, target: Target | None = None
) -> Decoded:
    """Read a recorded response with a dialect, as the client does, but without HTTP.

    Args:
        dialect: reads it.
        exchange: its response is read.
        split: in which pieces the body arrives, see `pieces`.
        target: who answers; by default somebody with the usual profile.
    """
    response = exchange["response"]
    target = target or target_for(dialect)
    if response["status"] >= 400:
        body = b"".join(pieces(response))
        return Decoded(error=dialect.error_from(response["status"], response.get("headers", {}), body, target))
    fold = Fold(target.origin)
    deltas: list[Delta] = []
    try:
        for batch in _read(dialect, response, split, target):
            fold.add(batch)
            deltas.extend(batch)
    except ProviderError as error:
        error.partial = fold.partial()
        return Decoded(error=error, deltas=tuple(deltas))
    return Decoded(message=fold.message(), deltas=tuple(deltas))


def target_for(
    dialect: Dialect, *, vendor: str = "somebody", model: str = "model", profile: Profile | None = None
) -> Target:
    """A target to decode and encode for, where it does not matter which."""
    origin = Origin(dialect.name, vendor, f"https://{vendor}.example", model)
    return Target(origin=origin, profile=profile or Profile())


def _read(dialect: Dialect, response: Mapping[str, JSON], split: Split, target: Target) -> Iterator[Sequence[Delta]]:
    decoder = dialect.decoder(Request(model=target.origin.model, messages=()), target)
    reader = Reader(dialect.framing, decoder, response.get("headers", {}).get("content-type", ""))
    for piece in pieces(response, split):
        yield reader.feed(piece)
        yield reader.feed(b"")
    yield reader.close()
    yield reader.end()
