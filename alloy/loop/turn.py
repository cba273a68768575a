"""The turns of a run: ask the model, run the tools it asks for, and again, until it is done.

A turn is one answer of a model (`alloy.loop.ask`) and the calls that it asks for (`alloy.loop.act`). What follows is
either the next turn, or `after_completion` and the end.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from alloy.llm.content import Outcome
from alloy.llm.message import MALFORMED_CALL, AssistantMessage, StopReason, ToolMessage, UserMessage, as_user_message
from alloy.llm.spending import usage_of
from alloy.loop.act import Acting, Delegate
from alloy.loop.ask import ask, offered
from alloy.loop.context import RunContext
from alloy.loop.delegate import Handoff
from alloy.loop.errors import OutputMissing
from alloy.loop.events import MessageFinished, TurnFinished
from alloy.loop.means import Inbox
from alloy.loop.middleware import Continue, Halt
from alloy.loop.output import Given, call_again
from alloy.loop.recovery import StoredRun
from alloy.loop.result import Status
from alloy.loop.state import End, Paused, State
from alloy.tools import Batch


@attrs.define(eq=False, kw_only=True)
class Turns:
    """Takes the turns of one run, one after the other.

    Attributes:
        inbox: what is said to the run meanwhile.
        delegate: lets another agent work for a call.
        reprompted: the last answer held a call that could not be read, and the model was told so.
    """

    context: RunContext
    acting: Acting
    inbox: Inbox
    delegate: Delegate
    reprompted: bool = attrs.field(default=False, init=False)

    @property
    def state(self) -> State:
        """What the run has reached."""
        return self.context.state

    async def take(self) -> End:
        """Take turns until the run ends."""
        state = self.state
        while state.turn < state.agent.limits.max_turns:
            if (end := self.context.out_of_budget()) is not None:
                return end
            await self._hear(self.inbox.take())
            end = await self._turn()
            if end is not None and not await self._is_asked_for_more(end):
                return end
        if state.agent.limits.wrap_up and isinstance(state.messages[-1], ToolMessage):
            await self._turn(wrap_up=True)
        return End(status=Status.MAX_TURNS)

    async def go_on(self, stored: StoredRun) -> End | None:
        """Go on where the run was broken off; None to go on with the next turn."""
        state = self.state
        last = state.messages[-1] if state.messages else None
        if not isinstance(last, AssistantMessage):
            return None
        if not stored.messages:  # all it had to do was to have the history shown in short
            return End(status=Status.COMPLETED)
        self.context.emitter.turn = state.turn
        state.tools, _ = offered(self.context)
        if stored.calls:
            end = await self._after_acting(await self.acting.act_again(stored.calls, self.delegate))
        else:
            end = await self._answered(last, wrap_up=False)
        return end if end is None or not await self._is_asked_for_more(end) else None

    async def _hear(self, said: Sequence[UserMessage]) -> bool:
        """Add what was said meanwhile to the history; whether there was anything."""
        await self.context.say(*said)
        return bool(said)

    async def _is_asked_for_more(self, end: End) -> bool:
        """Whether a run that is done goes on after all: for what was said in the last moment, then what is next."""
        may_go_on = end.status is Status.COMPLETED and end.output is None
        may_go_on = may_go_on and self.state.turn < self.state.agent.limits.max_turns
        return may_go_on and (await self._hear(self.inbox.take()) or await self._hear(self.inbox.take_next()))

    async def _turn(self, *, wrap_up: bool = False) -> End | None:
        """One answer and what follows from it; None to go on. A turn that wraps up runs no tools."""
        state = self.state
        state.turn += 1
        self.context.emitter.turn = state.turn
        message = await ask(self.context, wrap_up=wrap_up)
        if isinstance(message, Halt):
            return halted(message)
        self.context.warn_of_budget()
        if message.tool_calls:
            self.reprompted = False
            end = await self._act(message, wrap_up=wrap_up)
        else:
            self.context.emitter.emit(MessageFinished, message)
            if self.context.recorder is not None:
                await self.context.recorder.answered()
            end = await self._answered(message, wrap_up=wrap_up)
        self.context.emitter.emit(TurnFinished, usage_of(message))
        return end

    # An answer without calls.

    async def _answered(self, message: AssistantMessage, *, wrap_up: bool) -> End | None:
        if message.stop.reason is StopReason.PAUSE:
            return None
        if MALFORMED_CALL in message.stop.detail and not self.reprompted:
            self.reprompted = True
            await self.context.say(call_again(message.stop))
            return None
        output: Given | None = None
        if (goal := self.state.agent.goal) is not None and not wrap_up:
            match goal.of_answer(message, as_text=goal.tool not in self.context.tools):
                case OutputMissing() as error:
                    return End(status=Status.ERROR, error=error)
                case UserMessage() as told:
                    await self.context.say(told)
                    return None
                case Given() as output:
                    pass
        match await self.context.hooks.after_completion(self.state, message):
            case Halt() as halt:
                return halted(halt)
            case Continue(prompt):
                await self.context.say(as_user_message(prompt, source="engine"))
                return None
        return End(status=Status.COMPLETED, output=output)

    # An answer with calls.

    async def _act(self, message: AssistantMessage, *, wrap_up: bool) -> End | None:
        return await self._after_acting(await self.acting.act(message, self.delegate, wrap_up=wrap_up))

    async def _after_acting(self, batch: Batch | Halt | Paused) -> End | None:
        self.context.warn_of_budget()
        match batch:
            case Halt():
                return halted(batch)
            case Paused(pending):
                return End(status=Status.PAUSED, pending=pending)
            case _:
                return await self._after(batch)

    async def _after(self, batch: Batch) -> End | None:
        """Whether the run ends with this batch, or goes on as another agent."""
        if batch.fatal is not None:
            return End(status=Status.ERROR, error=batch.fatal)
        for result in batch.results():
            if isinstance(result.details, Handoff) and result.outcome is Outcome.OK:
                await self.context.become(result.details.agent)
                return None
        goal = self.state.agent.goal
        if goal is not None and (output := goal.of_batch(batch)) is not None:
            return End(status=Status.COMPLETED, output=output)
        if any(result.stop for result in batch.results()):
            return End(status=Status.COMPLETED)
        if self.state.calls_left() == 0 and any(job.settled is not None for job in batch.jobs):
            return End(status=Status.BUDGET)
        return End(status=Status.BUDGET) if self.context.calls.were_refused else None


def halted(halt: Halt) -> End:
    """How a run ends that a middleware halted."""
    return End(status=Status.HALTED, reason=halt.reason)
