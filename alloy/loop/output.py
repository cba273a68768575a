"""When a run has what was asked of it, and what a model is told that did not give it. Pure."""

from __future__ import annotations

import json
from typing import Any

from alloy.llm.content import Outcome
from alloy.llm.message import MALFORMED_CALL, StopInfo, UserMessage
from alloy.loop.errors import OutputMissing
from alloy.tools import Batch
from alloy.tools.results import json_text


def reminder(tool: str) -> UserMessage:
    """What the model is told when it answers in text instead of calling the tool."""
    return UserMessage(f"Call the tool {tool!r} to finish; text alone does not end this task.", source="engine")


def call_again(stop: StopInfo) -> UserMessage:
    """What the model is told when the vendor could not read the call that it made."""
    said = f" ({said})" if (said := str(stop.detail.get(MALFORMED_CALL) or "")) else ""
    return UserMessage(
        f"Your tool call could not be read{said}. Make it again, as one call with valid arguments.", source="engine"
    )


def output_of(tool: str, batch: Batch) -> dict[str, Any] | None:
    """The arguments of the first call of `tool` that succeeded, as JSON, defaults filled in; None if none did."""
    for job, result in zip(batch.jobs, batch.results(), strict=True):
        if job.call.name == tool and result.outcome is Outcome.OK and job.tool is not None:
            arguments: dict[str, Any] = json.loads(json_text(job.tool.parse(job.call.arguments)))
            return arguments
    return None


def output_missing(tool: str, stop: StopInfo) -> OutputMissing:
    """The error of a run whose model stopped for good without having called the tool."""
    word = f" ({stop.raw})" if stop.raw and stop.raw != stop.reason else ""
    return OutputMissing(f"the model stopped with {stop.reason!s}{word} before it called {tool!r}", stop=stop)
