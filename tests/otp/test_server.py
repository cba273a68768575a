"""A server: its start, its continuations, its replies and its end."""

from __future__ import annotations

import gc
import logging
import weakref
from dataclasses import dataclass
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
    Trapping,
    Worker,
    alone,
    child,
    crashes,
    ends,
    notes,
    quits,
    raises,
    seen,
    settle,
    sleeps,
    system,
    worker,
)

# the start


async def test_init_blocks_whoever_starts_the_server(autojump_clock: MockClock) -> None:
    async with system() as root:
        ref = await otp.start_child(root, worker("a", init=sleeps(3)))

        assert trio.current_time() == 3
        assert ref is not None
        assert ref.alive


async def test_mail_sent_during_init_is_served_after_it(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    log: list[str] = []

    async def init(server: Worker) -> None:
        registry.register("a")
        await trio.sleep(3)

    async with system() as root, trio.open_nursery() as nursery:
        nursery.start_soon(otp.start_child, root, worker("a", log, init=init))
        await trio.sleep(1)
        await otp.cast(registry.via("a"), notes("cast"))

        assert await otp.call(registry.via("a"), Echo(1)) == 1
        assert trio.current_time() == 3
        assert log == ["start a", "cast"]


async def test_a_server_that_ignores_is_no_child_and_no_error(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system() as root:
        ref = await otp.start_child(root, worker("a", log, init=raises(otp.Ignore())))

        assert ref is None
        assert log == []


async def test_what_init_raises_is_the_cause_of_the_failed_start(autojump_clock: MockClock) -> None:
    error = Boom("no")
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, worker("a", init=raises(error)))

        assert caught.value.id == "a"
        assert caught.value.__cause__ is error


@pytest.mark.parametrize("reason", [otp.Normal(), otp.Shutdown("no licence")], ids=str)
async def test_a_stop_in_init_is_a_failed_start(autojump_clock: MockClock, reason: otp.ExitReason) -> None:
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, worker("a", init=quits(reason)))

        assert isinstance(caught.value.__cause__, otp.Stop)
        assert caught.value.__cause__.reason == reason


