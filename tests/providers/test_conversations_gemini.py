"""Recorded conversations with Gemini and Ollama, played again over the whole client, as in `test_conversations`.

Clients of Gemini differ in much: in how they write keys, signatures and results, in ids of their own making, in
whether they send thoughts back. What must not differ is compared: who says what, and which part is signed how.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

import recordings
from alloy.llm import AssistantMessage, Image, Message, Request, ToolMessage, ToolResult, UserMessage
from alloy.llm.completion import Fold
from alloy.providers.client import VendorModel
from alloy.providers.dialect import Dialect
from alloy.providers.gemini import Gemini
from alloy.providers.gemini_decode import media_from
from alloy.providers.http import HTTP
from alloy.providers.ollama import OllamaChat
from alloy.testing.recorded import SentRequest, replay
from recordings import needs_recordings

pytestmark = needs_recordings

# Recorded clients that sent back something else than they were answered.
REWRITTEN = {
    "gemini/google-vertex-thinking-1.json": "the signature of the answer was put on its thoughts",
    "gemini/google-vertex-structured-output-2.json": "the signature was left out",
    "gemini/google-vertex-parallel-tools-1.json": "the signature of the first call was put on the second one too",
    "gemini/google-stream-server-tool-1.json": "the signature of an empty part was put on the text before it",
}


def camel(key: str) -> str:
    return re.sub("_([a-z])", lambda found: found[1].upper(), key)


def contents(exchange: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The contents of a recorded request, with keys as the documents have them."""
    body = exchange["request"]["body"] or {}
    given = body.get("contents", [])
    made = [given] if isinstance(given, dict) else given
    return [
        {"role": one.get("role") or "user", "parts": [{camel(k): v for k, v in p.items()} for p in one["parts"]]}
        for one in made
    ]


