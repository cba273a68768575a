"""What the words of a command line mean, and which number the process ends with."""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

from alloy.cli.agent import CHANGING, TOOLS, tool_names
from alloy.cli.exits import FAILED, INTERRUPTED, USAGE
from alloy.cli.places import DATABASES
from alloy.cli.text import printable
from alloy.errors import AlloyError, closest_of, sole_error
from alloy.version import __version__

STORE = f"a folder of sessions, or a database (*{', *'.join(DATABASES)}); by default the user's own folder"
DEFAULT_MODEL = "anthropic:claude-sonnet-4-6"

EPILOG = """\
exit codes: 0 completed, 1 error, 2 wrong usage, 3 halted or a limit reached, 130 interrupted

`alloy demo` needs neither network nor key."""


class Parser(argparse.ArgumentParser):
    """Refuses what is left over where it was found, with what may have been meant."""

    # typeshed has three overloads of it.
    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """See argparse; of a command's parser too, which by itself would hand on what it does not know."""
        options, rest = super().parse_known_args(args, namespace)
        if rest:
            name, _, _ = rest[0].partition("=")
            known = [option for action in self._actions for option in action.option_strings]
            if not name.startswith("-"):
                hint = "; several words that are one need quotes"
            else:
                hint = "" if name in known else closest_of(name, known)
            self.error(f"unexpected {rest[0]!r}{hint}")
        return options, rest


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what cannot be shown, or read, must not end the run
    parser = command_line_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE
    logging.basicConfig(format="%(name)s: %(message)s")  # warnings and crash reports, to stderr
    return _written(_code(options))


def _code(options: argparse.Namespace) -> int:
    """Run the command; what goes wrong is told in a line, and is an exit code."""
    try:
        with sole_error():
            return _run(options)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all has stopped: a second one would only spoil the exit code
        return _told("interrupted", INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has left, as `head` does
        return FAILED
    except Exception as error:
        if options.debug:
            raise
        what, text = type(error).__name__, printable(str(error))
        match error:
            case AlloyError():
                return _told(f"{what}: {text}", FAILED)
            case ValueError() | TypeError():
                return _told(text, USAGE)
            case OSError():
                return _told(text, FAILED)
            case _:
                return _told(f"a fault of alloy itself: {what}: {text}; --debug shows where", FAILED)


def _told(text: str, code: int) -> int:
    """Say it on standard error, if that is still there."""
    with suppress(OSError):
        print(f"alloy: {text}", file=sys.stderr)
    return code


def _written(code: int) -> int:
    """Write out what waits to be written. Python would complain at the very end if nobody is there to read it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            code = code or FAILED
    return code


def _run(options: argparse.Namespace) -> int:
    """Run the command. Its module is loaded only now: each brings much that the others do not need."""
    match options.command:
        case "run":
            from alloy.cli import run

            return trio.run(run.command, options)
        case "chat":
            from alloy.cli import chat

            return trio.run(chat.command, options)
        case "demo":
            from alloy.cli import demo

            return trio.run(demo.command)
        case "models":
            from alloy.cli import models

            return models.command(options)
        case _:
            from alloy.cli import sessions

            return trio.run(sessions.command, options)


def command_line_parser() -> argparse.ArgumentParser:
    """What `alloy` takes: its commands, and the options of each."""
    looks: dict[str, Any] = {
        "epilog": EPILOG,
        "formatter_class": argparse.RawDescriptionHelpFormatter,
        "allow_abbrev": False,
    }
    parser = Parser(prog="alloy", description="Run LLM agents.", **looks)
    parser.add_argument("--version", action="version", version=f"alloy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="command")
    every, agent, session = _every_command(), _agent(), _session()

    one = commands.add_parser(
        "run", help="ask once, let tools run, print the answer", parents=[agent, session, every], **looks
    )
    one.add_argument("prompt", nargs="?", help="what to ask; '-' or nothing reads it from standard input")
    one.add_argument("--until-tool", metavar="NAME", help="go on until the model has called this tool")
    one.add_argument("--json", action="store_true", help="print the events instead, one JSON object a line")

    chat_ = commands.add_parser(
        "chat", help="talk: a conversation in the terminal", parents=[agent, session, every], **looks
    )
    asks = chat_.add_mutually_exclusive_group()
    careful = ",".join(CHANGING)
    asks.add_argument(
        "--ask", type=tool_names, metavar="NAMES", help=f"tools to ask you about before (default: {careful})"
    )
    asks.add_argument("--yes", action="store_const", const=[], dest="ask", help="ask about none of them")
    commands.add_parser(
        "demo",
        help="see a team work, offline, and one of its servers crash and come back",
        parents=[every],
        **looks,
    )
    known = commands.add_parser(
        "models", help="whom one can ask, whether there is a key, and what they cost", parents=[every], **looks
    )
    known.add_argument("--json", action="store_true", help="print one JSON array instead")
    kept = commands.add_parser("sessions", help="what is kept, and what is in it", parents=[every], **looks)
    _add_sessions(kept, agent)
    return parser


def _add_sessions(kept: argparse.ArgumentParser, agent: argparse.ArgumentParser) -> None:
    kept.add_argument("--store", metavar="PATH", help=STORE)
    actions = kept.add_subparsers(dest="action", metavar="action", title="actions (default: list them)")
    show = actions.add_parser("show", help="print the conversation")
    show.add_argument("--whole", action="store_true", help="with the results of tools in full")
    export = actions.add_parser("export", help="print all of it as JSON")
    resume = actions.add_parser("resume", help="go on with a run that was broken off", parents=[agent])
    for name, what in (("--approve", "let the call run that pends under this id"), ("--deny", "do not let it run")):
        resume.add_argument(name, action="append", default=[], metavar="ID", help=what)
    for action in (show, export, resume):
        action.add_argument("id")
    taken_up = actions.add_parser("import", help="take up what was exported, and print its id")
    taken_up.add_argument("file", nargs="?", default="-", help="'-' or nothing reads standard input")


def _session() -> Parser:
    """What commands take that go on with what was said."""
    session = Parser(add_help=False)
    session.add_argument("--session", metavar="ID", help="go on with this session, or begin it; it is kept")
    session.add_argument("--store", metavar="PATH", help=f"where it is kept: {STORE}")
    return session


def _every_command() -> Parser:
    """What every command takes."""
    every = Parser(add_help=False)
    every.add_argument("--debug", action="store_true", help="show where an error comes from")
    return every


def _agent() -> Parser:
    """What describes an agent."""
    agent = Parser(add_help=False)
    agent.add_argument(
        "--model",
        default=os.environ.get("ALLOY_MODEL") or DEFAULT_MODEL,
        metavar="VENDOR:NAME",
        help="whom to ask (default: $ALLOY_MODEL, else %(default)s)",
    )
    agent.add_argument("--base-url", metavar="URL", help="where to ask, for a server of your own")
    agent.add_argument(
        "--tools", type=tool_names, default=(), metavar="NAMES", help=f"with commas, of {', '.join(TOOLS)}"
    )
    agent.add_argument("--system", metavar="TEXT", help="the system prompt")
    agent.add_argument("--max-turns", type=int, metavar="N", help="how often the model may answer (default: 25)")
    agent.add_argument(
        "--no-discover", action="store_true", help="leave out the files of .alloy/context and .alloy/skills"
    )
    return agent
