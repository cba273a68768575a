"""An agent behind HTTP: POST /chat talks to it, GET /events streams what it does as server-sent events.

Offline it plays a script; name a model, such as `anthropic:claude-sonnet-4-6`, to ask that.
"""

from __future__ import annotations

import json
import sys
from functools import partial

import h11
import httpx
import trio

import alloy
from alloy import otp
from alloy.agents import agent_ref
from alloy.testing import ScriptedModel, says

SCRIPT = ScriptedModel(says("Good morning, Ada.", chunks=["Good ", "morning, ", "Ada."]))
MAX_BODY, END = 65_536, (h11.EndOfMessage, h11.ConnectionClosed)


async def handle(friend: alloy.AgentRef[str], pubsub: otp.PubSub, stream: trio.SocketStream) -> None:
    """Serve one connection: one request and its response. Whatever goes wrong with it ends it alone."""
    http = h11.Connection(h11.SERVER)

    async def send(*parts: h11.Event) -> None:
        await stream.send_all(b"".join(http.send(part) or b"" for part in parts))

    async def answer(status: int, text: str) -> None:
        await send(head(status, "text/plain; charset=utf-8"), h11.Data(data=text.encode()), h11.EndOfMessage())

    try:
        match await read_request(http, stream):
            case b"POST", b"/chat", body if len(body) <= MAX_BODY:
                try:
                    await answer(200, (await friend.chat(body.decode(errors="replace"))).text)
                except (alloy.AlloyError, ValueError) as error:
                    await answer(500, type(error).__name__)
            case b"GET", b"/events", _:
                async with pubsub.listen(f"agent:{friend.session_id}:events") as events:
                    await send(head(200, "text/event-stream"))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(cancel_at_end, stream, nursery.cancel_scope)
                        async for event in events:
                            if isinstance(event, alloy.Event):  # else an `otp.Lagged`: this reader was too slow
                                await send(h11.Data(data=f"data: {json.dumps(event.to_json())}\n\n".encode()))
            case _:
                await answer(404, f"POST /chat with at most {MAX_BODY} bytes, or GET /events")
    except* (trio.BrokenResourceError, h11.ProtocolError):
        pass  # the client has gone, or speaks no HTTP


async def read_request(http: h11.Connection, stream: trio.SocketStream) -> tuple[bytes, bytes, bytes]:
    """The method, the path and the body, of which little more than `MAX_BODY` is read."""
    method = path = body = b""
    while len(body) <= MAX_BODY and not isinstance(event := http.next_event(), END):
        if isinstance(event, h11.Request):
            method, path = event.method, event.target
        elif isinstance(event, h11.Data):
            body += event.data
        else:
            http.receive_data(await stream.receive_some(16_384))
    return method, path, body


def head(status: int, kind: str) -> h11.Response:
    return h11.Response(status_code=status, headers=[("content-type", kind), ("connection", "close")])


async def cancel_at_end(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    """A browser that leaves says nothing but this."""
    while await stream.receive_some(1024):
        pass
    scope.cancel()


async def watch(client: httpx.AsyncClient, *, task_status: trio.TaskStatus[None]) -> None:
    """What a browser's `new EventSource("/events")` does, until the first run is finished."""
    with trio.CancelScope() as scope:
        async with client.stream("GET", "/events", timeout=None) as response:
            task_status.started()
            async for line in response.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    print("event:", event["kind"], event.get("text", ""))
                    if event["kind"] == "run_finished":
                        scope.cancel()


async def main() -> None:
    pubsub = otp.PubSub()
    agent: alloy.Agent[str] = alloy.Agent(name="friend", model=sys.argv[1] if len(sys.argv) > 1 else SCRIPT)
    child = alloy.agent_child(agent, pubsub=pubsub)
    async with otp.open_system(otp.Supervisor(children=[child])), trio.open_nursery() as nursery:
        handler = partial(handle, agent_ref(child), pubsub)
        (listener,) = await nursery.start(partial(trio.serve_tcp, handler, 0, host="127.0.0.1"))
        host, port = listener.socket.getsockname()
        async with httpx.AsyncClient(base_url=f"http://{host}:{port}", trust_env=False) as client:
            async with trio.open_nursery() as clients:
                await clients.start(watch, client)
                answered = await client.post("/chat", content="Good morning, I am Ada.", timeout=None)
            print("answer:", answered.status_code, answered.text)
        nursery.cancel_scope.cancel()  # the server would go on


trio.run(main)
