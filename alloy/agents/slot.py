"""The run slot of an agent: where its one run is, and how that ends when the server does."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents.entry import Entry
from alloy.agents.options import Options
from alloy.agents.restoring import requests_of, waiting
from alloy.agents.run_graph import serving
from alloy.agents.session_state import SessionState
from alloy.api import Connections
from alloy.llm.budget import Budget, current_budget, together
from alloy.llm.errors import AuthError
from alloy.llm.message import UserMessage, mint
from alloy.loop.emitter import Tape
from alloy.loop.ledger import Ledger
from alloy.loop.means import Means
from alloy.loop.records import Accepted, Record, RunBegun
from alloy.loop.result import Result, Status
from alloy.loop.run import Run
from alloy.otp.process import Process
from alloy.tools import Executor
from alloy.tools.watch import Watch, told_to_stop

_log = logging.getLogger("alloy.agents")


class RunSlot:
    """Serves what waits in the session, one request after the other, in a task beside the server.

    A server that is stopped in good order lets its run end within the time to drain; a crash or a kill cuts it.

    Attributes:
        connections: to the agent's models; whoever has the slot closes them.
        budget: what is around the server; None if nothing is.
        draining_since: when the slot was told to take nothing more up from outside; None before.
        idle: set while nothing is being served.
    """

    def __init__(self, state: SessionState, options: Options) -> None:
        self.state = state
        self.options = options
        self.connections: Connections = Connections(options.http)
        self.budget: Budget | None = None
        self.draining_since: float | None = None
        self._is_working = False
        self.idle: trio.Event = trio.Event()
        self.idle.set()
        self._cut_at = math.inf  # when a run is told to stop

    @cached_property
    def executor(self) -> Executor:
        """Of its tools: the team's, or its own, made when it is first needed."""
        if self.options.executor is not None:
            return self.options.executor
        process = otp.self_().process
        assert process is not None
        return Executor(watch=Watch(process.system.deadlines.after))

    def take_up_work(self, server: otp.Server) -> None:
        """Begin to serve what waits, if there is any and it is not being served."""
        if self.state.queue and not self._is_working:
            self._is_working = True
            self.idle = trio.Event()
            server.start_soon(self._work, grace=self.begin_drain)

    def begin_drain(self) -> float:
        """Take nothing more in; answers for how many seconds what is under way may go on."""
        now = trio.current_time()
        if self.draining_since is None:
            self.draining_since = now
        seconds = min(self.options.drain, max(0.0, self.state.runs_end_by - now))
        self._cut_at = now + seconds
        return seconds

    async def _work(self) -> None:
        state = self.state
        me = otp.self_()
        serving.set(state)
        try:
            while state.queue:
                await self._serve_next(me)
        finally:
            self._is_working = False
            self.idle.set()
        if self.options.until_idle:
            raise otp.Stop(otp.Normal())

    async def _serve_next(self, me: otp.Ref) -> None:
        """Serve one request to its end; whatever happens, nobody is left waiting for it."""
        state = self.state
        entry = state.current = state.queue.pop(0)
        told_to_stop.set(partial(self._is_cut, entry, me.process))
        try:
            await self._serve(entry)
        finally:
            if not entry.done.is_set():
                entry.die_with(me)
            self._report_drain(entry)
            state.settle(entry)
            state.current = None
            if state.ledger is None:
                self._requeue_unsent()
        if state.ledger is not None and (unsent := [*state.steering, *state.follow_ups]):
            await self.requeue_in(state.ledger, unsent)

    def _is_cut(self, entry: Entry, process: Process | None) -> bool:
        """Whether the run of a request has been told to stop, by whomever."""
        killed = False
        while process is not None and not killed:
            killed, process = process.kill_scope.cancel_called, process.parent
        cancelled = entry.scope is not None and entry.scope.cancel_called
        return killed or cancelled or trio.current_time() >= self._cut_at

    async def _serve(self, entry: Entry) -> None:
        """Run one request and give it its outcome. What is not an AlloyError is a bug, and crashes the server."""
        state = self.state
        scope = entry.scope = trio.CancelScope()
        # In place of that of whoever happened to ask while nothing else was under way.
        of_caller = None if entry.asked_in is None else entry.asked_in.get(current_budget)
        current_budget.set(together(self.budget, self.options.budget, of_caller, entry.options.budget))
        try:
            run = await self._prepare(entry)
        except Exception as error:
            if (result := getattr(error, "result", None)) is None:
                raise
            if state.ledger is not None:
                await state.ledger.append(entry.ended(state.ledger.was, Status.ERROR, error))
            self._conclude(entry, result)
            return
        state.run = run
        try:
            result = await run.execute(scope)
        except BaseException:
            state.absorb(run.snapshot())
            raise
        state.absorb(result)
        if state.ledger is not None and state.ledger.broken is not None:
            raise state.ledger.broken
        self._conclude(entry, result)

    async def _prepare(self, entry: Entry) -> Run:
        state, options, caller = self.state, self.options, entry.caller
        agent = state.agent.evolve(**entry.options.changes)
        own = [Tape(entry.options.watchers)] if entry.options.watchers else []
        tapes = [state.tape, *options.tapes, *own, *(caller.tapes if caller else ())]
        means = Means(
            connections=self.connections,
            executor=self.executor,
            members=options.members,
            shared=options.shared,
            desks=tuple(dict.fromkeys((state.desk, *(caller.desks if caller else ())))),
            inherited=caller.inherited if caller else (),
            ledger=state.ledger,
        )
        path = (*caller.agent_path, agent.name) if caller else (agent.name,)
        begun: RunBegun | None = None
        if state.ledger is not None:
            begun = RunBegun(run_id=mint("run"), agent=agent.name, agent_path=path, request_id=entry.id)
        return await Run.prepare(
            agent,
            entry.prompt,
            means=means,
            tapes=list(dict.fromkeys(tapes)),
            history=state.messages,
            deps=entry.options.deps if entry.options.has_deps else options.deps,
            session_id=state.id,
            agent_path=path,
            parent_call_id=caller.call_id if caller else None,
            inbox=state,
            asked_in=entry.asked_in,
            owns_session=False,
            only_compacts=entry.prompt is None and entry.stored is None,
            begun=begun,
            stored=entry.stored,
        )

    def _conclude(self, entry: Entry, result: Result[Any]) -> None:
        state = self.state
        first_of_all = state.incarnations == 1 and not any(m for m in state.messages if hasattr(m, "stop"))
        result = attrs.evolve(result, request_id=entry.id)
        if result.error is not None:
            result.error.result = result
            state.last_error = f"{type(result.error).__name__}: {result.error}"
        entry.finish(result)
        if self.options.pubsub is not None:
            self.options.pubsub.broadcast(f"agent:{state.id}:responses", result)
        if isinstance(result.error, AuthError) and first_of_all:
            raise otp.Stop(otp.Shutdown(result.error))  # a wrong key: no restart will mend it

    def _report_drain(self, entry: Entry) -> None:
        """Log what became of a run that was on when the server was told to stop."""
        if self.draining_since is not None:
            how = "finished" if entry.is_finished else "cancelled"
            seconds = trio.current_time() - self.draining_since
            args = (self.state.agent.name, self.state.id, entry.id, how, seconds)
            _log.info("agent %r was stopped: session %s, request %s: %s after %.1f s", *args)

    async def requeue_in(self, ledger: Ledger, unsent: Sequence[UserMessage]) -> None:
        """What was said to a run that ended without it becomes requests of its own, which are written down first."""
        state = self.state
        records = requests_of(unsent)
        await ledger.append(*records)
        for message in unsent:
            said = state.steering if message in state.steering else state.follow_ups
            if message in said:
                said.remove(message)
        self._requeue(records)

    def _requeue_unsent(self) -> None:
        """The same where nothing is written down."""
        state = self.state
        self._requeue(requests_of([*state.steering, *state.follow_ups]))
        state.steering.clear()
        state.follow_ups.clear()

    def _requeue(self, records: Sequence[Record]) -> None:
        """These requests come before all others."""
        state = self.state
        state.queue[:0] = [waiting(state, record) for record in records if isinstance(record, Accepted)]
