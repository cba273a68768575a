"""Agents that live: servers under supervisors, with one run at a time and everything else answered at once."""

from alloy.agents.backlog import Subscription
from alloy.agents.errors import Busy, QueueFull
from alloy.agents.health import Health
from alloy.agents.live import agent_child, agent_ref, open_agent
from alloy.agents.recovering import recover
from alloy.agents.ref import AgentRef
from alloy.agents.schedule import schedule_child
from alloy.loop.errors import UnknownRequest

__all__ = [
    "AgentRef",
    "Busy",
    "Health",
    "QueueFull",
    "Subscription",
    "UnknownRequest",
    "agent_child",
    "agent_ref",
    "open_agent",
    "recover",
    "schedule_child",
]
