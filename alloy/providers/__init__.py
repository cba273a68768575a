"""Dialects and vendors. What is exported is for those who write one; everybody else has `alloy.model`."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alloy.providers.anthropic import AnthropicMessages
    from alloy.providers.classify import error_for_answer, error_within
    from alloy.providers.client import VendorModel
    from alloy.providers.dialect import Decoder, Dialect, FrameDecoder, Profile, Target, WireRequest, dumps, loads
    from alloy.providers.encoding import body_of, left_out, refuse_unsupported, wire_id
    from alloy.providers.framing import Frame
    from alloy.providers.gemini import Gemini
    from alloy.providers.ollama import OllamaChat
    from alloy.providers.openai_chat import ChatCompletions
    from alloy.providers.openai_responses import Responses
    from alloy.providers.vendors import VENDORS, Vendor

__all__ = [
    "VENDORS",
    "AnthropicMessages",
    "ChatCompletions",
    "Decoder",
    "Dialect",
    "Frame",
    "FrameDecoder",
    "Gemini",
    "OllamaChat",
    "Profile",
    "Responses",
    "Target",
    "Vendor",
    "VendorModel",
    "WireRequest",
    "body_of",
    "dumps",
    "error_for_answer",
    "error_within",
    "left_out",
    "loads",
    "refuse_unsupported",
    "wire_id",
]

# Loaded at first use: whoever asks one vendor needs no word of the others, and `import alloy` of none.
_HOMES = (
    *("dialect", "framing", "classify", "encoding", "client", "vendors"),
    *("anthropic", "openai_chat", "openai_responses", "gemini", "ollama"),
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            value = getattr(import_module(f"alloy.providers.{home}"), name, None)
            if value is not None:
                globals()[name] = value
                return value
    raise AttributeError(f"module 'alloy.providers' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
