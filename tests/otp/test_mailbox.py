"""The mailbox: its bound, its order, its signals, and what of it survives a crash."""

from __future__ import annotations

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
    quits,
    seen,
    settle,
    sleeps,
    system,
    worker,
)


async def busy(ref: otp.Ref, seconds: float = 100) -> None:
    """Let the server work, so that mail waits."""
    await otp.cast(ref, sleeps(seconds))
    await settle()


@pytest.mark.parametrize(("spec", "room"), [({}, 1024), ({"mailbox": 3}, 3)], ids=["default", "three"])
async def test_a_mailbox_is_bounded(autojump_clock: MockClock, spec: dict[str, Any], room: int) -> None:
    async with alone(**spec) as ref:
        await busy(ref)
        for number in range(room):
            otp.send(ref, number)
        with pytest.raises(otp.MailboxFull):
            otp.send(ref, "one too many")

        await trio.sleep(101)
        assert await seen(ref) == list(range(room))


async def test_a_cast_to_a_full_mailbox_waits_for_room(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref:
        await busy(ref, 3)
        await otp.cast(ref, "first")
        assert trio.current_time() == 0
        await otp.cast(ref, "second")

        assert trio.current_time() == 3
        assert await seen(ref) == ["first", "second"]


async def test_a_cast_that_was_given_up_while_it_waited_is_not_delivered(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref:
        await busy(ref, 10)
        await otp.cast(ref, "first")
        with trio.move_on_after(1):
            await otp.cast(ref, "given up")

        await trio.sleep(10)
        assert await seen(ref) == ["first"]


async def test_casts_that_wait_for_room_are_delivered_in_their_order(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref, trio.open_nursery() as nursery:
        await busy(ref, 3)
        await otp.cast(ref, 0)
        for number in range(1, 5):
            nursery.start_soon(otp.cast, ref, number)
            await settle()
        await trio.sleep(4)

        assert await seen(ref) == [0, 1, 2, 3, 4]


async def test_the_end_of_a_server_releases_casts_and_calls_that_wait_for_room(autojump_clock: MockClock) -> None:
    outcomes: list[str] = []

    async def cast(ref: otp.Ref) -> None:
        await otp.cast(ref, "x")
        outcomes.append("cast")

    async def call(ref: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited):
            await otp.call(ref, Echo(1), timeout=None)
        outcomes.append("call")

    async with alone(mailbox=1) as ref, trio.open_nursery() as nursery:
        await busy(ref)
        await otp.cast(ref, "fills the box")
        nursery.start_soon(cast, ref)
        nursery.start_soon(call, ref)
        await settle()
        otp.exit(ref, otp.Killed())

    assert sorted(outcomes) == ["call", "cast"]
    assert trio.current_time() == 0


@pytest.mark.parametrize("kind", [Worker, Trapping])
async def test_a_full_mailbox_does_not_hold_up_a_shutdown(autojump_clock: MockClock, kind: type[Worker]) -> None:
    async with system(worker("a", kind=kind, mailbox=1)) as root:
        a = await child(root, "a")
        await busy(a, 2)
        otp.send(a, "fills the box")
        await otp.terminate_child(root, "a")

        assert trio.current_time() == (2 if kind is Trapping else 0)
        assert await otp.wait_down(a) == otp.Shutdown()


async def test_a_full_mailbox_still_takes_the_news_of_an_end(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("b", mailbox=1)) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def watch(server: Worker) -> None:
            otp.monitor(a)
            await trio.sleep(3)

        await otp.cast(b, watch)
        await settle()
        otp.send(b, "fills the box")
        await ends(a, crashes())
        await trio.sleep(4)

        messages = await seen(b)
        assert messages[0] == "fills the box"
        assert [type(message) for message in messages[1:]] == [otp.Down]


async def test_what_a_process_sent_arrives_before_the_news_of_its_end(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def watch(server: Worker) -> None:
            otp.monitor(a)

        async def last_words(server: Worker) -> None:
            for number in range(3):
                otp.send(b, number)
            raise Boom("boom")

        await otp.call(b, Do(watch))
        await ends(a, last_words)

        messages = await seen(b)
        assert messages[:3] == [0, 1, 2]
        assert isinstance(messages[3], otp.Down)


async def test_messages_of_one_sender_stay_in_order_whatever_their_kind(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        for number in range(50):
            if number % 2:
                otp.send(ref, number)
            else:
                await otp.cast(ref, number)

        assert await seen(ref) == list(range(50))


@pytest.mark.parametrize("first", ["message", "signal"])
@pytest.mark.parametrize("reason", [otp.Shutdown(), otp.Killed()], ids=["shutdown", "kill"])
async def test_a_message_that_meets_a_cancellation_is_not_lost(
    autojump_clock: MockClock, first: str, reason: otp.ExitReason
) -> None:
    log: list[str] = []
    async with system(worker("a", log, keep_mailbox=True)) as root:
        a = await child(root, "a")
        await settle()  # the server is parked at its empty mailbox
        if first == "message":
            otp.send(a, notes("message"))
            otp.exit(a, reason)
        else:
            otp.exit(a, reason)
            otp.send(a, notes("message"))
        await trio.sleep(1)

        assert log.count("message") == 1
        assert log.count("start a") == 2


@pytest.mark.parametrize("reason", [otp.Shutdown(), otp.Killed()], ids=["shutdown", "kill"])
async def test_a_call_that_meets_a_cancellation_is_served_by_the_next_incarnation(
    autojump_clock: MockClock, reason: otp.ExitReason
) -> None:
    replies: list[Any] = []

    async def answer(server: Worker) -> str:
        await trio.lowlevel.checkpoint()
        return "served"

    async def ask(ref: otp.Ref) -> None:
        replies.append(await otp.call(ref, Do(answer)))

    async def end(ref: otp.Ref) -> None:
        otp.exit(ref, reason)

    async with system(worker("a", keep_mailbox=True), max_restarts=100) as root:
        for _ in range(20):  # the two run in the same step, in either order
            async with trio.open_nursery() as nursery:
                await settle()  # the server is parked at its empty mailbox
                a = await child(root, "a")
                nursery.start_soon(ask, a)
                nursery.start_soon(end, a)

    assert replies == ["served"] * 20


# what survives a crash


async def test_without_keep_mailbox_what_waits_is_lost_with_its_server(autojump_clock: MockClock) -> None:
    reasons: list[otp.ExitReason] = []

    async def ask(ref: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Echo(1))
        reasons.append(caught.value.reason)

    async with system(worker("a")) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        await busy(a, 1)
        await otp.cast(a, crashes())
        await otp.cast(a, "lost")
        nursery.start_soon(ask, a)
        await trio.sleep(2)

        assert await seen(await child(root, "a")) == []
        assert [type(reason) for reason in reasons] == [otp.Crash]


async def test_with_keep_mailbox_the_next_incarnation_serves_what_waits(autojump_clock: MockClock) -> None:
    outcomes: dict[str, object] = {}

    async def ask(ref: otp.Ref, name: str, request: otp.Request[Any]) -> None:
        try:
            outcomes[name] = await otp.call(ref, request)
        except otp.ServerExited as error:
            outcomes[name] = type(error.reason)

    async def break_down(server: Worker) -> None:
        await trio.sleep(1)
        raise Boom("boom")

    async with system(worker("a", keep_mailbox=True)) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        nursery.start_soon(ask, a, "in flight", Do(break_down))
        await settle()
        nursery.start_soon(ask, a, "waiting", Echo("served"))
        await settle()
        await otp.cast(a, "kept")
        await trio.sleep(2)

        assert outcomes == {"in flight": otp.Crash, "waiting": "served"}
        assert not a.alive
        assert await seen(await child(root, "a")) == ["kept"]


async def test_a_kept_mailbox_keeps_its_order(autojump_clock: MockClock) -> None:
    async with system(worker("a", keep_mailbox=True)) as root:
        a = await child(root, "a")
        await busy(a, 1)
        otp.send(a, 1)
        otp.exit(a, otp.Killed())
        otp.send(a, 2)
        await settle()
        last = await child(root, "a")
        otp.send(last, 3)

        assert await seen(last) == [1, 2, 3]


async def test_the_next_incarnation_gets_the_mail_of_the_last_and_not_its_signals(autojump_clock: MockClock) -> None:
    async with system(worker("a", keep_mailbox=True, kind=Trapping), worker("b", restart="temporary")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def watch(server: Worker) -> None:
            otp.monitor(b)
            otp.link(b)

        await otp.call(a, Do(watch))
        await busy(a, 1)
        await ends(b, crashes())  # a Down and an Exit wait now
        otp.send(a, "mail")
        otp.exit(a, otp.Killed())
        await otp.wait_down(a)
        await trio.sleep(2)

        assert await seen(await child(root, "a")) == ["mail"]


async def test_who_waits_for_room_in_a_kept_mailbox_goes_on_waiting_over_a_restart(autojump_clock: MockClock) -> None:
    replies: list[Any] = []

    async def ask(ref: otp.Ref) -> None:
        replies.append(await otp.call(ref, Echo("served"), timeout=None))

    async with system(worker("a", keep_mailbox=True, mailbox=1)) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        await busy(a, 1)
        otp.send(a, "first")
        nursery.start_soon(otp.cast, a, "second")
        await settle()
        nursery.start_soon(ask, a)
        await settle()
        otp.exit(a, otp.Killed())
        await trio.sleep(3)

        assert await seen(await child(root, "a")) == ["first", "second"]
    assert replies == ["served"]


async def test_a_message_that_crashes_the_server_twice_is_dropped_with_a_report(autojump_clock: MockClock) -> None:
    starts: list[str] = []
    poison = crashes()
    async with system(worker("a", starts, keep_mailbox=True)) as root:
        async with otp.watch_events(root) as events:
            a = await child(root, "a")
            await busy(a, 1)
            await otp.cast(a, poison)
            await otp.cast(a, "after the poison")
            await trio.sleep(2)

            dropped = await _first(events, otp.PoisonDropped)
            assert dropped.message is poison
        last = await child(root, "a")
        assert await seen(last) == ["after the poison"]
        assert starts.count("start a") == 3


async def test_the_limit_for_poison_can_be_set(autojump_clock: MockClock) -> None:
    starts: list[str] = []
    spec = worker("a", starts, keep_mailbox=True, poison_limit=1)
    async with system(spec) as root:
        a = await child(root, "a")
        await busy(a, 1)
        await otp.cast(a, crashes())
        await otp.cast(a, "after the poison")
        await trio.sleep(2)

        assert await seen(await child(root, "a")) == ["after the poison"]
        assert starts.count("start a") == 2


async def test_a_call_that_crashed_the_server_is_not_tried_again(autojump_clock: MockClock) -> None:
    tries: list[int] = []

    async def poison(server: Worker) -> None:
        tries.append(1)
        raise Boom("boom")

    async with system(worker("a", keep_mailbox=True)) as root:
        with pytest.raises(otp.ServerExited):
            await otp.call(await child(root, "a"), Do(poison))
        await settle()

        assert tries == [1]
        assert (await child(root, "a")).alive


async def test_a_kept_mailbox_fails_its_callers_when_the_child_is_stopped_for_good(autojump_clock: MockClock) -> None:
    reasons: list[otp.ExitReason] = []

    async def ask(ref: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Echo(1), timeout=None)
        reasons.append(caught.value.reason)

    async with system(worker("a", keep_mailbox=True)) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        await busy(a)
        nursery.start_soon(ask, a)
        await settle()
        await otp.terminate_child(root, "a")

    assert reasons == [otp.Shutdown()]


async def test_a_kept_mailbox_fails_its_callers_when_the_child_ends_normally(autojump_clock: MockClock) -> None:
    async with system(worker("a", keep_mailbox=True, restart="transient")) as root, trio.open_nursery() as nursery:
        a = await child(root, "a")
        await busy(a, 1)
        await otp.cast(a, quits())

        async def ask() -> None:
            with pytest.raises(otp.ServerExited):
                await otp.call(a, Echo(1), timeout=None)

        nursery.start_soon(ask)
        await trio.sleep(2)

        assert await child(root, "a") is None


async def _first(events: Any, kind: type) -> Any:
    with trio.fail_after(10):
        async for event in events:
            if isinstance(event, kind):
                return event
    raise AssertionError(f"no {kind.__name__}")
