"""Ollama's own chat API: writing requests. `alloy.providers.ollama_decode` reads the answers.

Source: Ollama, "API reference", and its server's source, August 2026 (read 2026-11-22).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, assert_never

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
    Video,
)
from alloy.llm.errors import ProviderError
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.llm.request import EFFORTS, Request, ToolDefinition
from alloy.llm.transcript import PerMessage
from alloy.providers.classify import error_for_answer
from alloy.providers.dialect import Decoder, Profile, Target, WireRequest, dumps
from alloy.providers.encoding import body_of, effort_of, left_out, refuse_unsupported, written
from alloy.providers.ollama_decode import OllamaDecoder

NAME = "ollama.chat"

# What to think, by effort. Models that know no degrees take each as "yes".
_THINK: Mapping[str, JSON] = dict(zip(EFFORTS, (False, "low", "low", "medium", "high", "high", "max"), strict=True))


class OllamaChat:
    """The dialect of Ollama's own API, which unlike its OpenAI-compatible one lets us choose the window.

    A conversation that does not fit is an error, as it is elsewhere: left alone, the server would silently
    drop its beginning. The API cannot make a model call a tool, nor only one at a time, so that is refused;
    it can be kept from calling any, by not being shown them. Fields of `options` that the user gives are
    added to ours.
    """

    name = NAME
    framing: Literal["lines"] = "lines"

    def __init__(self) -> None:
        self._pieces = PerMessage(pieces_of)

    def encode(self, request: Request, target: Target) -> WireRequest:
        """See `Dialect.encode`."""
        profile, settings = target.profile, request.settings
        refused = {
            "tool_choice": settings.tool_choice not in (None, "auto", "none"),
            "parallel_tool_calls": settings.parallel_tool_calls is False,
        }
        refuse_unsupported(request, target, _takes, takes_temperature=profile.temperature, also=refused)
        head: dict[str, JSON] = {"model": request.model, "stream": True}
        if request.tools and settings.tool_choice != "none":
            head["tools"] = [_tool(tool) for tool in request.tools]
        rest = {name: value for name, value in settings.vendor.items() if name != "options"}
        return WireRequest(
            path="/api/chat",
            body=body_of(head, self._messages(request), _choices(request, profile), rest, of=request.messages),
        )

    def decoder(self, request: Request, target: Target) -> Decoder:
        """See `Dialect.decoder`."""
        return OllamaDecoder(target)

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """See `Dialect.error_from`."""
        return error_for_answer(status, headers, body, target)

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """There is nothing opaque in its answers."""
        return False

    def _messages(self, request: Request) -> Iterable[bytes]:
        if request.system:
            yield dumps({"role": "system", "content": request.system})
        yield from written(request.messages, self, self._write, self._pieces)

    def _write(self, messages: Sequence[Message]) -> Iterable[bytes]:
        for said in joined(piece for message in messages for piece in self._pieces(message)):
            yield said.wire or dumps(_written(said))


# Pieces: what a message becomes. Worked out once for each message.


class Piece(NamedTuple):
    """One message on the wire, or a part of one whose neighbours are of the same role.

    Attributes:
        wire: it as JSON, as long as it stands alone.
        calls: as the API has them.
        tool: the name and id that a result answers.
    """

    role: str
    text: str
    wire: bytes = b""
    thinking: str = ""
    images: tuple[str, ...] = ()
    calls: tuple[JSON, ...] = ()
    tool: tuple[str, str] = ("", "")


def pieces_of(message: Message) -> tuple[Piece, ...]:
    """Encode one message; empty if nothing of it can be sent.

    The files of a tool's result follow it in the user's name, as models look for them there only.
    """
    match message:
        case UserMessage():
            pieces = [_said(message.content)]
        case AssistantMessage():
            pieces = [_answer(message)]
        case ToolMessage():
            pieces = [Piece("tool", _words(one), tool=(one.name, one.call_id)) for one in message.results]
            files = [item for one in message.results for item in one.content if not isinstance(item, Text)]
            if files:
                pieces.append(_said([Text("[the files of the results]"), *files]))
        case _:
            assert_never(message)
    kept = [piece for piece in pieces if piece.role == "tool" or piece.text or piece.images or piece.calls]
    return tuple(piece._replace(wire=dumps(_written(piece))) for piece in kept)


def joined(pieces: Iterable[Piece]) -> Iterable[Piece]:
    """Put neighbours of one role together, since many models' templates want roles to alternate; not results."""
    before: Piece | None = None
    for piece in pieces:
        if before is not None and before.role == piece.role != "tool":
            before = before._replace(
                text="\n\n".join(filter(None, (before.text, piece.text))),
                wire=b"",
                thinking=before.thinking + piece.thinking,
                images=before.images + piece.images,
                calls=before.calls + piece.calls,
            )
            continue
        if before is not None:
            yield before
        before = piece
    if before is not None:
        yield before


