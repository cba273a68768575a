"""The agent server: a mailbox before one run at a time.

The run is a child task, so everything else is answered at once. What waits and what was said live in the
`SessionState`, which outlives the server.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents.entry import Entry, PerRun
from alloy.agents.errors import Busy, QueueFull
from alloy.agents.health import Health, HealthStatus
from alloy.agents.options import Options
from alloy.agents.requests import (
    Cancel,
    CancelTool,
    Decide,
    Export,
    GetHealth,
    GetMessages,
    GetPending,
    GetUsage,
    Reset,
    Say,
    SetModel,
    StopIntake,
    Submit,
)
from alloy.agents.restoring import accepted, restore
from alloy.agents.session_state import SessionState
from alloy.agents.slot import RunSlot
from alloy.llm.budget import current_budget
from alloy.llm.errors import AuthError
from alloy.llm.fallback import name_of
from alloy.llm.message import Message, UserMessage, as_user_message, mint
from alloy.loop.errors import UnknownRequest
from alloy.loop.events import Event
from alloy.loop.journal import Store
from alloy.loop.ledger import Ledger, open_ledger
from alloy.loop.means import connect_all
from alloy.loop.middleware import Halt, Hooks
from alloy.loop.recorder import SETTLE
from alloy.loop.records import Accepted, HistoryGiven, ModelChanged, Withdrawn
from alloy.loop.result import Status
from alloy.loop.session import Session

_log = logging.getLogger("alloy.agents")

_STEERED = "steer"
TIDY_SECONDS = 5.0  # for the hooks at the end of a server, after its time to drain


class AgentServer(otp.Server):
    """One incarnation of an agent."""

    def __init__(self, state: SessionState, options: Options) -> None:
        self.state = state
        self.options = options
        self._slot = RunSlot(state, options)
        self._born = trio.current_time()
        self._not_open: Exception | None = None  # why the session could not be opened

    def format_status(self) -> object:
        """Nothing of what was said, nor any key."""
        state = self.state
        return {"session_id": state.id, "agent": state.agent.name, "queued": len(state.queue)}

    async def init(self) -> None:
        """Make sure that the agent can work at all, then take up what waits.

        Raises:
            MissingKey, ValueError: its model cannot be asked.
            HookError: `session_start` halted or raised.
        """
        state, options = self.state, self.options
        me = otp.self_()
        parent = me.process.parent if me.process is not None else None
        self._slot.budget = current_budget.get()
        state.up(me, parent.ref if parent is not None else None)
        await connect_all(self._slot.connections, state.agent.models)
        if options.store is not None:
            is_open = trio.Event()
            self.start_soon(self._hold_session, options.store, is_open)
            await is_open.wait()
            if self._not_open is not None:
                raise self._not_open
        halt = await Hooks(state.agent.middleware).session_start(state.session())
        if isinstance(halt, Halt):
            raise otp.Stop(otp.Shutdown(f"session_start halted: {halt.reason}"))
        if options.pubsub is not None:
            for topic in options.subscribe:
                options.pubsub.subscribe(topic)
            publisher = _Publisher(options.pubsub, f"agent:{state.id}:events")
            if not any(isinstance(watcher, _Publisher) for watcher in state.tape.watchers):
                state.tape.add(publisher)
        self._slot.take_up_work(self)

    async def _hold_session(self, store: Store, is_open: trio.Event) -> None:
        """Drive the session for as long as the server lives, and a little longer: until its run has told its end."""
        state = self.state
        async with AsyncExitStack() as opened:
            try:
                ledger = await opened.enter_async_context(open_ledger(store, state.id))
                await restore(state, ledger, self._slot.connections)
            except Exception as error:  # it is that of `init`, which waits for this
                self._not_open = error
                return
            finally:
                is_open.set()
            state.ledger = ledger
            try:
                while True:
                    await state.noted.wait()
                    await self._write_notes(ledger)
            finally:
                with trio.move_on_after(self.options.drain + SETTLE, shield=True):
                    await self._slot.idle.wait()
                    if ledger.broken is None:
                        await self._write_notes(ledger)
                state.ledger = None

    async def _write_notes(self, ledger: Ledger) -> None:
        """Write what was done in tasks that cannot wait for it."""
        state = self.state
        state.noted = trio.Event()
        notes, state.notes = state.notes, []
        try:
            await ledger.append(*notes)
        except BaseException:
            state.notes = notes + state.notes
            raise

    async def terminate(self, reason: otp.ExitReason) -> None:
        """End in good order: hooks, `on_shutdown`, connections."""
        state = self.state
        session = state.session()
        try:
            with trio.move_on_after(TIDY_SECONDS) as scope:
                await Hooks(state.agent.middleware).session_end(session)
                if self.options.on_shutdown is not None:
                    await _call(self.options.on_shutdown, session)
            if scope.cancelled_caught:
                _log.warning("the end of session %s was cut: its hooks took more than %g s", state.id, TIDY_SECONDS)
        finally:
            await self._slot.connections.__aexit__(None, None, None)
        if state.restart is not otp.Restart.PERMANENT and _is_final(reason):
            state.close(reason)

    async def handle_info(self, message: Any) -> None:
        """A message of a topic: a text is a prompt, anything else is not for us."""
        if not isinstance(message, str | UserMessage):
            await super().handle_info(message)
            return
        try:
            prompt = as_user_message(message)
            await self._accept(Entry(id=mint("req"), prompt=prompt, options=PerRun()))
        except (ValueError, Busy, QueueFull, otp.ServerExited) as error:
            _log.warning("agent %r does not take up a message of its topics: %s", self.state.agent.name, error)

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
        """Answer at once; what is refused is raised in the caller."""
        try:
            return await self._answer(request)
        except (Busy, QueueFull, UnknownRequest, otp.ServerExited, AuthError, ValueError, TypeError) as error:
            reply_to.fail(error)
            return otp.NO_REPLY

    async def _answer(self, request: Any) -> Any:
        state = self.state
        match request:
            case Submit(entry):
                return await self._accept(entry)
            case Say():
                return await self._hear(request)
            case Cancel(request_id):
                return await self._cancel(request_id)
            case CancelTool(call_id):
                return state.cancel_tool(call_id)
            case GetPending():
                return state.desk.pending()
            case Decide(pending_id, decision):
                await state.decide(pending_id, decision)
            case GetMessages():
                return state.history()
            case GetUsage():
                return state.used()
            case GetHealth():
                return self._health()
            case Export():
                return state.session()
            case Reset():
                await self._reset()
            case SetModel():
                await self._set_model(request)
            case StopIntake():
                self._slot.begin_drain()
            case _:
                raise TypeError(f"an agent server takes no {request!r}")
        return None

    async def _reset(self) -> None:
        """The session begins anew; what was before stays in the store, on another branch."""
        self._refuse_while_busy("reset")
        if (ledger := self.state.ledger) is not None:
            changed = [ModelChanged(model=self.state.model_set)] if self.state.model_set else []
            await ledger.append(HistoryGiven(messages=()), *changed, parent=None)
        self.state.messages = ()

    async def _set_model(self, request: SetModel) -> None:
        """Only a model that can be asked: a wrong name fails here, and not in the next run."""
        self._refuse_while_busy("set_model")
        agent = self.state.agent.evolve(model=request.model)
        await connect_all(self._slot.connections, agent.models)
        self._refuse_while_busy("set_model")
        names = ", ".join(map(name_of, agent.models))
        if (ledger := self.state.ledger) is not None:
            await ledger.append(ModelChanged(model=names))
        self.state.agent, self.state.model_set = agent, names

    def _refuse_while_busy(self, what: str) -> None:
        if (current := self.state.current) is not None:
            raise Busy(f"{what} has to wait for the end of the run of request {current.id!r}", request_id=current.id)

    def _health(self) -> Health:
        state = self.state
        run = state.run.state if state.run is not None else None
        return Health(
            status=self._status(),
            session_id=state.id,
            model=name_of(state.agent.models[0]) if state.run is None else state.run.context.model.name,
            request_id=state.current.id if state.current else None,
            turn=run.turn if run else 0,
            running_tools=run.batch.running if run and run.batch else (),
            queued=len(state.queue),
            max_pending=self.options.max_pending,
            restarts=state.incarnations - 1,
            stuck_threads=self._slot.executor.stuck_threads,
            usage=state.used(),
            last_error=state.last_error,
            uptime=trio.current_time() - self._born,
        )

    def _status(self) -> HealthStatus:
        if self._slot.draining_since is not None:
            return "draining"
        if self.state.current is None:
            return "idle"
        return "paused" if self.state.desk.slots else "running"

    # What is asked.

    async def _accept(self, entry: Entry) -> str:
        state, ledger = self.state, self.state.ledger
        if entry.id in state.entries or entry.id in state.answered:
            return entry.id  # the same request again
        if self._slot.draining_since is not None:
            raise otp.ServerExited(otp.self_(), otp.Shutdown("draining"))
        if state.current is not None and len(state.queue) >= self.options.max_pending:
            if self.options.max_pending == 0:
                raise Busy(
                    f"the run of request {state.current.id!r} is on, and none may wait", request_id=state.current.id
                )
            raise QueueFull(f"{len(state.queue)} requests wait already", limit=self.options.max_pending)
        if ledger is not None and entry.prompt is not None:
            await ledger.append(accepted(entry))
            if entry.is_withdrawn:  # meanwhile
                await ledger.append(Withdrawn(ids=(entry.id,)))
                return entry.id
        state.accept(entry)
        self._slot.take_up_work(self)
        return entry.id

    async def _hear(self, said: Say) -> str:
        state, ledger = self.state, self.state.ledger
        if (current := state.current) is None:
            return await self._accept(said.entry)
        if ledger is not None:
            await ledger.append(Accepted(message=said.message, how=said.how))
            if state.current is not current:  # the run has ended meanwhile
                await self._slot.requeue_in(ledger, [said.message])
                self._slot.take_up_work(self)
                return state.queue[0].id
        (state.steering if said.how == _STEERED else state.follow_ups).append(said.message)
        return current.id

    async def _cancel(self, request_id: str | None) -> tuple[Message, ...]:
        state = self.state
        if request_id is None and state.current is None:
            raise UnknownRequest("no run is on; there is nothing to cancel")
        entry = state.current if request_id is None else state.find(request_id)
        assert entry is not None
        if entry.done.is_set():
            raise UnknownRequest(f"the request {entry.id!r} is done; there is nothing to cancel", request_id=entry.id)
        if entry is state.current:
            unsent = (*state.steering, *state.follow_ups)
            state.steering.clear()
            state.follow_ups.clear()
            if state.ledger is not None and unsent:
                await state.ledger.append(Withdrawn(ids=tuple(message.id for message in unsent)))
            if entry.scope is not None:
                entry.scope.cancel(reason="AgentRef.cancel()")
            return unsent
        state.take_out(entry, Status.CANCELLED)
        return () if entry.prompt is None else (entry.prompt,)


def _is_final(reason: otp.ExitReason) -> bool:
    """Whether the server ended of its own will; a shutdown by its supervisor may be followed by a restart."""
    match reason:
        case otp.Normal() | otp.Shutdown(detail=BaseException()):
            return True
        case _:
            return False


@attrs.define(eq=False)
class _Publisher:
    """A watcher that publishes all events on a topic."""

    pubsub: otp.PubSub
    topic: str

    def put(self, event: Event) -> None:
        self.pubsub.broadcast(self.topic, event)

    async def room(self) -> None:
        return


async def _call(callback: Callable[[Session], object], session: Session) -> None:
    """Call the user's function, sync or async; an error of it is logged and changes nothing."""
    try:
        answer = callback(session)
        if inspect.isawaitable(answer):
            await answer
    except Exception:
        _log.exception("on_shutdown of session %s failed", session.id)
