"""How each wire writes a request and an answer, by hand: no more than the benchmarks need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, TypeAlias

from jsons import loads

Message: TypeAlias = dict[str, Any]
Call: TypeAlias = tuple[str, str, dict[str, Any]]  # id, name, arguments


class Wire(ABC):
    """One wire format."""

    @abstractmethod
    def path(self, model: str, *, stream: bool) -> str:
        """Of requests, below the server's URL."""

    def tool(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        """A tool of these parameters, as the request has it."""
        return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}

    @abstractmethod
    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        """The request; without a tool none is offered."""

    def user(self, text: str) -> Message:
        return {"role": "user", "content": text}

    def said(self, text: str) -> Message:
        return {"role": "assistant", "content": text}

    @abstractmethod
    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        """What goes back of an answer, its text, and its calls."""

    @abstractmethod
    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        """The messages of results, each an id, a name and a text."""

    @abstractmethod
    def delta(self, event: dict[str, Any]) -> str:
        """The text that an event of a stream adds."""


class Chat(Wire):
    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/chat/completions"

    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        said = [{"role": "system", "content": system}, *messages] if system else messages
        return {"model": model, "messages": said} | _options(tool, stream)

    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        message = answer["choices"][0]["message"]
        calls = message.get("tool_calls") or ()
        read = [(c["id"], c["function"]["name"], loads(c["function"]["arguments"])) for c in calls]
        return [message], message["content"], read

    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        return [{"role": "tool", "tool_call_id": call_id, "content": text} for call_id, _, text in results]

    def delta(self, event: dict[str, Any]) -> str:
        choices = event["choices"]
        return choices[0]["delta"].get("content") or "" if choices else ""


class Anthropic(Wire):
    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/messages"

    def tool(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "description": name, "input_schema": parameters}

    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        return {"model": model, "max_tokens": 4096, "system": system, "messages": messages} | _options(tool, stream)

    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        content = answer["content"]
        calls = [(block["id"], block["name"], block["input"]) for block in content if block["type"] == "tool_use"]
        text = "".join(block["text"] for block in content if block["type"] == "text")
        return [{"role": "assistant", "content": content}], text, calls

    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        blocks = [{"type": "tool_result", "tool_use_id": call_id, "content": text} for call_id, _, text in results]
        return [{"role": "user", "content": blocks}]

    def delta(self, event: dict[str, Any]) -> str:
        return event["delta"].get("text", "") if event["type"] == "content_block_delta" else ""


class Responses(Wire):
    def path(self, model: str, *, stream: bool) -> str:
        return "/v1/responses"

    def tool(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"type": "function", "name": name, "description": name, "parameters": parameters, "strict": False}

    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        said = {"model": model, "instructions": system, "input": messages, "store": False}
        return said | _options(tool, stream)

    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        items = answer["output"]
        calls = [(i["call_id"], i["name"], loads(i["arguments"])) for i in items if i["type"] == "function_call"]
        parts = [part for item in items if item["type"] == "message" for part in item["content"]]
        return items, "".join(part["text"] for part in parts), calls

    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        return [{"type": "function_call_output", "call_id": call_id, "output": text} for call_id, _, text in results]

    def delta(self, event: dict[str, Any]) -> str:
        return event["delta"] if event["type"] == "response.output_text.delta" else ""


class Gemini(Wire):
    def path(self, model: str, *, stream: bool) -> str:
        return f"/v1/models/{model}:{'streamGenerateContent?alt=sse' if stream else 'generateContent'}"

    def tool(self, name: str, parameters: dict[str, Any]) -> dict[str, Any]:
        return {"functionDeclarations": [{"name": name, "description": name, "parametersJsonSchema": parameters}]}

    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        tools = {} if tool is None else {"tools": [tool]}
        return {"systemInstruction": {"parts": [{"text": system}]}, "contents": messages, **tools}

    def user(self, text: str) -> Message:
        return {"role": "user", "parts": [{"text": text}]}

    def said(self, text: str) -> Message:
        return {"role": "model", "parts": [{"text": text}]}

    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        content = answer["candidates"][0]["content"]
        made = [part["functionCall"] for part in content["parts"] if "functionCall" in part]
        text = "".join(part.get("text", "") for part in content["parts"])
        return [content], text, [(call["id"], call["name"], call["args"]) for call in made]

    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        parts = [
            {"functionResponse": {"id": call_id, "name": name, "response": {"output": text}}}
            for call_id, name, text in results
        ]
        return [{"role": "user", "parts": parts}]

    def delta(self, event: dict[str, Any]) -> str:
        return "".join(part.get("text", "") for part in event["candidates"][0]["content"]["parts"])


class Ollama(Chat):
    def path(self, model: str, *, stream: bool) -> str:
        return "/api/chat"

    def body(
        self, model: str, system: str, messages: list[Message], tool: dict[str, Any] | None, *, stream: bool
    ) -> dict[str, Any]:
        return super().body(model, system, messages, tool, stream=stream) | {"stream": stream}

    def answer(self, answer: dict[str, Any]) -> tuple[list[Message], str, list[Call]]:
        message = answer["message"]
        made = [(call["id"], call["function"]) for call in message.get("tool_calls", ())]
        return [message], message["content"], [(id_, made["name"], made["arguments"]) for id_, made in made]

    def results(self, results: list[tuple[str, str, str]]) -> list[Message]:
        return [{"role": "tool", "tool_name": name, "content": text} for _, name, text in results]

    def delta(self, event: dict[str, Any]) -> str:
        return event["message"]["content"]


def _options(tool: dict[str, Any] | None, stream: bool) -> dict[str, Any]:
    return ({} if tool is None else {"tools": [tool]}) | ({"stream": True} if stream else {})


WIRES: Mapping[str, Wire] = {
    "": Chat(),
    "anthropic": Anthropic(),
    "responses": Responses(),
    "gemini": Gemini(),
    "ollama": Ollama(),
}
