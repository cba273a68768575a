"""`alloy sessions`: what is kept, and what is in it."""

from __future__ import annotations

import argparse
import json
import sys
from datetime import datetime
from pathlib import Path

import alloy
from alloy.cli.agent import agent_for, model_for
from alloy.cli.exits import FAILED, exit_code
from alloy.cli.pieces import pieces
from alloy.cli.places import store_at
from alloy.cli.plain import PlainFace
from alloy.cli.reports import reports_shown_by
from alloy.cli.text import columns, one_line, printable
from alloy.cli.transcript import transcript
from alloy.llm.content import JSON
from alloy.loop.errors import CorruptStore, UnknownVersion
from alloy.loop.journal import Store
from alloy.loop.recovery import Recovered, fold


async def command(options: argparse.Namespace) -> int:
    """Do what is asked, and return the exit code.

    Raises:
        StoreError, ValueError, OSError: it cannot be done.
    """
    async with store_at(options.store) as store:
        match options.action:
            case "show":
                session = await store.load(options.id)
                print(printable(transcript(session.messages, whole=options.whole)))
            case "export":
                json.dump(await store.export(options.id), sys.stdout)
                print()
            case "resume":
                return await _resume(store, options)
            case "import":
                print(await store.import_(_read(options.file)))
            case _:
                return await _list(store)
    return 0


async def _resume(store: Store, options: argparse.Namespace) -> int:
    """Go on with a session, and print what comes of it; what pends is told, with the ids to decide by."""
    face = PlainFace()
    seen: list[alloy.Event] = []

    def show(event: alloy.Event) -> None:
        seen.append(event)
        for piece in pieces(event):
            face.put(piece)

    decisions: dict[str, alloy.Decision] = {id: alloy.Approve() for id in options.approve}
    decisions |= {id: alloy.Deny() for id in options.deny}
    with reports_shown_by(face.note, whole=options.debug):
        agent = agent_for(options, model_for(options))
        try:
            result = await alloy.resume(store, options.id, agent, decisions=decisions, on_event=show)
        except alloy.AlloyError as error:
            if error.result is None or not seen:
                raise
            return exit_code(error.result)  # it has been shown
    if not seen:
        print(printable(result.text))
    for pending in result.pending:
        print(f"{pending.id}  {one_line(pending.question)}", file=sys.stderr)
    return exit_code(result)


async def _list(store: Store) -> int:
    """Print a line for each session, the one that changed last first; a damaged one does not hide the others."""
    rows: list[tuple[float, str, str]] = []
    damaged = 0
    for session_id in await store.sessions():
        try:
            recovered = fold(await store.entries(session_id))
        except (CorruptStore, UnknownVersion) as error:
            damaged += 1
            rows.append((0.0, session_id, f"{type(error).__name__}: {error}"))
        else:
            rows.append((recovered.updated_at or 0.0, session_id, _about(recovered)))
    rows.sort(reverse=True)
    if rows:
        print(columns((one_line(session_id, 40), one_line(about)) for _, session_id, about in rows))
    else:
        print("there are no sessions", file=sys.stderr)
    return FAILED if damaged else 0


def _about(recovered: Recovered) -> str:
    changed = f"{datetime.fromtimestamp(recovered.updated_at):%Y-%m-%d %H:%M}" if recovered.updated_at else "empty"
    state = "paused  " if recovered.pending else "interrupted  " if recovered.run is not None else ""
    first = next((message.text for message in recovered.messages if isinstance(message, alloy.UserMessage)), "")
    return f"{changed}  {len(recovered.messages)} messages  {state}{first}"


def _read(path: str) -> JSON:
    text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{path!r} is no JSON: {error}") from error
