"""bash: a command, in a process group that ends with it."""

from __future__ import annotations

import math
import subprocess
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, TypeAlias

import attrs
import trio

from alloy.llm.content import Outcome, ToolResult
from alloy.tools.builtin.sandbox import Sandbox
from alloy.tools.context import ToolContext
from alloy.tools.define import Tool, tool
from alloy.tools.errors import ToolError
from alloy.tools.process import Output, child_environment, communicate, process_group

ShellExecutor: TypeAlias = Callable[[str, Path], Awaitable[tuple[str, int]]]

KEPT_BYTES = 256 << 10  # of the output, at each end; what is between is counted, and gone
MARGIN = 0.05  # of the time that the call has left: so much earlier it ends, to tell what there was; at most 1 s


@attrs.frozen
class Shell:
    """The bash tool, with these variables set, in a sandbox, or with another way to run commands."""

    env: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    executor: ShellExecutor | None = None
    sandbox: Sandbox | None = None

    async def bash(
        self,
        command: Annotated[str, "What bash is to run."],
        timeout: Annotated[float, "Seconds after which it is killed."] = 120.0,  # noqa: ASYNC109  # the model's
        *,
        context: ToolContext,
    ) -> ToolResult:
        """Run a bash command in the working directory.

        Answers with its output, standard output and errors together, and its exit code. There is nothing to read
        on standard input. Of a very long output the middle is left out. When the command ends, whatever it has
        started in the background is killed; each command begins anew, with nothing left of the one before.

        Raises:
            ToolError: the command or the timeout makes no sense, or bash or its sandbox cannot be started.
        """
        if "\0" in command:
            raise ToolError("the command holds a NUL character")
        if not 0 < timeout < math.inf:
            raise ToolError(f"timeout must be seconds, more than 0, got {timeout}")
        left = context.deadline - trio.current_time()
        allowed = max(0.0, min(timeout, left - min(1.0, left * MARGIN)))
        output = Output(KEPT_BYTES, KEPT_BYTES)
        with trio.move_on_after(allowed):
            text, code = await self._run(command, context.working_directory, output)
            text = text.removesuffix("\n")
            return ToolResult(f"{text}\nexit code: {code}")
        told = f"{output.text()}\ntimed out after {allowed:g} s: the command was killed; it may have had effects"
        return ToolResult(told.lstrip("\n"), is_error=True, outcome=Outcome.TIMED_OUT)

    async def _run(self, command: str, directory: Path, output: Output) -> tuple[str, int]:
        """Run it, and collect its output so that what there is of it is not lost if time is up."""
        if self.executor is not None:
            return await self.executor(command, directory)
        try:
            line = ["bash", "-c", command]
            async with process_group(
                line if self.sandbox is None else await self.sandbox.wrap(line, directory),
                directory=directory,
                environment=child_environment(self.env),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            ) as process:
                code = await communicate(process, stdout=output)
                return output.text(), code if code >= 0 else 128 - code  # as shells tell a signal
        except OSError as error:
            raise ToolError(f"bash cannot be started in {str(directory)!r}: {error.strerror}") from error


def shell_tool(shell: Shell) -> Tool:
    """Return bash."""
    return tool(shell.bash)


bash: Tool = shell_tool(Shell())
