"""The scripted model for tests: steps to play, and a journal of what was asked."""

from __future__ import annotations

from collections.abc import Sequence

from alloy.llm.content import JSON
from alloy.llm.errors import ProviderError, StreamTruncated
from alloy.llm.message import AssistantMessage, Message
from alloy.llm.request import Request
from alloy.llm.scripted import Calls, Cuts, Fails, Hangs, Says, Script, Step, call_step
from alloy.llm.usage import Usage


class ScriptedModel(Script):
    """Answers each request with the next step, and keeps the requests.

    ```python
    model = ScriptedModel(calls("add", a=1, b=2), says("3"))
    result = await alloy.run("1 + 2?", model=model, tools=[add])
    assert model.requests[1].messages[-1].results[0].text == "3"
    ```

    Args:
        steps: what `says`, `calls`, `calls_raw`, `fails`, `hangs` and `cuts` make; a list of says and calls is
            one answer; a callable gets the request and returns a step.
        name: it is known as `scripted:<name>`.
        loop: begin again when the steps are over.
        by_history: the step is that of the place in the conversation: the second one follows one answer. So what
            asks again, or goes on in another process, gets the answer that belongs there.

    Attributes:
        requests: what was asked, in order.

    Raises:
        AssertionError: while running: there is no step left; it names the request.
    """

    def __init__(self, *steps: Step, name: str = "scripted", loop: bool = False, by_history: bool = False) -> None:
        for step in steps:
            if isinstance(step, str) or not (
                callable(step) or isinstance(step, Says | Calls | Fails | Hangs | Cuts | Sequence)
            ):
                raise TypeError(
                    "a step is what says(…), calls(…) and their like make, or a list of these, "
                    f"or a function of the request, got {step!r}"
                )
        super().__init__(name, self._next)
        self.requests: list[Request] = []
        self._steps = steps
        self._loop = loop
        self._by_history = by_history

    def _next(self, request: Request) -> Step:
        place = len(self.requests)
        self.requests.append(request)
        if self._by_history:
            place = sum(isinstance(message, AssistantMessage) for message in request.messages)
        if self._loop and self._steps:
            return self._steps[place % len(self._steps)]
        if place >= len(self._steps):
            last = _describe(request.messages[-1]) if request.messages else "an empty history"
            raise AssertionError(
                f"{self.name} has {len(self._steps)} steps and was asked a request more; it ends with {last}"
            )
        return self._steps[place]


def says(
    text: str,
    *,
    thinking: str = "",
    usage: Usage | None = None,
    chunks: Sequence[str] | None = None,
    stop: str = "end_turn",
) -> Says:
    """The model says `text`, in one piece or in `chunks`, and stops for the reason `stop`.

    Raises:
        ValueError: the chunks do not make up the text.
    """
    if chunks is not None and "".join(chunks) != text:
        raise ValueError(f"the chunks make up {''.join(chunks)!r}, not {text!r}")
    return Says(text=text, thinking=thinking, usage=usage, chunks=None if chunks is None else tuple(chunks), stop=stop)


def calls(name: str, /, *, id: str | None = None, **arguments: JSON) -> Calls:
    """The model calls a tool with these arguments; ids are `call_1`, `call_2`, … unless given."""
    return call_step(name, arguments, id=id)


def calls_raw(name: str, text: str, *, id: str | None = None) -> Calls:
    """The model calls a tool, with `text` where the JSON of the arguments should be."""
    return Calls(name=name, arguments_text=text, id=id)


def fails(error: ProviderError) -> Fails:
    """Asking fails with `error` before anything is answered."""
    return Fails(error=error)


def hangs() -> Hangs:
    """The model never answers."""
    return Hangs()


def cuts(text: str = "", *, thinking: str = "", error: ProviderError | None = None) -> Cuts:
    """The answer breaks off after `text`, with `error`; a `StreamTruncated` if none is given."""
    return Cuts(text=text, thinking=thinking, error=error or StreamTruncated("the script cuts the answer here"))


def _describe(message: Message) -> str:
    text = repr(message)
    return text if len(text) <= 300 else f"{text[:300]}…"
