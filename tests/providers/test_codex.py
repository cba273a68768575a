"""Codex: tokens that expire and are renewed once, the two servers that take them, and what these do not take."""

from __future__ import annotations

import base64
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from trio.testing import MockClock

from alloy.llm import (
    AssistantMessage,
    AuthError,
    MissingKey,
    ProviderError,
    QuotaExhausted,
    Request,
    ServerError,
    Settings,
    UnsupportedFeature,
    UserMessage,
)
from alloy.llm.completion import Fold
from alloy.providers.client import VendorModel
from alloy.providers.codex_auth import RENEWAL_SECONDS, TOKEN_URL, PlanToken, Token, TokenFile, account_in, renewed
from alloy.providers.dialect import Target
from alloy.providers.http import HTTP, handler_transport
from alloy.providers.secret import Secret
from alloy.providers.vendors import model_for

OFFICIAL = "https://api.openai.com/v1"
BACKEND = "https://chatgpt.com/backend-api/codex"
REQUEST = Request(model="gpt-6-sol", system="Be brief.", messages=[UserMessage("hi")])
ANSWER = "".join(
    f"data: {json.dumps(event)}\n\n"
    for event in (
        {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "Hello"},
        {"type": "response.done", "response": {"id": "resp_1", "usage": {"input_tokens": 1, "output_tokens": 1}}},
    )
).encode()


def token_file(folder: Path, mode: int = 0o600, **fields: Any) -> TokenFile:
    path = folder / "token.json"
    given = {"access_token": "access-1", "refresh_token": "refresh-1", "client_id": "app_1", **fields}
    path.write_text(json.dumps(given))
    path.chmod(mode)
    return TokenFile(path)


def codex(credentials: PlanToken) -> VendorModel:
    return attrs.evolve(model_for("codex:gpt-6-sol", api_key="unused"), credentials=credentials)


class Server:
    """OpenAI and its token server: takes the access token of the moment, and each refresh token once.

    Attributes:
        asked: the headers of the requests to the model.
        forms: what was sent to the token server.
    """

    def __init__(self, access: str = "access-2", *, seconds: float = 0.0) -> None:
        self.access = access
        self.seconds = seconds  # that the token server takes
        self.asked: list[Mapping[str, str]] = []
        self.forms: list[Mapping[str, str]] = []
        self.renewal: tuple[int, Any] = (200, {"access_token": access, "refresh_token": "refresh-2"})

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        if url == TOKEN_URL:
            self.forms.append(dict(httpx.QueryParams(body.decode())))
            await trio.sleep(self.seconds)
            status, answer = self.renewal
            return status, {}, answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        self.asked.append(headers)
        await trio.sleep(1)
        if headers["authorization"] != f"Bearer {self.access}":
            return 401, {}, json.dumps({"error": {"code": "token_expired", "message": "expired"}}).encode()
        return 200, {"content-type": "text/event-stream"}, ANSWER

    def http(self) -> HTTP:
        return HTTP(transport=handler_transport(self))


async def answer(model: VendorModel, http: HTTP, request: Request = REQUEST) -> AssistantMessage:
    fold = Fold(model.origin)
    async with model.with_http(http).stream(request) as deltas:
        async for batch in deltas:
            fold.add(batch)
    return fold.message()


# Where the token is from.


def test_a_file_of_its_owner_alone_is_read(tmp_path: Path) -> None:
    token = token_file(tmp_path).read()

    assert token == Token(access=Secret("access-1"), refresh=Secret("refresh-1"), client_id="app_1")
    assert "access-1" not in repr(token)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o610])
def test_a_file_that_is_open_to_others_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(AuthError, match=rf"open to others than its owner \(mode 0{mode:o}\); run chmod 600") as caught:
        token_file(tmp_path, mode).read()

    assert caught.value.sent is False


