"""What users say about a supervisor: its children and its policy. `alloy.otp.supervision` acts on it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import ClassVar

import attrs

from alloy.otp.child import ChildSpec, check_count
from alloy.otp.policy import AutoShutdown, Backoff, Strategy, check_seconds
from alloy.otp.process import Process
from alloy.otp.server import Server
from alloy.otp.supervision import SupervisorProcess


def as_strategy(value: Strategy | str) -> Strategy:
    """The enum of its name."""
    try:
        return Strategy(value)
    except ValueError:
        raise ValueError(f"strategy must be one of {', '.join(map(repr, map(str, Strategy)))}, got {value!r}") from None


def as_specs(value: Sequence[ChildSpec]) -> tuple[ChildSpec, ...]:
    """The children as a tuple."""
    specs = tuple(value)
    for spec in specs:
        if not isinstance(spec, ChildSpec):
            raise TypeError(f"children must be ChildSpec objects, got {spec!r}")
    return specs


@attrs.define(kw_only=True, eq=False)
class Supervisor(Server):
    """A server whose work is to keep its children running.

    A subclass may override `init`, without `super()`: it runs before the first child starts, and may
    set `children`.

    Attributes:
        children: started in this order, stopped in the reverse.
        strategy: which siblings are restarted with a child.
        max_restarts: restarts allowed within `max_seconds`, for all children together; one more and the
            supervisor stops its children and ends with `Shutdown`.
        max_seconds: the length of that window.
        auto_shutdown: whether the end of a significant child, or of the last one, is the supervisor's.
        backoff: the wait before each restart; None restarts at once.

    Raises:
        ValueError: a field, or two together, make no sense: equal ids; a significant child without
            `auto_shutdown`; a `backoff` so long that `max_restarts` could never be reached.
        TypeError: a field has the wrong type.

    Source: Erlang/OTP 25, supervisor(3); Elixir 1.21, Supervisor; read 2026-11-24.
    """

    process_type: ClassVar[type[Process]] = SupervisorProcess

    children: Sequence[ChildSpec] = attrs.field(default=(), converter=as_specs)
    strategy: Strategy = attrs.field(default=Strategy.ONE_FOR_ONE, converter=as_strategy)
    max_restarts: int = 3
    max_seconds: float = 5.0
    auto_shutdown: AutoShutdown = "never"
    backoff: Backoff | None = None
    _used: bool = attrs.field(default=False, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Check the fields, alone and together; once more after `init`, which may have set them."""
        check_count("max_restarts", self.max_restarts, 0)
        check_seconds("max_seconds", self.max_seconds, finite=True)
        if self.max_seconds == 0:
            raise ValueError("max_seconds must be more than 0, got 0")
        if self.auto_shutdown not in ("never", "any_significant", "all_significant"):
            raise ValueError(
                f"auto_shutdown must be 'never', 'any_significant' or 'all_significant', got {self.auto_shutdown!r}"
            )
        if self.backoff is not None:
            if not isinstance(self.backoff, Backoff):
                raise TypeError(f"backoff must be a Backoff or None, got {self.backoff!r}")
            if not self.backoff.can_give_up(self.max_restarts, self.max_seconds):
                raise ValueError(
                    f"backoff={self.backoff!r} can never give up: {self.max_restarts} restarts take longer than "
                    f"max_seconds={self.max_seconds:g}; choose a larger max_seconds or a smaller base"
                )
        seen: set[Hashable] = set()
        for spec in self.children:
            self.check_child(spec)
            if spec.id in seen:
                raise ValueError(f"children has two specs with id {spec.id!r}; give each its own")
            seen.add(spec.id)

    def check_child(self, spec: ChildSpec) -> None:
        """Refuse a spec that does not fit this supervisor."""
        if spec.significant and self.auto_shutdown == "never":
            raise ValueError(f"child {spec.id!r} is significant, which needs another auto_shutdown than 'never'")
