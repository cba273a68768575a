"""A call: its reply, its timeout, the death of its target, and what is left of one that was given up."""

from __future__ import annotations

import math
from typing import Any

import attrs
import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Echo,
    Worker,
    alone,
    child,
    crashes,
    ends,
    notes,
    quits,
    raises,
    settle,
    sleeps,
    system,
    worker,
)


@attrs.frozen
class Length(otp.Request[int]):
    text: str


class Ruler(otp.Server):
    async def handle_call(self, request: Length, reply_to: otp.ReplyTo[Any]) -> int:
        return len(request.text)


async def test_a_request_decides_the_type_of_its_reply(autojump_clock: MockClock) -> None:
    async with system(otp.ChildSpec(start=Ruler)) as root:
        length: int = await otp.call(await child(root, "Ruler"), Length("four"))

        assert length == 4


async def test_a_call_waits_five_seconds_where_nothing_else_is_said(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with pytest.raises(otp.CallTimeout) as caught:
            await otp.call(ref, Do(sleeps(10)))

        assert trio.current_time() == 5
        assert isinstance(caught.value, trio.TooSlowError)


async def test_a_timeout_leaves_the_server_alone_and_its_late_reply_is_dropped(autojump_clock: MockClock) -> None:
    async def late(server: Worker) -> str:
        await trio.sleep(3)
        return "late"

    async with alone() as ref:
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Do(late), timeout=1)

        assert await otp.call(ref, Echo("mine")) == "mine"
        assert trio.current_time() == 3


async def test_a_reply_to_a_caller_that_is_gone_returns_false(autojump_clock: MockClock) -> None:
    outcome: list[bool] = []

    async def late(server: Worker) -> Any:
        await trio.sleep(3)
        assert server.reply_to is not None
        outcome.append(server.reply_to.reply("late"))
        return otp.NO_REPLY

    async with alone() as ref:
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Do(late), timeout=1)
        await trio.sleep(5)

        assert outcome == [False]
        assert ref.alive


@pytest.mark.parametrize("limit", [None, math.inf])
async def test_a_call_without_a_limit_waits(autojump_clock: MockClock, limit: float | None) -> None:
    async with alone() as ref:
        await otp.call(ref, Do(sleeps(1000)), timeout=limit)

        assert trio.current_time() == 1000


@pytest.mark.parametrize(("limit", "error"), [(-1, ValueError), (-0.001, ValueError), ("5", TypeError)])
async def test_a_wrong_timeout_is_refused_before_anything_is_sent(
    autojump_clock: MockClock, limit: Any, error: type[Exception]
) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        with pytest.raises(error, match=repr(limit)):
            await otp.call(a, Do(notes("served")), timeout=limit)
        await settle()

        assert log == ["start a"]


async def test_the_timeout_covers_the_wait_for_room_in_the_mailbox(autojump_clock: MockClock) -> None:
    async with alone(mailbox=1) as ref:
        await otp.cast(ref, sleeps(100))
        await settle()
        await otp.cast(ref, "fills the box")
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Echo(1), timeout=2)

        assert trio.current_time() == 2


async def test_a_call_to_the_dead_raises_at_once(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, crashes())
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Echo(1))

        assert caught.value.reason == otp.NoProcess()
        assert caught.value.ref == ref
        assert trio.current_time() == 0


async def test_a_call_to_a_name_that_nobody_has_raises_at_once(autojump_clock: MockClock) -> None:
    with pytest.raises(otp.ServerExited) as caught:
        await otp.call(otp.Registry().via("nobody"), Echo(1))

    assert caught.value.reason == otp.NoProcess()


async def test_a_crash_in_the_handler_fails_the_call_with_its_error_as_cause(autojump_clock: MockClock) -> None:
    error = Boom("boom")
    async with alone() as ref:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Do(raises(error)))

        assert isinstance(caught.value.reason, otp.Crash)
        assert caught.value.reason.exc is error
        assert caught.value.__cause__ is error
        assert caught.value.ref == ref


