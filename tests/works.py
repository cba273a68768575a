"""README's table of what works, made of the tests' own markers: `python tests/works.py --write`.

A test that stands for something a user can do says so with `@pytest.mark.works("what")`; each
distinct text is one row, with the files whose tests hold it true, in the order of the files.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
BEGIN, END = "<!-- works:begin -->\n", "<!-- works:end -->\n"


def claims(source: str) -> Iterator[str]:
    """Yield what the `works` markers of one test file claim, in the order of the file.

    Raises:
        ValueError: a marker's argument is no plain text, so a table cannot be made of it.
    """
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="works", value=ast.Attribute(attr="mark")), args=args):
                if not (len(args) == 1 and isinstance(args[0], ast.Constant) and isinstance(args[0].value, str)):
                    raise ValueError(f"line {node.lineno}: works() takes one plain text, got {ast.unparse(node)!r}")
                yield args[0].value


def table(tests: Path) -> str:
    """Return the table for all test files below a folder, as Markdown."""
    rows: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        name = path.relative_to(tests.parent).as_posix()
        for what in claims(path.read_text(encoding="utf-8")):
            files = rows.setdefault(what, [])
            if name not in files:
                files.append(name)
    lines = [f"| {what} | {', '.join(f'[{Path(f).name}]({f})' for f in files)} |" for what, files in rows.items()]
    return "\n".join(["| what works | held by |", "|---|---|", *lines]) + "\n"


def put_in(readme: str, rows: str) -> str:
    """Return the text with what stands between the two markers replaced.

    Raises:
        ValueError: a marker is missing, or they are in the wrong order.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"expected {BEGIN.strip()!r} and then {END.strip()!r}, each on a line of its own")
    return f"{head}{begin}\n{rows}\n{end}{tail}"


def main(arguments: list[str]) -> int:
    """Print the table, or with `--write` put it into README.md."""
    rows = table(ROOT / "tests")
    if arguments == ["--write"]:
        README.write_text(put_in(README.read_text(encoding="utf-8"), rows), encoding="utf-8")
    else:
        print(rows, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
