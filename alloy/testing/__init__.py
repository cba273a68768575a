"""For tests, ours and yours: a scripted model, recorded traffic, no network, what dialects and stores must prove."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from alloy.testing.auto import auto_model, made_up
    from alloy.testing.conformance import Expected, check_dialect
    from alloy.testing.crashing import CrashingStore, CrashPoint, CrashPoints, Survivor, crash_points
    from alloy.testing.network import offline
    from alloy.testing.recorded import replay
    from alloy.testing.scripted import ScriptedModel, calls, calls_raw, cuts, fails, hangs, says
    from alloy.testing.store_conformance import check_store

__all__ = [
    "CrashPoint",
    "CrashPoints",
    "CrashingStore",
    "Expected",
    "ScriptedModel",
    "Survivor",
    "auto_model",
    "calls",
    "calls_raw",
    "check_dialect",
    "check_store",
    "crash_points",
    "cuts",
    "fails",
    "hangs",
    "made_up",
    "offline",
    "replay",
    "says",
]

# Loaded at first use: pytest imports this package for its plugin, also where no test has to do with alloy.
_HOMES = ("scripted", "auto", "network", "recorded", "crashing", "conformance", "store_conformance")


def __getattr__(name: str) -> Any:
    if name in __all__:
        for home in _HOMES:
            value = getattr(import_module(f"alloy.testing.{home}"), name, None)
            if value is not None:
                globals()[name] = value
                return value
    raise AttributeError(f"module 'alloy.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
