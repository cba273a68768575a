"""Teams: several agents under one supervisor, who can be asked together, and ask each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

import attrs
import trio

from alloy import otp
from alloy.agents import AgentRef, Subscription
from alloy.agents.backlog import Backlog, subscribed
from alloy.agents.live import BACKOFF, MAX_RESTARTS, MAX_SECONDS, child_of_team, connect, leave
from alloy.api import SharedHTTP, open_http
from alloy.errors import AlloyError, closest_of, items_of
from alloy.llm.message import Prompt, mint
from alloy.llm.usage import Usage
from alloy.loop.agent import Agent
from alloy.loop.delegate import told
from alloy.loop.emitter import Tape
from alloy.loop.errors import unknown_member
from alloy.loop.journal import Store
from alloy.loop.result import Result, Status
from alloy.loop.session import Session
from alloy.teams.member import Member
from alloy.tools import Executor

NO_TEXT = "(no text)"
_MEMBER_OPTIONS = ("max_pending", "keep_results", "drain", "on_shutdown")


class Team(Mapping[str, AgentRef[Any]]):
    """Agents that work together for as long as the block runs: `async with alloy.Team({"coder": coder}) as team: …`.

    They share connections, one executor of tools and a blackboard, which tools see as `ctx.shared`; a tool can
    delegate to a member by its name (`alloy.as_tool("coder")`). `team["coder"]` is the handle of a member.

    With `one_for_one` each member has a small supervisor of its own: a crash costs the request that it worked on, and
    a member that crashes too often is down while the others never notice. With `rest_for_one` and `one_for_all` they
    share one supervisor, and when that gives up the team is down: the block is cancelled and raises `SystemDown`.

    Leaving the block lets the runs that are on end, all at once, within `drain` seconds; leaving it by an exception –
    an error, a cancel, Ctrl-C – cuts them. `session_end` and `on_shutdown` run either way.

    Args:
        members: by name; each agent gets its key as its name.
        name: of the team.
        strategy: which members are restarted together.
        restart: when a member's server is started again.
        shared: the blackboard; a new dict if not given.
        store: an open one, where the members' sessions are kept, each as `<name of the team>/<member>`; needs a name.
        http: connections to share with others; otherwise the team has its own.
        pubsub: where results and events of all members are published.
        deps: for the members' tools.
        max_restarts, max_seconds: a member, or with a common supervisor the team, gives up at one more crash than
            this within so many seconds.
        options: of the members: `max_pending`, `keep_results`, `drain`, `on_shutdown`.

    Raises:
        TypeError: an option is unknown or of the wrong kind.
        ValueError: the strategy is unknown.
        StartFailed: on entering: a member cannot work at all.
        SystemDown: the team is down.
    """

    def __init__(
        self,
        members: Mapping[str, Agent[Any]],
        *,
        name: str | None = None,
        strategy: Literal["one_for_one", "rest_for_one", "one_for_all"] = "one_for_one",
        restart: str | otp.Restart = "transient",
        shared: Any = None,
        store: Store | None = None,
        http: SharedHTTP | None = None,
        pubsub: otp.PubSub | None = None,
        deps: object = None,
        max_restarts: int = MAX_RESTARTS,
        max_seconds: float = MAX_SECONDS,
        **options: Any,
    ) -> None:
        for option in options:
            if option not in _MEMBER_OPTIONS:
                raise TypeError(f"unknown option {option!r}{closest_of(option, _MEMBER_OPTIONS)}")
        if not isinstance(members, Mapping):
            raise TypeError(f"members must map names to agents, got {members!r:.200}")
        for key, agent in members.items():
            _check_member(key, agent)
        if store is not None and not name:
            raise ValueError("a team with a store needs a name, by which its sessions are found again")
        self.name: str = name or mint("team")
        self.shared: Any = {} if shared is None else shared
        self._strategy = otp.Strategy(strategy)
        self._restart = otp.Restart(restart)
        self._given_http = self._http = http
        self._given = {"store": store, "pubsub": pubsub, "deps": deps, **options}
        self._max_restarts = max_restarts
        self._max_seconds = max_seconds
        self._tape = Tape()
        self._backlog = Backlog()
        self._tape.add(self._backlog)
        self._executor = Executor()
        self._members = {key: self._member(key, agent) for key, agent in members.items()}
        self._open = AsyncExitStack()
        self._root: otp.Ref | None = None

    async def __aenter__(self) -> Self:
        if self._root is not None:
            raise RuntimeError(f"the team {self.name!r} was opened before; make a new one")
        try:
            await self._open.enter_async_context(self._means())
            await self._open.enter_async_context(otp.open_system(self._supervisor(), grace=float("inf")))
        except BaseException:
            await self._open.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        leave([member.spec for member in self._members.values()], in_order=kind is None)
        return await self._open.__aexit__(kind, error, trace)

    @asynccontextmanager
    async def _means(self) -> AsyncIterator[None]:
        """What the members share, for as long as the block runs."""
        async with AsyncExitStack() as opened:
            http = self._given_http
            if http is None:
                http = await opened.enter_async_context(open_http())
            await opened.enter_async_context(self._executor)
            self._http = http
            for member in self._members.values():
                connect(member.spec, http)
            yield

    def _supervisor(self) -> otp.Supervisor:
        """That of all members, for one incarnation of the team. Its `init` makes it the team's root."""
        children = [member.child for member in self._members.values()]
        if self._strategy is otp.Strategy.ONE_FOR_ONE:
            return TeamSupervisor(team=self, children=children)
        return self._patient(children, self._strategy, partial(TeamSupervisor, team=self))

    def _patient(
        self,
        children: Sequence[otp.ChildSpec],
        strategy: otp.Strategy,
        make: Callable[..., otp.Supervisor] = otp.Supervisor,
    ) -> otp.Supervisor:
        """A supervisor that waits longer after each crash, and gives up at one too many."""
        return make(
            children=children,
            strategy=strategy,
            max_restarts=self._max_restarts,
            max_seconds=self._max_seconds,
            backoff=BACKOFF,
        )

    def _member(self, key: str, agent: Agent[Any]) -> Member:
        spec, ref = child_of_team(
            agent.evolve(name=key),
            key,
            self._restart,
            {**self._given, "http": self._http, "session_id": f"{self.name}/{key}"},
            executor=self._executor,
            members=self,
            shared=self.shared,
            tapes=(self._tape,),
        )
        if self._strategy is not otp.Strategy.ONE_FOR_ONE:
            return Member(ref, spec, child=spec)

        def small() -> otp.Supervisor:
            return self._patient([spec], otp.Strategy.ONE_FOR_ONE)

        own = otp.ChildSpec(start=small, id=spec.id, restart="temporary", shutdown=spec.shutdown)
        return Member(ref, spec, child=own)

    # A mapping of names to handles.

    def __getitem__(self, name: str) -> AgentRef[Any]:
        if name not in self._members:
            raise unknown_member(name, self._members)
        return self._members[name].ref

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def _working(self, name: str) -> AgentRef[Any]:
        self._running()  # else nobody would ever answer
        return self[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in the order in which they joined."""
        return tuple(self._members)

    # Work.

    async def delegate(
        self,
        name: str,
        prompt: Prompt,
        *,
        timeout: float | None = None,  # noqa: ASYNC109  # as AgentRef.chat has it
        **options: Any,
    ) -> Result[Any]:
        """Have a member work on a prompt, and wait for the result.

        Raises:
            UnknownMember: there is none of this name.
            AlloyError: as `AgentRef.chat`.
        """
        return await self._working(name).chat(prompt, timeout=timeout, **options)

    async def broadcast(self, prompt: Prompt, *, to: Sequence[str] | None = None) -> dict[str, Result[Any]]:
        """Have all members, or those of `to`, work on a prompt at once: a result of each by name, none missing.

        An error of a member stands in its result.

        Raises:
            UnknownMember: there is none of a name in `to`.
        """
        names = self.names if to is None else items_of("to", to, "members' names")
        refs = {name: self._working(name) for name in names}
        results: dict[str, Result[Any]] = {}

        async def ask(name: str, ref: AgentRef[Any]) -> None:
            try:
                results[name] = await ref.chat(prompt)
            except AlloyError as error:
                results[name] = error.result or Result(status=Status.ERROR, error=error, agent=name)

        async with trio.open_nursery() as nursery:
            for name, ref in refs.items():
                nursery.start_soon(ask, name, ref)
        return {name: results[name] for name in refs}

    async def handoff(self, names: Sequence[str], prompt: Prompt) -> Result[Any]:
        """Have members work one after the other, each on what the one before came to; returns the last result.

        That is its text, or its output as JSON.

        It ends with the first that does not complete.

        Raises:
            ValueError: `names` is empty.
            UnknownMember: there is none of one of the names; nothing was done then.
            AlloyError: a member's run ended in an error.
        """
        refs = [self._working(name) for name in items_of("names", names, "members' names")]
        if not refs:
            raise ValueError("handoff needs the name of one member at least")
        first, *others = refs
        result = await first.chat(prompt)
        for ref in others:
            if result.status is not Status.COMPLETED:
                break
            result = await ref.chat(told(result) or NO_TEXT)
        return result

    # Members.

    async def add(self, name: str, agent: Agent[Any]) -> AgentRef[Any]:
        """Take a member in.

        Raises:
            ValueError: there is one of this name.
            StartFailed: it cannot work at all.
        """
        _check_member(name, agent)
        if name in self._members:
            raise ValueError(f"the team has a member {name!r} already")
        root = self._running()
        member = self._members[name] = self._member(name, agent)
        try:
            async with member.turn:
                await member.start(root)
        except BaseException:
            del self._members[name]
            raise
        return member.ref

    async def remove(self, name: str) -> None:
        """Let a member go: its run may end, then it stops. What waits for it ends in `ServerExited`.

        Raises:
            UnknownMember: there is none of this name.
        """
        async with self._alone_with(name) as member:
            del self._members[name]
            await member.remove(self._running())

    async def restart(self, name: str) -> None:
        """Start a member's server anew, whether it is up or down; conversation and queue stay.

        Raises:
            UnknownMember: there is none of this name.
            StartFailed: it cannot work at all.
        """
        async with self._alone_with(name) as member:
            await member.restart(self._running())

    @asynccontextmanager
    async def _alone_with(self, name: str) -> AsyncIterator[Member]:
        """A member, while nobody else starts or stops it."""
        if (member := self._members.get(name)) is None:
            raise unknown_member(name, self._members)
        async with member.turn:
            if self._members.get(name) is not member:  # it was let go meanwhile
                raise unknown_member(name, self._members)
            yield member

    def _running(self) -> otp.Ref:
        if self._root is None:
            raise RuntimeError(f"the team {self.name!r} is not open: write `async with alloy.Team(…) as team:`")
        return self._root

    # Looking at it.

    @property
    def root(self) -> otp.Ref:
        """The supervisor of all members, for `otp.tree`, `otp.watch_events` and the like.

        Raises:
            RuntimeError: the team was never open.
        """
        return self._running()

    def usage(self) -> Usage:
        """What all members have used."""
        return sum((member.ref.used() for member in self._members.values()), Usage())

    @asynccontextmanager
    async def subscribe(self, *, since: int = 0, buffer: int = 256) -> AsyncIterator[Subscription]:
        """Watch the events of all members in one stream; `agent_path` tells whose they are.

        Raises:
            ValueError: `buffer` is less than 1.
        """
        with subscribed(self._tape, self._backlog, Session(self.name), since=since, buffer=buffer) as subscription:
            yield subscription


@attrs.define(eq=False, kw_only=True)
class TeamSupervisor(otp.Supervisor):
    """The supervisor of a team's members, which the team administers."""

    team: Team

    async def init(self) -> None:
        self.team._root = otp.self_()


def _check_member(name: object, agent: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"a member's name must be a str that is not empty, got {name!r}")
    if not isinstance(agent, Agent):
        raise TypeError(f"the member {name!r} must be an Agent, got {agent!r}")
