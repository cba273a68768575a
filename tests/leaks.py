"""What a process holds; a test compares before and after. It is alloy's own, for users too."""

from alloy.testing.leaks import Holdings, children_of

__all__ = ["Holdings", "children_of"]
