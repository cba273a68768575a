"""What may be asked for at all: the tables of what specs, supervisors and back-offs accept."""

from __future__ import annotations

import math
import pkgutil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alloy import errors, otp
from otp.servers import Worker, worker

GOOD_SPECS: list[dict[str, Any]] = [
    {},
    {"id": ("a", 1)},
    {"restart": "transient"},
    {"restart": otp.Restart.TEMPORARY},
    {"shutdown": 0},
    {"shutdown": 2.5},
    {"shutdown": math.inf},
    {"shutdown": "brutal_kill"},
    {"restart": "transient", "significant": True},
    {"restart": "temporary", "significant": True},
    {"mailbox": 1},
    {"start_timeout": 0.5},
    {"start_timeout": math.inf},
    {"keep_mailbox": True, "poison_limit": 1},
]

BAD_SPECS: list[tuple[dict[str, Any], str]] = [
    ({"restart": "sometimes"}, "restart"),
    ({"shutdown": -1}, "shutdown"),
    ({"shutdown": "brutal"}, "shutdown"),
    ({"shutdown": math.nan}, "shutdown"),
    ({"significant": True}, "significant"),
    ({"mailbox": 0}, "mailbox"),
    ({"mailbox": -1}, "mailbox"),
    ({"mailbox": "large"}, "mailbox"),
    ({"start_timeout": -1}, "start_timeout"),
    ({"start": "Worker"}, "start"),
    ({"start": Worker()}, "start"),
    ({"poison_limit": 0}, "poison_limit"),
    ({"id": []}, "id"),
]


@pytest.mark.parametrize("fields", GOOD_SPECS, ids=str)
def test_a_spec_accepts(fields: dict[str, Any]) -> None:
    spec = otp.ChildSpec(**{"start": Worker, **fields})

    assert {name: getattr(spec, name) for name in fields} == fields


