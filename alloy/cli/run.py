"""`alloy run`: one prompt, one answer."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext

import alloy
from alloy.cli.agent import agent_for, model_for
from alloy.cli.exits import exit_code
from alloy.cli.pieces import pieces
from alloy.cli.places import store_at
from alloy.cli.plain import PlainFace
from alloy.cli.reports import reports_shown_by


async def command(options: argparse.Namespace) -> int:
    """Ask, print, and return the exit code.

    Raises:
        AlloyError, ValueError, TypeError: as `alloy.stream` on entering.
    """
    if options.store is not None and options.session is None:
        raise ValueError("--store needs --session, the id of a session in it")
    face = PlainFace()
    with reports_shown_by(face.note, whole=options.debug):
        agent = agent_for(options, model_for(options))
        prompt = _prompt(options.prompt)
        kept = nullcontext() if options.session is None else store_at(options.store, make=True)
        async with kept as store, alloy.stream(prompt, agent, store=store, session_id=options.session) as stream:
            async for event in stream:
                if options.json:
                    print(json.dumps(event.to_json(), ensure_ascii=False), flush=True)
                    continue
                for piece in pieces(event):
                    face.put(piece)
            result = stream.snapshot()
    return exit_code(result)


def _prompt(given: str | None) -> str:
    if given is not None and given != "-":
        return given
    if given is None and sys.stdin.isatty():
        raise ValueError("there is no prompt; give it as an argument, or on standard input")
    return sys.stdin.read()
