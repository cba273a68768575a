"""Teams of agents."""

from alloy.teams.team import Team

__all__ = ["Team"]
