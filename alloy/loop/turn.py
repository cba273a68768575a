"""The loop: ask the model, run the tools it asks for, and again, until it is done.

`Run.execute` is the whole algorithm: limits, `before_completion`, the model, its calls vetted and run, then
either the next turn, or `after_completion` and the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
import trio

from alloy.errors import AlloyError
from alloy.llm.content import Outcome, ToolResult
from alloy.llm.driver import complete
from alloy.llm.errors import ProviderError
from alloy.llm.history import synthetic_result
from alloy.llm.message import (
    AssistantMessage,
    Message,
    Prompt,
    StopReason,
    ToolMessage,
    UserMessage,
    as_user_message,
    mint,
)
from alloy.llm.provider import Model
from alloy.llm.request import Request
from alloy.llm.usage import Usage
from alloy.loop.agent import Agent
from alloy.loop.delegate import Chats, Handoff, deeper
from alloy.loop.emitter import Emitter, Tape
from alloy.loop.errors import HookError, unknown_member
from alloy.loop.events import (
    MessageAdded,
    MessageFinished,
    RunFinished,
    RunStarted,
    ToolFinished,
    ToolProgress,
    ToolStarted,
    TurnFinished,
    TurnStarted,
)
from alloy.loop.means import Inbox, Means, Nobody, Working, working
from alloy.loop.middleware import Block, Continue, Halt, Hooks
from alloy.loop.output import output_missing, output_of, reminder
from alloy.loop.prompt import system_prompt
from alloy.loop.result import Result, Status, ToolCallRecord
from alloy.loop.state import End, State
from alloy.tools import Batch, Job, ToolContext

_CUT = "not started: the answer reached its token limit, so this call may be cut off; ask for less at a time"
_OVER = "not started: the run may make {limit} tool calls, and has made them"


@attrs.define(eq=False, kw_only=True)
class Run:
    """One run of one agent: acts on `state` until there is an `End`."""

    state: State
    model: Model
    emitter: Emitter
    means: Means
    prompt: UserMessage | None
    inbox: Inbox = attrs.field(factory=Nobody)
    owns_session: bool = True
    hooks: Hooks = attrs.field(init=False)
    system: str = attrs.field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.hooks = Hooks(self.state.agent.middleware)

    @classmethod
    async def prepare(
        cls,
        agent: Agent[Any],
        prompt: UserMessage | None,
        *,
        means: Means,
        tapes: Sequence[Tape],
        history: Iterable[Message] = (),
        deps: object = None,
        session_id: str = "",
        agent_path: tuple[str, ...] = (),
        parent_call_id: str | None = None,
        inbox: Inbox | None = None,
        owns_session: bool = True,
    ) -> Run:
        """Make a run, with its model at hand.

        Raises:
            AlloyError, ValueError: the model cannot be asked; `.result` has the history with the prompt.
        """
        path = agent_path or (agent.name,)
        state = State.begin(
            agent, history, run_id=mint("run"), session_id=session_id or mint("ses"), agent_path=path, deps=deps
        )
        try:
            model = await means.connections.connect(agent.model)
        except AlloyError as error:
            state.messages += [] if prompt is None else [prompt]
            error.result = state.result(End(status=Status.ERROR, error=error))
            raise
        emitter = Emitter(run_id=state.run_id, agent_path=path, tapes=tapes, parent_call_id=parent_call_id)
        return cls(
            state=state,
            model=model,
            emitter=emitter,
            means=means,
            prompt=prompt,
            inbox=inbox or Nobody(),
            owns_session=owns_session,
        )

    async def execute(self, scope: trio.CancelScope) -> Result[Any]:
        """Run to the end. Cancelling `scope` ends the run as `cancelled`; any other cancel propagates."""
        end = End(status=Status.CANCELLED)
        before = working.set(self._working())
        try:
            with scope:
                end = await self._turns()
        except AlloyError as error:
            end = End(status=Status.ERROR, error=error)
        finally:
            working.reset(before)
        if self.owns_session:
            await self.hooks.session_end(self.state.session())
        return self.finish(end)

    def _working(self, call_id: str | None = None) -> Working:
        state = self.state
        return Working(
            session_id=state.session_id, agent_path=state.agent_path, tapes=self.emitter.tapes, call_id=call_id
        )

    def finish(self, end: End) -> Result[Any]:
        """Close the history and tell everybody. The error of the end, if any, gets the result."""
        try:
            self._close_calls()
            result = self._result(end)
            self.emitter.emit(RunFinished, result)
        except HookError as error:  # by on_event, which is not called again
            result = self._result(End(status=Status.ERROR, error=end.error or error))
            self.emitter.emit(RunFinished, result)
        return result

    def snapshot(self) -> Result[Any]:
        """The result if the run were cancelled now."""
        return self.state.result(End(status=Status.CANCELLED))

    def _result(self, end: End) -> Result[Any]:
        result = self.state.result(end)
        if end.error is not None:
            end.error.result = result
        return result

    async def _turns(self) -> End:
        state = self.state
        self.emitter.emit(RunStarted, state.agent.name, self.model.name, state.session_id)
        if self.prompt is not None:
            self._add_prompt(self.prompt)
        if self.owns_session and (halt := await self.hooks.session_start(state.session())) is not None:
            return _halted(halt)
        self.system = await system_prompt(state.info())
        while state.turn < state.agent.limits.max_turns:
            self._hear(self.inbox.take())
            end = await self._turn()
            if end is not None and not self._is_asked_for_more(end):
                return end
        if state.agent.limits.wrap_up and isinstance(state.messages[-1], ToolMessage):
            await self._turn(wrap_up=True)
        return End(status=Status.MAX_TURNS)

    def _add_prompt(self, prompt: UserMessage) -> None:
        self.state.messages.append(prompt)
        self.emitter.emit(MessageAdded, prompt)

    def _hear(self, said: Sequence[UserMessage]) -> bool:
        """Add what was said meanwhile to the history; whether there was anything."""
        for message in said:
            self._add_prompt(message)
        return bool(said)

    def _is_asked_for_more(self, end: End) -> bool:
        """Whether a run that is done goes on after all: for what was said in the last moment, then what is next."""
        may_go_on = end.status is Status.COMPLETED and end.output is None
        may_go_on = may_go_on and self.state.turn < self.state.agent.limits.max_turns
        return may_go_on and (self._hear(self.inbox.take()) or self._hear(self.inbox.take_next()))

    async def _turn(self, *, wrap_up: bool = False) -> End | None:
        """One answer and what follows from it; None to go on. A turn that wraps up runs no tools."""
        state = self.state
        state.turn += 1
        self.emitter.turn = state.turn
        request = await self.hooks.before_completion(state, self._request(wrap_up=wrap_up))
        if isinstance(request, Halt):
            return _halted(request)
        self.emitter.emit(TurnStarted, self.model.name)
        message = await self._ask(request)
        if message.tool_calls:
            end = await self._act(message, wrap_up=wrap_up)
        else:
            self.emitter.emit(MessageFinished, message)
            end = await self._answered(message)
        self.emitter.emit(TurnFinished, _usage_of(message))
        return end

    def _request(self, *, wrap_up: bool) -> Request:
        agent = self.state.agent
        return Request(
            model=self.model.origin.model,
            system=self.system,
            messages=self.state.sendable(),
            tools=agent.tools,
            settings=attrs.evolve(agent.settings, tool_choice="none") if wrap_up else agent.settings,
        )

    async def _ask(self, request: Request) -> AssistantMessage:
        """Ask the model and add its answer to the history; the text of one that broke off is kept too."""
        state = self.state
        self.emitter.answering()
        try:
            limiter = self.means.connections.limiter
            message = await complete(self.model, request, state.agent.retry, self.emitter, limiter)
        except ProviderError as error:
            if error.partial is not None:
                state.usage += _usage_of(error.partial)
                if error.partial.content:
                    state.messages.append(error.partial)
                    self.emitter.emit(MessageFinished, error.partial)
            raise
        return state.take(message, self.model.name)

    # An answer without calls.

    async def _answered(self, message: AssistantMessage) -> End | None:
        if message.stop.reason is StopReason.PAUSE:
            return None
        if (tool := self.state.agent.until_tool) is not None:
            if message.stop.reason is not StopReason.END_TURN:
                return End(status=Status.ERROR, error=output_missing(tool, message.stop))
            self._add_prompt(reminder(tool))
            return None
        match await self.hooks.after_completion(self.state, message):
            case Halt() as halt:
                return _halted(halt)
            case Continue(prompt):
                self._add_prompt(as_user_message(prompt, source="engine"))
                return None
        return End(status=Status.COMPLETED)

    # An answer with calls.

    async def _act(self, message: AssistantMessage, *, wrap_up: bool) -> End | None:
        """Vet all calls, in order, then run the batch; its results follow the answer in the history."""
        state = self.state
        try:
            jobs, halt = await self._vet(message, wrap_up=wrap_up)
        finally:
            self.emitter.emit(MessageFinished, state.messages[-1])
        if halt is not None:
            return _halted(halt)
        state.batch = batch = Batch(jobs)
        limits = state.agent.limits
        await self.means.executor.run(
            batch,
            context=self._context,
            known=[tool.name for tool in state.agent.tools],
            parallel=limits.parallel_tools,
            timeout=limits.tool_timeout,
            listener=self,
        )
        self._close_calls()
        working.set(self._working())
        return await self._after(batch)

    async def _vet(self, message: AssistantMessage, *, wrap_up: bool) -> tuple[list[Job], Halt | None]:
        """What is to become of each call: run, perhaps edited, or a result of our own in its place."""
        tools = {tool.name: tool for tool in self.state.agent.tools}
        left = self.state.calls_left()
        jobs: list[Job] = []
        for call in message.tool_calls:
            job = Job(call=call, tool=tools.get(call.name))
            if wrap_up:
                job = _settle(job, Outcome.NOT_STARTED)
            elif message.stop.reason is StopReason.MAX_TOKENS and call is message.content[-1]:
                job = _settle(job, Outcome.NOT_STARTED, _CUT)
            elif left is not None and sum(job.settled is None for job in jobs) >= left:
                job = _settle(job, Outcome.NOT_STARTED, _OVER.format(limit=self.state.agent.limits.max_tool_calls))
            elif job.tool is not None and call.parse_error is None:
                job, halt = await self._ask_hooks(job)
                if halt is not None:
                    return jobs, halt
            jobs.append(job)
        return jobs, None

    async def _ask_hooks(self, job: Job) -> tuple[Job, Halt | None]:
        call, verdict = await self.hooks.before_tool_call(self.state, job.call)
        if call is not job.call:
            self.state.replace_call(job.call, call)
            job = attrs.evolve(job, call=call, edited_from=job.call.arguments)
        match verdict:
            case Halt():
                return job, verdict
            case Block(reason):
                return _settle(job, Outcome.BLOCKED, f"blocked: {reason}"), None
        return job, None

    def _context(self, job: Job) -> ToolContext:
        state = self.state
        call_id = job.call.id
        return ToolContext(
            deps=state.deps,
            run_id=state.run_id,
            session_id=state.session_id,
            call_id=call_id,
            agent_path=state.agent_path,
            working_directory=Path(state.agent.working_directory),
            deadline=trio.current_effective_deadline(),
            shared=self.means.shared,
            report=lambda data: self.emitter.emit(ToolProgress, call_id, data),
            hand_on=partial(self._delegate, call_id),
        )

    async def _delegate(self, call_id: str, target: object, prompt: Prompt) -> Result[Any]:
        """Let another agent work on something: in a run inside this one, or where it lives."""
        match target:
            case Agent():
                return await self._run_inside(target, as_user_message(prompt), call_id)
            case str():
                if (member := self.means.members.get(target)) is None:
                    raise unknown_member(target, self.means.members)
                return await member.chat(prompt)
            case Chats():
                return await target.chat(prompt)
            case _:
                raise TypeError(f"delegate takes an Agent, an AgentRef or a member's name, got {target!r}")

    async def _run_inside(self, agent: Agent[Any], prompt: UserMessage, call_id: str) -> Result[Any]:
        state = self.state
        run = await Run.prepare(
            agent,
            prompt,
            means=self.means,
            tapes=self.emitter.tapes,
            deps=state.deps,
            agent_path=deeper(state.agent_path, agent.name),
            parent_call_id=call_id,
        )
        try:
            result = await run.execute(trio.CancelScope())
        finally:
            state.usage += run.state.usage
        if result.error is not None:
            raise result.error
        return result

    async def _after(self, batch: Batch) -> End | None:
        """Whether the run ends with this batch, or goes on as another agent."""
        if batch.fatal is not None:
            return End(status=Status.ERROR, error=batch.fatal)
        for result in batch.results():
            if isinstance(result.details, Handoff) and result.outcome is Outcome.OK:
                await self._become(result.details.agent)
                return None
        agent = self.state.agent
        if agent.until_tool is not None and (output := output_of(agent.until_tool, batch)) is not None:
            return End(status=Status.COMPLETED, output=output)
        if any(result.stop for result in batch.results()):
            return End(status=Status.COMPLETED)
        if self.state.calls_left() == 0 and any(job.settled is not None for job in batch.jobs):
            return End(status=Status.BUDGET)
        return None

    async def _become(self, agent: Agent[Any]) -> None:
        """Go on as another agent: its prompt, tools, model and limits."""
        self.state.agent = agent
        self.model = await self.means.connections.connect(agent.model)
        self.hooks = Hooks(agent.middleware)
        self.system = await system_prompt(self.state.info())

    def _close_calls(self) -> None:
        """Give every call of the last answer its result, if it has none yet."""
        if (results := self.state.close_calls()) is not None:
            self.emitter.emit(MessageAdded, results)

    # What the executor tells.

    def started(self, job: Job) -> None:
        """A call begins to run; this is called in its own task."""
        working.set(self._working(job.call.id))
        self.state.calls_started += 1
        self.emitter.emit(ToolStarted, job.call, job.edited_from)

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
            turn=self.state.turn,
        )
        self.state.record(job, record)
        self.emitter.emit(ToolFinished, record, result)


def _settle(job: Job, outcome: Outcome, text: str | None = None) -> Job:
    return attrs.evolve(job, settled=synthetic_result(job.call, outcome, text))


def _halted(halt: Halt) -> End:
    return End(status=Status.HALTED, reason=halt.reason)


def _usage_of(message: AssistantMessage) -> Usage:
    return attrs.evolve(message.usage or Usage(), requests=1)
