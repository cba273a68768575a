"""Where a vendor is asked: the base URL, as people write it. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

import attrs

from alloy.providers.codex_auth import server_at


@attrs.frozen
class BaseURL:
    """The place that a dialect's paths are appended to.

    Attributes:
        url: without a slash at its end.
        query: appended to each request behind its path, such as Azure's `api-version=…`; it may hold a secret.
    """

    url: str
    query: str = attrs.field(default="", repr=False)

    @property
    def is_azure(self) -> bool:
        """Microsoft's servers of other vendors' models, which want keys in a header of their own."""
        return (urlsplit(self.url).hostname or "").endswith(".azure.com")


def read_base_url(given: str, path: str) -> BaseURL:
    """Read a base URL that may hold more than it should: the requests' own path, whole or its beginning.

    Args:
        given: by the user.
        path: of requests, from its first slash.

    Raises:
        ValueError: it is none, or holds a password.
    """
    parts = urlsplit(given.strip())
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.fragment:
        raise ValueError(f"base_url must be like 'https://host/path', got {given!r}")
    if "@" in parts.netloc:
        raise ValueError("base_url must not hold a user or password; give api_key= or headers=")
    url = parts._replace(query="").geturl().rstrip("/")
    return BaseURL(server_at(_without_path(url, path)), parts.query)


def _without_path(url: str, path: str) -> str:
    """Cut off what the URL already holds of the requests' path, whole or its beginning."""
    while path:
        if url.endswith(path):
            return url.removesuffix(path).rstrip("/")
        path = path.rpartition("/")[0]
    return url
