"""The tools that come with alloy: files and a shell."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from alloy.tools.builtin.files import Files, edit_file, file_tools, read_file, write_file
from alloy.tools.builtin.sandbox import Sandbox, SandboxName
from alloy.tools.builtin.shell import Shell, ShellExecutor, bash, shell_tool
from alloy.tools.define import Tool

__all__ = ["ShellExecutor", "bash", "core_tools", "edit_file", "read_file", "write_file"]


def core_tools(
    *,
    roots: Sequence[str | os.PathLike[str]] = (),
    sandbox: SandboxName | None = None,
    env: Mapping[str, str] | None = None,
    executor: ShellExecutor | None = None,
) -> tuple[Tool, ...]:
    """Return read_file, write_file, edit_file and bash.

    Args:
        roots: folders that the file tools may use besides the working directory. bash is not bound by them.
        sandbox: `"bwrap"` runs bash's commands in bubblewrap: without network, and only the working directory can be
            written. Reading is not bounded. Where it cannot be set up, no command runs, and the model is told why.
        env: variables for bash, on top of our own without what looks like a secret.
        executor: runs bash's commands elsewhere, a container say: called with command and working directory,
            returns output and exit code. It is cancelled when the time is up.

    Raises:
        RuntimeError: bubblewrap is not installed.
        ValueError: there is no such sandbox, or `executor` is given beside it.
    """
    if sandbox is not None and executor is not None:
        raise ValueError("sandbox and executor exclude each other: the executor decides where commands run")
    files = Files(tuple(Path(root) for root in roots))
    return (
        *file_tools(files),
        shell_tool(Shell(env or {}, executor, None if sandbox is None else Sandbox.find(sandbox))),
    )
