"""A log of what runs do, by the standard library's logging."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import attrs
import trio

from alloy.llm.content import Outcome, ToolCall, ToolResult
from alloy.llm.usage import Usage
from alloy.loop.middleware import Middleware
from alloy.loop.state import RunInfo
from alloy.loop.work import ModelWork, RunWork, ToolWork, Work

SHOWN = 2_000  # characters of a text in a record

# The outcomes of calls that are no `ToolWork`, for they never ran.
_NOT_RUN = (Outcome.BLOCKED, Outcome.DENIED, Outcome.INVALID, Outcome.UNKNOWN_TOOL, Outcome.NOT_STARTED)


@attrs.frozen(kw_only=True)
class Logging(Middleware):
    """Logs runs, answers and tool calls: INFO when they have ended well, WARNING or ERROR if not, DEBUG as they begin.

    Of contents it logs nothing unless told to: names, outcomes, tokens and seconds only. Each record has
    `extra={"alloy": {...}}` with run_id, session_id, agent_path, turn and more of that kind, for structured logs.
    Agents that work for this one are logged with it.

    Attributes:
        logger: the name of the logger.
        contents: log prompts, answers, arguments and results too, at DEBUG. They may hold anything.
    """

    logger: str = "alloy.runs"
    contents: bool = False

    inherited = True

    def around(self, run: RunInfo, work: Work) -> AbstractContextManager[object]:
        """Log how the work begins and ends."""
        match work:
            case RunWork():
                return self._run(run, work)
            case ModelWork():
                return self._model(run, work)
            case ToolWork():
                return self._tool(run, work)

    async def after_tool_call(self, run: RunInfo, call: ToolCall, result: ToolResult) -> None:
        """Log a call that did not run."""
        if result.outcome in _NOT_RUN:
            self._log(logging.WARNING, run, "tool %s did not run: %s", call.name, result.outcome, call_id=call.id)
            self._log_contents(run, "tool %s was answered: %s", call.name, result.text)

    @contextmanager
    def _run(self, run: RunInfo, work: RunWork) -> Iterator[None]:
        began = trio.current_time()
        self._log(logging.DEBUG, run, "run begins")
        try:
            yield
        except BaseException as error:
            self._log(logging.WARNING, run, "run broke off: %s", type(error).__name__, **_took(began))
            raise
        if (result := work.result) is None:
            return
        known = {"status": str(result.status), "turns": result.turns, **_tokens(result.usage), **_took(began)}
        if result.error is not None:
            known["error"] = type(result.error).__name__
            self._log(logging.ERROR, run, "run failed: %s: %s", known["error"], result.error, **known)
        else:
            reason = f" ({result.reason})" if result.reason else ""
            numbers = (result.turns, result.usage.total_tokens, known["seconds"])
            self._log(
                logging.INFO, run, "run %s%s: %d turns, %d tokens, %.2f s", result.status, reason, *numbers, **known
            )
        self._log_contents(run, "run said: %s", result.text)

    @contextmanager
    def _model(self, run: RunInfo, work: ModelWork) -> Iterator[None]:
        began = trio.current_time()
        self._log(logging.DEBUG, run, "asks %s", work.model, model=work.model)
        if work.request.messages:
            self._log_contents(run, "asks %s: %s", work.model, _said(work.request.messages[-1]))
        try:
            yield
        except Exception as error:
            known = {"model": work.model, "error": type(error).__name__, **_took(began)}
            self._log(logging.WARNING, run, "%s failed: %s: %s", work.model, known["error"], error, **known)
            raise
        if (answer := work.answer) is None:
            return
        usage = answer.usage or Usage()
        known = {"model": work.model, "stop": str(answer.stop.reason), **_tokens(usage), **_took(began)}
        numbers = (usage.total_tokens, known["seconds"])
        self._log(
            logging.INFO, run, "%s answered (%s): %d tokens, %.2f s", work.model, answer.stop.reason, *numbers, **known
        )
        self._log_contents(run, "%s said: %s", work.model, answer.text)

    @contextmanager
    def _tool(self, run: RunInfo, work: ToolWork) -> Iterator[None]:
        began, call = trio.current_time(), work.call
        self._log(logging.DEBUG, run, "tool %s begins", call.name, call_id=call.id, tool=call.name)
        self._log_contents(run, "tool %s gets %s", call.name, dict(call.arguments))
        yield
        if (result := work.result) is None:
            return
        known = {"call_id": call.id, "tool": call.name, "outcome": str(result.outcome), **_took(began)}
        level = logging.INFO if result.outcome is Outcome.OK else logging.WARNING
        self._log(level, run, "tool %s: %s, %.2f s", call.name, result.outcome, known["seconds"], **known)
        self._log_contents(run, "tool %s gave %s", call.name, result.text)

    def _log(self, level: int, run: RunInfo, message: str, *args: object, **known: object) -> None:
        about = {"run_id": run.run_id, "session_id": run.session_id, "agent_path": run.agent_path, "turn": run.turn}
        path = "/".join(run.agent_path)
        logging.getLogger(self.logger).log(level, f"%s: {message}", path, *args, extra={"alloy": about | known})

    def _log_contents(self, run: RunInfo, message: str, *args: object) -> None:
        if self.contents:
            self._log(logging.DEBUG, run, message, *(_cut(str(arg)) for arg in args))


def _took(began: float) -> dict[str, Any]:
    return {"seconds": trio.current_time() - began}


def _tokens(usage: Usage) -> dict[str, Any]:
    return {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}


def _said(message: Any) -> str:
    return " | ".join(result.text for result in message.results) if hasattr(message, "results") else message.text


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}… ({len(text)} characters)"
