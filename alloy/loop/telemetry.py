"""Traces for OpenTelemetry, by its conventions for generative AI. Needs the extra `otel`, and an SDK that exports.

Source: OpenTelemetry, "Semantic conventions for generative AI systems", spans of clients and agents, v1.41
(read 2026-11-24; its status is Development).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import attrs

from alloy.llm.content import JSON, Outcome, Text, Thinking, ToolCall
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.llm.usage import Usage
from alloy.loop.middleware import Middleware
from alloy.loop.result import Result
from alloy.loop.state import RunInfo
from alloy.loop.work import ModelWork, RunWork, ToolWork, Work
from alloy.version import __version__

if TYPE_CHECKING:
    from opentelemetry.trace import Span, SpanKind, TracerProvider

# What the conventions call the vendors; those that are missing here have the same name there, or none.
_PROVIDERS = {"google": "gcp.gemini", "xai": "x_ai", "mistral": "mistral_ai", "codex": "openai"}


@attrs.frozen(kw_only=True)
class Telemetry(Middleware):
    """Makes a span of each run (`invoke_agent`), of each request to a model (`chat`) and of each tool (`execute_tool`).

    A run's span is a child of the span that is current where the run was asked for, also where that went through a
    mailbox: a handler and all agents that work for it are one trace. What a tool calls is a child of the tool's span.
    Agents that work for this one are traced with it.

    Attributes:
        tracer_provider: who makes the spans; None for the global one.
        contents: record what is said, and the tools' arguments and results, too. They may hold anything.

    Raises:
        ImportError: OpenTelemetry is not installed.
    """

    tracer_provider: TracerProvider | None = None
    contents: bool = False
    _tracer: Any = attrs.field(init=False, eq=False, repr=False)

    inherited = True

    def __attrs_post_init__(self) -> None:
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise ImportError(
                "Telemetry needs OpenTelemetry, which is not installed: pip install 'alloy[otel]'", name="opentelemetry"
            ) from error
        tracer = trace.get_tracer("alloy", __version__, self.tracer_provider)
        object.__setattr__(self, "_tracer", tracer)  # the class is frozen

    def around(self, run: RunInfo, work: Work) -> AbstractContextManager[object]:
        """A span, current while the work is done."""
        match work:
            case RunWork():
                return self._run(run, work)
            case ModelWork():
                return self._model(run, work)
            case ToolWork():
                return self._tool(run, work)

    @contextmanager
    def _run(self, run: RunInfo, work: RunWork) -> Iterator[None]:
        from opentelemetry import context
        from opentelemetry.trace import SpanKind

        attributes: dict[str, Any] = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": run.agent.name,
            "gen_ai.conversation.id": run.session_id,
            "gen_ai.provider.name": provider(work.origin.vendor),
            "gen_ai.request.model": work.origin.model,
            "alloy.run.id": run.run_id,
            "alloy.agent.path": run.agent_path,
        }
        with ExitStack() as stack:
            if work.asked_in is not None:
                stack.callback(context.detach, context.attach(work.asked_in.run(context.get_current)))
            span = stack.enter_context(self._span(f"invoke_agent {run.agent.name}", SpanKind.INTERNAL, attributes))
            try:
                yield
            finally:
                if work.result is not None:
                    _note_result(span, work.result)

    @contextmanager
    def _model(self, run: RunInfo, work: ModelWork) -> Iterator[None]:
        from opentelemetry.trace import SpanKind

        request, settings = work.request, work.request.settings
        place = urlsplit(work.origin.endpoint)
        attributes = {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": provider(work.origin.vendor),
            "gen_ai.request.model": work.origin.model,
            "gen_ai.conversation.id": run.session_id,
            "gen_ai.request.stream": True,
            "gen_ai.request.max_tokens": settings.max_output_tokens,
            "gen_ai.request.temperature": settings.temperature,
            "gen_ai.request.stop_sequences": settings.stop or None,
            "server.address": place.hostname,
            "server.port": place.port,
            "alloy.turn": run.turn,
        }
        if self.contents:
            attributes["gen_ai.system_instructions"] = _dumps([{"type": "text", "content": request.system}])
            attributes["gen_ai.input.messages"] = _dumps([_message(message) for message in request.messages])
        with self._span(f"chat {work.origin.model}", SpanKind.CLIENT, attributes) as span:
            yield
            if work.answer is not None:
                _note_answer(span, work.answer)
                if self.contents:
                    span.set_attribute("gen_ai.output.messages", _dumps([_message(work.answer)]))

    @contextmanager
    def _tool(self, run: RunInfo, work: ToolWork) -> Iterator[None]:
        from opentelemetry.trace import SpanKind, StatusCode

        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": work.call.name,
            "gen_ai.tool.call.id": work.call.id,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": work.tool.description or None,
            "gen_ai.conversation.id": run.session_id,
        }
        if self.contents:
            attributes["gen_ai.tool.call.arguments"] = _dumps(work.call.arguments)
        with self._span(f"execute_tool {work.call.name}", SpanKind.INTERNAL, attributes) as span:
            yield
            if (result := work.result) is None:
                return
            span.set_attribute("alloy.tool.outcome", str(result.outcome))
            if result.outcome is not Outcome.OK:
                span.set_attribute("error.type", str(result.outcome))
                span.set_status(StatusCode.ERROR, result.text if self.contents else None)
            if self.contents:
                span.set_attribute("gen_ai.tool.call.result", result.text)

    @contextmanager
    def _span(self, name: str, kind: SpanKind, attributes: Mapping[str, Any]) -> Iterator[Span]:
        """A span that is current inside the block, and notes an error that passes through."""
        given = {key: value for key, value in attributes.items() if value is not None}
        span: Span
        with self._tracer.start_as_current_span(
            name, kind=kind, attributes=given, record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                yield span
            except Exception as error:
                _note_error(span, error)
                raise


def provider(vendor: str) -> str:
    """What the conventions call a vendor."""
    return _PROVIDERS.get(vendor, vendor)


def _note_error(span: Span, error: BaseException) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", type(error).__qualname__)
    span.set_status(StatusCode.ERROR, str(error))
    span.record_exception(error)


def _note_result(span: Span, result: Result[Any]) -> None:
    span.set_attribute("alloy.status", str(result.status))
    span.set_attribute("alloy.turns", result.turns)
    _note_usage(span, result.usage)
    if result.error is not None:
        _note_error(span, result.error)


def _note_answer(span: Span, answer: AssistantMessage) -> None:
    span.set_attribute("gen_ai.response.finish_reasons", (answer.stop.raw or str(answer.stop.reason),))
    if answer.model:
        span.set_attribute("gen_ai.response.model", answer.model)
    if answer.response_id is not None:
        span.set_attribute("gen_ai.response.id", answer.response_id)
    if answer.usage is not None:
        _note_usage(span, answer.usage)


def _note_usage(span: Span, usage: Usage) -> None:
    """The tokens: those from and into the cache are part of the input, reasoning is part of the output."""
    span.set_attribute("gen_ai.usage.input_tokens", usage.input_tokens)
    span.set_attribute("gen_ai.usage.output_tokens", usage.output_tokens)
    for name, tokens in (
        ("cache_read.input_tokens", usage.cache_read_tokens),
        ("cache_creation.input_tokens", usage.cache_write_tokens),
        ("reasoning.output_tokens", usage.reasoning_tokens),
    ):
        if tokens:
            span.set_attribute(f"gen_ai.usage.{name}", tokens)


# What is said, as the conventions write it.


def _message(message: Message) -> JSON:
    match message:
        case UserMessage():
            return {"role": "user", "parts": [_part(item) for item in message.content]}
        case AssistantMessage():
            parts = [_part(item) for item in message.content]
            return {"role": "assistant", "parts": parts, "finish_reason": str(message.stop.reason)}
        case ToolMessage():
            kind = "tool_call_response"
            answers = [{"type": kind, "id": result.call_id, "response": result.text} for result in message.results]
            return {"role": "tool", "parts": answers}


def _part(item: object) -> JSON:
    match item:
        case Text():
            return {"type": "text", "content": item.text}
        case Thinking():
            return {"type": "reasoning", "content": item.text}
        case ToolCall():
            return {"type": "tool_call", "id": item.id, "name": item.name, "arguments": dict(item.arguments)}
        case _:
            return {"type": type(item).__name__.lower()}  # media is too much for an attribute


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=dict)
