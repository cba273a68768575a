"""How a process is stopped: asked, given its time, then killed, and reported for as long as it stays."""

from __future__ import annotations

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
    if policy == "brutal_kill":
        process.stopping = policy
    else:
        assert not isinstance(policy, str)
        process.shut_down(reason, policy)
        if await process.join(policy):
            return
    process.kill()
    await wait_killed(process)


async def wait_killed(process: Process) -> None:
    """Block until a killed process is gone; it cannot be forced, so say every few seconds where it is."""
    while not await process.join(REPORT_EVERY):
        for culprit in culprits(process):
            event = Unkillable(culprit.ref, stack_of(culprit))
            log_unkillable(event)
            culprit.system.emit(culprit, event)


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
