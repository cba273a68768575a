"""At boot: the sessions in a store that somebody has to go on with."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from alloy import otp
from alloy.agents.live import agent_child, only_until_idle
from alloy.loop.agent import Agent
from alloy.loop.errors import CorruptStore, Fenced, UnknownSession, UnknownVersion
from alloy.loop.journal import Store
from alloy.loop.recovery import Recovered, fold
from alloy.loop.resuming import last_run

_log = logging.getLogger("alloy.agents")


async def recover(store: Store, agents: Mapping[str, Agent[Any]]) -> list[otp.ChildSpec]:
    """Find the sessions whose runs were interrupted, or where requests wait, for a supervisor to start at boot.

    ```python
    async with SQLiteStore("sessions.db") as store:
        children = await alloy.recover(store, {"clerk": clerk})
        async with otp.open_system(otp.Supervisor(children=children)): ...
    ```

    Each child is an agent server on its session, with the session's id as its own; `alloy.agents.agent_ref` gives its
    handle. It goes on with the run, serves what waits, and ends when nothing is left to do. One that crashes is started
    again within the limits of the supervisor; the request that it died with is not tried again.

    A run of `alloy.run` that has paused is left to `alloy.resume`, one that waits for an approval of an agent server is
    taken up: it can be decided on by the handle. Sessions that somebody drives are passed over, those that cannot be
    read, or whose agent is not among `agents`, with a warning in the log.

    Args:
        store: an open one; it has to stay open for as long as the children live.
        agents: by their names.

    Raises:
        StoreError: the store cannot be read at all.
    """
    children: list[otp.ChildSpec] = []
    for session_id in await store.sessions():
        try:
            was = fold(await store.entries(session_id))
            if not _has_work(was) or await _is_driven(store, session_id):
                continue
        except UnknownSession:  # taken away meanwhile
            continue
        except (CorruptStore, UnknownVersion) as error:
            _log.warning("session %r cannot be gone on with: %s", session_id, error)
            continue
        name = _agent_of(was)
        if (agent := agents.get(name)) is None:
            _log.warning("session %r waits for agent %r, which is not among those to recover", session_id, name)
            continue
        children.append(only_until_idle(agent_child(agent, id=session_id, session_id=session_id, store=store)))
    return children


def _has_work(was: Recovered) -> bool:
    if was.run is None:
        return bool(was.queue or was.inputs)
    is_paused = bool(was.pending) and not was.run.begun.request_id
    return not is_paused


async def _is_driven(store: Store, session_id: str) -> bool:
    try:
        async with store.open(session_id, create=False):
            return False
    except Fenced:
        return True


def _agent_of(was: Recovered) -> str:
    """The name of the agent that a session is of: as its server has said, else that of its last run."""
    if (run := was.run or last_run(was)) is not None and not was.metadata.get("agent"):
        return run.begun.agent
    return str(was.metadata.get("agent", ""))
