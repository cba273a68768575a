"""Functions as tools: what is read from them, what is refused, and when."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import pytest

from alloy.llm.request import ToolDefinition
from alloy.tools import Tool, ToolContext, as_tools, tool

if TYPE_CHECKING:
    from somewhere import Elsewhere


@tool
async def search(  # noqa: D417
    query: Annotated[str, "What to look for."], limit: int = 5, *, ctx: ToolContext
) -> list[str]:
    """Search the notes.

    Newest first.

    Args:
        query: never shown, because Annotated says more.
        limit: Most hits,
            at all.

    Raises:
        ToolError: there are no notes.
    """
    return [query] * limit


def test_a_tool_is_what_a_model_is_told() -> None:
    assert isinstance(search, ToolDefinition)
    assert search.name == "search"
    assert search.description == "Search the notes.\n\nNewest first."
    assert search.parameters == {
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for."},
            "limit": {"type": "integer", "description": "Most hits, at all.", "default": 5},
        },
        "required": ["query"],
        "additionalProperties": False,
    }
    assert search.strict


def test_options_have_their_defaults() -> None:
    assert (search.concurrent, search.max_result_chars, search.timeout) == (False, 30_000, None)
    assert (search.isolation, search.replay, search.approve) == ("task", "never", False)


async def test_calling_a_tool_calls_the_function() -> None:
    assert await search("x", limit=2, ctx=ToolContext()) == ["x", "x"]


def test_options_are_kept() -> None:
    @tool(
        name="other-name",
        description="Other words.",
        concurrent=True,
        max_result_chars=10,
        timeout=2.5,
        isolation="thread",
        replay="key",
        approve=True,
        strict=False,
    )
    def f() -> None:
        """Never shown."""

    assert (f.name, f.description, f.concurrent, f.max_result_chars) == ("other-name", "Other words.", True, 10)
    assert (f.timeout, f.isolation, f.replay, f.approve, f.strict) == (2.5, "thread", "key", True, False)


def test_a_plain_def_runs_in_a_thread() -> None:
    @tool
    def f() -> None: ...

    assert f.isolation == "thread"
    assert f.description == ""
    assert f.parameters == {"type": "object", "properties": {}, "required": [], "additionalProperties": False}


def test_what_follows_the_sections_is_not_for_the_model() -> None:
    @tool
    def f(a: int, b: int) -> None:  # noqa: D417
        """Do it.

        It takes a while.

        Args:
            a, b (int): Both: the same.

        For whoever reads the code:
            b: not this.
        """

    assert f.description == "Do it.\n\nIt takes a while."
    assert [p["description"] for p in f.parameters["properties"].values()] == ["Both: the same."] * 2


def test_sphinx_fields_fill_in_descriptions_too() -> None:
    @tool
    def f(a: int, b: str, c: str) -> None:
        """Do it.

        :param a: The first,
            on two lines.
        :param str b: The second.
        :returns: c
        """

    assert f.description == "Do it."
    assert [p.get("description") for p in f.parameters["properties"].values()] == [
        "The first, on two lines.",
        "The second.",
        None,
    ]


async def context_annotated(ctx: Annotated[ToolContext, "Ours."], a: int) -> None: ...
async def context_first(anything: ToolContext, a: int) -> None: ...
async def context_last(a: int, *, whatever: ToolContext | None = None) -> None: ...
async def context_unknown_here(ctx: "ToolContext", a: int) -> None: ...  # noqa: UP037


@pytest.mark.parametrize("function", [context_annotated, context_first, context_last, context_unknown_here])
def test_the_context_is_found_by_its_type_under_any_name_and_is_no_parameter(function: Callable[..., Any]) -> None:
    made = tool(function)

    assert made.context in {"anything", "whatever", "ctx"}
    assert list(made.parameters["properties"]) == ["a"]


def test_a_context_imported_for_type_checkers_only_is_known() -> None:
    namespace: dict[str, Any] = {"__name__": "elsewhere"}
    exec("def f(a: 'int', ctx: 'ToolContext') -> 'NotImportedEither': ...", namespace)

    assert tool(namespace["f"]).context == "ctx"


class Notes:
    """Remembers."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def add(self, note: str) -> str:
        """Add a note."""
        return self.prefix + note

    async def __call__(self, note: str) -> str:
        return self.prefix + note


def plus(a: int, b: int, c: int = 3) -> int:
    """Add up."""
    return a + b + c


async def test_bound_methods_partials_closures_and_callable_objects_are_tools() -> None:
    notes = Notes("> ")
    bound, fixed, first = tool(notes.add), tool(functools.partial(plus, b=2)), tool(functools.partial(plus, 1))
    instance = tool(notes)

    assert (bound.name, bound.description, bound("x")) == ("add", "Add a note.", "> x")
    assert (fixed.name, fixed.description, list(fixed.parameters["properties"])) == ("plus", "Add up.", ["a", "c"])
    assert fixed(a=1) == 6
    assert list(first.parameters["properties"]) == ["b", "c"]
    assert (instance.name, instance.description, instance.isolation) == ("Notes", "Remembers.", "task")
    assert await instance("y") == "> y"


