"""The floor: an agent's loop written by hand on `httpx.AsyncClient`, trio and the standard library's JSON.

What one would first write, the pool's limits lifted; it keeps, checks and reports nothing. Whatever
alloy costs beyond it is the price of what alloy does.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from functools import cache, partial
from typing import Any

import httpx
import trio

from task import PROMPT, SYSTEM, history_texts


def schema(name: str, *parameters: str) -> dict[str, Any]:
    """Describe a tool of whole numbers, as the chat completions API wants it."""
    properties = {parameter: {"type": "integer"} for parameter in parameters}
    description = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": description}}


ADD, SLOW = schema("add", "a", "b"), schema("slow", "n")


class Floor:
    """The tasks of the benchmarks, by hand."""

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self.url = f"{url}/v1/chat/completions"
        self.client = client

    async def loop(self, model: str, history: int = 0) -> str:
        return await self._run(model, self._add, ADD, history)

    async def parallel(self, model: str) -> str:
        return await self._run(model, self._slow, SLOW)

    @asynccontextmanager
    async def batches(self, count: int) -> AsyncIterator[Callable[[], Awaitable[object]]]:
        """A function that runs so many calls at once."""
        yield partial(self._all, self._quick, [{"a": number, "b": 1} for number in range(count)])

    async def stream(self, model: str) -> int:
        body = encode({"model": model, "stream": True, "messages": [{"role": "user", "content": PROMPT}]})
        deltas = 0
        async with aclosing(self._events(body)) as events:
            async for data in events:
                if data.strip() != b"[DONE]":
                    choices = json.loads(data)["choices"]
                    deltas += bool(choices and choices[0]["delta"].get("content"))
        return deltas

    def make(self, number: int) -> object:
        return {"messages": [{"role": "system", "content": SYSTEM}], "client": self.client, "tools": {"add": self._add}}

    @asynccontextmanager
    async def agents(self, model: str, count: int) -> AsyncIterator[list[Callable[[], Awaitable[str]]]]:
        """So many that can each be asked once."""
        yield [partial(self.loop, model)] * count

    async def _run(
        self, model: str, function: Callable[..., Awaitable[int]], tool: dict[str, Any], history: int = 0
    ) -> str:
        messages: list[dict[str, Any]] = [{"role": "system", "content": SYSTEM}]
        messages += history_messages(history)
        messages.append({"role": "user", "content": PROMPT})
        while True:
            response = await self.client.post(
                self.url, content=encode({"model": model, "messages": messages, "tools": [tool]})
            )
            message = json.loads(response.content)["choices"][0]["message"]
            messages.append(message)
            if not (calls := message.get("tool_calls")):
                return str(message["content"])
            results = await self._all(function, [json.loads(call["function"]["arguments"]) for call in calls])
            for call, result in zip(calls, results, strict=True):
                messages.append({"role": "tool", "tool_call_id": call["id"], "content": str(result)})

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

    async def _events(self, body: bytes) -> AsyncIterator[bytes]:
        rest = b""
        async with self.client.stream("POST", self.url, content=body) as response:
            async for chunk in response.aiter_raw():
                *events, rest = (rest + chunk).split(b"\n\n")
                for event in events:
                    yield event.removeprefix(b"data:")

    async def _add(self, a: int, b: int) -> int:
        return a + b

    async def _quick(self, a: int, b: int) -> int:
        await trio.lowlevel.checkpoint()
        return a + b

    async def _slow(self, n: int) -> int:
        await trio.sleep(0.1)
        return n


@cache
def history_messages(count: int) -> tuple[dict[str, Any], ...]:
    """Return `count` earlier messages, user and assistant in turn."""
    return tuple({"role": role, "content": text} for role, text in history_texts(count))


def encode(value: object) -> bytes:
    """Write JSON without spaces."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Floor]:
    """Open the floor against the server at `url`."""
    headers = {"authorization": "Bearer x", "content-type": "application/json"}
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(timeout=600, headers=headers, limits=limits) as client:
        yield Floor(url, client)
