"""What of a run is to be seen: its events as pieces, which a face shows each in its own way. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs

import alloy
from alloy.cli.text import arguments_line, count_of, folded, one_line, printable
from alloy.llm.content import Outcome
from alloy.loop.result import Result, Status
from alloy.tools.results import json_text

LONG = 2000  # characters of what an error says


@attrs.frozen
class Said:
    """More of the answer."""

    text: str


@attrs.frozen
class Thought:
    """More of the model's reasoning."""

    text: str


@attrs.frozen
class Whole:
    """The answer that was being said is over.

    Attributes:
        text: all of it, where it was the model's last word for now; empty where it calls tools, or broke off.
    """

    text: str = ""


@attrs.frozen
class Note:
    """A line beside the answers."""

    text: str


@attrs.frozen
class Problem:
    """What went wrong."""

    text: str


@attrs.frozen
class Returned:
    """What came of a tool call: a line, and the folded result."""

    head: str
    lines: tuple[str, ...]
    failed: bool


@attrs.frozen
class Asked:
    """A question to the user, and what it is about."""

    question: str
    lines: tuple[str, ...]


@attrs.frozen
class Typed:
    """What the user has said."""

    text: str


@attrs.frozen
class Shown:
    """An answer to the user that no model gave: the output of a command."""

    text: str


@attrs.frozen
class Table:
    """The same in two columns."""

    rows: tuple[tuple[str, str], ...]


@attrs.frozen
class Final:
    """The whole text of a run that is over: for where it was not shown as it came."""

    text: str


Piece: TypeAlias = Said | Thought | Whole | Note | Problem | Returned | Asked | Typed | Shown | Table | Final


def pieces(event: alloy.Event) -> Iterator[Piece]:
    """What is to be shown of an event. Of agents that work for others, only what their tools do."""
    who = f"{event.agent_path[-1]} " if len(event.agent_path) > 1 else ""
    match event:
        case alloy.ToolStarted(call=call):
            yield Note(f"{who}→ {call.name}({arguments_line(call)})")
        case alloy.ToolFinished(record=record, result=result):
            head = f"{who}← {record.name}: {record.outcome}, {record.duration:.2f} s"
            lines = folded(printable(result.text))
            yield Returned(head, lines, record.outcome is not Outcome.OK)
        case alloy.Retrying(error=error, delay=delay):
            yield Note(f"{problem_of(error)}; trying again in {delay:.1f} s")
        case alloy.FellBack(old=old, new=new, error=error):
            yield Note(f"{old}: {problem_of(error)}; {new} is asked instead")
        case alloy.Compacted(tokens_before=before, tokens_after=after):
            yield Note(
                f"{who}the history is shown to the model in short: {count_of(before)} → {count_of(after)} tokens"
            )
        case alloy.BudgetWarning(limit=limit, spent=spent, of=of):
            yield Note(f"{spent} of {of} {limit} are used")
        case alloy.Lagged(missed=missed):
            yield Note(f"({missed} events came too fast to be shown)")
        case alloy.Retracted():
            yield Whole()
            yield Note("the answer broke off; it begins anew")
        case _ if who:
            return
        case alloy.TextDelta(text=text):
            yield Said(printable(text))
        case alloy.ThinkingDelta(text=text):
            yield Thought(printable(text))
        case alloy.MessageFinished(message=message):
            yield Whole("" if message.tool_calls else printable(message.text))
        case alloy.RunFinished(result=result):
            # The output is what was asked for; what the model said besides is not, and spoils it for a pipe.
            yield Shown(json_text(result.output)) if result.has_output else Final(printable(result.text))
            yield from _ending(result)
        case _:
            return


def problem_of(error: BaseException) -> str:
    """An error in one line, with its type; wrong use and files speak for themselves."""
    match error:
        case OSError(strerror=str(what), filename=str(name)):
            return one_line(f"{what}: {name!r}", LONG)
        case ValueError() | OSError():
            return one_line(str(error), LONG)
        case _:
            return f"{type(error).__name__}: {one_line(str(error), LONG)}"


def _ending(result: Result[Any]) -> Iterator[Piece]:
    match result.status:
        case Status.COMPLETED:
            return
        case Status.ERROR if result.error is not None:
            yield Problem(problem_of(result.error))
        case Status.CANCELLED:
            yield Note("cancelled")
        case _:
            why = f": {result.reason}" if result.reason else f" after {result.turns} turns"
            yield Problem(f"the run ended as {result.status!s}{why}")