def test_the_file_of_codex_is_read_and_not_ours_to_renew(tmp_path: Path) -> None:
    tokens = {"access_token": "a", "refresh_token": "r", "account_id": "acct", "id_token": "i"}
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"OPENAI_API_KEY": None, "tokens": tokens}))
    path.chmod(0o600)

    assert TokenFile(path).read() == Token(access=Secret("a"), account_id="acct")


def test_a_file_may_hold_the_bare_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("access-1\n")
    path.chmod(0o600)

    assert TokenFile(path).read() == Token(access=Secret("access-1"))


@pytest.mark.parametrize(
    "text", ["", "{", "{}", '{"access_token": 7}', '{"tokens": null}', '{"access_token": "se\\ncret"}']
)
def test_a_file_without_a_token_is_told_and_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "token.json"
    path.write_text(text)
    path.chmod(0o600)

    with pytest.raises(AuthError, match="holds no token; sign in again") as caught:
        TokenFile(path).read()

    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(AuthError, match="cannot be read: No such file"):
        TokenFile(tmp_path / "token.json").read()


def test_a_token_is_put_into_its_file_at_once_and_what_else_is_in_it_stays(tmp_path: Path) -> None:
    file = token_file(tmp_path, email="me@x.example")

    file.write(Token(access=Secret("access-2"), refresh=Secret("refresh-2"), client_id="app_1"))

    assert json.loads(file.path.read_text()) == {
        "access_token": "access-2",
        "refresh_token": "refresh-2",
        "client_id": "app_1",
        "email": "me@x.example",
    }
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["token.json"]


def test_a_token_that_cannot_be_kept_is_an_error_and_leaves_the_old_one(tmp_path: Path) -> None:
    file = token_file(tmp_path)
    (tmp_path / f".token.json.{os.getpid()}").mkdir()  # in the way

    with pytest.raises(AuthError, match="cannot be kept"):
        file.write(Token(access=Secret("access-2")))

    assert file.read().access == Secret("access-1")


def test_a_model_finds_its_token_by_value_by_variable_or_by_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def sent(**options: Any) -> str:
        return (await model_for("codex:m", **options).credentials.headers())["authorization"]

    with pytest.raises(MissingKey, match="set CODEX_ACCESS_TOKEN or CODEX_TOKEN_FILE"):
        model_for("codex:m")
    monkeypatch.setenv("CODEX_TOKEN_FILE", str(token_file(tmp_path).path))
    by_file = trio.run(sent)
    monkeypatch.setenv("CODEX_ACCESS_TOKEN", "by-variable")
    by_variable = trio.run(sent)

    async def by_value() -> str:
        return await sent(api_key="by-value")

    assert (by_file, by_variable, trio.run(by_value)) == ("Bearer access-1", "Bearer by-variable", "Bearer by-value")


# The two servers.


