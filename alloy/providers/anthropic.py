"""Anthropic's Messages API: writing requests. `alloy.providers.anthropic_decode` reads the answers.

Source: Anthropic, Messages API, version 2026-10-21, and its Python SDK 2.12.0 (read 2026-11-22).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple, assert_never

from alloy.llm.content import (
    JSON,
    Audio,
    CacheMark,
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
from alloy.llm.message import AssistantContent, AssistantMessage, Message, ToolMessage, UserContent, UserMessage
from alloy.llm.request import Request, Settings, ToolDefinition
from alloy.llm.transcript import PerMessage
from alloy.providers.anthropic_decode import MessagesDecoder
from alloy.providers.classify import error_for_answer
from alloy.providers.dialect import Decoder, Target, WireRequest, dumps
from alloy.providers.encoding import body_of, left_out, refuse_unsupported, wire_id, written

NAME = "anthropic.messages"
VERSION = "2026-10-21"
MAX_MARKS = 4

_IMAGES = ("image/jpeg", "image/png", "image/gif", "image/webp")


class AnthropicMessages:
    """The dialect of Anthropic's Messages API.

    Two things that are not as in other dialects: the API refuses a temperature, and it demands a limit on
    output tokens, which is the profile's where the settings give none. An effort of `"none"` switches
    thinking off, where the model allows that.
    """

    name = NAME
    framing: Literal["sse"] = "sse"

    def __init__(self) -> None:
        self._blocks = PerMessage(blocks_of)

    def encode(self, request: Request, target: Target) -> WireRequest:
        """See `Dialect.encode`."""
        refuse_unsupported(request, target, _takes, takes_temperature=False)  # this version refuses any
        settings = request.settings
        turns = self._turns(request.messages)
        automatic = settings.cache and not (turns and isinstance(turns[-1], Turn) and turns[-1].blocks[-1].mark)
        _keep_marks([turn for turn in turns if isinstance(turn, Turn)], MAX_MARKS - 1 if automatic else MAX_MARKS)
        head: dict[str, JSON] = {
            "model": request.model,
            "max_tokens": settings.max_output_tokens or target.profile.max_output_tokens,
            "stream": True,
        }
        if request.system:
            head["system"] = request.system
        if request.tools:
            head["tools"] = [_tool(tool, strict=target.profile.strict) for tool in request.tools]
        tail = _choices(request)
        if automatic:
            tail["cache_control"] = {"type": "ephemeral"}
        return WireRequest(
            path="/v1/messages",
            headers={"anthropic-version": VERSION},
            body=body_of(head, map(_write, turns), tail, settings.vendor, of=request.messages),
        )

    def decoder(self, request: Request, target: Target) -> Decoder:
        """See `Dialect.decoder`."""
        return MessagesDecoder(target)

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """See `Dialect.error_from`."""
        return error_for_answer(status, headers, body, target)

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """Signed thinking goes to other models too: they accept or ignore it."""
        return True

    def _turns(self, messages: Sequence[Message]) -> list[bytes | Turn]:
        """The turns of a conversation, the user first. One that is no bytes has marks in it."""
        turns: list[bytes | Turn] = written(messages, self, self._settled, self._blocks)
        if any(isinstance(turn, Turn) and turn.waits for turn in turns):
            turns = [*turns_of(messages, self._blocks)]
        else:
            turns = [Turn(turn.role, list(turn.blocks)) if isinstance(turn, Turn) else turn for turn in turns]
        if turns and _is_answer(turns[0]):
            turns.insert(0, Turn("user", [Block(dumps({"type": "text", "text": "…"}))]))
        return turns

    def _settled(self, messages: Sequence[Message]) -> Iterator[bytes | Turn]:
        """Turns as bytes; as they are where it depends on what follows how they are written."""
        for turn in _joined([(_role(message), self._blocks(message)) for message in messages]):
            yield turn if turn.waits or any(block.mark for block in turn.blocks) else _write(turn)


# Blocks: what a message's content becomes. Worked out once for each message.


class Block(NamedTuple):
    """One content block, as JSON, and what has to be known of it to put blocks together.

    Attributes:
        mark: the time to live of a cache mark behind it.
        calls: the id of the server tool's call that it is.
        answers: the id of the call, of a server tool or another, that it is the result of.
    """

    wire: bytes
    mark: str | None = None
    calls: str | None = None
    answers: str | None = None


def blocks_of(message: Message) -> tuple[Block, ...]:
    """Encode the content of one message; empty if nothing of it can be sent."""
    match message:
        case UserMessage():
            return tuple(_user_blocks(message.content))
        case ToolMessage():
            return tuple(Block(dumps(_result(r)), answers=wire_id(r.call_id)) for r in message.results)
        case AssistantMessage():
            own = message.origin is not None and message.origin.dialect == NAME
            return tuple(block for item in message.content if (block := _assistant_block(item, own=own)))
        case _:
            assert_never(message)


def _user_blocks(content: Iterable[UserContent]) -> list[Block]:
    blocks: list[Block] = []
    for item in content:
        if isinstance(item, CacheMark):
            if blocks:
                blocks[-1] = blocks[-1]._replace(mark=item.ttl)
        elif not isinstance(item, Text):
            blocks.append(Block(dumps(_media(item))))
        elif item.text.strip():  # blank text is refused
            blocks.append(Block(dumps({"type": "text", "text": item.text})))
    return blocks


def _assistant_block(item: AssistantContent, *, own: bool) -> Block | None:
    match item:
        case Text():
            if not item.text.strip():
                return None
            citations = [_citation(c.raw) for c in item.citations if isinstance(c.raw, dict)] if own else []
            block = {"type": "text", "text": item.text}
            return Block(dumps({**block, "citations": citations} if citations else block))
        case Thinking():
            return _thinking(item)
        case ToolCall():
            extra: JSON = next((o.data for o in item.opaque if o.type == "tool_use"), {})
            call = {"type": "tool_use", "id": wire_id(item.id), "name": item.name, "input": item.arguments}
            return Block(dumps({**call, **extra}))
        case ServerTool():
            if item.stage == "call":
                return Block(dumps(item.payload), calls=item.call_id)
            return Block(dumps(item.payload), answers=item.call_id)
        case Unknown():
            return Block(dumps(item.raw))
        case Image() | Document() | Audio() | Video():  # made by another vendor's model; refused in this role
            return Block(dumps({"type": "text", "text": left_out(item)}))
        case _:
            assert_never(item)


def _thinking(item: Thinking) -> Block | None:
    """Reasoning goes back as it came, or not at all: without its signature it is refused."""
    for opaque in reversed(item.opaque):
        if opaque.type == "redacted":
            return Block(dumps({"type": "redacted_thinking", "data": opaque.data}))
        if opaque.type == "signature":
            return Block(dumps({"type": "thinking", "thinking": item.text, "signature": opaque.data}))
    return None


def _citation(raw: Mapping[str, JSON]) -> JSON:
    return {key: value for key, value in raw.items() if key != "file_id"}  # answered, but not accepted


def _result(result: ToolResult) -> JSON:
    items = [item for item in result.content if not isinstance(item, Text) or item.text.strip()]
    if all(isinstance(item, Text) for item in items) and len(items) < 2:
        content: JSON = result.text
    else:
        content = [{"type": "text", "text": i.text} if isinstance(i, Text) else _media(i) for i in items]
    wire = {"type": "tool_result", "tool_use_id": wire_id(result.call_id), "content": content}
    return {**wire, "is_error": True} if result.is_error else wire


def _media(item: Media) -> JSON:
    """An image or a document; a note in its place for what the API does not take."""
    if not _takes(item):
        return {"type": "text", "text": left_out(item)}
    kind = "image" if isinstance(item, Image) else "document"
    wire: dict[str, JSON] = {"type": kind, "source": _source(item)}
    if kind == "document" and item.name:
        wire["title"] = item.name
    return wire


def _source(item: Media) -> JSON:
    if item.file_id is not None:
        return {"type": "file", "file_id": item.file_id}
    if item.url is not None:
        return {"type": "url", "url": item.url}
    assert item.data is not None
    if item.media_type.startswith("text/"):  # text/plain is the only such type that is taken
        return {"type": "text", "media_type": "text/plain", "data": item.data.decode("utf-8", "replace")}
    return {"type": "base64", "media_type": item.media_type, "data": base64.b64encode(item.data).decode("ascii")}


def _takes(item: Media) -> bool:
    match item:
        case Image():
            return item.data is None or item.media_type in _IMAGES
        case Document():
            return item.data is None or item.media_type == "application/pdf" or item.media_type.startswith("text/")
        case _:
            return False


# Turns: neighbours of one role are one turn on the wire.


class Turn(NamedTuple):
    """What one side says before the other one does."""

    role: str
    blocks: list[Block]

    @property
    def waits(self) -> bool:
        """There is a call of a server tool in it that it does not answer itself."""
        calls = {block.calls for block in self.blocks if block.calls}
        return bool(calls) and not calls <= {block.answers for block in self.blocks}


def _role(message: Message) -> str:
    return "assistant" if isinstance(message, AssistantMessage) else "user"


def turns_of(messages: Iterable[Message], blocks: PerMessage[tuple[Block, ...]]) -> list[Turn]:
    """Put messages together to turns whose roles alternate.

    Tool results come first in their turn, since they follow their calls directly. A call of a server tool
    that was never answered, because the run broke off in a pause, is left out once the user has gone on.
    """
    made = [(_role(message), blocks(message)) for message in messages]
    turns = _joined(made)
    if dangling := _dangling(turns):
        turns = _joined([(role, tuple(b for b in part if b.calls not in dangling)) for role, part in made])
    return turns


def _joined(made: Iterable[tuple[str, tuple[Block, ...]]]) -> list[Turn]:
    turns: list[Turn] = []
    for role, blocks in made:
        if not blocks:
            continue
        if turns and turns[-1].role == role:
            turns[-1].blocks.extend(blocks)
        else:
            turns.append(Turn(role, list(blocks)))
    return turns


def _dangling(turns: Sequence[Turn]) -> set[str]:
    """The ids of the server tools' calls that can have no answer any more: the user said something else since."""
    answered = {block.answers for turn in turns for block in turn.blocks}
    return {
        block.calls
        for turn, following in pairwise(turns)
        # A result may be for a call that the server's tool itself made: then it is still at work.
        if not following.blocks[0].answers
        for block in turn.blocks
        if block.calls and block.calls not in answered
    }


