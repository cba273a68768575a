"""What a supervisor decides, as pure functions: no task, no clock, no chance but what is handed in.

Source: Erlang/OTP 25, supervisor(3) and `supervisor.erl`; Elixir 1.21, Supervisor; read 2026-11-24.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Hashable, Sequence
from enum import StrEnum
from typing import Literal, NoReturn, TypeAlias

import attrs

from alloy.otp.reasons import ExitReason, Killed, Normal, Shutdown, is_abnormal

ShutdownPolicy: TypeAlias = float | Literal["brutal_kill"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]


class Restart(StrEnum):
    """When a child is started again after it ended by itself."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"restart must be one of {', '.join(cls)}, got {value!r}")

    def wants_after(self, reason: ExitReason) -> bool:
        """Permanent: after every end; transient: after an abnormal one; temporary: never."""
        return self is Restart.PERMANENT or (self is Restart.TRANSIENT and is_abnormal(reason))


class Strategy(StrEnum):
    """Which siblings are restarted with a child."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"

    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        raise ValueError(f"strategy must be one of {', '.join(cls)}, got {value!r}")

    def affected(self, ids: Sequence[Hashable], id: Hashable) -> Sequence[Hashable]:
        """The ids, in start order, that a restart of `id` stops (backwards) and starts (forwards)."""
        match self:
            case Strategy.ONE_FOR_ONE:
                return (id,)
            case Strategy.ONE_FOR_ALL:
                return ids
            case Strategy.REST_FOR_ONE:
                return ids[ids.index(id) :]


def is_expected_end(reason: ExitReason, restart: Restart, policy: ShutdownPolicy) -> bool:
    """Whether a child that its supervisor stopped ended as it should; if not, that is a shutdown error."""
    match reason:
        case Shutdown():
            return True
        case Normal():
            return restart is not Restart.PERMANENT
        case Killed():
            return policy == "brutal_kill"
        case _:
            return False


class RestartWindow:
    """The restarts of one supervisor within the last `max_seconds`, the edge included."""

    __slots__ = ("max_restarts", "max_seconds", "times")

    def __init__(self, max_restarts: int, max_seconds: float) -> None:
        self.max_restarts: int = max_restarts
        self.max_seconds: float = max_seconds
        self.times: deque[float] = deque()

    def allows_one_at(self, now: float) -> bool:
        """Count a restart at `now` (seconds, never going back) and say whether it may be made."""
        while self.times and self.times[0] < now - self.max_seconds:
            self.times.popleft()
        self.times.append(now)
        return len(self.times) <= self.max_restarts


@attrs.frozen
class Backoff:
    """How long a supervisor waits before it restarts a child that keeps failing.

    Attributes:
        base: the first wait; each further one doubles it, until the child has lived `max_seconds`.
        cap: the longest wait.
        jitter: the share of each wait, from 0 to 1, that chance may take away.
    """

    base: float = 0.5
    cap: float = 30.0
    jitter: float = 0.1

    def __attrs_post_init__(self) -> None:
        for name in ("base", "cap", "jitter"):
            check_seconds(name, getattr(self, name), finite=True)
        if self.base <= 0:
            raise ValueError(f"base must be more than 0, got {self.base!r}")
        if self.cap < self.base:
            raise ValueError(f"cap must be at least base ({self.base:g}), got {self.cap!r}")
        if self.jitter > 1:
            raise ValueError(f"jitter must be from 0 to 1, got {self.jitter!r}")

    def delay(self, failures: int, chance: float) -> float:
        """The wait after `failures` (1 for the first) in a row; `chance` is from 0 to 1.

        Never longer than without jitter, so that `can_give_up` holds whatever chance brings.
        """
        # 2.0 ** 1024 overflows; long before that the cap is what counts.
        longest = min(self.cap, self.base * 2.0 ** min(failures - 1, 1000))
        return longest * (1.0 - self.jitter * chance)

    def can_give_up(self, max_restarts: int, max_seconds: float) -> bool:
        """Whether a child that fails at once, each time, ever exceeds the restart window.

        A restart is counted when its wait is over, so the waits between the first count and the one
        too many are numbers 2 to `max_restarts` + 1.
        """
        total = 0.0
        for failures in range(2, max_restarts + 2):
            total += self.delay(failures, 0.0)
            if total > max_seconds:
                return False
        return True


def ends_supervisor(mode: AutoShutdown, others_running: bool) -> bool:
    """Whether the end of a significant child, not to be restarted, is that of its supervisor too."""
    return mode == "any_significant" or (mode == "all_significant" and not others_running)


def check_seconds(name: str, value: object, *, finite: bool = False) -> None:
    """Refuse what is no time span.

    Raises:
        TypeError: `value` is no number.
        ValueError: it is negative or not a number, or infinite where it must not be.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number of seconds, got {value!r}")
    if not value >= 0 or (finite and math.isinf(value)):
        raise ValueError(f"{name} must be {'finite and ' if finite else ''}0 or more, got {value!r}")
