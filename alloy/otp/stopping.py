"""How a process is stopped: asked, given its time, then killed, and reported for as long as it stays."""

from __future__ import annotations

import trio

from alloy.otp.events import Unkillable
from alloy.otp.policy import ShutdownPolicy
from alloy.otp.process import Process
from alloy.otp.reasons import ExitReason
from alloy.otp.reports import log_unkillable

REPORT_EVERY = 5.0


async def stop_process(process: Process, policy: ShutdownPolicy, reason: ExitReason) -> None:
    """Stop `process` as `policy` says, and return once its task has ended.

    Source: Erlang/OTP 25, `supervisor:shutdown/1`; read 2026-11-24.
    """
    if isinstance(policy, str):
        process.stopping = policy
    else:
        process.shut_down(reason, policy)
        if await process.join(policy):
            return
    process.kill()
    await process.join()


class StuckReport:
    """A deadline for a killed process: every few seconds that it goes on, say where it is."""

    __slots__ = ("process",)

    def __init__(self, process: Process) -> None:
        self.process: Process = process
        process.system.deadlines.add(self, trio.current_time() + REPORT_EVERY)

    @property
    def is_live(self) -> bool:
        """Whether there is still something to report."""
        return self.process.ref.alive

    def expire(self) -> None:
        """Report, and again later."""
        for culprit in culprits(self.process):
            event = Unkillable(culprit.ref, stack_of(culprit))
            log_unkillable(event)
            culprit.system.emit(culprit, event)
        StuckReport(self.process)


def culprits(process: Process) -> list[Process]:
    """The processes at or under `process` that wait for no child of theirs."""
    children = [child for child in process.living_children() if child.ref.alive]
    if not children:
        return [process]
    return [culprit for child in children for culprit in culprits(child)]


def stack_of(process: Process) -> tuple[str, ...]:
    """Where the main task of `process` is, and the tasks it opened: one line a frame, outermost first."""
    if process.task is None:
        return ()
    lines: list[str] = []
    todo = [(process.task, "")]
    while todo:
        task, indent = todo.pop()
        lines += [
            f"{indent}{frame.f_code.co_filename}:{line} in {frame.f_code.co_qualname}"
            for frame, line in task.iter_await_frames()
        ]
        if not tuple(process.living_children()):
            todo += [(child, indent + "  ") for nursery in task.child_nurseries for child in nursery.child_tasks]
    return tuple(lines)
