"""Whether a history can be sent: asked of every dialect, by the rules of its vendor."""

from __future__ import annotations

from collections.abc import Sequence

import alloy
from alloy.llm.content import Origin
from alloy.llm.history import replay
from alloy.providers.anthropic import AnthropicMessages
from alloy.providers.dialect import Dialect, Target
from alloy.providers.gemini import Gemini
from alloy.providers.ollama import OllamaChat
from alloy.providers.openai_chat import ChatCompletions
from alloy.providers.openai_responses import Responses
from alloy.testing.wire_rules import WIRE_RULES

DIALECTS: tuple[Dialect, ...] = (AnthropicMessages(), ChatCompletions(), Responses(), Gemini(), OllamaChat())


def assert_sendable(messages: Sequence[alloy.Message]) -> None:
    """Every dialect writes a request of this history, and a prompt behind it, that its vendor accepts.

    Raises:
        AssertionError: a vendor would refuse it; names the dialect and the faults.
    """
    history = (*messages, alloy.UserMessage("and now?"))
    for dialect in DIALECTS:
        origin = Origin(dialect.name, "vendor", "https://x", "m")
        request = alloy.Request(model="m", messages=replay(history, origin))
        body = dialect.encode(request, Target(origin=origin)).json()
        faults = WIRE_RULES[dialect.name](body)
        assert not faults, f"{dialect.name}: {faults}"
