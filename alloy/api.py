"""What most programs need: `run`, `stream`, `run_sync`, and `model` to name whom to ask."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from functools import partial
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias, Unpack, overload

import trio

from alloy.errors import sole_error
from alloy.llm.budget import Budget, as_budget
from alloy.llm.limiter import Limiter
from alloy.llm.message import Message, Prompt, as_user_message, mint
from alloy.llm.models import evolve_card
from alloy.llm.provider import Model
from alloy.llm.scripted import SCRIPTS, Script
from alloy.loop.agent import Agent, AgentChanges, as_fields
from alloy.loop.approval import Decision
from alloy.loop.emitter import Callback, Tape, Watcher
from alloy.loop.events import Event
from alloy.loop.form import Form
from alloy.loop.journal import Store
from alloy.loop.ledger import history_of, open_ledger
from alloy.loop.means import Means
from alloy.loop.result import Out, Result
from alloy.loop.resuming import Waiting, answered_by, checked_decisions, joined, result_of, start_of
from alloy.loop.run import Run
from alloy.loop.session import Session
from alloy.loop.stream import Outbox, OwnCourse, Stream
from alloy.tools import Executor

if TYPE_CHECKING:
    from alloy.providers.http import HTTP

EMPTY: Mapping[str, Decision] = MappingProxyType({})
SharedHTTP: TypeAlias = "HTTP"  # for the layers above, which know no providers


def model(
    spec: str,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    **profile: Any,
) -> Model:
    """Name a model to ask, with what the vendor's row of the table does not say.

    Args:
        spec: `"vendor:model"`; `"scripted:echo"` and `"scripted:demo"` need no network.
        api_key: else it is taken from the vendor's environment variable, when this is called.
        base_url: for a proxy or a server of your own; `openai-compatible` needs one.
        headers: sent with each request, besides those that the vendor demands.
        profile: fields of the vendor's profile to override, and `window`, `max_output` (in tokens) and `price` (an
            `alloy.Price`) where the table of models does not have this model, or has it wrong.

    Raises:
        ValueError: `spec` is not `"vendor:model"`, or the vendor is not known.
        TypeError: there is no such profile field, or `spec` is no text.
        MissingKey: there is no key for the vendor.
    """
    if not isinstance(spec, str):
        raise TypeError(f"model() takes 'vendor:model', got {spec!r}; a Model needs no more making")
    vendor, _, name = spec.partition(":")
    if vendor == "scripted":
        if name not in SCRIPTS:
            raise ValueError(f"no script is called {name!r}; there are {', '.join(map(repr, SCRIPTS))}")
        script = Script(name, SCRIPTS[name])
        script.card = evolve_card(script.card, profile)
        return script
    from alloy.providers.vendors import model_for  # brings httpx, which `import alloy` must not

    return model_for(spec, api_key=api_key, base_url=base_url, headers=headers or {}, **profile)


async def run(
    prompt: Prompt | None,
    agent: Agent[Out] | None = None,
    *,
    deps: object = None,
    history: Sequence[Message] | Session = (),
    budget: Budget | None = None,
    on_event: Callable[[Event], None] | None = None,
    store: Store | None = None,
    session_id: str | None = None,
    http: HTTP | None = None,
    **changes: Unpack[AgentChanges[Out]],
) -> Result[Out]:
    """Run an agent once, to its end.

    Args:
        prompt: what the user says; None goes on with the history.
        agent: whom to run; or give its fields, such as `model=`, here.
        deps: for the tools, as `ToolContext.deps`.
        history: earlier messages, such as `Result.messages`, or a session; what they left open is closed.
        budget: what the run may spend, besides what those around it allow.
        on_event: called with each event, at once; an error in it ends the run.
        store: where the run writes down what it does, before and after each effect, as part of the session
            `session_id`: the conversation so far comes first, then `history`. A run that is broken off, or ends as
            `paused` because nobody here can approve of a call, goes on with `resume`; another `run` of the session
            leaves it behind. The store must be open.
        session_id: groups runs; made up if not given.
        http: connections to share between runs; otherwise the run has its own and closes them.
        changes: fields of `Agent` to change for this run; `max_turns=5` is short for limits.

    Raises:
        AlloyError: the run ended in an error; `.result` on it has the state reached. All other ends are
            returned, see `Result.status`.
        Fenced: another process, or another run, drives the session.
        TypeError, ValueError: the arguments do not fit together.
        RuntimeError: the store is not open.
    """
    watchers = _callback(on_event)
    async with _prepared(
        prompt,
        agent,
        changes,
        deps=deps,
        history=history,
        budget=budget,
        store=store,
        session_id=session_id,
        http=http,
        watchers=watchers,
    ) as ready:
        result = await ready.execute(trio.CancelScope())
    if result.error is not None:
        raise result.error
    return result


def stream(
    prompt: Prompt | None,
    agent: Agent[Out] | None = None,
    *,
    deps: object = None,
    history: Sequence[Message] | Session = (),
    budget: Budget | None = None,
    on_event: Callable[[Event], None] | None = None,
    store: Store | None = None,
    session_id: str | None = None,
    http: HTTP | None = None,
    **changes: Unpack[AgentChanges[Out]],
) -> AbstractAsyncContextManager[Stream[Out]]:
    """Run an agent once and watch: `async with alloy.stream(…) as stream: async for event in stream: …`.

    The block owns the run: leaving it early cancels the run and waits for its clean-up. Takes what `run` takes.

    Raises:
        AlloyError, TypeError, ValueError: on entering: the run cannot begin, for want of a key for example.
    """
    outbox = Outbox()
    watchers = (*_callback(on_event), outbox)
    ready = _prepared(
        prompt,
        agent,
        changes,
        deps=deps,
        history=history,
        budget=budget,
        store=store,
        session_id=session_id,
        http=http,
        watchers=watchers,
    )
    return _watched(ready, outbox)


@asynccontextmanager
async def _watched(prepared: AbstractAsyncContextManager[Run], outbox: Outbox) -> AsyncIterator[Stream[Any]]:
    async with prepared as ready:
        with sole_error():
            async with trio.open_nursery() as nursery:
                stream: Stream[Any] = Stream(OwnCourse(ready), outbox)
                nursery.start_soon(stream.drive, name=f"alloy run {ready.state.run_id}")
                yield stream
                stream.close()


@overload
def run_sync(
    prompt: Prompt | None, agent: Agent[Out] | None = None, *, output: type[Out] | Form[Out], **options: Any
) -> Result[Out]: ...
@overload
def run_sync(prompt: Prompt | None, agent: Agent[Out] | None = None, **options: Any) -> Result[Out]: ...
def run_sync(prompt: Prompt | None, agent: Agent[Any] | None = None, **options: Any) -> Result[Any]:
    """Run an agent once in a Trio loop of its own, and return when it is done. Takes what `run` takes.

    A `store` is opened for the run, and closed again.

    Raises:
        RuntimeError: called inside a running event loop.
        AlloyError, TypeError, ValueError: as `run`.
    """
    if trio.lowlevel.in_trio_run():
        raise RuntimeError("run_sync() cannot be called inside a running Trio loop; use `await alloy.run(…)`")
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "run_sync() cannot be called inside a running asyncio loop; "
            "call it in a thread: `await asyncio.to_thread(alloy.run_sync, …)`"
        )
    return trio.run(partial(_run_alone, prompt, agent, **options))


async def _run_alone(prompt: Prompt | None, agent: Agent[Any] | None, **options: Any) -> Result[Any]:
    """A store can only be open in the loop that it was opened in, so here it is opened for the run."""
    async with nullcontext() if (store := options.get("store")) is None else store:
        return await run(prompt, agent, **options)


@asynccontextmanager
async def _prepared(
    prompt: Prompt | None,
    agent: Agent[Any] | None,
    changes: Mapping[str, Any],
    *,
    deps: object,
    history: Sequence[Message] | Session,
    budget: Budget | None,
    store: Store | None,
    session_id: str | None,
    http: HTTP | None,
    watchers: Sequence[Watcher],
) -> AsyncIterator[Run]:
    """Everything that a run needs, checked and opened; closed again behind it."""
    spec = _agent(agent, changes)
    message = None if prompt is None else as_user_message(prompt)
    session_id = session_id or mint("ses")
    messages = history.messages if isinstance(history, Session) else history
    async with _means(http, store, session_id) as means:
        before = () if means.ledger is None else history_of(means.ledger.was)
        if message is None and not messages and not before:
            raise ValueError("there is nothing to send: prompt is None and the history is empty")
        yield await Run.prepare(
            spec,
            message,
            means=means,
            tapes=[Tape(tuple(watchers))],
            history=joined(before, messages),
            known=len(before),
            deps=deps,
            session_id=session_id,
            budget=as_budget(budget),
        )


@asynccontextmanager
async def _means(
    http: HTTP | None, store: Store | None, session_id: str, *, create: bool = True
) -> AsyncIterator[Means]:
    """What a run works with, opened; closed again behind it."""
    session = nullcontext() if store is None else open_ledger(store, session_id, create=create)
    async with Connections(http) as connections, Executor() as executor, session as ledger:
        yield Means(connections=connections, executor=executor, ledger=ledger, may_pause=ledger is not None)


async def resume(
    store: Store,
    session_id: str,
    agent: Agent[Out],
    *,
    decisions: Mapping[str, Decision] = EMPTY,
    deps: object = None,
    budget: Budget | None = None,
    on_event: Callable[[Event], None] | None = None,
    http: HTTP | None = None,
) -> Result[Out]:
    """Go on with the last run of a session, wherever it was broken off: by a pause, a limit, an error or `kill -9`.

    No tool that has finished runs again. A call of which nobody knows whether it ran is settled by its tool's `replay`
    policy: it is run again, or the model is told that it was interrupted. A run that ended of itself short of an
    answer – at a limit, cancelled, by an error – goes on as a new one. Of one that has answered, the result is
    returned once more.

    Args:
        store: open, and the session is driven by nobody else.
        session_id: of the run, such as `Result.session_id`.
        agent: the one that began it, as it is now.
        decisions: on what pends, by `Pending.id`, all or some; what is not decided pends again. Those on what was
            decided before are passed over.
        deps: as for `run`, like those that follow.
        budget: what the rest of the run may spend.
        on_event: called with each event of the rest of the run.
        http: connections to share.

    Raises:
        AlloyError: as `run`; the stored error of a run that failed after it had answered.
        UnknownSession: there is no such session.
        UnknownRequest: nothing of one of the ids ever pended in it.
        Fenced: another drives it.
        TypeError: a decision is none of its kind.
        ValueError: an edit does not fit the tool, and the call still pends; or the session has nothing to go on with.
    """
    if not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent, got {agent!r}")
    tapes = [Tape(_callback(on_event))]
    async with _means(http, store, session_id, create=False) as means:
        ledger = means.ledger
        assert ledger is not None
        ledger.decisions = checked_decisions(decisions, ledger.journal.entries, ledger.was)
        if (ended := answered_by(ledger.was)) is not None:
            result = result_of(agent, ended, ledger.was, session_id)
        else:
            start = start_of(agent, ledger.was)
            run = await Run.prepare(
                start.agent,
                start.prompt,
                means=means,
                tapes=tapes,
                history=history_of(ledger.was),
                deps=deps,
                session_id=session_id,
                budget=as_budget(budget),
                inbox=Waiting(ledger.was.inputs),
                begun=start.begun,
                stored=ledger.was.run,
            )
            result = await run.execute(trio.CancelScope())
        if ledger.misfits:
            raise ledger.misfits[0]
    if result.error is not None:
        raise result.error
    return result


def _agent(agent: Agent[Any] | None, changes: Mapping[str, Any]) -> Agent[Any]:
    if agent is None:
        fields = as_fields(changes)
        if "model" not in fields:
            raise TypeError("give an agent, or model='vendor:model'")
        return Agent(**fields)
    if not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent, got {agent!r}")
    return agent.evolve(**changes) if changes else agent


def open_http(limiter: Limiter | None = None) -> AbstractAsyncContextManager[HTTP]:
    """Connections for several runs to share, with nothing but the defaults."""
    from alloy.providers.http import HTTP

    return HTTP(limiter=limiter)


class Connections:
    """The way to the models: over an `HTTP` that was given, else one of its own, opened when it is first needed.

    An async context manager; leaving it closes what it has opened.
    """

    def __init__(self, http: HTTP | None = None) -> None:
        if http is not None:
            from alloy.providers.http import HTTP

            if not isinstance(http, HTTP):
                raise TypeError(f"http must be an HTTP, entered by `async with`, got {http!r}")
        self._http = http
        self._opened: AsyncExitStack | None = None
        self.limiter: Limiter = Limiter() if http is None else http.limiter

    async def __aenter__(self) -> Self:
        if not trio.lowlevel.in_trio_run():
            raise RuntimeError(
                "alloy runs on Trio, and no Trio loop runs here; use trio.run(…), or alloy.run_sync(…) in a thread"
            )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened is not None:
            await self._opened.aclose()

    async def connect(self, given: str | Model, /) -> Model:
        """See `alloy.loop.means.Connections.connect`."""
        target = model(given) if isinstance(given, str) else given
        if isinstance(target, Script) or "alloy.providers.client" not in sys.modules:
            return target
        from alloy.providers.client import VendorModel

        if not isinstance(target, VendorModel):
            return target
        if self._http is None:
            self._opened = AsyncExitStack()
            self._http = await self._opened.enter_async_context(open_http(self.limiter))
        return target.with_http(self._http)


def _callback(on_event: Callable[[Event], None] | None) -> tuple[Watcher, ...]:
    if on_event is None:
        return ()
    if not callable(on_event):
        raise TypeError(f"on_event must be callable, got {on_event!r}")
    return (Callback(on_event),)
