"""Tokens for Codex: OpenAI's models on a ChatGPT plan, by tokens that expire.

Two servers take them. The official one is `https://api.openai.com/v1`; the other is the ChatGPT backend that the
Codex client asks, which wants to be told the account.

Source: OpenAI, "Sign in with ChatGPT" for open-source apps; openai/codex, its `auth.json` (read 2026-11-24).
"""

from __future__ import annotations

import base64
import json
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlencode, urlsplit

import attrs
import trio

from alloy.llm.content import JSON
from alloy.llm.errors import AuthError, ServerError
from alloy.providers.problem import problem_in
from alloy.providers.secret import Secret

if TYPE_CHECKING:  # httpx is slow to load, and not needed before the first request
    from alloy.providers.http import HTTP

TOKEN_URL = "https://auth.openai.com/api/accounts/oauth/token"
RESOURCE = "https://api.openai.com/v1"
BACKEND_HOST = "chatgpt.com"
RENEWAL_SECONDS = 30.0

_LIMIT = 256 * 1024  # bytes of a token's file, or of an answer with one


@attrs.frozen(kw_only=True)
class Token:
    """What somebody with a plan was given at sign-in.

    Attributes:
        access: sent with each request, while it lasts.
        refresh: good for one renewal; None where there can be none.
        client_id: of the app that it was given to; needed to renew it.
        account_id: of the ChatGPT account.
    """

    access: Secret
    refresh: Secret | None = attrs.field(default=None, repr=False)
    client_id: str | None = None
    account_id: str | None = None


def server_at(url: str) -> str:
    """The base URL that is meant: the backend serves Codex in a folder of its own."""
    return f"{url}/codex" if urlsplit(url).hostname == BACKEND_HOST and url.endswith("/backend-api") else url


