"""`alloy chat`: a conversation with an agent server, in a terminal or through a pipe."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, nullcontext

import attrs
import trio

import alloy
from alloy.cli.actions import actions
from alloy.cli.agent import CHANGING, TOOLS, agent_for, model_for
from alloy.cli.commands import Command
from alloy.cli.console import Console, moves_cursor
from alloy.cli.pieces import Note
from alloy.cli.places import private_file, state_folder, store_at
from alloy.cli.plain import open_plain
from alloy.cli.repl import Repl
from alloy.cli.reports import reports_shown_by
from alloy.cli.talk import Talk
from alloy.loop.skills import skills_of
from alloy.version import __version__

HISTORY = "history"


async def command(options: argparse.Namespace) -> int:
    """Talk until the user leaves, and return the exit code.

    Raises:
        AlloyError, ValueError: the agent cannot be asked, or its session not be opened.
    """
    if options.store is not None and options.session is None:
        raise ValueError("--store needs --session, the id of a session in it")
    model = model_for(options)
    agent = agent_for(options, model)
    tools = [TOOLS[name] for name in options.tools]
    skills = await skills_of(agent)
    signals = Signals()
    keeps = options.session is not None
    commands = {name: a.command for name, a in actions(interactive=True, skills=skills, keeps=keeps).items()}
    async with (
        store_at(options.store, make=True) if keeps else nullcontext() as store,
        _console(commands) as console,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(signals.heed, console)
        # Whoever sits there is asked; in a pipe `--tools` has said it all, unless `--ask` says otherwise.
        ask = options.ask if options.ask is not None else CHANGING if console.interactive else ()
        agent = agent.evolve(middleware=[alloy.ApproveTools(ask)])
        with reports_shown_by(lambda line: console.put(Note(line)), whole=options.debug):
            if console.interactive:
                console.put(Note(f"alloy {__version__} · {model.name} · /help lists the commands, Ctrl-D leaves"))
            session = options.session
            while True:
                async with alloy.open_agent(agent, drain=0.0, store=store, session_id=session) as ref:
                    if session is not None:
                        console.put(Note(f"session {session}: {len(await ref.messages())} messages so far"))
                    talk = Talk(
                        ref=ref,
                        console=console,
                        model=model.name,
                        tools=tools,
                        skills=skills,
                        window=model.card.window,
                        store=store,
                        session=session,
                    )
                    await (repl := Repl(talk)).run()
                if talk.goes_on_as is None:
                    break
                session = talk.goes_on_as
        nursery.cancel_scope.cancel(reason="the chat is over")
    return repl.code if signals.code is None else signals.code


@attrs.define(eq=False)
class Signals:
    """What the system tells the process: Ctrl-C, or to leave.

    Attributes:
        code: what the process is to end with; None while nothing told it to leave.
    """

    code: int | None = None

    async def heed(self, console: Console, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand them on until cancelled. Kept up to the end: a terminal that goes tells it more than once."""
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as signals:
            task_status.started()
            async for number in signals:
                if number == signal.SIGINT:
                    console.interrupt()
                else:
                    self.code = 128 + number
                    console.gone.set()


@asynccontextmanager
async def _console(known: Mapping[str, Command]) -> AsyncIterator[Console]:
    """The best console that there can be here."""
    if not _takes_an_editor():
        async with open_plain(known) as plain:
            yield plain
        return
    from alloy.cli.screen import open_screen

    try:
        history = private_file(state_folder() / HISTORY)
    except OSError as error:
        history, complaint = None, f"what you type is not kept: {error}"
    else:
        complaint = ""
    async with open_screen(known, history) as screen:
        if complaint:
            screen.put(Note(complaint))
        yield screen


def _takes_an_editor() -> bool:
    """Whether there is a terminal that can move its cursor, and the packages of the `cli` extra."""
    if not (sys.stdin.isatty() and moves_cursor(sys.stdout)):
        return False
    try:
        import prompt_toolkit
        import rich.markdown  # noqa: F401
    except ImportError:
        return False
    return bool(prompt_toolkit)
