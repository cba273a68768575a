"""A sandbox for bash: bubblewrap, which runs a program in namespaces of its own, without root or a daemon.

Inside there is no network, and nothing can be written but the working directory and a /tmp that goes with the command.
The rest of the file system can be read as before: this keeps a command from doing harm, not from seeing secrets in
files. /tmp and /run are empty, because the sockets of other programs lie there, and a socket is a way out that no
read-only mount closes. A process that the command leaves behind is killed with it, also one in a session of its own.

Source: bwrap(1), bubblewrap 0.8 (read 2026-11-24).
"""

from __future__ import annotations

import logging
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import attrs
import trio

from alloy.tools.errors import ToolError
from alloy.tools.process import Output, child_environment, communicate, process_group

SandboxName: TypeAlias = Literal["bwrap"]

_HIDDEN = ("/tmp", "/run")
_HINT = "bubblewrap needs user namespaces; containers and some distributions forbid them"

logger: logging.Logger = logging.getLogger("alloy.tools")


def sandboxed(program: str, directory: Path, command: Sequence[str]) -> list[str]:
    """Return the command line that runs `command` in a sandbox that can write to `directory` alone."""
    place = str(directory)
    hidden = [word for folder in _HIDDEN if Path(folder).is_dir() for word in ("--tmpfs", folder)]
    return [
        *(program, "--unshare-all", "--die-with-parent", "--new-session"),
        *("--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"),
        *hidden,
        *("--bind", place, place, "--chdir", place, "--setenv", "TMPDIR", "/tmp", "--"),
        *command,
    ]


@attrs.define(eq=False)
class Sandbox:
    """Bubblewrap, found on this machine, and tried before it is trusted.

    Attributes:
        program: its path.
    """

    program: str
    _works: bool = False

    @classmethod
    def find(cls, name: str) -> Sandbox:
        """Find the sandbox of this name.

        Raises:
            ValueError: there is none of this name.
            RuntimeError: it is not installed.
        """
        if name not in get_args(SandboxName):
            raise ValueError(
                f"sandbox must be one of {', '.join(map(repr, get_args(SandboxName)))} or None, got {name!r}"
            )
        if (program := shutil.which(name)) is None:
            raise RuntimeError(f"sandbox={name!r} needs bubblewrap, but no {name!r} is on PATH; install it")
        return cls(program)

    async def wrap(self, command: Sequence[str], directory: Path) -> list[str]:
        """Return the command line that runs `command` in the sandbox.

        Raises:
            ToolError: it cannot be set up here. Nothing was run.
        """
        place = Path(await trio.Path(directory).resolve())
        if place == Path(place.anchor):
            raise ToolError(f"a sandbox protects nothing when {str(place)!r} is the working directory; nothing was run")
        if not self._works:
            await self._try(place)
        return sandboxed(self.program, place, command)

    async def _try(self, directory: Path) -> None:
        """Run nothing in it, once: what it says then of itself can be told from what a command says."""
        said = Output(2_000, 0)
        async with process_group(
            sandboxed(self.program, directory, ["true"]),
            directory=directory,
            environment=child_environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            code = await communicate(process, stdout=said)
        if code != 0:
            logger.error("the sandbox cannot be set up: %s", said.text().strip())
            raise ToolError(f"the sandbox cannot be set up, so nothing was run: {said.text().strip()} ({_HINT})")
        self._works = True