def test_types_that_are_local_are_found() -> None:
    @attrs.frozen
    class Inner:
        n: int

    @attrs.frozen
    class Hit:
        inner: Inner
        near: list[Hit] = attrs.field(factory=list)

    @tool
    def f(hit: Hit) -> None: ...

    assert f.parse({"hit": {"inner": {"n": 1}, "near": [{"inner": {"n": 2}}]}}) == {
        "hit": Hit(Inner(1), [Hit(Inner(2))])
    }


def test_a_local_name_of_the_caller_does_not_change_a_function_from_elsewhere() -> None:
    Notes = "no class"  # noqa: N806, F841

    with pytest.raises(TypeError, match="JSON cannot hold Notes"):
        tool(takes_notes)


def takes_notes(notes: Notes) -> None: ...


def untyped(a) -> None: ...  # type: ignore[no-untyped-def]  # that is the point
def positional(a: int, /) -> None: ...
def variadic(*a: int) -> None: ...
def keywords(**a: int) -> None: ...
def two_contexts(a: ToolContext, b: ToolContext) -> None: ...
def takes_bytes(a: bytes) -> None: ...
def takes_elsewhere(a: Elsewhere) -> None: ...


REFUSED: dict[str, tuple[Any, str]] = {
    "a lambda": (lambda x: x, "a lambda has neither a name nor types; write a def"),
    "no type": (untyped, "parameter 'a' of tool 'untyped' has no type"),
    "an unbound method": (Notes.add, "parameter 'self' of tool 'add' has no type; make a tool of the bound method"),
    "positional-only": (positional, "parameter 'a' of tool 'positional' is positional-only"),
    "*args": (variadic, "takes any number of arguments; name each, or take a list or dict"),
    "**kwargs": (keywords, "takes any number of arguments"),
    "two contexts": (two_contexts, "tool 'two_contexts' takes two contexts: 'a' and 'b'"),
    "bytes": (takes_bytes, "parameter 'a' of tool 'takes_bytes': JSON cannot hold bytes; take a str"),
    "an unknown name": (takes_elsewhere, "name 'Elsewhere' is not defined; define it before the tool"),
    "a class": (Notes, "the class 'Notes' is no tool; an instance with __call__ can be one"),
    "no function": (3, "a tool is made of a function, got 3"),
    "a built-in function": (dict.get, "positional-only"),
    "no signature": (max, "tool 'max' has no signature that Python can read"),
}


@pytest.mark.parametrize(("function", "message"), REFUSED.values(), ids=REFUSED)
def test_what_no_model_could_call_is_refused_when_it_is_defined(function: Any, message: str) -> None:
    with pytest.raises(TypeError) as caught:
        tool(function)

    assert message in str(caught.value)


def nothing() -> None: ...


async def nothing_async() -> None: ...


async def with_context(ctx: ToolContext) -> None: ...


OPTIONS: dict[str, tuple[Any, dict[str, Any], str]] = {
    "an empty name": (nothing, {"name": ""}, "1 to 64 of A-Z, a-z, 0-9, _ and -, got ''"),
    "a long name": (nothing, {"name": "x" * 65}, "got 'xxx"),
    "a name with a dot": (nothing, {"name": "a.b"}, "got 'a.b'"),
    "no room": (nothing, {"max_result_chars": 0}, "max_result_chars must be 1 or more, got 0"),
    "no time": (nothing, {"timeout": 0}, "timeout must be seconds, more than 0 and finite, got 0"),
    "no end": (nothing, {"timeout": float("inf")}, "got inf"),
    "no number": (nothing, {"timeout": float("nan")}, "got nan"),
    "isolation": (nothing, {"isolation": "jail"}, "isolation must be one of task, thread, process, got 'jail'"),
    "replay": (nothing, {"replay": "always"}, "replay must be one of never, safe, key, got 'always'"),
    "a def as a task": (nothing, {"isolation": "task"}, "as a task it would block all others"),
    "async in a thread": (nothing_async, {"isolation": "thread"}, "runs as a task or in a process"),
    "a context in a process": (with_context, {"isolation": "process"}, "where there is no context"),
    "a method in a process": (Notes("").add, {"isolation": "process"}, "can be imported by name"),
    "a partial in a process": (functools.partial(plus, 1), {"isolation": "process"}, "can be imported by name"),
}


@pytest.mark.parametrize(("function", "options", "message"), OPTIONS.values(), ids=OPTIONS)
def test_options_out_of_bounds_are_refused(function: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError)) as caught:
        tool(function, **options)

    assert message in str(caught.value)


def test_a_local_function_in_a_process_is_refused() -> None:
    def f() -> None: ...

    with pytest.raises(TypeError, match="at the top of its module"):
        tool(f, isolation="process")


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="paralel"):
        tool(nothing, paralel=True)  # type: ignore[call-overload]  # that is the point


def test_bare_functions_are_as_if_decorated_and_made_once() -> None:
    first, second, third = as_tools([nothing, search, Notes("> ").add])
    again = as_tools([nothing])[0]

    assert isinstance(first, Tool)
    assert (first.name, third.name) == ("nothing", "add")
    assert second is search
    assert again is first


def test_a_tool_can_be_made_of_a_tool_with_other_options() -> None:
    other = tool(search, name="other", concurrent=True)

    assert (other.name, other.concurrent, other.description) == ("other", True, search.description)
    assert other.function is search.function
    assert not search.concurrent


def test_two_tools_of_one_name_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"several tools are called 'nothing', 'search'; give them other names: tool"):
        as_tools([search, nothing, tool(nothing_async, name="nothing"), search])
