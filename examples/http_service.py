"""An agent as an HTTP service: POST /chat talks to it, GET / streams its events. Name a model to serve that."""

import json
import sys
from functools import partial

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve

import alloy
from alloy.testing import ScriptedModel, says


async def app(ref, scope, receive, send):
    """The ASGI application. A client that leaves takes the run with it that it asked for."""
    assert scope["type"] == "http"
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, ref, scope["path"], body.decode(errors="replace"), send)
        await receive()  # that the client has its answer, or has left
        nursery.cancel_scope.cancel()


async def answer(ref, path, prompt, send):
    async def respond(status, body, kind=b"text/plain; charset=utf-8", more=False):
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body.encode(), "more_body": more})

    if path == "/chat":
        try:
            await respond(200, (await ref.chat(prompt)).text)
        except (alloy.AlloyError, ValueError) as error:
            await respond(500, type(error).__name__)
    else:
        async with ref.subscribe() as events:
            await respond(200, ": connected\n\n", b"text/event-stream", more=True)
            async for event in events:
                line = f"data: {json.dumps(event.to_json())}\n\n".encode()
                await send({"type": "http.response.body", "body": line, "more_body": True})


async def main():
    model, port = (sys.argv[1], 8000) if len(sys.argv) > 1 else (ScriptedModel(says("Good morning.")), 0)
    async with alloy.open_agent(alloy.Agent(model=model)) as ref, trio.open_nursery() as nursery:
        config = Config.from_mapping(bind=f"127.0.0.1:{port}", errorlog=None)
        (url,) = await nursery.start(serve, partial(app, ref), config)
        if port == 0:
            async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
                print((await client.post("/chat", content="Good morning, agent.")).text)
            nursery.cancel_scope.cancel()


trio.run(main)
