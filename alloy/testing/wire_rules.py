"""What a vendor would refuse in a request, told without asking it: rules that no type can express.

Each function takes a request's body, parsed, and returns what is wrong with it; nothing if all is well.
They serve the conformance suite, and fakes that want to be as strict as the real ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from alloy.llm.content import JSON


def messages_faults(body: JSON) -> list[str]:
    """Anthropic's Messages: alternating turns, results first and complete, signed thinking, no blank text.

    Source: Anthropic, Messages API, errors that the API answers with (read 2026-11-22).
    """
    faults = [f"{name!r} is refused by this version" for name in ("temperature", "top_p", "top_k") if name in body]
    messages = body["messages"]
    faults += _turn_faults([message["role"] for message in messages])
    open_calls: list[str] = []
    marks = 1 if "cache_control" in body else 0
    for number, message in enumerate(messages):
        blocks = message["content"]
        if not blocks:
            faults.append(f"message {number} is empty")
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(answered) != sorted(open_calls):
            faults.append(f"message {number} answers {answered}, the message before it calls {open_calls}")
        kinds = [block["type"] for block in blocks]
        if "tool_result" in kinds[len(answered) :]:
            faults.append(f"message {number} has a result after something else")
        open_calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        marks += sum("cache_control" in block for block in blocks)
        for block in blocks:
            faults += (f"message {number}: {fault}" for fault in _block_faults(block, message["role"]))
    if open_calls:
        faults.append(f"calls without a result: {open_calls}")
    if marks > 4:
        faults.append(f"{marks} cache marks, 4 are allowed")
    return faults


def _block_faults(block: Mapping[str, JSON], role: str) -> Iterator[str]:
    match block["type"]:
        case "text" if not block["text"].strip():
            yield "blank text"
        case "thinking" if not block.get("signature"):
            yield "thinking without a signature"
        case "tool_use" | "tool_result":
            id = block.get("id") or block["tool_use_id"]
            if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", id):
                yield f"the id {id!r} is refused"
            if block.get("content") == []:
                yield "a result without content"
        case "image" | "document" if role == "assistant":
            yield f"{block['type']} in an assistant's message"
    own = ("tool_use", "thinking", "redacted_thinking", "server_tool_use")
    if block["type"] in own and role == "user":
        yield f"{block['type']} in a user's message"
    if block.get("citations") and role == "user":
        yield "citations in a user's message"


def chat_faults(body: JSON) -> list[str]:
    """Chat Completions: each call answered directly after its message, nothing empty, roles in turn.

    Source: OpenAI, Chat Completions; and what the stricter servers of open models demand (read 2026-11-22).
    """
    faults: list[str] = []
    open_calls: list[str] = []
    spoken: list[str] = []
    for number, message in enumerate(body["messages"]):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in open_calls:
                faults.append(f"message {number} answers {message['tool_call_id']!r}; open calls are {open_calls}")
            else:
                open_calls.remove(message["tool_call_id"])
            if not isinstance(message["content"], str):
                faults.append(f"message {number}: a tool's result must be a string")
            continue
        if open_calls:
            faults.append(f"message {number} comes before the results of {open_calls}")
        if role in ("system", "developer"):
            if number:
                faults.append(f"message {number}: the system prompt must come first")
            continue
        if not message.get("content") and not message.get("tool_calls"):
            faults.append(f"message {number} is empty")
        open_calls = [call["id"] for call in message.get("tool_calls", ())]
        if len(set(open_calls)) < len(open_calls) or not all(open_calls):
            faults.append(f"message {number}: ids of calls must be there and differ: {open_calls}")
        if spoken[-1:] == [role] and not (role == "assistant" and body["messages"][number - 1]["role"] == "tool"):
            faults.append(f"message {number}: {role} speaks twice in a row")
        spoken.append(role)
    if open_calls:
        faults.append(f"calls without a result: {open_calls}")
    return faults


def responses_faults(body: JSON) -> list[str]:
    """Responses: nothing kept by the server, each call answered, reasoning whole and before what it led to.

    Source: OpenAI, Responses API, errors that the API answers with (read 2026-11-24).
    """
    faults = [f"{name!r} is no field of this API" for name in ("stop", "seed", "messages") if name in body]
    if body.get("store") is not False:
        faults.append("the server would keep the conversation")
    faults += (
        f"the tool {tool['name']!r} does not say whether it is strict"
        for tool in body.get("tools", ())
        if tool["type"] == "function" and "strict" not in tool
    )
    open_calls: list[tuple[str, str]] = []
    items = body["input"]
    for number, item in enumerate(items):
        kind, role = item.get("type", "message"), item.get("role")
        if kind in ("function_call", "custom_tool_call"):
            open_calls.append((kind, item["call_id"]))
        if kind in ("function_call_output", "custom_tool_call_output"):
            called = (kind.removesuffix("_output"), item["call_id"])
            if called not in open_calls:
                faults.append(f"item {number} answers {called}; open calls are {open_calls}")
            else:
                open_calls.remove(called)
        elif open_calls and role == "user":
            faults.append(f"item {number} comes before the results of {open_calls}")
        follower = items[number + 1] if number + 1 < len(items) else {"role": "user"}
        faults += (f"item {number}: {fault}" for fault in _item_faults(item, kind, follower))
    if open_calls:
        faults.append(f"calls without a result: {open_calls}")
    return faults


def _item_faults(item: Mapping[str, JSON], kind: str, follower: Mapping[str, JSON]) -> Iterator[str]:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", item.get("call_id") or "none"):
        yield f"the id {item['call_id']!r} is refused"
    if kind == "message":
        content = item["content"]
        texts = [content] if isinstance(content, str) else [part.get("text", "…") for part in content]
        if not texts or not all(text if item.get("id") else text.strip() for text in texts):
            yield "blank text"
    if kind == "reasoning":
        if not item.get("encrypted_content") and not item.get("content"):
            yield "reasoning that says nothing"
        if follower.get("role") == "user" or follower.get("type", "").endswith("_output"):
            yield "reasoning without what it led to"


def gemini_faults(body: JSON) -> list[str]:
    """Gemini: the user first, results alone, complete, in the order of the calls and objects, nothing blank.

    Source: Google, "Function calling" and "Thought signatures"; pydantic-ai's notes on live probes (read 2026-11-22).
    """
    faults: list[str] = []
    open_calls: list[tuple[JSON, str]] = []
    before: Mapping[str, JSON] | None = None
    for number, content in enumerate(body["contents"]):
        role, parts = content["role"], content["parts"]
        answers = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if not parts:
            faults.append(f"content {number} is empty")
        if not number and role != "user":
            faults.append("the user must speak first")
        if [(one.get("id"), one["name"]) for one in answers] != open_calls:
            faults.append(f"content {number} answers {answers}, the content before it calls {open_calls}")
        if answers and len(answers) < len(parts):
            faults.append(f"content {number} has something beside its results")
        if before is not None and before["role"] == role and not any("functionResponse" in p for p in before["parts"]):
            faults.append(f"content {number}: {role} speaks twice in a row")
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        open_calls = [(call.get("id"), call["name"]) for call in calls]
        for part in parts:
            faults += (f"content {number}: {fault}" for fault in _part_faults(part, role))
        before = content
    if open_calls:
        faults.append(f"calls without a result: {open_calls}")
    choice = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if choice and not any("functionDeclarations" in tool for tool in body.get("tools", ())):
        faults.append("a choice of functions where there are none")
    if "allowedFunctionNames" in choice and choice["mode"] != "ANY":
        faults.append(f"names of functions go with ANY only, not {choice['mode']}")
    return faults


def _part_faults(part: Mapping[str, JSON], role: str) -> Iterator[str]:
    if "functionCall" in part and role != "model":
        yield "a call in a user's content"
    if "functionResponse" in part:
        if role != "user":
            yield "a result in a model's content"
        response = part["functionResponse"]["response"]
        if not isinstance(response, dict):
            yield "a result that is no object"
        if "$ref" in _keys(response):
            yield "a result with a reference in it"
    if "text" in part and not part["text"].strip() and "thoughtSignature" not in part:
        yield "blank text"
    if "thoughtSignature" in part and role != "model":
        yield "a signature in a user's content"


def _keys(value: JSON) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _keys(inner)


def ollama_faults(body: JSON) -> list[str]:
    """Ollama's own API: text is a string, arguments are objects, images plain base64, as many results as calls.

    Source: Ollama, "API reference", and its server's source (read 2026-11-22).
    """
    faults = [f"{name!r} is not known" for name in ("tool_choice", "max_tokens", "temperature", "stop") if name in body]
    before, open_calls = "", 0
    for number, message in enumerate(body["messages"]):
        role, calls = message["role"], message.get("tool_calls", [])
        if not isinstance(message["content"], str):
            faults.append(f"message {number}: the content must be a string")
        if role == "system" and number:
            faults.append(f"message {number}: the system prompt must come first")
        if role in ("user", "assistant") and not (message["content"].strip() or message.get("images") or calls):
            faults.append(f"message {number} is empty")
        if role == before != "tool":
            faults.append(f"message {number}: {role} speaks twice in a row")
        if (role == "tool") != (open_calls > 0):
            faults.append(f"message {number} of {role} comes with {open_calls} calls to be answered")
        if not all(isinstance(call["function"]["arguments"], dict) for call in calls):
            faults.append(f"message {number}: arguments must be an object")
        if any(":" in image for image in message.get("images", ())):
            faults.append(f"message {number}: an image must be plain base64")
        before, open_calls = role, open_calls - 1 if role == "tool" else len(calls)
    if open_calls:
        faults.append(f"{open_calls} calls without a result")
    return faults


def _turn_faults(roles: Sequence[str]) -> Iterable[str]:
    if roles and roles[0] != "user":
        yield "the user must speak first"
    for number in range(1, len(roles)):
        if roles[number] == roles[number - 1]:
            yield f"message {number}: {roles[number]} speaks twice in a row"


WIRE_RULES: Mapping[str, Callable[[JSON], list[str]]] = {
    "anthropic.messages": messages_faults,
    "openai.chat": chat_faults,
    "gemini": gemini_faults,
    "ollama.chat": ollama_faults,
    "openai.responses": responses_faults,
}
