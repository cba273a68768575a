"""The root of every error of alloy, the one place where exception groups end, and hints at what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import trio

if TYPE_CHECKING:
    from alloy.loop.result import Result

T = TypeVar("T")


class AlloyError(Exception):
    """Any failure that alloy itself reports.

    Attributes:
        result: the state that the run had reached, where the error ended one; else None.
        others: what else went wrong at the same time; empty for most errors.
    """

    def __init__(self, message: str = "", *, result: Result[Any] | None = None) -> None:
        super().__init__(message)
        self.result = result
        self.others: tuple[BaseException, ...] = ()


@contextmanager
def sole_error() -> Iterator[None]:
    """Let no exception group of a nursery leave the block.

    One error leaves as itself. Of several the first leaves, with the rest in its `.others`.
    KeyboardInterrupt and SystemExit go before all other errors, errors before cancellation;
    a group of nothing but cancellation passes unchanged, for the scope that it belongs to.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        if (first := unwrap(group)) is group:
            raise
        raise first from first.__cause__


def unwrap(error: BaseException) -> BaseException:
    """Return the one error that stands for `error`; the others of a group are in its `.others`."""
    if not isinstance(error, BaseExceptionGroup):
        return error
    leaves = [leaf for leaf in _leaves(error) if not isinstance(leaf, trio.Cancelled)]
    if not leaves:
        return error
    exits = [leaf for leaf in leaves if not isinstance(leaf, Exception)]
    first = (exits or leaves)[0]
    others = tuple(leaf for leaf in leaves if leaf is not first)
    if others:
        if isinstance(first, AlloyError):
            first.others = (*first.others, *others)
        else:
            for other in others:
                first.add_note(f"at the same time: {type(other).__name__}: {other}")
    return first


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def closest_of(name: str, known: Iterable[str]) -> str:
    """The question whether the closest of these names was meant; empty if none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def items_of(name: str, given: Iterable[T], what: str) -> tuple[T, ...]:
    """Return several things that a caller gave, as a tuple.

    Raises:
        TypeError: they are no sequence, or a text, which would be taken for its letters.
    """
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise TypeError(f"{name} must be a sequence of {what}, got {given!r:.200}")
    return tuple(given)
