"""Teams of agents."""

from alloy.teams.child import team_child, team_of
from alloy.teams.team import Team

__all__ = ["Team", "team_child", "team_of"]
