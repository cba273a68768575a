"""A key that is planted everywhere shows up nowhere."""

from __future__ import annotations

import json
import logging
import pickle
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import alloy
from alloy.providers.http import handler_transport
from alloy.providers.secret import Secret
from alloy.tools import bash
from end_to_end.vendors import messages_events, sse

KEY = "sk-ant-planted-0123456789abcdef"
HEADER = "planted-header-0123456789"
ENVIRONMENT = "planted-environment-0123456789"
PLANTED = (KEY, HEADER, ENVIRONMENT)


def everything_of(thing: object) -> str:
    """All that can be seen of a thing without meaning to look for secrets."""
    seen = [repr(thing), str(thing), f"{thing}"]
    if isinstance(thing, BaseException):
        seen += traceback.format_exception(thing)
        seen += [repr(thing.args), repr(vars(thing))]
        seen += [everything_of(inner) for inner in (thing.__cause__, thing.__context__) if inner]
    return "\n".join(seen)


def assert_clean(*texts: str) -> None:
    for secret in PLANTED:
        assert not any(secret in text for text in texts), f"{secret} shows"


async def served(*answers: tuple[int, bytes], tools: Any = (), cwd: Path) -> tuple[list[str], list[str]]:
    """Run once against these answers; returns what could be seen, and the keys that the server got."""
    left = list(answers)
    got: list[str] = []
    seen: list[str] = []

    async def handler(method: str, url: str, headers: Mapping[str, str], body: bytes) -> Any:
        got.append(headers["x-api-key"])
        seen.append(body.decode())
        status, content = left.pop(0)
        return status, {"content-type": "text/event-stream"}, content

    model = alloy.model("anthropic:claude-test", api_key=KEY, headers={"x-my-token": HEADER})
    seen.append(everything_of(model))

    def watch(event: alloy.Event) -> None:
        seen.append(everything_of(event))
        seen.append(json.dumps(event.to_json()))

    async with alloy.HTTP(transport=handler_transport(handler)) as http:
        seen.append(everything_of(http))
        agent: alloy.Agent[Any] = alloy.Agent(
            model=model, tools=tools, retry=alloy.Retry(attempts=2, base=0), working_directory=cwd
        )
        seen.append(everything_of(agent))
        try:
            result = await alloy.run("x", agent, http=http, on_event=watch)
        except alloy.AlloyError as error:
            seen.append(everything_of(error))
            result = error.result  # type: ignore[assignment]  # it has one
        seen.append(everything_of(result))
    assert result is not None
    seen += [json.dumps(alloy.to_json(message)) for message in result.messages]
    return seen, got


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    for name in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN", "AWS_SECRET_ACCESS_KEY", "MY_PASSWORD"):
        monkeypatch.setenv(name, ENVIRONMENT)
    caplog.set_level(logging.DEBUG)
    return caplog


def answer(turn: Any) -> tuple[int, bytes]:
    return 200, b"".join(sse(messages_events(turn)))


@pytest.mark.works("Keys never show: not in errors, events, logs, reprs, nor in what tools can see")
@pytest.mark.parametrize(
    "answers",
    [
        pytest.param([answer("fine")], id="success"),
        pytest.param([(401, json.dumps({"error": {"message": f"invalid x-api-key {KEY}"}}).encode())], id="echoed"),
        pytest.param([(400, f"<html>{KEY} {HEADER}</html>".encode())], id="echoed in html"),
        pytest.param([(500, KEY.encode()), (500, KEY.encode())], id="retried"),
        pytest.param([(200, f"data: {{{KEY}\n\n".encode())], id="nonsense"),
        pytest.param(
            [(200, f'data: {{"type": "error", "error": {{"message": "{KEY}"}}}}\n\n'.encode())] * 2, id="within"
        ),
    ],
)
async def test_no_key_shows_whatever_the_server_answers(
    answers: list[tuple[int, bytes]], planted: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    seen, got = await served(*answers, cwd=tmp_path)

    assert got == [KEY] * len(answers)
    assert_clean(*seen, planted.text)


async def test_a_tool_does_not_see_the_keys_of_the_program(planted: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    look = answer([("c1", "bash", {"command": "env; cat /proc/self/environ; cat /proc/$PPID/environ | wc -c"})])

    seen, got = await served(look, answer("fine"), tools=[bash], cwd=tmp_path)

    assert len(got) == 2
    assert any("PATH=" in text for text in seen)
    assert_clean(*seen, planted.text)


def test_a_secret_is_shown_only_by_the_word_for_it() -> None:
    secret = Secret(KEY)

    assert secret.reveal() == KEY
    assert_clean(repr(secret), str(secret), f"{secret}", "{!r}".format(secret), repr([secret]))  # noqa: UP032
    with pytest.raises(TypeError):
        pickle.dumps(secret)


async def test_a_refused_connection_shows_no_key(planted: pytest.LogCaptureFixture) -> None:
    model = alloy.model("anthropic:claude-test", api_key=KEY, base_url="http://127.0.0.1:9")

    with pytest.raises(alloy.ConnectFailed) as caught:
        await alloy.run("x", model=model, retry=alloy.Retry(attempts=1))

    assert_clean(everything_of(caught.value), planted.text)
