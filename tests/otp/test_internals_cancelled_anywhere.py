"""A whole story, cancelled at each of its steps: it ends in time, in order, and leaves nothing behind."""

from __future__ import annotations

import logging
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from alloy import otp

STEPS = 200  # it has some 150


@attrs.frozen
class Get(otp.Request[int]):
    """How many messages there were."""


class CutAt(trio.abc.Instrument):
    """Cancels a scope before the nth step of any task."""

    def __init__(self, scope: trio.CancelScope, step: int) -> None:
        self.scope = scope
        self.left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self.left -= 1
        if self.left == 0:
            self.scope.cancel(reason="cut")


class Worker(otp.Server):
    """Notes that it began and ended, and under which name."""

    def __init__(self, name: str, story: Story) -> None:
        self.name = name
        self.story = story
        self.count = 0

    async def init(self) -> None:
        self.story.names.register(self.name)
        await trio.sleep(0.1)
        self.story.open.append(self.name)
        self.start_soon(trio.sleep_forever)

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> int:
        self.count += 1
        await trio.sleep(0.1)
        return self.count

    async def handle_cast(self, message: Any) -> None:
        self.count += 1
        raise RuntimeError("boom")

    async def terminate(self, reason: otp.ExitReason) -> None:
        await trio.sleep(0.1)
        self.story.open.remove(self.name)


class Story:
    """A tree, and all kinds of things done to it."""

    def __init__(self) -> None:
        self.names = otp.Registry()
        self.open: list[str] = []  # between init and terminate
        self.tasks = otp.TaskSupervisor()

    def worker(self, name: str, **options: Any) -> otp.ChildSpec:
        """One child."""
        return otp.ChildSpec(id=name, start=lambda: Worker(name, self), **options)

    async def tell(self) -> None:
        """Everything, once."""
        tree = otp.Supervisor(
            strategy="rest_for_one",
            children=[
                self.worker("a"),
                self.worker("b", keep_mailbox=True),
                otp.ChildSpec(id="tasks", start=lambda: self.tasks),
            ],
        )
        async with otp.open_system(tree) as root, trio.open_nursery() as nursery:
            nursery.start_soon(self.call, "b")
            await otp.start_child(root, self.worker("c"))
            await otp.cast(self.names.via("b"), "crash")
            assert await self.call("a") == 1
            assert await self.call("b") >= 1
            await otp.terminate_child(root, "c")
            async with self.tasks.stream(self.call, ["a", "b", "a"], link=False) as results:
                assert len([result async for result in results]) == 3
            await otp.drain(self.names.via("a"), 1)

    async def call(self, name: str) -> int:
        """Ask until there is an answer."""
        while True:
            try:
                return await otp.call(self.names.via(name), Get(), wait=True)
            except otp.ServerExited:
                await trio.lowlevel.checkpoint()


def cut(step: int) -> bool:
    """Tell the story up to the step; whether it was cut."""
    story = Story()

    async def main() -> bool:
        with trio.CancelScope() as scope:
            instrument = CutAt(scope, step)
            trio.lowlevel.add_instrument(instrument)
            try:
                await story.tell()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        # Each server has 5 s to stop and needs 0.1 s for it.
        assert trio.current_time() < 30
        return scope.cancelled_caught

    with_clock = MockClock(autojump_threshold=0)
    was_cut = trio.run(main, clock=with_clock)
    assert story.open == []
    assert story.names.count() == 0
    return was_cut


@pytest.mark.parametrize("first", range(1, STEPS, 50))
def test_a_story_cancelled_at_any_step_leaves_no_name_and_no_server_open(
    first: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL, "alloy.otp")

    assert [step for step in range(first, first + 50) if not cut(step) and step < 100] == []


def test_the_story_that_is_not_cut_comes_to_its_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, "alloy.otp")

    assert not cut(10**9)
