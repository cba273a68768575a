"""A conversation as a value: what can be kept and gone on with."""

from __future__ import annotations

import time
from collections.abc import Mapping

import attrs

from alloy.llm.content import JSON
from alloy.llm.message import Message, mint
from alloy.llm.transcript import as_messages
from alloy.llm.usage import Usage


def _session_id(given: str) -> str:
    return given or mint("ses")


@attrs.frozen
class Session:
    """A conversation at one moment.

    Attributes:
        messages: all of it, always sendable.
        usage: of all its runs.
        created_at, updated_at: UNIX seconds.
    """

    id: str = attrs.field(default="", converter=_session_id)
    messages: tuple[Message, ...] = attrs.field(default=(), converter=as_messages, repr=False)
    usage: Usage = attrs.field(factory=Usage)
    metadata: Mapping[str, JSON] = attrs.field(factory=dict)
    created_at: float = attrs.field(factory=time.time)
    updated_at: float = attrs.field(factory=time.time)
