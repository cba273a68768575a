"""Processes in the sense of OTP, on Trio: servers, supervisors, links, registries, tasks.

Write `from alloy import otp`, then `otp.Server`, `otp.call` and so on.
"""

from __future__ import annotations

from alloy.otp.address import Address, Ref
from alloy.otp.administration import (
    count_children,
    delete_child,
    get_child_spec,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from alloy.otp.child import ChildInfo, ChildSpec, Counts
from alloy.otp.context import carried, self_
from alloy.otp.deadlines import Timer
from alloy.otp.draining import drain
from alloy.otp.dynamic import DynamicSupervisor
from alloy.otp.errors import (
    AlreadyRegistered,
    CallTimeout,
    ChildError,
    Deadlock,
    MailboxFull,
    OtpError,
    RestartIntensityExceeded,
    ServerExited,
    StartFailed,
    SystemDown,
)
from alloy.otp.events import (
    ChildExited,
    ChildStarted,
    GaveUp,
    PoisonDropped,
    Restarting,
    ShutdownError,
    SystemEvent,
    Unkillable,
    watch_events,
)
from alloy.otp.feed import Lagged
from alloy.otp.introspect import get_state, peek, replace_state, resume, stack, suspend, trace, tree
from alloy.otp.links import Down, Monitor, demonitor, link, monitor, unlink
from alloy.otp.mailbox import NO_REPLY, NoReply, ReplyTo
from alloy.otp.messages import call, cast, exit, send, send_after, stop, wait_down  # noqa: A004  # OTP's word for it
from alloy.otp.partition import PartitionSupervisor
from alloy.otp.policy import Backoff, Restart, ShutdownPolicy, Strategy
from alloy.otp.pubsub import PubSub
from alloy.otp.reasons import Crash, ExitReason, Ignore, Killed, NoProcess, Normal, Shutdown, Stop, is_abnormal
from alloy.otp.registry import Joined, Left, Registry, RegistryMonitor, Via
from alloy.otp.server import Idle, Request, Server
from alloy.otp.signals import Exit
from alloy.otp.supervisor import Supervisor
from alloy.otp.system import open_system, run
from alloy.otp.task import Task, TaskSupervisor

__all__ = [
    "NO_REPLY",
    "Address",
    "AlreadyRegistered",
    "Backoff",
    "CallTimeout",
    "ChildError",
    "ChildExited",
    "ChildInfo",
    "ChildSpec",
    "ChildStarted",
    "Counts",
    "Crash",
    "Deadlock",
    "Down",
    "DynamicSupervisor",
    "Exit",
    "ExitReason",
    "GaveUp",
    "Idle",
    "Ignore",
    "Joined",
    "Killed",
    "Lagged",
    "Left",
    "MailboxFull",
    "Monitor",
    "NoProcess",
    "NoReply",
    "Normal",
    "OtpError",
    "PartitionSupervisor",
    "PoisonDropped",
    "PubSub",
    "Ref",
    "Registry",
    "RegistryMonitor",
    "ReplyTo",
    "Request",
    "Restart",
    "RestartIntensityExceeded",
    "Restarting",
    "Server",
    "ServerExited",
    "Shutdown",
    "ShutdownError",
    "ShutdownPolicy",
    "StartFailed",
    "Stop",
    "Strategy",
    "Supervisor",
    "SystemDown",
    "SystemEvent",
    "Task",
    "TaskSupervisor",
    "Timer",
    "Unkillable",
    "Via",
    "call",
    "carried",
    "cast",
    "count_children",
    "delete_child",
    "demonitor",
    "drain",
    "exit",
    "get_child_spec",
    "get_state",
    "is_abnormal",
    "link",
    "monitor",
    "open_system",
    "peek",
    "replace_state",
    "restart_child",
    "resume",
    "run",
    "self_",
    "send",
    "send_after",
    "stack",
    "start_child",
    "stop",
    "suspend",
    "terminate_child",
    "trace",
    "tree",
    "unlink",
    "wait_down",
    "watch_events",
    "which_children",
]
