"""How an agent is, at one moment."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from alloy.llm.usage import Usage

HealthStatus: TypeAlias = Literal["idle", "running", "paused", "draining"]


@attrs.frozen(kw_only=True)
class Health:
    """How an agent server is.

    Attributes:
        status: `"paused"` while something waits for a decision; `"draining"` takes no new requests.
        model: whom it asks now, or else would ask first.
        request_id: the request that is worked on; None when idle.
        turn: of its run; 0 when idle.
        running_tools: the names of the tools that run now.
        queued: how many requests wait.
        max_pending: how many may.
        restarts: how often its server was restarted.
        stuck_threads: threads of tools that were given up and still work.
        usage: of all its runs.
        last_error: of the last run that failed, or how the server before this one ended; None if all went well.
        uptime: seconds since this incarnation began.
    """

    status: HealthStatus
    session_id: str
    model: str
    request_id: str | None
    turn: int
    running_tools: tuple[str, ...]
    queued: int
    max_pending: int
    restarts: int
    stuck_threads: int
    usage: Usage
    last_error: str | None
    uptime: float
