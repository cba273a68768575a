"""Vetting the calls of an answer: what is to become of each, decided for all of them before any runs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from inspect import isawaitable

import attrs
import trio

from alloy.errors import sole_error
from alloy.llm.content import JSON, Outcome
from alloy.llm.history import synthetic_result
from alloy.llm.message import AssistantMessage, StopReason
from alloy.loop.approval import (
    Approve,
    Deny,
    Edit,
    Expired,
    Fate,
    Pending,
    Slot,
    Withdrawn,
    as_decision,
    check_decision,
    question_of,
)
from alloy.loop.context import RunContext
from alloy.loop.errors import HookError
from alloy.loop.events import ApprovalDecided, ApprovalRequested
from alloy.loop.ledger import expired, fate_of, stored_pending
from alloy.loop.middleware import Approver, Ask, Block, Halt, edited
from alloy.loop.records import CallPending
from alloy.loop.recovery import StoredCall
from alloy.loop.state import Paused
from alloy.tools import Job
from alloy.tools.execute import unknown_tool
from alloy.tools.results import describe

_CUT = "not started: the answer reached its token limit, so this call may be cut off; ask for less at a time"
_OVER = "not started: the run may make {limit} tool calls, and has made them"
_SPENT = "not started: the budget allows no further tool call"
_NOBODY = "denied: this call needs an approval, and nobody is there to give it; it did not run"
_WITHDRAWN = "cancelled: this call was taken back before it was approved; it did not run"


@attrs.define(eq=False)
class Vetting:
    """The calls of one answer on their way to jobs: to run, perhaps edited, or with a result of our own instead."""

    run: RunContext
    jobs: list[Job] = attrs.field(factory=list)
    asks: dict[int, tuple[Ask, ...]] = attrs.field(factory=dict)  # by the place of the job

    async def vet(self, message: AssistantMessage, *, wrap_up: bool) -> Halt | Paused | None:
        """Fill `jobs`. The history's last answer shows the calls as edited.

        Raises:
            HookError: a middleware, an approver or `on_event` raised.
            StoreError: it could not be written down.
        """
        if (halt := await self._ask_hooks(message, wrap_up=wrap_up)) is not None:
            return halt
        for place, asks in self.asks.items():
            for ask in asks:
                if ask.approver is not None and self.jobs[place].settled is None:
                    await self._ask_approver(place, ask, ask.approver)
        pending = self._left_to_others()
        await self._write_down(pending.values())
        return await self._wait_for_others(pending)

    async def vet_again(self, calls: Sequence[StoredCall]) -> Paused | None:
        """Fill `jobs` from what is stored of calls that were vetted before: in an earlier process, or before a pause.

        Raises:
            HookError: `on_event` raised.
            StoreError: it could not be written down.
        """
        tools = {tool.name: tool for tool in self.run.tools}
        pending: dict[int, Pending] = {}
        for place, call in enumerate(calls):
            job = Job(call=call.call, tool=tools.get(call.call.name), edited_from=call.edited_from)
            self.jobs.append(job)
            if call.settled is not None:
                self.jobs[place] = attrs.evolve(job, settled=call.settled.result)
            elif call.started is not None:
                if job.tool is None or job.tool.replay == "never" or job.tool.replay != call.started.replay:
                    self._settle(place, Outcome.INTERRUPTED)
            elif call.pending is not None and (waits := self._decided_before(place, call, call.pending)) is not None:
                pending[place] = waits
            job = self.jobs[place]
            counts = job.settled is None and job.tool is not None and self.run.state.counts(job)
            if counts and not self.run.calls.reserve():
                self._settle(place, Outcome.NOT_STARTED, _SPENT)
        await self._write_down(())
        return await self._wait_for_others(pending)

    def _decided_before(self, place: int, call: StoredCall, asked: CallPending) -> Pending | None:
        """Apply what was decided meanwhile; what still has to be decided, if nothing was."""
        state, recorder = self.run.state, self.run.recorder
        assert recorder is not None
        if call.decided is not None:
            self._apply(place, fate_of(call.decided))
            return None
        pending = stored_pending(call, asked, state.session_id)
        fate: Fate | None = expired(asked) or recorder.ledger.decisions.get(pending.id)
        if isinstance(fate, Edit):
            try:
                self._check(place, fate)
            except ValueError as error:
                recorder.ledger.misfits.append(error)
                fate = None
        if fate is None:
            return pending
        recorder.decide(pending.id, as_decision(fate))
        self.run.emitter.emit(ApprovalDecided, pending.id, as_decision(fate))
        self._apply(place, fate)
        return None

    async def _write_down(self, pending: Iterable[Pending]) -> None:
        """Nothing has begun before this is written."""
        if (recorder := self.run.recorder) is None:
            return
        names = [tool.name for tool in self.run.tools]
        unknown = {
            job.call.id: unknown_tool(job.call.name, names).of_call(job.call)
            for job in self.jobs
            if job.tool is None and job.settled is None
        }
        await recorder.vetted(self.jobs, unknown, pending)

    async def _ask_hooks(self, message: AssistantMessage, *, wrap_up: bool) -> Halt | None:
        state = self.run.state
        tools = {tool.name: tool for tool in self.run.tools}
        left = state.calls_left()
        for place, call in enumerate(message.tool_calls):
            job = Job(call=call, tool=tools.get(call.name))
            self.jobs.append(job)
            if wrap_up:
                self._settle(place, Outcome.NOT_STARTED)
            elif message.stop.reason is StopReason.MAX_TOKENS and call is message.content[-1]:
                self._settle(place, Outcome.NOT_STARTED, _CUT)
            elif left is not None and state.counts(job) and self._running() > left:
                self._settle(place, Outcome.NOT_STARTED, _OVER.format(limit=state.agent.limits.max_tool_calls))
            elif job.tool is None or call.parse_error is not None:
                continue  # the executor says what is wrong with it
            elif state.counts(job) and not self.run.calls.reserve():
                self._settle(place, Outcome.NOT_STARTED, _SPENT)
            else:
                vetted = await self.run.hooks.before_tool_call(state, call)
                if vetted.call is not call:
                    self._edit(place, vetted.call.arguments)
                match vetted.verdict:
                    case Halt() as halt:
                        return halt
                    case Block(reason):
                        self._settle(place, Outcome.BLOCKED, f"blocked: {reason}")
                        if state.counts(job):
                            self.run.calls.give_back()
                    case None if vetted.asks or job.tool.approve:
                        if self._problem(place, vetted.call.arguments) is None:  # else it cannot run anyway
                            self.asks[place] = vetted.asks or (Ask(),)
        return None

    def _running(self) -> int:
        """How many of the calls that count are to run, as it looks now."""
        return sum(job.settled is None and self.run.state.counts(job) for job in self.jobs)

    # Whom to ask.

    async def _ask_approver(self, place: int, ask: Ask, approver: Approver) -> None:
        """Ask a function, which holds up the run until it answers."""
        pending = self._pending(place, [ask], ask.expires)
        self.run.emitter.emit(ApprovalRequested, pending)
        fate: Fate = Withdrawn()
        try:
            fate = await _approved(approver, pending, ask.expires, partial(self._check, place))
        finally:
            self.run.emitter.emit(ApprovalDecided, pending.id, as_decision(fate))
        self._apply(place, fate)

    def _left_to_others(self) -> dict[int, Pending]:
        """What nobody here can decide. Where nobody else can either, it is denied."""
        pending: dict[int, Pending] = {}
        for place, asks in self.asks.items():
            waiting = [ask for ask in asks if ask.approver is None]
            if not waiting or self.jobs[place].settled is not None:
                continue
            if not self.run.means.desks and not self.run.means.may_pause:
                self._settle(place, Outcome.DENIED, _NOBODY)
                continue
            limits = [ask.expires for ask in waiting if ask.expires is not None]
            pending[place] = self._pending(place, waiting, min(limits) if limits else None)
        return pending

    async def _wait_for_others(self, pending: Mapping[int, Pending]) -> Paused | None:
        """Lay all that is pending on the desks, at once, and wait for all; where there are none, the run pauses."""
        if not pending:
            return None
        if not self.run.means.desks:
            for waits in pending.values():
                self.run.emitter.emit(ApprovalRequested, waits)
            return Paused(tuple(pending.values()))
        slots: dict[int, Slot] = {}
        for place, waits in pending.items():
            limit = None if waits.expires_at is None else max(0.0, waits.expires_at - time.time())
            slots[place] = self.run.slot(waits, partial(self._check, place), limit)
        await self._wait_for_all(slots)
        await self._write_down(())
        return None

    async def _wait_for_all(self, slots: Mapping[int, Slot]) -> None:
        async def wait(place: int, slot: Slot) -> None:
            self._apply(place, await self.run.decided(slot))

        try:
            for slot in slots.values():
                self.run.emitter.emit(ApprovalRequested, slot.pending)
            with sole_error():
                async with trio.open_nursery() as nursery:
                    for place, slot in slots.items():
                        nursery.start_soon(wait, place, slot)
        finally:
            for slot in slots.values():
                slot.settle(Withdrawn())

    def _pending(self, place: int, asks: Sequence[Ask], limit: float | None) -> Pending:
        """What is to be decided: of the call as it is now, which a middleware or an approver may have edited."""
        call = self.jobs[place].call
        shown = question_of(self.run.state.agent_path, call)
        questions = dict.fromkeys(ask.question or shown for ask in asks)
        return self.run.pending("approval", "\n".join(questions), call, limit)

    # What becomes of a call.

    def _check(self, place: int, edit: Edit) -> None:
        if (problem := self._problem(place, edit.arguments)) is not None:
            raise ValueError(problem)

    def _problem(self, place: int, arguments: Mapping[str, JSON]) -> str | None:
        """Why these arguments do not fit the tool; None if they do."""
        tool = self.jobs[place].tool
        assert tool is not None
        try:
            tool.parse(arguments)
        except Exception as error:  # ValidationError, or a check that the tool's author wrote is broken
            return f"the arguments of {tool.name} do not fit: {describe(error)}"
        return None

    def _apply(self, place: int, fate: Fate) -> None:
        match fate:
            case Approve():
                pass
            case Edit(arguments):
                self._edit(place, arguments)
            case Withdrawn():
                self._settle(place, Outcome.CANCELLED, _WITHDRAWN)
            case Expired(seconds):
                text = f"denied: nobody approved of this call within {seconds:g} s; it did not run"
                self._settle(place, Outcome.DENIED, text)
            case Deny(reason):
                self._settle(place, Outcome.DENIED, f"denied: {reason}; the call did not run" if reason else None)

    def _edit(self, place: int, arguments: Mapping[str, JSON]) -> None:
        job = self.jobs[place]
        call = edited(job.call, arguments)
        self.run.state.replace_call(job.call, call)
        first = job.call.arguments if job.edited_from is None else job.edited_from
        self.jobs[place] = attrs.evolve(job, call=call, edited_from=first)

    def _settle(self, place: int, outcome: Outcome, text: str | None = None) -> None:
        job = self.jobs[place]
        self.jobs[place] = attrs.evolve(job, settled=synthetic_result(job.call, outcome, text))


async def _approved(approver: Approver, pending: Pending, limit: float | None, check: Callable[[Edit], object]) -> Fate:
    """What a function decides within `limit` seconds; True stands for an approval, False for a denial."""
    answer: object = None
    expired = True
    try:
        with trio.move_on_after(math.inf if limit is None else limit):
            answer = approver(pending)
            if isawaitable(answer):
                answer = await answer
            expired = False
        if expired and limit is not None:
            return Expired(limit)
        if isinstance(answer, bool):
            return Approve() if answer else Deny()
        decision = check_decision(pending, answer)
        if isinstance(decision, Edit):
            check(decision)
    except Exception as error:
        what = f"the approver of {pending.question!r} failed: {type(error).__name__}: {error}"
        raise HookError(what, hook="ask") from error
    return decision
