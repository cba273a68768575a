"""OpenAI's Responses API, as xAI, Azure, OpenRouter, DeepSeek and Codex have it too: writing requests.

`alloy.providers.openai_responses_decode` reads the answers.

Source: OpenAI, Responses API, "Conversation state" and "Reasoning models", and its Python SDK 3.54.0; openai/codex,
the client of the ChatGPT backend (read 2026-11-24).
"""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, assert_never

from alloy.llm.content import (
    JSON,
    Audio,
    CacheMark,
    Content,
    Document,
    Image,
    Media,
    Opaque,
    ServerTool,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Video,
)
from alloy.llm.errors import ProviderError
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserContent, UserMessage
from alloy.llm.request import Request, ToolDefinition
from alloy.llm.transcript import PerMessage
from alloy.providers.classify import error_for_answer
from alloy.providers.dialect import Decoder, Profile, Target, WireRequest, dumps
from alloy.providers.encoding import body_of, effort_of, left_out, refuse_unsupported, wire_id, written
from alloy.providers.enforceable import is_enforceable
from alloy.providers.openai_responses_decode import ResponsesDecoder

NAME = "openai.responses"

CALLS = ("function_call", "custom_tool_call")
_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class Responses:
    """The dialect of OpenAI's Responses API.

    The server keeps nothing: each request holds the whole conversation, reasoning included, which is encrypted.
    There is no flag for a tool's error, so the text says that it is one; and no stop sequences at all. Cache
    marks are left out: the API caches without being asked, and better with a `prompt_cache_key` among the
    settings' fields for the vendor.
    """

    name = NAME
    framing: Literal["sse"] = "sse"

    def __init__(self) -> None:
        self._items = PerMessage(items_of)
        self._items_unreasoned = PerMessage(partial(items_of, encrypted=False))
        self._custom = PerMessage(custom_calls)

    def encode(self, request: Request, target: Target) -> WireRequest:
        """See `Dialect.encode`."""
        settings, profile = request.settings, target.profile
        refuse_unsupported(
            request,
            target,
            _takes,
            takes_temperature=_takes_temperature(request, profile),
            also={
                "stop": bool(settings.stop),
                "max_output_tokens": settings.max_output_tokens is not None and not profile.limits_output,
            },
        )
        head: dict[str, JSON] = {"model": request.model, "stream": True, "store": False}
        if profile.encrypted_reasoning:
            head["include"] = ["reasoning.encrypted_content"]
        if request.system or profile.instructions:
            head["instructions"] = request.system
        if request.tools:
            head["tools"] = [_tool(tool, strict=profile.strict) for tool in request.tools]
        return WireRequest(
            path="/responses",
            body=body_of(
                head,
                self._input(request.messages, profile),
                _choices(request, profile),
                settings.vendor,
                of=request.messages,
                name="input",
            ),
        )

    def decoder(self, request: Request, target: Target) -> Decoder:
        """See `Dialect.decoder`."""
        return ResponsesDecoder(target)

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """See `Dialect.error_from`."""
        return error_for_answer(status, headers, body, target)

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """Encrypted reasoning goes to other models too: the server drops what they cannot use, and says so."""
        return True

    def _input(self, messages: Sequence[Message], profile: Profile) -> list[bytes]:
        items = self._items if profile.encrypted_reasoning else self._items_unreasoned
        return written(messages, items, partial(self._write, items=items), items)

    def _write(self, messages: Sequence[Message], *, items: PerMessage[tuple[bytes, ...]]) -> Iterator[bytes]:
        before: Message | None = None
        for message in messages:
            custom = self._custom(before) if before is not None and isinstance(message, ToolMessage) else ()
            if custom and isinstance(message, ToolMessage):
                for result in message.results:
                    yield dumps(_result(result, "custom_tool_call" if result.call_id in custom else "function_call"))
            else:
                yield from items(message)
            before = message


# What one message becomes. Worked out once for each message.


