"""How an agent is to live, as whoever brings it to life says."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence

import attrs

from alloy import otp
from alloy.api import SharedHTTP
from alloy.llm.budget import Budget, as_budget
from alloy.loop.delegate import Chats
from alloy.loop.emitter import Tape
from alloy.loop.journal import Store
from alloy.loop.ledger import as_store
from alloy.loop.session import Session
from alloy.tools import Executor


@attrs.frozen(kw_only=True)
class Options:
    """How an agent is to live.

    Attributes:
        store: where its session is kept; None to keep it for as long as its child spec lives.
        deps: for its tools.
        http: connections shared with others; without it the server opens its own at its first request.
        max_pending: how many requests may wait behind the one that is worked on.
        keep_results: how many results are kept for whoever asks for them later.
        pubsub: where results and events are published.
        subscribe: topics of `pubsub` whose texts are prompts.
        on_shutdown: called with the session when the server ends in good order.
        drain: seconds that a run may go on after the server was told to stop.
        budget: what all its runs together may spend.
        until_idle: it ends once nothing waits.
        executor, members, shared, tapes: of the team.
    """

    store: Store | None = None
    deps: object = None
    http: SharedHTTP | None = None
    max_pending: int = 16
    keep_results: int = 256
    pubsub: otp.PubSub | None = None
    subscribe: Sequence[Hashable] = ()
    on_shutdown: Callable[[Session], object] | None = None
    drain: float = 25.0
    budget: Budget | None = None
    until_idle: bool = False
    executor: Executor | None = None
    members: Mapping[str, Chats] = attrs.field(factory=dict)
    shared: object | None = None
    tapes: tuple[Tape, ...] = ()

    def check(self) -> None:
        """Refuse what cannot be.

        Raises:
            TypeError: a value is of the wrong kind.
            ValueError: one is out of its bounds, or needs another that is missing.
        """
        if self.store is not None:
            as_store(self.store)
        if self.max_pending < 0:
            raise ValueError(f"max_pending must be 0 or more, got {self.max_pending!r}")
        if self.keep_results < 1:
            raise ValueError(f"keep_results must be 1 or more, got {self.keep_results!r}")
        if not self.drain >= 0:
            raise ValueError(f"drain must be 0 or more, got {self.drain!r}")
        if self.subscribe and self.pubsub is None:
            raise ValueError("subscribe needs a pubsub")
        as_budget(self.budget)
        if self.on_shutdown is not None and not callable(self.on_shutdown):
            raise TypeError(f"on_shutdown must be callable, got {self.on_shutdown!r}")
