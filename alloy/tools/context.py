"""What a running tool knows of its run, and what it can ask of it."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import trio

from alloy.llm.budget import Budget
from alloy.tools.errors import ToolError
from alloy.tools.paths import PathPolicy

if TYPE_CHECKING:
    from alloy.loop.result import Result

Delegate: TypeAlias = "Callable[[object, str], Awaitable[Result[Any]]]"


def idempotency_key(run_id: str, call_id: str) -> str:
    """Return a key for one call of one run: 32 hexadecimal digits, the same at every retry and after a resume."""
    return hashlib.sha256(f"{run_id}\0{call_id}".encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _ignore(data: object) -> None:
    """Where nobody listens."""


async def _nobody_to_ask(question: str) -> str:
    raise ToolError(f"nobody is there to ask {question!r}")


async def _no_team(target: object, prompt: str) -> Any:
    raise ToolError(f"there is no team to delegate to: {target!r} is not reachable from here")


@attrs.define(eq=False, kw_only=True)
class ToolContext:
    """A tool gets one by having a parameter of this type, under any name; the model does not see it.

    All has a default, so that a test can make one: `ToolContext(working_directory=tmp_path)`.

    Attributes:
        deps: what `run(deps=…)` was given.
        idempotency_key: made of run and call, so the same when the call is made again after a crash; for
            services that do a thing once per key.
        agent_path: the names of the agents from the root run down to this one.
        attempt: 1, or more when the call is made again after a crash.
        working_directory: what paths are relative to.
        roots: further folders that `resolve` allows.
        budget: what the run may still spend; None without a budget.
        deadline: when the call will be cancelled, by Trio's clock; `math.inf` outside a run.
        shared: the team's blackboard; None without a team.
        report, answer, hand_on: what `progress`, `ask` and `delegate` call; put in by whoever runs the tool.
    """

    deps: Any = None
    run_id: str = ""
    session_id: str = ""
    call_id: str = ""
    idempotency_key: str = attrs.field(
        default=attrs.Factory(lambda self: idempotency_key(self.run_id, self.call_id), takes_self=True)
    )
    agent_path: tuple[str, ...] = ()
    attempt: int = 1
    working_directory: Path = attrs.field(default=Path(), converter=Path)
    roots: tuple[Path, ...] = ()
    budget: Budget | None = None
    deadline: float = math.inf
    shared: object | None = None
    report: Callable[[object], None] = attrs.field(default=_ignore, repr=False)
    answer: Callable[[str], Awaitable[str]] = attrs.field(default=_nobody_to_ask, repr=False)
    hand_on: Delegate = attrs.field(default=_no_team, repr=False)

    def progress(self, data: object) -> None:
        """Show whoever follows the run how far the call is. The model does not see it. Never blocks for long."""
        self.report(data)

    async def ask(self, question: str) -> str:
        """Ask whoever decides for the agent, and wait for the answer: see `AgentRef.decide`.

        The time limit of the tool does not run meanwhile.

        Raises:
            ToolError: nobody is there to ask, for the run is not an agent server's; or the answer was declined.
        """
        return await self.answer(question)

    async def delegate(self, target: object, prompt: str) -> Result[Any]:
        """Let another agent work on `prompt`, and wait for its result.

        Args:
            target: an agent, an `AgentRef`, or the name of a member of the team.
            prompt: what it is to do.

        Raises:
            ToolError: there is no team.
            AlloyError: its run ended in an error; this one.
        """
        return await self.hand_on(target, prompt)

    async def resolve(self, path: str) -> trio.Path:
        """Return where `path` leads, if that is inside the working directory or one of the roots.

        It is resolved and checked now. What happens to the file system afterwards is not seen; the built-in
        tools open files so that it does not matter, see `alloy.tools.paths`.

        Raises:
            ToolError: it leads outside, or is no path.
        """
        place = await trio.to_thread.run_sync(self.paths.locate, path)
        return trio.Path(place.path)

    @property
    def paths(self) -> PathPolicy:
        """What files the tool may touch."""
        return PathPolicy((self.working_directory, *self.roots))
