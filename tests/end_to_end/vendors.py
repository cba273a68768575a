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
    """One answer of Anthropic's Messages API as a stream; before calls it thinks, and signs that."""
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-test",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 1},
    }
    if isinstance(turn, str):
        blocks = [
            _block(0, {"type": "text", "text": ""}, *({"type": "text_delta", "text": p} for p in turn.split("|")))
        ]
    else:
        thought = {"type": "thinking", "thinking": "", "signature": ""}
        deltas = {"type": "thinking_delta", "thinking": "Hm."}, {"type": "signature_delta", "signature": "c2ln"}
        blocks = [_block(0, thought, *deltas)]
        for index, (call_id, name, arguments) in enumerate(turn, start=1):
            block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(arguments)}
            blocks.append(_block(index, block, delta))
    delta = {"stop_reason": "end_turn" if isinstance(turn, str) else "tool_use", "stop_sequence": None}
    return [
        {"type": "message_start", "message": message},
        *(event for block in blocks for event in block),
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 7}},
        {"type": "message_stop"},
    ]


def _block(index: int, block: object, *deltas: object) -> list[object]:
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def chat_events(turn: Turn) -> list[object]:
    """One answer of a Chat Completions server as a stream."""
    if isinstance(turn, str):
        deltas: list[dict[str, Any]] = [{"content": piece} for piece in turn.split("|")]
    else:
        calls = [
            {"index": i, "id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for i, (call_id, name, given) in enumerate(turn)
        ]
        deltas = [{"reasoning_content": "Hm."}, *({"tool_calls": [call]} for call in calls)]
    stop = "stop" if isinstance(turn, str) else "tool_calls"
    usage = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1_795_000_000, "model": "gpt-test"}
    return [
        *({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas),
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": stop}]},
        {**head, "choices": [], "usage": usage},
        "[DONE]",
    ]


def responses_events(turn: Turn) -> list[object]:
    """One answer of OpenAI's Responses as a stream; before calls it thinks, and encrypts that."""
    events: list[dict[str, Any]] = []
    output: list[object] = []
    if isinstance(turn, str):
        text = turn.replace("|", "")
        message = {"type": "message", "id": "msg_1", "role": "assistant"}
        part = {"type": "output_text", "text": text, "annotations": []}
        place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
        started, output = (
            {**message, "status": "in_progress", "content": []},
            [{**message, "status": "completed", "content": [part]}],
        )
        events += [
            {"type": "response.output_item.added", "output_index": 0, "item": started},
            {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
            *(
                {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
                for piece in turn.split("|")
            ),
            {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
            {"type": "response.content_part.done", **place, "part": part},
            {"type": "response.output_item.done", "output_index": 0, "item": output[0]},
        ]
    else:
        thought = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ZW5j"}
        output = [thought]
        events += [
            {"type": "response.output_item.added", "output_index": 0, "item": {**thought, "encrypted_content": ""}},
            {"type": "response.output_item.done", "output_index": 0, "item": thought},
        ]
        for index, (call_id, name, arguments) in enumerate(turn, start=1):
            text = json.dumps(arguments)
            call = {"type": "function_call", "id": f"fc_{call_id}", "call_id": call_id, "name": name}
            place = {"item_id": f"fc_{call_id}", "output_index": index}
            output.append({**call, "arguments": text, "status": "completed"})
            events += [
                {
                    "type": "response.output_item.added",
                    "output_index": index,
                    "item": {**call, "arguments": "", "status": "in_progress"},
                },
                {"type": "response.function_call_arguments.delta", **place, "delta": text},
                {"type": "response.function_call_arguments.done", **place, "arguments": text},
                {"type": "response.output_item.done", "output_index": index, "item": output[-1]},
            ]
    response = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1_795_000_000,
        "model": "gpt-test",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "output": [],
        "status": "in_progress",
    }
    usage = {
        "input_tokens": 10,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 17,
    }
    ended = {**response, "output": output, "status": "completed", "usage": usage}
    whole = [
        {"type": "response.created", "response": response},
        *events,
        {"type": "response.completed", "response": ended},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(whole)]


def gemini_events(turn: Turn) -> list[object]:
    """One answer of Gemini as a stream; before calls, which have no ids, it thinks."""
    if isinstance(turn, str):
        parts: list[dict[str, Any]] = [{"text": piece} for piece in turn.split("|")]
    else:
        calls: list[dict[str, Any]] = [{"functionCall": {"name": name, "args": given}} for _, name, given in turn]
        calls[0]["thoughtSignature"] = "c2ln"
        parts = [{"text": "Hm.", "thought": True}, *calls]
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 4, "thoughtsTokenCount": 3, "totalTokenCount": 17}
    head = {"modelVersion": "gemini-test", "responseId": "resp_1"}
    return [
        *({**head, "candidates": [{"index": 0, "content": {"role": "model", "parts": [part]}}]} for part in parts),
        {**head, "candidates": [{"index": 0, "content": {}, "finishReason": "STOP"}], "usageMetadata": usage},
    ]


def ollama_events(turn: Turn) -> list[object]:
    """One answer of Ollama as a stream of lines; before calls, which have no ids, it thinks."""
    if isinstance(turn, str):
        said: list[dict[str, Any]] = [{"content": piece} for piece in turn.split("|")]
    else:
        calls = [{"function": {"name": name, "arguments": arguments}} for _, name, arguments in turn]
        said = [{"content": "", "thinking": "Hm."}, *({"content": "", "tool_calls": [call]} for call in calls)]
    head = {"model": "test", "created_at": "2026-11-24T10:00:00Z"}
    end = {"done": True, "done_reason": "stop", "prompt_eval_count": 10, "eval_count": 7}
    return [
        *({**head, "message": {"role": "assistant", **one}, "done": False} for one in said),
        {**head, "message": {"role": "assistant", "content": ""}, **end},
    ]


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
