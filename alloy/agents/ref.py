"""The handle of an agent that lives: good for all its incarnations."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import copy_context
from typing import Any, Generic, Literal, TypeVar, overload

import attrs
import trio

from alloy import otp
from alloy.agents.backlog import Subscription, subscribed
from alloy.agents.entry import Entry, per_run
from alloy.agents.health import Health
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
from alloy.agents.run_graph import waiting_for
from alloy.agents.session_state import SessionState
from alloy.errors import sole_error
from alloy.llm.budget import current_budget, together
from alloy.llm.message import Message, Prompt, as_user_message, mint
from alloy.llm.provider import Model
from alloy.llm.usage import Usage
from alloy.loop.approval import Decision, Pending
from alloy.loop.delegate import deeper
from alloy.loop.emitter import Watcher
from alloy.loop.events import Compacted, Event
from alloy.loop.form import Form
from alloy.loop.means import working
from alloy.loop.result import Out, Result, Status
from alloy.loop.session import Session
from alloy.loop.stream import Outbox, Stream

_T = TypeVar("_T")
_O = TypeVar("_O")


@attrs.frozen(eq=False, repr=False)
class AgentRef(Generic[Out]):
    """An agent under supervision. It is an `otp.Address`, and outlives the crashes of its server.

    All but `chat`, `stream_chat` and `result` answer at once, also while a run is on. Between two incarnations they
    wait for the next; where none will come they raise `otp.ServerExited`.
    """

    _state: SessionState

    def __repr__(self) -> str:
        return f"<AgentRef {self.name!r} of session {self._state.id}>"

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._state.agent.name

    @property
    def session_id(self) -> str:
        """The session's id, the same through all incarnations."""
        return self._state.id

    # An otp.Address.

    def whereis(self) -> otp.Ref | None:
        """The incarnation that lives now; None between two."""
        return self._state.whereis()

    async def wait_registered(self) -> None:
        """Wait until there is an incarnation.

        Raises:
            ServerExited: there will be none.
        """
        await self._state.wait_next()

    # What is asked of it.

    @overload
    async def chat(
        self,
        prompt: Prompt,
        *,
        output: type[_O] | Form[_O],
        timeout: float | None = None,  # noqa: ASYNC109
        **options: Any,
    ) -> Result[_O]: ...
    @overload
    async def chat(
        self,
        prompt: Prompt,
        *,
        timeout: float | None = None,  # noqa: ASYNC109
        **options: Any,
    ) -> Result[Out]: ...
    async def chat(
        self,
        prompt: Prompt,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # as otp.call has it
        **options: Any,
    ) -> Result[Any]:
        """Have it work on a prompt, and wait for the result. Cancelling the wait withdraws or stops the request.

        Args:
            prompt: what it is to do.
            timeout: seconds; None waits for ever.
            options: `on_event`, `output`, `until_tool`, `settings`, `limits`, `max_turns`, `deps`,
                `budget`, for this request.

        Raises:
            AlloyError: the run ended in an error; `.result` has the state reached.
            CallTimeout: no result in time; the request was withdrawn or stopped.
            ServerExited: the server ended while it worked on this, or there will be none to do it.
            QueueFull, Busy: as many requests wait as may.
            Deadlock: its run would wait, directly or through others, for the run that asks.
            DelegationTooDeep: it would be the ninth agent in a chain.
        """
        entry = self._entry(prompt, options)
        result: Result[Out] | None = None
        with trio.move_on_after(math.inf if timeout is None else timeout):
            result = await self._ask(entry)
        if result is None:
            raise otp.CallTimeout(f"{self.name} gave no result within {timeout:g} s; the request was withdrawn")
        if result.error is not None:
            raise result.error
        return result

    async def _ask(self, entry: Entry) -> Result[Out]:
        """Submit and wait; giving up takes the request back."""
        with waiting_for(self._state):
            try:
                await self._call(Submit(entry))
                await self._state.wait_done(entry)
                return await entry.outcome()
            finally:
                if not entry.done.is_set():
                    self._state.withdraw(entry)

    @overload
    def stream_chat(
        self, prompt: Prompt, *, output: type[_O] | Form[_O], **options: Any
    ) -> AbstractAsyncContextManager[Stream[_O]]: ...
    @overload
    def stream_chat(self, prompt: Prompt, **options: Any) -> AbstractAsyncContextManager[Stream[Out]]: ...
    @asynccontextmanager
    async def stream_chat(self, prompt: Prompt, **options: Any) -> AsyncIterator[Stream[Any]]:
        """Have it work on a prompt, and watch. The block owns the request: leaving it early stops the run.

        Raises:
            As `chat`, but for the run's own error, which `Stream.result()` raises.
        """
        outbox = Outbox()
        entry = self._entry(prompt, options, None, outbox)
        stream: Stream[Out] = Stream(_Elsewhere(self._state, entry), outbox)
        with waiting_for(self._state), sole_error():
            await self._call(Submit(entry))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stream.drive)
                yield stream
                stream.close()

    async def send_message(self, prompt: Prompt, *, request_id: str | None = None, **options: Any) -> str:
        """Have it work on a prompt, and return at once with the request's id.

        The same `request_id` again is the same request: nothing is done twice.

        Raises:
            QueueFull: as many requests wait as may. Busy: a run is on and none may wait.
        """
        return await self._call(Submit(self._entry(prompt, options, request_id)))

    async def result(self, request_id: str) -> Result[Out]:
        """Wait for the result of a request. An error of its run stands in the result.

        Raises:
            UnknownRequest: there is no such request, or its result is not kept any more.
            ServerExited: the server ended while it worked on it.
        """
        entry = self._state.find(request_id)
        with waiting_for(self._state):
            await self._state.wait_done(entry)
            return await entry.outcome()

    async def steer(self, prompt: Prompt) -> str:
        """Say something to the run that is on: it stands in the history before the next answer.

        Returns the id of the request whose run it joins or, when none is on, of the new one it becomes.
        """
        return await self._say(prompt, "steer")

    async def follow_up(self, prompt: Prompt) -> str:
        """Say what is to be done once the run that is on would be done. Returns as `steer`."""
        return await self._say(prompt, "follow_up")

    async def _say(self, prompt: Prompt, how: Literal["steer", "follow_up"]) -> str:
        message = as_user_message(prompt, source=how)
        return await self._call(Say(message, self._entry(message, {}), how))

    async def cancel(self, request_id: str | None = None) -> tuple[Message, ...]:
        """Stop a request, by default the one that is worked on; its result has status `cancelled`.

        Returns what had been said to it and had not become part of its run.

        Raises:
            UnknownRequest: there is nothing to cancel.
        """
        return await self._call(Cancel(request_id))

    async def cancel_tool(self, call_id: str) -> bool:
        """Stop one tool call that runs or waits for its approval; the run goes on, and the model is told.

        False if that call does neither.
        """
        return await self._call(CancelTool(call_id))

    # What it needs decided.

    async def pending(self) -> tuple[Pending, ...]:
        """What its run, and those that work for it, need decided before they go on; the oldest first."""
        return await self._call(GetPending())

    async def decide(self, pending_id: str, decision: Decision) -> None:
        """Decide on something pending, in any order; the calls of an answer begin once all of them are decided.

        Args:
            pending_id: `Pending.id`.
            decision: of an approval `Approve()`, `Edit(arguments)` or `Deny(reason)`; of a question `Answer(text)` or
                `Deny(reason)`.

        Raises:
            UnknownRequest: there is none of this id, or it is decided, expired or withdrawn already.
            TypeError: the decision is none for this kind of pending, which still waits.
            ValueError: the edited arguments do not fit the tool; the call still waits.
        """
        await self._call(Decide(pending_id, decision))

    async def compact(self) -> bool:
        """Have the model shown the conversation in short from now on, as `Agent.compaction` says, even if it would fit.

        It waits for its turn as `chat` does, and may ask a model. Nothing of `messages()` goes.
        Returns whether there was anything to shorten.

        Raises:
            As `chat`.
        """
        done: list[Compacted] = []

        def note(event: Event) -> None:
            if isinstance(event, Compacted):
                done.append(event)

        result = await self._ask(self._entry(None, {"on_event": note}))
        if result.error is not None:
            raise result.error
        return bool(done)

    # What is to be known of it.

    def used(self) -> Usage:
        """What all its runs have used so far; also while no server is up."""
        return self._state.used()

    @asynccontextmanager
    async def subscribe(self, *, since: int = 0, buffer: int = 256) -> AsyncIterator[Subscription]:
        """Watch the events of all its runs, those of late first. Never slows a run.

        Args:
            since: the number of the last event that is known already.
            buffer: how many events may wait for the reader before the oldest are dropped.

        Raises:
            ValueError: `buffer` is less than 1.
        """
        state = self._state
        with subscribed(state.tape, state.backlog, state.session(), since=since, buffer=buffer) as subscription:
            yield subscription

    async def messages(self) -> tuple[Message, ...]:
        """The conversation, what the run that is on has reached included."""
        return await self._call(GetMessages())

    async def usage(self) -> Usage:
        """What all its runs have used."""
        return await self._call(GetUsage())

    async def health(self) -> Health:
        """How it is."""
        return await self._call(GetHealth())

    async def export_session(self) -> Session:
        """The conversation as a value."""
        return await self._call(Export())

    async def reset(self) -> None:
        """Forget the conversation; what was used stays.

        Raises:
            Busy: a run is on.
        """
        await self._call(Reset())

    async def set_model(self, model: str | Model | Sequence[str | Model]) -> None:
        """Ask another model from now on, or the first of a fallback chain; the conversation stays.

        Raises:
            Busy: a run is on.
            AuthError: there is a key for none of them.
            ValueError, TypeError: this is no model.
        """
        await self._call(SetModel(model))

    async def stop(self, *, drain: float | None = None) -> None:
        """End it in good order: nothing new is accepted, the run that is on may end, then it stops for good.

        Args:
            drain: seconds for that run; None for the agent's own.
        """
        if self.whereis() is None:
            return
        await self._call(StopIntake())
        state = self._state
        if drain is not None and state.current is not None:
            with trio.move_on_after(drain) as scope:
                await state.current.done.wait()
            if scope.cancelled_caught and state.current is not None and state.current.scope is not None:
                state.current.scope.cancel(reason="AgentRef.stop()")
        await otp.stop(self)

    # How.

    def _entry(
        self, prompt: Prompt | None, options: dict[str, Any], request_id: str | None = None, *watchers: Watcher
    ) -> Entry:
        if request_id is not None and not isinstance(request_id, str):
            raise TypeError(f"request_id must be a str, got {request_id!r}")
        caller = working.get()
        if caller is not None:
            deeper(caller.agent_path, self.name)
        own = per_run(options, self._state.agent, *watchers)
        budget = together(current_budget.get(), own.budget)
        if budget is not None:
            budget.start()
        return Entry(
            id=request_id or mint("req"),
            prompt=None if prompt is None else as_user_message(prompt),
            options=own,
            caller=caller,
            ends_by=math.inf if budget is None else budget.deadline,
            asked_in=copy_context(),
        )

    async def _call(self, request: otp.Request[_T]) -> _T:
        return await otp.call(self, request, timeout=None, wait=True)


@attrs.define(eq=False)
class _Elsewhere:
    """The run of a request, as a stream sees it."""

    state: SessionState
    entry: Entry

    async def execute(self) -> Result[Any]:
        try:
            await self.state.wait_done(self.entry)
            return await self.entry.outcome()
        finally:
            if not self.entry.done.is_set():
                self.state.withdraw(self.entry)

    def cancel(self, reason: str) -> None:
        self.state.withdraw(self.entry)

    def snapshot(self) -> Result[Any]:
        run = self.state.run
        if run is not None and self.state.current is self.entry:
            return run.snapshot()
        return Result(status=Status.CANCELLED, messages=self.state.history(), session_id=self.state.id)

    def partial(self) -> object:
        run = self.state.run
        return run.partial() if run is not None and self.state.current is self.entry else None
