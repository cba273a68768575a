"""The subject: the same tasks through alloy's public API."""

from __future__ import annotations

import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

import trio

import alloy
import jsons  # noqa: F401  # first: alloy looks for msgspec once
from alloy import otp
from alloy.agents import agent_ref
from alloy.api import Connections
from alloy.loop.emitter import Tape
from alloy.loop.means import Means
from alloy.loop.records import CallSettled
from alloy.loop.run import Run
from alloy.stores import Journal, SQLiteStore
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import Executor
from task import PROMPT, SYSTEM, history_texts

# Who speaks a wire, and where its paths begin.
VENDORS = {
    "": ("openai-compatible", "/v1"),
    "anthropic": ("anthropic", ""),
    "responses": ("openai", "/v1"),
    "gemini": ("google", "/v1"),
    "ollama": ("ollama", ""),
}


@alloy.tool
async def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@alloy.tool(concurrent=True)
async def slow(n: int) -> int:
    """Return a number, after a tenth of a second."""
    await trio.sleep(0.1)
    return n


@alloy.tool(concurrent=True)
async def quick(a: int, b: int) -> int:
    """Add two numbers, at once."""
    await trio.lowlevel.checkpoint()
    return a + b


BLOCKED = 3.0  # seconds


@alloy.tool
def block() -> str:
    """Block a thread."""
    time.sleep(BLOCKED)
    return "done"


class Echo(otp.Server):
    """Answers with what it is asked."""

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
        return request


class Subject:
    """The tasks of the benchmarks, on one shared `alloy.HTTP`."""

    def __init__(self, url: str, http: alloy.HTTP) -> None:
        self.url = url
        self.http = http
        self.models: dict[str, alloy.Model] = {}

    def model(self, name: str) -> alloy.Model:
        if name not in self.models:
            wire, _, model = name.rpartition("/")
            vendor, path = VENDORS[wire]
            self.models[name] = alloy.model(f"{vendor}:{model}", base_url=f"{self.url}{path}", api_key="x")
        return self.models[name]

    async def loop(self, model: str, history: int = 0) -> str:
        return await self._run(model, add, history)

    async def parallel(self, model: str) -> str:
        return await self._run(model, slow)

    @asynccontextmanager
    async def batches(self, count: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """A function that has a run act on an answer of so many calls: vet them, run them, record and report them."""
        agent = alloy.Agent(model="scripted:echo", tools=[quick], limits=alloy.Limits(parallel_tools=count))
        calls = [alloy.ToolCall(f"call_{number}", "quick", {"a": number, "b": 1}) for number in range(count)]
        answer = alloy.AssistantMessage(calls, stop=alloy.StopInfo(alloy.StopReason.TOOL_USE))
        async with Connections() as connections, Executor() as executor:
            means = Means(connections=connections, executor=executor)
            run = await Run.prepare(agent, None, means=means, tapes=[Tape()])
            run.state.tools = (quick,)

            async def nobody(call_id: str, target: object, prompt: alloy.Prompt) -> alloy.Result[Any]:
                raise AssertionError("no call delegates")

            async def act() -> None:
                run.state.messages.append(answer)
                await run.acting.act(answer, nobody)
                run.state.messages.clear()
                run.state.records.clear()

            yield act

    async def stream(self, model: str) -> int:
        async with alloy.stream(PROMPT, model=self.model(model), http=self.http) as stream:
            return sum([isinstance(event, alloy.TextDelta) async for event in stream])

    def make(self, number: int) -> object:
        return alloy.Agent(model=self.model("loop-10"), system_prompt=SYSTEM, tools=[add], name=f"agent-{number}")

    @asynccontextmanager
    async def agents(self, model: str, count: int) -> AsyncIterator[list[Callable[[], Awaitable[str]]]]:
        """So many agent servers under one supervisor, each to be asked once."""
        agent = alloy.Agent(
            model=self.model(model), system_prompt=SYSTEM, tools=[add], limits=alloy.Limits(max_turns=20)
        )
        specs = [alloy.agent_child(agent.evolve(name=f"agent-{n}"), id=n, http=self.http) for n in range(count)]

        async def ask(spec: otp.ChildSpec) -> str:
            return (await agent_ref(spec).chat(PROMPT)).unwrap()

        async with otp.open_system(otp.Supervisor(children=specs)):
            yield [partial(ask, spec) for spec in specs]

    @asynccontextmanager
    async def commits(self, durability: Any, sessions: int) -> AsyncIterator[list[Callable[[str], Awaitable[object]]]]:
        """A function for each session, which commits a tool's result."""

        async def commit(journal: Journal, text: str) -> None:
            result = alloy.ToolResult(text, call_id="call_1", name="read")
            await journal.append(CallSettled(run_id="run_0123456789abcdef", call_id="call_1", result=result))

        async with AsyncExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
            store = await opened.enter_async_context(SQLiteStore(folder / "sessions.db", durability=durability))
            names = [f"session-{number}" for number in range(sessions)]
            yield [partial(commit, await opened.enter_async_context(store.open(name))) for name in names]

    @asynccontextmanager
    async def blocked_agents(self, count: int) -> AsyncIterator[list[Callable[[], Awaitable[object]]]]:
        """What so many agents can be asked while the tool of each blocks a thread."""
        specs = [
            alloy.agent_child(
                alloy.Agent(model=ScriptedModel(calls("block"), says("x"), loop=True), tools=[block]), id=n
            )
            for n in range(count)
        ]
        refs = [agent_ref(spec) for spec in specs]
        async with otp.open_system(otp.Supervisor(children=specs)):
            for ref in refs:
                await ref.send_message(PROMPT)
            while not all([(await ref.health()).running_tools for ref in refs]):  # noqa: ASYNC110  # nobody tells
                await trio.sleep(0.05)
            yield [ask for ref in refs for ask in (ref.health, ref.messages, partial(ref.steer, "faster"))]
            for ref in refs:
                await ref.cancel()

    @asynccontextmanager
    async def processes(self, count: int) -> AsyncIterator[list[Callable[[], Awaitable[object]]]]:
        """What so many processes can be asked that do nothing else."""
        specs = [otp.ChildSpec(start=Echo, id=n) for n in range(count)]
        async with otp.open_system(otp.Supervisor(children=specs)) as root:
            refs = [child.ref for child in await otp.which_children(root)]
            yield [partial(otp.call, ref, 1) for ref in refs]

    async def _run(self, model: str, tool: Any, history: int = 0) -> str:
        result = await alloy.run(
            PROMPT,
            model=self.model(model),
            system_prompt=SYSTEM,
            tools=[tool],
            http=self.http,
            max_turns=20,
            history=messages(history),
        )
        return result.unwrap()


@cache
def messages(count: int) -> tuple[alloy.Message, ...]:
    """Return `count` earlier messages, user and assistant in turn."""
    end = alloy.StopInfo(alloy.StopReason.END_TURN)
    return tuple(
        alloy.UserMessage(text) if role == "user" else alloy.AssistantMessage(text, stop=end)
        for role, text in history_texts(count)
    )


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Subject]:
    """Open alloy against the server at `url`."""
    async with alloy.HTTP() as http:
        yield Subject(url, http)
