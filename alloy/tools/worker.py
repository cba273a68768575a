"""Tools in a process of their own, which can really be killed: `isolation="process"`.

A fresh interpreter per call imports the function by its name and calls it with the arguments. The way there is
pickle; the way back is JSON, because what comes from a process that runs a tool is not to be trusted with ours.
The child makes the result that the model is told, so that there is one form for it whatever the isolation.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import trio

from alloy.llm.codec import from_json, to_json
from alloy.llm.content import ToolResult
from alloy.tools.errors import Fatal, ToolError, ToolRetry
from alloy.tools.process import Output, child_environment, communicate, process_group
from alloy.tools.results import as_result, describe

logger: logging.Logger = logging.getLogger("alloy.tools")

MOST_BYTES = 64 << 20  # of one result
NOISE_BYTES = 8 << 10  # of what a tool prints that is kept, at each end
MAIN = "__alloy_main__"

# sys.path comes first: without it the child may not find alloy. -P keeps the directory it starts in out of it.
_BOOT = "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); import alloy.tools.worker as w; w.serve()"
_ERRORS: Mapping[str, type[Exception]] = {cls.__name__: cls for cls in (ToolError, ToolRetry, Fatal)}


@attrs.frozen
class Target:
    """Where a new process finds a function.

    Attributes:
        main: the file or module that our `__main__` was made of, if the function is defined there.
    """

    module: str
    qualname: str
    main: str | None = None


def target_of(function: Callable[..., Any]) -> Target:
    """Return where a new process finds a function.

    Raises:
        TypeError: it cannot be imported by name.
    """
    module, qualname = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str) or hasattr(function, "__self__"):
        raise TypeError(f"isolation='process' takes a function that can be imported by name, not {function!r}")
    if "<" in qualname:
        raise TypeError(f"isolation='process' takes a function at the top of its module: {qualname!r} is local")
    if module != "__main__":
        return Target(module, qualname)
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    origin = spec.name if spec is not None else getattr(main, "__file__", None)
    if origin is None:
        raise TypeError(f"isolation='process' takes a function from a file; {qualname!r} was typed in")
    return Target(module, qualname, origin)


async def call_in_process(function: Callable[..., Any], arguments: Mapping[str, Any]) -> ToolResult:
    """Call a function in a new process and return what it came to.

    Raises:
        ToolError: its own, or one that tells of any other failure: the function raised something else, its
            arguments cannot be pickled, its process died.
        Fatal: its own.
        OSError: no process can be started.
    """
    target = target_of(function)
    try:
        request = pickle.dumps(sys.path) + pickle.dumps(target) + pickle.dumps(dict(arguments))
    except Exception as error:  # objects decide themselves how they refuse
        raise ToolError(f"the arguments cannot be sent to another process: {describe(error)}") from error
    answer, noise = Output(MOST_BYTES, 0), Output(NOISE_BYTES, NOISE_BYTES)
    async with process_group(
        [sys.executable, "-P", "-c", _BOOT],
        directory=".",
        environment=child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        code = await communicate(process, stdout=answer, stderr=noise, data=request)
    if code != 0:
        logger.warning("the process of tool %s ended with %s; it printed:\n%s", target.qualname, code, noise.text())
        raise ToolError(f"the tool's process {_ending(code)} before it had a result")
    if not answer.is_whole:
        raise ToolError(f"the tool's result has more than {MOST_BYTES >> 20} MiB")
    return _read_answer(answer.data(), target)


def _ending(code: int) -> str:
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


def _read_answer(data: bytes, target: Target) -> ToolResult:
    try:
        answer = json.loads(data)
    except ValueError:  # it ended well, but not where it should have
        answer = None
    match answer:
        case {"result": result}:
            read: ToolResult = from_json(result)
            return read
        case {"error": kind, "message": message, "traceback": trace}:
            if kind not in _ERRORS:
                logger.warning("tool %s failed in its process:\n%s", target.qualname, trace)
            raise _ERRORS.get(kind, ToolError)(message)
        case _:
            raise ToolError(f"the tool's process gave no answer, but {data[:80]!r}")


# In the child.


def serve() -> None:
    """Answer one request: the whole life of a child. What the tool prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "wb")  # ours alone: whatever the tool starts does not inherit it
    os.dup2(2, 1)
    request = sys.stdin.buffer
    target, arguments = pickle.load(request), request.read()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    with answer:
        answer.write(json.dumps(_answer(target, arguments)).encode())
    sys.stdout.flush()
    os._exit(0)  # not waiting for threads that the tool has left


def _answer(target: Target, arguments: bytes) -> dict[str, Any]:
    try:
        function = _import(target)
        result: Any = function(**pickle.loads(arguments))
        if hasattr(result, "__await__"):
            result = trio.run(_wait_for, result)
        return {"result": to_json(as_result(result))}
    except BaseException as error:  # the border of the process: there is nobody else to tell
        kind = next((cls.__name__ for cls in (ToolRetry, ToolError, Fatal) if isinstance(error, cls)), "")
        return {"error": kind, "message": describe(error), "traceback": "".join(traceback.format_exception(error))}


async def _wait_for(result: Any) -> Any:
    return await result


def _import(target: Target) -> Callable[..., Any]:
    if target.main is not None:
        _import_main(target.main)
    found: Any = importlib.import_module(target.module)
    for name in target.qualname.split("."):
        found = getattr(found, name)
    function: Callable[..., Any] = getattr(found, "function", found)  # a decorated name holds the Tool
    return function


def _import_main(origin: str) -> None:
    """Make our `__main__` of the parent's, under a name that its `if __name__ == "__main__":` does not answer to."""
    if os.path.exists(origin):
        spec = importlib.util.spec_from_file_location(MAIN, origin)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["__main__"] = sys.modules[MAIN] = module
        spec.loader.exec_module(module)
    else:
        sys.modules["__main__"] = importlib.import_module(origin)
