"""What can happen in a run: the steps of its models, its tools, and who halts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import trio
from hypothesis import strategies as st

import alloy
from alloy.llm.content import Opaque, Origin, Thinking
from alloy.llm.delta import ItemStarted
from alloy.llm.scripted import Calls, Says, Step
from alloy.testing import ScriptedModel, calls, calls_raw, cuts, fails, hangs, says
from end_to_end.sendable import DIALECTS

ORIGINS = [Origin(dialect.name, vendor, "https://x", "m") for dialect in DIALECTS for vendor in ("vendor", "other")]


async def ok(n: int) -> int:
    """Work."""
    return n


async def broken() -> str:
    """Fail."""
    raise LookupError("\ud800 surrogate")


async def slow() -> str:
    """Take long."""
    await trio.sleep(50)
    return ""


async def fatal() -> str:
    """End the run."""
    raise alloy.Fatal("over")


texts = st.sampled_from(["", " ", "fine", "é\u2028", "\ud83d", "x" * 50])
stops = st.sampled_from(["end_turn", "max_tokens", "refusal", "pause", "nonsense"])
ids = st.none() | st.sampled_from(["same", "", "call:1/ö", "x" * 80])
a_call = st.one_of(
    st.builds(lambda i, n: calls("ok", id=i, n=n), ids, st.integers() | st.just("five")),
    st.builds(lambda i, t: calls_raw("ok", t, id=i), ids, st.sampled_from(["", "{", "[]", '{"n": 1}', "null"])),
    st.sampled_from(["broken", "slow", "fatal", "unknown", "with space"]).map(lambda name: calls(name)),
)
a_text = st.builds(says, texts, thinking=texts, stop=stops)
a_step: st.SearchStrategy[Step] = st.one_of(
    a_text,
    a_call,
    st.lists(a_text | a_call, min_size=1, max_size=4),
    st.builds(cuts, texts, thinking=texts),
    st.sampled_from(
        [hangs(), fails(alloy.BadRequest("no")), fails(alloy.Overloaded("busy")), fails(alloy.ContextTooLong("!"))]
    ),
)


class Signing(ScriptedModel):
    """A scripted model of some vendor, whose thinking is signed."""

    def __init__(self, *steps: Step, origin: Origin) -> None:
        super().__init__(*steps)
        self.origin = origin

    def _answer(self, parts: Sequence[Says | Calls]) -> Any:
        yield from super()._answer(parts)
        signed = Thinking("signed", opaque=[Opaque(self.origin, "signature", "c2ln")])
        yield [ItemStarted(1000, signed)]


class Halts(alloy.Middleware):
    """Halts at the call with this number."""

    def __init__(self, at: int) -> None:
        self.left = at

    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.Halt | None:
        self.left -= 1
        return alloy.Halt("enough") if self.left == 0 else None
