"""The agent server: a mailbox before one run at a time.

The run is a child task, so everything else is answered at once. What waits and what was said live in the
`SessionState`, which outlives the server.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
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
from alloy.agents.session_state import SessionState
from alloy.agents.slot import RunSlot
from alloy.llm.budget import current_budget
from alloy.llm.errors import AuthError
from alloy.llm.fallback import name_of
from alloy.llm.message import Message, UserMessage, as_user_message, mint
from alloy.loop.errors import UnknownRequest
from alloy.loop.events import Event
from alloy.loop.means import connect_all
from alloy.loop.middleware import Halt, Hooks
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
            self._accept(Entry(id=mint("req"), prompt=prompt, options=PerRun()))
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
                return self._accept(entry)
            case Say():
                return self._hear(request)
            case Cancel(request_id):
                return self._cancel(request_id)
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
                self._refuse_while_busy("reset")
                state.messages = ()
            case SetModel():
                await self._set_model(request)
            case StopIntake():
                self._slot.begin_drain()
            case _:
                raise TypeError(f"an agent server takes no {request!r}")
        return None

    async def _set_model(self, request: SetModel) -> None:
        """Only a model that can be asked: a wrong name fails here, and not in the next run."""
        self._refuse_while_busy("set_model")
        agent = self.state.agent.evolve(model=request.model)
        await connect_all(self._slot.connections, agent.models)
        self._refuse_while_busy("set_model")
        self.state.agent = agent

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

    def _accept(self, entry: Entry) -> str:
        state = self.state
        if entry.id in state.entries:
            return entry.id  # the same request again
        if self._slot.draining_since is not None:
            raise otp.ServerExited(otp.self_(), otp.Shutdown("draining"))
        if state.current is not None and len(state.queue) >= self.options.max_pending:
            if self.options.max_pending == 0:
                raise Busy(
                    f"the run of request {state.current.id!r} is on, and none may wait", request_id=state.current.id
                )
            raise QueueFull(f"{len(state.queue)} requests wait already", limit=self.options.max_pending)
        state.accept(entry)
        self._slot.take_up_work(self)
        return entry.id

    def _hear(self, said: Say) -> str:
        state = self.state
        if state.current is None:
            return self._accept(said.entry)
        (state.steering if said.how == _STEERED else state.follow_ups).append(said.message)
        return state.current.id

    def _cancel(self, request_id: str | None) -> tuple[Message, ...]:
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
