"""Approvals, ready-made."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

import attrs

from alloy.llm.content import ToolCall
from alloy.loop.middleware import Approver, Ask, Middleware
from alloy.loop.state import RunInfo
from alloy.tools import Tool
from alloy.tools.define import is_async

Which: TypeAlias = str | Callable[[ToolCall], bool]


@attrs.define(init=False, unsafe_hash=True)
class ApproveTools(Middleware):
    """Has somebody approve the calls of some tools, and of all tools marked `@tool(approve=True)`, before they run.

    It also guards the agents that work for this one: no delegation goes round it. Where nobody can be asked, the
    call is denied.

        ApproveTools("bash", "write_file")                          # answered by AgentRef.decide
        ApproveTools(lambda call: "rm" in call.arguments["command"], ask=in_the_terminal)

    Args:
        which: tools or their names, several as a list or one by one; or functions of a call that say whether it needs
            an approval. Nothing for the marked tools only.
        ask: decides at once, sync or async: it is given the `Pending`, and returns True, False or a decision. A sync
            one must not block, see `trio.to_thread.run_sync`. Calls of one answer are asked about one after the other;
            agents that work side by side may ask at the same time. None to wait for `AgentRef.decide`.
        expires: seconds after which a call that nobody has decided on is denied; None for no limit.

    Raises:
        TypeError: `which` is none of these, or `ask` cannot be called.
        ValueError: `expires` is 0 or less.
    """

    which: tuple[Which, ...]
    ask: Approver | None
    expires: float | None

    inherited = True

    def __init__(
        self, *which: Which | Tool | Iterable[Which | Tool], ask: Approver | None = None, expires: float | None = None
    ) -> None:
        if ask is not None and not callable(ask):
            raise TypeError(f"ask must be callable, or None, got {ask!r}")
        Ask(expires=expires)  # its check is ours
        self.which = tuple(_flat(which))
        self.ask = ask
        self.expires = expires

    async def before_tool_call(self, run: RunInfo, call: ToolCall) -> Ask | None:
        """Ask, if the call is one of those."""
        if not self._is_meant(run, call):
            return None
        return Ask(approver=self.ask, expires=self.expires)

    def _is_meant(self, run: RunInfo, call: ToolCall) -> bool:
        if any(which == call.name if isinstance(which, str) else which(call) for which in self.which):
            return True
        return any(tool.approve and tool.name == call.name for tool in run.tools)


def _flat(which: Iterable[Which | Tool | Iterable[Which | Tool]]) -> Iterable[Which]:
    for item in which:
        if isinstance(item, Tool):
            yield item.name
        elif isinstance(item, str):
            yield item
        elif callable(item):
            if is_async(item):
                raise TypeError(f"a function that says which calls are meant must be no `async def`, got {item!r}")
            yield item
        elif isinstance(item, Iterable):
            yield from _flat(item)
        else:
            raise TypeError(f"which takes names of tools, or functions of a call, got {item!r}")
