"""Structured output: the run is complete when the model has called `submit`, with arguments that fit.

Offline the model plays a script, and is clumsy; name one, such as `anthropic:claude-sonnet-4-6`, to ask it.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Annotated, Literal

import trio

import alloy
from alloy.testing import ScriptedModel, calls, says
from alloy.tools import read_file

LETTER = "Dear Sirs,\nplease find attached our invoice no. 17, over 240.50 euros.\nYours, Ada's Bakery\n"

SCRIPT = (
    calls("read_file", path="letter.txt"),
    says("It is an invoice of Ada's Bakery."),  # no call: it is reminded
    calls("submit", sender="Ada's Bakery", amount="240.50", currency="euros"),  # no number, no currency: it is told
    calls("submit", sender="Ada's Bakery", amount=240.5, currency="EUR", number=17),
)


@alloy.tool
async def submit(
    sender: Annotated[str, "Who wants money."],
    amount: float,
    currency: Literal["EUR", "USD"],
    number: Annotated[int | None, "Of the invoice."] = None,
) -> str:
    """Hand in what the invoice says. This ends the task."""
    return "thank you"


async def main(model: str | alloy.Model) -> alloy.Result:
    with tempfile.TemporaryDirectory() as folder:
        await trio.Path(folder, "letter.txt").write_text(LETTER)
        return await alloy.run(
            "Read letter.txt and submit what the invoice says.",
            model=model,
            tools=[read_file, submit],
            until_tool="submit",
            working_directory=folder,
        )


if __name__ == "__main__":
    result = trio.run(main, sys.argv[1] if len(sys.argv) > 1 else ScriptedModel(*SCRIPT))
    for call in result.tool_calls:
        print(f"{call.name}: {call.outcome}", call.error or "")
    print(result.output)
