"""The one interface between the loop and whoever answers: a vendor over HTTP, or a script."""

from __future__ import annotations

from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, runtime_checkable

from alloy.llm.content import JSON, Origin
from alloy.llm.delta import Delta
from alloy.llm.models import ModelCard
from alloy.llm.request import Request

Answer: TypeAlias = AsyncIterator[Sequence[Delta]]


@runtime_checkable
class Model(Protocol):
    """A model that can be asked. `alloy.model` makes them; `alloy.testing.ScriptedModel` is one."""

    @property
    def name(self) -> str:
        """`"vendor:model"`, as `Result.model` shows it."""
        ...

    @property
    def origin(self) -> Origin:
        """Stamped on what it answers; the replay policy compares by it."""
        ...

    @property
    def account(self) -> Hashable:
        """Whose limits a call counts against: the same for all models that are asked with one key at one place."""
        ...

    @property
    def card(self) -> ModelCard:
        """How much it reads and writes, and what that costs, as far as is known."""
        ...

    def holds_to(self, schema: Mapping[str, JSON]) -> bool:
        """Whether a value of this JSON Schema is better asked for as the answer's text, by `Request.output_schema`.

        That is so where the vendor sees to it that the text fits. Otherwise a tool is offered whose arguments it is.
        """
        ...

    def stream(self, request: Request) -> AbstractAsyncContextManager[Answer]:
        """Ask once, and hand on the answer as it comes: all deltas of one read as one batch.

        The iterator ends after a complete answer, and only then. Leaving the block, also by
        cancellation, gives everything back: no connection stays open but idle ones in the pool.

        Raises:
            ProviderError: on entering or while iterating, of the subclass that says what happened. There
                are no retries in here; `alloy.llm.driver` owns that policy.
        """
        ...
