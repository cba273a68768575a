"""The status line of a chat. Pure."""

from __future__ import annotations

import attrs

from alloy.cli.text import count_of
from alloy.llm.usage import Usage

SEPARATOR = " · "


@attrs.frozen(kw_only=True)
class Standing:
    """How a conversation stands.

    Attributes:
        model: who is asked.
        doing: what goes on, in a word or two; empty when nothing does.
        usage: of the whole conversation.
        context: tokens that the last request took of the model's window; None before the first.
        window: tokens that fit into the window; None if that is not known.
        queued: what waits to be said.
    """

    model: str
    doing: str = ""
    usage: Usage = Usage()
    context: int | None = None
    window: int | None = None
    queued: int = 0


def status_line(standing: Standing, width: int) -> str:
    """The standing in at most `width` characters: what matters least is left out first."""
    parts = [
        (0, standing.doing),
        (3, standing.model),
        (4, f"{count_of(standing.usage.total_tokens)} tokens" if standing.usage.total_tokens else ""),
        (2, _context(standing)),
        (1, _cost(standing.usage)),
        (5, f"{standing.queued} waiting" if standing.queued else ""),
    ]
    kept = [(rank, text) for rank, text in parts if text]
    while len(kept) > 1 and len(SEPARATOR.join(text for _, text in kept)) > width:
        kept.remove(max(kept))
    line = SEPARATOR.join(text for _, text in kept)
    return line if len(line) <= width else f"{line[: max(0, width - 1)]}…"[:width]


def _cost(usage: Usage) -> str:
    return "" if usage.cost is None else f"${usage.cost:.4f}" if usage.cost < 1 else f"${usage.cost:.2f}"


def _context(standing: Standing) -> str:
    if standing.context is None:
        return ""
    if standing.window is None:
        return f"context {count_of(standing.context)}"
    return f"context {standing.context / standing.window:.0%} of {count_of(standing.window)}"
