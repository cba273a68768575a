"""Looking into a running system: state, stack and tree, also of what is stuck; suspend, resume and trace."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Echo,
    Trapping,
    Worker,
    alone,
    child,
    crashes,
    ends,
    notes,
    seen,
    settle,
    sleeps,
    system,
    under,
    worker,
)


async def stick(server: Worker) -> None:
    """A handler that never ends, in a function with a name to look for."""
    server.seen.append("stuck")
    await trio.sleep_forever()


async def test_get_state_shows_the_server_between_two_messages(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.cast(ref, sleeps(3))
        await otp.cast(ref, "first")
        state = await otp.get_state(ref)

        assert isinstance(state, Worker)
        assert state.seen == ["first"]
        assert trio.current_time() == 3


async def test_get_state_of_what_is_stuck_gives_up_on_time(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.cast(ref, stick)
        with pytest.raises(otp.CallTimeout):
            await otp.get_state(ref, timeout=2)

        assert trio.current_time() == 2


async def test_peek_shows_the_server_at_once_even_in_the_middle_of_a_handler(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.cast(ref, stick)
        await settle()

        state = otp.peek(ref)
        assert isinstance(state, Worker)
        assert state.seen == ["stuck"]
        assert trio.current_time() == 0


async def test_stack_shows_where_a_server_is_stuck(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.cast(ref, stick)
        await settle()

        stack = otp.stack(ref)
        assert all(isinstance(line, str) for line in stack)
        assert "in stick" in "".join(stack)


async def test_the_dead_have_no_state(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, crashes())

        with pytest.raises(otp.ServerExited):
            await otp.get_state(ref)
        with pytest.raises(otp.ServerExited):
            otp.peek(ref)


async def test_replace_state_sets_what_the_function_returns(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        other = Worker("other")
        await otp.replace_state(ref, lambda server: other)

        assert await otp.get_state(ref) is other
        otp.send(ref, "to the new one")
        assert await seen(ref) == ["to the new one"]
        assert other.seen == ["to the new one"]


async def test_replace_state_changes_nothing_where_the_function_raises(autojump_clock: MockClock) -> None:
    def fail(server: otp.Server) -> otp.Server:
        raise Boom("no")

    async with alone() as ref:
        state = await otp.get_state(ref)
        with pytest.raises(Boom):
            await otp.replace_state(ref, fail)

        assert await otp.get_state(ref) is state
        assert ref.alive


# suspend and resume


async def test_a_suspended_server_keeps_its_mail_in_order_until_it_is_resumed(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await settle()  # it is parked at its mailbox: not one message may slip out
        await otp.suspend(ref)
        for number in range(5):
            otp.send(ref, number)
        await trio.sleep(10)
        state = otp.peek(ref)
        assert isinstance(state, Worker)
        assert state.seen == []

        await otp.resume(ref)
        otp.send(ref, 5)
        assert await seen(ref) == [0, 1, 2, 3, 4, 5]


async def test_calls_to_a_suspended_server_time_out_and_are_then_skipped(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.suspend(a)
        with pytest.raises(otp.CallTimeout):
            await otp.call(a, Do(notes("executed")))
        assert trio.current_time() == 5
        await otp.resume(a)
        await otp.call(a, Echo(1))

        assert log == ["start a"]


async def test_suspending_and_resuming_twice_is_the_same_as_once(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.suspend(ref)
        await otp.suspend(ref)
        await otp.resume(ref)
        assert await otp.call(ref, Echo(1)) == 1
        await otp.resume(ref)

        assert await otp.call(ref, Echo(2)) == 2


async def test_suspend_waits_for_the_handler_in_flight(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, notes("in flight", after=2))
        await settle()
        await otp.cast(a, notes("waits"))
        await otp.suspend(a)
        await trio.sleep(10)

        assert log[:2] == ["start a", "in flight"]


async def test_a_suspended_server_answers_system_requests(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.suspend(ref)
        otp.send(ref, "waits")

        state = await otp.get_state(ref)
        assert isinstance(state, Worker)
        assert state.seen == []
        await otp.replace_state(ref, lambda server: Worker("other"))
        await otp.resume(ref)
        assert await seen(ref) == ["waits"]


@pytest.mark.parametrize("kind", [Worker, Trapping])
async def test_a_suspended_server_can_be_shut_down(autojump_clock: MockClock, kind: type[Worker]) -> None:
    log: list[str] = []
    async with system(worker("a", log, kind=kind)) as root:
        a = await child(root, "a")
        await otp.suspend(a)
        await otp.terminate_child(root, "a")

        assert await otp.wait_down(a) == otp.Shutdown()
        assert log == ["start a", "stop a"]
        assert trio.current_time() == 0


async def test_a_suspended_mailbox_is_bounded_all_the_same(autojump_clock: MockClock) -> None:
    async with alone(mailbox=3) as ref:
        await otp.suspend(ref)
        for number in range(3):
            otp.send(ref, number)
        await settle()

        with pytest.raises(otp.MailboxFull):
            otp.send(ref, 3)


async def test_a_suspended_supervisor_restarts_when_it_is_resumed(autojump_clock: MockClock) -> None:
    async with system(under("sub", worker("a"))) as root:
        sub = await child(root, "sub")
        a = await child(sub, "a")
        await otp.suspend(sub)
        await ends(a, crashes())
        await otp.resume(sub)

        assert (await child(sub, "a")).alive


# trace


async def test_a_trace_sees_each_message_before_and_each_reply_after(autojump_clock: MockClock) -> None:
    trace: list[Any] = []
    async with alone() as ref:
        otp.trace(ref, lambda way, message: trace.append((way, message)))
        await otp.call(ref, Echo("ping"))
        otp.send(ref, "hello")
        await settle()
        otp.trace(ref, None)
        await otp.call(ref, Echo("unseen"))

        assert trace == [("in", Echo("ping")), ("out", "ping"), ("in", "hello")]


async def test_a_trace_that_raises_is_logged_and_removed(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    traced: list[Any] = []

    def hook(way: str, message: object) -> None:
        traced.append(message)
        raise Boom("hook")

    async with alone() as ref:
        otp.trace(ref, hook)
        otp.send(ref, 1)
        otp.send(ref, 2)

        assert await seen(ref) == [1, 2]
        assert traced == [1]
        assert [record for record in caplog.records if record.levelno >= logging.WARNING]


# the tree


def labels(tree: Any) -> set[str]:
    """Every label that stands anywhere in the plain data."""
    if isinstance(tree, Mapping):
        return {tree["label"]}.union(*(labels(value) for value in tree.values())) if "label" in tree else set()
    if isinstance(tree, (list, tuple)):
        return set().union(*(labels(value) for value in tree))
    return set()


async def test_the_tree_is_plain_data_and_names_every_process(autojump_clock: MockClock) -> None:
    async with system(worker("a"), under("sub", worker("b"), under("deeper", worker("c")))) as root:
        tree = otp.tree(root)

        assert labels(tree) == {root.label, "a", "sub", "b", "deeper", "c"}
        assert json.loads(json.dumps(tree))


async def test_the_tree_shows_what_waits_and_for_whom(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.cast(b, stick)

        async def ask(server: Worker) -> None:
            await otp.call(b, Echo(1), timeout=None)

        await otp.cast(a, ask)
        await settle()
        otp.send(b, "mail")

        [node_a, node_b] = otp.tree(root)["children"]  # type: ignore[misc]  # plain data
        assert node_a["label"] == "a"
        assert "b" in json.dumps(node_a["waiting_on"])
        assert not node_b["waiting_on"]
        assert node_b["mailbox"] == 2


async def test_the_tree_of_a_subtree_is_that_subtree(autojump_clock: MockClock) -> None:
    async with system(worker("a"), under("sub", worker("b"))) as root:
        assert labels(otp.tree(await child(root, "sub"))) == {"sub", "b"}


async def test_the_tree_of_a_thousand_takes_ten_milliseconds_even_if_one_is_stuck(autojump_clock: MockClock) -> None:
    spec = otp.ChildSpec(start=otp.DynamicSupervisor, id="dynamic")
    async with system(spec) as root:
        dynamic = await child(root, "dynamic")
        for number in range(1000):
            await otp.start_child(dynamic, worker(f"worker {number}"))
        await otp.cast((await otp.which_children(dynamic))[500].ref, stick)
        await settle()

        durations = []
        for _ in range(10):
            begin = time.process_time()
            tree = otp.tree(root)
            durations.append(time.process_time() - begin)

        assert len(labels(tree)) == 1002
        assert min(durations) <= 0.010
