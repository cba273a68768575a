"""The tool calls of a run, as its budget counts them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import attrs

from alloy.llm.budget import Budget


@attrs.define(eq=False)
class BudgetedCalls:
    """Sets aside a tool call of the budget for each that is to run, so that runs side by side share what is left.

    Attributes:
        budget: None for no bounds.
        were_refused: the last batch had more calls than there were left.
    """

    budget: Budget | None
    were_refused: bool = False
    _reserved: int = 0

    @contextmanager
    def of_a_batch(self) -> Iterator[None]:
        """The calls of one answer: those that have not begun to run by the end are given back."""
        self.were_refused = False
        try:
            yield
        finally:
            while self._reserved:
                self.give_back()

    def reserve(self) -> bool:
        """Set one aside; False if none is left."""
        if self.budget is not None:
            if not self.budget.reserve_call():
                self.were_refused = True
                return False
            self._reserved += 1
        return True

    def give_back(self) -> None:
        """One will not run after all."""
        self._settle(started=False)

    def started(self) -> None:
        """One has begun to run."""
        self._settle(started=True)

    def _settle(self, *, started: bool) -> None:
        if self.budget is not None:
            self._reserved -= 1
            self.budget.settle_call(started=started)
