"""What a type checker sees of typed output. `nox -s types` checks this file; nobody runs it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Literal, TypedDict, assert_type

import attrs

import alloy


@attrs.frozen
class Weather:
    city: str
    degrees: float


@dataclass
class Point:
    x: int


class Movie(TypedDict):
    title: str


class Mood(enum.Enum):
    GOOD = "good"


MODEL = "scripted:echo"


async def outputs() -> None:
    weather = alloy.Agent(model=MODEL, output=Weather)
    assert_type(weather, alloy.Agent[Weather])
    result = await alloy.run("x", weather)
    assert_type(result, alloy.Result[Weather])
    assert_type(result.output, Weather | None)
    assert_type(result.unwrap(), Weather | str)

    assert_type(await alloy.run("x", model=MODEL, output=Weather), alloy.Result[Weather])
    assert_type(await alloy.run("x", model=MODEL, output=Point), alloy.Result[Point])
    assert_type(await alloy.run("x", model=MODEL, output=Movie), alloy.Result[Movie])
    assert_type(await alloy.run("x", model=MODEL, output=Mood), alloy.Result[Mood])
    assert_type(await alloy.run("x", model=MODEL, output=int), alloy.Result[int])
    assert_type(alloy.run_sync("x", weather), alloy.Result[Weather])
    assert_type(alloy.run_sync("x", model=MODEL, output=Weather), alloy.Result[Weather])
    assert_type(alloy.run_sync("x", model=MODEL), alloy.Result[Any])
    async with alloy.stream("x", weather) as stream:
        assert_type(await stream.result(), alloy.Result[Weather])
    async with alloy.stream("x", model=MODEL, output=Point) as points:
        assert_type(points, alloy.Stream[Point])


async def forms() -> None:
    choice = alloy.Form[Literal["a", "b"]]()
    assert_type(choice, alloy.Form[Literal["a", "b"]])
    assert_type(await alloy.run("x", model=MODEL, output=choice), alloy.Result[Literal["a", "b"]])
    assert_type(await alloy.run("x", model=MODEL, output=alloy.Form[Weather | Point]()), alloy.Result[Weather | Point])
    agent = alloy.Agent(model=MODEL, output=alloy.Form[list[Weather]]())
    assert_type((await alloy.run("x", agent)).output, list[Weather] | None)


async def changes(weather: alloy.Agent[Weather], plain: alloy.Agent[Any]) -> None:
    assert_type(weather.evolve(name="other"), alloy.Agent[Weather])
    assert_type(weather.evolve(output=Point), alloy.Agent[Point])
    assert_type(plain.evolve(output=alloy.Form[int | str]()), alloy.Agent[int | str])
    assert_type(await alloy.run("x", weather, max_turns=3), alloy.Result[Weather])
    await alloy.run("x", weather, output=Point)  # type: ignore[misc]
    await alloy.run("x", weather, output="Weather")  # type: ignore[arg-type]


async def servers(weather: alloy.Agent[Weather]) -> None:
    async with alloy.open_agent(weather) as ref:
        assert_type(ref, alloy.AgentRef[Weather])
        assert_type(await ref.chat("x"), alloy.Result[Weather])
        assert_type(await ref.chat("x", output=Point, timeout=1.0), alloy.Result[Point])
        assert_type(await ref.chat("x", output=alloy.Form[int | str]()), alloy.Result[int | str])
        async with ref.stream_chat("x") as stream, ref.stream_chat("x", output=Point) as points:
            assert_type(stream, alloy.Stream[Weather])
            assert_type(points, alloy.Stream[Point])


def tools_by_turn(run: alloy.RunInfo) -> list[alloy.Tool]:
    return []


def toolsets() -> None:
    alloy.Agent(model=MODEL, tools=[tools_by_turn])
    offer: alloy.Toolset = tools_by_turn
    alloy.Agent(model=MODEL, tools=[offer])
