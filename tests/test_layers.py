"""The architecture, as a test: what each part of alloy may import."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ALLOY = Path(__file__).parent.parent / "alloy"

ALL = {"errors", "otp", "llm", "providers", "tools", "loop", "stores", "agents", "teams", "testing", "api", "cli"}
OF_AGENTS = {"errors", "otp", "llm", "tools", "loop", "api"}
MAY_IMPORT: dict[str, set[str]] = {  # bottom to top; `version` is a leaf for everybody
    "version": set(),
    "errors": set(),
    "otp": {"errors"},
    "llm": {"errors"},
    "providers": {"errors", "llm"},
    "tools": {"errors", "llm"},
    "loop": {"errors", "llm", "tools"},
    "stores": {"errors", "llm", "loop"},
    "agents": OF_AGENTS,
    "teams": OF_AGENTS | {"agents"},
    "testing": ALL - {"cli"} | {"__init__"},
    "api": {"errors", "llm", "providers", "tools", "loop", "stores"},
    "cli": ALL - {"testing"} | {"__init__"},
    "__init__": ALL - {"cli", "testing"},
    "__main__": {"cli"},
}

# Under `if TYPE_CHECKING:` these two may name any layer, and no other file may.
NAMES_HIGHER_LAYERS = {"errors.py", "tools/context.py"}

# What is not ours: which files may import it, by the start of their path. "" is everywhere.
FOREIGN: dict[str, tuple[str, ...]] = {
    "trio": ("",),
    "attrs": ("",),
    "httpx": ("providers/http.py", "providers/pool.py"),
    "httpcore": ("providers/http.py", "providers/pool.py"),
    "h11": ("providers/pool.py",),  # comes with httpcore, as that with httpx
    "cattrs": ("llm/codec.py", "tools/schema.py"),
    "rich": ("cli/",),
    "prompt_toolkit": ("cli/",),
    "opentelemetry": ("loop/",),
    "pytest": ("testing/",),
}
ONLY_FOR_CHECKERS = {"typing_extensions"}

# No I/O and no waiting: these files do not know Trio.
PURE = (
    "otp/policy.py",
    *(f"loop/{name}.py" for name in ("records", "journal", "keeping", "recovery")),
    "stores/lines.py",
    "testing/store_samples.py",
    *(
        f"llm/{name}.py"
        for name in (
            "content",
            "message",
            "usage",
            "request",
            "delta",
            "completion",
            "history",
            "transcript",
            "codec",
            "errors",
        )
    ),
    *(f"providers/{name}" for name in ("dialect", "framing", "classify", "anthropic", "openai", "gemini", "ollama")),
)

READS_ENVIRONMENT = ("providers/vendors.py", "tools/process.py", "cli/")


@dataclass(frozen=True)
class Import:
    """One name that a file imports, in full: `from alloy.llm import usage` is `alloy.llm.usage`."""

    line: int
    name: str
    for_checkers: bool


def imports(tree: ast.AST, for_checkers: bool = False) -> Iterator[Import]:
    """Yield every import below `tree`, at the head of the file or in a function."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names=names):
                yield from (Import(node.lineno, alias.name, for_checkers) for alias in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                start = "." * level + (module or "")
                yield from (Import(node.lineno, f"{start}.{alias.name}", for_checkers) for alias in names)
            case ast.Call(func=ast.Attribute(attr="import_module"), args=[ast.Constant(value=str(name)), *_]):
                yield Import(node.lineno, f"{name}.*", for_checkers)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(body=node.body, type_ignores=[]), for_checkers=True)
            yield from imports(ast.Module(body=node.orelse, type_ignores=[]), for_checkers)
        else:
            yield from imports(node, for_checkers)


def part_of(path: str) -> str:
    """Return the layer that a file of alloy belongs to, or the module's name at the top level."""
    return path.split("/")[0].removesuffix(".py")


def violations(path: str, source: str) -> list[str]:
    """Return what is wrong with the imports of one file; `path` is relative to alloy/."""
    tree = ast.parse(source)
    return [f"alloy/{path}:{line}: {what}" for line, what in [*_forbidden(path, tree), *_environment(path, tree)]]


def _forbidden(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    part = part_of(path)
    if part not in MAY_IMPORT:
        yield 1, f"no layer is called {part!r}"
        return
    for found in imports(tree):
        first, *rest = found.name.split(".")
        if first == "":
            yield found.line, f"name the module in full, not {found.name!r}"
        elif first == "alloy":
            layer = rest[0] if rest and rest[0] in MAY_IMPORT else "__init__"
            names_only = found.for_checkers and path in NAMES_HIGHER_LAYERS
            if layer not in MAY_IMPORT[part] | {part, "version"} and not names_only:
                yield found.line, f"{part} may not import {layer} ({found.name})"
        elif first == "trio" and path.startswith(PURE):
            yield found.line, "a pure module knows no trio"
        elif first == "asyncio":
            yield found.line, "asyncio where Trio is meant"
        elif first not in sys.stdlib_module_names and not _may_import(path, first, found):
            yield found.line, f"{path} may not import {first}"


def _may_import(path: str, name: str, found: Import) -> bool:
    if name in ONLY_FOR_CHECKERS:
        return found.for_checkers
    return path.startswith(FOREIGN.get(name, ()))


def _environment(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    if path.startswith(READS_ENVIRONMENT):
        return
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="os"), attr=attr) if attr in names:
                yield node.lineno, f"os.{attr} outside {', '.join(READS_ENVIRONMENT)}"
            case ast.ImportFrom(module="os", names=imported) if names & {alias.name for alias in imported}:
                yield node.lineno, f"the environment is read outside {', '.join(READS_ENVIRONMENT)}"


