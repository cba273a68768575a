"""Turns: from a prompt to a `Result`. Knows models and tools; no server, no HTTP, no store."""

from alloy.loop.agent import Agent, AgentChanges, Limits
from alloy.loop.approval import Answer, Approve, Decision, Deny, Edit, Pending
from alloy.loop.approve_tools import ApproveTools
from alloy.loop.compaction import Compaction
from alloy.loop.delegate import as_tool, handoff_to
from alloy.loop.errors import (
    CorruptStore,
    DelegationTooDeep,
    Fenced,
    HookError,
    OutputMissing,
    RunIncomplete,
    StoreError,
    UnknownMember,
    UnknownSession,
    UnknownVersion,
)
from alloy.loop.events import (
    ApprovalDecided,
    ApprovalRequested,
    BudgetWarning,
    Compacted,
    Event,
    FellBack,
    Lagged,
    MessageAdded,
    MessageFinished,
    Notice,
    Retracted,
    Retrying,
    RunFinished,
    RunStarted,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from alloy.loop.form import Form
from alloy.loop.log import Logging
from alloy.loop.middleware import Ask, Block, Continue, Halt, Middleware
from alloy.loop.result import Result, Status, ToolCallRecord
from alloy.loop.session import Session
from alloy.loop.state import RunInfo
from alloy.loop.stream import Stream
from alloy.loop.telemetry import Telemetry
from alloy.loop.toolset import Toolset
from alloy.loop.work import ModelWork, RunWork, ToolWork, Work

__all__ = [
    "Agent",
    "AgentChanges",
    "Answer",
    "ApprovalDecided",
    "ApprovalRequested",
    "Approve",
    "ApproveTools",
    "Ask",
    "Block",
    "BudgetWarning",
    "Compacted",
    "Compaction",
    "Continue",
    "CorruptStore",
    "Decision",
    "DelegationTooDeep",
    "Deny",
    "Edit",
    "Event",
    "FellBack",
    "Fenced",
    "Form",
    "Halt",
    "HookError",
    "Lagged",
    "Limits",
    "Logging",
    "MessageAdded",
    "MessageFinished",
    "Middleware",
    "ModelWork",
    "Notice",
    "OutputMissing",
    "Pending",
    "Result",
    "Retracted",
    "Retrying",
    "RunFinished",
    "RunIncomplete",
    "RunInfo",
    "RunStarted",
    "RunWork",
    "Session",
    "Status",
    "StoreError",
    "Stream",
    "Telemetry",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolCallRecord",
    "ToolFinished",
    "ToolProgress",
    "ToolStarted",
    "ToolWork",
    "Toolset",
    "TurnFinished",
    "TurnStarted",
    "UnknownMember",
    "UnknownSession",
    "UnknownVersion",
    "Work",
    "as_tool",
    "handoff_to",
]
