"""Deadlocks: each ring of processes that wait for each other is reported at once, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Echo, Worker, causes, child, settle, sleeps, system, under, worker


def asks(other: otp.Ref, request: otp.Request[Any]) -> Do:
    """Call on, and reply with the answer; or with the path of the deadlock."""

    async def act(server: Worker) -> Any:
        try:
            return await otp.call(other, request)
        except otp.Deadlock as error:
            return error.path

    return Do(act)


async def test_a_call_to_oneself(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")

        assert set(await otp.call(a, asks(a, Echo(1)))) == {"a"}
        assert trio.current_time() == 0


@pytest.mark.parametrize("names", ["ab", "abc", "abcdef"])
async def test_a_ring_of_calls(autojump_clock: MockClock, names: str) -> None:
    async with system(*(worker(name) for name in names)) as root:
        refs = [await child(root, name) for name in names]
        request: otp.Request[Any] = asks(refs[0], Echo(1))
        for ref in reversed(refs[1:]):
            request = asks(ref, request)
        path = await otp.call(refs[0], request)

        assert isinstance(path, tuple)
        assert set(path) == set(names)
        assert trio.current_time() == 0
        assert all(ref.alive for ref in refs)


async def test_a_deadlock_that_nobody_catches_is_a_crash_of_the_one_that_closed_the_ring(
    autojump_clock: MockClock,
) -> None:
    async with system(worker("a", restart="temporary"), worker("b", restart="temporary")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def back(server: Worker) -> Any:
            return await otp.call(a, Echo(1))

        async def there(server: Worker) -> Any:
            return await otp.call(b, Do(back))

        with pytest.raises(otp.ServerExited):
            await otp.call(a, Do(there))

        reason = await otp.wait_down(b)
        assert isinstance(reason, otp.Crash)
        assert isinstance(reason.exc, otp.Deadlock)
        assert trio.current_time() == 0


async def test_a_stop_of_oneself(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")

        async def act(server: Worker) -> Any:
            try:
                await otp.stop(a)
            except otp.Deadlock as error:
                return error.path

        assert set(await otp.call(a, Do(act))) == {"a"}


async def test_a_cast_to_oneself_on_a_full_mailbox(autojump_clock: MockClock) -> None:
    async with system(worker("a", mailbox=2)) as root:
        a = await child(root, "a")

        async def act(server: Worker) -> Any:
            try:
                for number in range(5):
                    await otp.cast(a, number)
            except otp.Deadlock as error:
                return error.path

        assert set(await otp.call(a, Do(act))) == {"a"}
        assert trio.current_time() == 0


async def test_a_ring_of_casts_on_full_mailboxes(autojump_clock: MockClock) -> None:
    paths: list[Any] = []
    async with system(worker("a", mailbox=1), worker("b", mailbox=1)) as root:
        refs = [await child(root, name) for name in "ab"]

        def floods(other: otp.Ref) -> Any:
            async def act(server: Worker) -> None:
                await trio.sleep(1)
                try:
                    for number in range(3):
                        await otp.cast(other, number)
                except otp.Deadlock as error:
                    paths.append(error.path)

            return act

        await otp.cast(refs[0], floods(refs[1]))
        await otp.cast(refs[1], floods(refs[0]))
        await trio.sleep(2)

        assert len(paths) == 1
        assert set(paths[0]) == {"a", "b"}
        assert [await otp.call(ref, Echo(1)) for ref in refs] == [1, 1]
        assert trio.current_time() == 2


async def test_a_call_and_a_cast_can_make_a_ring(autojump_clock: MockClock) -> None:
    async with system(worker("a", mailbox=1), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def flood(server: Worker) -> Any:
            try:
                for number in range(3):
                    await otp.cast(a, number)
            except otp.Deadlock as error:
                return error.path

        assert set(await otp.call(a, asks(b, Do(flood)))) == {"a", "b"}


@pytest.mark.parametrize("call", ["which_children", "count_children"])
async def test_a_child_that_asks_its_own_supervisor_in_init(autojump_clock: MockClock, call: str) -> None:
    async with system() as root:

        async def init(server: Worker) -> None:
            await getattr(otp, call)(root)

        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, worker("a", init=init))

        assert any(isinstance(cause, otp.Deadlock) for cause in causes(caught.value))
        assert trio.current_time() == 0


async def test_a_child_that_asks_a_supervisor_further_up_in_init(autojump_clock: MockClock) -> None:
    async with system() as root:

        async def init(server: Worker) -> None:
            await otp.start_child(root, worker("b"))

        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, under("sub", worker("a", init=init)))

        deadlocks = [cause for cause in causes(caught.value) if isinstance(cause, otp.Deadlock)]
        assert {"a", "sub", root.label} <= set(deadlocks[0].path)


async def test_a_child_that_asks_its_own_supervisor_in_terminate(autojump_clock: MockClock) -> None:
    paths: list[Any] = []
    async with system() as root:

        async def terminate(server: Worker) -> None:
            try:
                await otp.which_children(root)
            except otp.Deadlock as error:
                paths.append(error.path)

        await otp.start_child(root, worker("a", terminate=terminate))
        await otp.terminate_child(root, "a")

        assert len(paths) == 1
        assert trio.current_time() == 0


# what is no deadlock


async def test_a_helper_that_calls_does_not_make_its_server_wait(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def start(server: Worker) -> Any:
            slot = server.reply_to
            assert slot is not None

            async def helper() -> None:
                slot.reply(await otp.call(b, asks(a, Echo("served meanwhile"))))

            server.start_soon(helper)
            return otp.NO_REPLY

        assert await otp.call(a, Do(start)) == "served meanwhile"


async def test_a_chain_that_closes_no_ring_is_served(autojump_clock: MockClock) -> None:
    async with system(*(worker(name) for name in "abcd")) as root:
        a, b, c, d = [await child(root, name) for name in "abcd"]
        replies: list[Any] = []

        async def ask(ref: otp.Ref, request: otp.Request[Any]) -> None:
            replies.append(await otp.call(ref, request))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, a, asks(b, asks(c, Echo(1))))
            nursery.start_soon(ask, d, asks(b, Echo(2)))
            nursery.start_soon(ask, c, Echo(3))

        assert sorted(replies) == [1, 2, 3]


async def test_two_that_call_each_other_one_after_the_other_are_served(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        assert await otp.call(a, asks(b, Echo(1))) == 1
        assert await otp.call(b, asks(a, Echo(2))) == 2


async def test_a_call_that_was_given_up_waits_for_nobody(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def give_up(server: Worker) -> None:
            with pytest.raises(otp.CallTimeout):
                await otp.call(b, Do(sleeps(3)), timeout=1)

        await otp.call(a, Do(give_up))

        assert await otp.call(b, asks(a, Echo(1))) == 1


async def test_a_task_that_is_no_process_is_never_part_of_a_ring(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        for number in range(10):
            nursery.start_soon(otp.call, a, Echo(number))
        await settle()

        assert await otp.call(a, Echo(1)) == 1


async def test_a_full_mailbox_alone_is_no_deadlock(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b", mailbox=1)) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.cast(b, sleeps(3))
        await settle()

        async def flood(server: Worker) -> float:
            await otp.cast(b, 1)
            await otp.cast(b, 2)
            return trio.current_time()

        assert await otp.call(a, Do(flood)) == 3


async def test_a_supervisor_that_waits_for_a_child_that_waits_for_one_that_asks_the_supervisor(
    autojump_clock: MockClock,
) -> None:
    async with system(worker("b")) as root:
        b = await child(root, "b")

        async def ask_supervisor(server: Worker) -> Any:
            try:
                return await otp.which_children(root)
            except otp.Deadlock as error:
                return error.path

        async def init(server: Worker) -> None:
            paths.append(await otp.call(b, Do(ask_supervisor)))

        paths: list[Any] = []
        await otp.start_child(root, worker("a", init=init))

        assert {"a", "b", root.label} <= set(paths[0])
        assert trio.current_time() == 0


async def test_a_drain_of_oneself(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")

        async def act(server: Worker) -> Any:
            try:
                await otp.drain(a, 10)
            except otp.Deadlock as error:
                return error.path

        assert set(await otp.call(a, Do(act))) == {"a"}
        assert trio.current_time() == 0
