"""A program with an agent on a store, to be killed: `python durable_driver.py FOLDER WHEN N`.

It gives its agent one job, decides what has to be decided, waits for the result and prints it as JSON. WHEN is `after`
or `before`: at the Nth commit the process kills itself, right after or right before it is made; 0 for never. Started
again it does the same with the same request id, as a program would that does not know how far it had got.

The job: six tools in three batches. The first one steers the run that it is part of; one needs an approval, and so does
one of an agent that works for an agent that works for this one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

import alloy
from alloy import Agent, AgentRef, Approve, ApproveTools, ToolMessage, UserMessage
from alloy.stores import SQLiteStore
from alloy.testing import ScriptedModel, calls, says


class Deadly(SQLiteStore):
    """A store that kills its process at a commit."""

    def __init__(self, path: Path, when: str, at: int) -> None:
        super().__init__(path)
        self._when = when
        self._left = at

    async def commit(self, lease: Any, entries: Sequence[Any]) -> None:
        self._left -= 1
        if self._left == 0 and self._when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        await super().commit(lease, entries)
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def by_results(*steps: Any) -> ScriptedModel:
    """A model that answers by how many batches have their results, whichever process it is asked in."""

    def step(request: alloy.Request) -> Any:
        return steps[sum(isinstance(message, ToolMessage) for message in request.messages)]

    return ScriptedModel(step, loop=True)


def note(folder: Path, name: str, line: str) -> None:
    """Add a line to a file, which outlives the process."""
    with (folder / name).open("a") as file:
        file.write(f"{line}\n")


def team(folder: Path, steer: Callable[[], AgentRef]) -> Agent:
    """The agent, and those that work for it."""

    @alloy.tool
    async def act(name: str) -> str:
        """Do something that must not be done twice."""
        note(folder, "ran", name)
        if name == "one":
            await steer().steer("quickly, please")
            note(folder, "steered", name)
        return f"{name} is done"

    careful = [ApproveTools(lambda call: call.arguments.get("name") in ("three", "four"))]
    leaf = Agent(
        name="leaf",
        model=by_results(calls("act", id="c4", name="four"), says("leaf is done")),
        tools=[act],
    )
    middle = Agent(
        name="middle",
        model=by_results(calls("leaf", id="m1", prompt="four"), says("middle is done")),
        tools=[alloy.as_tool(leaf)],
    )
    steps = (
        [calls("act", id="c1", name="one"), calls("act", id="c2", name="two")],
        [calls("act", id="c3", name="three"), calls("middle", id="r1", prompt="four")],
        [calls("act", id="c5", name="five"), calls("act", id="c6", name="six")],
        says("all is done"),
    )
    return Agent(name="root", model=by_results(*steps), tools=[act, alloy.as_tool(middle)], middleware=careful)


async def decide_all(folder: Path, ref: AgentRef) -> None:
    """Approve of whatever comes."""
    while True:
        for pending in await ref.pending():
            assert pending.call is not None
            note(folder, "pending", f"{pending.call.id} {pending.id}")
            await ref.decide(pending.id, Approve())
        await trio.sleep(0.002)


async def main(folder: Path, when: str, at: int) -> None:
    refs: list[AgentRef] = []
    agent = team(folder, lambda: refs[0])
    async with (
        Deadly(folder / "sessions.db", when, at) as store,
        alloy.open_agent(agent, store=store, session_id="s") as ref,
        trio.open_nursery() as nursery,
    ):
        refs.append(ref)
        nursery.start_soon(decide_all, folder, ref)
        await ref.send_message("do it", request_id="job")
        await ref.send_message("and then?", request_id="next", max_turns=4)
        result, then = await ref.result("job"), await ref.result("next")
        nursery.cancel_scope.cancel()
    print(json.dumps({"job": told(result), "next": then.text, "commits": -store._left}))


def told(result: alloy.Result[Any]) -> dict[str, Any]:
    """What is to be the same however often the process was killed; what was said meanwhile may come sooner or later."""
    said = [message.text for message in result.messages if isinstance(message, UserMessage)]
    results = [
        (one.call_id, str(one.outcome), one.text)
        for message in result.messages
        if isinstance(message, ToolMessage)
        for one in message.results
    ]
    return {"status": str(result.status), "text": result.text, "said": said, "results": results}


if __name__ == "__main__":
    trio.run(main, Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
