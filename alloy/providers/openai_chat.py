"""OpenAI's Chat Completions, as many servers speak it: writing requests.

`alloy.providers.openai_chat_decode` reads the answers. Where servers differ, the profile says how.

Source: OpenAI, Chat Completions, and its Python SDK 3.54.0; OpenRouter, Groq, DeepSeek and Mistral, API references
(read 2026-11-22).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Literal, assert_never

import attrs

from alloy.llm.content import (
    JSON,
    Audio,
    CacheMark,
    Document,
    Image,
    Media,
    Opaque,
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
from alloy.providers.encoding import body_of, effort_of, left_out, refuse_unsupported, written
from alloy.providers.enforceable import is_enforceable
from alloy.providers.openai_chat_decode import ChatDecoder

NAME = "openai.chat"

_AUDIO_FORMATS = {"audio/wav": "wav", "audio/x-wav": "wav", "audio/mpeg": "mp3", "audio/mp3": "mp3"}


class ChatCompletions:
    """The dialect that OpenAI's Chat Completions began, and most servers of open models speak.

    It has no flag for a tool's error, so the text says that it is one; and no images in a tool's result, so
    they follow in the user's name. Reasoning goes back where the server gave it in a form that it wants back.
    Cache marks are left out: these servers cache without being asked.
    """

    name = NAME
    framing: Literal["sse"] = "sse"

    def __init__(self) -> None:
        self._encoders: dict[Profile, Encoders] = {}

    def encode(self, request: Request, target: Target) -> WireRequest:
        """See `Dialect.encode`."""
        profile = target.profile
        refuse_unsupported(request, target, _takes, takes_temperature=profile.temperature)
        head: dict[str, JSON] = {"model": request.model, "stream": True}
        if profile.usage_option == "stream_options":
            head["stream_options"] = {"include_usage": True}
        elif profile.usage_option == "usage":
            head["usage"] = {"include": True}
        if request.tools and (profile.tool_choice_none or request.settings.tool_choice != "none"):
            head["tools"] = [_tool(tool, strict=profile.strict) for tool in request.tools]
        return WireRequest(
            path="/chat/completions",
            body=body_of(
                head,
                self._messages(request, profile),
                _choices(request, profile, has_tools="tools" in head),
                request.settings.vendor,
                of=request.messages,
            ),
        )

    def decoder(self, request: Request, target: Target) -> Decoder:
        """See `Dialect.decoder`."""
        return ChatDecoder(target)

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """See `Dialect.error_from`."""
        return error_for_answer(status, headers, body, target)

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """Reasoning is bound to its model: behind one server there may be models of several makers."""
        return False

    def _messages(self, request: Request, profile: Profile) -> Iterator[bytes]:
        """The messages in turn, the system prompt first."""
        if request.system:
            yield dumps({"role": profile.system_role, "content": request.system})
        encoders = self._encoders.get(profile) or self._encoders.setdefault(profile, Encoders(profile))
        yield from written(request.messages, encoders, encoders.write, encoders.wire)


class Encoders:
    """What encodes messages for one profile."""

    def __init__(self, profile: Profile) -> None:
        self.wire: PerMessage[tuple[bytes, ...]] = PerMessage(partial(wire_of, profile=profile))
        self.parts: PerMessage[bytes] = PerMessage(partial(parts_of, profile=profile))
        self.answers_tools: bool = profile.answer_after_tools

    def write(self, messages: Sequence[Message]) -> list[bytes]:
        """Write these in turn. Neighbours of one role are joined, since many servers want roles to alternate."""
        out: list[bytes] = []
        group: list[Message] = []  # of one role
        first: tuple[bytes, ...] = ()  # of them, written alone
        before: Message | None = None
        for message, wire in zip(messages, self.wire.of_all(messages), strict=True):
            if not wire:
                continue
            if group and self._joins(group[-1], message):
                group.append(message)
                continue
            out += self._grouped(group, first, before)
            before, group, first = group[-1] if group else None, [message], wire
        out += self._grouped(group, first, before)
        return out

    def _joins(self, before: Message, message: Message) -> bool:
        """Whether a message is of the role in which the one before it ends: the files of results are the user's."""
        if isinstance(message, UserMessage):
            return isinstance(before, UserMessage) or (isinstance(before, ToolMessage) and _has_files(before))
        return isinstance(message, AssistantMessage) and isinstance(before, AssistantMessage)

    def _grouped(self, group: list[Message], first: tuple[bytes, ...], before: Message | None) -> Sequence[bytes]:
        """What neighbours become that come after `before`; the first of them alone would be `first`."""
        head = group[0] if group else None
        if isinstance(head, ToolMessage) and _has_files(head):
            return [*first, *self._user(group, head)]
        if isinstance(head, UserMessage) and (len(group) > 1 or self.answers_tools):
            return self._user(group, before)
        if isinstance(head, AssistantMessage) and len(group) > 1:
            answers = [message for message in group if isinstance(message, AssistantMessage)]
            return self.wire(attrs.evolve(head, content=[item for one in answers for item in one.content]))
        return first

    def _user(self, messages: Sequence[Message], before: Message | None) -> list[bytes]:
        """The user's message that several become, after `before`."""
        has_to_answer = self.answers_tools and isinstance(before, ToolMessage)
        answer = [dumps({"role": "assistant", "content": "OK"})] if has_to_answer else []
        if text := _text_of_all(messages):
            return [*answer, dumps({"role": "user", "content": text})]
        return [*answer, b'{"role":"user","content":[' + b",".join(map(self.parts, messages)) + b"]}"]


