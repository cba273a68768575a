"""Google's Gemini API: writing requests. `alloy.providers.gemini_decode` reads the answers.

Source: Google, Gemini API, "generateContent", "Thought signatures", "Function calling", and its Python SDK 3.4.0
(read 2026-11-22).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Literal, NamedTuple, assert_never
from urllib.parse import quote

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
from alloy.llm.message import AssistantContent, AssistantMessage, Message, ToolMessage, UserContent, UserMessage
from alloy.llm.request import EFFORTS, Request, ToolDefinition
from alloy.llm.transcript import PerMessage
from alloy.providers.classify import error_for_answer
from alloy.providers.dialect import Decoder, Profile, Target, WireRequest, dumps
from alloy.providers.encoding import body_of, effort_of, left_out, refuse_unsupported, written
from alloy.providers.gemini_decode import GeminiDecoder

NAME = "gemini"

# Stands for the signature of a call that another model made: "skip_thought_signature_validator".
NO_SIGNATURE = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="

_IMAGES = ("image/png", "image/jpeg", "image/webp", "image/heic", "image/heif")
_IN_RESULTS = ("image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain")
_FILES = "https://generativelanguage.googleapis.com/v1beta/"  # what the name of an uploaded file is relative to

# How much thinking an effort is, in tokens or as a level. Source: Google, "OpenAI compatibility" and "Thinking"
# (read 2026-11-22).
_BUDGETS = dict(zip(EFFORTS, (0, 512, 1024, 8192, 24_576, 24_576, 24_576), strict=True))
_LEVELS = dict(zip(EFFORTS, ("MINIMAL", "MINIMAL", "LOW", "MEDIUM", "HIGH", "XHIGH", "XHIGH"), strict=True))


class Gemini:
    """The dialect of `generateContent`, which Gemini speaks.

    The model stands in the path. There is no way to ask for one call at a time, so that is refused. Thoughts
    are asked for where an effort is; an effort of `"none"` is as little thinking as the model can do with.
    Cache marks are left out: the API caches without being asked. Fields of `generationConfig` that the user
    gives are added to ours.
    """

    name = NAME
    framing: Literal["sse"] = "sse"

    def __init__(self) -> None:
        self._parts = PerMessage(parts_of)
        self._results = PerMessage(results_of)

    def encode(self, request: Request, target: Target) -> WireRequest:
        """See `Dialect.encode`."""
        profile, settings = target.profile, request.settings
        one_at_a_time = {"parallel_tool_calls": settings.parallel_tool_calls is False}
        refuse_unsupported(request, target, _takes, takes_temperature=profile.temperature, also=one_at_a_time)
        contents = self._contents(request.messages, profile)
        given = settings.vendor
        configuration = {**_configuration(request, profile), **given.get("generationConfig", {})}
        tail: dict[str, JSON] = {"generationConfig": configuration} if configuration else {}
        match request.messages:
            case [*_, AssistantMessage() as last] if token := last.stop.detail.get("continuationToken"):
                tail["continuationToken"] = token
        rest = {name: value for name, value in given.items() if name != "generationConfig"}
        return WireRequest(
            path=f"/{_place(request.model)}:streamGenerateContent?alt=sse",
            body=body_of(_head(request), contents, tail, rest, of=request.messages, name="contents"),
        )

    def decoder(self, request: Request, target: Target) -> Decoder:
        """See `Dialect.decoder`."""
        return GeminiDecoder(target)

    def error_from(self, status: int, headers: Mapping[str, str], body: bytes, target: Target) -> ProviderError:
        """See `Dialect.error_from`."""
        return error_for_answer(status, headers, body, target)

    def keeps_for_other_model(self, opaque: Opaque) -> bool:
        """Signatures are good for all models behind one endpoint."""
        return True

    def _contents(self, messages: Sequence[Message], profile: Profile) -> list[bytes]:
        write = partial(self._write, profile=profile)
        contents = written(messages, (self, profile.signed_calls, profile.files_in_results), write, self._sends)
        if contents and contents[0].startswith(_MODEL):  # the user has to be first
            contents.insert(0, _write(Turn("user", [dumps({"text": "…"})])))
        return contents

    def _write(self, messages: Sequence[Message], *, profile: Profile) -> Iterable[bytes]:
        return map(_write, contents_of(messages, self._parts, self._results, profile))

    def _sends(self, message: Message) -> bool:
        return bool(self._parts(message) or self._results(message))


def _place(model: str) -> str:
    """The model's place in a path; tuned models have one of their own."""
    is_whole = model.startswith(("models/", "tunedModels/"))
    return quote(model if is_whole else f"models/{model}", safe="/@")


