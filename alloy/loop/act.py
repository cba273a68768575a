"""Acting on an answer that asks for tools: all calls are vetted, in order, then the batch runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import attrs
import trio

from alloy.llm.content import Outcome, ToolResult
from alloy.llm.history import synthetic_result
from alloy.llm.message import AssistantMessage, Prompt
from alloy.loop.approval import Answer, Deny, Pending, Slot, Withdrawn
from alloy.loop.context import RunContext
from alloy.loop.delegate import Handoff, handoff_target
from alloy.loop.errors import HookError
from alloy.loop.events import ApprovalRequested, MessageFinished, ToolFinished, ToolProgress, ToolStarted
from alloy.loop.means import working
from alloy.loop.middleware import Halt
from alloy.loop.recovery import StoredCall
from alloy.loop.result import Result, ToolCallRecord
from alloy.loop.resuming import record_of
from alloy.loop.state import Paused
from alloy.loop.vetting import Vetting
from alloy.loop.work import ToolWork
from alloy.tools import Batch, Job, ToolContext, ToolError

_PAUSED = "not started: it waits for a decision"

Delegate = Callable[[str, object, Prompt], Awaitable[Result[Any]]]


@attrs.define(eq=False)
class _Underway:
    """A job that is reached: the blocks that are around it, and the tool's work once that has begun."""

    blocks: ExitStack = attrs.field(factory=ExitStack)
    work: ToolWork | None = None


