"""Exit reasons: what each end is worth, what is kept of it, and what follows it in which order."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from alloy import otp
from otp.servers import (
    Boom,
    Do,
    Trapping,
    Worker,
    alone,
    child,
    crashes,
    downfall,
    ends,
    quits,
    raises,
    seen,
    settle,
    sleeps,
    system,
    under,
    worker,
)


@pytest.mark.parametrize("reason", [otp.Normal(), otp.Shutdown(), otp.Shutdown("tired"), otp.Killed()])
async def test_a_raised_stop_is_the_reason_it_carries(autojump_clock: MockClock, reason: otp.ExitReason) -> None:
    async with alone() as ref:
        assert await ends(ref, quits(reason)) == reason


async def test_an_error_is_a_crash_that_holds_it(autojump_clock: MockClock) -> None:
    error = Boom("boom")
    async with alone() as ref:
        reason = await ends(ref, raises(error))

        assert isinstance(reason, otp.Crash)
        assert reason.exc is error


async def test_an_error_of_a_nursery_in_a_handler_is_a_crash_and_no_sibling_notices(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(crashes(), server)
            nursery.start_soon(trio.sleep_forever)

    async with system(worker("a", restart="temporary"), worker("b")) as root:
        a, b = await child(root, "a"), await child(root, "b")
        reason = await ends(a, act)

        assert isinstance(reason, otp.Crash)
        assert b.alive


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (otp.Normal(), otp.Normal(), True),
        (otp.Shutdown(), otp.Shutdown(None), True),
        (otp.Shutdown("a"), otp.Shutdown("b"), False),
        (otp.Killed(), otp.Killed(), True),
        (otp.NoProcess(), otp.NoProcess(), True),
        (otp.Normal(), otp.Shutdown(), False),
        (otp.Crash(ValueError("x")), otp.Crash(ValueError("x")), False),
    ],
)
def test_reasons_are_values(one: otp.ExitReason, other: otp.ExitReason, equal: bool) -> None:
    assert (one == other) is equal


async def test_killed_is_the_reason_of_a_kill_and_terminate_is_not_run(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary")) as root:
        a = await child(root, "a")
        otp.exit(a, otp.Killed())

        assert await otp.wait_down(a) == otp.Killed()
        assert log == ["start a"]


async def test_an_error_raised_while_being_killed_is_the_reason(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("in the clean-up")

    async with alone() as ref:
        await otp.cast(ref, act)
        await settle()
        otp.exit(ref, otp.Killed())
        reason = await otp.wait_down(ref)

        assert isinstance(reason, otp.Crash)
        assert isinstance(reason.exc, Boom)


async def test_an_error_raised_while_being_killed_does_not_lead_to_terminate(autojump_clock: MockClock) -> None:
    log: list[str] = []

    async def act(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise Boom("in the clean-up")

    async with system(worker("a", log, terminate=sleeps(1), restart="temporary")) as root:
        a = await child(root, "a")
        await otp.cast(a, act)
        await settle()
        otp.exit(a, otp.Killed())

        assert isinstance(await otp.wait_down(a), otp.Crash)
        assert log == ["start a"]
        assert trio.current_time() == 0


async def test_an_error_in_terminate_replaces_the_reason(autojump_clock: MockClock) -> None:
    async with alone(terminate=crashes()) as ref:
        reason = await ends(ref, quits(otp.Shutdown()))

        assert isinstance(reason, otp.Crash)
        assert isinstance(reason.exc, Boom)


async def test_a_stop_raised_in_terminate_sets_the_reason(autojump_clock: MockClock) -> None:
    async with alone(terminate=quits(otp.Shutdown("after all"))) as ref:
        assert await ends(ref, crashes()) == otp.Shutdown("after all")


@pytest.mark.parametrize("end", [quits(), quits(otp.Shutdown("x")), crashes()], ids=["normal", "shutdown", "crash"])
async def test_terminate_gets_the_reason(autojump_clock: MockClock, end: Any) -> None:
    told: list[otp.ExitReason] = []

    async def note(server: Worker) -> None:
        assert server.reason is not None
        told.append(server.reason)

    async with alone(terminate=note) as ref:
        reason = await ends(ref, end)

        assert told == [reason]


async def test_terminate_is_not_run_where_init_failed(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system() as root:
        with pytest.raises(otp.StartFailed):
            await otp.start_child(root, worker("a", log, init=crashes()))

        assert log == []


async def test_a_shutdown_interrupts_the_handler_and_terminate_still_has_its_full_time(
    autojump_clock: MockClock,
) -> None:
    log: list[str] = []
    async with system(worker("a", log, terminate=sleeps(4), shutdown=5)) as root:
        a = await child(root, "a")
        await otp.cast(a, sleeps(1000))
        await trio.sleep(1)
        await otp.terminate_child(root, "a")

        assert trio.current_time() == 5
        assert log == ["start a", "stop a"]
        assert await otp.wait_down(a) == otp.Shutdown()


async def test_an_exit_signal_from_outside_a_process_ends_a_server_with_its_reason(autojump_clock: MockClock) -> None:
    log: list[str] = []
    async with system(worker("a", log, restart="temporary")) as root:
        a = await child(root, "a")
        otp.exit(a, otp.Shutdown("enough"))

        assert await otp.wait_down(a) == otp.Shutdown("enough")
        assert log == ["start a", "stop a"]


async def test_an_exit_signal_that_says_normal_has_no_effect(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        otp.exit(ref, otp.Normal())
        await settle()

        assert ref.alive


@pytest.mark.parametrize("reason", [otp.Normal(), otp.Shutdown("x"), otp.Crash(Boom())], ids=str)
async def test_an_exit_signal_is_a_message_to_a_server_that_traps(
    autojump_clock: MockClock, reason: otp.ExitReason
) -> None:
    async with alone(Trapping) as ref:
        otp.exit(ref, reason)

        [signal] = await seen(ref)
        assert isinstance(signal, otp.Exit)
        assert signal.ref is None
        assert signal.reason == reason


async def test_an_exit_signal_to_the_dead_has_no_effect(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, quits())
        otp.exit(ref, otp.Killed())
        await settle()

        assert await otp.wait_down(ref) == otp.Normal()


async def test_wait_down_of_the_dead_returns_at_once_what_it_ended_with(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        await ends(ref, quits(otp.Shutdown("x")))

        assert not ref.alive
        assert await otp.wait_down(ref) == otp.Shutdown("x")
        assert trio.current_time() == 0


async def test_wait_down_of_a_name_that_nobody_has_is_no_process(autojump_clock: MockClock) -> None:
    assert await otp.wait_down(otp.Registry().via("nobody")) == otp.NoProcess()


async def test_many_tasks_wait_for_one_end(autojump_clock: MockClock) -> None:
    reasons: list[otp.ExitReason] = []

    async def wait(ref: otp.Ref) -> None:
        reasons.append(await otp.wait_down(ref))

    async with alone() as ref, trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(wait, ref)
        await settle()
        otp.exit(ref, otp.Killed())

    assert reasons == [otp.Killed()] * 10


async def test_giving_up_a_wait_down_leaves_the_server_alone(autojump_clock: MockClock) -> None:
    async with alone() as ref:
        with trio.move_on_after(3) as scope:
            await otp.wait_down(ref)

        assert scope.cancelled_caught
        assert ref.alive


async def test_a_crash_does_not_keep_the_frames_of_its_error_alive(autojump_clock: MockClock) -> None:
    class Big:
        pass

    kept: list[weakref.ref[Big]] = []

    async def act(server: Worker) -> None:
        big = Big()
        kept.append(weakref.ref(big))
        error = Boom("boom")
        error.add_note("while it was big")
        raise error

    async with alone() as ref:
        reason = await ends(ref, act)
        gc.collect()

        assert kept[0]() is None
        assert isinstance(reason, otp.Crash)
        assert str(reason.exc) == "boom"
        assert "while it was big" in reason.exc.__notes__


async def test_whoever_hears_of_an_end_finds_the_name_free_and_the_mailbox_closed(autojump_clock: MockClock) -> None:
    registry = otp.Registry()
    found: list[Any] = []

    async def take_name(server: Worker) -> None:
        registry.register("name")

    class Watcher(Worker):
        async def handle_info(self, message: Any) -> None:
            if isinstance(message, otp.Down):
                found.append([ref for ref, _ in registry.lookup("name")])
                with pytest.raises(otp.ServerExited):
                    await otp.call(message.ref, Do(crashes()))
            else:
                await super().handle_info(message)

    async with system(worker("a", init=take_name, restart="temporary"), worker("b", kind=Watcher)) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def watch(server: Worker) -> None:
            otp.monitor(a)

        await otp.call(b, Do(watch))
        await ends(a, crashes())

        assert found == [[]]
        assert b.alive


async def test_monitors_are_told_before_links(autojump_clock: MockClock) -> None:
    async with system(worker("a", restart="temporary"), worker("b", kind=Trapping)) as root:
        a, b = await child(root, "a"), await child(root, "b")

        async def watch(server: Worker) -> None:
            otp.link(a)
            otp.monitor(a)

        await otp.call(b, Do(watch))
        await ends(a, crashes())

        assert [type(message) for message in await seen(b)] == [otp.Down, otp.Exit]


async def test_the_next_incarnation_finds_its_name_free(autojump_clock: MockClock) -> None:
    registry = otp.Registry()

    async def take_name(server: Worker) -> None:
        registry.register("name")

    async with system(worker("a", init=take_name)) as root:
        first = await child(root, "a")
        for _ in range(3):
            await ends(registry.lookup("name")[0][0], crashes())

        [(last, _)] = registry.lookup("name")
        assert last.alive
        assert last != first


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["KeyboardInterrupt", "SystemExit"])
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "in a nursery of the handler"])
def test_what_must_get_out_leaves_the_program_as_itself(error: BaseException, nested: bool) -> None:
    started: list[str] = []

    async def act(server: Worker) -> None:
        if nested:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.sleep_forever)
                nursery.start_soon(raises(error), server)
        raise error

    async def main() -> None:
        async with system(worker("a", started)) as root:
            await otp.cast(await child(root, "a"), act)
            await trio.sleep_forever()

    with pytest.raises(type(error)) as caught:
        trio.run(main, clock=MockClock(autojump_threshold=0))

    assert caught.value is error
    assert started.count("start a") == 1


async def test_a_handler_that_swallows_its_cancellation_is_still_shut_down(autojump_clock: MockClock) -> None:
    async def act(server: Worker) -> None:
        try:
            await trio.sleep_forever()
        except BaseException:
            server.log.append("swallowed")

    log: list[str] = []
    async with system(worker("a", log)) as root:
        await otp.cast(await child(root, "a"), act)
        await settle()
        await otp.terminate_child(root, "a")

        assert log == ["start a", "swallowed", "stop a"]
        assert trio.current_time() == 0


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        (otp.Normal(), "has ended"),
        (otp.Shutdown(), "was stopped"),
        (otp.Shutdown("for lunch"), "was stopped: for lunch"),
        (otp.Shutdown(Boom("no key")), "was stopped: Boom: no key"),
        (otp.Killed(), "was killed"),
        (otp.Crash(Boom("boom")), "crashed: Boom: boom"),
        (otp.NoProcess(), "is no running process"),
        (
            otp.Shutdown(cause=otp.RestartIntensityExceeded("a", 1, 5)),
            "is down: child 'a' ended again, after 1 restart within 5 s",
        ),
    ],
)
def test_an_error_says_in_words_how_its_process_ended(reason: otp.ExitReason, text: str) -> None:
    assert str(otp.ServerExited("x", reason)) == f"'x' {text}"  # type: ignore[arg-type]
    assert str(otp.SystemDown(reason)) == f"the root supervisor {text}"


@pytest.mark.parametrize("depth", [0, 2])
async def test_the_end_of_a_system_names_the_child_its_restarts_and_the_last_error(
    depth: int, autojump_clock: MockClock
) -> None:
    async def init(server: Worker) -> None:
        server.continue_(crashes())

    async def wait(root: object) -> None:
        """The tree goes down by itself."""

    spec = worker("a", init=init)
    for _ in range(depth):
        spec = under("a", spec, max_restarts=0)
    error = await downfall(wait, spec, max_restarts=2)

    assert str(error) == (
        "the root supervisor is down: child 'a' ended again, after 2 restarts within 5 s; the last error: Boom: boom"
    )
    assert isinstance(error.__cause__, Boom)