def jwt(claims: Any) -> Secret:
    return Secret("e30." + base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=") + ".sig")


async def test_the_official_server_is_told_the_token_and_no_more() -> None:
    credentials = PlanToken(Token(access=Secret("t"), account_id="acct"))

    assert await credentials.headers() == {"authorization": "Bearer t"}


async def test_the_backend_is_told_the_account_and_who_asks() -> None:
    access = jwt({"https://api.openai.com/auth": {"chatgpt_account_id": "claimed"}})
    known = PlanToken(Token(access=Secret("t"), account_id="acct"), base_url=BACKEND)
    claimed = PlanToken(Token(access=access), base_url=BACKEND)

    assert await known.headers() == {
        "authorization": "Bearer t",
        "chatgpt-account-id": "acct",
        "originator": "alloy",
    }
    assert (await claimed.headers())["chatgpt-account-id"] == "claimed"


@pytest.mark.parametrize("access", [Secret("opaque"), Secret("a.b.c"), jwt([]), jwt({}), jwt({"x": 1})])
def test_a_token_that_names_no_account_names_none(access: Secret) -> None:
    assert account_in(access) is None


@pytest.mark.parametrize("given", [BACKEND, BACKEND + "/", BACKEND + "/responses", "https://chatgpt.com/backend-api/"])
def test_the_backend_is_a_base_url(given: str) -> None:
    assert model_for("codex:m", api_key="t", base_url=given).base_url == BACKEND


def test_a_request_leaves_out_what_codex_refuses_and_has_what_it_wants() -> None:
    model = model_for("codex:gpt-6-sol", api_key="t")

    def body(**fields: Any) -> Any:
        request = Request(model="gpt-6-sol", messages=[UserMessage("hi")], **fields)
        return model.dialect.encode(request, Target(origin=model.origin, profile=model.profile)).json()

    sent = body()
    assert (sent["store"], sent["stream"], sent["include"]) == (False, True, ["reasoning.encrypted_content"])
    assert sent["instructions"] == ""
    assert body(system="S")["instructions"] == "S"
    assert not {"max_output_tokens", "temperature"} & sent.keys()
    for refused in (Settings(max_output_tokens=9), Settings(temperature=0.5), Settings(temperature=0.5, effort="none")):
        with pytest.raises(UnsupportedFeature):
            body(settings=refused)


async def test_an_answer_may_end_as_the_backend_ends_it(autojump_clock: MockClock) -> None:
    server = Server("access-1")
    async with server.http() as http:
        message = await answer(codex(PlanToken(Token(access=Secret("access-1")))), http)

    assert (message.text, message.stop.reason) == ("Hello", "end_turn")


async def test_a_spent_plan_says_when_it_is_filled_up_again(autojump_clock: MockClock) -> None:
    async def spent(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        error = {"type": "usage_limit_reached", "message": "limit", "plan_type": "plus", "resets_at": 1764000000}
        return 429, {"x-oai-request-id": "req_7"}, json.dumps({"error": error}).encode()

    async with HTTP(transport=handler_transport(spent)) as http:
        with pytest.raises(QuotaExhausted) as caught:
            await answer(codex(PlanToken(Token(access=Secret("t")))), http)

    error = caught.value
    assert (error.resets_at, error.request_id, error.retryable) == (1764000000, "req_7", False)


# Tokens that expire.


async def test_a_token_that_is_refused_is_renewed_kept_and_used(tmp_path: Path, autojump_clock: MockClock) -> None:
    server, file = Server(), token_file(tmp_path)
    async with server.http() as http:
        message = await answer(codex(PlanToken(file)), http)

    assert message.text == "Hello"
    assert [headers["authorization"] for headers in server.asked] == ["Bearer access-1", "Bearer access-2"]
    assert server.forms == [
        {
            "grant_type": "refresh_token",
            "client_id": "app_1",
            "refresh_token": "refresh-1",
            "resource": OFFICIAL,
        }
    ]
    assert file.read() == Token(access=Secret("access-2"), refresh=Secret("refresh-2"), client_id="app_1")


async def test_requests_that_are_refused_together_renew_the_token_once(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def ask() -> None:
        texts.append((await answer(model, http)).text)

    server, model, texts = Server(seconds=5.0), codex(PlanToken(token_file(tmp_path))), list[str]()
    async with server.http() as http, trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ask)

    assert texts == ["Hello"] * 5
    assert (len(server.forms), len(server.asked)) == (1, 10)


async def test_a_token_that_another_process_has_renewed_is_taken_from_the_file(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    server, file = Server(), token_file(tmp_path)
    credentials = PlanToken(file)
    await credentials.headers()
    token_file(tmp_path, access_token="access-2", refresh_token="theirs")

    async with server.http() as http:
        assert (await answer(codex(credentials), http)).text == "Hello"

    assert server.forms == []


async def test_a_token_is_kept_before_it_is_used(tmp_path: Path, autojump_clock: MockClock) -> None:
    async def renew(token: Token, http: HTTP) -> Token:
        (tmp_path / f".token.json.{os.getpid()}").mkdir()  # so that it cannot be kept
        return Token(access=Secret("access-2"), refresh=Secret("refresh-2"), client_id="app_1")

    server = Server()
    async with server.http() as http:
        with pytest.raises(AuthError, match="cannot be kept"):
            await answer(codex(PlanToken(token_file(tmp_path), renew=renew)), http)

    assert [headers["authorization"] for headers in server.asked] == ["Bearer access-1"]


async def test_a_renewal_that_has_begun_is_finished_though_the_run_is_cancelled(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def renew(token: Token, http: HTTP) -> Token:
        scope.cancel()
        return await renewed(token, http)

    server, file = Server(seconds=5.0), token_file(tmp_path)
    async with server.http() as http:
        with trio.CancelScope() as scope:
            await answer(codex(PlanToken(file, renew=renew)), http)

    assert scope.cancelled_caught
    assert file.read().refresh == Secret("refresh-2")


async def test_a_renewal_that_never_ends_is_given_up(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server(seconds=1000.0)
    async with server.http() as http:
        with pytest.raises(ServerError, match="not renewed within 30 s"):
            await answer(codex(PlanToken(token_file(tmp_path))), http)

    assert trio.current_time() == 1 + RENEWAL_SECONDS


@pytest.mark.parametrize("fields", [{"refresh_token": None}, {"client_id": None}])
async def test_a_token_that_cannot_be_renewed_leaves_the_servers_refusal(
    tmp_path: Path, fields: Mapping[str, Any], autojump_clock: MockClock
) -> None:
    server = Server()
    async with server.http() as http:
        with pytest.raises(AuthError, match="expired") as caught:
            await answer(codex(PlanToken(token_file(tmp_path, **fields))), http)

    assert (caught.value.status, caught.value.vendor, len(server.asked)) == (401, "codex", 1)


async def test_a_token_by_value_is_refused_once(autojump_clock: MockClock) -> None:
    server = Server()
    async with server.http() as http:
        with pytest.raises(AuthError, match="expired"):
            await answer(codex(PlanToken(Token(access=Secret("access-1"), refresh=Secret("r"), client_id="c"))), http)

    assert len(server.asked) == 1


async def test_a_new_token_that_is_refused_as_well_is_the_end(tmp_path: Path, autojump_clock: MockClock) -> None:
    server = Server("never")
    server.renewal = (200, {"access_token": "access-2"})
    async with server.http() as http:
        with pytest.raises(AuthError, match="expired"):
            await answer(codex(PlanToken(token_file(tmp_path))), http)

    assert (len(server.asked), len(server.forms)) == (2, 1)


@pytest.mark.parametrize(
    ("status", "body", "error", "text"),
    [
        (400, {"error": "invalid_grant"}, AuthError, "sign in again"),
        (401, {"error": {"code": "refresh_token_reused"}}, AuthError, r"\(refresh_token_reused\); sign in again"),
        (400, b"<html>refresh-1 access-1</html>", AuthError, "sign in again"),
        (200, b"access-2", AuthError, "sign in again"),
        (200, {"token": "access-2"}, AuthError, "sign in again"),
        (200, ["access-2"], AuthError, "sign in again"),
        (200, {"access_token": None}, AuthError, "sign in again"),
        (500, {"error": "refresh-1"}, ServerError, "the server answered 500"),
        (429, b"", ServerError, "the server answered 429"),
    ],
)
async def test_a_renewal_that_fails_says_so_and_shows_no_token(
    status: int, body: Any, error: type[ProviderError], text: str, tmp_path: Path
) -> None:
    server = Server()
    server.renewal = (status, body)
    async with server.http() as http:
        with pytest.raises(error, match=text) as caught:
            await renewed(token_file(tmp_path).read(), http)

    shown = f"{caught.value!r} {vars(caught.value)} {caught.value.__cause__!r}"
    assert "access-" not in shown
    assert "refresh-" not in shown