# What one message becomes. Worked out once for each message.


def wire_of(message: Message, profile: Profile) -> tuple[bytes, ...]:
    """Encode one message that stands alone; empty if nothing of it can be sent."""
    match message:
        case UserMessage():
            if text := _text_of_all([message]):
                return (dumps({"role": "user", "content": text}),)  # lists of parts confuse several servers
            parts = parts_of(message, profile)
            return (b'{"role":"user","content":[' + parts + b"]}",) if parts else ()
        case AssistantMessage():
            wire = _answer(message, profile)
            return (dumps(wire),) if wire else ()
        case ToolMessage():
            return tuple(dumps(_result(result, profile)) for result in message.results)
        case _:
            assert_never(message)


def parts_of(message: Message, profile: Profile) -> bytes:
    """The content of a user's message as a list of parts; of a tools' message the files of its results."""
    parts: list[JSON] = []
    match message:
        case UserMessage():
            parts = [part for item in message.content if (part := _part(item, profile))]
        case ToolMessage():
            for result in message.results:
                if files := [item for item in result.content if not isinstance(item, Text)]:
                    parts.append({"type": "text", "text": f"[the files of {result.name or 'the tool'}'s result]"})
                    parts.extend(_part(item, profile) for item in files)
    return b",".join(map(dumps, parts))


def _has_files(message: ToolMessage) -> bool:
    return any(not isinstance(item, Text) for result in message.results for item in result.content)


def _text_of_all(messages: Iterable[Message]) -> str:
    """All that the user says in these, if it is nothing but text; else empty."""
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, UserMessage):
            return ""
        for item in message.content:
            if isinstance(item, Text):
                texts.append(item.text)
            elif not isinstance(item, CacheMark):
                return ""
    return "\n\n".join(text for text in texts if text.strip())


def _part(item: UserContent, profile: Profile) -> JSON:
    """One part of a message's content; None if there is nothing to send, a note for what the API does not take."""
    match item:
        case CacheMark():
            return None
        case Text():
            return {"type": "text", "text": item.text} if item.text.strip() else None
        case _ if not _takes(item):
            return {"type": "text", "text": left_out(item)}
        case Image():
            return {"type": "image_url", "image_url": {"url": item.url or _data_url(item)}}
        case Document() if item.file_id is not None:
            own = {"file_id": item.file_id}
            return {"type": "file", **own} if profile.file_parts == "mistral" else {"type": "file", "file": own}
        case Document() if item.data is not None and item.media_type.startswith("text/"):
            text = item.data.decode("utf-8", "replace")
            return {"type": "text", "text": f"[{item.name}]\n{text}" if item.name else text}
        case Document() if profile.file_parts == "mistral":
            name = {"document_name": item.name} if item.name else {}
            return {"type": "document_url", "document_url": item.url or _data_url(item), **name}
        case Document():
            name = {"filename": item.name} if item.name else {}
            return {"type": "file", "file": {**name, "file_data": item.url or _data_url(item)}}
        case Audio() | Video() if profile.file_parts == "mistral":
            return {"type": "input_audio", "input_audio": _base64(item)}
        case Audio() | Video():
            sound = {"data": _base64(item), "format": _AUDIO_FORMATS[item.media_type]}
            return {"type": "input_audio", "input_audio": sound}
        case _:
            assert_never(item)


def _takes(item: Media) -> bool:
    match item:
        case Image():
            return item.file_id is None
        case Document():
            return True
        case Audio():
            return item.data is not None and item.media_type in _AUDIO_FORMATS
        case Video():
            return False
        case _:
            assert_never(item)