class TokenFile:
    """A file that holds a token and is its owner's alone.

    It holds JSON – `access_token`, and where it can be renewed `refresh_token` and `client_id` – or nothing but the
    access token. The `auth.json` of Codex is read too, and never written: Codex renews what is in it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path: Path = Path(path)

    def read(self) -> Token:
        """Read the token. It blocks.

        Raises:
            AuthError: the file cannot be read, may be read by others, or holds no token.
        """
        text = self._text().strip()
        try:
            return _token_from(json.loads(text) if text.startswith("{") else {"access_token": text})
        except (ValueError, TypeError, AttributeError):  # not shown: it may have a piece of the token in it
            raise AuthError(f"{self.path} holds no token; sign in again", sent=False) from None

    def write(self, token: Token) -> None:
        """Put another token in its place, all at once or not at all. It blocks.

        Raises:
            AuthError: the file cannot be written.
        """
        place = self.path.resolve()
        fresh = place.with_name(f".{place.name}.{os.getpid()}")
        try:
            known = json.loads(self._text())
            text = json.dumps({**known, **_fields_of(token)}, indent=2)
            with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(place)
        except OSError as error:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise AuthError(f"the renewed token cannot be kept in {self.path}: {error.strerror}") from error

    def _text(self) -> str:
        try:
            with self.path.open("rb") as file:
                _check_owner(self.path, os.fstat(file.fileno()))
                return file.read(_LIMIT).decode("utf-8", "replace")
        except OSError as error:
            raise AuthError(f"the token in {self.path} cannot be read: {error.strerror}", sent=False) from error


def _check_owner(path: Path, status: os.stat_result) -> None:
    mode = stat.S_IMODE(status.st_mode)
    if os.name == "nt":  # where the mode says nothing
        return
    if mode & 0o077:
        raise AuthError(f"{path} is open to others than its owner (mode {mode:04o}); run chmod 600 on it", sent=False)
    if status.st_uid != os.getuid():
        raise AuthError(f"{path} belongs to another user; a token must be one's own", sent=False)


def _token_from(value: JSON) -> Token:
    """A token from JSON; that of Codex, under `tokens`, is not ours to renew."""
    is_of_codex = "tokens" in value
    fields = value["tokens"] if is_of_codex else value
    refresh = None if is_of_codex else fields.get("refresh_token")
    return Token(
        access=Secret(fields.get("access_token") or ""),
        refresh=Secret(refresh) if refresh else None,
        client_id=fields.get("client_id"),
        account_id=fields.get("account_id"),
    )


def _fields_of(token: Token) -> Mapping[str, JSON]:
    return {"access_token": token.access.reveal(), "refresh_token": token.refresh and token.refresh.reveal()}


Renew: TypeAlias = "Callable[[Token, HTTP], Awaitable[Token]]"


async def renewed(token: Token, http: HTTP) -> Token:
    """Exchange a refresh token, which is spent by that, for a new token.

    Raises:
        AuthError: it is refused; nothing but to sign in again helps.
        ProviderError: there is no answer, or none that says either.
    """
    assert token.refresh is not None
    form = {
        "grant_type": "refresh_token",
        "client_id": token.client_id or "",
        "refresh_token": token.refresh.reveal(),
        "resource": RESOURCE,
    }
    headers = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}
    body = b""
    async with await http.post(TOKEN_URL, headers, [urlencode(form).encode()]) as response:
        while len(body) < _LIMIT and (chunk := await response.receive_some()):
            body += chunk
        status = response.status
    if status >= 500 or status in (408, 429):
        raise ServerError(f"the token could not be renewed: the server answered {status}", status=status)
    try:
        answer = json.loads(body) if status == 200 else {}
        refresh = answer.get("refresh_token")
        return attrs.evolve(
            token, access=Secret(answer["access_token"]), refresh=Secret(refresh) if refresh else token.refresh
        )
    except (ValueError, TypeError, LookupError, AttributeError):  # not shown: there may be tokens in it
        word = problem_in(body).word
        word = f" ({word})" if re.fullmatch("[a-z_]{1,40}", word) else ""
        raise AuthError(f"the token is not renewed any more{word}; sign in again", status=status) from None


class PlanToken:
    """Credentials by a token that expires, and is renewed when a server refuses it.

    However many requests are refused at the same time, it is renewed once. A token that another process has
    put into the file meanwhile is taken as it is.

    Args:
        source: a token that stays as it is, or the file that it is in.
        base_url: which server is asked.
        renew: exchanges a token for the next one.
    """

    def __init__(self, source: Token | TokenFile, *, base_url: str = RESOURCE, renew: Renew = renewed) -> None:
        self._file = source if isinstance(source, TokenFile) else None
        self._token = source if isinstance(source, Token) else None
        self._for_backend = urlsplit(base_url).hostname == BACKEND_HOST
        self._renew = renew
        self._lock = trio.Lock()

    async def headers(self) -> Mapping[str, str]:
        """See `Credentials.headers`."""
        token = self._token
        if token is None:
            async with self._lock:
                token = self._token = self._token or await self._stored()
        return self._headers_of(token)

    async def refused(self, sent: Mapping[str, str], http: HTTP) -> bool:
        """See `Credentials.refused`."""
        if self._file is None:
            return False
        async with self._lock:
            if self._token is not None and not self._was_sent(self._token, sent):
                return True  # another request was refused before this one
            stored = await self._stored()
            if self._was_sent(stored, sent):
                if stored.refresh is None or stored.client_id is None:
                    return False
                stored = await self._next(stored, self._file, http)
            self._token = stored
            return True

    async def _stored(self) -> Token:
        assert self._file is not None
        return await trio.to_thread.run_sync(self._file.read)

    async def _next(self, token: Token, file: TokenFile, http: HTTP) -> Token:
        """Renew a token, and keep the next one before it is used: what is sent to be renewed is spent.

        So a cancellation waits until that is done, but not for ever.
        """
        with trio.move_on_after(RENEWAL_SECONDS, shield=True):
            fresh = await self._renew(token, http)
            await trio.to_thread.run_sync(file.write, fresh)
            return fresh
        raise ServerError(f"the token was not renewed within {RENEWAL_SECONDS:g} s")

    def _was_sent(self, token: Token, sent: Mapping[str, str]) -> bool:
        return sent.get("authorization") == f"Bearer {token.access.reveal()}"

    def _headers_of(self, token: Token) -> Mapping[str, str]:
        headers = {"authorization": f"Bearer {token.access.reveal()}"}
        if self._for_backend:
            headers["originator"] = "alloy"
            if account := token.account_id or account_in(token.access):
                headers["chatgpt-account-id"] = account
        return headers


def account_in(access: Secret) -> str | None:
    """The ChatGPT account that an access token names, unverified; None if it names none."""
    try:
        payload = access.reveal().split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        account = claims["https://api.openai.com/auth"]["chatgpt_account_id"]
    except (LookupError, ValueError, TypeError):
        return None
    return account if isinstance(account, str) else None
