"""The Python in our Markdown: find it, and run it offline, as a reader would who types it in.

A page is one program: its blocks run in order and share their names. `await` and `async with` may
stand at the top level of a block. A real vendor's model becomes the scripted one, which answers by
itself. `<!-- skip: why -->` on the line before a block leaves it out; `<!-- raises: Error -->` says
that it must end in this error.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

BLOCK = re.compile(r"(?:<!-- (?P<word>skip|raises): (?P<value>.+?) -->\n+)?^```python\n(?P<code>.*?)^```$", re.M | re.S)
VENDORS = r"anthropic|openai|google|ollama|openrouter|xai|deepseek|mistral|groq|codex"
MODEL = re.compile(rf"""(["'])(?:{VENDORS}):[^"'\s]+\1""")


@dataclass(frozen=True)
class Snippet:
    """One block of Python: where its code starts, and the error it must end in, if any."""

    path: Path
    line: int
    code: str
    raises: str | None = None


def read_snippets(path: Path) -> list[Snippet]:
    """Return the blocks of a Markdown file that are to be run, in order."""
    text = path.read_text(encoding="utf-8")
    return [
        Snippet(
            path,
            line=text.count("\n", 0, match.start("code")) + 1,
            code=match["code"],
            raises=match["value"] if match["word"] == "raises" else None,
        )
        for match in BLOCK.finditer(text)
        if match["word"] != "skip"
    ]


def run_snippets(snippets: Sequence[Snippet], model: str = "scripted:demo") -> None:
    """Run the blocks of one page, each on the model that is named instead of a vendor's.

    Raises:
        AssertionError: a block did not end in the error that it announces.
    """
    module = types.ModuleType("__main__")
    for snippet in snippets:
        try:
            with as_main(module):
                _run(snippet, module.__dict__, model)
        except Exception as error:
            if type(error).__name__ != snippet.raises:
                error.add_note(f"in {snippet.path.name}, the block at line {snippet.line}")
                raise
        else:
            assert snippet.raises is None, f"{snippet.path.name}:{snippet.line} ended without {snippet.raises}"


@contextmanager
def as_main(module: types.ModuleType) -> Iterator[None]:
    """Let `module` be the program's main one, where a class looks its annotations up."""
    before = sys.modules["__main__"]
    sys.modules["__main__"] = module
    try:
        yield
    finally:
        sys.modules["__main__"] = before  # and nothing else: what was imported meanwhile stays


def _run(snippet: Snippet, namespace: dict[str, Any], model: str) -> None:
    source = "\n" * (snippet.line - 1) + MODEL.sub(repr(model), snippet.code)
    code = compile(source, str(snippet.path), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if code.co_flags & inspect.CO_COROUTINE:
        function = types.FunctionType(code, namespace)
        trio.run(function)
    else:
        exec(code, namespace)
