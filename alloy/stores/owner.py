"""Who drives sessions, and whether they still live. Blocks: for threads.

An owner is a file that its process holds locked as long as it lives, and touches as long as it stirs. The
kernel lets go of the lock when the process ends, however it ends, so a killed owner is known at once; one
that is stopped, or on another machine that fell silent, is known by the age of the touch.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Literal, TypeAlias

from alloy.llm.message import mint

Life: TypeAlias = Literal["alive", "silent", "dead"]


class Owner:
    """The claim of one open store to be alive.

    Attributes:
        id: unique for ever.
        lease: seconds without a touch after which an owner counts as silent.
    """

    def __init__(self, folder: Path, lease: float) -> None:
        self.id: str = mint("own")
        self.lease = lease
        self._folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sweep(folder)
        # Locked before it has its name: nobody can see it unlocked while we live.
        unnamed = folder / f".{self.id}"
        self._lock = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(unnamed, self._path(self.id))
        except BaseException:
            os.close(self._lock)
            unnamed.unlink(missing_ok=True)
            raise

    def touch(self) -> None:
        """Show that we stir."""
        with contextlib.suppress(FileNotFoundError):  # somebody cleaned up behind us; then we count as dead
            os.utime(self._path(self.id))

    def close(self) -> None:
        """Be dead."""
        self._path(self.id).unlink(missing_ok=True)
        os.close(self._lock)

    def life_of(self, other: str) -> Life:
        """Whether another owner of this folder lives and stirs."""
        path = self._path(other)
        try:
            if _is_locked(path):
                return "alive" if time.time() - path.stat().st_mtime <= self.lease else "silent"
        except FileNotFoundError:
            pass
        return "dead"

    def _path(self, owner: str) -> Path:
        return self._folder / f"{owner}.owner"


def _is_locked(path: Path) -> bool:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: who only looks is in nobody's way
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False


def _sweep(folder: Path) -> None:
    """Take away what dead owners left."""
    for path in folder.glob("*.owner"):
        with contextlib.suppress(FileNotFoundError):
            if not _is_locked(path):
                path.unlink()
