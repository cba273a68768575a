"""Two small vendors on a loopback address, as strict as the real ones: they refuse what the real ones refuse."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

from alloy.testing.wire_rules import chat_faults, gemini_faults, messages_faults, ollama_faults, responses_faults
from providers.loopback import Exchange, Server, serve

Call: TypeAlias = tuple[str, str, Mapping[str, Any]]  # id, name, arguments
Turn: TypeAlias = "str | Sequence[Call]"


def sse(events: Iterable[object]) -> Iterable[bytes]:
    """Each event as the bytes of a server-sent event."""
    for event in events:
        name = f"event: {event['type']}\n" if isinstance(event, dict) and "type" in event else ""
        data = event if isinstance(event, str) else json.dumps(event)
        yield f"{name}data: {data}\n\n".encode()


def messages_events(turn: Turn) -> list[object]:
    """One answer of Anthropic's Messages API as a stream."""
    usage = {"input_tokens": 10, "output_tokens": 1}
    events: list[object] = [
        {"type": "message_start", "message": {"id": "msg_1", "model": "claude-test", "usage": usage, "content": []}}
    ]
    if isinstance(turn, str):
        events += [
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
                for piece in turn.split("|")
            ),
            {"type": "content_block_stop", "index": 0},
        ]
    else:
        for index, (call_id, name, arguments) in enumerate(turn):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
            events += [
                {"type": "content_block_start", "index": index, "content_block": block},
                {"type": "content_block_delta", "index": index, "delta": delta},
                {"type": "content_block_stop", "index": index},
            ]
    stop = "end_turn" if isinstance(turn, str) else "tool_use"
    return [
        *events,
        {"type": "message_delta", "delta": {"stop_reason": stop}, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def chat_events(turn: Turn) -> list[object]:
    """One answer of a Chat Completions server as a stream."""
    if isinstance(turn, str):
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in turn.split("|")]
    else:
        deltas = [
            {
                "tool_calls": [
                    {"index": i, "id": call_id, "function": {"name": name, "arguments": json.dumps(arguments)}}
                ]
            }
            for i, (call_id, name, arguments) in enumerate(turn)
        ]
    stop = "stop" if isinstance(turn, str) else "tool_calls"
    chunks = [{"choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return [
        *chunks,
        {"choices": [{"index": 0, "delta": {}, "finish_reason": stop}]},
        {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 7}},
        "[DONE]",
    ]


def responses_events(turn: Turn) -> list[object]:
    """One answer of OpenAI's Responses as a stream."""
    events: list[object] = [
        {"type": "response.created", "response": {"id": "resp_1", "model": "gpt-test", "status": "in_progress"}}
    ]
    if isinstance(turn, str):
        part = {"type": "output_text", "text": turn.replace("|", ""), "annotations": []}
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        events += [
            {"type": "response.output_item.added", "output_index": 0, "item": {**message, "content": []}},
            *(
                {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": piece}
                for piece in turn.split("|")
            ),
            {"type": "response.output_item.done", "output_index": 0, "item": {**message, "content": [part]}},
        ]
    else:
        thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ZW5j"}
        events.append({"type": "response.output_item.done", "output_index": 0, "item": thought})
        for index, (call_id, name, arguments) in enumerate(turn, start=1):
            call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name, "arguments": ""}
            text = json.dumps(arguments)
            events += [
                {"type": "response.output_item.added", "output_index": index, "item": call},
                {"type": "response.function_call_arguments.delta", "output_index": index, "delta": text},
                {"type": "response.output_item.done", "output_index": index, "item": {**call, "arguments": text}},
            ]
    usage = {"input_tokens": 10, "output_tokens": 7}
    return [*events, {"type": "response.completed", "response": {"status": "completed", "usage": usage}}]


def gemini_events(turn: Turn) -> list[object]:
    """One answer of Gemini as a stream; the calls have no ids."""
    if isinstance(turn, str):
        parts: list[dict[str, Any]] = [{"text": piece} for piece in turn.split("|")]
    else:
        parts = [{"functionCall": {"name": name, "args": arguments}} for _, name, arguments in turn]
        parts[0]["thoughtSignature"] = "c2ln"
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3}
    return [
        *({"candidates": [{"content": {"role": "model", "parts": [part]}}]} for part in parts),
        {"candidates": [{"content": {}, "finishReason": "STOP"}], "usageMetadata": usage},
    ]


def ollama_events(turn: Turn) -> list[object]:
    """One answer of Ollama as a stream of lines; the calls have no ids."""
    if isinstance(turn, str):
        said: list[dict[str, Any]] = [{"content": piece} for piece in turn.split("|")]
    else:
        calls = [{"function": {"name": name, "arguments": arguments}} for _, name, arguments in turn]
        said = [{"content": "", "tool_calls": [call]} for call in calls]
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 7}
    return [*({"message": one, "done": False} for one in said), {"message": {"content": ""}, **end}]


def lines(events: Iterable[object]) -> Iterable[bytes]:
    """Each event as a line of JSON."""
    for event in events:
        yield json.dumps(event).encode() + b"\n"


VENDORS: Mapping[str, tuple[str, Callable[[Turn], list[object]], Callable[[Any], list[str]], str]] = {
    "anthropic": ("/v1/messages", messages_events, messages_faults, "anthropic:claude-test"),
    "openai": ("/v1/responses", responses_events, responses_faults, "openai:gpt-test"),
    "openai-compatible": ("/v1/chat/completions", chat_events, chat_faults, "openai-compatible:gpt-test"),
    "google": (
        "/v1/models/gemini-test:streamGenerateContent?alt=sse",
        gemini_events,
        gemini_faults,
        "google:gemini-test",
    ),
    "ollama": ("/v1/api/chat", ollama_events, ollama_faults, "ollama:test"),
}


@asynccontextmanager
async def vendor(name: str, *turns: Turn) -> AsyncIterator[Server]:
    """Serve these answers one after the other; a request that the real vendor would refuse gets its 400."""
    path, events, faults, _ = VENDORS[name]
    left = list(turns)

    async def handler(exchange: Exchange) -> None:
        body = json.loads(exchange.received.body)
        if exchange.received.target != path:
            await exchange.answer(404, b'{"error": {"message": "no such path"}}')
        elif found := faults(body):
            await exchange.answer(400, json.dumps({"error": {"message": "; ".join(found)}}).encode())
        else:
            await exchange.start(200, {"content-type": "text/event-stream"})
            for chunk in (lines if name == "ollama" else sse)(events(left.pop(0))):
                await exchange.send(chunk)
            await exchange.end()

    async with serve(handler) as server:
        yield server
