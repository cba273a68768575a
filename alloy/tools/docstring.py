"""What a docstring says to a model: the description, and a note for each parameter. Pure.

Reads the Google and the Sphinx form.
"""

from __future__ import annotations

import inspect
import re

import attrs

_PARAMETERS = {"args", "arguments", "parameters", "keyword args", "keyword arguments", "attributes"}
_OTHERS = {"return", "returns", "yield", "yields", "raise", "raises", "source"}
_SECTION = re.compile(r"(?P<title>[A-Z][A-Za-z ]*):(?: |$)")
_GOOGLE_ITEM = re.compile(r"\*{0,2}(?P<names>\w+(?:, *\w+)*) *(?:\([^)]*\))?:(?: +(?P<note>.*))?$")
_SPHINX_FIELD = re.compile(r":(?P<kind>\w+)(?: +(?P<argument>[^:]*))?: *(?P<note>.*)$")


@attrs.frozen
class Docstring:
    """What is left of a docstring for the model.

    Attributes:
        description: everything before the first section on parameters, results, errors or sources.
        notes: what it says of each parameter or attribute, by name.
    """

    description: str = ""
    notes: dict[str, str] = attrs.field(factory=dict)


def parse_docstring(text: str | None) -> Docstring:
    """Read a docstring as it stands in the source; None is an empty one."""
    description: list[str] = []
    notes: dict[str, list[str]] = {}
    in_description = True
    in_parameters = False
    item_indent: int | None = None
    current: tuple[str, ...] = ()
    for line in inspect.cleandoc(text or "").splitlines():
        indent = len(line) - len(line.lstrip())
        stripped = line.strip()
        if indent == 0 and (title := _section(stripped)):
            in_description, in_parameters, item_indent, current = False, title in _PARAMETERS, None, ()
        elif indent == 0 and (field := _SPHINX_FIELD.match(stripped)):
            in_description, in_parameters = False, False
            current = _sphinx_names(field["kind"], field["argument"] or "")
            for name in current:
                notes[name] = [field["note"]]
        elif in_description:
            description.append(line)
        elif in_parameters and indent > 0 and (item_indent is None or indent <= item_indent):
            item_indent, current = indent, ()
            if item := _GOOGLE_ITEM.match(stripped):
                current = tuple(re.split(", *", item["names"]))
                notes.update({name: [item["note"] or ""] for name in current})
        elif indent > 0:
            for name in current:
                notes[name].append(stripped)
        elif stripped:
            in_parameters, current = False, ()
    return Docstring(
        "\n".join(description).strip(),
        {name: note for name, lines in notes.items() if (note := " ".join(lines).strip())},
    )


def _section(line: str) -> str | None:
    match = _SECTION.match(line)
    title = match["title"].lower() if match else ""
    return title if title in _PARAMETERS | _OTHERS else None


def _sphinx_names(kind: str, argument: str) -> tuple[str, ...]:
    """`:param int limit: …` is about `limit`; `:raises X: …` and the like are about no parameter."""
    words = argument.split()
    return (words[-1],) if words and kind in {"param", "parameter", "arg", "argument", "key", "keyword"} else ()