@pytest.mark.parametrize(("fields", "name"), BAD_SPECS, ids=str)
def test_a_spec_refuses_and_names_the_field(fields: dict[str, Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        otp.ChildSpec(**{"start": Worker, **fields})


@pytest.mark.parametrize(("field", "value"), [("shutdown", -1), ("mailbox", 0), ("restart", "sometimes")])
def test_a_refusal_shows_the_value(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=repr(value)):
        otp.ChildSpec(**{"start": Worker, field: value})  # type: ignore[arg-type]  # on purpose


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(TypeError, match="restrat"):
        otp.ChildSpec(start=Worker, restrat="transient")  # type: ignore[call-arg]  # on purpose


def test_the_defaults_of_a_spec_are_those_of_otp() -> None:
    spec = otp.ChildSpec(start=Worker)

    assert (spec.restart, spec.significant, spec.mailbox) == ("permanent", False, 1024)
    assert (spec.start_timeout, spec.keep_mailbox, spec.poison_limit) == (math.inf, False, 2)


GOOD_SUPERVISORS: list[dict[str, Any]] = [
    {},
    {"strategy": "rest_for_one"},
    {"strategy": otp.Strategy.ONE_FOR_ALL},
    {"max_restarts": 0},
    {"max_seconds": 0.5},
    {"auto_shutdown": "any_significant", "children": [worker("a", restart="transient", significant=True)]},
    {"auto_shutdown": "all_significant"},
    {"children": [worker("a"), worker("b")]},
]

BAD_SUPERVISORS: list[tuple[dict[str, Any], str]] = [
    ({"strategy": "one_for_none"}, "strategy"),
    ({"strategy": "simple_one_for_one"}, "strategy"),
    ({"max_restarts": -1}, "max_restarts"),
    ({"max_restarts": 1.5}, "max_restarts"),
    ({"max_restarts": math.inf}, "max_restarts"),
    ({"max_restarts": "3"}, "max_restarts"),
    ({"max_seconds": 0}, "max_seconds"),
    ({"max_seconds": -5}, "max_seconds"),
    ({"max_seconds": math.inf}, "max_seconds"),
    ({"auto_shutdown": "always"}, "auto_shutdown"),
    ({"children": [worker("twin"), worker("twin")]}, "twin"),
    ({"children": [Worker]}, "children"),
    ({"children": [worker("a", restart="transient", significant=True)]}, "significant"),
]


@pytest.mark.parametrize("fields", GOOD_SUPERVISORS, ids=lambda fields: ",".join(fields) or "defaults")
def test_a_supervisor_accepts(fields: dict[str, Any]) -> None:
    supervisor = otp.Supervisor(**fields)

    assert {name: getattr(supervisor, name) for name in fields if name != "children"} == {
        name: value for name, value in fields.items() if name != "children"
    }


@pytest.mark.parametrize(
    ("fields", "name"), BAD_SUPERVISORS, ids=lambda value: value if isinstance(value, str) else "-"
)
def test_a_supervisor_refuses_and_names_what(fields: dict[str, Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        otp.Supervisor(**fields)


def test_the_defaults_of_a_supervisor_are_those_of_elixir() -> None:
    supervisor = otp.Supervisor()

    assert (supervisor.strategy, supervisor.max_restarts, supervisor.max_seconds) == ("one_for_one", 3, 5)
    assert (supervisor.auto_shutdown, supervisor.backoff) == ("never", None)


BAD_BACKOFFS: list[tuple[dict[str, Any], str]] = [
    ({"base": 0}, "base"),
    ({"base": -1}, "base"),
    ({"base": 2, "cap": 1}, "cap"),
    ({"jitter": -0.1}, "jitter"),
    ({"base": math.nan}, "base"),
]


@pytest.mark.parametrize(("fields", "name"), BAD_BACKOFFS, ids=str)
def test_a_back_off_refuses_and_names_the_field(fields: dict[str, Any], name: str) -> None:
    with pytest.raises((ValueError, TypeError), match=name):
        otp.Backoff(**fields)


@pytest.mark.parametrize(
    ("backoff", "max_restarts", "max_seconds", "accepted"),
    [
        ((0.1, 30), 3, 5, True),  # gives up after a second or two
        ((2, 30), 3, 5, False),  # never does: 123 crashes an hour, for ever
        ((2, 30), 3, 60, True),
        ((1, 30), 10, 300, True),
        ((0.5, 30), 5, 60, True),  # what agents use
        ((10, 10), 3, 5, False),
        ((1, 1), 3, 5, True),
        ((30, 30), 0, 5, True),  # gives up at once, without any delay
    ],
)
def test_a_back_off_with_which_the_supervisor_could_never_give_up_is_refused(
    backoff: tuple[float, float], max_restarts: int, max_seconds: float, accepted: bool
) -> None:
    base, cap = backoff

    def make() -> otp.Supervisor:
        pair = otp.Backoff(base=base, cap=cap, jitter=0)
        return otp.Supervisor(max_restarts=max_restarts, max_seconds=max_seconds, backoff=pair)

    if accepted:
        assert make().backoff is not None
    else:
        with pytest.raises(ValueError, match="backoff"):
            make()


@given(
    base=st.floats(0.01, 10),
    factor=st.floats(1, 100),
    max_restarts=st.integers(1, 10),
    max_seconds=st.floats(1, 600),
)
@settings(deadline=None)
def test_a_back_off_is_accepted_if_its_delays_are_well_inside_the_window_and_refused_if_well_outside(
    base: float, factor: float, max_restarts: int, max_seconds: float
) -> None:
    cap = base * factor
    delays = [min(cap, base * 2**number) for number in range(max_restarts + 1)]
    pair = otp.Backoff(base=base, cap=cap, jitter=0)

    def make() -> otp.Supervisor:
        return otp.Supervisor(max_restarts=max_restarts, max_seconds=max_seconds, backoff=pair)

    if sum(delays) < max_seconds:
        assert make().backoff == pair
    elif sum(delays[:-1]) > max_seconds:
        with pytest.raises(ValueError, match="backoff"):
            make()


@pytest.mark.parametrize(
    "error",
    [
        "AlreadyRegistered",
        "CallTimeout",
        "ChildError",
        "Deadlock",
        "MailboxFull",
        "RestartIntensityExceeded",
        "ServerExited",
        "StartFailed",
        "SystemDown",
    ],
)
def test_every_error_is_one_of_otp_and_of_alloy(error: str) -> None:
    kind = getattr(otp, error)

    assert issubclass(kind, otp.OtpError)
    assert issubclass(kind, errors.AlloyError)


@pytest.mark.parametrize("signal", ["Stop", "Ignore"])
def test_what_a_callback_raises_on_purpose_is_no_error_of_alloy(signal: str) -> None:
    assert issubclass(getattr(otp, signal), Exception)
    assert not issubclass(getattr(otp, signal), errors.AlloyError)


def test_every_public_name_can_be_imported_and_stands_once() -> None:
    assert len(set(otp.__all__)) == len(otp.__all__)
    assert all(hasattr(otp, name) for name in otp.__all__)


def test_no_public_name_is_also_a_module() -> None:
    modules = {module.name for module in pkgutil.iter_modules(otp.__path__)}
    assert modules.isdisjoint(otp.__all__)


PROMISED = """
Normal Shutdown Killed Crash NoProcess ExitReason Down Exit Stop Ignore
OtpError ServerExited CallTimeout Deadlock MailboxFull StartFailed ChildError AlreadyRegistered
RestartIntensityExceeded SystemDown
Ref Address Via Request call cast send send_after stop exit monitor demonitor
link unlink self_ Monitor Timer ReplyTo
NO_REPLY Server Restart Strategy ShutdownPolicy ChildSpec Backoff ChildInfo Counts Supervisor
start_child terminate_child restart_child delete_child which_children count_children get_child_spec
DynamicSupervisor PartitionSupervisor Task TaskSupervisor Registry PubSub Lagged Joined Left
get_state replace_state peek suspend resume trace stack tree open_system run wait_down watch_events drain carried
ChildStarted ChildExited Restarting GaveUp Unkillable PoisonDropped ShutdownError SystemEvent
"""


def test_the_surface_is_complete() -> None:
    assert sorted(set(PROMISED.split()) - set(otp.__all__)) == []
