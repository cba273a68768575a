"""What a dialect's decoder reads out of a stream, piece by piece.

`index` numbers the content items of one answer in the order in which they appear, from 0. The fold in
`alloy.llm.completion` puts the pieces together, the same way for all dialects.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from alloy.llm.content import JSON, Citation, Opaque
from alloy.llm.message import AssistantContent, StopInfo
from alloy.llm.usage import Usage


@attrs.define
class Begun:
    """The answer has begun. A later one fills in what an earlier one left empty."""

    model: str = ""
    response_id: str | None = None


@attrs.define
class ItemStarted:
    """Content item `index` begins as `item`: complete, or to be extended by the parts that follow."""

    index: int
    item: AssistantContent


@attrs.define
class TextPart:
    """More text. Starts a `Text` if `index` is new."""

    index: int
    text: str


@attrs.define
class ThinkingPart:
    """More reasoning. Starts a `Thinking` if `index` is new."""

    index: int
    text: str


@attrs.define
class ArgumentsPart:
    """More of the arguments' text of the `ToolCall` at `index`."""

    index: int
    text: str


@attrs.define
class CitationPart:
    """A citation for the `Text` at `index`."""

    index: int
    citation: Citation


@attrs.define
class OpaquePart:
    """Vendor state for the item at `index`, which has been started."""

    index: int
    opaque: Opaque


@attrs.define
class UsagePart:
    """The usage of the answer so far, as a total: it replaces what came before."""

    usage: Usage


@attrs.define
class Stopped:
    """Why the model stopped. A later one replaces an earlier one."""

    stop: StopInfo


@attrs.define
class Noted:
    """Something worth telling the user of, such as reasoning that the vendor dropped."""

    topic: str
    data: JSON


Delta: TypeAlias = (
    Begun
    | ItemStarted
    | TextPart
    | ThinkingPart
    | ArgumentsPart
    | CitationPart
    | OpaquePart
    | UsagePart
    | Stopped
    | Noted
)
