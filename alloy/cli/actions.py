"""What the commands of a chat do."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

import attrs
import trio

import alloy
from alloy.cli.commands import Command, help_rows
from alloy.cli.pieces import Note
from alloy.cli.talk import Talk
from alloy.cli.text import one_line
from alloy.cli.transcript import as_json, context_rows, tool_rows, transcript, usage_rows
from alloy.llm.price_list import CARDS
from alloy.llm.scripted import SCRIPTS
from alloy.loop.skills import Skill

WORD = re.compile(r"[A-Za-z][\w-]*")  # what can be a command
KEYS = (
    ("Enter", "say it; while an answer comes, it is read before the next one"),
    ("Alt-Enter", "a new line; so does a backslash before Enter"),
    ("Ctrl-C", "stop the run, keep the conversation"),
    ("Ctrl-D", "leave"),
)


@attrs.frozen
class Action:
    """A command, and what it does with what followed it."""

    command: Command
    do: Callable[[Talk, str], Awaitable[None]]


async def show_help(talk: Talk, argument: str) -> None:
    interactive = talk.console.interactive
    known = actions(interactive=interactive, skills=talk.skills, keeps=talk.store is not None)
    rows = help_rows(action.command for action in known.values())
    talk.show_rows((*rows, ("", ""), *KEYS) if interactive else rows)


async def model(talk: Talk, argument: str) -> None:
    if argument:
        other = alloy.model(argument)
        await talk.ref.set_model(other)
        talk.model, talk.window = other.name, other.card.window
    talk.console.put(Note(f"model: {talk.model}"))


async def usage(talk: Talk, argument: str) -> None:
    talk.show_rows(usage_rows(await talk.ref.usage()))


async def history(talk: Talk, argument: str) -> None:
    if argument not in ("", "all"):
        raise ValueError(f"/history takes 'all' or nothing, got {argument!r}")
    talk.show(transcript(await talk.ref.messages(), whole=argument == "all"))


async def tools(talk: Talk, argument: str) -> None:
    if not talk.tools:
        talk.console.put(Note("there are no tools; `--tools` offers some"))
    else:
        talk.show_rows(tool_rows(talk.tools))


async def context(talk: Talk, argument: str) -> None:
    talk.show_rows(context_rows(await talk.ref.messages(), talk.context, talk.window))


async def compact(talk: Talk, argument: str) -> None:
    if not await talk.ref.compact():
        talk.console.put(Note("there is nothing to shorten"))


async def skills(talk: Talk, argument: str) -> None:
    talk.show_rows(tuple((skill.name, skill.description) for skill in talk.skills))


async def save(talk: Talk, argument: str) -> None:
    if not argument:
        raise ValueError("/save needs the name of a file; one that ends in .json can be gone on with")
    path = await trio.Path(argument).expanduser()
    session = await talk.ref.export_session()
    text = as_json(session) if path.suffix == ".json" else transcript(session.messages, whole=True)
    async with await path.open("x", encoding="utf-8", errors="replace") as file:
        await file.write(f"{text}\n")
    talk.console.put(Note(f"saved: {path}"))


async def then(talk: Talk, argument: str) -> None:
    if not argument:
        raise ValueError("/then needs what is to be done once the run is over")
    await talk.ref.follow_up(argument)


async def fork(talk: Talk, argument: str) -> None:
    assert talk.store is not None
    assert talk.session is not None
    if (current := (await talk.ref.health()).request_id) is not None:
        raise ValueError(f"the run of request {current!r} is on; stop it with Ctrl-C, or wait for its end")
    talk.goes_on_as = await talk.store.fork(talk.session)
    talk.leave()


async def reset(talk: Talk, argument: str) -> None:
    await talk.ref.reset()
    talk.context = None
    talk.console.put(Note("the conversation is forgotten; what was used stays"))


async def leave(talk: Talk, argument: str) -> None:
    talk.leave()


def _models() -> Iterable[str]:
    """Those that are known by name, and the scripted ones."""
    names = (f"{vendor}:{name}" for vendor, cards in CARDS.items() for name in cards)
    return (*names, *(f"scripted:{name}" for name in SCRIPTS))


ALWAYS = (
    Action(Command("help", "", "this list"), show_help),
    Action(Command("model", "[vendor:name]", "whom you talk to; or talk to another from now on", _models), model),
    Action(Command("usage", "", "tokens and cost of the conversation"), usage),
    Action(Command("history", "[all]", "what was said and done; 'all' shows whole results", lambda: ("all",)), history),
    Action(Command("tools", "", "what the model may use"), tools),
    Action(Command("context", "", "what fills the model's window"), context),
    Action(Command("compact", "", "show the model the conversation in short from now on"), compact),
    Action(Command("save", "PATH", "write the conversation to a new file, as text or .json", takes_path=True), save),
    Action(Command("reset", "", "forget the conversation"), reset),
    Action(Command("quit", "", "leave"), leave),
)


# Where prompts are not done one after the other anyway.
WHILE_IT_WORKS = (Action(Command("then", "TEXT", "say this once the run that is on is over"), then),)


# Where the conversation is kept.
KEPT = (Action(Command("fork", "", "go on with a copy of the session; this one stays as it is"), fork),)

# Where there are any.
WITH_SKILLS = (Action(Command("skills", "", "how-tos that the model can read; /NAME has it use one"), skills),)


def actions(*, interactive: bool, skills: Sequence[Skill] = (), keeps: bool = False) -> Mapping[str, Action]:
    """The commands that there are, by name. A skill is one too, unless its name is taken or no word."""
    own = {
        action.command.name: action
        for action in (*ALWAYS, *(WHILE_IT_WORKS if interactive else ()), *(KEPT if keeps else ()))
    }
    if not skills:
        return own
    own |= {action.command.name: action for action in WITH_SKILLS}
    return {skill.name: _using(skill) for skill in skills if WORD.fullmatch(skill.name)} | own


def _using(skill: Skill) -> Action:
    async def use(talk: Talk, argument: str) -> None:
        await talk.say(f"Use the skill {skill.name!r}." + (f"\n\n{argument}" if argument else ""))

    return Action(Command(skill.name, "[TEXT]", one_line(skill.description)), use)
