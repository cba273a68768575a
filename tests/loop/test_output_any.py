"""Whatever a model does, and in whatever order: a run that wants an output ends as documented."""

from __future__ import annotations

import contextlib
from typing import Any, Literal

from hypothesis import given
from hypothesis import strategies as st

import alloy
from alloy import Status
from alloy.llm.history import sendable
from alloy.llm.scripted import Step
from alloy.loop.output import OUTPUT_TOOL
from alloy.testing import ScriptedModel, calls, calls_raw, says


async def submit(value: int) -> str:
    """Hand the answer in."""
    return "thanks"


async def look_up(key: str) -> str:
    """Look something up."""
    return key


class Held(ScriptedModel):
    """A model whose vendor holds its text to a schema."""

    def holds_to(self, schema: Any) -> bool:
        return True


# What a model may do in one turn: what ends the run, and what does not.
ENDS = {
    "right": Status.COMPLETED,
    "wrong and right": Status.COMPLETED,
    "right and another": Status.COMPLETED,
    "refuses": Status.ERROR,
    "is cut in text": Status.ERROR,
    "is filtered": Status.ERROR,
}
GOES_ON = ("says", "broken", "wrong", "unknown", "looks up", "is cut in a call", "pauses")
Way = Literal["until_tool", "tool", "schema"]


def step(what: str, way: Way) -> Step:
    """That, as a step of the script; with a schema, the output is text."""
    name = "submit" if way == "until_tool" else OUTPUT_TOOL
    if way == "schema":
        match what:
            case "right" | "right and another" | "wrong and right":
                return says('{"value": 1}')
            case "broken":
                return says('{"value": 1')
            case "wrong":
                return says('{"value": "1"}')
    right = calls(name, value=1)
    match what:
        case "right":
            return right
        case "wrong and right":
            return [calls(name, value="1"), right]
        case "right and another":
            return [right, calls("look_up", key="a")]
        case "refuses":
            return says("no", stop="refusal")
        case "is cut in text":
            return says('{"value": 1}', stop="max_tokens")
        case "is filtered":
            return says("", stop="content_filter")
        case "broken":
            return calls_raw(name, '{"value": 1')
        case "wrong":
            return calls(name, value=None)
        case "unknown":
            return calls("no_such_tool")
        case "looks up":
            return calls("look_up", key="a")
        case "is cut in a call":
            return [says("", stop="max_tokens"), calls("submit" if way == "until_tool" else "look_up", value=1)]
        case "pauses":
            return says("wait", stop="pause")
        case _:
            return says("The answer is one.")


@given(
    st.lists(st.sampled_from((*ENDS, *GOES_ON)), min_size=1, max_size=6),
    st.sampled_from(("until_tool", "tool", "schema")),
)
def test_a_run_that_wants_an_output_ends_with_the_first_thing_that_ends_it(plan: list[str], way: Way) -> None:
    ending = next((place for place, what in enumerate(plan) if what in ENDS), None)
    expected = Status.MAX_TURNS if ending is None else ENDS[plan[ending]]
    model = (Held if way == "schema" else ScriptedModel)(*(step(what, way) for what in plan))
    options: dict[str, Any] = {"until_tool": "submit"} if way == "until_tool" else {"output": int}

    ended: list[alloy.Result] = []

    def note(event: alloy.Event) -> None:
        if isinstance(event, alloy.RunFinished):
            ended.append(event.result)

    with contextlib.suppress(alloy.OutputMissing):
        alloy.run_sync("x", model=model, tools=[submit, look_up], max_turns=len(plan), on_event=note, **options)

    (result,) = ended
    assert result.status is expected
    assert result.turns == (len(plan) if ending is None else ending + 1)
    assert result.has_output is (expected is Status.COMPLETED)
    assert result.output == (None if not result.has_output else {"value": 1} if way == "until_tool" else 1)
    assert tuple(sendable(result.messages)) == result.messages
