"""Reading JSON with msgspec, where that is installed (the extra `fast`): at half the cost, with the same results.

What msgspec does not read – NaN, half of a surrogate pair, an exponent that is too large – and what is no JSON, it
refuses; then the standard library has the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from alloy.llm.content import JSON


def _find() -> tuple[Callable[[str], JSON] | None, tuple[type[Exception], ...]]:
    try:
        msgspec, json = import_module("msgspec"), import_module("msgspec.json")
    except ImportError:
        return None, ()
    return json.Decoder().decode, (msgspec.MsgspecError, ValueError)  # the latter for text that is no UTF-8


decode: Callable[[str], JSON] | None
REFUSED: tuple[type[Exception], ...]
decode, REFUSED = _find()
