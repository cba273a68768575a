"""For tests, ours and yours: a scripted model, recorded traffic, and what a dialect must prove."""

from alloy.testing.scripted import ScriptedModel, calls, calls_raw, cuts, fails, hangs, says

__all__ = [
    "ScriptedModel",
    "calls",
    "calls_raw",
    "cuts",
    "fails",
    "hangs",
    "says",
]
