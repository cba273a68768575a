"""What the words of a command line mean, and which number the process ends with."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial

import trio

from alloy.cli import demo, models, run
from alloy.errors import AlloyError
from alloy.tools import core_tools
from alloy.version import __version__

DEFAULT_MODEL = "anthropic:claude-sonnet-4-6"
USAGE, FAILED, INTERRUPTED = 2, 1, 130

EPILOG = """\
exit codes: 0 completed, 1 error, 2 wrong usage, 3 halted or a limit reached, 130 interrupted

`alloy demo` needs neither network nor key."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    logging.basicConfig(format="%(name)s: %(message)s")  # warnings and crash reports, to stderr
    try:
        code = _commands()[options.command](options)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("alloy: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except AlloyError as error:
        print(f"alloy: {type(error).__name__}: {error}", file=sys.stderr)
        return FAILED
    except (ValueError, TypeError, OSError) as error:
        print(f"alloy: {error}", file=sys.stderr)
        return USAGE


def _commands() -> dict[str, Callable[[argparse.Namespace], int]]:
    return {
        "run": lambda options: trio.run(partial(run.command, options)),
        "demo": lambda options: trio.run(demo.command),
        "models": models.command,
    }


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="alloy", description="Run LLM agents.", epilog=EPILOG, formatter_class=raw, allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"alloy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")

    one = commands.add_parser(
        "run", help="ask once, let tools run, print the answer", epilog=EPILOG, formatter_class=raw, allow_abbrev=False
    )
    one.add_argument("prompt", nargs="?", help="what to ask; '-' or nothing reads it from standard input")
    one.add_argument(
        "--model",
        default=os.environ.get("ALLOY_MODEL") or DEFAULT_MODEL,
        metavar="VENDOR:NAME",
        help="whom to ask (default: $ALLOY_MODEL, else %(default)s)",
    )
    one.add_argument("--base-url", metavar="URL", help="where to ask, for a server of your own")
    one.add_argument("--tools", type=_tools, default=(), metavar="NAMES", help=f"with commas, of {', '.join(_TOOLS)}")
    one.add_argument("--system", metavar="TEXT", help="the system prompt")
    one.add_argument("--max-turns", type=int, metavar="N", help="how often the model may answer (default: 25)")
    one.add_argument("--until-tool", metavar="NAME", help="go on until the model has called this tool")
    one.add_argument("--no-discover", action="store_true", help="leave out the files of .alloy/context")
    one.add_argument("--json", action="store_true", help="print the events instead, one JSON object a line")

    commands.add_parser("demo", help="see a team work, offline, and one of its servers crash and come back")

    known = commands.add_parser("models", help="whom one can ask, whether there is a key, and what they cost")
    known.add_argument("--json", action="store_true", help="print one JSON array instead")
    return parser


_TOOLS = {tool.name: tool for tool in core_tools()}


def _tools(names: str) -> list[str]:
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in _TOOLS:
            raise argparse.ArgumentTypeError(f"unknown tool {name!r}; there are {', '.join(_TOOLS)}")
    return wanted
