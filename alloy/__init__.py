"""Agents as supervised processes on Trio: the loop of an LLM agent, and nothing hidden.

`alloy.run` is where to begin.
"""

from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alloy.api import model, run, run_sync, stream
    from alloy.errors import AlloyError
    from alloy.llm import (
        AssistantMessage,
        Audio,
        AuthError,
        BadRequest,
        CacheMark,
        Citation,
        ConnectFailed,
        ContentRejected,
        ContextTooLong,
        Document,
        Image,
        Media,
        Message,
        MissingKey,
        Model,
        NotFound,
        Opaque,
        Origin,
        Outcome,
        Overloaded,
        Prompt,
        ProtocolError,
        ProviderError,
        QuotaExhausted,
        RateLimited,
        ReadTimeout,
        Request,
        RequestTooLarge,
        Retry,
        ServerError,
        ServerTool,
        Settings,
        StaleReasoning,
        StopInfo,
        StopReason,
        StreamTruncated,
        Text,
        Thinking,
        ToolCall,
        ToolMessage,
        ToolResult,
        Unknown,
        UnsupportedFeature,
        Usage,
        UserMessage,
        Video,
        from_json,
        to_json,
    )
    from alloy.loop import (
        Agent,
        Block,
        Continue,
        Edit,
        Event,
        Halt,
        HookError,
        Limits,
        MessageAdded,
        MessageFinished,
        Middleware,
        Notice,
        OutputMissing,
        Result,
        Retracted,
        Retrying,
        RunFinished,
        RunIncomplete,
        RunInfo,
        RunStarted,
        Status,
        Stream,
        TextDelta,
        ThinkingDelta,
        ToolCallDelta,
        ToolCallRecord,
        ToolFinished,
        ToolProgress,
        ToolStarted,
        TurnFinished,
        TurnStarted,
    )
    from alloy.providers.http import HTTP
    from alloy.providers.timeouts import Timeouts
    from alloy.tools import Fatal, Tool, ToolContext, ToolError, ToolRetry, tool
    from alloy.version import __version__

__all__ = [
    "HTTP",
    "Agent",
    "AlloyError",
    "AssistantMessage",
    "Audio",
    "AuthError",
    "BadRequest",
    "Block",
    "CacheMark",
    "Citation",
    "ConnectFailed",
    "ContentRejected",
    "ContextTooLong",
    "Continue",
    "Document",
    "Edit",
    "Event",
    "Fatal",
    "Halt",
    "HookError",
    "Image",
    "Limits",
    "Media",
    "Message",
    "MessageAdded",
    "MessageFinished",
    "Middleware",
    "MissingKey",
    "Model",
    "NotFound",
    "Notice",
    "Opaque",
    "Origin",
    "Outcome",
    "OutputMissing",
    "Overloaded",
    "Prompt",
    "ProtocolError",
    "ProviderError",
    "QuotaExhausted",
    "RateLimited",
    "ReadTimeout",
    "Request",
    "RequestTooLarge",
    "Result",
    "Retracted",
    "Retry",
    "Retrying",
    "RunFinished",
    "RunIncomplete",
    "RunInfo",
    "RunStarted",
    "ServerError",
    "ServerTool",
    "Settings",
    "StaleReasoning",
    "Status",
    "StopInfo",
    "StopReason",
    "Stream",
    "StreamTruncated",
    "Text",
    "TextDelta",
    "Thinking",
    "ThinkingDelta",
    "Timeouts",
    "Tool",
    "ToolCall",
    "ToolCallDelta",
    "ToolCallRecord",
    "ToolContext",
    "ToolError",
    "ToolFinished",
    "ToolMessage",
    "ToolProgress",
    "ToolResult",
    "ToolRetry",
    "ToolStarted",
    "TurnFinished",
    "TurnStarted",
    "Unknown",
    "UnsupportedFeature",
    "Usage",
    "UserMessage",
    "Video",
    "__version__",
    "from_json",
    "model",
    "run",
    "run_sync",
    "stream",
    "to_json",
    "tool",
]


# Where the names are, looked through in this order at first use: a program that uses `alloy.otp` alone loads
# no word of models, and one on a scripted model no HTTP.
_HOMES = ("errors", "version", "llm", "tools", "loop", "api", "providers.timeouts", "providers.http")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            value = getattr(import_module(f"alloy.{home}"), name, None)
            if value is not None and not isinstance(value, ModuleType):  # `alloy.loop.stream` is not our `stream`
                globals()[name] = value
                return value
    raise AttributeError(f"module 'alloy' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
