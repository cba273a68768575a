"""How long one exchange waits for its server: the four limits, and the one place that keeps them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

import attrs
import trio

from alloy.llm.errors import ReadTimeout

T = TypeVar("T")

SETTLE_SECONDS = 5.0


def _positive(_: object, attribute: attrs.Attribute[float], value: float) -> None:
    if not value > 0:
        raise ValueError(f"{attribute.name} must be more than 0 seconds, or math.inf for no limit, got {value!r}")


@attrs.frozen(kw_only=True)
class Timeouts:
    """The time limits of a request, in seconds; `math.inf` is no limit.

    Attributes:
        connect: until there is a connection, TLS included.
        first_byte: from then on, until the answer begins.
        silence: without a byte; not counted for models that think silently, such as OpenAI's.
        no_content: without a piece of the answer; pings and comments are none.

    Raises:
        ValueError: a limit is not above 0.
    """

    connect: float = attrs.field(default=10.0, validator=_positive)
    first_byte: float = attrs.field(default=120.0, validator=_positive)
    silence: float = attrs.field(default=60.0, validator=_positive)
    no_content: float = attrs.field(default=300.0, validator=_positive)


class Patience:
    """What is left of the limits of one exchange. Time counts only while we wait for the server.

    Every wait has a budget, which it shares with the waits before it, and a longest single wait. Before
    the answer the budget is `first_byte`; within it `no_content`, which each piece of content fills up
    again, and a single wait may take `silence`; after `settle` it is `SETTLE_SECONDS`.
    """

    __slots__ = ("_budget", "_longest", "_phase", "_timeouts")

    def __init__(self, timeouts: Timeouts) -> None:
        self._timeouts = timeouts
        self._phase: Literal["first_byte", "no_content", "settling"] = "first_byte"
        self._budget = timeouts.first_byte
        self._longest = math.inf

    @property
    def is_settling(self) -> bool:
        """Whether `settle` has been called."""
        return self._phase == "settling"

    def answer_began(self) -> None:
        """The server has begun to answer."""
        self._phase = "no_content"
        self._budget = self._timeouts.no_content
        self._longest = self._timeouts.silence

    def allow_silence(self) -> None:
        """The server may send nothing for as long as it may send no content."""
        if self._phase == "no_content":
            self._longest = math.inf

    def content_came(self) -> None:
        """A piece of the answer has come."""
        if self._phase == "no_content":
            self._budget = self._timeouts.no_content

    def settle(self) -> None:
        """All that matters has come; only the end is outstanding."""
        if self._phase != "settling":
            self._phase = "settling"
            self._budget = SETTLE_SECONDS
            self._longest = math.inf

    async def wait(self, receive: Callable[[], Awaitable[T]]) -> T:
        """Wait for something from the server.

        Raises:
            ReadTimeout: a limit passed; `receive` was cancelled.
        """
        began = trio.current_time()
        limit = min(self._budget, self._longest)
        with trio.CancelScope(deadline=began + limit) as scope:
            received = await receive()
            self._budget -= trio.current_time() - began
            return received
        assert scope.cancelled_caught
        raise self._timeout(limit)

    def _timeout(self, limit: float) -> ReadTimeout:
        if self._phase == "first_byte":
            return ReadTimeout(f"no answer within {self._timeouts.first_byte:g} s", phase="first_byte")
        if self._budget < self._longest:
            return ReadTimeout(f"nothing of the answer within {self._timeouts.no_content:g} s", phase="no_content")
        return ReadTimeout(f"no byte within {limit:g} s", phase="silence")
