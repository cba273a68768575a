"""A run, from its prompt to its result: made ready, carried out, written down, ended whatever happens.

`Run.execute` is all of it; in its middle the turns are taken (`alloy.loop.turn`). A run can have others inside it, of
agents that work for its calls.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from typing import Any

import attrs
import trio

from alloy.errors import AlloyError
from alloy.llm.budget import Budget, BudgetSpent, current_budget, drawing_from, together
from alloy.llm.fallback import Unavailable
from alloy.llm.message import (
    Message,
    Prompt,
    UserMessage,
    as_user_message,
    mint,
)
from alloy.llm.spending import check_price
from alloy.loop.act import Acting
from alloy.loop.agent import Agent
from alloy.loop.ask import compact
from alloy.loop.context import RunContext
from alloy.loop.delegate import Chats, deeper
from alloy.loop.emitter import Emitter, Tape
from alloy.loop.errors import HookError, StoreError, unknown_member
from alloy.loop.events import RunFinished, RunStarted
from alloy.loop.means import Inbox, Means, Nobody, connect_all, working
from alloy.loop.middleware import Hooks
from alloy.loop.recorder import Recorder
from alloy.loop.records import RunBegun
from alloy.loop.recovery import StoredRun
from alloy.loop.result import Result, Status
from alloy.loop.resuming import line_of, result_of, resumed
from alloy.loop.state import End, State
from alloy.loop.turn import Turns, halted
from alloy.loop.work import RunWork

_log = logging.getLogger("alloy.loop")


@attrs.define(eq=False, kw_only=True)
class Run:
    """One run of one agent: acts on its state until there is an `End`.

    Attributes:
        prompt: what begins it; None to go on with the history.
        stored: what it had reached when it was broken off, in an earlier process or by a pause; None for a new run.
        inbox: what is said to it meanwhile.
        asked_in: the context of whoever asked for it, where that was another task.
        owns_session: `session_start` and `session_end` are asked around it.
        only_compacts: it asks for no answer, but shortens what is shown of the history.
        inside: the runs of other agents that work for this one's calls now.
    """

    context: RunContext
    prompt: UserMessage | None
    stored: StoredRun | None = None
    inbox: Inbox = attrs.field(factory=Nobody)
    asked_in: Context | None = None
    owns_session: bool = True
    only_compacts: bool = False
    inside: set[Run] = attrs.field(factory=set, init=False)
    acting: Acting = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.acting = Acting(self.context)

    @property
    def state(self) -> State:
        """What the run has reached."""
        return self.context.state

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
        budget: Budget | None = None,
        agent_path: tuple[str, ...] = (),
        parent_call_id: str | None = None,
        inbox: Inbox | None = None,
        asked_in: Context | None = None,
        owns_session: bool = True,
        only_compacts: bool = False,
        known: int | None = None,
        begun: RunBegun | None = None,
        stored: StoredRun | None = None,
    ) -> Run:
        """Make a run, with its models at hand. It draws from `budget`, and from the current one.

        Of the history, the ledger has the first `known` messages; None stands for all. `begun` says how the run stands
        in the ledger, where that is not as a root run that serves no request. With `stored`, what it had reached
        before, there is no prompt, and the history is what is stored.

        Raises:
            AlloyError, ValueError: none of its models can be asked; `.result` has the history with the prompt.
        """
        path, session_id = agent_path or (agent.name,), session_id or mint("ses")
        budget = together(current_budget.get(), budget)
        if stored is not None and means.ledger is not None:
            begun = stored.begun
            *former, last = line_of(agent, stored)
            state = resumed(last, stored, means.ledger.was, session_id=session_id, deps=deps, budget=budget)
            for one in former:  # no approval is lost by handing over
                means = attrs.evolve(means, inherited=Hooks(one.middleware, means.inherited).inherited)
        else:
            if begun is None and means.ledger is not None:
                begun = RunBegun(run_id=mint("run"), agent=agent.name, agent_path=path)
            state = State.begin(
                agent,
                history,
                run_id=mint("run") if begun is None else begun.run_id,
                session_id=session_id,
                agent_path=path,
                deps=deps,
                budget=budget,
            )
        try:
            chain = await connect_all(means.connections, state.agent.models)
        except AlloyError as error:
            state.messages += [] if prompt is None else [prompt]
            error.result = state.result(End(status=Status.ERROR, error=error))
            raise
        emitter = Emitter(run_id=state.run_id, agent_path=path, tapes=tapes, parent_call_id=parent_call_id)
        recorder = None if means.ledger is None or begun is None else Recorder(means.ledger, state, begun)
        if recorder is not None and stored is not None:
            recorder.go_on(stored.calls)
        elif recorder is not None:
            recorder.begin(() if known is None else state.messages[known : state.first])
        context = RunContext(state=state, chain=chain, emitter=emitter, means=means, recorder=recorder)
        return cls(
            context=context,
            prompt=prompt,
            stored=stored,
            inbox=inbox or Nobody(),
            asked_in=asked_in,
            owns_session=owns_session,
            only_compacts=only_compacts,
        )

    async def execute(self, scope: trio.CancelScope) -> Result[Any]:
        """Run to the end. Cancelling `scope` ends the run as `cancelled`; any other cancel propagates.

        The seconds of the budget are a scope of their own inside, so that none of these is taken for another.
        """
        work = RunWork(origin=self.context.model.origin, asked_in=self.asked_in)
        before = working.set(self.context.working())
        end = End(status=Status.CANCELLED)
        try:
            with self.context.hooks.around(self.state, work):
                with scope, drawing_from(self.state.budget), self._seconds() as seconds:
                    end = await self._course()
                if seconds is not None and seconds.cancelled_caught:
                    end = End(status=Status.DEADLINE)
                if self.owns_session:
                    await self.context.hooks.session_end(self.state.session())
                work.result = await self._finish(end)
        except BaseException:
            if end.status is not Status.PAUSED:  # else all is written
                await self._broken_off()
            raise
        finally:
            working.reset(before)
        return work.result

    def _seconds(self) -> AbstractContextManager[trio.CancelScope | None]:
        """What ends with the seconds of the budget, which begin to count here if they have not yet."""
        if (budget := self.state.budget) is None:
            return nullcontext()
        budget.start()
        return trio.CancelScope(deadline=budget.deadline)

    async def _finish(self, end: End) -> Result[Any]:
        """Close the history, write the end down and tell everybody. The error of the end, if any, gets the result."""
        try:
            self.context.close_calls()
        except HookError as error:  # by on_event, which is not called again
            end = End(status=Status.ERROR, error=end.error or error)
        if self.context.recorder is not None and end.status is not Status.PAUSED:
            try:
                await self.context.recorder.ends(self._result(end))
            except StoreError as error:
                end = End(status=Status.ERROR, error=error)
        result = self._result(end)
        try:
            self.context.emitter.emit(RunFinished, result)
        except HookError as error:
            result = self._result(End(status=Status.ERROR, error=end.error or error))
            self.context.emitter.emit(RunFinished, result)
        return result

    async def _broken_off(self) -> None:
        """The run was cancelled from outside, or there is a bug; what it reached is written down.

        A run that others wait for, or the next process, may be gone on with. A root run is over.
        """
        if (recorder := self.context.recorder) is None or recorder.ledger.broken is not None:
            return
        try:
            if self.owns_session and not recorder.begun.parent_call_id:
                self.state.close_calls()
                await recorder.ends(self.snapshot())
            else:
                await recorder.cut()
        except StoreError as error:
            _log.error("what run %s had reached could not be written: %s", self.state.run_id, error)

    def snapshot(self) -> Result[Any]:
        """The result if the run were cancelled now."""
        return self.state.result(End(status=Status.CANCELLED))

    def partial(self) -> object:
        """What there is of the answer that comes; see `Stream.partial`."""
        fold, goal = self.context.emitter.fold, self.state.agent.goal
        if fold is None:
            return None
        return fold.so_far() if goal is None else goal.of_partial(fold)

    def _result(self, end: End) -> Result[Any]:
        result = self.state.result(end)
        if end.error is not None:
            end.error.result = result
        return result

    async def _course(self) -> End:
        """All turns; a middleware may have the last word on an error."""
        try:
            end = await self._from_the_start()
        except BudgetSpent:
            end = End(status=Status.BUDGET)
        except AlloyError as error:
            end = End(status=Status.ERROR, error=error)
        recorder = self.context.recorder
        if end.error is None or (recorder is not None and recorder.ledger.broken is not None):
            return end
        try:
            halt = await self.context.hooks.on_error(self.state, end.error)
        except HookError as error:
            error.others = (*error.others, end.error)
            return End(status=Status.ERROR, error=error)
        return end if halt is None else halted(halt)

    async def _from_the_start(self) -> End:
        state = self.state
        self.context.emitter.emit(RunStarted, state.agent.name, self.context.model.name, state.session_id)
        for model in self.context.chain.models:
            if isinstance(model, Unavailable):
                self.context.emitter.notice("model_unavailable", {"model": model.name, "message": str(model.error)})
        if self.prompt is not None:
            await self.context.say(self.prompt)
        if self.owns_session and (halt := await self.context.hooks.session_start(state.session())) is not None:
            return halted(halt)
        for model in self.context.chain.models:
            check_price(model, state.budget)
        await self.context.write_system_prompt()
        if self.only_compacts:
            await compact(self.context)
            return End(status=Status.COMPLETED)
        turns = Turns(context=self.context, acting=self.acting, inbox=self.inbox, delegate=self._delegate)
        end = None if self.stored is None else await turns.go_on(self.stored)
        return await turns.take() if end is None else end

    def tree(self) -> Iterator[Run]:
        """This run, and those inside it."""
        yield self
        for run in self.inside:
            yield from run.tree()

    # Other agents that work for a call.

    async def _delegate(self, call_id: str, target: object, prompt: Prompt) -> Result[Any]:
        """Let another agent work on something: in a run inside this one, or where it lives."""
        match target:
            case Agent():
                return await self._run_inside(target, as_user_message(prompt), call_id)
            case str():
                if (member := self.context.means.members.get(target)) is None:
                    raise unknown_member(target, self.context.means.members)
                return await member.chat(prompt)
            case Chats():
                return await target.chat(prompt)
            case _:
                raise TypeError(f"delegate takes an Agent, an AgentRef or a member's name, got {target!r}")

    async def _run_inside(self, agent: Agent[Any], prompt: UserMessage, call_id: str) -> Result[Any]:
        """A run of its own for a call; one that had begun before, in an earlier process, is gone on with."""
        state, means = self.state, self.context.means
        path = deeper(state.agent_path, agent.name)
        session_id, begun, stored = "", None, None
        if (ledger := means.ledger) is not None:
            session_id = state.session_id
            stored = ledger.find(state.run_id, call_id, agent.name, prompt)
            if stored is not None and stored.ended is not None:
                result = result_of(agent, stored, ledger.was, session_id)
                state.usage += result.usage
                return _told(result)
            number = ledger.number(state.run_id, call_id)
            begun = RunBegun(
                run_id=mint("run"),
                agent=agent.name,
                agent_path=path,
                parent_run_id=state.run_id,
                parent_call_id=call_id,
                n=number,
            )
        run = await Run.prepare(
            agent,
            prompt if stored is None else None,
            means=attrs.evolve(means, inherited=self.context.hooks.inherited, may_pause=self.acting.may_pause(call_id)),
            tapes=self.context.emitter.tapes,
            deps=state.deps,
            session_id=session_id,
            agent_path=path,
            parent_call_id=call_id,
            begun=begun,
            stored=stored,
        )
        self.inside.add(run)
        try:
            result = await run.execute(trio.CancelScope())
        finally:
            self.inside.discard(run)
            state.usage += run.state.usage
        if result.status is Status.PAUSED:
            await self.acting.unwind(call_id, result.pending)
        return _told(result)


def _told(result: Result[Any]) -> Result[Any]:
    """The result for whoever delegated; an error is raised."""
    if result.error is not None:
        raise result.error
    return result
