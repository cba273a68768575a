"""A conversation that is going on, as the commands of a chat see it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from alloy.agents.ref import AgentRef
from alloy.cli.console import Console
from alloy.cli.pieces import Shown, Table
from alloy.loop.journal import Store
from alloy.loop.skills import Skill
from alloy.tools import Tool


async def nothing_said(text: str) -> None:
    """Nobody listens yet."""


@attrs.define(eq=False, kw_only=True)
class Talk:
    """Who talks, and where it is shown.

    Attributes:
        ref: the server that the agent lives in.
        model: who is asked.
        tools: what the agent may use.
        skills: how-tos that the model can read, and that are commands here.
        say: tells the agent something, as if it had been typed.
        over: cancelled when the conversation is to end.
        context: tokens that the last request took of the model's window; None before the first.
        window: how many there are; None if that is not known.
        store, session: where the conversation is kept, and as what; None if it is not.
        goes_on_as: the session to go on with once this conversation is over; None to leave.
    """

    ref: AgentRef[Any]
    console: Console
    model: str
    tools: Sequence[Tool] = ()
    skills: Sequence[Skill] = ()
    say: Callable[[str], Awaitable[None]] = nothing_said
    over: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    context: int | None = None
    window: int | None = None
    store: Store | None = None
    session: str | None = None
    goes_on_as: str | None = None

    def show(self, text: str) -> None:
        """Show what a command has to say."""
        self.console.put(Shown(text))

    def show_rows(self, rows: tuple[tuple[str, str], ...]) -> None:
        """The same in two columns."""
        self.console.put(Table(rows))

    def leave(self) -> None:
        """End the conversation."""
        self.over.cancel(reason="the user leaves")
