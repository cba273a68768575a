"""A session of any course – runs, pauses, cancels, crashes, forks – can always be sent, and loses nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

import alloy
from alloy.llm.history import sendable
from alloy.loop.approval import Decision
from alloy.loop.recovery import Recovered, fold
from alloy.stores import MemoryStore, Store
from alloy.testing import CrashingStore, CrashPoint, ScriptedModel, calls, says
from end_to_end.courses import ORIGINS, Halts, Signing, a_step, broken, fatal, ok, slow
from end_to_end.sendable import assert_sendable

a_call_of_another_agent = st.just(calls("helper", prompt="help"))
decisions = st.sampled_from([alloy.Approve(), alloy.Deny("no"), alloy.Edit({"n": 5}), alloy.Edit({"n": "five"}), None])
a_course = {
    "steps": st.lists(a_step | a_call_of_another_agent, min_size=1, max_size=4),
    "helper": st.lists(a_step, min_size=1, max_size=3),
    "origin": st.sampled_from(ORIGINS),
    "cancel_after": st.none() | st.none() | st.integers(1, 25),
    "crash": st.none() | st.builds(CrashPoint, st.integers(1, 14), st.booleans()),
    "crash_cancels": st.booleans(),
    "halt_at": st.none() | st.integers(1, 3),
    "max_turns": st.sampled_from([1, 2, 10]),
    "window": st.none() | st.sampled_from([300, 2_000]),
    "edits": st.booleans(),
    "asks": st.sampled_from([(), ("ok",), ("ok", "broken", "slow")]),
    "replay": st.sampled_from(["never", "safe", "key"]),
}
a_run = st.fixed_dictionaries(
    a_course | {"how": st.just("run"), "prompt": st.sampled_from(["go", "and then?", None]), "given": st.integers(0, 2)}
)
a_resumption = st.fixed_dictionaries(
    a_course | {"how": st.just("resume"), "decisions": st.lists(decisions, max_size=4)}
)
a_fork = st.fixed_dictionaries({"how": st.just("fork"), "at": st.none() | st.integers(0, 60)})
an_operation = st.one_of(a_run, a_resumption, a_resumption, a_fork)


class Edits(alloy.Middleware):
    """Has other arguments for a call."""

    async def before_tool_call(self, run: alloy.RunInfo, call: alloy.ToolCall) -> alloy.ToolCall | None:
        return attrs.evolve(call, arguments={"n": 7}) if call.name == "ok" else None


def agent_for(operation: dict[str, Any]) -> tuple[alloy.Agent[Any], list[ScriptedModel]]:
    """The agent of an operation, and all models that may be asked."""
    tools = [alloy.tool(function, replay=operation["replay"]) for function in (ok, broken, slow, fatal)]
    asks = alloy.ApproveTools(operation["asks"], expires=600)
    helping = Signing(*operation["helper"], *[says("helped")] * 60, origin=operation["origin"])
    helper: alloy.Agent[Any] = alloy.Agent(name="helper", model=helping, tools=tools, middleware=[asks])
    model = Signing(*operation["steps"], *[says("over")] * 60, origin=operation["origin"])
    agent: alloy.Agent[Any] = alloy.Agent(
        model=model,
        tools=[*tools, alloy.as_tool(helper)],
        compaction=alloy.Compaction(window=operation["window"]),
        limits=alloy.Limits(max_turns=operation["max_turns"], tool_timeout=20.0),
        middleware=[
            *([Halts(operation["halt_at"])] if operation["halt_at"] else []),
            *([Edits()] if operation["edits"] else []),
            asks,
        ],
        retry=alloy.Retry(attempts=2),
    )
    return agent, [model, helping]


@attrs.define(eq=False)
class Watched:
    """The events of a root run, as whoever rebuilds the transcript of it follows them."""

    cancel_after: int | None
    scope: trio.CancelScope
    events: list[Any] = attrs.field(factory=list)
    count: int = 0

    def __call__(self, event: alloy.Event) -> None:
        self.count += 1
        if self.count == self.cancel_after:
            self.scope.cancel()
        if isinstance(event, alloy.Retracted):
            self.events = [one for one in self.events if not event.first <= one.seq <= event.last]
        if event.parent_call_id is None:
            self.events.append(event)

    def transcript(self, before: Sequence[alloy.Message], pending: dict[str, str]) -> list[alloy.Message]:
        """What there was, and what these events have made of it."""
        messages = list(before)
        for event in self.events:
            match event:
                case alloy.MessageAdded() | alloy.MessageFinished():
                    messages.append(event.message)
                case alloy.ApprovalDecided(pending_id=pending_id, decision=alloy.Edit(arguments)) if (
                    pending_id in pending
                ):
                    messages[-1] = with_arguments(messages[-1], pending[pending_id], arguments)
        return messages


def with_arguments(message: alloy.Message, call_id: str, arguments: Any) -> alloy.Message:
    assert isinstance(message, alloy.AssistantMessage)
    content = [
        attrs.evolve(item, arguments=arguments, arguments_text="")
        if isinstance(item, alloy.ToolCall) and item.id == call_id
        else item
        for item in message.content
    ]
    return attrs.evolve(message, content=content)


def plain(messages: Sequence[alloy.Message]) -> list[Any]:
    """Messages, without the ids of those that tell what became of open calls: they are made anew each time."""
    return [m.results if isinstance(m, alloy.ToolMessage) else m for m in messages]


async def recovered(store: Store, session_id: str) -> Recovered:
    return fold(await store.entries(session_id)) if session_id in await store.sessions() else Recovered()


async def play(inner: MemoryStore, session_id: str, operation: dict[str, Any]) -> str:
    """Do one thing to a session, and check what came of it; returns the id of the session to go on with."""
    before = await recovered(inner, session_id)
    if operation["how"] == "fork":
        if not (there := await inner.entries(session_id) if session_id in await inner.sessions() else ()):
            return session_id
        at = None if operation["at"] is None else there[operation["at"] % len(there)].id
        forked = await inner.fork(session_id, at=at)
        made = await recovered(inner, forked)
        assert made.run is None
        assert at is not None or plain(made.messages) == plain(before.messages)
        return forked

    agent, models = agent_for(operation)
    scope, life = trio.CancelScope(), trio.CancelScope()
    watched = Watched(operation["cancel_after"], scope)
    store = CrashingStore(inner, operation["crash"], life.cancel if operation["crash_cancels"] else lambda: None)
    result: alloy.Result[Any] | None = None
    goes_on = operation["how"] == "resume"
    with life, scope, trio.move_on_after(1000):  # for an answer that never comes
        try:
            if goes_on:
                ids = [pending.pending_id for pending in before.pending]
                decided: dict[str, Decision] = {
                    pending_id: decision
                    for pending_id, decision in zip(ids, operation["decisions"], strict=False)
                    if decision is not None
                }
                result = await alloy.resume(store, session_id, agent, decisions=decided, on_event=watched)
            else:
                given = [alloy.UserMessage(f"said before {number}") for number in range(operation["given"])]
                result = await alloy.run(
                    operation["prompt"], agent, store=store, session_id=session_id, history=given, on_event=watched
                )
        except alloy.AlloyError as error:
            if isinstance(error, alloy.Fenced):
                raise
            result = error.result
        except ValueError as error:
            if not any(text in str(error) for text in ("nothing to go on with", "do not fit", "nothing to send")):
                raise

    for model in models:
        for request in model.requests:
            assert_sendable(request.messages)
    after = await recovered(inner, session_id)
    assert_sendable(after.messages)
    known = before.transcript[:-1] if before.run is not None and before.run.calls else before.transcript
    assert after.transcript[: len(known)] == known
    if store.is_dead:
        return session_id
    if result is not None and result.status is alloy.Status.PAUSED:
        assert {pending.id for pending in result.pending} == {pending.pending_id for pending in after.pending}
    elif result is not None:
        assert after.run is None
        assert not after.pending
    if result is not None and result.status is alloy.Status.PAUSED:  # a call that was unwound is told in other words
        assert plain(after.messages[:-1]) == plain(result.messages[:-1])
    elif result is not None:
        assert plain(after.messages) == plain(result.messages)
    if watched.events and isinstance(watched.events[-1], alloy.RunFinished):  # else they were cut off as well
        was = before.transcript if goes_on and before.run is not None else before.messages
        given_now = [] if goes_on else given
        pending = {asked.pending_id: asked.call_id for asked in before.pending}
        transcript = watched.transcript([*was, *given_now], pending)
        told, stored = plain(sendable(transcript)), plain(after.messages)
        is_open = after.run is not None and bool(after.run.calls)
        assert told[:-1] == stored[:-1] if is_open else told == stored
    return session_id


@pytest.mark.works(
    "Whatever happens to a session – crashes, pauses, forks – it can be sent to every vendor, and is as told"
)
@pytest.mark.parametrize("examples", [60, pytest.param(2500, marks=pytest.mark.slow)])
def test_whatever_happens_to_a_session_it_can_be_sent_and_is_as_told(examples: int) -> None:
    @settings(max_examples=examples)
    @given(st.lists(an_operation, min_size=1, max_size=5))
    def session(operations: list[dict[str, Any]]) -> None:
        async def main() -> None:
            session_id = "s"
            async with MemoryStore() as store:
                for operation in operations:
                    session_id = await play(store, session_id, operation)

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))

    session()
