"""A program to be killed: agents of depth three, six tools in three batches, three approvals.

As a program, `python crashing.py`, it is told lives on its standard input, one JSON value a line, lives each in a
process of its own – forked, because starting Python takes longer than the life – and says how each ended.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs
import trio

import alloy
from alloy.loop.records import Answered, CallSettled, CallStarted
from alloy.stores import JSONLStore, SQLiteStore, Store
from alloy.testing import CrashingStore, CrashPoint, ScriptedModel, calls, says

SESSION = "s"


@attrs.frozen
class Effects:
    """A file of what has happened to the world, and of what the store knew at each start."""

    path: Path

    def note(self, *words: str) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(words) + "\n")

    def read(self) -> list[list[str]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()] if self.path.exists() else []


def agents(effects: Effects, name: str) -> alloy.Agent:
    """One of the agents, with those below it. Every process makes them anew: their models go by the history."""

    @alloy.tool(concurrent=True)
    async def add(a: int, b: int, *, ctx: alloy.ToolContext) -> int:
        """Add two numbers."""
        effects.note("ran", ctx.run_id, ctx.call_id, "never", str(ctx.attempt), ctx.idempotency_key)
        await trio.lowlevel.checkpoint()
        return a + b

    @alloy.tool(replay="safe", concurrent=True)
    async def look(name: str, *, ctx: alloy.ToolContext) -> str:
        """Look something up."""
        effects.note("ran", ctx.run_id, ctx.call_id, "safe", str(ctx.attempt), ctx.idempotency_key)
        await trio.lowlevel.checkpoint()
        return f"{name} is here"

    @alloy.tool(replay="key")
    def pay(amount: int, *, ctx: alloy.ToolContext) -> str:
        """Pay, once for each key. In a thread."""
        effects.note("ran", ctx.run_id, ctx.call_id, "key", str(ctx.attempt), ctx.idempotency_key)
        return f"paid {amount}"

    def model(name: str, *steps: Any) -> ScriptedModel:
        return ScriptedModel(*steps, name=name, by_history=True)

    careful = alloy.ApproveTools(["add", "pay"])
    leaf = alloy.Agent(
        name="leaf",
        model=model("leaf", calls("add", id="l1", a=3, b=4), says("leaf is done")),
        tools=[add],
        middleware=[careful],
    )
    middle = alloy.Agent(
        name="middle",
        model=model(
            "middle", [calls("leaf", id="m1", prompt="add"), calls("look", id="m2", name="moss")], says("so it is")
        ),
        tools=[alloy.as_tool(leaf), look],
    )
    root = alloy.Agent(
        name="root",
        model=model(
            "root",
            [calls("look", id="r1", name="the key"), calls("look", id="r2", name="the door")],
            [says("Now to pay."), calls("pay", id="r3", amount=5), calls("add", id="r4", a=1, b=2)],
            [calls("middle", id="r5", prompt="go"), calls("look", id="r6", name="the end")],
            says("root is done"),
        ),
        tools=[look, pay, add, alloy.as_tool(middle)],
        middleware=[careful],
        limits=alloy.Limits(parallel_tools=4),
    )
    return {agent.name: agent for agent in (root, middle, leaf)}[name]


async def begin(store: Store, effects: Effects, name: str = "root") -> alloy.Result[Any]:
    """What the first process does: it decides at once, where a person would take a day."""
    result = await alloy.run("go", agents(effects, name), store=store, session_id=SESSION)
    return await decided(store, effects, result, name)


async def go_on(store: Store, effects: Effects, name: str = "root") -> alloy.Result[Any]:
    """What every other process does."""
    settled = {(r.run_id, r.call_id) for e in await store.entries(SESSION) if isinstance(r := e.record, CallSettled)}
    effects.note("life", *(f"{run_id} {call_id}" for run_id, call_id in settled))
    return await decided(store, effects, await alloy.resume(store, SESSION, agents(effects, name)), name)


async def decided(store: Store, effects: Effects, result: alloy.Result[Any], name: str) -> alloy.Result[Any]:
    """Approve of everything, one thing at a time and the last one first."""
    for _ in range(4):  # there are three at most
        if result.status is not alloy.Status.PAUSED:
            break
        decisions = {result.pending[-1].id: alloy.Approve()}
        result = await alloy.resume(store, SESSION, agents(effects, name), decisions=decisions)
    return result


# What must be true in the end.


def told(result: alloy.Result[Any]) -> list[Any]:
    """What a transcript says, without what is minted anew in each program."""
    told: list[Any] = [result.text, str(result.status), result.turns]
    for message in result.messages:
        if isinstance(message, alloy.ToolMessage):
            told.append([(one.call_id, one.name, one.text, str(one.outcome)) for one in message.results])
        elif isinstance(message, alloy.AssistantMessage):
            told.append([message.text, [(call.id, call.name, dict(call.arguments)) for call in message.tool_calls]])
        else:
            told.append(message.text)
    return json.loads(json.dumps(told))


def faults(told: list[Any], whole: list[Any], lines: list[list[str]], records: Iterable[Any]) -> list[str]:
    """What is wrong with how it went on: `told` of the result, and of the undisturbed one; the effects; the entries."""
    records = list(records)
    found = [] if told[1] == "completed" else [f"it is not done, but {told[1]}"]
    started = [r for r in records if isinstance(r, CallStarted)]
    unknown = {
        (r.run_id, r.call_id)
        for r in records
        if isinstance(r, CallSettled) and r.result.outcome == alloy.Outcome.INTERRUPTED
    }
    marked = json.loads(json.dumps(told))
    for now, was in zip(marked[3:], whole[3:], strict=False):
        for place, (mine, theirs) in enumerate(zip(now, was, strict=False)):
            if len(mine) == 4 and mine[3] == "interrupted" and any(mine[0] == call_id for _, call_id in unknown):
                now[place] = theirs
    if marked != whole:
        found.append(f"another transcript: {marked} instead of {whole}")
    ran: dict[tuple[str, str], list[list[str]]] = {}
    settled: set[str] = set()
    for kind, *words in lines:
        if kind == "life":
            settled |= set(words)
            continue
        run_id, call_id, *_ = words
        if f"{run_id} {call_id}" in settled:
            found.append(f"{call_id} had finished, and ran again")
        ran.setdefault((run_id, call_id), []).append(words)
    for (run_id, call_id), times in ran.items():
        policy = times[0][2]
        announced = sum((r.run_id, r.call_id) == (run_id, call_id) for r in started)
        if policy == "never" and len(times) > 1:
            found.append(f"{call_id} ran {len(times)} times")
        if len(times) > announced:
            found.append(f"{call_id} ran {len(times)} times, and was announced {announced} times")
        if len({key for *_, key in times}) > 1 or [t[3] for t in times] != sorted({t[3] for t in times}):
            found.append(f"{call_id} has other keys, or the same attempt again: {times}")
    for run_id, call_id in unknown:
        if any(words[2] != "never" for words in ran.get((run_id, call_id), [])):
            found.append(f"{call_id} could have run again, and was given up")
    calls_asked = [call.id for r in records if isinstance(r, Answered) for call in r.message.tool_calls]
    closed = [r.call_id for r in records if isinstance(r, CallSettled)]
    if sorted(set(calls_asked)) != sorted(set(closed)):
        found.append(f"calls {calls_asked}, results {closed}")
    return found


# As a program.


def made(kind: str, path: Path) -> Store:
    """A store on disk."""
    return JSONLStore(path / "sessions") if kind == "jsonl" else SQLiteStore(path / "sessions.db")


async def live(kind: str, path: Path, commit: int, written: bool) -> None:
    """One life, which ends at a commit or in good order."""
    effects = Effects(path / "effects")
    point = CrashPoint(commit, written) if commit else None
    async with CrashingStore(made(kind, path), point, lambda: os.kill(os.getpid(), signal.SIGKILL)) as store:
        is_there = SESSION in await store.sessions() and await store.entries(SESSION)
        result = await (go_on if is_there else begin)(store, effects)
        (path / "told").write_text(json.dumps(told(result)))


def main() -> None:
    for line in sys.stdin:
        kind, path, commit, written = json.loads(line)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                trio.run(live, kind, Path(path), commit, written)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    main()