def files() -> list[str]:
    return sorted(path.relative_to(ALLOY).as_posix() for path in ALLOY.rglob("*.py"))


def test_every_file_imports_only_what_its_layer_may() -> None:
    found = [what for path in files() for what in violations(path, (ALLOY / path).read_text(encoding="utf-8"))]

    assert found == []


def test_no_module_name_starts_with_an_underscore() -> None:
    parts = [part.removesuffix(".py") for path in files() for part in path.split("/")]

    assert [part for part in parts if part.startswith("_") and part not in {"__init__", "__main__"}] == []


PLANTED = {
    "a layer below": ("llm/usage.py", "import alloy.errors", None),
    "its own layer": ("llm/usage.py", "from alloy.llm import content", None),
    "a layer above": ("llm/usage.py", "from alloy.loop import turn", "llm may not import loop"),
    "a layer above, in a function": (
        "otp/child.py",
        "def f():\n  from alloy.llm import usage",
        "otp may not import llm",
    ),
    "a layer above, by name": ("otp/child.py", "importlib.import_module('alloy.llm')", "otp may not import llm"),
    "a layer beside": ("providers/http.py", "import alloy.loop.turn", "providers may not import loop"),
    "the top": ("agents/server.py", "import alloy", "agents may not import __init__"),
    "a name of the top": ("agents/server.py", "from alloy import Agent", "agents may not import __init__"),
    "a layer through the top": ("agents/server.py", "from alloy import otp", None),
    "a higher layer for checkers": (
        "tools/define.py",
        "if TYPE_CHECKING:\n  from alloy.loop import x",
        "tools may not import loop",
    ),
    "a higher layer for checkers, where it may": ("tools/context.py", "if TYPE_CHECKING:\n  import alloy.loop", None),
    "a higher layer beside checkers": (
        "errors.py",
        "if TYPE_CHECKING:\n  pass\nelse:\n  import alloy.loop",
        "errors may not import loop",
    ),
    "cli": ("__init__.py", "from alloy.cli import main", "__init__ may not import cli"),
    "testing in cli": ("cli/run.py", "import alloy.testing", "cli may not import testing"),
    "testing may see all": ("testing/scripted.py", "import alloy\nimport alloy.teams", None),
    "an unknown layer": ("utils/x.py", "", "no layer is called 'utils'"),
    "relative": ("llm/usage.py", "from . import content", "name the module in full"),
    "httpx": ("providers/anthropic.py", "import httpx", "may not import httpx"),
    "httpx for checkers": ("api.py", "if TYPE_CHECKING:\n  import httpx", "may not import httpx"),
    "httpx where it may": ("providers/http.py", "import httpx\nimport httpcore", None),
    "trio in a dialect": ("providers/openai_chat.py", "import trio", "a pure module knows no trio"),
    "trio in a pure module": ("otp/policy.py", "from trio import sleep", "a pure module knows no trio"),
    "trio in a driver": ("llm/driver.py", "import trio", None),
    "cattrs": ("loop/output.py", "import cattrs", "may not import cattrs"),
    "cattrs where it may": ("tools/schema.py", "from cattrs import Converter", None),
    "asyncio": ("loop/turn.py", "import asyncio", "asyncio where Trio is meant"),
    "a vendor's package": ("providers/anthropic.py", "import anthropic", "may not import anthropic"),
    "an extra": ("loop/turn.py", "import rich", "may not import rich"),
    "typing_extensions": ("loop/agent.py", "import typing_extensions", "may not import typing_extensions"),
    "typing_extensions for checkers": ("loop/agent.py", "if TYPE_CHECKING:\n  import typing_extensions", None),
    "the environment": ("tools/define.py", "import os\nos.environ['X']", "os.environ outside"),
    "the environment by name": ("tools/define.py", "from os import getenv", "the environment is read outside"),
    "the environment where it may": ("cli/main.py", "import os\nos.getenv('X')", None),
}


@pytest.mark.parametrize(("path", "source", "expected"), PLANTED.values(), ids=PLANTED)
def test_the_rule_finds_what_it_should_and_nothing_else(path: str, source: str, expected: str | None) -> None:
    found = violations(path, source)

    assert len(found) == (0 if expected is None else 1)
    assert all(expected in what for what in found if expected is not None)
