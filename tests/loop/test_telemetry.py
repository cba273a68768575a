"""Spans of runs, models and tools, in OpenTelemetry's own in-memory exporter."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import trio
import trio.testing
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

import alloy
from alloy import Agent, Telemetry
from alloy.testing import ScriptedModel, calls, fails, hangs, says

SECRET = "the launch code is 1234"


async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


class Spans:
    """What was exported, and how it hangs together."""

    def __init__(self) -> None:
        self.provider = TracerProvider()
        self.exporter = InMemorySpanExporter()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    @property
    def all(self) -> list[ReadableSpan]:
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def tree(self) -> list[str]:
        """Each span after the names of those it hangs under."""
        by_id = {span.context.span_id: span for span in self.all if span.context}

        def path(span: ReadableSpan) -> str:
            above = by_id.get(span.parent.span_id) if span.parent else None
            return f"{path(above)} > {span.name}" if above else span.name

        return [path(span) for span in self.all]

    def traces(self) -> int:
        return len({span.context.trace_id for span in self.all if span.context})


@pytest.fixture
def spans() -> Iterator[Spans]:
    made = Spans()
    yield made
    made.provider.shutdown()


@pytest.mark.works("Telemetry: OpenTelemetry spans of runs, models and tools, one trace across agents; logs")
async def test_a_run_is_a_span_with_its_models_and_tools_below(spans: Spans) -> None:
    usage = alloy.Usage(input_tokens=100, output_tokens=20, cache_read_tokens=60, reasoning_tokens=5)
    model = ScriptedModel(calls("add", id="c1", a=1, b=2), says("3", usage=usage), name="clever")

    result = await alloy.run(
        "1 + 2?",
        model=model,
        tools=[add],
        name="adder",
        settings=alloy.Settings(max_output_tokens=100, temperature=0.5, stop=("END",)),
        middleware=[Telemetry(tracer_provider=spans.provider)],
    )

    assert spans.tree() == [
        "invoke_agent adder",
        "invoke_agent adder > chat clever",
        "invoke_agent adder > execute_tool add",
        "invoke_agent adder > chat clever",
    ]
    run, chat, tool = spans.one("invoke_agent adder"), spans.named("chat clever")[1], spans.one("execute_tool add")
    assert [span.kind for span in (run, chat, tool)] == [SpanKind.INTERNAL, SpanKind.CLIENT, SpanKind.INTERNAL]
    assert (
        dict(run.attributes or {}).items()
        >= {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.agent.name": "adder",
            "gen_ai.conversation.id": result.session_id,
            "gen_ai.provider.name": "scripted",
            "gen_ai.request.model": "clever",
            "gen_ai.usage.input_tokens": result.usage.input_tokens,
            "gen_ai.usage.output_tokens": result.usage.output_tokens,
            "alloy.run.id": result.run_id,
            "alloy.status": "completed",
            "alloy.turns": 2,
        }.items()
    )
    assert (
        dict(chat.attributes or {}).items()
        >= {
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": "clever",
            "gen_ai.request.max_tokens": 100,
            "gen_ai.request.temperature": 0.5,
            "gen_ai.request.stop_sequences": ("END",),
            "gen_ai.usage.input_tokens": 100,
            "gen_ai.usage.output_tokens": 20,
            "gen_ai.usage.cache_read.input_tokens": 60,
            "gen_ai.usage.reasoning.output_tokens": 5,
        }.items()
    )
    assert (chat.attributes or {})["gen_ai.response.finish_reasons"] == ("end_turn",)
    assert (
        dict(tool.attributes or {}).items()
        >= {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": "add",
            "gen_ai.tool.call.id": "c1",
            "gen_ai.tool.type": "function",
            "gen_ai.tool.description": "Add two numbers.",
            "alloy.tool.outcome": "ok",
        }.items()
    )
    assert {span.status.status_code for span in spans.all} == {StatusCode.UNSET}


async def test_all_names_are_those_of_the_conventions(spans: Spans) -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    model = ScriptedModel([says("adding", thinking="hm"), calls("add", a=1, b=2)], says("3"))

    await alloy.run(
        "x", model=model, tools=[add], middleware=[Telemetry(tracer_provider=spans.provider, contents=True)]
    )

    used = {key for span in spans.all for key in span.attributes or {}}
    assert {key for key in used if key.startswith("gen_ai.")} <= known
    assert {key.split(".")[0] for key in used} <= {"gen_ai", "alloy", "server", "error"}


@pytest.mark.parametrize(
    ("vendor", "provider"),
    [
        ("anthropic", "anthropic"),
        ("google", "gcp.gemini"),
        ("xai", "x_ai"),
        ("mistral", "mistral_ai"),
        ("codex", "openai"),
        ("openai", "openai"),
        ("deepseek", "deepseek"),
        ("groq", "groq"),
    ],
)
def test_vendors_have_the_names_of_the_conventions(vendor: str, provider: str) -> None:
    from alloy.loop.telemetry import provider as named

    assert named(vendor) == provider
    assert provider in {value.value for value in gen_ai_attributes.GenAiProviderNameValues}


async def test_two_agents_that_talk_through_a_mailbox_are_one_trace(spans: Spans) -> None:
    telemetry = Telemetry(tracer_provider=spans.provider)
    helper = Agent(
        model=ScriptedModel(calls("add", a=1, b=2), says("3"), name="h"), tools=[add], middleware=[telemetry]
    )
    lead = Agent(
        model=ScriptedModel(calls("helper", prompt="?"), says("ok"), name="l"),
        tools=[alloy.as_tool("helper")],
        middleware=[telemetry],
    )
    async with alloy.Team({"lead": lead, "helper": helper}) as team:
        await team["lead"].chat("go")

    assert spans.traces() == 1
    assert spans.tree() == [
        "invoke_agent lead",
        "invoke_agent lead > chat l",
        "invoke_agent lead > execute_tool helper",
        "invoke_agent lead > execute_tool helper > invoke_agent helper",
        "invoke_agent lead > execute_tool helper > invoke_agent helper > chat h",
        "invoke_agent lead > execute_tool helper > invoke_agent helper > execute_tool add",
        "invoke_agent lead > execute_tool helper > invoke_agent helper > chat h",
        "invoke_agent lead > chat l",
    ]


@pytest.mark.parametrize("inside", [True, False])
async def test_an_agent_that_works_for_one_that_is_traced_is_traced_with_it(spans: Spans, inside: bool) -> None:
    helper = Agent(model=ScriptedModel(says("3")), name="helper")
    target = helper if inside else "helper"
    lead = Agent(
        model=ScriptedModel(calls("helper", prompt="?"), says("ok")),
        tools=[alloy.as_tool(target)],
        middleware=[Telemetry(tracer_provider=spans.provider)],
    )
    async with alloy.Team({"lead": lead, "helper": helper}) as team:
        await team["lead"].chat("go")

    assert spans.tree()[3] == "invoke_agent lead > execute_tool helper > invoke_agent helper"
    assert spans.traces() == 1


async def test_a_run_hangs_under_the_span_of_whoever_asked_for_it(spans: Spans) -> None:
    tracer = trace.get_tracer("mine", tracer_provider=spans.provider)
    agent = Agent(
        model=ScriptedModel(says("a"), says("b"), says("c")),
        middleware=[Telemetry(tracer_provider=spans.provider)],
        name="x",
    )
    async with alloy.open_agent(agent) as ref:
        with tracer.start_as_current_span("first"):
            await ref.chat("1")
        with tracer.start_as_current_span("second"):
            await ref.chat("2")
        await ref.chat("3")

    assert [line for line in spans.tree() if line.endswith("invoke_agent x")] == [
        "first > invoke_agent x",
        "second > invoke_agent x",
        "invoke_agent x",
    ]


async def test_what_a_tool_does_hangs_under_its_span_in_a_thread_too(spans: Spans) -> None:
    tracer = trace.get_tracer("mine", tracer_provider=spans.provider)

    @alloy.tool(concurrent=True)
    async def task() -> str:
        """Work."""
        with tracer.start_as_current_span("in a task"):
            await trio.lowlevel.checkpoint()
        return "ok"

    @alloy.tool(concurrent=True)
    def thread() -> str:
        """Work."""
        with tracer.start_as_current_span("in a thread"):
            return "ok"

    await alloy.run(
        "x",
        model=ScriptedModel([calls("task"), calls("thread"), calls("task")], says("ok")),
        tools=[task, thread],
        middleware=[Telemetry(tracer_provider=spans.provider)],
    )

    tree = spans.tree()
    assert tree.count("invoke_agent agent > execute_tool task > in a task") == 2
    assert tree.count("invoke_agent agent > execute_tool thread > in a thread") == 1
    assert trace.get_current_span() is trace.INVALID_SPAN


async def test_errors_are_noted_where_they_happen_and_where_they_end(spans: Spans) -> None:
    with pytest.raises(alloy.BadRequest):
        await alloy.run(
            "x",
            model=ScriptedModel(fails(alloy.BadRequest("no such model")), name="m"),
            middleware=[Telemetry(tracer_provider=spans.provider)],
        )

    for span in (spans.one("chat m"), spans.one("invoke_agent agent")):
        assert span.status.status_code is StatusCode.ERROR
        assert span.status.description == "no such model"
        assert (span.attributes or {})["error.type"] == "BadRequest"
        assert [event.name for event in span.events] == ["exception"]


async def test_a_tool_that_fails_has_a_failed_span_without_what_it_said(spans: Spans) -> None:
    async def breaks() -> str:
        """Break."""
        raise alloy.ToolError(SECRET)

    model = ScriptedModel(calls("breaks"), says("a pity"))
    await alloy.run("x", model=model, tools=[breaks], middleware=[Telemetry(tracer_provider=spans.provider)])

    span = spans.one("execute_tool breaks")
    assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, None)
    assert (span.attributes or {})["error.type"] == "error"
    assert spans.one("invoke_agent agent").status.status_code is StatusCode.UNSET


async def test_contents_are_off_by_default_and_whole_when_asked_for(spans: Spans) -> None:
    async def tells(code: str) -> str:
        """Tell."""
        return f"{SECRET} {code}"

    def model() -> ScriptedModel:
        return ScriptedModel(
            [says(f"why, {SECRET}", thinking="hm"), calls("tells", id="c1", code=SECRET)], says(SECRET)
        )

    async def run(**options: Any) -> str:
        spans.exporter.clear()
        telemetry = Telemetry(tracer_provider=spans.provider, **options)
        await alloy.run(SECRET, model=model(), tools=[tells], system_prompt=SECRET, middleware=[telemetry])
        return "".join(span.to_json() for span in spans.all)

    assert SECRET not in await run()
    assert SECRET in await run(contents=True)
    chat = (spans.named("chat scripted")[1]).attributes or {}
    assert json.loads(str(chat["gen_ai.system_instructions"])) == [{"type": "text", "content": SECRET}]
    assert json.loads(str(chat["gen_ai.input.messages"])) == [
        {"role": "user", "parts": [{"type": "text", "content": SECRET}]},
        {
            "role": "assistant",
            "parts": [
                {"type": "reasoning", "content": "hm"},
                {"type": "text", "content": f"why, {SECRET}"},
                {"type": "tool_call", "id": "c1", "name": "tells", "arguments": {"code": SECRET}},
            ],
            "finish_reason": "tool_use",
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": f"{SECRET} {SECRET}"}]},
    ]
    assert json.loads(str(chat["gen_ai.output.messages"]))[0]["parts"] == [{"type": "text", "content": SECRET}]
    tool = spans.one("execute_tool tells").attributes or {}
    assert json.loads(str(tool["gen_ai.tool.call.arguments"])) == {"code": SECRET}
    assert tool["gen_ai.tool.call.result"] == f"{SECRET} {SECRET}"


async def test_a_cancelled_run_ends_all_its_spans_and_none_is_an_error(
    spans: Spans, autojump_clock: trio.testing.MockClock
) -> None:
    middleware = [Telemetry(tracer_provider=spans.provider)]
    with trio.move_on_after(1):
        await alloy.run("x", model=ScriptedModel(hangs(), name="m"), middleware=middleware)
    async with alloy.stream("x", model=ScriptedModel(hangs(), name="m"), middleware=middleware) as stream:
        await trio.sleep(1)
        stream.cancel()
        await stream.result()

    assert [span.name for span in spans.all] == ["invoke_agent agent", "chat m"] * 2
    assert {span.status.status_code for span in spans.all} == {StatusCode.UNSET}
    assert (spans.named("invoke_agent agent")[1].attributes or {})["alloy.status"] == "cancelled"


async def test_a_call_that_is_blocked_has_no_span(spans: Spans) -> None:
    middleware = [alloy.ApproveTools("add"), Telemetry(tracer_provider=spans.provider)]
    await alloy.run("x", model=ScriptedModel(calls("add", a=1, b=1), says("ok")), tools=[add], middleware=middleware)

    assert spans.named("execute_tool add") == []


def test_without_opentelemetry_the_error_names_the_extra() -> None:
    code = (
        "import sys; sys.modules['opentelemetry'] = None\n"
        "import alloy\n"
        "try: alloy.Telemetry()\n"
        "except ImportError as error: print(error)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout == "Telemetry needs OpenTelemetry, which is not installed: pip install 'alloy[otel]'\n"


def test_alloy_does_not_import_opentelemetry_before_it_is_wanted() -> None:
    code = "import sys, alloy; alloy.Telemetry; print('opentelemetry' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout == "False\n"
