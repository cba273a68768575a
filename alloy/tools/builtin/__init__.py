"""The tools that come with alloy: files and a shell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from alloy.tools.builtin.files import Files, edit_file, file_tools, read_file, write_file
from alloy.tools.builtin.shell import Shell, ShellExecutor, bash, shell_tool
from alloy.tools.define import Tool

__all__ = ["ShellExecutor", "bash", "core_tools", "edit_file", "read_file", "write_file"]


def core_tools(
    *,
    roots: Sequence[str | os.PathLike[str]] = (),
    env: Mapping[str, str] | None = None,
    executor: ShellExecutor | None = None,
) -> tuple[Tool, ...]:
    """Return read_file, write_file, edit_file and bash.

    Args:
        roots: folders that the file tools may use besides the working directory. bash is not bound by them.
        env: variables for bash, on top of our own without what looks like a secret.
        executor: runs bash's commands elsewhere, a container say: called with command and working directory,
            returns output and exit code. It is cancelled when the time is up.
    """
    files = Files(tuple(Path(root) for root in roots))
    return (*file_tools(files), shell_tool(Shell(env or {}, executor)))