def _said(content: Iterable[Text | Media | CacheMark]) -> Piece:
    texts: list[str] = []
    images: list[str] = []
    for item in content:
        match item:
            case Text():
                texts.append(item.text)
            case CacheMark():
                pass
            case Image() if item.data is not None:
                images.append(base64.b64encode(item.data).decode("ascii"))
            case Document() if item.data is not None and _takes(item):
                text = item.data.decode("utf-8", "replace")
                texts.append(f"[{item.name}]\n{text}" if item.name else text)
            case _:
                texts.append(left_out(item))
    return Piece("user", "\n\n".join(text for text in texts if text.strip()), images=tuple(images))


def _answer(message: AssistantMessage) -> Piece:
    """An answer as it goes back. Its reasoning is none of another server's: that has been left out before."""
    texts: list[str] = []
    thoughts: list[str] = []
    calls: list[JSON] = []
    own = message.origin is not None and message.origin.dialect == NAME
    for item in message.content:
        match item:
            case Text():
                texts.append(item.text if item.text.strip() else "")
            case Thinking():
                thoughts.append(item.text if own else "")
            case ToolCall():
                calls.append({"id": item.id, "function": {"name": item.name, "arguments": item.arguments}})
            case Image() | Document() | Audio() | Video():
                texts.append(left_out(item))
            case _:  # a tool that another server ran, and what we do not know, is no part of its messages
                pass
    return Piece("assistant", "".join(texts), thinking="".join(thoughts), calls=tuple(calls))


def _words(result: ToolResult) -> str:
    """What a tool says; there is no flag for an error, so the text says that it is one."""
    text = f"Error: {result.text}" if result.is_error else result.text
    has_files = any(not isinstance(item, Text) for item in result.content)
    return f"{text}\n[its files follow in the next message]" if has_files else text


def _written(piece: Piece) -> dict[str, JSON]:
    wire: dict[str, JSON] = {"role": piece.role, "content": piece.text}
    if piece.thinking:
        wire["thinking"] = piece.thinking
    if piece.images:
        wire["images"] = piece.images
    if piece.calls:
        wire["tool_calls"] = piece.calls
    name, call_id = piece.tool
    if name:
        wire["tool_name"] = name
    if call_id:
        wire["tool_call_id"] = call_id
    return wire


def _takes(item: Media) -> bool:
    match item:
        case Image():
            return item.data is not None
        case Document():
            return item.data is not None and item.media_type.startswith("text/")
        case Audio() | Video():
            return False
        case _:
            assert_never(item)


# Settings.


def _tool(tool: ToolDefinition) -> JSON:
    description = {"description": tool.description} if tool.description else {}
    return {"type": "function", "function": {"name": tool.name, **description, "parameters": tool.parameters}}


def _choices(request: Request, profile: Profile) -> dict[str, JSON]:
    settings = request.settings
    options: dict[str, JSON] = {}
    if profile.context_window is not None:
        options["num_ctx"] = profile.context_window
    if settings.max_output_tokens is not None:
        options["num_predict"] = settings.max_output_tokens
    if settings.temperature is not None:
        options["temperature"] = settings.temperature
    if settings.stop:
        options["stop"] = list(settings.stop)
    options |= settings.vendor.get("options", {})
    wire: dict[str, JSON] = {"truncate": False, "shift": False}
    if options:
        wire["options"] = options
    if (effort := effort_of(request, profile)) is not None:
        wire["think"] = _THINK[effort]
    if request.output_schema is not None:
        wire["format"] = request.output_schema
    return wire
