"""What an agent server is asked, as typed requests: `otp.call` returns what the request says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs

from alloy import otp
from alloy.agents.entry import Entry
from alloy.agents.health import Health
from alloy.llm.message import Message, UserMessage
from alloy.llm.provider import Model
from alloy.llm.usage import Usage
from alloy.loop.approval import Pending
from alloy.loop.session import Session


@attrs.frozen
class Submit(otp.Request[str]):
    """Accept a request; answers its id. With `at_once` a run that is on refuses it as Busy."""

    entry: Entry


@attrs.frozen
class Say(otp.Request[str]):
    """Say something to the run that is on, or make a request of it; answers the id of the one or the other.

    Attributes:
        entry: the request that it becomes when no run is on.
        how: `"steer"` changes the course, `"follow_up"` comes after.
    """

    message: UserMessage
    entry: Entry
    how: Literal["steer", "follow_up"]


@attrs.frozen
class Cancel(otp.Request[tuple[Message, ...]]):
    """Stop a request, or the run that is on; answers what had been said and was not yet part of it."""

    request_id: str | None


@attrs.frozen
class CancelTool(otp.Request[bool]):
    """Stop one tool call of the run that is on."""

    call_id: str


@attrs.frozen
class GetPending(otp.Request[tuple[Pending, ...]]):
    """What waits for a decision."""


@attrs.frozen
class Decide(otp.Request[None]):
    """Decide on what waits."""

    pending_id: str
    decision: object


@attrs.frozen
class GetMessages(otp.Request[tuple[Message, ...]]):
    """The conversation."""


@attrs.frozen
class GetUsage(otp.Request[Usage]):
    """What all runs have used."""


@attrs.frozen
class GetHealth(otp.Request[Health]):
    """How the agent is."""


@attrs.frozen
class Export(otp.Request[Session]):
    """The conversation as a value."""


@attrs.frozen
class Reset(otp.Request[None]):
    """Forget the conversation."""


@attrs.frozen
class SetModel(otp.Request[None]):
    """Ask another model from now on."""

    model: str | Model | Sequence[str | Model]


@attrs.frozen
class StopIntake(otp.Request[None]):
    """Accept nothing more."""
