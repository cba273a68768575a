"""Tools: what a model may call, and how that is run. Knows models' words, and no agent."""

from alloy.tools.batch import Batch, BatchListener, Job
from alloy.tools.builtin import ShellExecutor, bash, core_tools, edit_file, read_file, write_file
from alloy.tools.context import ToolContext, idempotency_key
from alloy.tools.define import Tool, as_tools, tool, tool_of_type
from alloy.tools.errors import Fatal, ToolError, ToolRetry
from alloy.tools.execute import Executor
from alloy.tools.schema import ValidationError, schema_of, structure
from alloy.tools.shapes import Constraint

__all__ = [
    "Batch",
    "BatchListener",
    "Constraint",
    "Executor",
    "Fatal",
    "Job",
    "ShellExecutor",
    "Tool",
    "ToolContext",
    "ToolError",
    "ToolRetry",
    "ValidationError",
    "as_tools",
    "bash",
    "core_tools",
    "edit_file",
    "idempotency_key",
    "read_file",
    "schema_of",
    "structure",
    "tool",
    "tool_of_type",
    "write_file",
]