@pytest.mark.parametrize(
    ("end", "reason"), [(otp.Killed(), otp.Killed()), (otp.Shutdown("x"), otp.Shutdown("x"))], ids=["kill", "shutdown"]
)
async def test_the_end_of_the_server_releases_every_caller(
    autojump_clock: MockClock, end: otp.ExitReason, reason: otp.ExitReason
) -> None:
    reasons: list[otp.ExitReason] = []

    async def ask(ref: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Do(sleeps(100)), timeout=None)
        reasons.append(caught.value.reason)

    async with alone() as ref, trio.open_nursery() as nursery:
        for _ in range(5):  # one in flight, four that wait
            nursery.start_soon(ask, ref)
        await settle()
        otp.exit(ref, end)

    assert reasons == [reason] * 5
    assert trio.current_time() == 0


async def test_a_deferred_reply_fails_too_when_the_server_ends(autojump_clock: MockClock) -> None:
    reasons: list[otp.ExitReason] = []

    async def defer(server: Worker) -> Any:
        return otp.NO_REPLY

    async def ask(ref: otp.Ref) -> None:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Do(defer), timeout=None)
        reasons.append(caught.value.reason)

    async with alone() as ref, trio.open_nursery() as nursery:
        nursery.start_soon(ask, ref)
        await settle()
        await otp.cast(ref, quits(otp.Shutdown("x")))

    assert reasons == [otp.Shutdown("x")]


@pytest.mark.parametrize("how", ["its timeout", "the caller's scope"])
async def test_a_request_that_was_given_up_while_it_waited_is_skipped(autojump_clock: MockClock, how: str) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, sleeps(10))
        if how == "its timeout":
            with pytest.raises(otp.CallTimeout):
                await otp.call(a, Do(notes("executed")), timeout=1)
        else:
            with trio.move_on_after(1):
                await otp.call(a, Do(notes("executed")), timeout=None)
        await otp.call(a, Echo(1), timeout=None)

        assert log == ["start a"]


async def test_a_call_given_up_while_it_waits_for_room_is_never_delivered(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, mailbox=1)) as root:
        a = await child(root, "a")
        await otp.cast(a, sleeps(10))
        await settle()
        await otp.cast(a, "fills the box")
        with trio.move_on_after(1):
            await otp.call(a, Do(notes("executed")), timeout=None)
        await otp.call(a, Echo(1), timeout=None)

        assert log == ["start a"]


async def test_a_hundred_callers_get_each_its_own_reply(autojump_clock: MockClock) -> None:
    replies: dict[int, object] = {}

    async def ask(ref: otp.Ref, number: int) -> None:
        replies[number] = await otp.call(ref, Echo(number))

    async with alone() as ref, trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, ref, number)

    assert replies == {number: number for number in range(100)}


