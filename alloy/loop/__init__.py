"""Turns: from a prompt to a `Result`. Knows models and tools; no server, no HTTP, no store."""

from alloy.loop.agent import Agent, AgentChanges, Limits
from alloy.loop.delegate import as_tool, handoff_to
from alloy.loop.errors import DelegationTooDeep, HookError, OutputMissing, RunIncomplete, UnknownMember
from alloy.loop.events import (
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
from alloy.loop.middleware import Block, Continue, Edit, Halt, Middleware
from alloy.loop.result import Result, Status, ToolCallRecord
from alloy.loop.session import Session
from alloy.loop.state import RunInfo
from alloy.loop.stream import Stream
from alloy.loop.toolset import Toolset

__all__ = [
    "Agent",
    "AgentChanges",
    "Block",
    "Continue",
    "DelegationTooDeep",
    "Edit",
    "Event",
    "FellBack",
    "Form",
    "Halt",
    "HookError",
    "Lagged",
    "Limits",
    "MessageAdded",
    "MessageFinished",
    "Middleware",
    "Notice",
    "OutputMissing",
    "Result",
    "Retracted",
    "Retrying",
    "RunFinished",
    "RunIncomplete",
    "RunInfo",
    "RunStarted",
    "Session",
    "Status",
    "Stream",
    "TextDelta",
    "ThinkingDelta",
    "ToolCallDelta",
    "ToolCallRecord",
    "ToolFinished",
    "ToolProgress",
    "ToolStarted",
    "Toolset",
    "TurnFinished",
    "TurnStarted",
    "UnknownMember",
    "as_tool",
    "handoff_to",
]
