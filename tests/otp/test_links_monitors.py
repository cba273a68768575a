"""Links and monitors: who hears of an end, who shares it, and who may ask."""

from __future__ import annotations

from itertools import pairwise
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
    quits,
    seen,
    settle,
    sleeps,
    system,
    worker,
)


def links(*others: otp.Ref) -> Do:
    async def act(server: Worker) -> None:
        for other in others:
            otp.link(other)

    return Do(act)


def unlinks(other: otp.Ref) -> Do:
    async def act(server: Worker) -> None:
        otp.unlink(other)

    return Do(act)


def monitors(other: otp.Ref) -> Do:
    async def act(server: Worker) -> Any:
        return otp.monitor(other)

    return Do(act)


def pair(kind: type[Worker] = Worker, log: list[str] | None = None) -> Any:
    """Temporary a and b, of which b is of the kind given."""
    return system(worker("a", log, restart="temporary"), worker("b", log, restart="temporary", kind=kind))


# monitors


@pytest.mark.parametrize("end", [quits(), quits(otp.Shutdown("x")), crashes()], ids=["normal", "shutdown", "crash"])
async def test_a_monitor_tells_once_who_ended_and_why(autojump_clock: MockClock, end: Any) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        monitor = await otp.call(b, monitors(a))
        reason = await ends(a, end)

        [down] = await seen(b)
        assert isinstance(down, otp.Down)
        assert (down.monitor, down.ref, down.reason) == (monitor, a, reason)
        assert monitor.ref == a
        assert b.alive


async def test_each_monitor_is_one_of_its_own(autojump_clock: MockClock) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        made = [await otp.call(b, monitors(a)) for _ in range(3)]
        await ends(a, crashes())

        assert [down.monitor for down in await seen(b)] == made
        assert len(set(made)) == 3


async def test_a_monitor_of_the_dead_tells_at_once(autojump_clock: MockClock) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await ends(a, crashes())
        monitor = await otp.call(b, monitors(a))

        [down] = await seen(b)
        assert (down.monitor, down.ref, down.reason) == (monitor, a, otp.NoProcess())


async def test_a_removed_monitor_tells_nothing(autojump_clock: MockClock) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def act(server: Worker) -> None:
            kept, removed = otp.monitor(a), otp.monitor(a)
            otp.demonitor(removed)
            server.seen.append(kept)

        await otp.call(b, Do(act))
        await ends(a, crashes())

        kept, down = await seen(b)
        assert down.monitor == kept


@pytest.mark.parametrize(("flush", "told"), [(True, 0), (False, 1)])
async def test_flush_removes_also_what_was_told_and_not_yet_read(
    autojump_clock: MockClock, flush: bool, told: int
) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def act(server: Worker) -> None:
            monitor = otp.monitor(a)
            await otp.stop(a)
            otp.demonitor(monitor, flush=flush)

        await otp.call(b, Do(act))

        assert len(await seen(b)) == told


async def test_a_monitor_does_not_follow_a_restart(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        b = await child(root, "b")
        await otp.call(b, monitors(await child(root, "a")))
        for _ in range(3):
            await ends(await child(root, "a"), crashes())

        assert len(await seen(b)) == 1


async def test_the_end_of_the_one_who_monitors_is_no_matter_to_the_other(autojump_clock: MockClock) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, monitors(a))
        await ends(b, crashes())
        await ends(a, crashes())

        assert root.alive


# links


@pytest.mark.parametrize(
    ("end", "shared"),
    [(quits(), False), (quits(otp.Shutdown("x")), True), (quits(otp.Killed()), True), (crashes(), True)],
    ids=["normal", "shutdown", "killed", "crash"],
)
@pytest.mark.parametrize("who", ["a", "b"])
async def test_linked_processes_share_every_end_but_a_normal_one(
    autojump_clock: MockClock, end: Any, shared: bool, who: str
) -> None:
    async with pair() as root:
        refs = {name: await child(root, name) for name in "ab"}
        await otp.call(refs["b"], links(refs["a"]))
        other = refs["b" if who == "a" else "a"]
        reason = await ends(refs[who], end)

        assert other.alive is not shared
        if shared:
            assert await otp.wait_down(other) == reason


async def test_a_linked_process_that_is_interrupted_still_terminates(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with pair(log=log) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a))
        await otp.cast(b, sleeps(100))
        await settle()
        await ends(a, crashes())

        assert log == ["start a", "start b", "stop a", "stop b"]
        assert trio.current_time() == 0


@pytest.mark.parametrize(
    "end",
    [quits(), quits(otp.Shutdown("x")), quits(otp.Killed()), crashes()],
    ids=["normal", "shutdown", "killed", "crash"],
)
async def test_a_server_that_traps_reads_of_the_end_of_its_peer(autojump_clock: MockClock, end: Any) -> None:
    async with pair(Trapping) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a))
        reason = await ends(a, end)

        [signal] = await seen(b)
        assert isinstance(signal, otp.Exit)
        assert (signal.ref, signal.reason) == (a, reason)


