"""What a run comes to."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, cast

import attrs

from alloy.errors import AlloyError
from alloy.llm.content import JSON, Outcome, ToolCall, ToolResult
from alloy.llm.message import Message, StopInfo
from alloy.llm.usage import Usage
from alloy.loop.approval import Pending
from alloy.loop.errors import RunIncomplete

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    Out = TypeVar("Out", default=Any)
else:
    from typing import TypeVar

    Out = TypeVar("Out")


class Status(StrEnum):
    """How a run ended."""

    COMPLETED = "completed"
    MAX_TURNS = "max_turns"
    BUDGET = "budget"
    DEADLINE = "deadline"
    HALTED = "halted"
    CANCELLED = "cancelled"
    PAUSED = "paused"
    ERROR = "error"


@attrs.frozen(kw_only=True)
class ToolCallRecord:
    """What is known of one tool call of a run.

    Attributes:
        arguments: those that the tool got.
        edited_from: what the model had asked for, where a middleware edited them; else None.
        duration: seconds; 0 for a call that never started.
        error: what the model was told went wrong; None if nothing did.
        details: the tool's own, for the program.
        turn: the turn whose answer asked for it, from 1.
    """

    id: str
    name: str
    arguments: Mapping[str, JSON]
    edited_from: Mapping[str, JSON] | None = None
    outcome: Outcome
    duration: float
    error: str | None = None
    details: object = None
    turn: int

    @classmethod
    def of(
        cls,
        call: ToolCall,
        result: ToolResult,
        *,
        turn: int,
        edited_from: Mapping[str, JSON] | None = None,
        duration: float = 0.0,
    ) -> ToolCallRecord:
        """What is known of a call that has this result."""
        return cls(
            id=call.id,
            name=call.name,
            arguments=call.arguments,
            edited_from=edited_from,
            outcome=result.outcome,
            duration=duration,
            error=result.text if result.is_error else None,
            details=result.details,
            turn=turn,
        )


@attrs.frozen(kw_only=True)
class Result(Generic[Out]):
    """What a run came to. `str(result)` is its text.

    Attributes:
        text: the last text that the model said in this run; empty if none.
        output: a value of the agent's `output` type; for `until_tool`, that tool's arguments as a dict; None if
            there is none.
        has_output: there is one, which may be None.
        messages: the whole history, what was there before included; always sendable again.
        new_messages: those of this run, the prompt first.
        usage: of this run.
        turns: how many answers the model gave in this run.
        stop: why the model stopped, of its last answer; None if it gave none.
        reason: of a halt; empty otherwise.
        pending: what has to be decided before a paused run can go on.
        error: for status `error`, what ended the run.
        model: who answered last, `"vendor:model"`.
        agent: the name of the agent that ended the run.
        request_id: of an agent server's request; None for other runs.
        duration: seconds.
    """

    status: Status
    text: str = ""
    output: Out | None = None
    has_output: bool = False
    messages: tuple[Message, ...] = attrs.field(default=(), repr=False)
    new_messages: tuple[Message, ...] = attrs.field(default=(), repr=False)
    usage: Usage = Usage()
    turns: int = 0
    stop: StopInfo | None = None
    reason: str = ""
    tool_calls: tuple[ToolCallRecord, ...] = ()
    pending: tuple[Pending, ...] = ()
    error: AlloyError | None = None
    model: str = ""
    agent: str = ""
    run_id: str = ""
    session_id: str = ""
    request_id: str | None = None
    duration: float = 0.0

    def __str__(self) -> str:
        return self.text

    def unwrap(self) -> Out | str:
        """The output, or the text where no output was asked for.

        Raises:
            AlloyError: the run's own error, for status `error`.
            RunIncomplete: any other status but `completed`.
        """
        if self.error is not None:
            raise self.error
        if self.status is not Status.COMPLETED:
            why = f": {self.reason}" if self.reason else ""
            raise RunIncomplete(f"the run ended as {self.status!s}{why}", status=self.status, result=self)
        return cast("Out", self.output) if self.has_output else self.text