def items_of(message: Message, *, encrypted: bool = True) -> tuple[bytes, ...]:
    """Encode one message as input items; empty if nothing of it can be sent.

    Args:
        message: to be encoded.
        encrypted: whether the model takes encrypted reasoning; one that does not reason refuses it.
    """
    match message:
        case UserMessage():
            parts = [part for item in message.content if (part := _part(item))]
            return (dumps({"type": "message", "role": "user", "content": parts}),) if parts else ()
        case AssistantMessage():
            return tuple(map(dumps, _answer(message, encrypted=encrypted)))
        case ToolMessage():
            return tuple(dumps(_result(result, "function_call")) for result in message.results)
        case _:
            assert_never(message)


def custom_calls(message: Message) -> frozenset[str]:
    """The ids of the calls of custom tools, whose results are items of their own kind."""
    calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
    return frozenset(call.id for call in calls if _state(call, "custom_tool_call"))


def _part(item: UserContent) -> JSON:
    """One part of a message's content; None if there is nothing to send, a note for what the API does not take."""
    match item:
        case CacheMark():
            return None
        case Text():
            return _text(item.text) if item.text.strip() else None
        case _ if not _takes(item):
            return _text(left_out(item))
        case Image():
            by_id = item.file_id is not None
            place = {"file_id": item.file_id} if by_id else {"image_url": item.url or _data_url(item)}
            return {"type": "input_image", "detail": "auto", **place}
        case _ if item.file_id is not None:
            return {"type": "input_file", "file_id": item.file_id}
        case _ if item.url is not None:
            return {"type": "input_file", "file_url": item.url}
        case _ if item.media_type.startswith("text/"):
            text = (item.data or b"").decode("utf-8", "replace")
            return _text(f"[{item.name}]\n{text}" if item.name else text)
        case _:
            name = item.name or f"document{mimetypes.guess_extension(item.media_type) or ''}"
            return {"type": "input_file", "filename": name, "file_data": _data_url(item)}


def _text(text: str) -> JSON:
    return {"type": "input_text", "text": text}


def _takes(item: Media) -> bool:
    match item:
        case Image():
            return item.data is None or item.media_type in _IMAGES
        case Document():
            return True
        case Audio() | Video():
            return False
        case _:
            assert_never(item)


def _data_url(item: Media) -> str:
    return f"data:{item.media_type};base64,{base64.b64encode(item.data or b'').decode('ascii')}"


def _answer(message: AssistantMessage, *, encrypted: bool) -> list[dict[str, JSON]]:
    """The items of an answer, in their order.

    Ids belong together: the server knows by them which reasoning led to what, and refuses either without the
    other. So without all of its reasoning an answer goes back without ids, and without the tools that the
    vendor ran; and reasoning that led to nothing does not go back.
    """
    reasoning = [o.data for item in message.content for o in item.opaque if o.type == "reasoning" and o.data]
    is_whole = all((encrypted and data.get("encrypted_content")) or data.get("content") for data in reasoning)
    wire: list[dict[str, JSON]] = []
    for item in message.content:
        match item:
            case Text():
                _say(wire, item, with_id=is_whole)
            case Thinking():
                if is_whole:
                    found = (o.data for o in item.opaque if o.type == "reasoning" and o.data)
                    wire += ({key: value for key, value in data.items() if value is not None} for data in found)
            case ToolCall():
                wire.append(_call(item, with_id=is_whole))
            case ServerTool():
                if is_whole:
                    wire.append(item.payload)
            case Unknown():
                wire += _unknown(item, with_id=is_whole)
            case Image() | Document() | Audio() | Video():  # made by another vendor's model
                wire.append({"type": "message", "role": "assistant", "content": left_out(item)})
            case _:
                assert_never(item)
    while wire and wire[-1].get("type") == "reasoning":
        wire.pop()
    if not any(item.get("encrypted_content") for item in wire):
        # DeepSeek takes a text behind a call for the next answer. To reasoning that is encrypted the order matters.
        wire.sort(key=lambda item: item.get("type") in CALLS)
    return wire