async def test_a_kill_cannot_be_trapped_and_its_news_can(autojump_clock: MockClock) -> None:
    async with system(
        worker("a", restart="temporary", kind=Trapping), worker("b", restart="temporary", kind=Trapping)
    ) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a))
        otp.exit(a, otp.Killed())

        assert await otp.wait_down(a) == otp.Killed()
        [signal] = await seen(b)
        assert signal.reason == otp.Killed()


async def test_there_is_one_link_between_two_however_often_it_is_made(autojump_clock: MockClock) -> None:
    async with pair(Trapping) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a, a))
        await otp.call(a, links(b))
        await ends(a, crashes())

        assert len(await seen(b)) == 1


@pytest.mark.parametrize("who", ["a", "b"])
async def test_either_side_can_remove_a_link(autojump_clock: MockClock, who: str) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a))
        await otp.call(*((a, unlinks(b)) if who == "a" else (b, unlinks(a))))
        await ends(a, crashes())

        assert b.alive


@pytest.mark.parametrize("kind", [Worker, Trapping])
async def test_a_link_to_the_dead_raises(autojump_clock: MockClock, kind: type[Worker]) -> None:
    async with pair(kind) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await ends(a, crashes())

        async def act(server: Worker) -> Any:
            with pytest.raises(otp.ServerExited) as caught:
                otp.link(a)
            return caught.value.reason

        assert await otp.call(b, Do(act)) == otp.NoProcess()


async def test_an_end_goes_through_a_chain_of_links(autojump_clock: MockClock) -> None:
    names = "abcdef"
    async with system(*(worker(name, restart="temporary") for name in names)) as root:
        refs = [await child(root, name) for name in names]
        for ref, following in pairwise(refs):
            await otp.call(ref, links(following))
        reason = await ends(refs[2], crashes())

        assert [await otp.wait_down(ref) for ref in refs] == [reason] * 6


async def test_a_server_that_traps_ends_a_chain(autojump_clock: MockClock) -> None:
    async with system(
        worker("a", restart="temporary"), worker("b", kind=Trapping), worker("c", restart="temporary")
    ) as root:
        a, b, c = [await child(root, name) for name in "abc"]
        await otp.call(b, links(a, c))
        await ends(a, crashes())

        assert (b.alive, c.alive) == (True, True)


async def test_a_link_of_two_others(autojump_clock: MockClock) -> None:
    async with system(*(worker(name, restart="temporary") for name in "abc")) as root:
        a, b, c = [await child(root, name) for name in "abc"]

        async def act(server: Worker) -> None:
            otp.link(a, b)

        await otp.call(c, Do(act))
        await ends(a, crashes())

        assert (b.alive, c.alive) == (False, True)


async def test_a_linked_peer_is_restarted_as_after_a_crash(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("b", restart="transient")) as root:
        a, b = await child(root, "a"), await child(root, "b")
        await otp.call(b, links(a))
        await ends(a, crashes())

        assert await child(root, "b") != b
        assert (await child(root, "b")).alive


# exit signals between processes


async def test_an_exit_signal_names_the_process_that_sent_it(autojump_clock: MockClock) -> None:
    async with pair(Trapping) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def act(server: Worker) -> None:
            otp.exit(b, otp.Shutdown("from a"))

        await otp.call(a, Do(act))

        [signal] = await seen(b)
        assert (signal.ref, signal.reason) == (a, otp.Shutdown("from a"))


async def test_a_process_may_end_another_and_live(autojump_clock: MockClock) -> None:
    async with pair() as root:
        a, b = await child(root, "a"), await child(root, "b")
        error = Boom("from a")

        async def act(server: Worker) -> None:
            otp.exit(b, otp.Crash(error))

        await otp.call(a, Do(act))

        reason = await otp.wait_down(b)
        assert isinstance(reason, otp.Crash)
        assert reason.exc is error
        assert a.alive


async def test_messages_and_a_signal_of_one_process_stay_in_order(autojump_clock: MockClock) -> None:
    async with pair(Trapping) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def act(server: Worker) -> None:
            otp.send(b, 1)
            otp.exit(b, otp.Shutdown("x"))
            otp.send(b, 2)

        await otp.call(a, Do(act))

        one, signal, two = await seen(b)
        assert (one, two) == (1, 2)
        assert isinstance(signal, otp.Exit)


# only inside a process


@pytest.mark.parametrize("word", ["monitor", "link", "unlink"])
async def test_outside_a_process_links_and_monitors_are_a_wrong_use(autojump_clock: MockClock, word: str) -> None:
    async with alone() as ref:
        with pytest.raises(RuntimeError) as caught:
            getattr(otp, word)(ref)

        assert word != "monitor" or "wait_down" in str(caught.value)
        assert await otp.call(ref, Echo(1)) == 1
