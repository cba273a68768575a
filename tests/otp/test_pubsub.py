"""Publish and subscribe: who gets a broadcast, and what happens to those who are slow."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Worker, alone, child, crashes, ends, seen, settle, sleeps, system, worker


def subscribes(pubsub: otp.PubSub, topic: Any, **how: Any) -> Do:
    async def act(server: Worker) -> None:
        pubsub.subscribe(topic, **how)

    return Do(act)


async def test_a_broadcast_reaches_the_subscribers_of_its_topic(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with system(*(worker(name) for name in "abc")) as root:
        refs = [await child(root, name) for name in "abc"]
        for ref, topic in zip(refs, ("news", "news", "weather"), strict=True):
            await otp.call(ref, subscribes(pubsub, topic))

        assert pubsub.broadcast("news", "hello") == 2
        assert pubsub.broadcast("nobody's topic", "hello") == 0
        assert [await seen(ref) for ref in refs] == [["hello"], ["hello"], []]


async def test_a_broadcast_can_leave_out_its_sender(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with system(*(worker(name) for name in "ab")) as root:
        a, b = [await child(root, name) for name in "ab"]
        for ref in (a, b):
            await otp.call(ref, subscribes(pubsub, "news"))

        assert pubsub.broadcast("news", "hello", exclude=a) == 1
        assert [await seen(ref) for ref in (a, b)] == [[], ["hello"]]


async def test_who_unsubscribes_gets_no_more(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone() as ref:
        await otp.call(ref, subscribes(pubsub, "news"))

        async def act(server: Worker) -> None:
            pubsub.unsubscribe("news")

        await otp.call(ref, Do(act))

        assert pubsub.broadcast("news", "hello") == 0


async def test_the_end_of_a_subscriber_ends_its_subscriptions(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone() as ref:
        await otp.call(ref, subscribes(pubsub, "news"))
        await ends(ref, crashes())

        assert pubsub.broadcast("news", "hello") == 0


async def test_broadcasts_keep_their_order(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone() as ref:
        await otp.call(ref, subscribes(pubsub, "news"))
        for number in range(100):
            pubsub.broadcast("news", number)

        assert await seen(ref) == list(range(100))


async def test_a_slow_subscriber_never_holds_up_the_sender(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone(mailbox=2) as ref:
        await otp.call(ref, subscribes(pubsub, "news"))
        await otp.cast(ref, sleeps(10))
        await settle()

        reached = [pubsub.broadcast("news", number) for number in range(5)]
        assert reached == [1, 1, 0, 0, 0]
        assert trio.current_time() == 0


async def test_drop_new_keeps_what_came_first(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone(mailbox=2) as ref:
        await otp.call(ref, subscribes(pubsub, "news", overflow="drop_new"))
        await otp.cast(ref, sleeps(10))
        await settle()
        for number in range(5):
            pubsub.broadcast("news", number)
        await trio.sleep(11)

        assert [message for message in await seen(ref) if not isinstance(message, otp.Lagged)] == [0, 1]


async def test_drop_old_keeps_what_came_last_and_says_how_many_are_missing(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone(mailbox=2) as ref:
        await otp.call(ref, subscribes(pubsub, "news", overflow="drop_old"))
        await otp.cast(ref, sleeps(10))
        await settle()
        for number in range(5):
            pubsub.broadcast("news", number)
        await trio.sleep(11)

        assert await seen(ref) == [otp.Lagged(3), 3, 4]


async def test_drop_old_drops_nothing_but_broadcasts(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone(mailbox=2) as ref:
        await otp.call(ref, subscribes(pubsub, "news", overflow="drop_old"))
        await otp.cast(ref, sleeps(10))
        await settle()
        otp.send(ref, "a letter")
        for number in range(5):
            pubsub.broadcast("news", number)
        await trio.sleep(11)

        assert await seen(ref) == ["a letter", otp.Lagged(4), 4]


async def test_exit_ends_a_subscriber_that_is_too_slow(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with alone(mailbox=2) as ref:
        await otp.call(ref, subscribes(pubsub, "news", overflow="exit"))
        await otp.cast(ref, sleeps(10))
        await settle()
        for number in range(3):
            pubsub.broadcast("news", number)

        assert await otp.wait_down(ref) == otp.Shutdown("overflow")
        assert trio.current_time() == 0


async def test_whoever_subscribes_must_be_a_process(autojump_clock: MockClock) -> None:
    with pytest.raises(RuntimeError, match="listen"):
        otp.PubSub().subscribe("news")


# listening without a process


async def test_any_task_can_listen(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with pubsub.listen("news") as messages:
        assert pubsub.broadcast("news", 1) == 1
        assert pubsub.broadcast("news", 2) == 1
        assert pubsub.broadcast("weather", 3) == 0

        assert [await anext(messages) for _ in range(2)] == [1, 2]


async def test_a_listener_waits_for_what_is_to_come(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()

    async def publish() -> None:
        await trio.sleep(3)
        pubsub.broadcast("news", "late")

    async with pubsub.listen("news") as messages, trio.open_nursery() as nursery:
        nursery.start_soon(publish)

        assert await anext(messages) == "late"
        assert trio.current_time() == 3


async def test_a_listener_that_falls_behind_is_told_how_many_it_missed(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with pubsub.listen("news", buffer=3) as messages:
        for number in range(10):
            pubsub.broadcast("news", number)

        assert [await anext(messages) for _ in range(4)] == [otp.Lagged(7), 7, 8, 9]


async def test_a_listener_that_left_is_not_reached(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with pubsub.listen("news"):
        pass

    assert pubsub.broadcast("news", 1) == 0


async def test_two_listeners_get_each_all_of_it(autojump_clock: MockClock) -> None:
    pubsub = otp.PubSub()
    async with pubsub.listen("news") as one, pubsub.listen("news") as two:
        assert pubsub.broadcast("news", 1) == 2

        assert (await anext(one), await anext(two)) == (1, 1)
