"""Who asks: where the headers come from that say so."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs

from alloy.providers.secret import Secret

if TYPE_CHECKING:  # httpx is slow to load, and not needed before the first request
    from alloy.providers.http import HTTP

Auth: TypeAlias = Literal["bearer", "x-api-key", "x-goog-api-key", "api-key"]


class Credentials(Protocol):
    """Says who asks. One object serves all requests of a model, also those under way at the same time."""

    async def headers(self) -> Mapping[str, str]:
        """The headers for the next request, their names in lower case.

        Raises:
            AuthError: there is nothing to ask with.
        """
        ...

    async def refused(self, sent: Mapping[str, str], http: HTTP) -> bool:
        """Learn that the server answered 401 to a request.

        Args:
            sent: the headers of that request.
            http: to get other credentials over.

        Returns:
            Whether `headers` gives others now, which are worth one more try.

        Raises:
            ProviderError: others could not be got.
        """
        ...


def _headers_of(key: ApiKey) -> Mapping[str, str]:
    if key.secret is None:
        return {}
    value = key.secret.reveal()
    return {"authorization": f"Bearer {value}"} if key.auth == "bearer" else {key.auth: value}


@attrs.frozen(cache_hash=True)  # it is the key by which all requests find their limiter's gate
class ApiKey:
    """A key that stays as it is.

    Attributes:
        secret: None where the vendor wants none.
        auth: how it is sent.
    """

    secret: Secret | None = attrs.field(default=None, repr=False)
    auth: Auth = "bearer"
    _headers: Mapping[str, str] = attrs.field(
        init=False, repr=False, eq=False, default=attrs.Factory(_headers_of, takes_self=True)
    )

    async def headers(self) -> Mapping[str, str]:  # without a checkpoint: what it is for has one
        """See `Credentials.headers`."""
        return self._headers

    async def refused(self, sent: Mapping[str, str], http: HTTP) -> bool:
        """See `Credentials.refused`."""
        return False
