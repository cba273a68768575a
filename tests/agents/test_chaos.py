"""Many agents under load while everything that can fail does: each request still has exactly one outcome."""

from __future__ import annotations

import logging
import random
from typing import Any

import pytest
import trio
import trio.testing

import alloy
from alloy import Agent, Team, otp
from alloy.llm.scripted import Says, Step
from alloy.testing import ScriptedModel, calls, cuts, fails, says
from end_to_end.sendable import assert_sendable

TEAMS, MEMBERS = 10, 20


class Bug(Exception):
    """A programming error."""


class Chaos:
    """What goes wrong, by a seed."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def author(self, request: alloy.Request) -> Step:
        """An answer that says which request it is for, or some failure."""
        prompt = next(m.text for m in reversed(request.messages) if isinstance(m, alloy.UserMessage))
        chance = self.draw.random()
        if chance < 0.05:
            raise Bug("in the provider")
        if chance < 0.15:
            return fails(alloy.Overloaded("busy", retry_after=self.draw.random()))
        if chance < 0.2:
            return cuts("ha")
        if chance < 0.5:
            names = self.draw.choices(["work", "break", "hang", "nothing"], [6, 2, 1, 1], k=self.draw.randint(1, 3))
            return [calls(name) for name in names]
        return says(f"answer to {prompt}")

    def agent(self) -> Agent[Any]:
        async def work() -> str:
            """Work a while."""
            await trio.sleep(self.draw.random() * 3)
            return "done"

        async def broken() -> str:
            """Fail."""
            raise LookupError("no")

        async def hang() -> str:
            """Never end."""
            await trio.sleep_forever()
            return ""

        tools = [work, alloy.tool(broken, name="break"), hang]
        model = ScriptedModel(*[self.author] * 10_000)
        return Agent(model=model, tools=tools, limits=alloy.Limits(tool_timeout=5.0, max_turns=6))


@pytest.mark.works("Chaos: random crashes, cancels and timeouts among 200 agents lose or mix up no answer")
@pytest.mark.parametrize("seed", [1, *[pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 12)]])
async def test_every_request_ends_in_exactly_one_outcome_that_is_its_own(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    logging.getLogger("alloy").setLevel(logging.CRITICAL)
    chaos = Chaos(seed)
    before = trio.lowlevel.current_statistics().tasks_living
    outcomes: dict[str, list[object]] = {}

    async def ask(team: Team, member: str, key: str) -> None:
        outcomes[key] = []
        with trio.move_on_after(chaos.draw.choice([2.0, 20.0, 1e9])):
            try:
                result = await team.delegate(member, key)
            except alloy.AlloyError as error:
                outcomes[key].append(error)
            else:
                outcomes[key].append(result)
                if result.status == "completed":
                    assert result.text == f"answer to {key}", "an answer reached the wrong request"
            return
        outcomes[key].append("given up")

    async def clients(team: Team, number: int) -> None:
        async with trio.open_nursery() as nursery:
            for n in range(6):
                for member in team.names:
                    nursery.start_soon(ask, team, member, f"{number}/{member}/{n}")

    async def killer(team: Team) -> None:
        while True:
            await trio.sleep(chaos.draw.random() * 4)
            ref = team[chaos.draw.choice(team.names)].whereis()
            if ref is not None:
                otp.exit(ref, otp.Killed() if chaos.draw.random() < 0.5 else otp.Crash(Bug("from outside")))

    async def starter(team: Team) -> None:
        while True:
            await trio.sleep(chaos.draw.random() * 10)
            await team.restart(chaos.draw.choice(team.names))

    async def one_team(number: int) -> None:
        members = {f"m{n}": chaos.agent() for n in range(MEMBERS)}
        async with Team(members, drain=5.0) as team, trio.open_nursery() as nursery:
            nursery.start_soon(killer, team)
            nursery.start_soon(starter, team)
            await clients(team, number)
            nursery.cancel_scope.cancel()
            for name, ref in team.items():
                await team.restart(name)
                assert_sendable(await ref.messages())

    try:
        async with trio.open_nursery() as nursery:
            for number in range(TEAMS):
                nursery.start_soon(one_team, number)
    finally:
        logging.getLogger("alloy").setLevel(logging.NOTSET)

    assert len(outcomes) == TEAMS * MEMBERS * 6
    assert all(len(found) == 1 for found in outcomes.values())
    kinds = {type(found[0]).__name__ for found in outcomes.values()}
    assert {"Result", "ServerExited", "str"} <= kinds
    assert trio.lowlevel.current_statistics().tasks_living == before


def test_the_script_of_chaos_is_the_same_for_the_same_seed() -> None:
    request = alloy.Request(model="m", messages=[alloy.UserMessage("x")])
    answers: list[list[str]] = []
    for _ in range(2):
        chaos = Chaos(3)
        row = []
        for _ in range(50):
            try:
                step = chaos.author(request)
            except Bug:
                row.append("bug")
            else:
                row.append(step.text if isinstance(step, Says) else type(step).__name__)
        answers.append(row)

    assert answers[0] == answers[1]
