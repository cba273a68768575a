"""A model that plays a script: no network, no chance, no cost.

`Script` turns steps into the deltas of a real stream, so that everything above it runs as with a vendor.
`alloy.testing.ScriptedModel` writes steps for tests; `"scripted:echo"` and `"scripted:demo"` are scripts
to play with.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from itertools import count
from typing import Protocol, TypeAlias

import attrs
import trio

from alloy.llm.content import JSON, Origin, ToolCall, ToolResult
from alloy.llm.delta import (
    ArgumentsPart,
    Begun,
    Delta,
    ItemStarted,
    Stopped,
    TextPart,
    ThinkingPart,
    UsagePart,
)
from alloy.llm.errors import ProviderError, StreamTruncated
from alloy.llm.history import last_user_text
from alloy.llm.message import StopInfo, StopReason, ToolMessage, UserMessage
from alloy.llm.models import ModelCard
from alloy.llm.provider import Answer
from alloy.llm.request import Request
from alloy.llm.usage import Usage


@attrs.frozen(kw_only=True)
class Says:
    """The model thinks, then says `text`, in one piece or in `chunks`."""

    text: str = ""
    thinking: str = ""
    usage: Usage | None = None
    chunks: tuple[str, ...] | None = None
    stop: str = "end_turn"


@attrs.frozen(kw_only=True)
class Calls:
    """The model calls a tool with these arguments, given as their JSON text."""

    name: str
    arguments_text: str
    id: str | None = None


@attrs.frozen(kw_only=True)
class Fails:
    """Asking fails with `error`, before anything is answered."""

    error: ProviderError


@attrs.frozen
class Hangs:
    """The model never answers."""


@attrs.frozen(kw_only=True)
class Cuts:
    """The answer breaks off with `error` after this much."""

    text: str = ""
    thinking: str = ""
    error: ProviderError = attrs.field(factory=lambda: StreamTruncated("the script cuts the answer here"))


Step: TypeAlias = "Says | Calls | Fails | Hangs | Cuts | Sequence[Says | Calls] | Callable[[Request], Step]"


class Author(Protocol):
    """Decides what comes next."""

    def __call__(self, request: Request) -> Step:
        """The next step, for this request."""
        ...


class Script:
    """A model whose answers an author writes.

    Args:
        name: the model's name; it is known as `scripted:<name>`.
        author: asked for a step at each request, in order.

    Attributes:
        card: may be set. At first nothing is known but that a step's `usage` says what it costs, if anything.
    """

    def __init__(self, name: str, author: Author) -> None:
        self.name: str = f"scripted:{name}"
        self.origin: Origin = Origin("scripted", "scripted", "", name)
        self.account = ""
        self.card: ModelCard = ModelCard(reports_cost=True)
        self._author = author
        self._call_numbers = count(1)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def holds_to(self, schema: Mapping[str, JSON]) -> bool:
        """See `alloy.llm.provider.Model.holds_to`: a script promises nothing."""
        return False

    def stream(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Play the next step.

        Raises:
            ProviderError: the step is one that fails or cuts.
        """
        return self._play(request)

    @asynccontextmanager
    async def _play(self, request: Request) -> AsyncIterator[Answer]:
        step: Step = self._author(request)
        while callable(step):
            step = step(request)
        await trio.lowlevel.checkpoint()
        async with aclosing(self._deltas(step)) as deltas:
            yield deltas

    async def _deltas(self, step: Step) -> AsyncGenerator[Sequence[Delta], None]:
        match step:
            case Fails():
                raise step.error
            case Hangs():
                await trio.sleep_forever()
            case Cuts():
                yield [Begun(response_id="script"), *_thinks(0, step.thinking)]
                if step.text:
                    yield [TextPart(bool(step.thinking), step.text)]
                raise step.error
            case Says() | Calls():
                for batch in self._answer([step]):
                    yield batch
                    await trio.lowlevel.checkpoint()
            case _:
                assert not callable(step)
                for batch in self._answer(step):
                    yield batch
                    await trio.lowlevel.checkpoint()

    def _answer(self, parts: Sequence[Says | Calls]) -> Iterable[Sequence[Delta]]:
        """The batches of one whole answer."""
        index = 0
        stop = "tool_use" if any(isinstance(part, Calls) for part in parts) else "end_turn"
        usage: Usage | None = None
        yield [Begun()]
        for part in parts:
            if isinstance(part, Calls):
                call_id = part.id or f"call_{next(self._call_numbers)}"
                yield [ItemStarted(index, ToolCall(call_id, part.name, {})), ArgumentsPart(index, part.arguments_text)]
                index += 1
                continue
            if part.thinking:
                yield list(_thinks(index, part.thinking))
                index += 1
            for chunk in part.chunks or ((part.text,) if part.text else ()):
                yield [TextPart(index, chunk)]
            index += 1
            usage = part.usage or usage
            stop = part.stop if part.stop != "end_turn" else stop
        yield [*([UsagePart(usage)] if usage else ()), Stopped(StopInfo(stop_reason(stop), stop))]


def _thinks(index: int, text: str) -> Iterable[Delta]:
    return [ThinkingPart(index, text)] if text else []


def stop_reason(word: str) -> StopReason:
    """The neutral reason of that name; `other` for any other word."""
    return StopReason(word) if word in _REASONS else StopReason.OTHER


_REASONS = frozenset(StopReason)


def call_step(name: str, arguments: Mapping[str, JSON], *, id: str | None = None) -> Calls:
    """A call with these arguments."""
    return Calls(name=name, arguments_text=json.dumps(arguments, ensure_ascii=False), id=id)


def echo(request: Request) -> Step:
    """Say what the user said."""
    return _in_words(last_user_text(request.messages) or "(nothing was said)")


def demo(request: Request) -> Step:
    """Keep a shopping list with the file tools: write it, mend it, read it, tell what it says.

    Works with any subset of the tools: a step whose tool is not offered is passed over.
    """
    offered = {tool.name for tool in request.tools}
    plan = [
        call_step("write_file", {"path": "shopping.txt", "content": "apples\nbread\nmilk\n"}),
        call_step("edit_file", {"path": "shopping.txt", "old": "milk", "new": "oat milk"}),
        call_step("read_file", {"path": "shopping.txt"}),
    ]
    steps = [step for step in plan if step.name in offered]
    results = _results_since_last_prompt(request)
    if len(results) < len(steps):
        return steps[len(results)]
    read = next((r.text for r in reversed(results) if r.name == "read_file"), "")
    items = [line.split("\t", 1)[1] for line in read.splitlines() if "\t" in line]
    if not items:
        return _in_words("This is alloy's scripted demo model. Give it the file tools to see it work.")
    return _in_words(f"The list has {len(items)} entries: {', '.join(items)}.")


def _results_since_last_prompt(request: Request) -> list[ToolResult]:
    results: list[ToolResult] = []
    for message in request.messages:
        if isinstance(message, UserMessage):
            results = []
        elif isinstance(message, ToolMessage):
            results += message.results
    return results


def _in_words(text: str) -> Says:
    words = text.split(" ")
    chunks = [word + " " for word in words[:-1]] + words[-1:]
    return Says(text=text, chunks=tuple(chunks), usage=Usage(input_tokens=len(words), output_tokens=len(words)))


SCRIPTS: Mapping[str, Author] = {"echo": echo, "demo": demo}
