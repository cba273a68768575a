"""Servers that do what they are sent, and short words for what most scenarios need."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from alloy import otp

Act = Callable[[Any], Awaitable[object]]
"""What a server shall do: an async function of the server."""

NEVER = 100_000.0
"""Virtual seconds after which a scenario that hangs fails, rather than hang."""


class Boom(Exception):
    """The error that the servers here crash with."""


@attrs.frozen
class Do(otp.Request[Any]):
    """A request that says itself how it is answered."""

    act: Act


@attrs.frozen
class Echo(otp.Request[Any]):
    """Answered with its own value."""

    value: object


class Worker(otp.Server):
    """Acts on every message that is an async function; keeps all others in `seen`.

    Its log has "start <name>" at the end of `init`, "stop <name>" at the end of `terminate`.
    """

    def __init__(
        self, name: str = "worker", log: list[str] | None = None, init: Act | None = None, terminate: Act | None = None
    ) -> None:
        self.name = name
        self.log: list[str] = [] if log is None else log
        self.on_init = init
        self.on_terminate = terminate
        self.seen: list[Any] = []
        self.reply_to: otp.ReplyTo[Any] | None = None
        self.reason: otp.ExitReason | None = None

    async def init(self) -> None:
        if self.on_init is not None:
            await self.on_init(self)
        self.log.append(f"start {self.name}")

    async def handle_continue(self, arg: Any) -> None:
        await self.obey(arg)

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
        self.reply_to = reply_to
        match request:
            case Echo(value):
                return value
            case Do(act):
                return await act(self)

    async def handle_cast(self, message: Any) -> None:
        await self.obey(message)

    async def handle_info(self, message: Any) -> None:
        await self.obey(message)

    async def terminate(self, reason: otp.ExitReason) -> None:
        self.reason = reason
        if self.on_terminate is not None:
            await self.on_terminate(self)
        self.log.append(f"stop {self.name}")

    async def obey(self, message: Any) -> None:
        if callable(message):
            await message(self)
        else:
            self.seen.append(message)


class Trapping(Worker):
    """A worker to which exit signals and its shutdown are messages, in their order."""

    trap_exit = True


# what a worker may be told to do


def raises(error: BaseException) -> Act:
    async def act(server: Worker) -> None:
        raise error

    return act


def crashes() -> Act:
    return raises(Boom("boom"))


def quits(reason: otp.ExitReason | None = None, **reply: object) -> Act:
    return raises(otp.Stop(otp.Normal() if reason is None else reason, **reply))


def sleeps(seconds: float) -> Act:
    async def act(server: Worker) -> None:
        await trio.sleep(seconds)

    return act


def notes(word: str, after: float = 0.0) -> Act:
    """Write `word` into the log of the server, `after` seconds of work."""

    async def act(server: Worker) -> None:
        await trio.sleep(after)
        server.log.append(word)

    return act


def fails(*numbers: int) -> Act:
    """For `init`: fail at those starts, counted from 1, that `numbers` names."""
    starts = 0

    async def act(server: Worker) -> None:
        nonlocal starts
        starts += 1
        if starts in numbers:
            raise Boom(f"start {starts}")

    return act


async def shielded(server: Worker) -> None:
    """Take no notice of a kill for 12 seconds."""
    with trio.CancelScope(shield=True):
        await trio.sleep(12)


# trees


def worker(
    name: str,
    log: list[str] | None = None,
    *,
    init: Act | None = None,
    terminate: Act | None = None,
    kind: type[Worker] = Worker,
    **spec: Any,
) -> otp.ChildSpec:
    """A child whose id is `name`."""
    return otp.ChildSpec(start=lambda: kind(name, log, init, terminate), id=name, **spec)


def under(name: str, *children: otp.ChildSpec, spec: dict[str, Any] | None = None, **flags: Any) -> otp.ChildSpec:
    """A supervisor, as the child `name`."""
    return otp.ChildSpec(start=lambda: otp.Supervisor(children=children, **flags), id=name, **(spec or {}))


@asynccontextmanager
async def system(*children: otp.ChildSpec, **flags: Any) -> AsyncIterator[otp.Ref]:
    """Open a system over these children. It is the supervisor of that name that `flags` describe."""
    with trio.fail_after(NEVER):
        async with otp.open_system(otp.Supervisor(children=children, **flags)) as root:
            yield root


async def downfall(body: Act, *children: otp.ChildSpec, **flags: Any) -> otp.SystemDown:
    """Run `body(root)` in a system that goes down under it; return the error of the block."""
    with pytest.raises(otp.SystemDown) as caught:  # noqa: PT012  # the block is what raises
        async with system(*children, **flags) as root:
            await body(root)
            await trio.sleep_forever()
    return caught.value


@asynccontextmanager
async def alone(kind: type[Worker] = Worker, **spec: Any) -> AsyncIterator[otp.Ref]:
    """One worker that is not restarted, in a system of its own."""
    async with system(worker("worker", kind=kind, restart="temporary", **spec)) as root:
        yield await child(root, "worker")


async def child(supervisor: Any, id: Hashable) -> Any:
    """The ref of a child; "restarting"; or None where it is down."""
    return {info.id: info.ref for info in await otp.which_children(supervisor)}[id]


async def settle() -> None:
    """Let the system come to rest, without any time passing."""
    await wait_all_tasks_blocked()


async def ends(ref: otp.Ref, act: Act) -> otp.ExitReason:
    """Let the server of `ref` do what ends it; return its reason once its supervisor has acted on it."""
    await otp.cast(ref, act)
    reason = await otp.wait_down(ref)
    await settle()
    return reason


async def seen(ref: otp.Ref) -> list[Any]:
    """What the worker has been sent so far, other than acts."""

    async def act(server: Worker) -> list[Any]:
        return list(server.seen)

    return await otp.call(ref, Do(act), timeout=None)


def running_tasks() -> int:
    """How many Trio tasks live in this run."""
    todo, count = [trio.lowlevel.current_root_task()], 0
    while todo:
        task = todo.pop()
        if task is not None:
            count += 1
            todo.extend(inner for nursery in task.child_nurseries for inner in nursery.child_tasks)
    return count


def causes(error: BaseException | None) -> list[BaseException]:
    """An error, its cause, the cause of that, and so on."""
    chain: list[BaseException] = []
    while error is not None:
        chain.append(error)
        error = error.__cause__
    return chain
