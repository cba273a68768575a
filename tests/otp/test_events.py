"""The events of a tree, for those who watch it, and the records of the standard library's logging."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    child,
    crashes,
    ends,
    fails,
    notes,
    quits,
    settle,
    shielded,
    system,
    under,
    worker,
)


async def drawn(events: Any) -> list[Any]:
    """All events so far."""
    await settle()
    got: list[Any] = []
    with trio.move_on_after(0.001):
        async for event in events:
            got.append(event)
    return got


def records(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.name == "alloy.otp" and record.levelno >= logging.ERROR]


def reported(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [record.otp for record in records(caplog)]  # type: ignore[attr-defined]  # the extra of our records


async def test_a_crash_and_its_restart_are_three_events(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root, otp.watch_events(root) as events:
        first = await child(root, "a")
        reason = await ends(first, crashes())
        second = await child(root, "a")

        exited, restarting, started = await drawn(events)
        assert exited == otp.ChildExited("a", first, reason)
        assert restarting == otp.Restarting("a", 0)
        assert started == otp.ChildStarted("a", second)


async def test_starts_and_stops_by_hand_are_events(autojump_clock: MockClock) -> None:
    async with system() as root, otp.watch_events(root) as events:
        ref = await otp.start_child(root, worker("a"))
        assert ref is not None
        await otp.terminate_child(root, "a")

        assert await drawn(events) == [otp.ChildStarted("a", ref), otp.ChildExited("a", ref, otp.Shutdown())]


async def test_a_watcher_sees_the_whole_subtree(autojump_clock: MockClock) -> None:
    async with system(under("sub", under("deeper", worker("a"))), worker("b")) as root:
        deeper = await child(await child(root, "sub"), "deeper")
        async with otp.watch_events(root) as events:
            first = await child(deeper, "a")
            await ends(first, crashes())

            assert [type(event) for event in await drawn(events)] == [
                otp.ChildExited,
                otp.Restarting,
                otp.ChildStarted,
            ]


async def test_a_watcher_of_a_subtree_sees_nothing_else(autojump_clock: MockClock) -> None:
    async with (
        system(under("sub", worker("a")), worker("b")) as root,
        otp.watch_events(await child(root, "sub")) as events,
    ):
        await ends(await child(root, "b"), crashes())

        assert await drawn(events) == []


async def test_giving_up_is_an_event_that_names_the_child(autojump_clock: MockClock) -> None:
    spec = under("sub", worker("a"), max_restarts=0, spec={"restart": "temporary"})
    async with system(spec) as root, otp.watch_events(root) as events:
        sub = await child(root, "sub")
        await ends(await child(sub, "a"), crashes())
        await otp.wait_down(sub)

        [gave_up] = [event for event in await drawn(events) if isinstance(event, otp.GaveUp)]
        assert gave_up == otp.GaveUp(sub, "a")


async def test_a_watcher_that_falls_behind_is_told_how_many_it_missed(autojump_clock: MockClock) -> None:
    async with system() as root, otp.watch_events(root, buffer=4) as events:
        for number in range(10):
            await otp.start_child(root, worker(str(number)))

        lagged, *rest = await drawn(events)
        assert lagged == otp.Lagged(6)
        assert [event.id for event in rest] == ["6", "7", "8", "9"]


async def test_many_may_watch(autojump_clock: MockClock) -> None:
    async with system() as root, otp.watch_events(root) as one, otp.watch_events(root) as two:
        await otp.start_child(root, worker("a"))

        assert await drawn(one) == await drawn(two) != []


async def test_to_watch_the_dead_raises(autojump_clock: MockClock) -> None:
    async with system(under("sub", spec={"restart": "temporary"})) as root:
        sub = await child(root, "sub")
        await otp.stop(sub)

        with pytest.raises(otp.ServerExited):
            async with otp.watch_events(sub):
                raise AssertionError("opened")


# the log


async def test_a_crash_is_one_error_record_with_its_event(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with system(worker("a")) as root:
        a = await child(root, "a")
        reason = await ends(a, crashes())

        assert reported(caplog) == [otp.ChildExited("a", a, reason)]
        text = logging.Formatter().format(records(caplog)[0])
        assert "boom" in text
        assert "Traceback" in text


async def test_the_record_of_a_crash_shows_the_last_message(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Message:
        def __repr__(self) -> str:
            return "<the last message>"

        async def __call__(self, server: Any) -> None:
            raise Boom("boom")

    async with system(worker("a")) as root:
        await ends(await child(root, "a"), Message())

        assert "<the last message>" in records(caplog)[0].getMessage()


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize(
    ("end", "is_reported"),
    [(quits(), False), (quits(otp.Shutdown("x")), False), (quits(otp.Killed()), True), (crashes(), True)],
    ids=["normal", "shutdown", "killed", "crash"],
)
async def test_only_an_abnormal_end_is_reported(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture, restart: Any, end: Any, is_reported: bool
) -> None:
    async with system(worker("a", restart=restart)) as root:
        await ends(await child(root, "a"), end)

        assert len(records(caplog)) == is_reported


async def test_giving_up_is_one_error_record(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    spec = under("sub", worker("a"), max_restarts=0, spec={"restart": "temporary"})
    async with system(spec) as root:
        sub = await child(root, "sub")
        await ends(await child(sub, "a"), crashes())
        await otp.wait_down(sub)

        assert [type(event) for event in reported(caplog)] == [otp.ChildExited, otp.GaveUp]


async def test_a_failed_restart_is_one_error_record(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with system(worker("a", init=fails(2))) as root:
        await ends(await child(root, "a"), crashes())

        assert len(records(caplog)) == 2
        assert "start 2" in logging.Formatter().format(records(caplog)[1])


async def test_an_ordered_stop_is_not_reported(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with system(worker("a"), under("sub", worker("b", terminate=notes("fine")))):
        pass

    assert records(caplog) == []


async def test_a_failed_start_by_hand_is_the_matter_of_its_caller(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with system() as root:
        with pytest.raises(otp.StartFailed):
            await otp.start_child(root, worker("a", init=crashes()))

        assert [event for event in reported(caplog) if isinstance(event, otp.ChildExited)] == []


async def test_what_poisons_a_server_is_reported(autojump_clock: MockClock, caplog: pytest.LogCaptureFixture) -> None:
    async with system(worker("a", keep_mailbox=True, poison_limit=1)) as root:
        await otp.cast(await child(root, "a"), crashes())
        await trio.sleep(1)

        assert [event for event in reported(caplog) if isinstance(event, otp.ChildExited)]
        assert [record for record in caplog.records if isinstance(getattr(record, "otp", None), otp.PoisonDropped)]


async def test_the_events_of_a_tree_end_with_it(autojump_clock: MockClock) -> None:
    kinds: list[type] = []
    async with system(under("sub", worker("a"), spec={"restart": "temporary"})) as root:
        sub = await child(root, "sub")
        async with otp.watch_events(sub) as events, trio.open_nursery() as nursery:
            nursery.start_soon(otp.terminate_child, root, "sub")
            async for event in events:
                kinds.append(type(event))

    assert kinds == [otp.ChildExited, otp.ChildExited]


async def test_an_unkillable_child_is_an_error_record(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with system(worker("a", shutdown=0)) as root:
        await otp.cast(await child(root, "a"), shielded)
        await settle()
        await otp.terminate_child(root, "a")

        assert [type(event) for event in reported(caplog)] == [otp.Unkillable, otp.Unkillable, otp.ShutdownError]