def _keep_marks(turns: Sequence[Turn], limit: int) -> None:
    """Write the last `limit` cache marks into their blocks; older ones are dropped.

    A mark of five minutes may not come before one of an hour, so that one becomes five minutes too.
    """
    marked = [(turn.blocks, n) for turn in turns for n, block in enumerate(turn.blocks) if block.mark]
    short = False
    for blocks, number in marked[max(0, len(marked) - limit) :]:
        block = blocks[number]
        short = short or block.mark == "5m"
        ttl = b"" if short else b',"ttl":"1h"'
        blocks[number] = block._replace(wire=block.wire[:-1] + b',"cache_control":{"type":"ephemeral"' + ttl + b"}}")


def _write(turn: bytes | Turn) -> bytes:
    if isinstance(turn, bytes):
        return turn
    content = b",".join([block.wire for block in turn.blocks])
    return b'{"role":"' + turn.role.encode() + b'","content":[' + content + b"]}"


def _is_answer(turn: bytes | Turn) -> bool:
    return turn.startswith(b'{"role":"assistant"') if isinstance(turn, bytes) else turn.role == "assistant"


# Settings.


def _tool(tool: ToolDefinition, *, strict: bool) -> JSON:
    wire: dict[str, JSON] = {"name": tool.name}
    if tool.description:
        wire["description"] = tool.description
    wire["input_schema"] = tool.parameters
    if strict and tool.strict:
        wire["strict"] = True
    return wire


def _choices(request: Request) -> dict[str, JSON]:
    settings = request.settings
    wire: dict[str, JSON] = {}
    if request.tools and (choice := _tool_choice(settings)):
        wire["tool_choice"] = choice
    if settings.stop:
        wire["stop_sequences"] = list(settings.stop)
    output: dict[str, JSON] = {}
    if settings.effort == "none":
        wire["thinking"] = {"type": "disabled"}
    elif settings.effort is not None:
        output["effort"] = "low" if settings.effort == "minimal" else settings.effort
    if request.output_schema is not None:
        output["format"] = {"type": "json_schema", "schema": request.output_schema}
    if output:
        wire["output_config"] = output
    return wire


def _tool_choice(settings: Settings) -> JSON:
    match settings.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            choice: dict[str, JSON] = {"type": "any"}
        case None | "auto":
            choice = {"type": "auto"}
        case name:
            choice = {"type": "tool", "name": name}
    if settings.parallel_tool_calls is False:
        choice["disable_parallel_tool_use"] = True
    return choice if choice != {"type": "auto"} else None
