"""Context files: what a project wants every agent that works on it to know."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import trio

CAP = 65_536  # characters of one file; what is over is left out, and the text says so
FOLDER = Path(".alloy", "context")

_log = logging.getLogger("alloy.loop")


async def context_files(discover: bool | Sequence[str | os.PathLike[str]], working_directory: Path) -> str:
    """The context files as one text, each under its name as a heading; empty if there are none.

    Looked for in `.alloy/context/*.md` of the home directory, the git root and the working directory, in this
    order, by name within each; or of the folders that `discover` lists. Files that cannot be read are left out
    with a warning in the _log.
    """
    if discover is False:
        return ""
    return await trio.to_thread.run_sync(_read_all, discover, working_directory)


def _read_all(discover: bool | Sequence[str | os.PathLike[str]], working_directory: Path) -> str:
    folders = dict.fromkeys((root / FOLDER).resolve() for root in roots_of(discover, working_directory))
    parts = (_read(file) for folder in folders for file in sorted(folder.glob("*.md")))
    return "\n\n".join(part for part in parts if part)


def roots_of(discover: bool | Sequence[str | os.PathLike[str]], working_directory: Path) -> Iterable[Path]:
    """The folders whose `.alloy` is looked into, the nearest last."""
    return _default_roots(working_directory) if isinstance(discover, bool) else [Path(root) for root in discover]


def _default_roots(working_directory: Path) -> Iterable[Path]:
    yield Path.home()
    here = working_directory.resolve()
    git_root = next((folder for folder in (here, *here.parents) if (folder / ".git").exists()), None)
    if git_root is not None:
        yield git_root
    yield here


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read(CAP + 1)
    except (OSError, UnicodeDecodeError) as error:
        _log.warning("context file %s is left out: %s", file, error)
        return ""
    if len(text) > CAP:
        text = f"{text[:CAP]}\n[cut: only the first {CAP} characters of this file are shown]"
    return f"# {file.stem}\n\n{text.strip()}"