def _base64(item: Media) -> str:
    return base64.b64encode(item.data or b"").decode("ascii")


def _data_url(item: Media) -> str:
    return f"data:{item.media_type};base64,{_base64(item)}"


def _answer(message: AssistantMessage, profile: Profile) -> dict[str, JSON] | None:
    """An answer as it goes back; None if it is neither text nor calls, which servers refuse."""
    parts: list[JSON] = []
    calls: list[JSON] = []
    reasoning: dict[str, JSON] = {}
    for item in message.content:
        match item:
            case Text():
                if item.text.strip():
                    parts.append({"type": "text", "text": item.text})
            case ToolCall():
                calls.append(_call(item, profile))
            case Unknown():
                parts.append(item.raw)
            case Image() | Document() | Audio() | Video():
                parts.append({"type": "text", "text": left_out(item)})
            case Thinking():
                reasoning |= {o.type: o.data for o in item.opaque if o.type.startswith("reasoning_")}
                parts.extend(o.data for o in item.opaque if o.type == "thinking")
            case _:  # a tool that the server ran is no part of its messages
                pass
    if not calls and all(_type(part) == "thinking" for part in parts):
        return None
    if calls and profile.reasoning_with_calls:
        reasoning.setdefault("reasoning_content", "")
    wire: dict[str, JSON] = {"role": "assistant", "content": _content(parts), **reasoning}
    if calls:
        wire["tool_calls"] = calls
    return wire


def _content(parts: list[JSON]) -> JSON:
    """Text as one string, null for none; a list only where there is something else."""
    if all(_type(part) == "text" for part in parts):
        return "".join(part["text"] for part in parts) or None
    return parts


def _type(part: JSON) -> JSON:
    return part.get("type") if isinstance(part, dict) else None


def _call(call: ToolCall, profile: Profile) -> JSON:
    text = call.arguments_text
    if text.strip() in ("", "null"):  # as some servers write no arguments, but not all read them
        text = dumps(call.arguments).decode()
    return {"id": _wire_id(call.id, profile), "type": "function", "function": {"name": call.name, "arguments": text}}


def _wire_id(call_id: str, profile: Profile) -> str:
    """The id as the server accepts it, the same for a call and its result."""
    if profile.tool_ids == "any" or re.fullmatch("[A-Za-z0-9]{9}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode("utf-8", "replace")).hexdigest()[:9]


def _result(result: ToolResult, profile: Profile) -> JSON:
    text = f"Error: {result.text}" if result.is_error else result.text
    if any(not isinstance(item, Text) for item in result.content):
        text += "\n[its files follow in the next message]"
    return {"role": "tool", "tool_call_id": _wire_id(result.call_id, profile), "content": text}


# Settings.


def _tool(tool: ToolDefinition, *, strict: bool) -> JSON:
    function: dict[str, JSON] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    function["parameters"] = tool.parameters
    if strict and tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _choices(request: Request, profile: Profile, *, has_tools: bool) -> dict[str, JSON]:
    settings = request.settings
    wire: dict[str, JSON] = {}
    if has_tools:
        if settings.tool_choice in ("none", "required"):
            wire["tool_choice"] = settings.tool_choice
        elif settings.tool_choice not in (None, "auto"):
            wire["tool_choice"] = {"type": "function", "function": {"name": settings.tool_choice}}
        if settings.parallel_tool_calls is not None:
            wire["parallel_tool_calls"] = settings.parallel_tool_calls
    if settings.max_output_tokens is not None:
        wire[profile.max_tokens_field] = settings.max_output_tokens
    if settings.temperature is not None:
        wire["temperature"] = settings.temperature
    effort = effort_of(request, profile)
    if effort == "none" and profile.thinking_switch:
        wire["thinking"] = {"type": "disabled"}
    elif effort is not None:
        wire[profile.effort_field] = {"effort": effort} if profile.effort_field == "reasoning" else effort
    if settings.stop:
        wire["stop"] = list(settings.stop)
    if request.output_schema is not None and profile.output_format == "json_object":
        wire["response_format"] = {"type": "json_object"}
    elif request.output_schema is not None:
        schema: dict[str, JSON] = {"name": "output", "schema": request.output_schema}
        if profile.strict or (profile.output == "schema" and is_enforceable(request.output_schema)):
            schema["strict"] = True
        wire["response_format"] = {"type": "json_schema", "json_schema": schema}
    return wire
