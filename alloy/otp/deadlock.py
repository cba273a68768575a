"""The wait-for graph: who can never be answered is told so at once.

Each process has at most the edges of its main task: a call, a cast to a full mailbox, a supervisor that
waits for a child. All of it runs in one thread, so the graph is exact; a ring is found by whoever would
close it. A call whose handler answered NO_REPLY is no edge any more: who will reply is not known.
"""

from __future__ import annotations

from alloy.otp.errors import Deadlock
from alloy.otp.mailbox import Mailbox
from alloy.otp.process import Process


def check_wait(caller: Process, target: Process) -> None:
    """Refuse to let the main task of `caller` wait for `target` if that waits for `caller`.

    Raises:
        Deadlock: it does; the path leads from the caller back to it.
    """
    came_from: dict[Process, Process] = {}
    todo = [target]
    while todo:
        hop = todo.pop()
        if hop is caller:
            ring = [caller]
            while ring[-1] is not target:
                ring.append(came_from[ring[-1]])
            raise Deadlock((caller.ref.label, *(process.ref.label for process in reversed(ring))))
        for mailbox in _waits(hop):
            if mailbox.owner not in came_from and mailbox.owner is not target:
                came_from[mailbox.owner] = hop
                todo.append(mailbox.owner)


def _waits(process: Process) -> tuple[Mailbox, ...]:
    waiting_on = process.waiting_on
    if waiting_on is None:
        return ()
    return waiting_on if isinstance(waiting_on, tuple) else (waiting_on,)
