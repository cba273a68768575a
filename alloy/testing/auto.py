"""Values that fit a schema, made up; and a model that answers with them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from alloy.llm.content import JSON, Outcome, ToolResult
from alloy.llm.message import AssistantMessage, Message, ToolMessage, UserMessage
from alloy.llm.request import Request, ToolDefinition
from alloy.llm.scripted import Calls, Step, call_step
from alloy.loop.output import OUTPUT_TOOL
from alloy.testing.scripted import ScriptedModel, says

# What may match a pattern, or be as long as it has to.
_WORDS = ("a", "A", "1", "a1", "a-1", "A1", "2026-01-02", "12:30", "a@example.com", "https://example.com", "aaa", "111")
_FORMATS = {"date": "2026-01-02", "date-time": "2026-01-02T03:04:05+00:00"}
_BOUNDS = frozenset({"minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems"})


def auto_model(
    *, arguments: Mapping[str, Mapping[str, JSON]] | None = None, text: str = "done", name: str = "auto"
) -> ScriptedModel:
    """A model that answers by the schemas: calls each tool once with made-up arguments, then gives the output.

    That runs an agent through all it has, without a script. All tools are called in one answer. Then, in the next,
    comes the output, where one is asked for, else `text`. A prompt that follows begins anew.

    Args:
        arguments: for tools, by their name, where what is made up will not do; `"final_answer"` for the output.
        text: what it says at last.
        name: it is known as `scripted:<name>`.

    Raises:
        AssertionError: while running: what was made up did not fit after all, because of a check that no schema shows.
        ValueError: while running: there is a pattern that nothing made up matches.
    """
    given = arguments or {}

    def call(tool: ToolDefinition) -> Calls:
        return call_step(tool.name, given[tool.name] if tool.name in given else made_up(tool.parameters))

    def answer(request: Request) -> Step:
        results = list(_since_the_prompt(request.messages))
        for result in results:
            if result.outcome is Outcome.INVALID:
                raise AssertionError(
                    f"what auto_model made up for {result.name!r} does not fit: {result.text}; "
                    f"give auto_model(arguments={{{result.name!r}: …}})"
                )
        called = {result.name for result in results}
        may_call = request.settings.tool_choice != "none"
        left = [tool for tool in request.tools if tool.name not in called and may_call]
        if todo := [tool for tool in left if tool.name != OUTPUT_TOOL]:
            return [call(tool) for tool in todo]
        if left:
            return call(left[0])
        if request.output_schema is not None:
            return says(json.dumps(given.get(OUTPUT_TOOL) or made_up(request.output_schema)))
        return says(text)

    return ScriptedModel(answer, name=name, loop=True)


def _since_the_prompt(messages: Iterable[Message]) -> Iterable[ToolResult]:
    results: list[ToolResult] = []
    for message in messages:
        match message:
            case UserMessage(source="engine") | AssistantMessage():
                pass
            case UserMessage():
                results = []
            case ToolMessage():
                results += message.results
    return results


def made_up(schema: Mapping[str, JSON]) -> Any:
    """Make up a value that fits a JSON Schema such as `alloy.tools.schema_of` writes: a small one, always the same.

    Raises:
        ValueError: there is a pattern that nothing made up matches, or a value would have no end.
    """
    return _Maker(schema.get("$defs", {})).value(schema)


class _Endless(Exception):
    """A value of this schema would have to hold another of itself."""


class _Maker:
    def __init__(self, definitions: Mapping[str, JSON]) -> None:
        self._definitions = definitions
        self._within: list[str] = []

    def value(self, schema: Mapping[str, Any], number: int = 0) -> Any:
        """The value of this schema of that number, from 0: items of one list may have to differ."""
        try:
            return self._value(schema, number)
        except _Endless as endless:
            if self._within:
                raise
            raise ValueError(f"a value of {schema.get('title', 'this schema')!r} would have no end") from endless

    def _value(self, schema: Mapping[str, Any], number: int) -> Any:
        match schema:
            case {"$ref": reference}:
                return self._referred(str(reference).removeprefix("#/$defs/"), number)
            case {"enum": [*values]}:
                return values[number % len(values)]
            case {"anyOf": [*arms]}:
                return self._one_of(arms, {key: schema[key] for key in schema.keys() & _BOUNDS}, number)
            case {"type": "object"}:
                return self._object(schema, number)
            case {"type": "array"}:
                return self._array(schema, number)
            case {"type": "string"}:
                return _string(schema, number)
            case {"type": "integer" | "number"}:
                return _number(schema, number)
            case {"type": "boolean"}:
                return number % 2 == 0
            case {"type": "null"}:
                return None
        return "anything"

    def _referred(self, name: str, number: int) -> Any:
        if name in self._within:
            raise _Endless
        self._within.append(name)
        try:
            return self._value(self._definitions[name], number)
        finally:
            self._within.pop()

    def _one_of(self, arms: Iterable[Mapping[str, Any]], bounds: Mapping[str, Any], number: int) -> Any:
        for arm in arms:
            try:
                return self._value({**arm, **bounds}, number)
            except _Endless:
                continue
        raise _Endless

    def _object(self, schema: Mapping[str, Any], number: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        made = {name: self._value(properties[name], number) for name in schema.get("required", ())}
        more = schema.get("additionalProperties")
        while isinstance(more, Mapping) and len(made) < schema.get("minProperties", 0):
            made[f"key{len(made) + 1}"] = self._value(more, len(made))
        return made

    def _array(self, schema: Mapping[str, Any], number: int) -> list[Any]:
        if (places := schema.get("prefixItems")) is not None:
            return [self._value(place, number) for place in places]
        return [self._value(schema.get("items", {}), number + index) for index in range(schema.get("minItems", 0))]


def _number(schema: Mapping[str, Any], number: int) -> int | float:
    least, most = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
    if schema["type"] == "integer":
        start = 1 if least <= 1 <= most else math.ceil(least) if least > 1 else math.floor(most)
        return start + number if start + number <= most else start - number
    start = 1.5 if least <= 1.5 <= most else least if least > 1.5 else most
    return float(start + number if start + number <= most else max(start - number, least))


def _string(schema: Mapping[str, Any], number: int) -> str:
    if (form := schema.get("format")) in _FORMATS:
        return _FORMATS[form]
    least: int = schema.get("minLength", 0)
    most: int | None = schema.get("maxLength")
    pattern: str | None = schema.get("pattern")
    for word in (f"text{number or ''}", *_WORDS):
        fitted = (word + "a" * (least - len(word)))[:most]
        if pattern is None or re.search(pattern, fitted):
            return fitted
    raise ValueError(f"nothing that is made up matches the pattern {pattern!r}; give it: auto_model(arguments=…)")
