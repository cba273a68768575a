"""What users may import: every package's `__all__`, and the names that the API promises."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

import pytest

import alloy

ALLOY = Path(alloy.__file__).parent
PACKAGES = ["alloy", *sorted(f"alloy.{path.parent.name}" for path in ALLOY.glob("*/__init__.py"))]

PROMISED = {
    "alloy": """
        Agent run stream run_sync resume recover Result model HTTP Limiter Form
        tool ToolContext ToolError ToolRetry Fatal as_tool handoff_to
        Middleware Block Edit Halt Ask Continue Logging Telemetry ApproveTools Budget
        open_agent agent_child AgentRef Team team_child schedule_child to_json from_json
        Text Thinking ToolCall Image Document Audio Video ServerTool Unknown CacheMark Media ToolResult Outcome Origin
        Opaque Citation UserMessage AssistantMessage ToolMessage Message Prompt StopReason StopInfo Usage Request Tool
        Status RunInfo ToolCallRecord Pending Approve Deny Answer Decision Session Health Limits Rate Retry Timeouts
        Compaction Settings Stream Model
        Event RunStarted TurnStarted MessageAdded MessageFinished TextDelta ThinkingDelta ToolCallDelta ToolStarted
        ToolProgress ToolFinished Retrying FellBack Retracted Notice Compacted ApprovalRequested ApprovalDecided
        BudgetWarning TurnFinished RunFinished Lagged Subscription
        AlloyError ProviderError AuthError MissingKey NotFound BadRequest ContextTooLong RequestTooLarge ContentRejected
        StaleReasoning RateLimited QuotaExhausted Overloaded ServerError ConnectFailed ReadTimeout StreamTruncated
        ProtocolError UnsupportedFeature HookError OutputMissing RunIncomplete UnpricedModel Busy QueueFull
        UnknownRequest UnknownMember DelegationTooDeep StoreError Fenced UnknownSession CorruptStore UnknownVersion
    """,
    "alloy.tools": "read_file write_file edit_file bash core_tools",
    "alloy.otp": """
        Normal Shutdown Killed Crash NoProcess ExitReason Down Exit Stop Ignore Ref Address Via Request Monitor Timer
        ReplyTo NO_REPLY Server Restart Strategy ShutdownPolicy ChildSpec Backoff ChildInfo Counts Supervisor
        DynamicSupervisor PartitionSupervisor Task TaskSupervisor Registry PubSub Lagged
        call cast send send_after stop exit monitor demonitor link unlink self_ wait_down
        start_child terminate_child restart_child delete_child which_children count_children get_child_spec
        get_state replace_state peek suspend resume trace stack tree watch_events drain carried open_system run
        SystemEvent ChildStarted ChildExited Restarting GaveUp Unkillable PoisonDropped
        OtpError ServerExited CallTimeout Deadlock MailboxFull StartFailed ChildError AlreadyRegistered
        RestartIntensityExceeded SystemDown
    """,
    "alloy.stores": "MemoryStore JSONLStore SQLiteStore",
    "alloy.testing": """
        ScriptedModel says calls calls_raw fails hangs cuts auto_model offline check_dialect check_store replay
    """,
}


def exported(package: str) -> list[str]:
    """Return the package's `__all__`, empty for a package that nothing is built of yet."""
    return list(getattr(importlib.import_module(package), "__all__", ()))


def in_order(names: Iterable[str]) -> list[str]:
    """Sort as ruff's RUF022 does: CONSTANTS, Classes, functions; digits within a name count as numbers."""

    def key(name: str) -> tuple[int, list[tuple[int, int | str]]]:
        kind = 0 if len(name) > 1 and name.isupper() else 1 if name[0].isupper() else 2
        return kind, [(0, int(part)) if part.isdigit() else (1, part) for part in re.findall(r"\d+|\D+", name)]

    return sorted(names, key=key)


def public_names(module: ModuleType) -> set[str]:
    """Return the public names of a package that stand for something of alloy's own."""
    return {
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and str(getattr(value, "__module__", "")).startswith("alloy.")
    }


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_sorted_and_names_nothing_twice(package: str) -> None:
    names = exported(package)

    assert names == in_order(set(names))


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_complete(package: str) -> None:
    assert public_names(importlib.import_module(package)) <= set(exported(package))


@pytest.mark.parametrize("package", PACKAGES)
def test_every_name_in_all_is_there(package: str) -> None:
    module = importlib.import_module(package)

    assert [name for name in exported(package) if not hasattr(module, name)] == []
    assert set(exported(package)) <= set(dir(module))


@pytest.mark.parametrize("package", PACKAGES)
def test_no_package_exports_the_name_of_one_of_its_submodules(package: str) -> None:
    folder = Path(str(importlib.import_module(package).__file__)).parent
    submodules = {path.stem for path in folder.glob("*.py")} | {
        path.parent.name for path in folder.glob("*/__init__.py")
    }

    assert submodules.isdisjoint(exported(package))


@pytest.mark.parametrize("package", PROMISED)
def test_every_promised_name_is_there(package: str) -> None:
    module = importlib.import_module(package)

    names = PROMISED[package].split()
    assert [name for name in names if name not in exported(package) or not hasattr(module, name)] == []


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        alloy.no_such_name  # noqa: B018
