"""What a tool raises to tell alloy something.

AlloyError
├─ ToolError      it did not work: the model is told the message, the run goes on
│  └─ ToolRetry   it did not work like this: the message says how to try again
└─ Fatal          it cannot go on: the run ends with this error

Anything else that a tool raises is told to the model as `type: message`, and its traceback is logged.
"""

from __future__ import annotations

from alloy.errors import AlloyError


class ToolError(AlloyError):
    """An expected failure of a tool. The model is told the message, and nothing else."""


class ToolRetry(ToolError):
    """The call can be made again in another way; the message tells the model how."""


class Fatal(AlloyError):
    """Nothing more can be done: the run ends as an error, with this one."""
