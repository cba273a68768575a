"""What there is of an answer that is still coming. Pure."""

from __future__ import annotations

import json
import re

from alloy.llm.content import JSON

_CLOSING = {"{": "}", "[": "]"}
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+("?)|[\[\]{},]', re.S)
_CUT_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")


def partial_json(text: str) -> JSON:
    """The value of a JSON text as far as it goes: what is not there yet is left out, a cut string or number is cut.

    None if there is nothing yet, or if the text cannot become JSON.
    """
    closed, whole = _closed(text)
    for candidate in (closed, _closed(text[:whole])[0]):
        try:
            value: JSON = json.loads(candidate)
        except (ValueError, RecursionError):
            continue
        return value
    return None


def _closed(text: str) -> tuple[str, int]:
    """The text with all closed that is open, and up to where its values are complete."""
    closing: list[str] = []  # what closes the brackets that are open, innermost last
    whole = 0
    cut_string = False
    for token in _TOKEN.finditer(text):
        match token[0][0]:
            case '"':
                cut_string = not token[1]
            case "{" | "[" as bracket:
                closing.append(_CLOSING[bracket])
                whole = token.end()
            case ",":
                whole = token.start()
            case _ if closing:
                closing.pop()
    if cut_string:
        if (escape := _CUT_ESCAPE.search(text)) is not None:
            text = text[: escape.start(1)]
        closing.append('"')
    return text + "".join(reversed(closing)), whole
