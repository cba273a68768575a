"""Sessions that outlive their process: `MemoryStore`, `JSONLStore`, `SQLiteStore`, and what another store needs."""

from typing import TYPE_CHECKING, Any

from alloy.loop.journal import Entry, Journal, Store
from alloy.stores.entries import EntryStore, OpenSession, Raw, Stored
from alloy.stores.jsonl import JSONLStore
from alloy.stores.memory import MemoryStore

if TYPE_CHECKING:
    from alloy.stores.sqlite import SQLiteStore

__all__ = [
    "Entry",
    "EntryStore",
    "JSONLStore",
    "Journal",
    "MemoryStore",
    "OpenSession",
    "Raw",
    "SQLiteStore",
    "Store",
    "Stored",
]


def __getattr__(name: str) -> Any:
    if name == "SQLiteStore":
        from alloy.stores.sqlite import SQLiteStore

        return SQLiteStore
    raise AttributeError(f"module 'alloy.stores' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
