"""An agent under supervision: its server is killed, which costs one request, and the next chat goes on.

Offline it plays a script; name a model, such as `anthropic:claude-sonnet-4-6`, to ask that.
"""

from __future__ import annotations

import logging
import sys

import trio

import alloy
from alloy import otp
from alloy.testing import ScriptedModel, calls, says

SCRIPT = ScriptedModel(says("Nice to meet you, Ada."), calls("count", what="sand"), says("You are Ada."))


@alloy.tool
async def count(what: str) -> int:
    """Count all there is of something."""
    await trio.sleep_forever()
    return 0


async def main() -> None:
    """Talk to it, kill its server while it works, and talk to it again."""
    model = sys.argv[1] if len(sys.argv) > 1 else SCRIPT
    agent: alloy.Agent[str] = alloy.Agent(name="friend", model=model, tools=[count])
    async with alloy.open_agent(agent) as friend:
        print("friend:", (await friend.chat("My name is Ada.")).text)

        async with friend.stream_chat("Count the grains of sand.") as stream:
            async for event in stream:
                server = friend.whereis()
                if isinstance(event, alloy.ToolStarted) and server is not None:
                    otp.exit(server, otp.Killed())
            try:
                await stream.result()
            except otp.ServerExited as error:
                print("the server is gone:", error.reason)

        print("friend:", (await friend.chat("What is my name?")).text)  # waits for the next server
        print("restarts:", (await friend.health()).restarts)


if __name__ == "__main__":
    logging.getLogger("alloy.otp").setLevel(logging.CRITICAL)  # ERROR would show the report
    trio.run(main)
