"""1,000 servers, random crashes for ten seconds of virtual time, and no call is lost."""

from __future__ import annotations

import functools
import logging
import random
from collections import Counter

import trio
import trio.testing

from alloy import otp

SERVERS, SECONDS = 1_000, 10.0
names = otp.Registry()


class Echoer(otp.Server):
    """Answers after a while; a message makes it crash."""

    def __init__(self, number: int) -> None:
        self.number = number

    async def init(self) -> None:
        names.register(self.number)

    async def handle_call(self, request: object, reply_to: otp.ReplyTo[int]) -> int:
        await trio.sleep(0.01)
        return self.number

    async def handle_info(self, message: object) -> None:
        raise RuntimeError("chaos")


async def main() -> None:
    """Half of the servers crash, the other half are called all the time."""
    tally, chance = Counter[str](), random.Random(1)
    specs = [otp.ChildSpec(id=n, start=functools.partial(Echoer, n)) for n in range(SERVERS)]

    async def caller(number: int) -> None:
        while trio.current_time() < SECONDS:
            tally["calls"] += 1
            answer = await otp.call(names.via(number), otp.Request[int]())
            tally["answers"] += answer == number
            await trio.sleep(chance.random())

    async with otp.open_system(otp.Supervisor(children=specs, max_restarts=10**6)), trio.open_nursery() as nursery:
        for number in range(0, SERVERS, 2):
            nursery.start_soon(caller, number)
        while trio.current_time() < SECONDS:
            tally["crashes"] += 1
            otp.send(names.via(chance.randrange(1, SERVERS, 2)), "crash")
            await trio.sleep(chance.random() / 50)
    print(f"{dict(tally)}: {tally['calls'] - tally['answers']} lost")


if __name__ == "__main__":
    logging.getLogger("alloy.otp").setLevel(logging.CRITICAL)
    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
