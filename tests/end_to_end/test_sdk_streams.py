"""The vendors' own SDKs read the streams of our fake servers, and read them as we do."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import anthropic
import attrs
import httpx
import httpx2
import ollama
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from google import genai
from google.genai.types import GenerateContentResponse
from openai.types.chat import ChatCompletionChunk
from openai.types.responses import ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

import alloy
from alloy.providers.http import handler_transport
from end_to_end.vendors import VENDORS, Turn, lines, sse

TEXT: Turn = "It is |0.1.0."
CALLS: Turn = [("c1", "read_file", {"path": "a"}), ("c2", "bash", {"command": "ls -a"})]


@attrs.frozen
class Read:
    """What is read out of an answer."""

    text: str
    calls: list[tuple[str, Mapping[str, Any]]]
    tokens: tuple[int, int]  # in and out


def answer_of(name: str, turn: Turn) -> bytes:
    events = VENDORS[name][1](turn)
    return b"".join((lines if name == "ollama" else sse)(events))


def served(name: str, turn: Turn) -> httpx2.MockTransport:
    """A transport for an SDK that answers whatever it is asked."""
    body = answer_of(name, turn)
    return httpx2.MockTransport(lambda _: httpx2.Response(200, headers=HEADERS, content=body))


HEADERS = {"content-type": "text/event-stream"}
ASKED: Any = [{"role": "user", "content": "Well?"}]


def by_anthropic(turn: Turn) -> Read:
    client = anthropic.Anthropic(
        api_key="k", http_client=httpx2.Client(transport=served("anthropic", turn)), max_retries=0
    )
    with client.messages.stream(model="m", max_tokens=9, messages=ASKED) as stream:
        message = stream.get_final_message()
    return Read(
        "".join(block.text for block in message.content if block.type == "text"),
        [(block.name, dict(block.input)) for block in message.content if block.type == "tool_use"],  # type: ignore[call-overload]
        (message.usage.input_tokens, message.usage.output_tokens),
    )


def by_responses(turn: Turn) -> Read:
    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=served("openai", turn)), max_retries=0)
    with client.responses.stream(model="m", input="Well?") as stream:
        stream.until_done()
        response = stream.get_final_response()
    assert response.usage is not None
    return Read(
        response.output_text,
        [(item.name, json.loads(item.arguments)) for item in response.output if item.type == "function_call"],
        (response.usage.input_tokens, response.usage.output_tokens),
    )


def by_chat(turn: Turn) -> Read:
    transport = served("openai-compatible", turn)
    client = openai.OpenAI(api_key="k", http_client=httpx2.Client(transport=transport), max_retries=0)
    with client.chat.completions.stream(model="m", messages=ASKED) as stream:
        stream.until_done()
        completion = stream.get_final_completion()
    message = completion.choices[0].message
    assert completion.usage is not None
    return Read(
        message.content or "",
        [(call.function.name, json.loads(call.function.arguments)) for call in message.tool_calls or ()],
        (completion.usage.prompt_tokens, completion.usage.completion_tokens),
    )


def by_genai(turn: Turn) -> Read:
    client = genai.Client(
        api_key="k",
        http_options=genai.types.HttpOptions(httpx_client=httpx2.Client(transport=served("google", turn))),
    )
    text, calls, usage = "", [], None
    for chunk in client.models.generate_content_stream(model="m", contents="Well?"):
        for part in (chunk.candidates or [])[0].content.parts or ():  # type: ignore[union-attr]
            text += part.text or "" if not part.thought else ""
            calls += [(part.function_call.name, part.function_call.args)] if part.function_call else []
        usage = chunk.usage_metadata or usage
    assert usage is not None
    out = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
    return Read(text, calls, (usage.prompt_token_count or 0, out))  # type: ignore[arg-type]


def by_ollama(turn: Turn) -> Read:
    body = answer_of("ollama", turn)
    client = ollama.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, content=body)))
    chunks = list(client.chat(model="m", messages=ASKED, stream=True))
    return Read(
        "".join(chunk.message.content or "" for chunk in chunks),
        [(call.function.name, call.function.arguments) for chunk in chunks for call in chunk.message.tool_calls or ()],
        (chunks[-1].prompt_eval_count or 0, chunks[-1].eval_count or 0),
    )


SDKS: Mapping[str, Callable[[Turn], Read]] = {
    "anthropic": by_anthropic,
    "openai": by_responses,
    "openai-compatible": by_chat,
    "google": by_genai,
    "ollama": by_ollama,
}


async def by_us(name: str, turn: Turn) -> Read:
    body = answer_of(name, turn)

    async def handler(method: str, url: str, headers: Mapping[str, str], sent: bytes) -> Any:
        return 200, HEADERS, body

    async with alloy.HTTP(transport=handler_transport(handler)) as http:
        base_url = "http://localhost/v1" if name == "openai-compatible" else None
        model = alloy.model(VENDORS[name][3], api_key="k", base_url=base_url)
        result = await alloy.run("Well?", model=model, http=http, max_turns=1)
    return Read(
        result.text,
        [(record.name, record.arguments) for record in result.tool_calls],
        (result.usage.input_tokens, result.usage.output_tokens),
    )


@pytest.mark.parametrize("turn", [TEXT, CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("name", SDKS)
async def test_the_sdk_of_the_vendor_reads_what_we_read(name: str, turn: Turn) -> None:
    ours = await by_us(name, turn)
    theirs = SDKS[name](turn)

    assert ours == theirs
    assert ours.text == ("It is 0.1.0." if turn is TEXT else "")
    assert ours.calls == ([] if turn is TEXT else [("read_file", {"path": "a"}), ("bash", {"command": "ls -a"})])


# The events themselves, by the types of the SDKs.

Adapter: TypeAlias = "TypeAdapter[Any]"

TYPES: Mapping[str, Adapter] = {
    "anthropic": TypeAdapter(RawMessageStreamEvent),
    "openai": TypeAdapter(ResponseStreamEvent),
    "openai-compatible": TypeAdapter(ChatCompletionChunk),
    "google": TypeAdapter(GenerateContentResponse),
    "ollama": TypeAdapter(ollama.ChatResponse),
}


def unknown_in(value: object) -> list[str]:
    """The keys that a type of the SDK does not know, anywhere in a value of it."""
    match value:
        case BaseModel():
            named = [getattr(value, name) for name in type(value).model_fields]
            return [*(value.model_extra or {}), *(key for inner in named for key in unknown_in(inner))]
        case list() | tuple():
            return [key for inner in value for key in unknown_in(inner)]
        case _:
            return []


@pytest.mark.parametrize("turn", [TEXT, CALLS], ids=["text", "calls"])
@pytest.mark.parametrize("name", TYPES)
def test_every_event_of_our_fake_servers_is_of_the_vendors_type(name: str, turn: Turn) -> None:
    for event in VENDORS[name][1](turn):
        if event == "[DONE]":
            continue
        read = TYPES[name].validate_json(json.dumps(event))

        assert set(unknown_in(read)) <= {"reasoning_content"}  # which is DeepSeek's, and not in OpenAI's types
