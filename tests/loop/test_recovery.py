"""What entries come to: told as stories, and cut anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from alloy import (
    AssistantMessage,
    Outcome,
    StopInfo,
    StopReason,
    Text,
    ToolCall,
    ToolMessage,
    ToolResult,
    Usage,
    UserMessage,
)
from alloy.llm.history import sendable
from alloy.llm.message import Message
from alloy.loop.journal import Entry, entry
from alloy.loop.records import (
    Accepted,
    Answered,
    Asked,
    AskFailed,
    BatchClosed,
    CallPending,
    CallSettled,
    CallStarted,
    CompactionDone,
    Decided,
    Described,
    Forked,
    HandedOver,
    HistoryGiven,
    Labelled,
    ModelChanged,
    Record,
    RunBegun,
    RunEnded,
    Said,
    Withdrawn,
)
from alloy.loop.recovery import Recovered, StoredCall, fold
from loop.test_records import records

ONE = ToolCall("call_1", "read", {"path": "a"})
TWO = ToolCall("call_2", "write", {"path": "b"})
USAGE = Usage(input_tokens=10, output_tokens=2)


def chained(records: Sequence[Record]) -> list[Entry]:
    """Entries of which each follows the one before it."""
    made: list[Entry] = []
    for record in records:
        made.append(entry(record, made[-1].id if made else None))
    return made


def told(*records: Record) -> Recovered:
    return fold(chained(records))


def user(text: str, source: str = "user") -> UserMessage:
    return UserMessage(text, source=source, id=f"msg_{text}")  # type: ignore[arg-type]  # one of the sources


def answer(*calls: ToolCall, id: str = "msg_answer") -> AssistantMessage:
    reason = StopReason.TOOL_USE if calls else StopReason.END_TURN
    return AssistantMessage(calls or "Done.", stop=StopInfo(reason), usage=USAGE, id=id)


def done(call: ToolCall, text: str = "done") -> CallSettled:
    return CallSettled(run_id="r", call_id=call.id, result=ToolResult(text, call_id=call.id, name=call.name))


BEGUN = RunBegun(run_id="r", agent="coder", agent_path=("coder",))
SAID = Said(run_id="r", message=user("Go"))
ANSWERED = Answered(run_id="r", turn=1, message=answer(ONE, TWO), model="scripted:x")


def outcomes(messages: Sequence[Message]) -> list[Outcome]:
    """Of the results that the last message holds."""
    last = messages[-1]
    assert isinstance(last, ToolMessage)
    return [result.outcome for result in last.results]


def test_nothing_comes_to_nothing() -> None:
    assert told() == Recovered()


def test_a_run_cut_after_its_prompt_is_under_way() -> None:
    recovered = told(BEGUN, SAID, Asked(run_id="r", turn=1, model="scripted:x"))

    assert recovered.messages == (user("Go"),)
    assert recovered.run is not None
    assert (recovered.run.agent, recovered.run.turn, recovered.run.asked) == (
        "coder",
        0,
        Asked(run_id="r", turn=1, model="scripted:x"),
    )


def test_of_the_calls_of_a_cut_batch_each_is_known_for_what_it_was() -> None:
    recovered = told(
        BEGUN,
        SAID,
        ANSWERED,
        CallStarted(run_id="r", call_id="call_1"),
        done(ONE),
        CallStarted(run_id="r", call_id="call_2", replay="safe"),
    )

    assert recovered.run is not None
    one, two = recovered.run.calls
    assert (one.is_unknown, two.is_unknown) == (False, True)
    assert one.result().text == "done"
    assert two.started is not None
    assert two.started.replay == "safe"
    assert outcomes(recovered.messages) == [Outcome.OK, Outcome.INTERRUPTED]
    assert recovered.transcript == (user("Go"), answer(ONE, TWO))  # stays open, for who goes on with it


def test_calls_that_never_started_say_so() -> None:
    assert outcomes(told(BEGUN, SAID, ANSWERED).messages) == [Outcome.NOT_STARTED, Outcome.NOT_STARTED]


def test_a_closed_batch_is_the_message_that_it_was() -> None:
    recovered = told(BEGUN, SAID, ANSWERED, done(TWO, "two"), done(ONE, "one"), BatchClosed(run_id="r", message_id="m"))

    results = [done(ONE, "one").result, done(TWO, "two").result]
    assert recovered.messages == (user("Go"), answer(ONE, TWO), ToolMessage(results, id="m"))
    assert recovered.run is not None
    assert recovered.run.calls == ()
    assert [call.call for call in recovered.run.former_calls] == [ONE, TWO]


def test_the_first_result_of_a_call_counts() -> None:
    started = CallStarted(run_id="r", call_id=ONE.id)
    recovered = told(BEGUN, SAID, ANSWERED, started, done(ONE, "first"), done(ONE, "second"))

    assert recovered.run is not None
    assert recovered.run.calls[0].result().text == "first"


def test_of_a_call_that_never_started_the_last_result_counts() -> None:
    recovered = told(BEGUN, SAID, ANSWERED, done(ONE, "blocked"), done(ONE, "as a hook has it"))

    assert recovered.run is not None
    assert recovered.run.calls[0].result().text == "as a hook has it"


def test_results_that_were_never_stored_have_the_same_id_each_time() -> None:
    entries = chained([BEGUN, SAID, ANSWERED])

    assert fold(entries).messages == fold(entries).messages


def test_pending_calls_are_open_until_they_are_decided() -> None:
    asks = [
        CallPending(run_id="r", call_id=call.id, pending_id=f"pen_{call.id}", question="May it?") for call in (ONE, TWO)
    ]
    waiting = [BEGUN, SAID, ANSWERED, *asks]

    assert told(*waiting).pending == tuple(asks)
    assert told(*waiting, Decided(pending_id="pen_call_2", verdict="approve")).pending == (asks[0],)
    settled = told(
        *waiting,
        Decided(pending_id="pen_call_2", verdict="approve"),
        Decided(pending_id="pen_call_1", verdict="deny", text="no"),
    )
    assert settled.pending == ()
    assert settled.run is not None
    assert [call.decided.verdict for call in settled.run.calls if call.decided] == ["deny", "approve"]
    assert outcomes(settled.messages) == [Outcome.NOT_STARTED, Outcome.NOT_STARTED]


def test_the_first_decision_counts() -> None:
    ask = CallPending(run_id="r", call_id="call_1", pending_id="p")
    recovered = told(
        BEGUN,
        SAID,
        ANSWERED,
        ask,
        Decided(pending_id="p", verdict="deny"),
        Decided(pending_id="p", verdict="edit", arguments={"path": "c"}),
    )

    assert recovered.run is not None
    assert recovered.run.calls[0].decided == Decided(pending_id="p", verdict="deny")
    assert recovered.run.calls[0].call == ONE


def test_the_history_shows_a_call_that_was_edited_when_it_was_decided() -> None:
    recovered = told(
        BEGUN,
        SAID,
        ANSWERED,
        CallPending(run_id="r", call_id="call_1", pending_id="p"),
        Decided(pending_id="p", verdict="edit", arguments={"path": "c"}),
        done(ONE),
        done(TWO),
        BatchClosed(run_id="r", message_id="m"),
    )

    edited = attrs.evolve(ONE, arguments={"path": "c"})
    assert recovered.messages[1] == answer(edited, TWO)
    assert recovered.run is not None
    assert recovered.run.former_calls[0].edited_from == {"path": "a"}


def test_a_call_that_a_hook_edited_keeps_what_was_asked_for() -> None:
    recovered = told(BEGUN, SAID, attrs.evolve(ANSWERED, edited_from={"call_2": {"path": "z"}}))

    assert recovered.run is not None
    assert [call.edited_from for call in recovered.run.calls] == [None, {"path": "z"}]


def test_an_ended_run_is_not_under_way_and_its_request_is_done() -> None:
    begun = attrs.evolve(BEGUN, request_id="req")
    end = RunEnded(run_id="r", status="completed", usage=USAGE)
    recovered = told(
        Accepted(message=user("Go"), request_id="req"), begun, SAID, Answered(run_id="r", turn=1, message=answer()), end
    )

    assert recovered.run is None
    assert recovered.queue == ()
    assert recovered.requests == {"req": end}
    assert recovered.usage == USAGE


def test_a_run_that_never_ended_is_over_when_the_next_one_begins() -> None:
    recovered = told(BEGUN, SAID, ANSWERED, RunBegun(run_id="r2", agent="b"), Said(run_id="r2", message=user("Again")))

    assert recovered.run is not None
    assert recovered.run.begun.run_id == "r2"
    assert recovered.run.first == 3
    assert recovered.run.messages == (user("Again"),)
    assert recovered.runs["r"].messages == recovered.messages[:3]
    assert not recovered.runs["r"].is_under_way
    assert sendable(recovered.messages) == recovered.messages
    assert recovered.messages[-1] == user("Again")


def test_requests_wait_in_order_until_a_run_begins_or_they_are_withdrawn() -> None:
    asked = [Accepted(message=user(text), request_id=text) for text in ("a", "b", "c")]

    assert told(*asked).queue == tuple(asked)
    assert told(*asked, RunBegun(run_id="r", agent="x", request_id="a")).queue == tuple(asked[1:])
    assert told(*asked, Withdrawn(ids=("b",))).queue == (asked[0], asked[2])
    assert told(*asked, RunEnded(run_id="", status="error", request_id="c")).queue == tuple(asked[:2])


def test_what_was_said_to_a_run_waits_until_it_is_part_of_it() -> None:
    quick = Accepted(message=user("Quick", "steer"), how="steer")
    after = Accepted(message=user("After", "follow_up"), how="follow_up")

    assert told(BEGUN, SAID, quick, after).inputs == (quick, after)
    recovered = told(BEGUN, SAID, quick, after, Said(run_id="r", message=quick.message))
    assert recovered.inputs == (after,)
    assert recovered.messages == (user("Go"), quick.message)
    assert told(BEGUN, SAID, quick, after, Withdrawn(ids=(after.message.id,))).inputs == (quick,)


CHILD = RunBegun(run_id="c", agent="helper", agent_path=("coder", "helper"), parent_run_id="r", parent_call_id="call_1")


def test_a_run_inside_a_run_has_a_history_of_its_own() -> None:
    child_answer = answer(ToolCall("call_1", "look", {}), id="msg_child")
    recovered = told(
        BEGUN,
        SAID,
        ANSWERED,
        CallStarted(run_id="r", call_id="call_1"),
        CHILD,
        Said(run_id="c", message=user("Help")),
        Answered(run_id="c", turn=1, message=child_answer),
        CallPending(run_id="c", call_id="call_1", pending_id="p", agent_path=("coder", "helper")),
        attrs.evolve(CHILD, run_id="c2", n=1),
    )

    assert recovered.transcript == (user("Go"), answer(ONE, TWO))
    assert [run.begun.run_id for run in recovered.children("r", "call_1")] == ["c", "c2"]
    child = recovered.children("r", "call_1")[0]
    assert child.messages == (user("Help"), child_answer)
    assert child.is_under_way
    assert [pending.agent_path for pending in recovered.pending] == [("coder", "helper")]
    assert recovered.run is not None
    assert recovered.run.calls[0].is_unknown


def test_the_usage_of_runs_inside_a_run_is_counted_once() -> None:
    story = [
        BEGUN,
        SAID,
        ANSWERED,
        CHILD,
        Answered(run_id="c", turn=1, message=answer(id="msg_c")),
        AskFailed(run_id="c", turn=2, error="x", usage=USAGE),
        attrs.evolve(CHILD, run_id="g", parent_run_id="c"),
        Answered(run_id="g", turn=1, message=answer(id="msg_g")),
    ]
    once = attrs.evolve(USAGE, requests=1)

    assert told(*story).usage == once + once + once + USAGE
    both = once + once + USAGE
    assert told(*story, RunEnded(run_id="c", status="completed", usage=both)).usage == once + both
    total = once + both
    end = [RunEnded(run_id="c", status="completed", usage=both), RunEnded(run_id="r", status="completed", usage=total)]
    assert told(*story, *end).usage == total


def test_the_first_end_of_a_run_counts() -> None:
    first = RunEnded(run_id="r", status="completed", usage=USAGE)
    recovered = told(BEGUN, SAID, first, attrs.evolve(first, status="error"))

    assert recovered.runs["r"].ended == first
    assert recovered.usage == USAGE


def test_nothing_is_under_way_in_a_copy() -> None:
    recovered = told(
        Accepted(message=user("a"), request_id="a"),
        BEGUN,
        SAID,
        ANSWERED,
        CallStarted(run_id="r", call_id="call_1"),
        Accepted(message=user("Quick", "steer"), how="steer"),
        Forked(session_id="s", entry_id="e"),
    )

    assert (recovered.run, recovered.queue, recovered.inputs, recovered.pending) == (None, (), (), ())
    assert outcomes(recovered.messages) == [Outcome.INTERRUPTED, Outcome.NOT_STARTED]


def test_a_hand_over_changes_who_goes_on() -> None:
    recovered = told(BEGUN, SAID, HandedOver(run_id="r", agent="writer", agent_path=("writer",)))

    assert recovered.run is not None
    assert (recovered.run.agent, recovered.run.agent_path, recovered.run.begun.agent) == (
        "writer",
        ("writer",),
        "coder",
    )


def test_compactions_belong_to_their_history() -> None:
    mine, its = CompactionDone(run_id="r", summary="mine"), CompactionDone(run_id="c", summary="its")
    recovered = told(BEGUN, SAID, ANSWERED, CHILD, mine, its)

    assert recovered.compaction == mine
    assert recovered.runs["c"].compaction == its
    assert told(CompactionDone(summary="none")).compaction == CompactionDone(summary="none")


def test_metadata_labels_and_model_are_those_set_last() -> None:
    recovered = told(
        Described(metadata={"a": 1}),
        Described(metadata={"b": 2}),
        Labelled(entry_id="1", label="x"),
        Labelled(entry_id="2", label="y"),
        Labelled(entry_id="3", label="x"),
        Labelled(entry_id="2", label=""),
        ModelChanged(model="m"),
        ModelChanged(model="n"),
    )

    assert recovered.metadata == {"b": 2}
    assert recovered.labels == {"x": "3"}
    assert recovered.model == "n"


def test_another_branch_has_another_conversation_and_the_same_queue() -> None:
    entries = chained([HistoryGiven(messages=(user("Hello"),)), BEGUN, SAID, ANSWERED, ModelChanged(model="m")])
    waits = Accepted(message=user("Later"), request_id="later")
    entries += [entry(waits, entries[-1].id), entry(Described(metadata={"a": 1}), entries[0].id)]

    recovered = fold(entries)

    assert recovered.messages == (user("Hello"),)
    assert recovered.run is None
    assert recovered.model == ""
    assert recovered.queue == (waits,)
    assert recovered.usage.requests == 1


def test_a_new_root_begins_a_new_conversation() -> None:
    entries = chained(
        [BEGUN, SAID, Answered(run_id="r", turn=1, message=answer()), RunEnded(run_id="r", status="completed")]
    )
    entries.append(entry(Described(), None))

    assert fold(entries).messages == ()


@given(st.lists(st.tuples(records, st.integers(0, 10)), max_size=12))
def test_any_records_in_any_order_come_to_something_that_can_be_sent(made: list[tuple[Record, int]]) -> None:
    entries: list[Entry] = []
    for record, back in made:
        entries.append(entry(record, entries[-1 - back % len(entries)].id if entries else None))

    recovered = fold(entries)

    assert sendable(recovered.messages) == recovered.messages
    assert fold(entries) == recovered


# A session as a loop writes it, with what it means kept beside.


@attrs.define
class Meant:
    """What a session should come to."""

    said: list[str] = attrs.field(factory=list)
    queue: list[str] = attrs.field(factory=list)
    inputs: list[str] = attrs.field(factory=list)
    requests: list[str] = attrs.field(factory=list)
    run: str = ""
    open: dict[str, str] = attrs.field(factory=dict)  # by call: new, pending, decided, started, settled
    ran: int = 0


@st.composite
def sessions(draw: st.DrawFn) -> list[tuple[Record, Meant]]:
    """Records, each with what it and those before it should come to."""
    meant, made = Meant(), []

    def write(record: Record) -> None:
        made.append((record, attrs.evolve(meant, **{f: type(v)(v) for f, v in attrs.asdict(meant).items()})))

    for number in range(draw(st.integers(1, 40))):
        idle, states = not meant.run, list(meant.open.values())
        steps = ["request", "withdraw", "steer"]
        if idle:
            steps += ["begin"] * 3
        elif not meant.open:
            steps += ["answer"] * 4 + ["hear", "end"]
        elif all(state == "settled" for state in states):
            steps += ["close"] * 4
        elif "pending" in states:
            steps += ["decide"] * 4
        else:
            steps += ["start", "settle"] * 4
        match draw(st.sampled_from(steps)):
            case "request":
                meant.queue.append(f"req_{number}")
                write(Accepted(message=user(f"r{number}"), request_id=f"req_{number}"))
            case "steer" if not idle:
                meant.inputs.append(f"s{number}")
                write(Accepted(message=user(f"s{number}", "steer"), how="steer"))
            case "withdraw" if meant.queue:
                write_id = meant.queue.pop(draw(st.integers(0, len(meant.queue) - 1)))
                write(Withdrawn(ids=(write_id,)))
            case "begin":
                request = meant.queue.pop(0) if meant.queue else ""
                meant.run = f"run_{number}"
                write(RunBegun(run_id=meant.run, agent="x", request_id=request))
                meant.said.append(f"p{number}")
                write(Said(run_id=meant.run, message=user(f"p{number}")))
            case "hear" if meant.inputs:
                text = meant.inputs.pop(0)
                meant.said.append(text)
                write(Said(run_id=meant.run, message=user(text, "steer")))
            case "answer":
                calls = [ToolCall(f"call_{number}_{n}", "read", {}) for n in range(draw(st.integers(0, 3)))]
                meant.said.append(f"a{number}")
                message = AssistantMessage([Text(f"a{number}"), *calls], stop=StopInfo(StopReason.TOOL_USE))
                meant.open = {call.id: "new" for call in calls}
                write(Answered(run_id=meant.run, turn=number, message=message))
                for call in calls:
                    if draw(st.booleans()):
                        meant.open[call.id] = "pending"
                        write(CallPending(run_id=meant.run, call_id=call.id, pending_id=f"p_{call.id}"))
            case "decide":
                call_id = draw(st.sampled_from([call for call, state in meant.open.items() if state == "pending"]))
                meant.open[call_id] = "decided"
                write(Decided(pending_id=f"p_{call_id}", verdict=draw(st.sampled_from(["approve", "deny", "edit"]))))
            case "start":
                for call_id in [call for call, state in meant.open.items() if state in ("new", "decided")][:1]:
                    meant.open[call_id] = "started"
                    write(CallStarted(run_id=meant.run, call_id=call_id))
            case "settle":
                for call_id in [call for call, state in meant.open.items() if state == "started"][:1]:
                    meant.open[call_id] = "settled"
                    meant.ran += 1
                    result = ToolResult("ran", call_id=call_id, name="read")
                    write(CallSettled(run_id=meant.run, call_id=call_id, result=result))
            case "close":
                meant.open = {}
                write(BatchClosed(run_id=meant.run, message_id=f"t{number}"))
            case "end":
                write_run, meant.run = meant.run, ""
                begun = next(r for r, _ in made if isinstance(r, RunBegun) and r.run_id == write_run)
                meant.requests += [begun.request_id] if begun.request_id else []
                write(RunEnded(run_id=write_run, status="completed"))
    return made


@settings(max_examples=60)
@given(sessions())
def test_a_session_cut_after_any_entry_comes_to_what_it_means(made: list[tuple[Record, Meant]]) -> None:
    entries = chained([record for record, _ in made])
    for place, (_, meant) in enumerate(made, 1):
        recovered = fold(entries[:place])

        assert sendable(recovered.messages) == recovered.messages
        assert [m.text for m in recovered.messages if not isinstance(m, ToolMessage)] == meant.said
        assert [request.request_id for request in recovered.queue] == meant.queue
        assert [waits.message.text for waits in recovered.inputs] == meant.inputs
        assert list(recovered.requests) == meant.requests
        assert (recovered.run.begun.run_id if recovered.run else "") == meant.run
        calls = recovered.run.calls if recovered.run else ()
        assert {call.call.id: state_of(call) for call in calls} == meant.open
        waiting = [call_id for call_id, state in meant.open.items() if state == "pending"]
        assert [pending.call_id for pending in recovered.pending] == waiting
        results = [r.text for m in recovered.messages if isinstance(m, ToolMessage) for r in m.results]
        assert results.count("ran") == meant.ran


def state_of(call: StoredCall) -> str:
    if call.settled is not None:
        return "settled"
    return "started" if call.is_unknown else "pending" if call.waits else "decided" if call.decided else "new"
