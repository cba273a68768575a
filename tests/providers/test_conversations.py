"""Recorded conversations, played again over the whole client: does what was answered go back as it should?

Each recorded user's turn is said again, each answer comes from the recording, and what we send next is
compared with what the recorded client sent next.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

import recordings
from alloy.llm import Message, Request, ToolMessage, ToolResult, UserMessage
from alloy.llm.completion import Fold
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.client import VendorModel
from alloy.providers.dialect import Dialect
from alloy.providers.http import HTTP
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.testing.recorded import replay
from recordings import needs_recordings

pytestmark = needs_recordings

MESSAGES, CHAT, RESPONSES = AnthropicMessages(), ChatCompletions(), Responses()

# Recorded clients that sent back something else than they were answered.
REWRITTEN = {
    "anthropic-messages/anthropic-parallel-disabled-1.json": "the call of a formatting tool became text",
    "anthropic-messages/anthropic-parallel-disabled-2.json": "the call of a formatting tool became text",
    "openai-chat/openai-parallel-disabled-1.json": "the call of a formatting tool became text",
    "openai-chat/groq-thinking-1.json": "the reasoning between tags was cut out of the text",
    "openai-responses/bedrock-mantle-stream-thinking-tools-1.json": "calls got other ids, as the server's repeat",
    "openai-responses/bedrock-mantle-tool-round-trip-2.json": "calls got other ids, as the server's repeat",
    "openai-responses/openai-tool-round-trip-3.json": "what a tool search found was left out",
}


def turns(exchange: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """The messages of a recorded request but for system prompts, which are ours to place."""
    messages = messages_in(exchange["request"].get("body") or {})
    return [message for message in messages if message.get("role") not in ("system", "developer")]


def messages_in(body: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    said = body.get("messages", body.get("input", ()))
    return [{"role": "user", "content": said}] if isinstance(said, str) else said


def is_models(message: Mapping[str, Any]) -> bool:
    """The model said it; in Responses an item without a role, but for the results of calls."""
    return message.get("role", "assistant") == "assistant" and message.get("type") not in RESULTS


RESULTS = ("function_call_output", "custom_tool_call_output")


def tail(messages: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """What was said since the last answer."""
    last = max((n for n, message in enumerate(messages) if is_models(message)), default=-1)
    return messages[last + 1 :]


def answers_in(messages: Sequence[Mapping[str, Any]]) -> int:
    """How many answers there are; in Responses an answer is all the items up to the next of somebody else."""
    if all("content" in message and "id" not in message for message in messages):
        return sum(map(is_models, messages))
    made = list(map(is_models, messages))
    return sum(now and not before for before, now in zip([False, *made], made, strict=False))


def is_conversation(name: str) -> bool:
    """Each request holds all the answers before it, and ends in words and results that we can say again."""
    exchanges = recordings.load(name)["exchanges"]
    return (
        len(exchanges) > 1
        and name not in REWRITTEN
        and all(
            exchange["response"]["status"] == 200
            and want is not None
            and want.error is None
            and answers_in(turns(exchange)) == number
            and all(map(can_be_said, tail(turns(exchange))))
            for number, (exchange, want) in enumerate(zip(exchanges, recordings.expected(name), strict=True))
        )
    )


def can_be_said(message: Mapping[str, Any]) -> bool:
    if message.get("type") in RESULTS:
        return text_of(message["output"]) is not None
    content = message["content"]
    if message["role"] == "tool" and "tool_call_id" not in message:
        return False
    return isinstance(content, str) or all(
        part["type"] in TEXTS or (part["type"] == "tool_result" and text_of(part.get("content", "")) is not None)
        for part in content
    )


def text_of(content: Any) -> str | None:
    """The text of a content, None if there is more than text."""
    if isinstance(content, str):
        return content
    if any(part["type"] not in TEXTS for part in content):
        return None
    return "".join(part["text"] for part in content)


TEXTS = ("text", "input_text")


def say_again(messages: Sequence[Mapping[str, Any]]) -> Iterator[Message]:
    """A recorded turn of the user's, as our messages."""
    results: list[ToolResult] = []
    words: list[str] = []
    for message in messages:
        if message.get("type") in RESULTS:
            results.append(ToolResult(text_of(message["output"]) or "", call_id=message["call_id"]))
        elif message["role"] == "tool":
            results.append(ToolResult(text_of(message["content"]) or "", call_id=message["tool_call_id"]))
        elif isinstance(message["content"], str):
            words.append(message["content"])
        else:
            for part in message["content"]:
                if part["type"] in TEXTS:
                    words.append(part["text"])
                else:
                    text = text_of(part.get("content", "")) or ""
                    results.append(ToolResult(text, call_id=part["tool_use_id"], is_error=part.get("is_error", False)))
    if results:
        yield ToolMessage(results)
    if words:
        yield UserMessage(words)


