"""Ctrl-C at every line of what waits: it must not fall between a task's entry in a queue and its sleep."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Any

import trio
import trio.testing

from alloy import otp
from otp.servers import Echo
from otp.test_programs import default_sigint

WAITING = {"call", "system_call", "wait_room", "join", "wait_up", "wait"}


class Server(otp.Server):
    """Answers with what it is asked."""

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
        await trio.sleep(1)
        return request.value

    async def handle_cast(self, message: object) -> None: ...


def ctrl_c_at(number: int) -> Any:
    """A trace function that presses Ctrl-C at that line of those that run of `WAITING`."""
    left = iter(range(number, -1, -1))

    def at_line(frame: FrameType, event: str, _: object) -> Any:
        if event == "line" and next(left, None) == 0:
            signal.raise_signal(signal.SIGINT)
        return at_line

    def at_call(frame: FrameType, event: str, _: object) -> Any:
        code = frame.f_code
        return at_line if code.co_name in WAITING and "alloy/otp/" in code.co_filename else None

    return at_call


async def program() -> None:
    spec = otp.ChildSpec(id="echo", start=Server, mailbox=1)
    async with otp.open_system(otp.Supervisor(children=[spec])) as root, trio.open_nursery() as nursery:
        echo = (await otp.which_children(root))[0].ref
        assert echo is not None
        for value in range(3):
            nursery.start_soon(otp.call, echo, Echo(value))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(otp.cast, echo, "no room for this")
        await otp.call(echo, Echo(3))
        await otp.get_state(echo)


def test_ctrl_c_at_any_line_of_waiting_ends_the_program_as_such() -> None:
    endings = [ending_with_ctrl_c_at(number) for number in range(400)]
    reached = endings.index(set())  # where the program has no more lines

    assert reached > 50
    assert endings[:reached] == [{KeyboardInterrupt}] * reached


def ending_with_ctrl_c_at(number: int) -> set[type[BaseException]]:
    """The kinds of the errors that the program ends with."""
    before = sys.gettrace()
    sys.settrace(ctrl_c_at(number))
    try:
        with default_sigint():
            trio.run(program, clock=trio.testing.MockClock(autojump_threshold=0))
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        return interrupts(error)
    finally:
        sys.settrace(before)
    return set()


def interrupts(error: BaseException) -> set[type[BaseException]]:
    """The kinds of the errors inside a group."""
    if isinstance(error, BaseExceptionGroup):
        return set().union(*map(interrupts, error.exceptions))
    return {type(error)}
