"""A type that is no class, for `Agent.output`."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, get_args

T = TypeVar("T")


class Form(Generic[T]):
    """Stands for a type that type checkers do not take for a class: `Form[Literal["yes", "no"]]()`.

    What a class cannot say – a Literal, a union, `list[int]` – an agent can so be asked for, and a type checker
    knows what its result holds. For a class, the class itself does.
    """

    @property
    def type(self) -> Any:
        """The type between the brackets.

        Raises:
            TypeError: there are none.
        """
        # `Form[X]()` notes X on the instance once it is made; typing does that for every generic class.
        arguments = get_args(getattr(self, "__orig_class__", None))
        if not arguments:
            raise TypeError("a Form needs its type in brackets: Form[Literal['a', 'b']]()")
        return arguments[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Form) and bool(self.type == other.type)

    def __hash__(self) -> int:
        return hash(self.type)

    def __repr__(self) -> str:
        return f"{getattr(self, '__orig_class__', 'Form')}()".replace("alloy.loop.form.", "")