async def test_a_start_that_takes_too_long_is_given_up_on_time(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system() as root:
        with pytest.raises(otp.StartFailed) as caught:
            await otp.start_child(root, worker("a", log, init=sleeps(10), start_timeout=2))

        assert trio.current_time() == 2
        assert isinstance(caught.value.__cause__, trio.TooSlowError)
        assert await otp.count_children(root) == otp.Counts(specs=0, active=0, supervisors=0, workers=0)
        assert log == []


class Plain(otp.Server):
    async def handle_call(self, request: Any, reply_to: Any) -> Any:
        return type(self).__name__


class PlainWithInit(Plain):
    def __init__(self) -> None:
        self.value = 1


@attrs.define
class Attrs(Plain):
    value: int = 1


@dataclass
class Data(Plain):
    value: int = 1


@pytest.mark.parametrize("kind", [Plain, PlainWithInit, Attrs, Data])
async def test_any_kind_of_class_can_be_a_server_without_a_call_of_super(
    autojump_clock: MockClock, kind: type[otp.Server]
) -> None:
    async with system(otp.ChildSpec(start=kind)) as root:
        assert await otp.call(await child(root, kind.__name__), Do(crashes())) == kind.__name__


async def test_a_restarted_server_has_a_fresh_state(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        otp.send(await child(root, "a"), "old")
        await ends(await child(root, "a"), crashes())
        otp.send(await child(root, "a"), "new")

        assert await seen(await child(root, "a")) == ["new"]


# continue


async def test_a_continuation_of_init_does_not_block_the_starter_and_comes_before_all_mail(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []

    async def init(server: Worker) -> None:
        server.continue_(notes("continued", after=3))

    async with system() as root:
        ref = await otp.start_child(root, worker("a", log, init=init))
        assert ref is not None
        assert trio.current_time() == 0
        await otp.cast(ref, notes("cast"))
        await otp.call(ref, Do(notes("call")))

        assert trio.current_time() == 3
        assert log == ["start a", "continued", "cast", "call"]


async def test_a_continuation_runs_before_the_mail_that_waits_and_may_ask_for_the_next(
    autojump_clock: MockClock,
) -> None:
    async def second(server: Worker) -> None:
        server.log.append("second")

    async def first(server: Worker) -> None:
        server.log.append("first")
        server.continue_(second)

    async def act(server: Worker) -> None:
        server.continue_(first)
        server.log.append("handled")

    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, sleeps(1))
        await otp.cast(a, act)
        await otp.cast(a, notes("next message"))
        await otp.call(a, Echo(None))

        assert log == ["start a", "handled", "first", "second", "next message"]


async def test_the_reply_does_not_wait_for_the_continuation(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> str:
        server.continue_(sleeps(3))
        return "reply"

    async with alone() as ref:
        assert await otp.call(ref, Do(act)) == "reply"
        assert trio.current_time() == 0


async def test_a_crash_in_a_continuation_is_a_crash_of_the_server(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        server.continue_(crashes())

    async with alone() as ref:
        assert isinstance(await ends(ref, act), otp.Crash)


# replies


async def test_what_handle_call_returns_is_the_reply(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        assert await otp.call(ref, Echo("hello")) == "hello"
        assert await otp.call(ref, Echo(None)) is None


async def test_a_reply_can_be_put_off(autojump_clock: MockClock) -> None:
    async def defer(server: Worker) -> Any:
        return otp.NO_REPLY

    async def answer(server: Worker) -> None:
        assert server.reply_to is not None
        server.seen.append(server.reply_to.reply("late"))

    async with alone() as ref:
        otp.send_after(ref, answer, 3)

        assert await otp.call(ref, Do(defer)) == "late"
        assert trio.current_time() == 3
        assert await seen(ref) == [True]


async def test_a_reply_can_come_from_another_process(autojump_clock: MockClock) -> None:
    async with system(worker("a"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def pass_on(server: Worker) -> Any:
            slot = server.reply_to

            async def answer(other: Worker) -> None:
                assert slot is not None
                slot.reply(f"from {other.name}")

            await otp.cast(b, answer)
            return otp.NO_REPLY

        assert await otp.call(a, Do(pass_on)) == "from b"


async def test_only_the_first_reply_counts(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> Any:
        assert server.reply_to is not None
        server.seen += [server.reply_to.reply(1), server.reply_to.reply(2)]
        return 3

    async with alone() as ref:
        assert await otp.call(ref, Do(act)) == 1
        assert await seen(ref) == [True, False]
        assert ref.alive


async def test_a_failure_as_reply_raises_in_the_caller_and_the_server_lives(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> Any:
        assert server.reply_to is not None
        server.reply_to.fail(Boom("your fault"))
        return otp.NO_REPLY

    async with alone() as ref:
        with pytest.raises(Boom, match="your fault"):
            await otp.call(ref, Do(act))

        assert await otp.call(ref, Echo(1)) == 1


# stop from within


async def test_a_stop_with_a_reply_terminates_first_and_replies_then(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary", terminate=sleeps(2))) as root:
        a = await child(root, "a")

        assert await otp.call(a, Do(quits(otp.Normal(), reply="bye"))) == "bye"
        assert trio.current_time() == 2
        assert log == ["start a", "stop a"]
        assert await otp.wait_down(a) == otp.Normal()


@pytest.mark.parametrize("reason", [otp.Normal(), otp.Shutdown("x")], ids=str)
async def test_a_stop_without_a_reply_fails_the_call_with_its_reason(
    autojump_clock: MockClock, reason: otp.ExitReason
) -> None:
    async with alone() as ref:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.call(ref, Do(quits(reason)))

        assert (caught.value.ref, caught.value.reason) == (ref, reason)


# stop from outside


async def test_stop_returns_when_the_server_has_terminated(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, terminate=sleeps(3), restart="temporary")) as root:
        a = await child(root, "a")
        await otp.stop(a, otp.Shutdown("done"))

        assert trio.current_time() == 3
        assert log == ["start a", "stop a"]
        assert await otp.wait_down(a) == otp.Shutdown("done")


async def test_a_stopped_permanent_child_is_restarted(autojump_clock: MockClock) -> None:
    async with system(worker("a")) as root:
        first = await child(root, "a")
        await otp.stop(first)
        await settle()

        assert await otp.wait_down(first) == otp.Normal()
        assert (await child(root, "a")).alive


async def test_stop_of_the_dead_or_missing_raises(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await otp.stop(ref)

        for gone in (ref, otp.Registry().via("nobody")):
            with pytest.raises(otp.ServerExited) as caught:
                await otp.stop(gone)
            assert caught.value.reason == otp.NoProcess()


async def test_stop_raises_where_the_server_ended_otherwise(autojump_clock: MockClock) -> None:
    async with alone(terminate=crashes()) as ref:
        with pytest.raises(otp.ServerExited) as caught:
            await otp.stop(ref)

        assert isinstance(caught.value.reason, otp.Crash)


async def test_stop_gives_up_on_time(autojump_clock: MockClock) -> None:
    async with alone(terminate=sleeps(10)) as ref:
        with pytest.raises(otp.CallTimeout):
            await otp.stop(ref, timeout=2)

        assert trio.current_time() == 2


async def test_stop_takes_effect_after_the_mail_before_it(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary", kind=Trapping)) as root:
        a = await child(root, "a")
        await otp.cast(a, notes("one", after=1))
        await otp.cast(a, notes("two", after=1))
        await otp.stop(a)

        assert log == ["start a", "one", "two", "stop a"]


# interrupt and drain


async def test_a_server_that_does_not_trap_leaves_its_mail_at_a_shutdown(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log)) as root:
        a = await child(root, "a")
        await otp.cast(a, notes("in flight", after=2))
        await otp.cast(a, notes("queued"))
        await trio.sleep(1)
        await otp.terminate_child(root, "a")

        assert log == ["start a", "stop a"]
        assert trio.current_time() == 1


async def test_a_server_that_traps_ends_its_handler_and_its_earlier_mail_at_a_shutdown(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with system(worker("a", log, kind=Trapping)) as root:
        a = await child(root, "a")
        await otp.cast(a, notes("in flight", after=2))
        await otp.cast(a, notes("queued", after=1))
        await trio.sleep(1)
        await otp.terminate_child(root, "a")

        assert log == ["start a", "in flight", "queued", "stop a"]
        assert trio.current_time() == 3
        assert await otp.wait_down(a) == otp.Shutdown()


async def test_a_server_that_traps_too_long_is_killed_without_terminate(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, kind=Trapping, shutdown=3)) as root:
        a = await child(root, "a")
        await otp.cast(a, notes("in flight", after=100))
        await otp.terminate_child(root, "a")

        assert log == ["start a"]
        assert trio.current_time() == 3
        assert await otp.wait_down(a) == otp.Killed()


# who am I


async def test_a_server_knows_its_own_ref(autojump_clock: MockClock) -> None:
    async def who(server: Worker) -> otp.Ref:
        return otp.self_()

    async with alone() as ref:
        assert await otp.call(ref, Do(who)) == ref
        assert ref.label == "worker"


async def test_self_outside_a_process_is_a_wrong_use(autojump_clock: MockClock) -> None:
    with pytest.raises(RuntimeError):
        otp.self_()


# what the log may show


class Secret(Worker):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.password = "hunter2"

    def __repr__(self) -> str:
        return f"Secret({self.password})"

    def format_status(self) -> object:
        return {"password": "redacted"}


async def test_a_crash_report_shows_the_formatted_status_and_never_the_raw_state(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with alone(Secret) as ref:
        await ends(ref, crashes())

        [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
        text = logging.Formatter().format(record)
        assert "hunter2" not in text
        assert "redacted" in text
        assert "worker" in text
        assert "boom" in text
        assert "Traceback" in text


async def test_a_report_survives_what_cannot_be_shown(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Unshowable(Worker):
        def format_status(self) -> object:
            raise RuntimeError("no status")

    class Message:
        def __repr__(self) -> str:
            raise RuntimeError("no repr")

        async def __call__(self, server: Worker) -> None:
            raise Boom("the real error")

    async with alone(Unshowable) as ref:
        reason = await ends(ref, Message())

        assert isinstance(reason, otp.Crash)
        assert str(reason.exc) == "the real error"
        [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert "the real error" in logging.Formatter().format(record)


async def test_a_ref_keeps_nothing_of_a_dead_server(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary")) as root:
        a = await child(root, "a")
        state = weakref.ref(await otp.get_state(a))
        await ends(a, crashes())
        gc.collect()

        assert state() is None
        assert not a.alive


@pytest.mark.parametrize("seconds", [-1, "1"])
async def test_times_that_make_no_sense_are_refused(autojump_clock: MockClock, seconds: Any) -> None:
    async def idle(server: Worker) -> None:
        with pytest.raises((ValueError, TypeError)):
            server.idle_after(seconds)

    async with alone() as ref:
        await otp.call(ref, Do(idle))
        with pytest.raises((ValueError, TypeError)):
            otp.send_after(ref, 1, seconds)
        with pytest.raises((ValueError, TypeError)):
            await otp.stop(ref, timeout=seconds)

        assert ref.alive
