"""What a run has to come to besides text: the arguments of `until_tool`, or a value of `output`'s type. Pure.

How each kind of answer is taken, by `Goal.of_batch` and `Goal.of_answer`:

    the tool is called, the arguments fit       the value, from the first such call; the run is done
    … twice in one answer                       the whole batch runs; the first call that succeeded counts
    … with broken JSON, or what does not fit    the call's result lists every problem; the run goes on
    … in an answer cut at its token limit       a cut call is not run, and the model is told; the run goes on
    text instead of the call                    one reminder a turn; the run goes on
    text held to the schema by the vendor       the value; what does not fit goes back with every problem
    the model stopped for good: refusal, token  `OutputMissing`, whatever it said: it may be cut or filtered
    limit, content filter, context window, …
    none of it before `limits.max_turns`        status `max_turns`
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from alloy.llm.completion import Fold
from alloy.llm.content import JSON, Outcome
from alloy.llm.message import MALFORMED_CALL, AssistantMessage, StopInfo, StopReason, UserMessage
from alloy.loop.errors import OutputMissing
from alloy.loop.form import Form
from alloy.loop.partial import partial_json
from alloy.tools import Batch, Tool, ValidationError, tool_of_type
from alloy.tools.results import json_text
from alloy.tools.schema import read
from alloy.tools.shapes import Whole

OUTPUT_TOOL = "final_answer"
_DESCRIPTION = "Give the final answer. This ends the task."

# Ends after which the model has nothing to add, or what it said may lack its end.
_FOR_GOOD = frozenset(
    {
        StopReason.MAX_TOKENS,
        StopReason.REFUSAL,
        StopReason.CONTENT_FILTER,
        StopReason.CONTEXT_WINDOW,
        StopReason.OTHER,
    }
)


@attrs.frozen
class Given:
    """The output. In an object of its own, because None may be one."""

    value: Any


@attrs.frozen(kw_only=True)
class Goal:
    """What a run is to come to.

    Attributes:
        name: of the tool whose call gives it.
        tool: that tool, where it was made from a type; None for `until_tool`, which is one of the agent's own.
    """

    name: str
    tool: Tool | None = None

    def of_batch(self, batch: Batch) -> Given | None:
        """The output, by the first call of the tool that succeeded; None if none did."""
        for job, result in zip(batch.jobs, batch.results(), strict=True):
            if job.call.name == self.name and result.outcome is Outcome.OK and job.tool is not None:
                arguments = job.tool.parse(job.call.arguments)
                return Given(json.loads(json_text(arguments)) if self.tool is None else arguments["value"])
        return None

    def of_answer(self, message: AssistantMessage, *, as_text: bool) -> Given | UserMessage | OutputMissing:
        """The output; or what to tell a model that has given none; or the error, if it has stopped for good.

        Args:
            message: an answer without calls.
            as_text: the vendor was asked to hold the text to the schema.
        """
        if message.stop.reason in _FOR_GOOD:
            return self._missing(message.stop)
        if not as_text or self.tool is None:
            return _told(f"Call the tool {self.name!r} to finish; text alone does not end this task.")
        try:
            return Given(read(self.tool.arguments, json.loads(message.text))["value"])
        except ValidationError as error:
            return _told(f"The answer does not fit: {error}. Answer again, whole.")
        except (ValueError, RecursionError) as error:
            return _told(f"The answer is no JSON: {error}. Answer again, whole, with JSON alone.")

    def of_partial(self, fold: Fold) -> JSON:
        """The output in the making, as plain JSON values that nobody has checked; None while there is none."""
        value = partial_json(fold.so_far(self.name) or (fold.so_far() if self.tool is not None else ""))
        is_whole = self.tool is None or isinstance(self.tool.arguments, Whole)
        return value if is_whole or not isinstance(value, dict) else value.get("value")

    def _missing(self, stop: StopInfo) -> OutputMissing:
        word = f" ({stop.raw})" if stop.raw and stop.raw != stop.reason else ""
        asked = "gave its output" if self.tool is not None else f"called {self.name!r}"
        return OutputMissing(f"the model stopped with {stop.reason!s}{word} before it {asked}", stop=stop)


def call_again(stop: StopInfo) -> UserMessage:
    """What the model is told when the vendor could not read the call that it made."""
    said = f" ({said})" if (said := str(stop.detail.get(MALFORMED_CALL) or "")) else ""
    return _told(f"Your tool call could not be read{said}. Make it again, as one call with valid arguments.")


def goal_of(output: Any, until_tool: str | None) -> Goal | None:
    """What an agent with these fields is to come to; None for text alone.

    Raises:
        TypeError: both are given, or `output` is a type that JSON cannot hold.
    """
    if output is None:
        return None if until_tool is None else Goal(name=until_tool)
    if until_tool is not None:
        raise TypeError(f"output and until_tool exclude each other: got {output!r} and {until_tool!r}")
    return Goal(name=OUTPUT_TOOL, tool=output_tool(output.type if isinstance(output, Form) else output))


def output_tool(tp: Any) -> Tool:
    """Make the tool by which a model gives a value of a type.

    Raises:
        TypeError: JSON cannot hold the type.
    """
    try:
        made = tool_of_type(tp, name=OUTPUT_TOOL, description=_DESCRIPTION, function=_accept)
    except TypeError as error:
        raise TypeError(
            f"output: {error}; give an attrs class, a dataclass, a TypedDict, or an alloy.Form of another type"
        ) from error
    return attrs.evolve(made, replay="safe")  # it does nothing that could be done twice


async def _accept(value: Any) -> str:
    return "the answer is accepted"


def _told(text: str) -> UserMessage:
    return UserMessage(text, source="engine")
