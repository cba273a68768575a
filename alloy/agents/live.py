"""Bringing an agent to life: as the child of any supervisor, or under one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents.options import Options
from alloy.agents.ref import AgentRef
from alloy.agents.server import TIDY_SECONDS, AgentServer
from alloy.agents.session_state import SessionState
from alloy.api import SharedHTTP
from alloy.errors import closest_of
from alloy.llm.message import mint
from alloy.loop.agent import Agent
from alloy.loop.result import Out

MAX_RESTARTS, MAX_SECONDS = 5, 60.0
BACKOFF = otp.Backoff(base=0.5, cap=30.0)

_OPTIONS = (
    "session_id",
    "store",
    "deps",
    "http",
    "max_pending",
    "keep_results",
    "pubsub",
    "subscribe",
    "on_shutdown",
    "drain",
    "budget",
)


def agent_child(
    agent: Agent[Any], *, id: object = None, restart: str | otp.Restart = "transient", **options: Any
) -> otp.ChildSpec:
    """A child spec, to put the agent under any supervisor; `agent_ref` gives the handle.

    The conversation, what waits and the ids belong to the spec: they outlive the crashes of the server.

    Args:
        agent: whom to bring to life.
        id: of the child, unique under its supervisor; by default the agent's name.
        restart: when the server is started again: `"transient"`, `"permanent"` or `"temporary"`.
        options: `session_id`; `store`, an open one, where the session is kept: what is accepted, said and decided
            outlives the program, and whoever brings the session to life next goes on with it; `deps` for the tools;
            `http` to share connections; `max_pending` requests that may wait (16); `keep_results` that can be asked
            for later (256); `pubsub` to publish results and events on `agent:<session_id>:responses` and `:events`;
            `subscribe` to topics whose texts are prompts; `on_shutdown(session)`; `drain` seconds for the run that is
            on when the server is stopped (25);
            a `budget` that all its runs draw from.

    Raises:
        TypeError: there is no such option, or one is of the wrong kind.
        ValueError: one is out of its bounds.
    """
    return _child(agent, id, otp.Restart(restart), options)[0]


def agent_ref(spec: otp.ChildSpec) -> AgentRef[Any]:
    """The handle of the agent that `spec` stands for.

    Raises:
        TypeError: it is no spec that `agent_child` made.
    """
    if not isinstance(spec.start, Birth):
        raise TypeError(f"agent_ref takes what agent_child made, got {spec!r}")
    return AgentRef(spec.start.state)


def session_of(spec: otp.ChildSpec) -> SessionState:
    """What outlives the incarnations of what `agent_child` made."""
    return _birth_of(spec).state


def connect(spec: otp.ChildSpec, http: SharedHTTP) -> None:
    """Have the incarnations to come of what `agent_child` made share these connections."""
    birth = _birth_of(spec)
    birth.options = attrs.evolve(birth.options, http=http)


def only_until_idle(spec: otp.ChildSpec) -> otp.ChildSpec:
    """Have what `agent_child` made end once nothing waits any more."""
    birth = _birth_of(spec)
    birth.options = attrs.evolve(birth.options, until_idle=True)
    return spec


def leave(specs: Iterable[otp.ChildSpec], *, in_order: bool) -> None:
    """The block that these agents live in is left: from now on count their times to drain, all at once.

    Left by an exception – an error, a cancel, Ctrl-C – there is none: what is under way is cut.
    """
    now = trio.current_time()
    for birth in map(_birth_of, specs):
        birth.state.runs_end_by = now + birth.options.drain if in_order else now


def _birth_of(spec: otp.ChildSpec) -> Birth:
    assert isinstance(spec.start, Birth)
    return spec.start


@asynccontextmanager
async def open_agent(agent: Agent[Out], **options: Any) -> AsyncIterator[AgentRef[Out]]:
    """Run an agent as a supervised server for as long as the block runs: `async with alloy.open_agent(…) as ref: …`.

    A crash costs the request that was worked on; the server comes back, after a pause of 0.5 s that grows to 30 s,
    with its conversation and all that waits. The sixth crash within 60 s is one too many. Leaving the block lets
    the run that is on end within `drain` seconds; leaving it by an exception – an error, a cancel, Ctrl-C – cuts it.
    With a `store`, a run that was cut, and what still waited, go on when the session is next brought to life.
    `session_end` and `on_shutdown` run either way, for 5 s at most.

    Args:
        agent: whom to bring to life.
        options: as for `agent_child`.

    Raises:
        StartFailed: the agent cannot work at all, for want of a key for example.
        SystemDown: it crashed too often; the block is cancelled.
        TypeError, ValueError: as `agent_child`.
    """
    spec, ref = _child(agent, None, otp.Restart.TRANSIENT, options)
    root = otp.Supervisor(children=[spec], max_restarts=MAX_RESTARTS, max_seconds=MAX_SECONDS, backoff=BACKOFF)
    async with otp.open_system(root, grace=float("inf")):
        try:
            yield ref
        except BaseException:
            leave([spec], in_order=False)
            raise
        leave([spec], in_order=True)


@attrs.define(eq=False)
class Birth:
    """What a child spec starts: the next incarnation of one agent."""

    state: SessionState
    options: Options

    def __call__(self) -> AgentServer:
        return AgentServer(self.state, self.options)


def _child(
    agent: Agent[Any], id: object, restart: otp.Restart, given: dict[str, Any], **of_team: Any
) -> tuple[otp.ChildSpec, AgentRef[Any]]:
    if not isinstance(agent, Agent):
        raise TypeError(f"agent must be an Agent, got {agent!r}")
    for name in given:
        if name not in _OPTIONS:
            raise TypeError(f"unknown option {name!r}{closest_of(name, _OPTIONS)}; known: {', '.join(_OPTIONS)}")
    session_id = given.pop("session_id", None) or mint("ses")
    options = Options(**given, **of_team)
    options.check()
    state = SessionState(agent=agent, id=session_id, keep_results=options.keep_results, restart=restart)
    state.tape.add(state.backlog)
    spec = otp.ChildSpec(
        start=Birth(state, options),
        id=agent.name if id is None else id,
        restart=restart,
        shutdown=options.drain + 2 * TIDY_SECONDS,  # its own limits come first
        keep_mailbox=True,
    )
    return spec, AgentRef(state)


child_of_team = _child
