"""What happens when a process has ended, in this order and in one step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alloy.otp.events import ChildExited, PoisonDropped
from alloy.otp.mailbox import Cast, Info
from alloy.otp.reasons import Crash, ExitReason, is_abnormal
from alloy.otp.reports import drop_frames, log_poison, report_end
from alloy.otp.signals import Exited

if TYPE_CHECKING:
    from alloy.otp.process import Process


def walk_exit_path(process: Process, reason: ExitReason, *, escapes: bool) -> None:
    """Names, mailbox, callers, monitors, links, whoever waits, the supervisor.

    Thus a restarted child finds its name free, and nobody waits for a corpse. With `escapes` an
    exception is on its way out that ends the whole program: there is nothing to report, and nobody shall
    restart anything.
    """
    ref = process.ref
    spec = process.child.spec
    if process.running and not escapes:
        report_end(process, reason)
    ref.reason, ref.process = reason, None
    for holding in process.holdings or ():
        holding.release(process)
    if process.parting is not None:
        call, value = process.parting
        call.reply(value)
    if spec.keep_mailbox:
        _keep_mailbox(process, reason)
    else:
        process.mailbox.close(ref, reason)
    for monitor in tuple(process.monitors or ()):
        monitor.fire(ref, reason)
    for monitor in tuple(process.monitoring or ()):
        monitor.withdraw()
    for peer in tuple(process.links or ()):
        peer.unlink(process)
        peer.exit_signal(reason, ref)
    for waker in process.joiners or ():
        waker.wake()
    process.joiners = None
    if process.running:
        process.system.emit(process, ChildExited(spec.id, ref, reason))
        if isinstance(reason, Crash) and not escapes:
            drop_frames(reason.exc, ref.label)
    process.system.ended(process)
    if process.starter is not None:
        process.starter.wake()
    # Whoever still knows the process, a timer say, keeps nothing of its state.
    process.server = None  # type: ignore[assignment]  # nothing looks at it any more
    process.current = None
    if process.parent is not None and not escapes:
        process.parent.mailbox.signal(Exited(process))


def _keep_mailbox(process: Process, reason: ExitReason) -> None:
    mail = process.current if isinstance(process.current, (Cast, Info)) else None
    if mail is not None and is_abnormal(reason):
        mail.crashes += 1
        if mail.crashes >= process.child.spec.poison_limit:
            event = PoisonDropped(process.ref, mail.message)
            log_poison(event, mail.crashes)
            process.system.emit(process, event)
            mail = None
    process.mailbox.keep(mail, process.ref, reason)