async def test_a_server_may_call_another(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        b = await child(root, "b")

        async def ask(server: Worker) -> Any:
            return await otp.call(b, Echo("through two"))

        assert await otp.call(await child(root, "a"), Do(ask)) == "through two"


async def test_the_crash_of_a_called_server_can_be_caught_by_the_calling_one(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b", restart="temporary")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def ask(server: Worker) -> str:
            try:
                await otp.call(b, Do(crashes()))
            except otp.ServerExited as error:
                return type(error.reason).__name__
            return "no error"

        assert await otp.call(a, Do(ask)) == "Crash"
        assert a.alive


# names over a restart


def named(registry: otp.Registry, **spec: Any) -> otp.ChildSpec:
    async def take_name(server: Worker) -> None:
        registry.register("name")

    return worker("a", init=take_name, **spec)


async def test_a_name_outlives_the_incarnation_and_a_ref_does_not(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with system(named(registry)) as root:
        via, first = registry.via("name"), await child(root, "a")
        await ends(first, crashes())

        assert await otp.call(via, Echo(1)) == 1
        with pytest.raises(otp.ServerExited):
            await otp.call(first, Echo(1))


async def test_between_two_incarnations_a_name_is_nobody(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    backoff = otp.Backoff(base=1, cap=1, jitter=0)
    async with system(named(registry), backoff=backoff, max_seconds=60) as root:
        await ends(await child(root, "a"), crashes())
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(registry.via("name"), Echo(1))

        assert caught.value.reason == otp.NoProcess()
        assert trio.current_time() == 0


async def test_a_call_that_waits_is_served_by_the_next_incarnation(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    backoff = otp.Backoff(base=1, cap=1, jitter=0)
    async with system(named(registry), backoff=backoff, max_seconds=60) as root:
        await ends(await child(root, "a"), crashes())

        assert await otp.call(registry.via("name"), Echo(1), wait=True) == 1
        assert trio.current_time() == 1


async def test_a_call_that_waits_does_so_within_its_timeout(autojump_clock: MockClock) -> None:
    with pytest.raises(otp.CallTimeout):
        await otp.call(otp.Registry().via("nobody"), Echo(1), wait=True, timeout=3)

    assert trio.current_time() == 3


async def test_the_wait_for_the_name_counts_against_the_timeout_of_the_call(autojump_clock: MockClock) -> None:
    registry = otp.Registry()

    async def start_late(root: otp.Ref) -> None:
        await trio.sleep(2)
        await otp.start_child(root, named(registry))

    async with system() as root, trio.open_nursery() as nursery:
        nursery.start_soon(start_late, root)
        with pytest.raises(otp.CallTimeout):
            await otp.call(registry.via("name"), Do(sleeps(10)), wait=True, timeout=3)

        assert trio.current_time() == 3


async def test_a_call_that_waits_does_not_wait_for_a_dead_ref(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, quits())
        with pytest.raises(otp.ServerExited):
            await otp.call(ref, Echo(1), wait=True)

        assert trio.current_time() == 0


async def test_many_calls_time_out_each_at_its_own_moment(autojump_clock: MockClock) -> None:
    ended: dict[int, float] = {}

    async def ask(ref: otp.Ref, seconds: int) -> None:
        with pytest.raises(otp.CallTimeout):
            await otp.call(ref, Echo(1), timeout=seconds)
        ended[seconds] = trio.current_time()

    async with alone() as ref, trio.open_nursery() as nursery:
        await otp.cast(ref, sleeps(1000))
        await settle()
        for number in range(200):
            nursery.start_soon(ask, ref, number * 37 % 200 + 1)

    assert ended == {seconds: seconds for seconds in range(1, 201)}


async def test_a_server_that_gives_up_its_own_call_goes_on(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def ask(server: Worker) -> str:
            with trio.move_on_after(1):
                await otp.call(b, Do(sleeps(10)), timeout=None)
            return "went on"

        assert await otp.call(a, Do(ask)) == "went on"
        assert trio.current_time() == 1


async def test_a_call_to_a_server_that_terminates_is_released_at_its_end(autojump_clock: MockClock) -> None:
    async with alone(terminate=sleeps(3)) as ref:
        otp.exit(ref, otp.Shutdown("x"))
        await settle()
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Echo(1))

        assert caught.value.reason == otp.Shutdown("x")
        assert trio.current_time() == 3


async def test_a_caller_that_hears_of_a_crash_never_finds_the_corpse_under_its_name(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    async with system(named(registry)) as root:
        first = await child(root, "a")
        with pytest.raises(otp.ServerExited):
            await otp.call(registry.via("name"), Do(crashes()))

        assert registry.via("name").whereis() != first
        assert await otp.call(registry.via("name"), Echo(1), wait=True) == 1


async def test_a_call_in_a_scope_that_is_already_cancelled_is_never_served(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        with trio.CancelScope() as scope:
            scope.cancel(reason="too late")
            await otp.call(a, Do(notes("served")))
        await settle()

        assert scope.cancelled_caught
        assert log == ["start a"]


@pytest.mark.parametrize("to", [None, "name", 7, Worker()], ids=["None", "a str", "an int", "a server"])
async def test_what_is_no_address_is_refused(autojump_clock: MockClock, to: Any) -> None:
    with pytest.raises(TypeError):
        await otp.call(to, Echo(1))


async def test_a_child_may_call_an_elder_sibling_in_init_and_in_terminate(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    replies: list[Any] = []

    async def ask(server: Worker) -> None:
        replies.append(await otp.call(registry.via("name"), Echo(len(replies))))

    async with system(named(registry), worker("b", init=ask, terminate=ask)):
        pass

    assert replies == [0, 1]
