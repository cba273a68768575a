"""What the sessions of `check_store` are filled with. Pure."""

from __future__ import annotations

from alloy.llm.content import Text, ToolCall, ToolResult
from alloy.llm.message import AssistantMessage, StopInfo, StopReason, UserMessage, mint
from alloy.llm.usage import Usage
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
    Other,
    Record,
    RunBegun,
    RunEnded,
    Said,
    Withdrawn,
)

ODD_IDS = (
    "a",
    "A",
    "a/b",
    "a-b",
    "a b",
    "..",
    "../a",
    ".a",
    "con",
    "é",
    "e\u0301",
    "\U0001f600",
    "x" * 300,
    "x" * 301,
    "a\nb",
)
ODD_TEXT = '\ud800 \u2028 \x00 \r\n \U0001f600 \\ "'


def user(text: str) -> UserMessage:
    """A message with an id that a test can name."""
    return UserMessage(text, id=f"msg_{text[:8]}")


def answer(*calls: ToolCall, text: str = "Let me see.") -> AssistantMessage:
    """An answer that asks for calls, or none."""
    reason = StopReason.TOOL_USE if calls else StopReason.END_TURN
    usage = Usage(input_tokens=10, output_tokens=5)
    return AssistantMessage([Text(text), *calls], stop=StopInfo(reason), usage=usage, id=mint("msg"))


def story(run_id: str = "run_1") -> list[Record]:
    """A run with two calls, one of which is never settled."""
    one, two = ToolCall("call_1", "read", {"path": "a"}), ToolCall("call_2", "write", {"path": "b"})
    result = ToolResult("done", call_id="call_1", name="read")
    return [
        RunBegun(run_id=run_id, agent="coder", request_id="req_1"),
        Said(run_id=run_id, message=user("Go")),
        Asked(run_id=run_id, turn=1),
        Answered(run_id=run_id, turn=1, message=answer(one, two), model="scripted:x"),
        CallStarted(run_id=run_id, call_id="call_1"),
        CallSettled(run_id=run_id, call_id="call_1", result=result, duration=0.5),
        CallStarted(run_id=run_id, call_id="call_2", replay="safe"),
    ]


def one_of_each() -> list[Record]:
    """A record of each kind, with all of its fields, and one of a kind that is not known."""
    run = "run_0"
    return [
        HistoryGiven(messages=(user("Hello"), answer(text="Hello."))),
        *story(run),
        CallPending(
            run_id=run,
            call_id="call_2",
            pending_id="pen_1",
            ask="approval",
            question=ODD_TEXT,
            agent_path=("a", "b"),
            created_at=1.5,
            expires_at=2.5,
        ),
        Decided(pending_id="pen_1", verdict="edit", arguments={"path": ODD_TEXT}, text="why", by="me"),
        BatchClosed(run_id=run, message_id="msg_results"),
        AskFailed(run_id=run, turn=2, error="Overloaded: try later", usage=Usage(input_tokens=3)),
        HandedOver(run_id=run, agent="other", agent_path=("other",)),
        CompactionDone(run_id=run, summary="short", kept_from="msg_Go", cleared=("call_1",), tokens_before=9),
        RunEnded(run_id=run, status="error", error={"type": "Overloaded", "message": "later"}, output={"a": [1, None]}),
        Accepted(message=user("Later"), how="request", request_id="req_2", options={"max_turns": 3}),
        Accepted(message=user("Quick"), how="steer"),
        Withdrawn(ids=("req_2",)),
        ModelChanged(model="scripted:y"),
        Described(metadata={"title": ODD_TEXT, "n": 1.5, "deep": {"list": [True, None]}}),
        Labelled(entry_id="ent_x", label="here"),
        Forked(session_id="ses_x", entry_id="ent_x"),
        Other(data={"kind": "of_another_day", "v": 7, "text": ODD_TEXT}),
    ]
