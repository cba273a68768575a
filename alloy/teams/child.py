"""A team as the child of any supervisor."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.loop.agent import Agent
from alloy.teams.team import Team


def team_child(members: Mapping[str, Agent[Any]], *, id: object = None, **options: Any) -> otp.ChildSpec:
    """A child spec, to put a team under any supervisor; `alloy.teams.team_of` gives the team.

    The team belongs to the spec: it is the same through all incarnations, and its members keep their conversations.
    With `one_for_one` no crash of a member ends it; with a common supervisor one crash too many does, and whoever has
    the spec may start it again. Stopping it lets the runs that are on end within `drain` seconds.

    Args:
        members: by name.
        id: of the child, unique under its supervisor; by default the team's name.
        options: as for `Team`; `restart` is the members'. The team itself is a permanent child.

    Raises:
        TypeError, ValueError: as `Team`.
    """
    team = Team(members, **options)
    return otp.ChildSpec(start=TeamBirth(team), id=team.name if id is None else id)


def team_of(spec: otp.ChildSpec) -> Team:
    """The team that `spec` stands for. It can be asked while the child is up.

    Raises:
        TypeError: it is no spec that `team_child` made.
    """
    if not isinstance(spec.start, TeamBirth):
        raise TypeError(f"team_of takes what team_child made, got {spec!r}")
    return spec.start.team


@attrs.define(eq=False)
class TeamBirth:
    """What a child spec starts: the next incarnation of one team.

    First what the members share, then their supervisor, so that they are stopped in the reverse order. Neither can
    do without the other: the end of one ends the team.
    """

    team: Team

    def __call__(self) -> otp.Supervisor:
        means = otp.ChildSpec(start=partial(_Means, self.team), id="means", shutdown=float("inf"))
        members = otp.ChildSpec(start=self._members, id="members")
        return otp.Supervisor(children=[means, members], max_restarts=0)

    def _members(self) -> otp.Supervisor:
        return self.team._supervisor()


class _Means(otp.Server):
    """Holds open what the members share, also until the last of them has ended."""

    def __init__(self, team: Team) -> None:
        self._team = team

    async def init(self) -> None:
        """Wait until it is open."""
        is_open = trio.Event()
        self.start_soon(self._hold, is_open)
        await is_open.wait()

    async def _hold(self, is_open: trio.Event) -> None:
        async with self._team._means():
            is_open.set()
            await trio.sleep_forever()
