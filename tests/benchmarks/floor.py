"""The floor: an agent's loop written by hand on `httpx.AsyncClient`, trio and the standard library's JSON.

What one would first write, the pool's limits lifted; it keeps, checks and reports nothing. Whatever
alloy costs beyond it is the price of what alloy does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import cache, partial
from typing import Any

import httpx
import trio

from jsons import encode, loads
from task import PROMPT, SYSTEM, history_texts
from wires import WIRES, Message, Wire


def schema(*parameters: str) -> dict[str, Any]:
    """The schema of a tool of whole numbers."""
    properties = {parameter: {"type": "integer"} for parameter in parameters}
    return {"type": "object", "properties": properties, "required": list(parameters)}


class Floor:
    """The tasks of the benchmarks, by hand."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = url
        self.client = client

    async def loop(self, model: str, history: int = 0) -> str:
        return await self._run(model, self._add, "add", ("a", "b"), history)

    async def parallel(self, model: str) -> str:
        return await self._run(model, self._slow, "slow", ("n",))

    @asynccontextmanager
    async def batches(self, count: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """A function that runs so many calls at once."""
        yield partial(self._all, self._quick, [{"a": number, "b": 1} for number in range(count)])

    async def stream(self, model: str) -> int:
        name, _, model = model.rpartition("/")
        wire = WIRES[name]
        body = wire.body(model, "", [wire.user(PROMPT)], None, stream=True)
        deltas = 0
        async with aclosing(self._events(self.url + wire.path(model, stream=True), encode(body))) as events:
            async for data in events:
                if data.strip() != b"[DONE]":
                    deltas += bool(wire.delta(loads(data)))
        return deltas

    def make(self, number: int) -> object:
        return {"messages": [{"role": "system", "content": SYSTEM}], "client": self.client, "tools": {"add": self._add}}

    @asynccontextmanager
    async def agents(self, model: str, count: int) -> AsyncIterator[list[Callable[[], Awaitable[str]]]]:
        """So many that can each be asked once."""
        yield [partial(self.loop, model)] * count

    async def _run(
        self,
        model: str,
        function: Callable[..., Awaitable[int]],
        name: str,
        parameters: tuple[str, ...],
        history: int = 0,
    ) -> str:
        prefix, _, model = model.rpartition("/")
        wire = WIRES[prefix]
        url, tool = self.url + wire.path(model, stream=False), wire.tool(name, schema(*parameters))
        messages = [*history_messages(wire, history), wire.user(PROMPT)]
        while True:
            body = wire.body(model, SYSTEM, messages, tool, stream=False)
            response = await self.client.post(url, content=encode(body))
            said, text, calls = wire.answer(loads(response.content))
            messages += said
            if not calls:
                return text
            results = await self._all(function, [arguments for _, _, arguments in calls])
            messages += wire.results([(c[0], c[1], str(result)) for c, result in zip(calls, results, strict=True)])

    async def _all(self, function: Callable[..., Awaitable[int]], arguments: list[dict[str, Any]]) -> list[int]:
        if len(arguments) == 1:
            return [await function(**arguments[0])]
        results = [0] * len(arguments)

        async def one(index: int) -> None:
            results[index] = await function(**arguments[index])

        async with trio.open_nursery() as nursery:
            for index in range(len(arguments)):
                nursery.start_soon(one, index)
        return results

    async def _events(self, url: str, body: bytes) -> AsyncIterator[bytes]:
        rest = b""
        async with self.client.stream("POST", url, content=body) as response:
            async for chunk in response.aiter_raw():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        yield line[5:]
                    elif line.startswith(b"{"):
                        yield line

    async def _add(self, a: int, b: int) -> int:
        return a + b

    async def _quick(self, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    async def _slow(self, n: int) -> int:
        await trio.sleep(0.1)
        return n


@cache
def history_messages(wire: Wire, count: int) -> tuple[Message, ...]:
    """Return `count` earlier messages, user and assistant in turn."""
    texts = history_texts(count)
    return tuple(wire.user(text) if role == "user" else wire.said(text) for role, text in texts)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Floor]:
    """Open the floor against the server at `url`."""
    headers = {"authorization": "Bearer x", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=600, headers=headers, limits=limits) as client:
        yield Floor(url, client)