# Parts: what a message's content becomes. Worked out once for each message.


class Part(NamedTuple):
    """One part of what the user or the model says, as JSON.

    Attributes:
        call: of a call its id with us; None for all else.
        answer: of a call how its result begins, since name and id of a result are those of its call.
        is_signed: it carries a signature.
    """

    wire: bytes
    call: str | None = None
    answer: bytes = b""
    is_signed: bool = False


class Result(NamedTuple):
    """What a tool says, as JSON: what follows `answer` of its call.

    Attributes:
        files: those that may stand in a result, where the model takes any there.
        beside: parts for the rest of its files. `all_beside` has them all.
    """

    call: str
    wire: bytes
    files: bytes
    beside: tuple[bytes, ...]
    all_beside: tuple[bytes, ...]


def parts_of(message: Message) -> tuple[Part, ...]:
    """Encode what the user or the model says in one message; empty if nothing of it can be sent."""
    match message:
        case UserMessage():
            return tuple(Part(dumps(wire)) for item in message.content if (wire := _user_part(item)))
        case AssistantMessage():
            own = message.origin is not None and message.origin.dialect == NAME
            return tuple(part for item in message.content if (part := _model_part(item, own=own)))
        case ToolMessage():
            return ()
        case _:
            assert_never(message)


def results_of(message: Message) -> tuple[Result, ...]:
    """Encode the results of one message; empty if there are none."""
    return tuple(map(_result, message.results)) if isinstance(message, ToolMessage) else ()


def _user_part(item: UserContent) -> JSON:
    match item:
        case CacheMark():
            return None
        case Text():
            return {"text": item.text} if item.text.strip() else None  # blank text is refused
        case _:
            return _media(item)


def _model_part(item: AssistantContent, *, own: bool) -> Part | None:
    wire: dict[str, JSON]
    call, answer = None, b""
    signature = _opaque(item, "signature")
    match item:
        case Text():
            if not item.text.strip() and not signature:
                return None
            wire = {"text": item.text}
        case Thinking():
            if not own or not (item.text.strip() or signature):
                return None
            wire = {"text": item.text, "thought": True}
        case ToolCall():
            id = _opaque(item, "id")
            head = {"id": id, "name": item.name} if id else {"name": item.name}
            wire = {"functionCall": {**head, "args": item.arguments}}
            call, answer = item.id, b'{"functionResponse":' + dumps(head)[:-1] + b","
        case ServerTool():
            wire = item.payload
        case Unknown():
            wire = item.raw
        case Image() | Document() | Audio() | Video():
            wire = _media(item)
        case _:
            assert_never(item)
    wire = {**wire, "thoughtSignature": signature} if signature else wire
    return Part(dumps(wire), call=call, answer=answer, is_signed=bool(signature))


def _opaque(item: Content, type: str) -> JSON:
    return next((opaque.data for opaque in item.opaque if opaque.type == type), None)


def _result(result: ToolResult) -> Result:
    """A tool's words go under a key, since the API wants an object; so nothing in them can pass for a `$ref`."""
    wire = b'"response":' + dumps({"error" if result.is_error else "output": result.text})
    files = [item for item in result.content if not isinstance(item, Text)]
    fit = [item for item in files if item.data is not None and item.media_type in _IN_RESULTS]
    return Result(
        result.call_id,
        wire,
        dumps([{"inlineData": _blob(item)} for item in fit]) if fit else b"",
        _beside(result, [item for item in files if item not in fit]),
        _beside(result, files),
    )


def _beside(result: ToolResult, files: Sequence[Media]) -> tuple[bytes, ...]:
    if not files:
        return ()
    note = {"text": f"[the files of {result.name or 'the tool'}'s result]"}
    return tuple(map(dumps, [note, *map(_media, files)]))


def _media(item: Media) -> dict[str, JSON]:
    """A file; a note in its place for what the API does not take."""
    if not _takes(item):
        return {"text": left_out(item)}
    if item.data is not None:
        return {"inlineData": _blob(item)}
    place = item.url or item.file_id or ""
    kind = {"mimeType": item.media_type} if item.media_type else {}
    return {"fileData": {**kind, "fileUri": place if "://" in place else _FILES + place}}


def _blob(item: Media) -> JSON:
    assert item.data is not None
    return {"mimeType": item.media_type, "data": base64.b64encode(item.data).decode("ascii")}


def _takes(item: Media) -> bool:
    match item:
        case Image():
            return item.data is None or item.media_type in _IMAGES
        case Document():
            return item.data is None or item.media_type == "application/pdf" or item.media_type.startswith("text/")
        case Audio() | Video():
            return True
        case _:
            assert_never(item)


