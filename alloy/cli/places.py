"""Where the command line keeps what it remembers, for its user alone."""

from __future__ import annotations

import os
from pathlib import Path

from alloy.loop.journal import Store

DATABASES = (".db", ".sqlite", ".sqlite3")


def state_folder() -> Path:
    """The folder of the user's state; made, with access for nobody else, if there is none.

    Raises:
        OSError: it cannot be made.

    Source: XDG Base Directory Specification 0.8, "XDG_STATE_HOME" (read 2026-11-24).
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    home = Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"
    folder = home / "alloy"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def private_file(path: Path) -> Path:
    """The file; made, with access for nobody else, if there is none.

    Raises:
        OSError: it cannot be made or written.
    """
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600))
    return path


def store_at(path: str | None, *, make: bool = False) -> Store:
    """The store at a path: a database by its ending, else a folder of files; by default the user's own.

    Raises:
        ValueError: there is nothing at the path, and it is not to be made.
    """
    from alloy import stores  # which most commands do not need, nor sqlite3, which a database brings

    if path is None:
        return stores.JSONLStore(state_folder() / "sessions")
    if not make and not Path(path).exists():
        raise ValueError(f"there is no store at {path!r}")
    return stores.SQLiteStore(path) if Path(path).suffix in DATABASES else stores.JSONLStore(path)
