"""Looking into running processes: some of it in turn, some of it at once, also where one is stuck.

Source: Erlang/OTP 25, sys(3); read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from alloy.otp.address import Address, resolve
from alloy.otp.messages import system_call
from alloy.otp.process import Process
from alloy.otp.server import Server
from alloy.otp.stopping import stack_of
from alloy.otp.supervision import SupervisorProcess


async def get_state(ref: Address, *, timeout: float | None = 5.0) -> Server:  # noqa: ASYNC109  # as in OTP
    """The server itself, as it is between two messages. Look, do not change it.

    Raises:
        CallTimeout: it did not get to it in time.
        ServerExited: it is dead.
    """
    state: Server = await system_call(ref, lambda process: process.server, timeout=timeout)
    return state


async def replace_state(
    ref: Address,
    fn: Callable[[Server], Server],
    *,
    timeout: float | None = 5.0,  # noqa: ASYNC109  # as in OTP
) -> Server:
    """Put `fn(server)` in the place of the server, between two messages, and return it.

    Raises:
        Exception: what `fn` raised; nothing has changed.
        TypeError: it returned no `Server`; nothing has changed.
    """

    def replace(process: Process) -> Server:
        server: object = fn(process.server)
        if not isinstance(server, Server):
            raise TypeError(f"replace_state needs a function that returns a Server, got {server!r}")
        process.server = server
        return server

    state: Server = await system_call(ref, replace, timeout=timeout)
    return state


def peek(ref: Address) -> Server:
    """The server as it is right now, even in the middle of a handler or stuck.

    Raises:
        ServerExited: it is dead.
    """
    return resolve(ref).server


def stack(ref: Address) -> tuple[str, ...]:
    """Where the process is right now, one line a frame, outermost first; also while it is stuck.

    Raises:
        ServerExited: it is dead.
    """
    return stack_of(resolve(ref))


async def suspend(ref: Address) -> None:
    """Let the process handle no mail until `resume`; twice is once.

    It still stops when its supervisor says so, and answers introspection. Mail waits, in order.
    """

    def pause(process: Process) -> None:
        process.suspended = process.attention = True

    await system_call(ref, pause, timeout=None)


async def resume(ref: Address) -> None:
    """Undo `suspend`; nothing if it is not suspended."""

    def go_on(process: Process) -> None:
        process.suspended = False
        process.attention = process.requested is not None

    await system_call(ref, go_on, timeout=None)


def trace(ref: Address, hook: Callable[[str, object], None] | None) -> None:
    """Have `hook("in", message)` called before each handler, and `hook("out", reply)` after each reply.

    None removes it. A hook that raises is logged and removed.

    Raises:
        ServerExited: the process is dead.
    """
    process = resolve(ref)
    process.hook = hook


def tree(ref: Address) -> Mapping[str, object]:
    """The process and all below it, right now, as plain data.

    Each is a dict, which JSON can hold: `label`, `ref` (the number of the Ref), `server` (name of
    the class), `status` ("starting", "running", "suspended", "stopping"), `mailbox` (messages that
    wait), `pending` (calls not answered), `busy` (a handler runs), `waiting_on` and `links` (labels),
    `monitors` (how many watch it), `restarts`; and for supervisors `children`, in start order. One that
    does not run has `label`, `status` ("restarting" or "stopped") and `restarts`.

    Raises:
        ServerExited: it is dead.
    """
    return _node(resolve(ref))


def _node(process: Process) -> dict[str, object]:
    waiting_on = process.waiting_on or ()
    node: dict[str, object] = {
        "label": process.ref.label,
        "ref": process.ref.id,
        "server": type(process.server).__name__,
        "status": _status(process),
        "mailbox": process.mailbox.size,
        "pending": len(process.mailbox.pending),
        "busy": process.current is not None,
        "waiting_on": tuple(
            mailbox.owner.ref.label for mailbox in (waiting_on if isinstance(waiting_on, tuple) else (waiting_on,))
        ),
        "links": tuple(peer.ref.label for peer in process.links or ()),
        "monitors": len(process.monitors or ()),
        "restarts": process.child.restarts,
    }
    if isinstance(process, SupervisorProcess):
        node["children"] = tuple(
            _node(child.process)
            if child.process is not None and child.process.ref.alive
            else {
                "label": str(child.spec.id),
                "status": "restarting" if child.is_restarting else "stopped",
                "restarts": child.restarts,
            }
            for child in process.children.values()
        )
    return node


def _status(process: Process) -> str:
    if process.stopping is not None or process.requested is not None:
        return "stopping"
    if not process.running:
        return "starting"
    return "suspended" if process.suspended else "running"
