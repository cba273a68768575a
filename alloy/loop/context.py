"""What the parts of one run share: its state, its model, its hooks, and whom it tells."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Literal

import attrs
import trio

from alloy.llm.content import ToolCall
from alloy.llm.fallback import Chain
from alloy.llm.message import AssistantMessage, ToolMessage, UserMessage
from alloy.llm.provider import Model
from alloy.loop.agent import Agent
from alloy.loop.approval import Edit, Fate, Pending, Slot, Withdrawn, as_decision
from alloy.loop.calls import BudgetedCalls
from alloy.loop.emitter import Emitter
from alloy.loop.events import ApprovalDecided, BudgetWarning, MessageAdded
from alloy.loop.means import Means, Working, connect_all
from alloy.loop.middleware import Hooks
from alloy.loop.prompt import system_prompt
from alloy.loop.recorder import Recorder
from alloy.loop.records import HandedOver
from alloy.loop.result import Status
from alloy.loop.skills import skill_tool, skills_of
from alloy.loop.state import End, State
from alloy.tools import Tool


@attrs.define(eq=False, kw_only=True)
class RunContext:
    """One run, for those who act in it: `turn` sets the course, `ask` asks the model, `act` runs the tools.

    Attributes:
        chain: the models that may be asked.
        recorder: writes down what the run does; None if nobody is to know after the process has ended.
        unbound: answers whose reasoning is not sent any more, by id, as they are sent instead.
        system: the system prompt, made once when the run starts, and again when another agent takes over.
        skill_tools: what reads the skills that it lists.
        calls: the tool calls, as the budget counts them.
    """

    state: State
    chain: Chain
    emitter: Emitter
    means: Means
    recorder: Recorder | None = None
    unbound: dict[str, AssistantMessage] = attrs.field(factory=dict, init=False)
    hooks: Hooks = attrs.field(init=False)
    system: str = attrs.field(default="", init=False)
    skill_tools: tuple[Tool, ...] = attrs.field(default=(), init=False)
    calls: BudgetedCalls = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hooks = Hooks(self.state.agent.middleware, self.means.inherited)
        self.calls = BudgetedCalls(self.state.budget)

    @property
    def model(self) -> Model:
        """The model that is asked now, or was asked last."""
        return self.chain.model

    @property
    def tools(self) -> tuple[Tool, ...]:
        """Those that the model was offered for the answer of the moment, and so may call."""
        return self.state.tools

    async def write_system_prompt(self) -> None:
        """Make the system prompt of the agent of the moment, and find its skills.

        Raises:
            HookError: a `system_prompt` callable raised.
        """
        skills = await skills_of(self.state.agent)
        self.skill_tools = (skill_tool(skills),) if skills else ()
        self.system = await system_prompt(self.state.info(), skills)

    async def become(self, agent: Agent[Any]) -> None:
        """Go on as another agent: its prompt, tools, model and limits."""
        state = self.state
        state.agent = agent
        if self.recorder is not None:
            self.recorder.note(HandedOver(run_id=state.run_id, agent=agent.name, agent_path=state.agent_path))
        self.chain = await connect_all(self.means.connections, agent.models)
        self.hooks = Hooks(agent.middleware, self.hooks.inherited)  # no approval is lost by handing over
        await self.write_system_prompt()

    async def say(self, *messages: UserMessage) -> None:
        """Add what somebody says to the history: all of it, before anything can be cancelled."""
        self.state.messages += messages
        for message in messages:
            self.emitter.emit(MessageAdded, message)

    def pending(
        self, kind: Literal["approval", "question"], question: str, call: ToolCall, limit: float | None = None
    ) -> Pending:
        """Something for somebody to decide, within `limit` seconds."""
        state, now = self.state, time.time()
        return Pending(
            kind=kind,
            question=question,
            call=call,
            agent_path=state.agent_path,
            session_id=state.session_id,
            run_id=state.run_id,
            created_at=now,
            expires_at=None if limit is None else now + limit,
        )

    def slot(self, pending: Pending, check: Callable[[Edit], object], limit: float | None) -> Slot:
        """Lay an approval on the desks."""
        record = None if self.recorder is None else self.recorder.decided
        return Slot(pending, self.means.desks, check, limit, record)

    async def decided(self, slot: Slot) -> Fate:
        """Wait until somebody has decided, and tell everybody what.

        Raises:
            HookError: `on_event` raised.
        """
        fate: Fate = Withdrawn()
        try:
            fate = await slot.wait()
        finally:
            self.emitter.emit(ApprovalDecided, slot.pending.id, as_decision(fate))
        return fate

    def out_of_budget(self) -> End | None:
        """How the run ends if its budget allows it nothing more, looked at between turns."""
        budget = self.state.budget
        if budget is None:
            return None
        self.warn_of_budget()
        if trio.current_time() >= budget.deadline:
            return End(status=Status.DEADLINE)
        return End(status=Status.BUDGET) if budget.is_spent else None

    def warn_of_budget(self) -> None:
        """Tell of each limit that is nearly used up, if nobody has yet."""
        if self.state.budget is not None:
            for near in self.state.budget.warnings():
                self.emitter.emit(BudgetWarning, near.limit, near.spent, near.of)

    def close_calls(self) -> ToolMessage | None:
        """Give every call of the last answer its result, if it has none yet; None if no call was open."""
        if (results := self.state.close_calls()) is not None:
            self.emitter.emit(MessageAdded, results)
        return results

    def working(self, call_id: str | None = None) -> Working:
        """Who is at work, for whom it may ask."""
        state = self.state
        return Working(
            session_id=state.session_id,
            agent_path=state.agent_path,
            tapes=self.emitter.tapes,
            call_id=call_id,
            desks=self.means.desks,
            inherited=self.hooks.inherited,
        )
