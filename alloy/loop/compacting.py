"""Keeping what is sent within the model's window: `alloy.loop.compaction` decides, this acts."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from inspect import isawaitable

import attrs

from alloy.errors import AlloyError
from alloy.llm.completion import Fold
from alloy.llm.delta import Delta
from alloy.llm.driver import complete
from alloy.llm.errors import ContextTooLong, ProviderError, RequestTooLarge
from alloy.llm.message import AssistantMessage, Message, UserMessage
from alloy.llm.provider import Model
from alloy.llm.request import Request, Settings
from alloy.llm.spending import billed, usage_of
from alloy.loop import summary
from alloy.loop.compaction import Plan, Room, View, plan, room_in
from alloy.loop.context import RunContext
from alloy.loop.errors import HookError
from alloy.loop.events import Compacted
from alloy.loop.ledger import compaction_done
from alloy.loop.state import State
from alloy.loop.tokens import PROSE, Measure, tokens_of_head, tokens_of_text, within_reason
from alloy.loop.work import ModelWork

_log = logging.getLogger("alloy.loop")

WORDS_PER_TOKEN = 0.7
LEAST_WINDOW = 1_000  # tokens; a vendor that names a smaller one means something else


async def make_room(run: RunContext, request: Request) -> bool:
    """Compact what is shown of the history, if the request would not fit into the window; whether it was done.

    Raises:
        HookError: whoever sums up failed.
        BudgetSpent: nothing is left to pay it with.
    """
    if (window := _window_of(run)) is None:
        return False
    room = room_in(window, run.state.agent.compaction, request.settings.max_output_tokens)
    head = _head_of(run.state, request)
    now = run.state.measured(head, request.messages)
    return now.tokens > room.limit and await _compact(run, room, head, now)


async def make_more_room(run: RunContext, request: Request, error: ContextTooLong | RequestTooLarge) -> bool:
    """Compact after the vendor has said that the request is too long, more than would seem necessary.

    What the error says of the window and of the request is remembered for the rest of the run.

    Raises:
        HookError: whoever sums up failed.
        BudgetSpent: nothing is left to pay it with.
    """
    state = run.state
    head = _head_of(state, request)
    now = state.measured(head, request.messages)
    if isinstance(error, ContextTooLong):
        limit = error.limit if error.limit is not None and error.limit >= LEAST_WINDOW else None
        if limit is not None and error.used is not None:
            ratio = within_reason(now.ratio * error.used / max(now.tokens, 1))
            now = Measure(max(error.used, now.tokens), ratio)
        state.windows[run.model.name] = min(limit or now.tokens, state.windows.get(run.model.name, now.tokens))
    window = min(_window_of(run) or now.tokens, now.tokens)
    room = room_in(window, state.agent.compaction, request.settings.max_output_tokens).tightened()
    return await _compact(run, room, head, now)


async def make_room_now(run: RunContext, request: Request) -> bool:
    """Compact what is shown of the history although it would fit: as if the window ended with it.

    Raises:
        HookError: whoever sums up failed.
        BudgetSpent: nothing is left to pay it with.
    """
    head = _head_of(run.state, request)
    now = run.state.measured(head, request.messages)
    window = min(_window_of(run) or now.tokens, now.tokens)
    room = room_in(window, run.state.agent.compaction, request.settings.max_output_tokens)
    return await _compact(run, room, head, now)


def _window_of(run: RunContext) -> int | None:
    """What the user says, or is known of the model; less, if the vendor has said so."""
    given = run.state.agent.compaction.window
    known = run.model.card.window if given is None else given
    return min(filter(None, (known, run.state.windows.get(run.model.name))), default=None)


def _head_of(state: State, request: Request) -> int:
    """What stands before the messages; guessed once for as long as that stays the same."""
    told = (request.system, *request.tools, request.output_schema)
    known = state.head
    if known is None or len(known[0]) != len(told) or any(a is not b for a, b in zip(known[0], told, strict=True)):
        state.head = known = told, tokens_of_head(request.system, request.tools, request.output_schema)
    return known[1]


async def _compact(run: RunContext, room: Room, head: int, now: Measure) -> bool:
    """Show the history in a shorter way; False if there is none, and then nothing has changed."""
    state = run.state
    chosen = plan(state.sendable(), state.view, room, head=head, ratio=now.ratio)
    if chosen is None:
        return False
    view = await _with_summary(run, chosen, room, now.ratio) if chosen.old else chosen.view
    state.view = view
    after = state.measured(head, state.shown())
    new = view.summary if chosen.old else ""
    run.emitter.emit(Compacted, now.tokens, after.tokens, new)
    if run.recorder is not None:
        made = compaction_done(view, run_id=state.run_id, before=now.tokens, after=after.tokens, model=run.model.name)
        run.recorder.note(made)
    here = Compacted(now.tokens, after.tokens, new, run_id=state.run_id, agent_path=state.agent_path, turn=state.turn)
    await _tell(run, attrs.evolve(here, at=time.time()))
    return True


async def _tell(run: RunContext, compacted: Compacted) -> None:
    if (callback := run.state.agent.compaction.on_compaction) is None:
        return
    try:
        answer = callback(compacted)
        if isawaitable(answer):
            await answer
    except Exception:
        _log.exception("on_compaction of run %s failed", run.state.run_id)


# Summing up.


async def _with_summary(run: RunContext, chosen: Plan, room: Room, ratio: float) -> View:
    """The chosen view, with a summary of what it leaves out."""
    former, files = chosen.view.summary, chosen.view.files.after(chosen.old)
    if run.state.agent.compaction.summarise:
        text = await _summed_up(run, former, chosen.old, room, ratio)
    else:
        text = summary.digest(former, chosen.old)
    return attrs.evolve(chosen.view, summary=text, files=files)


async def _summed_up(run: RunContext, former: str, old: Sequence[Message], room: Room, ratio: float) -> str:
    """Ask a model to bring the summary up to date, as often as it takes to show it everything."""
    model, settings = await _whom_to_ask(run)
    words = max(int(room.summary * WORDS_PER_TOKEN), 50)
    asking = tokens_of_text(summary.SYSTEM + summary.prompt("", "", words)) + 2 * room.summary
    most = max(int((room.limit / ratio - asking) * PROSE * 0.8), 1_000)
    for part in summary.parts(old, most):
        request = Request(
            model=model.origin.model,
            system=summary.SYSTEM,
            messages=[UserMessage(summary.prompt(former, part, words), source="engine")],
            settings=settings,
        )
        text = await _ask(run, model, request)
        former = summary.clipped(text, int(room.summary * PROSE))
    return former


async def _whom_to_ask(run: RunContext) -> tuple[Model, Settings]:
    """The model that sums up, and how it is asked: as the run asks its own, but for what is about the answers."""
    if (given := run.state.agent.compaction.summary_model) is not None:
        try:
            return await run.means.connections.connect(given), Settings()
        except (AlloyError, ValueError) as error:
            raise _failed(f"{given!r} cannot be asked: {error}") from error
    own = run.state.agent.settings
    vendor = {name: value for name, value in own.vendor.items() if name not in ("tools", "tool_choice")}
    return run.model, Settings(effort=own.effort, cache=own.cache, vendor=vendor)


async def _ask(run: RunContext, model: Model, request: Request) -> str:
    work = ModelWork(model=model.name, origin=model.origin, request=request)
    unseen = _Unseen(run)
    with run.hooks.around(run.state, work):
        try:
            work.answer = answer = await complete(model, request, run.state.agent.retry, unseen, run.chain.limiter)
        except ProviderError as error:
            unseen.count(error.partial)
            raise _failed(f"{model.name} failed: {error}") from error
        except BaseException:  # cancelled, most likely
            partial = None if unseen.fold is None else unseen.fold.partial()
            unseen.count(partial and billed(partial, model, request, at=time.time()))
            raise
    run.state.usage += usage_of(answer)
    if not (text := answer.text.strip()):
        raise _failed(f"{model.name} gave no text; it stopped with {answer.stop.reason!s}")
    return text


def _failed(how: str) -> HookError:
    return HookError(f"the conversation could not be summed up: {how}", hook="summariser")


@attrs.define(eq=False)
class _Unseen:
    """The driver's `Listener` for what nobody watches: only what broken answers used is counted.

    Attributes:
        fold: of the try of the moment; None before anything has come.
    """

    run: RunContext
    fold: Fold | None = None

    def count(self, partial: AssistantMessage | None) -> None:
        """Count what an answer used that broke off."""
        if partial is not None:
            self.run.state.usage += usage_of(partial)

    def deltas(self, fold: Fold, deltas: Sequence[Delta]) -> None:
        """See `alloy.llm.driver.Listener.deltas`."""
        self.fold = fold

    def retrying(self, error: ProviderError, attempt: int, delay: float) -> None:
        """See `alloy.llm.driver.Listener.retrying`."""
        self.fold = None
        self.count(error.partial)

    def retracted(self) -> None:
        """See `alloy.llm.driver.Listener.retracted`."""

    async def room(self) -> None:
        """See `alloy.llm.driver.Listener.room`."""
