"""The documentation holds: every public name is explained, once, and every link inside leads somewhere."""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import alloy

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
ALLOY = Path(alloy.__file__).parent
PACKAGES = ["alloy", *sorted(f"alloy.{path.parent.name}" for path in ALLOY.glob("*/__init__.py"))]
MARKDOWN = sorted([*ROOT.glob("*.md"), *(path for path in DOCS.rglob("*.md") if "_build" not in path.parts)])

DIRECTIVE = re.compile(
    r"^\.\. (?:py:currentmodule:: (?P<module>\S+)"
    r"|(?P<kind>autofunction|autoclass|autoexception|py:data|tool):: (?P<name>\S+)(?P<body>(?:\n(?:[ \t].*)?)*))",
    re.M,
)


def public_names() -> Iterator[tuple[str, str, Any]]:
    """Yield package, name and what it stands for, of every `__all__`."""
    for package in PACKAGES:
        module = importlib.import_module(package)
        for name in getattr(module, "__all__", ()):
            yield package, name, getattr(module, name)


def explained_in(page: str) -> Iterator[tuple[str, str, str, str]]:
    """Yield module, name, kind and text of what the source of a page of the reference explains."""
    module = ""
    for match in DIRECTIVE.finditer(page):
        if match["module"]:
            module = match["module"]
        else:
            yield module, match["name"], match["kind"], match["body"].strip()


def reference() -> list[tuple[str, str, str, str]]:
    pages = sorted((DOCS / "reference").glob("*.md"))
    return [entry for page in pages for entry in explained_in(page.read_text(encoding="utf-8"))]


def missing_docstrings(name: str, value: Any) -> list[str]:
    """Return the name, if it has no docstring, and those of its public methods and properties that have none."""
    lacks = [] if inspect.getdoc(value) else [name]
    if not inspect.isclass(value):
        return lacks
    if "__doc__" not in vars(value) or vars(value)["__doc__"] is None:  # else that of a class it is derived from
        lacks = [name]
    for member, defined in vars(value).items():
        is_code = inspect.isroutine(defined) or isinstance(defined, (classmethod, staticmethod, property))
        if is_code and not member.startswith("_") and not inspect.getdoc(getattr(value, member)):
            lacks.append(f"{name}.{member}")
    return lacks


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_has_a_docstring(package: str) -> None:
    mine = [(name, value) for home, name, value in public_names() if home == package]
    explained = [(name, value) for name, value in mine if inspect.isclass(value) or inspect.isroutine(value)]

    assert [lack for name, value in explained for lack in missing_docstrings(f"{package}.{name}", value)] == []


def test_a_class_or_a_method_without_a_docstring_is_found() -> None:
    class Parent:
        """Has one."""

        def method(self) -> None:
            pass

    class Child(Parent):
        @property
        def told(self) -> int:
            return 1

    assert missing_docstrings("Parent", Parent) == ["Parent.method"]
    assert missing_docstrings("Child", Child) == ["Child", "Child.told"]


def test_the_reference_has_every_public_name_exactly_once() -> None:
    seen = Counter(id(getattr(importlib.import_module(module), name)) for module, name, _, _ in reference())

    assert [(package, name) for package, name, value in public_names() if seen[id(value)] != 1] == []
    assert sum(seen.values()) == len({id(value) for _, _, value in public_names()})  # and no other name


def test_what_has_no_docstring_of_its_own_is_explained_on_its_page() -> None:
    constants = [(module, name, body) for module, name, kind, body in reference() if kind == "py:data"]

    assert constants
    assert [(module, name) for module, name, body in constants if not body] == []


def test_every_page_is_in_the_index_once() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    entries = [line for block in re.findall(r"```{toctree}\n(.*?)```", index, re.S) for line in block.splitlines()]
    listed = Counter(
        page.relative_to(DOCS)
        for entry in entries
        if entry and not entry.startswith(":")
        for page in DOCS.glob(f"{entry}.md")
    )

    pages = {path.relative_to(DOCS) for path in MARKDOWN if DOCS in path.parents} - {Path("index.md")}
    assert set(listed) == pages
    assert max(listed.values()) == 1


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_to_a_file_has_its_file(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    links = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", text)

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_file_of_the_documentation_that_is_named_is_there(page: Path) -> None:
    named = re.findall(r"`((?:docs|tests|alloy)/[\w./-]+)`", page.read_text(encoding="utf-8"))

    assert [path for path in named if not (ROOT / path).exists()] == []
