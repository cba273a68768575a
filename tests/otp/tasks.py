"""A task supervisor under a root, and what its tasks do in most scenarios."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from alloy import otp
from otp.servers import Boom, system


@asynccontextmanager
async def tasks(*others: otp.ChildSpec, **flags: Any) -> AsyncIterator[tuple[otp.TaskSupervisor, otp.Ref]]:
    """A task supervisor, as the object that starts tasks, and the root above it."""
    supervisor = otp.TaskSupervisor(**flags)
    async with system(otp.ChildSpec(start=lambda: supervisor, id="tasks", restart="temporary"), *others) as root:
        yield supervisor, root


async def double(number: float) -> float:
    await trio.sleep(number)
    return 2 * number


async def fail(*args: object) -> Any:
    raise Boom("boom")


async def wait(seconds: float) -> float:
    await trio.sleep(seconds)
    return seconds