@attrs.define(eq=False)
class Acting:
    """The tool calls of one run. Follows the executor as its `BatchListener`."""

    run: RunContext
    _stopped: Halt | HookError | None = None  # why the batch was ended by us
    _underway: dict[int, _Underway] = attrs.field(factory=dict)  # by the id() of the job
    _questions: dict[int, list[Slot]] = attrs.field(factory=dict)  # likewise
    _before: dict[str, StoredCall] = attrs.field(factory=dict)  # of the batch, what is stored from before, by id
    _paused: dict[str, tuple[Pending, ...]] = attrs.field(factory=dict)  # what pends in calls that were unwound

    async def act(
        self, message: AssistantMessage, delegate: Delegate, *, wrap_up: bool = False
    ) -> Batch | Halt | Paused:
        """Vet and run the calls of `message`, the last answer; their results follow it in the history.

        Args:
            message: what asks for them.
            delegate: lets another agent work for a call: its id, whom, and the prompt.
            wrap_up: none is run.

        Raises:
            HookError: a middleware or `on_event` raised.
            StoreError: something could not be written down, and so was not done.
        """
        with self.run.calls.of_a_batch():
            vetting = Vetting(self.run)
            try:
                halt = await self.run.hooks.after_tool_request(self.run.state, message)
                stopped = halt or await vetting.vet(message, wrap_up=wrap_up)
            finally:
                self.run.emitter.emit(MessageFinished, self.run.state.messages[-1])
            return stopped or await self._run_jobs(vetting.jobs, delegate)

    async def act_again(self, calls: Sequence[StoredCall], delegate: Delegate) -> Batch | Halt | Paused:
        """Go on with the calls of the last answer, of which some were run before. What has finished is not run again.

        Raises:
            As `act`.
        """
        with self.run.calls.of_a_batch():
            vetting = Vetting(self.run)
            paused = await vetting.vet_again(calls)
            self._before = {call.call.id: call for call in calls}
            return paused or await self._run_jobs(vetting.jobs, delegate)

    async def _run_jobs(self, jobs: Sequence[Job], delegate: Delegate) -> Batch | Halt | Paused:
        run, state = self.run, self.run.state
        state.batch = batch = Batch(jobs)
        try:
            await run.means.executor.run(
                batch,
                context=partial(self._context, delegate),
                known=[tool.name for tool in run.tools],
                parallel=state.agent.limits.parallel_tools,
                timeout=state.agent.limits.tool_timeout,
                listener=self,
            )
        finally:
            self._before = {}
        if self._paused and self._stopped is None and batch.fatal is None:
            return Paused(tuple(pending for of_call in self._paused.values() for pending in of_call))
        results = run.close_calls()
        if isinstance(self._stopped, HookError):
            raise self._stopped
        if self._stopped is None and results is not None:
            self._stopped = await run.hooks.after_tool_execution(state, results)
        return self._stopped or batch

    # Pausing in the middle of a call.

    def may_pause(self, call_id: str) -> bool:
        """Whether what works for this call may leave a decision for later: the call is then unwound, and run again."""
        running = self.run.state.batch.find(call_id) if self.run.state.batch is not None else None
        tool = running.job.tool if running is not None else None
        return self.run.means.may_pause and tool is not None and tool.replay != "never"

    async def unwind(self, call_id: str, pending: tuple[Pending, ...]) -> NoReturn:
        """End a call that cannot go on before somebody has decided; it has no result yet."""
        running = self.run.state.batch.find(call_id) if self.run.state.batch is not None else None
        if running is None:
            raise ToolError(f"the call {call_id!r} is over, so nobody waits for a decision in it")
        self._paused[call_id] = (*self._paused.get(call_id, ()), *pending)
        running.scope.cancel(reason="the call waits for a decision")
        await trio.sleep_forever()
        raise AssertionError("it was cancelled")

    def _stop(self, why: Halt | HookError) -> None:
        """End the batch; calls that still run are cancelled."""
        self._stopped = self._stopped or why
        if (batch := self.run.state.batch) is not None:
            batch.scope.cancel(reason="a middleware or on_event ended the batch")

    def _context(self, delegate: Delegate, job: Job) -> ToolContext:
        run, state, call_id = self.run, self.run.state, job.call.id
        context = ToolContext(
            deps=state.deps,
            run_id=state.run_id,
            session_id=state.session_id,
            call_id=call_id,
            attempt=self._attempt(job),
            agent_path=state.agent_path,
            budget=state.budget,
            working_directory=Path(state.agent.working_directory),
            deadline=trio.current_effective_deadline(),
            shared=run.means.shared,
            report=lambda data: run.emitter.emit(ToolProgress, call_id, data),
            hand_on=partial(delegate, call_id),
        )
        context.answer = partial(self._ask, job, context)
        return context

    async def _ask(self, job: Job, context: ToolContext, question: str) -> str:
        """Have somebody answer a question of a tool that runs. The tool's time does not run meanwhile."""
        run, batch = self.run, self.run.state.batch
        running = batch.find(job.call.id) if batch is not None else None
        if not run.means.desks:
            raise ToolError(f"nobody is there to answer {question!r}: only an agent server can wait for an answer")
        if running is None:
            raise ToolError(f"the call {job.call.id!r} is over, so it cannot ask {question!r}")
        slot = Slot(run.pending("question", question, job.call), run.means.desks)
        self._questions.setdefault(id(job), []).append(slot)
        try:
            with running.on_hold():
                run.emitter.emit(ApprovalRequested, slot.pending)
                fate = await run.decided(slot)
        except HookError as error:  # of on_event: it is not the tool's, though it comes up through it
            self._stop(error)
            raise
        finally:
            slot.settle(Withdrawn())
        context.deadline = running.deadline
        if isinstance(fate, Answer):
            return fate.text
        why = f": {fate.reason}" if isinstance(fate, Deny) and fate.reason else ""
        raise ToolError(f"the question {question!r} was not answered{why}")

    def _attempt(self, job: Job) -> int:
        stored = self._before.get(job.call.id)
        return 1 if stored is None or stored.started is None else stored.started.attempt + 1

    def _has_finished_before(self, job: Job) -> bool:
        stored = self._before.get(job.call.id)
        return stored is not None and stored.settled is not None

    # What the executor tells.

    async def around(self, job: Job, run: Callable[[], Awaitable[ToolResult]], /) -> ToolResult:
        """Have a job done; then the middleware may have another result for it, or end the batch.

        It is written down before the tool is called and after all this, unless that was done in an earlier process.
        """
        if self._has_finished_before(job):
            return _as_before(job, await run())
        hooks, recorder = self.run.hooks, self.run.recorder
        if recorder is not None and job.settled is None and job.tool is not None and job.call.parse_error is None:
            await recorder.starts(job, self._attempt(job))
        began = trio.current_time()
        before = working.set(self.run.working(job.call.id))
        try:
            result = await (self._watched(job, run) if hooks.is_watched else run())
        finally:
            working.reset(before)
            for slot in self._questions.pop(id(job), ()):  # of a thread that was left behind
                slot.settle(Withdrawn())
        if job.call.id in self._paused:
            return synthetic_result(job.call, Outcome.NOT_STARTED, _PAUSED)
        halt: Halt | None = None
        if hooks.has("after_tool_call"):
            result, halt = await hooks.after_tool_call(self.run.state, job.call, result)
        if recorder is not None:
            await recorder.settles(job, result, trio.current_time() - began)
        if halt is not None:
            self._stop(halt)
        return result

    async def _watched(self, job: Job, run: Callable[[], Awaitable[ToolResult]]) -> ToolResult:
        """Have a job done, its tool's work within the blocks that middleware put around that."""
        underway = self._underway[id(job)] = _Underway()
        try:
            with underway.blocks:
                result = await run()
                if underway.work is not None:
                    underway.work.result = result
        finally:
            del self._underway[id(job)]
        return result

    def started(self, job: Job) -> None:
        """A call begins to run; this is called in its own task."""
        run = self.run
        if (underway := self._underway.get(id(job))) is not None:
            assert job.tool is not None
            underway.work = ToolWork(call=job.call, tool=job.tool)
            underway.blocks.enter_context(run.hooks.around(run.state, underway.work))
        if run.state.counts(job):
            run.state.calls_started += 1
            run.calls.started()
        run.emitter.emit(ToolStarted, job.call, job.edited_from)

    def finished(self, job: Job, result: ToolResult, duration: float) -> None:
        """A call has its result."""
        if self._has_finished_before(job):
            self.run.state.record(job, record_of(self._before[job.call.id]))
            return
        if job.call.id in self._paused:
            return
        turn = self.run.state.turn
        record = ToolCallRecord.of(job.call, result, turn=turn, edited_from=job.edited_from, duration=duration)
        self.run.state.record(job, record)
        self.run.emitter.emit(ToolFinished, record, result)


def _as_before(job: Job, result: ToolResult) -> ToolResult:
    """A result from an earlier process. Whom a call hands over to is not stored, but its tool knows."""
    if job.tool is None or result.outcome is not Outcome.OK or (agent := handoff_target(job.tool)) is None:
        return result
    return attrs.evolve(result, details=Handoff(agent))
