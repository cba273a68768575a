"""One exchange, as most tests of HTTP want it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import trio
import trio.testing

from alloy.providers.http import HTTP
from alloy.providers.response import Response
from alloy.testing.leaks import Holdings
from providers.loopback import Exchange

BODY = (b'{"a":', b"1}")


async def everything(response: Response) -> bytes:
    """The body, and the response given back."""
    body = b""
    async with response:
        while chunk := await response.receive_some():
            body += chunk
    return body


async def ask(http: HTTP, url: str, headers: Mapping[str, str] = {}) -> bytes:
    """Post, and return the answer's body."""
    return await everything(await http.post(url + "/v1", headers, BODY))


async def ok(exchange: Exchange) -> None:
    """A handler that is content with anything."""
    await exchange.answer(200, b"ok")


async def held() -> Holdings:
    """What the process holds once all have done what they can."""
    await trio.testing.wait_all_tasks_blocked()
    return Holdings.now()


class Slow:
    """A handler whose answer takes as long as it is told to."""

    def __init__(self, head: float, *steps: tuple[float, bytes]) -> None:
        self.head = head
        self.steps = steps
        self.closed = False

    async def __call__(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, Mapping[str, str], AsyncIterator[bytes]]:
        await trio.sleep(self.head)
        return 200, {}, self.body()

    async def body(self) -> AsyncIterator[bytes]:
        try:
            for seconds, chunk in self.steps:
                await trio.sleep(seconds)
                yield chunk
        finally:
            self.closed = True
