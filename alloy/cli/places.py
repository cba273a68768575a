"""Where the command line keeps what it remembers, for its user alone."""

from __future__ import annotations

import os
from pathlib import Path


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
