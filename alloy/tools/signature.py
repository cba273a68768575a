"""What a function says of itself: name, description, and the parameters that a model is to fill in. Pure."""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable
from types import FrameType, SimpleNamespace, UnionType
from typing import Any

import attrs

from alloy.tools.context import ToolContext
from alloy.tools.docstring import parse_docstring
from alloy.tools.record import REQUIRED, Record
from alloy.tools.schema import Shapes


@attrs.frozen
class Signature:
    """A function as a tool.

    Attributes:
        arguments: reads what a model gives into keyword arguments, with those left out by their default.
        context: the name of the parameter that takes the `ToolContext`; None if there is none.
    """

    name: str
    description: str
    arguments: Record
    context: str | None


def read_signature(function: Callable[..., Any], frame: FrameType | None = None) -> Signature:
    """Read a function, bound method, `functools.partial`, or object with `__call__`.

    What a partial binds is not offered to the model.

    Args:
        function: what is to become a tool.
        frame: where it is made a tool. If it is defined there, inside a function, then annotations that are text
            may name what is local to that function.

    Raises:
        TypeError: it is no such thing, or has parameters that no JSON object can fill in.
    """
    name, code = _name_and_code(function)
    bound = function.keywords if isinstance(function, functools.partial) else {}
    try:
        parameters = [p for p in inspect.signature(function).parameters.values() if p.name not in bound]
    except ValueError as error:  # of some built-in functions
        raise TypeError(f"tool {name!r} has no signature that Python can read") from error
    for parameter in parameters:
        _check(parameter, name)
    local = _local_names(code, frame)
    types = _resolved(parameters, code, local, name)
    context = [parameter.name for parameter in parameters if _is_context(types[parameter.name])]
    if len(context) > 1:
        raise TypeError(f"tool {name!r} takes two contexts: {context[0]!r} and {context[1]!r}; one is enough")
    doc = parse_docstring(code.__doc__ or (None if code is function else type(function).__doc__))
    shapes = Shapes(local)
    defaults = {p.name: p.default for p in parameters if p.default is not p.empty and p.name not in context}
    fields = [
        shapes.field(
            parameter.name,
            types[parameter.name],
            default=defaults.get(parameter.name, REQUIRED),
            description=doc.notes.get(parameter.name, ""),
            of=f"parameter {parameter.name!r} of tool {name!r}",
        )
        for parameter in parameters
        if parameter.name not in context
    ]

    def keyword_arguments(**given: Any) -> dict[str, Any]:
        return defaults | given

    return Signature(
        name, doc.description, Record(name=name, make=keyword_arguments, fields=fields), context[0] if context else None
    )


def _name_and_code(function: Callable[..., Any]) -> tuple[str, Any]:
    """The name of a callable, and the function in it that has the docstring and the annotations."""
    if inspect.isclass(function):
        raise TypeError(f"the class {function.__name__!r} is no tool; an instance with __call__ can be one")
    if not callable(function):
        raise TypeError(f"a tool is made of a function, got {function!r}")
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    if inspect.isroutine(inner):
        name, code = inner.__name__, inspect.unwrap(inner)
    else:
        name, code = type(inner).__name__, inspect.unwrap(type(inner).__call__)
    if name == "<lambda>":
        raise TypeError("a lambda has neither a name nor types; write a def")
    return name, code


def _check(parameter: inspect.Parameter, name: str) -> None:
    place = f"parameter {parameter.name!r} of tool {name!r}"
    match parameter.kind:
        case parameter.POSITIONAL_ONLY:
            raise TypeError(f"{place} is positional-only, but tools are called by keyword; remove the /")
        case parameter.VAR_POSITIONAL | parameter.VAR_KEYWORD:
            raise TypeError(f"{place} takes any number of arguments; name each, or take a list or dict")
    if parameter.annotation is parameter.empty:
        is_method = parameter.name == "self"
        raise TypeError(f"{place} has no type{'; make a tool of the bound method instead' if is_method else ''}")


def _resolved(parameters: list[inspect.Parameter], code: Any, local: dict[str, Any], name: str) -> dict[str, Any]:
    """The types of the parameters, with those written as text looked up."""
    annotated = SimpleNamespace(__annotations__={p.name: p.annotation for p in parameters})
    # Often ToolContext is imported for type checkers only.
    known = {ToolContext.__name__: ToolContext, **getattr(code, "__globals__", {})}
    try:
        return typing.get_type_hints(annotated, known, local, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"an annotation of tool {name!r} cannot be resolved: {error}; define it before the tool, "
            f"in the same function or at the top of the module"
        ) from error


def _local_names(code: Any, frame: FrameType | None) -> dict[str, Any]:
    """What is local to the function that `code` was defined in, as far as it can be seen."""
    names: dict[str, Any] = {}
    if not inspect.isfunction(code):
        return names
    if frame is not None and code.__qualname__.startswith(f"{frame.f_code.co_qualname}.<locals>."):
        names |= frame.f_locals
    for name, cell in zip(code.__code__.co_freevars, code.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            names[name] = cell.cell_contents
    return names


def _is_context(tp: Any) -> bool:
    """Whether the type is ToolContext, perhaps or None, perhaps annotated."""
    is_wrapped = typing.get_origin(tp) in (typing.Union, UnionType, typing.Annotated)
    return tp is ToolContext or (is_wrapped and ToolContext in typing.get_args(tp))
