"""Who waits for whom: a run that asks an agent waits for the agent's run slot.

An edge goes from the agent whose run waits to the agent it waits for. An edge that would close a ring would wait
for ever: it is refused to the one who would close it, before anything is queued, and the others go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING

from alloy import otp

if TYPE_CHECKING:
    from alloy.agents.session_state import SessionState

# The agent whose run the current task works for.
serving: ContextVar[SessionState | None] = ContextVar("alloy.agents.serving", default=None)


def waiting_for(target: SessionState) -> AbstractContextManager[None]:
    """The current run, if this is one's, waits for `target` inside the block.

    Raises:
        Deadlock: on entering: that would close a ring; `.path` names it, from the one who would wait back to itself.
    """
    waiter = serving.get()
    return nullcontext() if waiter is None else _edge(waiter, target)


@contextmanager
def _edge(waiter: SessionState, target: SessionState) -> Iterator[None]:
    if (ring := _path(target, waiter)) is not None:
        raise otp.Deadlock((waiter.agent.name, *(state.agent.name for state in ring)))
    waiter.waits_for[target] = waiter.waits_for.get(target, 0) + 1
    try:
        yield
    finally:
        waiter.waits_for[target] -= 1
        if not waiter.waits_for[target]:
            del waiter.waits_for[target]


def _path(start: SessionState, goal: SessionState) -> tuple[SessionState, ...] | None:
    """The way along the edges from one agent to another, both included; None if there is none."""
    came_from: dict[SessionState, SessionState | None] = {start: None}
    todo = [start]
    while todo:
        state = todo.pop()
        if state is goal:
            path = [state]
            while (before := came_from[path[-1]]) is not None:
                path.append(before)
            return tuple(reversed(path))
        for following in state.waits_for:
            if following not in came_from:
                came_from[following] = state
                todo.append(following)
    return None
