"""What a run works with, and shares with all that work for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

import attrs

from alloy.llm.errors import AuthError
from alloy.llm.fallback import Chain, Unavailable, name_of
from alloy.llm.limiter import Limiter
from alloy.llm.message import UserMessage
from alloy.llm.provider import Model
from alloy.loop.approval import Desk
from alloy.loop.delegate import Chats
from alloy.loop.emitter import Tape
from alloy.loop.ledger import Ledger
from alloy.loop.middleware import Middleware
from alloy.tools import Executor


class Connections(Protocol):
    """The way to the models."""

    @property
    def limiter(self) -> Limiter:
        """Bounds the calls, and knows which models have just failed."""
        ...

    async def connect(self, given: str | Model, /) -> Model:
        """A model that can be asked.

        Raises:
            ValueError: `"vendor:model"` names nobody.
            AuthError: there is no key for the vendor, or no token can be read.
        """
        ...


async def connect_all(connections: Connections, given: Sequence[str | Model]) -> Chain:
    """Make the chain of the models of an agent.

    One without a key stands in it as one that fails, as long as another can be asked.

    Raises:
        AuthError: there is a key for none of them.
        ValueError: `"vendor:model"` names nobody.
    """
    models: list[Model] = []
    for one in given:
        try:
            models.append(await connections.connect(one))
        except AuthError as error:
            models.append(Unavailable(name_of(one), error))
    if not all(isinstance(model, Unavailable) for model in models):
        return Chain(tuple(models), connections.limiter)
    assert isinstance(models[0], Unavailable)
    raise models[0].error


@attrs.frozen(kw_only=True)
class Means:
    """The way to the models, the executor of tools, the team, and whoever decides.

    Attributes:
        members: whom a tool can delegate to by name.
        shared: the team's blackboard; None without a team.
        desks: where all lies that somebody has to decide; without any the run cannot wait for a decision.
        inherited: the middleware of those the run works for that watch it too.
        ledger: where it writes down what it does; None if it does not.
        may_pause: what nobody here can decide ends the run as `paused`, to be gone on with from the ledger.
    """

    connections: Connections
    executor: Executor
    members: Mapping[str, Chats] = attrs.field(factory=dict)
    shared: object | None = None
    desks: tuple[Desk, ...] = ()
    inherited: tuple[Middleware, ...] = ()
    ledger: Ledger | None = None
    may_pause: bool = False


class Inbox(Protocol):
    """What is said to an agent while it works."""

    def take(self) -> Sequence[UserMessage]:
        """All that is to change the run's course, in order; it is part of the run from now on."""
        ...

    def take_next(self) -> Sequence[UserMessage]:
        """The next thing to do once the run would be done: one message, or none."""
        ...


class Nobody:
    """The inbox of a run that nobody can steer."""

    def take(self) -> Sequence[UserMessage]:
        return ()

    def take_next(self) -> Sequence[UserMessage]:
        return ()


@attrs.frozen(kw_only=True)
class Working:
    """Who is at work in the current task: set while a run is on, so that whoever it asks knows for whom.

    Attributes:
        session_id: of the run.
        call_id: the tool call that is being made; None between calls.
        tapes: where the run's events go.
        desks: where its pendings lie.
        inherited: its middleware that also watch whoever works for it.
    """

    session_id: str
    agent_path: tuple[str, ...]
    tapes: Sequence[Tape]
    call_id: str | None = None
    desks: tuple[Desk, ...] = ()
    inherited: tuple[Middleware, ...] = ()


working: ContextVar[Working | None] = ContextVar("alloy.loop.working", default=None)
