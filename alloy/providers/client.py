"""A vendor's model: a dialect put to work over HTTP."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING

import attrs
import trio

from alloy.llm.content import JSON, Origin
from alloy.llm.delta import Begun, Delta, Noted, UsagePart
from alloy.llm.errors import NotFound, ProviderError
from alloy.llm.history import reasoning_lost, replay
from alloy.llm.models import UNKNOWN, ModelCard
from alloy.llm.provider import Answer
from alloy.llm.request import Request
from alloy.providers.credentials import ApiKey, Credentials
from alloy.providers.dialect import Dialect, Profile, Target, WireRequest
from alloy.providers.enforceable import is_enforceable
from alloy.providers.reader import Reader
from alloy.providers.secret import Secret, redact, redact_error
from alloy.version import __version__

if TYPE_CHECKING:  # httpx is slow to load, and not needed before the first request
    from alloy.providers.http import HTTP
    from alloy.providers.response import Response

ERROR_BODY_BYTES = 1024 * 1024
ERROR_BODY_SECONDS = 10.0
_KEPT_CHARACTERS = 2048  # of a body, in an error

# A server that sends only these is not getting on with its answer.
_NO_CONTENT = frozenset({Begun, UsagePart, Noted})

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_SECRET_HEADER = re.compile(r"auth|key|token|secret", re.IGNORECASE)
_REQUEST_ID_HEADERS = (
    "request-id",
    "x-request-id",
    "x-oai-request-id",
    "x-goog-request-id",
    "x-amzn-requestid",
    "cf-ray",
)


def _headers(given: Mapping[str, str]) -> Mapping[str, str]:
    for name, value in given.items():
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"{name!r} cannot be the name of a header")
        if not (value.isascii() and value.isprintable()):
            raise ValueError(f"the header {name!r} must be printable ASCII")  # the value may be a secret
    return {name.lower(): value.strip() for name, value in given.items()}


def _target_of(model: VendorModel) -> Target:
    return Target(origin=model.origin, profile=model.profile)


def _first_headers_of(model: VendorModel) -> Mapping[str, str]:
    stream = "text/event-stream" if model.dialect.framing == "sse" else "application/x-ndjson"
    return {
        "accept": f"{stream}, application/json",
        "content-type": "application/json",
        "user-agent": f"alloy/{__version__}",
    }


def _secrets_in(headers: Mapping[str, str]) -> Sequence[Secret]:
    values = [value for name, value in headers.items() if value and _SECRET_HEADER.search(name)]
    return [Secret(value.split()[-1]) for value in values]  # without the scheme before it


@attrs.frozen(kw_only=True)
class VendorModel:
    """A model at a vendor: the `alloy.llm.provider.Model` that goes over HTTP.

    Attributes:
        name: `"vendor:model"`.
        base_url: what the dialect's paths are appended to.
        query: of every request's URL, behind what the dialect's paths hold of one.
        headers: sent besides the others, and instead of those of the same name.
        credentials: who asks.
        card: how much the model reads and writes, and what that costs.
        http: what requests go over. `with_http` sets it.

    Raises:
        ValueError: a header cannot be sent.
    """

    name: str
    origin: Origin
    dialect: Dialect
    profile: Profile = Profile()
    base_url: str
    query: str = attrs.field(default="", repr=False)
    headers: Mapping[str, str] = attrs.field(factory=dict, converter=_headers, repr=False, hash=False)
    credentials: Credentials = attrs.field(factory=ApiKey, repr=False)
    card: ModelCard = UNKNOWN
    http: HTTP | None = attrs.field(default=None, repr=False, eq=False)
    _target: Target = attrs.field(init=False, repr=False, eq=False, default=attrs.Factory(_target_of, takes_self=True))
    _first_headers: Mapping[str, str] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_first_headers_of, takes_self=True)
    )

    def with_http(self, http: HTTP) -> VendorModel:
        """The same model, asked over `http`."""
        return attrs.evolve(self, http=http)

    @property
    def account(self) -> Hashable:
        """See `alloy.llm.provider.Model.account`."""
        return self.base_url, self.query, self.credentials

    def holds_to(self, schema: Mapping[str, JSON]) -> bool:
        """See `alloy.llm.provider.Model.holds_to`."""
        profile = self.profile
        return profile.output == "schema" and profile.output_format == "json_schema" and is_enforceable(schema)

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Answer]:
        """See `alloy.llm.provider.Model.stream`.

        Raises:
            RuntimeError: there is no `http`.
        """
        if self.http is None:
            raise RuntimeError(
                f"{self.name!r} has nothing to be asked over: leave it to alloy.run, "
                "or write `async with alloy.HTTP() as http:` and take model.with_http(http)"
            )
        try:
            request, notes = self._replayed(request)
            wire = self.dialect.encode(request, self._target)
            headers = await self._headers_for(wire)
        except ProviderError as error:
            self._sign(error, self.headers)
            raise
        response = await self._send(wire, headers, self.http)
        if response.status == 401:
            async with response:
                refusal = await self._refusal(response, headers)
            headers = await self._other_headers(wire, headers, self.http, refusal)
            response = await self._send(wire, headers, self.http)
        async with response:
            if 200 <= response.status < 300:
                async with aclosing(self._answer(response, request, headers, notes)) as answer:
                    yield answer
                return
            refusal = await self._refusal(response, headers)
        raise refusal

    def _replayed(self, request: Request) -> tuple[Request, Sequence[Delta]]:
        """The request as this model may see it, and what is to be told of what is left out."""
        messages = replay(request.messages, self.origin, other_model=self.dialect.keeps_for_other_model)
        if messages is request.messages:
            return request, ()
        lost = reasoning_lost(request.messages, messages)
        notes = [Noted("reasoning_dropped", {"of": list(lost), "for": self.name})] if lost else []
        return attrs.evolve(request, messages=messages), notes

    async def _headers_for(self, wire: WireRequest) -> Mapping[str, str]:
        return {**self._first_headers, **await self.credentials.headers(), **wire.headers, **self.headers}

    async def _other_headers(
        self, wire: WireRequest, headers: Mapping[str, str], http: HTTP, refusal: ProviderError
    ) -> Mapping[str, str]:
        """Headers other than these, which were refused; without any that refusal is raised."""
        try:
            if await self.credentials.refused(headers, http):
                return await self._headers_for(wire)
        except ProviderError as error:
            self._sign(error, headers)
            raise
        raise refusal

    async def _send(self, wire: WireRequest, headers: Mapping[str, str], http: HTTP) -> Response:
        try:
            return await http.post(self._url_of(wire), headers, wire.body)
        except ProviderError as error:
            self._sign(error, headers)
            raise

    def _url_of(self, wire: WireRequest) -> str:
        url = self.base_url + wire.path
        return f"{url}{'&' if '?' in url else '?'}{self.query}" if self.query else url

    async def _answer(
        self, response: Response, request: Request, headers: Mapping[str, str], notes: Sequence[Delta]
    ) -> AsyncGenerator[Sequence[Delta], None]:
        if notes:
            yield notes
        if self.profile.thinks_silently:
            response.allow_silence()
        decoder = self.dialect.decoder(request, self._target)
        reader = Reader(self.dialect.framing, decoder, response.headers.get("content-type", ""))
        try:
            while chunk := await response.receive_some():
                if deltas := reader.feed(chunk):
                    if not _NO_CONTENT.issuperset(map(type, deltas)):
                        response.content_came()
                    yield deltas
                    reader.feed(b"")
                if reader.is_complete:
                    response.settle()
            for finish in (reader.close, reader.end):
                if deltas := finish():
                    yield deltas
        except ProviderError as error:
            error.in_stream = True
            self._sign(error, headers, response)
            raise

    async def _refusal(self, response: Response, headers: Mapping[str, str]) -> ProviderError:
        status = response.status
        if status < 400:
            place = response.headers.get("location", "nowhere")
            error: ProviderError = NotFound(
                f"the server redirects to {place!r}, which is not followed; correct the base_url", status=status
            )
            self._sign(error, headers, response)
            return error
        body = bytearray()
        with trio.move_on_after(ERROR_BODY_SECONDS), suppress(ProviderError):  # the status says enough
            while len(body) < ERROR_BODY_BYTES and (chunk := await response.receive_some()):
                body += chunk
        # Here and not only in `_sign`: what the dialect takes of it might end in half a secret.
        text = redact(body[:ERROR_BODY_BYTES].decode("utf-8", "replace"), _secrets_in(headers))
        error = self.dialect.error_from(status, response.headers, text.encode(), self._target)
        error.status = status
        error.body = text
        self._sign(error, headers, response)
        return error

    def _sign(self, error: ProviderError, headers: Mapping[str, str], response: Response | None = None) -> None:
        """Say in an error whom it is about, and take the secrets out of it that were in the request's headers."""
        error.vendor = error.vendor or self.origin.vendor
        error.model = error.model or self.origin.model
        if response is not None and error.request_id is None:
            ids = (response.headers.get(name) for name in _REQUEST_ID_HEADERS)
            error.request_id = next(filter(None, ids), None)
        redact_error(error, _secrets_in(headers))
        error.body = error.body[:_KEPT_CHARACTERS]
