"""Stateful hypothesis tests of Trio code: a run of Trio in a thread, into which synchronous rules reach."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import trio
from hypothesis.stateful import RuleBasedStateMachine
from trio.testing import MockClock, wait_all_tasks_blocked


class TrioMachine(RuleBasedStateMachine):
    """One run of Trio an example, on a clock that only `advance` moves.

    `self.nursery` is open in that run, for what goes on between two rules.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = MockClock()
        self.nursery: trio.Nursery
        self.error: BaseException | None = None
        up = threading.Event()

        async def main() -> None:
            self.end = trio.Event()
            self.token = trio.lowlevel.current_trio_token()
            async with trio.open_nursery() as self.nursery:
                up.set()
                await self.end.wait()
                self.nursery.cancel_scope.cancel(reason="the example is over")

        def run() -> None:
            try:
                trio.run(main, clock=self.clock)
            except BaseException as error:
                self.error = error
            finally:
                up.set()

        self.thread = threading.Thread(target=run)
        self.thread.start()
        up.wait()

    def run(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        """Run an async function to its end, then let everything come to rest."""

        async def call() -> Any:
            result = await function(*args)
            await wait_all_tasks_blocked()
            return result

        return trio.from_thread.run(call, trio_token=self.token)

    def advance(self, seconds: float) -> None:
        """Let time pass, and what is due happen."""

        async def jump() -> None:
            self.clock.jump(seconds)

        self.run(jump)

    def teardown(self) -> None:
        with suppress(trio.RunFinishedError):
            trio.from_thread.run_sync(self.end.set, trio_token=self.token)
        self.thread.join(10)
        if self.thread.is_alive():
            raise AssertionError("the run of Trio does not end")
        if self.error is not None:
            raise self.error
