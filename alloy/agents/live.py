"""Bringing an agent to life: as the child of any supervisor, or under one of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import attrs

from alloy import otp
from alloy.agents.ref import AgentRef
from alloy.agents.server import AgentServer, Options
from alloy.agents.session_state import SessionState
from alloy.api import SharedHTTP
from alloy.errors import closest_of
from alloy.llm.message import mint
from alloy.loop.agent import Agent
from alloy.loop.result import Out

MAX_RESTARTS, MAX_SECONDS = 5, 60.0
BACKOFF = otp.Backoff(base=0.5, cap=30.0)
TIDY_SECONDS = 5.0  # for the end of a server, after its time to drain

_OPTIONS = ("session_id", "deps", "http", "max_pending", "keep_results", "pubsub", "subscribe", "on_shutdown", "drain")


def agent_child(
    agent: Agent[Any], *, id: object = None, restart: str | otp.Restart = "transient", **options: Any
) -> otp.ChildSpec:
    """A child spec, to put the agent under any supervisor; `agent_ref` gives the handle.

    The conversation, what waits and the ids belong to the spec: they outlive the crashes of the server.

    Args:
        agent: whom to bring to life.
        id: of the child, unique under its supervisor; by default the agent's name.
        restart: when the server is started again: `"transient"`, `"permanent"` or `"temporary"`.
        options: `session_id`; `deps` for the tools; `http` to share connections; `max_pending` requests that may
            wait (16); `keep_results` that can be asked for later (256); `pubsub` to publish results and events on
            `agent:<session_id>:responses` and `:events`; `subscribe` to topics whose texts are prompts;
            `on_shutdown(session)`; `drain` seconds for the run that is on when the server is stopped (25).

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


def connect(spec: otp.ChildSpec, http: SharedHTTP) -> None:
    """Have the incarnations to come of what `agent_child` made share these connections."""
    assert isinstance(spec.start, Birth)
    spec.start.options = attrs.evolve(spec.start.options, http=http)


@asynccontextmanager
async def open_agent(agent: Agent[Out], **options: Any) -> AsyncIterator[AgentRef[Out]]:
    """Run an agent as a supervised server for as long as the block runs: `async with alloy.open_agent(…) as ref: …`.

    A crash costs the request that was worked on; the server comes back, after a pause of 0.5 s that grows to 30 s,
    with its conversation and all that waits. The sixth crash within 60 s is one too many. Leaving the block lets
    the run that is on end within `drain` seconds.

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
        yield ref


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
    _check(options)
    state = SessionState(agent=agent, id=session_id, keep_results=options.keep_results, restart=restart)
    state.tape.add(state.backlog)
    spec = otp.ChildSpec(
        start=Birth(state, options),
        id=agent.name if id is None else id,
        restart=restart,
        shutdown=options.drain + TIDY_SECONDS,
        keep_mailbox=True,
    )
    return spec, AgentRef(state)


def _check(options: Options) -> None:
    if options.max_pending < 0:
        raise ValueError(f"max_pending must be 0 or more, got {options.max_pending!r}")
    if options.keep_results < 1:
        raise ValueError(f"keep_results must be 1 or more, got {options.keep_results!r}")
    if not options.drain >= 0:
        raise ValueError(f"drain must be 0 or more, got {options.drain!r}")
    if options.subscribe and options.pubsub is None:
        raise ValueError("subscribe needs a pubsub")
    if options.on_shutdown is not None and not callable(options.on_shutdown):
        raise TypeError(f"on_shutdown must be callable, got {options.on_shutdown!r}")


child_of_team = _child
