"""For tests, ours and yours: a scripted model, recorded traffic, and what a dialect must prove."""

from alloy.testing.conformance import Expected, check_dialect
from alloy.testing.recorded import replay
from alloy.testing.scripted import ScriptedModel, calls, calls_raw, cuts, fails, hangs, says

__all__ = [
    "Expected",
    "ScriptedModel",
    "calls",
    "calls_raw",
    "check_dialect",
    "cuts",
    "fails",
    "hangs",
    "replay",
    "says",
]
