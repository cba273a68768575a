"""One conversation: what is typed goes to the agent, and what the agent does is shown."""

from __future__ import annotations

from functools import partial

import trio

import alloy
from alloy.cli.actions import actions
from alloy.cli.asking import Questions
from alloy.cli.commands import Do, Say, Wrong, meaning
from alloy.cli.exits import COMPLETED, FAILED, INTERRUPTED, exit_code
from alloy.cli.pieces import Note, Problem, Typed, pieces, problem_of
from alloy.cli.status import Standing
from alloy.cli.talk import Talk
from alloy.errors import AlloyError
from alloy.llm.message import UserMessage
from alloy.loop.errors import UnknownRequest

PROMPT = "> "
PATIENCE = 1.0  # seconds that a stop may take to reach the agent
BUFFER = 4096  # events that may wait to be shown before some are missed


class Repl:
    """Reads, has the agent work, and shows, until the user leaves.

    Attributes:
        code: the number that the process is to end with.
    """

    def __init__(self, talk: Talk) -> None:
        self.code: int = COMPLETED
        self._talk = talk
        self._began: float | None = None  # when the run that is on was first seen
        self._tools: dict[str, str] = {}  # those that run now: names by the ids of the calls
        self._presses = 0  # of Ctrl-C, in this run
        self._ended = ""  # the id of the last run whose end was shown
        self._missed = False  # events: some ends may never be shown
        self._progress = trio.Event()
        self._command = trio.CancelScope()
        self._questions = Questions(talk)
        self._actions = actions(interactive=talk.console.interactive, skills=talk.skills, keeps=talk.store is not None)
        talk.console.standing = self.standing

    async def run(self) -> None:
        """Go on until the user leaves or the input ends."""
        console = self._talk.console
        with self._talk.over:
            async with self._talk.ref.subscribe(buffer=BUFFER) as events, trio.open_nursery() as nursery:
                self._talk.say = partial(self._say, nursery=nursery)
                nursery.start_soon(self._show, events)
                nursery.start_soon(self._heed_interrupts)
                nursery.start_soon(self._leave_when_gone)
                self._invite()
                async for line in console.lines:
                    await self._take(line)
                self._talk.leave()

    def standing(self) -> Standing:
        """How the conversation stands."""
        doing = ""
        if self._began is not None:
            what = "stopping" if self._presses else next(reversed(self._tools.values()), "working")
            doing = f"{what} {trio.current_time() - self._began:.0f} s"
            if self._questions.waiting:
                doing = "waits for you"
        talk = self._talk
        return Standing(model=talk.model, doing=doing, usage=talk.ref.used(), context=talk.context, window=talk.window)

    # What the agent does.

    async def _show(self, events: alloy.Subscription) -> None:
        async for event in events:
            self._follow(event)
            for piece in pieces(event):
                self._talk.console.put(piece)
            match event:
                case alloy.ApprovalRequested(pending=pending):
                    await self._questions.add(pending)
                case alloy.ApprovalDecided(pending_id=pending_id):
                    self._questions.drop(pending_id)
                    self._invite()
                case alloy.RunFinished() if self._began is None:
                    self._invite()

    def _invite(self) -> None:
        """Say whether it is the user's turn, and for what."""
        self._talk.console.invite(self._questions.prompt or (PROMPT if self._began is None else ""))

    def _follow(self, event: alloy.Event) -> None:
        """Keep in mind what the status line and those who wait want to know."""
        match event:
            case alloy.ToolStarted(call=call):
                self._tools[call.id] = call.name
            case alloy.ToolFinished(record=record):
                self._tools.pop(record.id, None)
            case alloy.RunStarted(model=model) if len(event.agent_path) == 1:
                self._began, self._presses, self._talk.model = trio.current_time(), 0, model
            case alloy.TurnFinished(usage=usage) if len(event.agent_path) == 1:
                self._talk.context = usage.context_tokens or usage.total_tokens or self._talk.context
            case alloy.Compacted(tokens_after=tokens) if len(event.agent_path) == 1:
                self._talk.context = tokens
            case alloy.RunFinished() if len(event.agent_path) == 1:
                self._ended = event.run_id
                self._idle()
            case alloy.Lagged():
                self._missed = True
                self._idle()

    def _idle(self) -> None:
        self._began = None
        self._tools.clear()
        self._progress.set()
        self._progress = trio.Event()

    # What the user types.

    async def _take(self, line: str) -> None:
        """Do what a line asks for. What goes wrong is told, and changes nothing."""
        with trio.CancelScope() as self._command:
            try:
                match meaning(line, self._actions):
                    case Do(name, argument):
                        await self._actions[name].do(self._talk, argument)
                    case Say(text) if self._questions.waiting:
                        await self._questions.answer(text)
                    case Say(text):
                        await self._talk.say(text)
                    case Wrong(complaint):
                        self._talk.console.put(Problem(complaint))
            except (AlloyError, ValueError, OSError) as error:
                self._talk.console.put(Problem(problem_of(error)))
        self._invite()

    async def _say(self, text: str, nursery: trio.Nursery) -> None:
        """Tell the agent: it joins the run that is on. From a pipe, one prompt is done before the next is read."""
        if not text.strip():
            return
        ref, console = self._talk.ref, self._talk.console
        console.put(Typed(text))
        if console.interactive and (await ref.health()).status != "idle":
            await ref.steer(text)
            console.put(Note("(it reads this before its next answer)"))
            return
        self._began = trio.current_time()
        try:
            request_id = await ref.send_message(text)
        except BaseException:
            self._began = None
            raise
        if console.interactive:
            nursery.start_soon(self._await_end, request_id)
        else:
            await self._await_end(request_id)

    async def _await_end(self, request_id: str) -> None:
        """Wait until a request is done and its end was shown. A crash of the server is shown here."""
        try:
            result = await self._talk.ref.result(request_id)
        except AlloyError as error:
            self.code = FAILED
            self._idle()
            self._talk.console.put(Problem(problem_of(error)))
            self._invite()
            return
        if not self._talk.console.interactive:
            self.code = exit_code(result)
            while result.run_id not in ("", self._ended) and not self._missed:
                await self._progress.wait()

    # How the user leaves, and stops it.

    async def _leave_when_gone(self) -> None:
        await self._talk.console.gone.wait()
        self._talk.leave()

    async def _heed_interrupts(self) -> None:
        async for _ in self._talk.console.interrupts:
            if self._talk.console.interactive:
                await self._interrupt()
            else:
                self.code = INTERRUPTED
                self._talk.leave()

    async def _interrupt(self) -> None:
        """Stop the run, and give back what was said and did not reach it. Nothing to stop: say how to leave."""
        console = self._talk.console
        self._command.cancel(reason="Ctrl-C")
        was_busy = self._began is not None
        self._presses += was_busy
        if self._presses == 2:
            console.put(Note("it is being stopped; Ctrl-C once more leaves"))
        elif self._presses > 2:
            self.code = INTERRUPTED
            self._talk.leave()
        with trio.move_on_after(PATIENCE) as waiting:
            try:
                unsent = await self._talk.ref.cancel()
            except UnknownRequest:
                if not was_busy:
                    console.put(Note("nothing is going on; Ctrl-D leaves, /help lists the commands"))
                    self._invite()
                return
            for message in unsent:
                if isinstance(message, UserMessage):
                    console.hand_back(message.text)
        if waiting.cancelled_caught:
            console.put(Note("the agent does not answer: it crashed, and is about to be started again"))
