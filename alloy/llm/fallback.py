"""Whom to ask when a model fails: the next of a chain, and nobody again soon who has just failed.

The decisions are `may_fall_back` and `Chain`, which ask nobody; the loop acts on them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import attrs

from alloy.llm.content import JSON, Origin
from alloy.llm.driver import Retry
from alloy.llm.errors import (
    BadRequest,
    ContentRejected,
    ContextTooLong,
    ProviderError,
    RateLimited,
    RequestTooLarge,
    StaleReasoning,
    UnsupportedFeature,
)
from alloy.llm.limiter import Breaker, Limiter
from alloy.llm.models import ModelCard, card_for
from alloy.llm.provider import Answer, Model
from alloy.llm.request import Request

# What another model would answer as well: it is the request that is at fault, or the prompt.
_EVERYWHERE = (BadRequest, ContextTooLong, RequestTooLarge, ContentRejected)

# What says nothing of the model's next request, of another run.
_OF_THIS_REQUEST = (UnsupportedFeature, StaleReasoning)


def may_fall_back(error: ProviderError, retry: Retry) -> bool:
    """Decide whether another model may be asked after this failure, which is final for the one that was."""
    if isinstance(error, _EVERYWHERE):
        return False
    return not error.delivered or retry.on_partial == "restart"


def _is_our_own(error: ProviderError) -> bool:
    """Our limiter had no place in time for this request, which says nothing of the model."""
    return isinstance(error, RateLimited) and not error.sent


@attrs.frozen
class Fall:
    """From one model of a chain to a later one, and why."""

    old: Model
    new: Model
    error: ProviderError


@attrs.define(eq=False)
class Chain:
    """The models that a run may ask, first choice first, and which of them it asks now.

    A model that failed is passed over for a while by all who share the limiter, as long as another is there.

    Attributes:
        models: at least one.
        limiter: knows which of them failed a short while ago.
        failures: of this turn, in their order.
    """

    models: tuple[Model, ...]
    limiter: Limiter
    failures: tuple[ProviderError, ...] = ()
    _place: int = 0

    @property
    def model(self) -> Model:
        """The one that is asked now, or was asked last."""
        return self.models[self._place]

    @property
    def has_another(self) -> bool:
        """There is a later one that has not just failed."""
        return self._first_sound(self._place + 1) is not None

    def begin(self) -> Fall | None:
        """Choose whom to ask first in a turn; a `Fall` if the one before has just failed, elsewhere perhaps."""
        self.failures = ()
        before, sound = self._place, self._first_sound(0)
        self._place = sound or 0
        self._breaker(self._place).probe()
        error = self._breaker(before).error
        return Fall(self.models[before], self.model, error) if self._place > before and error is not None else None

    def after(self, error: ProviderError, retry: Retry) -> Fall | None:
        """Choose whom to ask after the model of the moment has failed; None to ask nobody."""
        if len(self.models) == 1 or not may_fall_back(error, retry):
            return None
        if not isinstance(error, _OF_THIS_REQUEST) and not _is_our_own(error):
            self._breaker(self._place).trip(error)
        if self._place + 1 == len(self.models):
            error.others = (*error.others, *self.failures)
            return None
        self.failures += (error,)
        old, sound = self.model, self._first_sound(self._place + 1)
        self._place = self._place + 1 if sound is None else sound
        self._breaker(self._place).probe()
        return Fall(old, self.model, error)

    def answered(self) -> None:
        """The model of the moment has given an answer."""
        if len(self.models) > 1:
            self.limiter.mend(self.model)

    def _breaker(self, place: int) -> Breaker:
        return self.limiter.breaker(self.models[place])

    def _first_sound(self, start: int) -> int | None:
        return next((at for at in range(start, len(self.models)) if not self._breaker(at).is_open), None)


class Unavailable:
    """Stands in a chain for a model that cannot be asked, such as for want of a key.

    Args:
        name: `"vendor:model"`.
        error: raised whenever it is asked.
    """

    def __init__(self, name: str, error: ProviderError) -> None:
        vendor, _, model = name.partition(":")
        self.name: str = name
        self.origin: Origin = Origin("", vendor, "", model)
        self.account = ""
        self.card: ModelCard = card_for(vendor, model)
        self.error = error

    def holds_to(self, schema: Mapping[str, JSON]) -> bool:
        """See `alloy.llm.provider.Model.holds_to`: to whatever the others of the chain do."""
        return True

    @asynccontextmanager
    async def stream(self, request: Request) -> AsyncIterator[Answer]:
        """See `alloy.llm.provider.Model.stream`."""
        raise self.error
        yield  # an async generator, by this


def name_of(model: str | Model) -> str:
    """What a model is called, as `Result.model` shows it."""
    return model if isinstance(model, str) else model.name
