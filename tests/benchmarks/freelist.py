"""The floor for many at once: the same loop over a free list of connections.

httpx's own pool looks at all its connections at each request, which many agents would measure and nothing else.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore
import httpx

from floor import Floor


class Body(httpx.AsyncByteStream):
    """An answer's body, which gives its connection back when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, connection: httpcore.AsyncHTTPConnection, pool: FreeList) -> None:
        self.stream, self.connection, self.pool = stream, connection, pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self.stream:
            yield part

    async def aclose(self) -> None:
        await self.stream.aclose()
        if self.connection.is_idle():
            self.pool.idle.append(self.connection)


class FreeList(httpx.AsyncBaseTransport):
    """Takes the connection that was used last, or opens one."""

    def __init__(self) -> None:
        self.idle: list[httpcore.AsyncHTTPConnection] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        connection = self.idle.pop() if self.idle else httpcore.AsyncHTTPConnection(target.origin)
        answer = await connection.handle_async_request(
            httpcore.Request(
                request.method,
                target,
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        body = Body(answer.stream, connection, self)
        return httpx.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Floor]:
    """Open the floor against the server at `url`."""
    headers = {"authorization": "Bearer x", "content-type": "application/json"}
    async with httpx.AsyncClient(timeout=600, headers=headers, transport=FreeList(), trust_env=False) as client:
        yield Floor(url, client)
