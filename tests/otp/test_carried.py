"""Context variables: those that are marked travel with a message, and nothing else does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Worker, alone, child, crashes, ends, seen, system, worker

marked: ContextVar[str] = ContextVar("marked", default="nothing")
unmarked: ContextVar[str] = ContextVar("unmarked", default="nothing")
otp.carried(marked)


@contextmanager
def value(var: ContextVar[str], text: str) -> Iterator[None]:
    token = var.set(text)
    try:
        yield
    finally:
        var.reset(token)


async def look(server: Worker) -> tuple[str, str]:
    return marked.get(), unmarked.get()


async def keep(server: Worker) -> None:
    server.seen.append(marked.get())


async def test_a_call_carries_the_marked_variables_and_no_other(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with value(marked, "carried"), value(unmarked, "left behind"):
            assert await otp.call(ref, Do(look)) == ("carried", "nothing")


@pytest.mark.parametrize("how", ["cast", "send", "send_after"])
async def test_every_message_carries_them(autojump_clock: MockClock, how: str) -> None:
    async with alone() as ref:
        with value(marked, "carried"):
            match how:
                case "cast":
                    await otp.cast(ref, keep)
                case "send":
                    otp.send(ref, keep)
                case "send_after":
                    otp.send_after(ref, keep, 1)
        await trio.sleep(2)

        assert await seen(ref) == ["carried"]


async def test_they_are_reset_after_the_handler(autojump_clock: MockClock) -> None:
    async def overwrite(server: Worker) -> None:
        marked.set("overwritten")
        unmarked.set("overwritten")

    async with alone() as ref:
        with value(marked, "carried"):
            await otp.call(ref, Do(overwrite))

        assert (await otp.call(ref, Do(look)))[0] == "nothing"
        assert marked.get() == "nothing"


async def test_they_travel_on_with_what_the_handler_sends(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        b = await child(root, "b")

        async def pass_on(server: Worker) -> Any:
            return await otp.call(b, Do(look))

        with value(marked, "far"):
            assert (await otp.call(await child(root, "a"), Do(pass_on)))[0] == "far"


async def test_a_helper_of_the_server_has_them_after_the_handler_has_ended(autojump_clock: MockClock) -> None:
    async def start(server: Worker) -> None:
        async def helper() -> None:
            await trio.sleep(3)
            server.seen.append(marked.get())

        server.start_soon(helper)

    async with alone() as ref:
        with value(marked, "carried"):
            await otp.call(ref, Do(start))
        await trio.sleep(4)

        assert await seen(ref) == ["carried"]


async def test_two_callers_do_not_mix(autojump_clock: MockClock) -> None:
    got: dict[str, str] = {}

    async def ask(ref: otp.Ref, text: str) -> None:
        with value(marked, text):
            got[text] = (await otp.call(ref, Do(look)))[0]

    async with alone() as ref, trio.open_nursery() as nursery:
        for number in range(10):
            nursery.start_soon(ask, ref, str(number))

    assert got == {str(number): str(number) for number in range(10)}


async def test_a_task_carries_them(autojump_clock: MockClock) -> None:
    async def get() -> tuple[str, str]:
        return marked.get(), unmarked.get()

    supervisor = otp.TaskSupervisor()
    async with system(otp.ChildSpec(start=lambda: supervisor, id="tasks")):
        with value(marked, "carried"), value(unmarked, "left behind"):
            task = await supervisor.start(get)

        assert await task.wait() == ("carried", "nothing")


async def test_a_child_has_the_context_of_its_supervisor_and_not_of_whoever_started_or_crashed_it(
    autojump_clock: MockClock,
) -> None:
    contexts: list[tuple[str, str]] = []

    async def init(server: Worker) -> None:
        contexts.append((marked.get(), unmarked.get()))

    with value(unmarked, "of the system"):
        async with system() as root:
            with value(unmarked, "of the starter"):
                await otp.start_child(root, worker("a", init=init))
            with value(unmarked, "of the one who crashed it"):
                await ends(await child(root, "a"), crashes())

    assert [of_unmarked for _, of_unmarked in contexts] == ["of the system"] * 2