# Contents: neighbours of one role are one content on the wire, but results stand alone.


class Turn(NamedTuple):
    """What one side says before the other one does, or the results of the calls of one answer."""

    role: Literal["user", "model"]
    parts: list[bytes]
    is_results: bool = False


def contents_of(
    messages: Iterable[Message],
    parts: PerMessage[tuple[Part, ...]],
    results: PerMessage[tuple[Result, ...]],
    profile: Profile,
) -> list[Turn]:
    """Put messages together to contents.

    Nothing else may stand in a content with results, so their files follow in one of their own.
    """
    turns: list[Turn] = []
    answers: dict[str, bytes] = {}  # how the result of each call of the last answer begins
    for message in messages:
        match message:
            case UserMessage():
                _say(turns, "user", [part.wire for part in parts(message)])
            case AssistantMessage():
                made = parts(message)
                answers = {part.call: part.answer for part in made if part.call is not None}
                _say(turns, "model", _signed(made) if profile.signed_calls else [part.wire for part in made])
            case ToolMessage():
                made_results = results(message)
                wires = [_answered(one, answers[one.call], inside=profile.files_in_results) for one in made_results]
                turns.append(Turn("user", wires, is_results=True))
                beside = [one.beside if profile.files_in_results else one.all_beside for one in made_results]
                _say(turns, "user", [wire for wires in beside for wire in wires])
            case _:
                assert_never(message)
    return turns


def _say(turns: list[Turn], role: Literal["user", "model"], wires: Sequence[bytes]) -> None:
    if not wires:
        return
    if turns and turns[-1].role == role and not turns[-1].is_results:
        turns[-1].parts.extend(wires)
    else:
        turns.append(Turn(role, list(wires)))


def _signed(parts: Sequence[Part]) -> list[bytes]:
    """The parts of an answer; its first call must be signed, so one that is not gets what stands for a signature."""
    wires = [part.wire for part in parts]
    for number, part in enumerate(parts):
        if part.call is not None:
            if not part.is_signed:
                wires[number] = part.wire[:-1] + b',"thoughtSignature":"' + NO_SIGNATURE.encode() + b'"}'
            break
    return wires


def _answered(result: Result, answer: bytes, *, inside: bool) -> bytes:
    files = b',"parts":' + result.files if inside and result.files else b""
    return answer + result.wire + files + b"}}"


def _write(turn: Turn) -> bytes:
    return b'{"role":"' + turn.role.encode() + b'","parts":[' + b",".join(turn.parts) + b"]}"


_MODEL = b'{"role":"model"'


# Settings.


def _head(request: Request) -> dict[str, JSON]:
    """What comes before the contents; nothing where it is all in a cache that the user names."""
    head: dict[str, JSON] = {}
    vendor = request.settings.vendor
    if "cachedContent" in vendor:
        return head
    if request.system:
        head["systemInstruction"] = {"parts": [{"text": request.system}]}
    if request.tools:
        head["tools"] = [{"functionDeclarations": list(map(_tool, request.tools))}]
        choices: dict[str, JSON] = {}
        if choice := _tool_choice(request.settings.tool_choice):
            choices["functionCallingConfig"] = choice
        if vendor.get("tools"):  # tools that the server runs, beside ours
            choices["includeServerSideToolInvocations"] = True
        if choices:
            head["toolConfig"] = choices
    return head


def _tool(tool: ToolDefinition) -> JSON:
    description = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **description, "parametersJsonSchema": tool.parameters}


def _tool_choice(choice: str | None) -> JSON:
    match choice:
        case None | "auto":
            return None
        case "none":
            return {"mode": "NONE"}
        case "required":
            return {"mode": "ANY"}
        case name:
            return {"mode": "ANY", "allowedFunctionNames": [name]}


def _configuration(request: Request, profile: Profile) -> dict[str, JSON]:
    settings = request.settings
    wire: dict[str, JSON] = {}
    if settings.max_output_tokens is not None:
        wire["maxOutputTokens"] = settings.max_output_tokens
    if settings.temperature is not None:
        wire["temperature"] = settings.temperature
    if settings.stop:
        wire["stopSequences"] = list(settings.stop)
    if (effort := effort_of(request, profile)) is not None:
        amount = (
            {"thinkingBudget": _BUDGETS[effort]} if profile.thinking == "budget" else {"thinkingLevel": _LEVELS[effort]}
        )
        wire["thinkingConfig"] = {**amount, "includeThoughts": effort != "none"}
    if request.output_schema is not None:
        wire["responseMimeType"] = "application/json"
        wire["responseJsonSchema"] = request.output_schema
    return wire
