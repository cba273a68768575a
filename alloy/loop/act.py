"""Acting on an answer that asks for tools: all calls are vetted, in order, then the batch runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from alloy.llm.content import Outcome, ToolResult
from alloy.llm.history import synthetic_result
from alloy.llm.message import AssistantMessage, Prompt, StopReason
from alloy.loop.context import RunContext
from alloy.loop.events import MessageFinished, ToolFinished, ToolProgress, ToolStarted
from alloy.loop.means import working
from alloy.loop.middleware import Block, Halt
from alloy.loop.result import Result, ToolCallRecord
from alloy.tools import Batch, Job, ToolContext

Delegate = Callable[[str, object, Prompt], Awaitable[Result[Any]]]

_CUT = "not started: the answer reached its token limit, so this call may be cut off; ask for less at a time"
_OVER = "not started: the run may make {limit} tool calls, and has made them"


@attrs.define(eq=False)
class Acting:
    """The tool calls of one run. Follows the executor as its `BatchListener`.

    Attributes:
        delegate: lets another agent work for a call: its id, whom, and the prompt.
    """

    run: RunContext
    delegate: Delegate

    async def act(self, message: AssistantMessage, *, wrap_up: bool = False) -> Batch | Halt:
        """Vet and run the calls of `message`, the last answer; their results follow it in the history.

        Raises:
            HookError: a middleware or `on_event` raised.
        """
        run, state = self.run, self.run.state
        try:
            jobs, halt = await self._vet(message, wrap_up=wrap_up)
        finally:
            run.emitter.emit(MessageFinished, state.messages[-1])
        if halt is not None:
            return halt
        state.batch = batch = Batch(jobs)
        limits = state.agent.limits
        await run.means.executor.run(
            batch,
            context=self._context,
            known=[tool.name for tool in run.tools],
            parallel=limits.parallel_tools,
            timeout=limits.tool_timeout,
            listener=self,
        )
        run.close_calls()
        working.set(run.working())
        return batch

    async def _vet(self, message: AssistantMessage, *, wrap_up: bool) -> tuple[list[Job], Halt | None]:
        """What is to become of each call: run, perhaps edited, or a result of our own in its place."""
        state = self.run.state
        tools = {tool.name: tool for tool in self.run.tools}
        left = state.calls_left()
        jobs: list[Job] = []
        for call in message.tool_calls:
            job = Job(call=call, tool=tools.get(call.name))
            if wrap_up:
                job = _settle(job, Outcome.NOT_STARTED)
            elif message.stop.reason is StopReason.MAX_TOKENS and call is message.content[-1]:
                job = _settle(job, Outcome.NOT_STARTED, _CUT)
            elif left is not None and sum(job.settled is None for job in jobs) >= left:
                job = _settle(job, Outcome.NOT_STARTED, _OVER.format(limit=state.agent.limits.max_tool_calls))
            elif job.tool is not None and call.parse_error is None:
                job, halt = await self._ask_hooks(job)
                if halt is not None:
                    return jobs, halt
            jobs.append(job)
        return jobs, None

    async def _ask_hooks(self, job: Job) -> tuple[Job, Halt | None]:
        state = self.run.state
        call, verdict = await self.run.hooks.before_tool_call(state, job.call)
        if call is not job.call:
            state.replace_call(job.call, call)
            job = attrs.evolve(job, call=call, edited_from=job.call.arguments)
        match verdict:
            case Halt():
                return job, verdict
            case Block(reason):
                return _settle(job, Outcome.BLOCKED, f"blocked: {reason}"), None
        return job, None

    def _context(self, job: Job) -> ToolContext:
        run, state, call_id = self.run, self.run.state, job.call.id
        return ToolContext(
            deps=state.deps,
            run_id=state.run_id,
            session_id=state.session_id,
            call_id=call_id,
            agent_path=state.agent_path,
            working_directory=Path(state.agent.working_directory),
            deadline=trio.current_effective_deadline(),
            shared=run.means.shared,
            report=lambda data: run.emitter.emit(ToolProgress, call_id, data),
            hand_on=partial(self.delegate, call_id),
        )

    # What the executor tells.

    def started(self, job: Job) -> None:
        """A call begins to run; this is called in its own task."""
        working.set(self.run.working(job.call.id))
        self.run.state.calls_started += 1
        self.run.emitter.emit(ToolStarted, job.call, job.edited_from)

    def finished(self, job: Job, result: ToolResult, duration: float) -> None:
        """A call has its result."""
        record = ToolCallRecord(
            id=job.call.id,
            name=job.call.name,
            arguments=job.call.arguments,
            edited_from=job.edited_from,
            outcome=result.outcome,
            duration=duration,
            error=result.text if result.is_error else None,
            details=result.details,
            turn=self.run.state.turn,
        )
        self.run.state.record(job, record)
        self.run.emitter.emit(ToolFinished, record, result)


def _settle(job: Job, outcome: Outcome, text: str | None = None) -> Job:
    return attrs.evolve(job, settled=synthetic_result(job.call, outcome, text))