def _say(wire: list[dict[str, JSON]], item: Text, *, with_id: bool) -> None:
    """Add a text, to the message before it if it is a part of that."""
    own = _state(item, "message")
    extra = own.extra if own else {}
    if own is None or own.id is None or not with_id:
        if item.text.strip():
            wire.append({"type": "message", "role": "assistant", **extra, "content": item.text})
        return
    part = {"type": "output_text", "text": item.text, "annotations": []}
    if wire and wire[-1].get("type") == "message" and wire[-1].get("id") == own.id:
        wire[-1]["content"].append(part)
        return
    message = {"type": "message", "id": own.id, "role": "assistant", "status": "completed"}
    wire.append({**message, **extra, "content": [part]})


def _call(call: ToolCall, *, with_id: bool) -> dict[str, JSON]:
    own = _state(call, *CALLS)
    id = {"id": own.id} if own and own.id and with_id else {}
    extra = own.extra if own else {}
    wire = {"call_id": wire_id(call.id), "name": call.name, **extra}
    if own and own.type == "custom_tool_call":
        return {"type": own.type, **id, **wire, "input": call.arguments_text}
    text = call.arguments_text
    if text.strip() in ("", "null"):  # as some servers write no arguments, but not all read them
        text = dumps(call.arguments).decode()
    return {"type": "function_call", **id, **wire, "arguments": text}


def _unknown(item: Unknown, *, with_id: bool) -> Iterator[dict[str, JSON]]:
    """An item goes back as it came; from another server without its id, and not if it is encrypted."""
    own = _state(item, "item")
    if own is not None and own.id is not None and with_id:
        yield {**item.raw, "id": own.id}
    elif item.raw.get("type") == "message":  # a refusal: without an id a message is nothing but text
        text = "".join(part.get("refusal") or part.get("text") or "" for part in item.raw["content"])
        if text.strip():
            yield {"type": "message", "role": "assistant", "content": text}
    elif own is not None or "encrypted_content" not in item.raw:
        yield item.raw


def _state(item: Content, *types: str) -> Opaque | None:
    return next((opaque for opaque in item.opaque if opaque.type in types), None)


def _result(result: ToolResult, kind: str) -> JSON:
    if all(isinstance(item, Text) for item in result.content):
        output: JSON = f"Error: {result.text}" if result.is_error else result.text
    else:
        parts = [part for item in result.content if (part := _part(item))]
        output = [_text("Error:"), *parts] if result.is_error else parts
    return {"type": f"{kind}_output", "call_id": wire_id(result.call_id), "output": output}


# Settings.


def _takes_temperature(request: Request, profile: Profile) -> bool:
    """Models that reason take none while they do."""
    efforts = {"any": (request.settings.effort,), "default": (None, "none"), "none": ("none",)}
    return profile.temperature and request.settings.effort in efforts[profile.temperature_needs]


def _tool(tool: ToolDefinition, *, strict: bool) -> JSON:
    """A tool. `strict` stands there always: without it the API takes the schema for a strict one."""
    wire: dict[str, JSON] = {"type": "function", "name": tool.name}
    if tool.description:
        wire["description"] = tool.description
    return {**wire, "parameters": tool.parameters, "strict": strict and tool.strict}


def _choices(request: Request, profile: Profile) -> dict[str, JSON]:
    settings = request.settings
    wire: dict[str, JSON] = {}
    if request.tools:
        if settings.tool_choice in ("none", "required"):
            wire["tool_choice"] = settings.tool_choice
        elif settings.tool_choice not in (None, "auto"):
            wire["tool_choice"] = {"type": "function", "name": settings.tool_choice}
        if settings.parallel_tool_calls is not None:
            wire["parallel_tool_calls"] = settings.parallel_tool_calls
    if settings.max_output_tokens is not None:
        wire["max_output_tokens"] = settings.max_output_tokens
    if settings.temperature is not None:
        wire["temperature"] = settings.temperature
    if (effort := effort_of(request, profile)) is not None:
        wire["reasoning"] = {"effort": effort}
    if request.output_schema is not None:
        # Not strict, the schema is a wish; a strict one that breaks a rule is refused.
        strict = profile.strict or is_enforceable(request.output_schema)
        schema = {"type": "json_schema", "name": "output", "schema": request.output_schema, "strict": strict}
        wire["text"] = {"format": schema}
    return wire