async def play(name: str, dialect: Dialect) -> list[tuple[Any, Any]]:
    """Hold the conversation; return what we sent and what the recorded client sent, request by request."""
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
            history += say_again(tail(turns(exchange)))
            fold = Fold(model.origin)
            async with model.stream(Request(model=target.origin.model, messages=history)) as answer:
                async for deltas in answer:
                    fold.add(deltas)
            history.append(fold.message())
    sent = [messages_in(request.body) for request in transport.requests]
    return list(zip(sent, map(turns, recording["exchanges"]), strict=True))


# Messages.

_NOT_COMPARED = ("cache_control", "citations", "caller", "is_error", "toolset_name")


def blocks(messages: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A conversation as the list of its blocks, each with its speaker, without what clients may leave out."""
    out: list[Any] = []
    for message in messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            kept = as_recorded({key: value for key, value in part.items() if key not in _NOT_COMPARED})
            if part["type"] == "tool_result":
                kept["content"] = text_of(part.get("content", ""))
            if part["type"] != "text" or part["text"].strip():
                out.append((message["role"], kept))
    return out


# The recorder wrote quotes and dashes of requests in ASCII.
_AS_RECORDED = str.maketrans("–—‘’“”", "--''\"\"")


def as_recorded(value: Any) -> Any:
    match value:
        case str():
            return value.translate(_AS_RECORDED)
        case dict():
            return {key: as_recorded(inner) for key, inner in value.items() if inner is not None}
        case list():
            return [as_recorded(inner) for inner in value]
        case _:
            return value


@pytest.mark.parametrize("name", [name for name in recordings.names("anthropic-messages") if is_conversation(name)])
async def test_a_conversation_with_anthropic_goes_on_as_it_was_recorded(name: str) -> None:
    for sent, recorded in await play(name, MESSAGES):
        assert blocks(sent) == blocks(recorded)


# Chat Completions.


def lines(messages: Sequence[Mapping[str, Any]], *, reasoning: bool) -> list[Any]:
    """A conversation without the freedoms that clients take."""
    out: list[Any] = []
    for message in messages:
        calls = [
            (call["id"], call["function"]["name"], json.loads(call["function"]["arguments"] or "{}"))
            for call in message.get("tool_calls") or ()
        ]
        line = [message["role"], letters_of(message.get("content")), calls, message.get("tool_call_id")]
        out.append([*line, message.get("reasoning_details")] if reasoning else line)
    return out


def letters_of(content: Any) -> str:
    """A content's text without blanks: clients join its parts with or without some."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part["type"] == "text")
    return "".join((content or "").split())


def lacks_ids(name: str) -> bool:
    """The server gave its calls no ids, so that each client has ids of its own."""
    return any(call[0] is None for want in recordings.expected(name) if want for call in want.tool_calls or ())


@pytest.mark.parametrize(
    "name", [name for name in recordings.names("openai-chat") if is_conversation(name) and not lacks_ids(name)]
)
async def test_a_conversation_by_chat_goes_on_as_it_was_recorded(name: str) -> None:
    for sent, recorded in await play(name, CHAT):
        reasoning = any("reasoning_details" in message for message in recorded)
        assert lines(sent, reasoning=reasoning) == lines(recorded, reasoning=reasoning)


# Responses.


def entries(items: Sequence[Mapping[str, Any]]) -> list[Any]:
    """A conversation without the freedoms that clients take: ids, and what only repeats."""
    out: list[Any] = []
    for item in items:
        match item.get("type", "message"):
            case "message":
                out.append([item["role"], letters_in(item["content"])])
            case "reasoning":
                thoughts = [part["text"] for part in item.get("content") or ()]
                out.append(["reasoning", item.get("encrypted_content") or thoughts])
            case "function_call":
                out.append([item["call_id"], item["name"], json.loads(item["arguments"])])
            case "function_call_output":
                out.append(["output", item["call_id"], text_of(item["output"])])
            case kind:
                out.append([kind, item.get("id")])
    return [entry for entry in out if entry != ["assistant", ""]]


def letters_in(content: Any) -> str:
    texts = [content] if isinstance(content, str) else [part["text"] for part in content]
    return as_recorded("".join("".join(texts).split()))


@pytest.mark.parametrize("name", [name for name in recordings.names("openai-responses") if is_conversation(name)])
async def test_a_conversation_by_responses_goes_on_as_it_was_recorded(name: str) -> None:
    for sent, recorded in await play(name, RESPONSES):
        with_reasoning = any(item.get("type") == "reasoning" for item in recorded)
        kept = [item for item in sent if with_reasoning or item.get("type") != "reasoning"]
        assert entries(kept) == entries(recorded)
