"""A fake that none of us wrote answers all our dialects: npm's `@copilotkit/aimock`.

It is looked for in `$ALLOY_AIMOCK`, a folder where `npm i @copilotkit/aimock` has been said, and on the path; without
it these tests are skipped. Its known faults are no faults of ours: no usage at Anthropic, `FUNCTION_CALL` as Gemini's
reason to stop, reasoning under another name at Ollama.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import alloy
from alloy import ContextTooLong, RateLimited, Retry, StopReason, StreamTruncated

FIXTURES = Path(__file__).parent / "aimock" / "fixtures.json"
FOLDER = Path(os.environ.get("ALLOY_AIMOCK", "")) / "node_modules/.bin/llmock"
COMMAND = shutil.which(str(FOLDER)) or shutil.which("llmock")

pytestmark = pytest.mark.skipif(
    COMMAND is None or not shutil.which("node"),
    reason="needs aimock: `npm i @copilotkit/aimock` in a folder that ALLOY_AIMOCK names",
)

WIRES = {
    "anthropic:claude-sonnet-4-5": "",
    "openai:gpt-5": "/v1",
    "openai-compatible:gpt-5": "/v1",
    "google:gemini-2.5-flash": "/v1beta",
    "ollama:qwen3": "",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(COMMAND), "-p", str(port), "-f", str(FIXTURES), "--chunk-size", "4", "--log-level", "silent"]
    with subprocess.Popen([*command, "--strict"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            for _ in range(200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


async def get_weather(place: str) -> str:
    """Look the weather up."""
    return f"rain in {place}"


async def ask(spec: str, url: str, prompt: str, **options: Any) -> alloy.Result[Any]:
    model = alloy.model(spec, api_key="test", base_url=url + WIRES[spec])
    return await alloy.run(prompt, model=model, retry=Retry(attempts=1), **options)


@pytest.mark.parametrize("spec", WIRES)
async def test_it_is_understood_as_it_was_meant(spec: str, url: str) -> None:
    result = await ask(spec, url, "hello")

    assert result.text == "Hello! How are you?"
    assert result.stop is not None
    assert result.stop.reason is StopReason.END_TURN


@pytest.mark.parametrize("spec", WIRES)
async def test_it_takes_calls_and_results_and_answers_them(spec: str, url: str) -> None:
    result = await ask(spec, url, "How is the weather?", tools=[get_weather])

    assert result.text == "It is raining in Oslo: take an umbrella, as ever."
    assert [(record.name, record.arguments, record.outcome) for record in result.tool_calls] == [
        ("get_weather", {"place": "Oslo"}, "ok")
    ]
    assert result.turns == 2


@pytest.mark.parametrize("spec", [spec for spec in WIRES if not spec.startswith("ollama")])
async def test_its_reasoning_is_reasoning(spec: str, url: str) -> None:
    result = await ask(spec, url, "think")

    answer = result.messages[-1]
    assert isinstance(answer, alloy.AssistantMessage)
    assert (answer.text, answer.thinking) == ("Forty-two.", "Let me see. It is forty-two.")


@pytest.mark.parametrize("spec", WIRES)
async def test_its_refusals_are_of_their_kinds(spec: str, url: str) -> None:
    with pytest.raises(RateLimited):
        await ask(spec, url, "too fast")
    with pytest.raises(ContextTooLong):
        await ask(spec, url, "too long")


@pytest.mark.parametrize("spec", WIRES)
async def test_an_answer_that_it_breaks_off_is_no_answer(spec: str, url: str) -> None:
    with pytest.raises(StreamTruncated):
        await ask(spec, url, "break off")


async def test_a_conversation_goes_from_wire_to_wire(url: str) -> None:
    history: tuple[alloy.Message, ...] = ()
    for spec in [*WIRES, *reversed(WIRES)]:
        result = await ask(spec, url, "How is the weather?", tools=[get_weather], history=history)
        history = result.messages

    assert result.text == "It is raining in Oslo: take an umbrella, as ever."
