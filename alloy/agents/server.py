"""The agent server: a mailbox before one run at a time.

The run is a child task, so everything else is answered at once. What waits and what was said live in the
`SessionState`, which outlives the server.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AsyncExitStack, nullcontext
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents.entry import Entry, PerRun
from alloy.agents.errors import Busy, QueueFull, UnknownRequest
from alloy.agents.health import Health
from alloy.agents.requests import (
    Cancel,
    CancelTool,
    Export,
    GetHealth,
    GetMessages,
    GetUsage,
    Reset,
    Say,
    SetModel,
    StopIntake,
    Submit,
)
from alloy.agents.run_graph import serving
from alloy.agents.session_state import SessionState
from alloy.api import Connections, SharedHTTP
from alloy.llm.errors import AuthError
from alloy.llm.message import Message, UserMessage, as_user_message, mint
from alloy.loop.delegate import Chats
from alloy.loop.emitter import Tape
from alloy.loop.events import Event
from alloy.loop.means import Means
from alloy.loop.middleware import Halt, Hooks
from alloy.loop.result import Result, Status
from alloy.loop.session import Session
from alloy.loop.turn import Run
from alloy.otp.process import Process
from alloy.tools import Executor

_log = logging.getLogger("alloy.agents")

_STEERED = "steer"


@attrs.frozen(kw_only=True)
class Options:
    """How an agent is to live.

    Attributes:
        deps: for its tools.
        http: connections shared with others; without it the server opens its own at its first request.
        max_pending: how many requests may wait behind the one that is worked on.
        keep_results: how many results are kept for whoever asks for them later.
        pubsub: where results and events are published.
        subscribe: topics of `pubsub` whose texts are prompts.
        on_shutdown: called with the session when the server ends in good order.
        drain: seconds that a run may go on after the server was told to stop.
        executor, members, shared, tapes: of the team.
    """

    deps: object = None
    http: SharedHTTP | None = None
    max_pending: int = 16
    keep_results: int = 256
    pubsub: otp.PubSub | None = None
    subscribe: Sequence[Hashable] = ()
    on_shutdown: Callable[[Session], object] | None = None
    drain: float = 25.0
    executor: Executor | None = None
    members: Mapping[str, Chats] = attrs.field(factory=dict)
    shared: object | None = None
    tapes: tuple[Tape, ...] = ()


class AgentServer(otp.Server):
    """One incarnation of an agent."""

    def __init__(self, state: SessionState, options: Options) -> None:
        self.state = state
        self.options = options
        self._opened = AsyncExitStack()
        self._connections = Connections(options.http)
        self._executor = options.executor or Executor()
        self._takes_in = True
        self._draining_since: float | None = None
        self._is_working = False
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
        state.up(me, parent.ref if parent is not None else None)
        await self._connections.connect(state.agent.model)
        halt = await Hooks(state.agent.middleware).session_start(state.session())
        if isinstance(halt, Halt):
            raise otp.Stop(otp.Shutdown(f"session_start halted: {halt.reason}"))
        if options.pubsub is not None:
            for topic in options.subscribe:
                options.pubsub.subscribe(topic)
            publisher = _Publisher(options.pubsub, f"agent:{state.id}:events")
            if not any(isinstance(watcher, _Publisher) for watcher in state.tape.watchers):
                state.tape.add(publisher)
        self._take_up_work()

    async def terminate(self, reason: otp.ExitReason) -> None:
        """End in good order: hooks, `on_shutdown`, connections."""
        state = self.state
        session = state.session()
        try:
            await Hooks(state.agent.middleware).session_end(session)
            if self.options.on_shutdown is not None:
                await _call(self.options.on_shutdown, session)
        finally:
            await self._connections.__aexit__(None, None, None)
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
            return self._answer(request)
        except (Busy, QueueFull, UnknownRequest, otp.ServerExited, ValueError, TypeError) as error:
            reply_to.fail(error)
            return otp.NO_REPLY

    def _answer(self, request: Any) -> Any:
        state = self.state
        match request:
            case Submit(entry):
                return self._accept(entry)
            case Say():
                return self._hear(request)
            case Cancel(request_id):
                return self._cancel(request_id)
            case CancelTool(call_id):
                batch = state.run.state.batch if state.run is not None else None
                return batch is not None and batch.cancel(call_id)
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
            case SetModel(model):
                self._refuse_while_busy("set_model")
                state.agent = state.agent.evolve(model=model)
            case StopIntake():
                self._begin_drain()
            case _:
                raise TypeError(f"an agent server takes no {request!r}")
        return None

    def _refuse_while_busy(self, what: str) -> None:
        if (current := self.state.current) is not None:
            raise Busy(f"{what} has to wait for the end of the run of request {current.id!r}", request_id=current.id)

    def _health(self) -> Health:
        state = self.state
        run = state.run.state if state.run is not None else None
        status = "draining" if not self._takes_in else "idle" if state.current is None else "running"
        model = state.agent.model
        return Health(
            status=status,  # type: ignore[arg-type]  # one of the words
            session_id=state.id,
            model=model if isinstance(model, str) else model.name,
            request_id=state.current.id if state.current else None,
            turn=run.turn if run else 0,
            running_tools=run.batch.running if run and run.batch else (),
            queued=len(state.queue),
            max_pending=self.options.max_pending,
            restarts=state.incarnations - 1,
            stuck_threads=self._executor.stuck_threads,
            usage=state.used(),
            last_error=state.last_error,
            uptime=trio.current_time() - self._born,
        )

    # What is asked.

    def _accept(self, entry: Entry) -> str:
        state = self.state
        if entry.id in state.entries:
            return entry.id  # the same request again
        if not self._takes_in:
            raise otp.ServerExited(otp.self_(), otp.Shutdown("draining"))
        if state.current is not None and len(state.queue) >= self.options.max_pending:
            if self.options.max_pending == 0:
                raise Busy(
                    f"the run of request {state.current.id!r} is on, and none may wait", request_id=state.current.id
                )
            raise QueueFull(f"{len(state.queue)} requests wait already", limit=self.options.max_pending)
        state.accept(entry)
        self._take_up_work()
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
        state.queue.remove(entry)
        entry.finish(self._never_run(entry))
        state.settle(entry)
        return (entry.prompt,)

    def _never_run(self, entry: Entry) -> Result[Any]:
        state = self.state
        return Result(
            status=Status.CANCELLED,
            messages=state.history(),
            agent=state.agent.name,
            session_id=state.id,
            request_id=entry.id,
        )

    # The run, one at a time, in a task of its own.

    def _take_up_work(self) -> None:
        if self.state.queue and not self._is_working:
            self._is_working = True
            shelter = trio.CancelScope(shield=True)
            done = trio.Event()
            self.start_soon(self._work, shelter, done)
            self.start_soon(self._usher, shelter, done)

    async def _work(self, shelter: trio.CancelScope, done: trio.Event) -> None:
        """Serve what waits, one after the other. A stop of the server reaches this through the usher."""
        state = self.state
        me = otp.self_()
        serving.set(state)
        try:
            with shelter:
                while state.queue:  # looked at again after the executor was closed, which takes a while
                    async with nullcontext() if self.options.executor is not None else self._executor:
                        while state.queue:
                            await self._serve_next(me)
        finally:
            self._is_working = False
            done.set()

    async def _serve_next(self, me: otp.Ref) -> None:
        """Serve one request to its end; whatever happens, nobody is left waiting for it."""
        state = self.state
        entry = state.current = state.queue.popleft()
        try:
            await self._serve(entry)
        finally:
            if not entry.done.is_set():
                entry.die_with(me)
            self._report_drain(entry)
            state.settle(entry)
            state.current = None
            self._requeue_unsent()

    async def _usher(self, shelter: trio.CancelScope, done: trio.Event) -> None:
        """When the server is stopped, let the run under way end within the time to drain; when killed, cut it."""
        process = otp.self_().process
        try:
            await done.wait()
        finally:
            if not done.is_set():
                killed = process is None or _is_killed(process)
                crashed = process is not None and isinstance(process.requested, otp.Crash)
                if not crashed:
                    self._begin_drain()
                limit = 0.0 if killed or crashed else self.options.drain
                shelter.deadline = trio.current_time() + limit

    def _begin_drain(self) -> None:
        self._takes_in = False
        if self._draining_since is None:
            self._draining_since = trio.current_time()

    def _report_drain(self, entry: Entry) -> None:
        """Log what became of a run that was on when the server was told to stop."""
        if self._draining_since is not None:
            how = "finished" if entry.is_finished else "cancelled"
            seconds = trio.current_time() - self._draining_since
            args = (self.state.agent.name, self.state.id, entry.id, how, seconds)
            _log.info("agent %r was stopped: session %s, request %s: %s after %.1f s", *args)

    async def _serve(self, entry: Entry) -> None:
        """Run one request and give it its outcome. What is not an AlloyError is a bug, and crashes the server."""
        state = self.state
        scope = entry.scope = trio.CancelScope()
        options = self.options
        caller = entry.caller
        agent = state.agent.evolve(**entry.options.changes)
        own = [Tape(entry.options.watchers)] if entry.options.watchers else []
        tapes = [state.tape, *options.tapes, *own, *(caller.tapes if caller else ())]
        means = Means(
            connections=self._connections,
            executor=self._executor,
            members=options.members,
            shared=options.shared,
        )
        try:
            run = await Run.prepare(
                agent,
                entry.prompt,
                means=means,
                tapes=list(dict.fromkeys(tapes)),
                history=state.messages,
                deps=entry.options.deps if entry.options.has_deps else options.deps,
                session_id=state.id,
                agent_path=(*caller.agent_path, agent.name) if caller else (agent.name,),
                parent_call_id=caller.call_id if caller else None,
                inbox=state,
                owns_session=False,
            )
        except Exception as error:
            if (result := getattr(error, "result", None)) is None:
                raise
            self._conclude(entry, result)
            return
        state.run = run
        try:
            result = await run.execute(scope)
        except BaseException:
            state.absorb(run.snapshot())
            raise
        state.absorb(result)
        self._conclude(entry, result)

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

    def _requeue_unsent(self) -> None:
        """What was said to a run that ended without it becomes requests of its own, before all others."""
        state = self.state
        for message in reversed((*state.steering, *state.follow_ups)):
            entry = Entry(id=mint("req"), prompt=message, options=PerRun())
            state.entries[entry.id] = entry
            state.queue.appendleft(entry)
        state.steering.clear()
        state.follow_ups.clear()


def _is_killed(process: Process | None) -> bool:
    """Whether it, or a supervisor above it, was killed."""
    while process is not None:
        if process.kill_scope.cancel_called:
            return True
        process = process.parent
    return False


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