def tail(said: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    last = max((n for n, content in enumerate(said) if content["role"] == "model"), default=-1)
    return said[last + 1 :]


def can_be_said(content: Mapping[str, Any]) -> bool:
    return all(part.keys() & {"text", "functionResponse", "inlineData"} for part in content["parts"])


def is_conversation(name: str) -> bool:
    exchanges = recordings.load(name)["exchanges"]
    return (
        len(exchanges) > 1
        and name not in REWRITTEN
        and all(
            exchange["response"]["status"] == 200
            and want is not None
            and want.error is None
            and sum(content["role"] == "model" for content in contents(exchange)) == number
            and contents(exchange)[0]["role"] == "user"
            and all(map(can_be_said, tail(contents(exchange))))
            for number, (exchange, want) in enumerate(zip(exchanges, recordings.expected(name), strict=True))
        )
    )


def say_again(said: Sequence[Mapping[str, Any]], before: Message | None) -> Iterator[Message]:
    """A recorded turn of the user's, as our messages; results answer the calls in their order."""
    calls = iter(before.tool_calls if isinstance(before, AssistantMessage) else ())
    results: list[ToolResult] = []
    words: list[Any] = []
    for part in (part for content in said for part in content["parts"]):
        if result := part.get("functionResponse"):
            is_error, call = "error" in result["response"], next(calls)
            results.append(ToolResult(str(result["response"]), call_id=call.id, name=call.name, is_error=is_error))
        elif blob := part.get("inlineData"):
            words.append(media_from(blob.get("mimeType") or blob["mime_type"], blob["data"], ()))
        else:
            words.append(part["text"])
    if results:
        yield ToolMessage(results)
    if words:
        yield UserMessage(words)


async def play(name: str, dialect: Dialect, say: Any) -> tuple[list[SentRequest], list[AssistantMessage]]:
    """Hold the conversation; return what we sent and what we were answered."""
    recording = recordings.load(name)
    target = recordings.target_of(recording, dialect.name)
    transport = replay(recording, split=97)
    history: list[Message] = []
    async with HTTP(transport=transport) as http:
        model = VendorModel(
            name="v:m",
            origin=target.origin,
            dialect=dialect,
            profile=target.profile,
            base_url=target.origin.endpoint,
            http=http,
        )
        for exchange in recording["exchanges"]:
            history += say(exchange, history[-1] if history else None)
            fold = Fold(model.origin)
            async with model.stream(Request(model=target.origin.model, messages=history)) as answer:
                async for deltas in answer:
                    fold.add(deltas)
            history.append(fold.message())
    return transport.requests, [message for message in history if isinstance(message, AssistantMessage)]


def lines(said: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A conversation as a list of what is said in it, without the freedoms that clients take."""
    out: list[Any] = []
    for role, part in ((content["role"], part) for content in said for part in content["parts"]):
        signature = part.get("thoughtSignature", "").rstrip("=").translate(str.maketrans("-_", "+/"))
        kinds = part.keys() - {"thoughtSignature", "thought", "text"}
        match part:
            case {"functionCall": call}:
                line = [role, "call", call["name"], call.get("args") or {}, signature]
            case {"functionResponse": result}:
                line = [role, "result", result["name"]]
            case {"inlineData": blob}:
                line = [role, "file", len(base64.b64decode(blob["data"] + "==", altchars=b"-_")), signature]
            case _ if kinds:
                line = [role, *kinds, signature]
            case _ if part.get("thought") or not (part["text"].strip("… ") or signature):
                continue  # a blank text is what some clients begin with, where the model speaks first
            case _:
                line = [role, "text", "".join(part["text"].split()), signature]
                if out and not signature and out[-1][:2] == line[:2] and not out[-1][3]:
                    out[-1][2] += line[2]
                    continue
        out.append(line)
    return out


CONVERSATIONS = [name for name in recordings.names("gemini") if is_conversation(name)]


def test_there_are_conversations_to_be_played() -> None:
    assert len(CONVERSATIONS) > 20


@pytest.mark.parametrize("name", CONVERSATIONS)
async def test_a_conversation_with_gemini_goes_on_as_it_was_recorded(name: str) -> None:
    sent, answers = await play(name, Gemini(), lambda exchange, before: say_again(tail(contents(exchange)), before))

    for request, exchange in zip(sent, recordings.load(name)["exchanges"], strict=True):
        assert request.url.endswith(":streamGenerateContent?alt=sse")
        assert lines(request.body["contents"]) == lines(contents(exchange))
    assert given_ids(sent[-1].body) == [opaque for message in answers[:-1] for opaque in ids_of(message)]


def given_ids(body: Any) -> list[str]:
    parts = [part for content in body["contents"] for part in content["parts"]]
    calls = [part["functionCall"]["id"] for part in parts if "id" in part.get("functionCall", {})]
    results = [part["functionResponse"]["id"] for part in parts if "id" in part.get("functionResponse", {})]
    assert calls == results
    return calls


def ids_of(message: AssistantMessage) -> list[str]:
    """The ids that the server gave its calls, if it did."""
    return [opaque.data for call in message.tool_calls for opaque in call.opaque if opaque.type == "id"]


# Ollama.


def say_to_ollama(exchange: Mapping[str, Any], before: Message | None) -> Iterator[Message]:
    messages = exchange["request"]["body"]["messages"]
    last = max((n for n, message in enumerate(messages) if message["role"] == "assistant"), default=-1)
    calls = iter(before.tool_calls if isinstance(before, AssistantMessage) else ())
    results = [
        ToolResult(message["content"], call_id=next(calls).id, name=message["tool_name"])
        for message in messages[last + 1 :]
        if message["role"] == "tool"
    ]
    if results:
        yield ToolMessage(results)
    for message in messages[last + 1 :]:
        if message["role"] == "user":
            images = [Image(base64.b64decode(data), media_type="image/png") for data in message.get("images", ())]
            yield UserMessage([message["content"], *images])


@pytest.mark.parametrize("name", ["documented/ollama-stream-tool-round-trip.json"])
async def test_a_conversation_with_ollama_goes_on_as_it_is_documented(name: str) -> None:
    sent, _ = await play(name, OllamaChat(), say_to_ollama)

    for request, exchange in zip(sent, recordings.load(name)["exchanges"], strict=True):
        for ours, theirs in zip(request.body["messages"], exchange["request"]["body"]["messages"], strict=True):
            calls = [call["function"] for call in ours.get("tool_calls", ())]
            assert calls == [call["function"] for call in theirs.get("tool_calls", ())]
            assert {**ours, "tool_calls": None} | {"tool_call_id": None} == {
                **theirs,
                "tool_calls": None,
                "tool_call_id": None,
            }
