"""The tree of errors, as the API promises it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import alloy
from alloy.errors import AlloyError, sole_error, unwrap

# name: (its parent, retryable); retryable is None for what is no ProviderError.
TREE: dict[str, tuple[str, bool | None]] = {
    "ProviderError": ("AlloyError", False),
    "AuthError": ("ProviderError", False),
    "MissingKey": ("AuthError", False),
    "NotFound": ("ProviderError", False),
    "BadRequest": ("ProviderError", False),
    "ContextTooLong": ("ProviderError", False),
    "RequestTooLarge": ("ProviderError", False),
    "ContentRejected": ("ProviderError", False),
    "StaleReasoning": ("ProviderError", False),
    "RateLimited": ("ProviderError", True),
    "QuotaExhausted": ("ProviderError", False),
    "Overloaded": ("ProviderError", True),
    "ServerError": ("ProviderError", True),
    "ConnectFailed": ("ProviderError", True),
    "ReadTimeout": ("ProviderError", True),
    "StreamTruncated": ("ProviderError", True),
    "ProtocolError": ("ProviderError", False),
    "UnsupportedFeature": ("ProviderError", False),
    "ToolError": ("AlloyError", None),
    "ToolRetry": ("ToolError", None),
    "Fatal": ("AlloyError", None),
    "HookError": ("AlloyError", None),
    "OutputMissing": ("AlloyError", None),
    "RunIncomplete": ("AlloyError", None),
    "UnpricedModel": ("AlloyError", None),
    "Busy": ("AlloyError", None),
    "QueueFull": ("AlloyError", None),
    "UnknownRequest": ("AlloyError", None),
    "UnknownMember": ("AlloyError", None),
    "DelegationTooDeep": ("AlloyError", None),
    "StoreError": ("AlloyError", None),
    "Fenced": ("StoreError", None),
    "UnknownSession": ("StoreError", None),
    "CorruptStore": ("StoreError", None),
    "UnknownVersion": ("StoreError", None),
    "OtpError": ("AlloyError", None),
    "ServerExited": ("OtpError", None),
    "CallTimeout": ("OtpError", None),
    "Deadlock": ("OtpError", None),
    "MailboxFull": ("OtpError", None),
    "StartFailed": ("OtpError", None),
    "ChildError": ("OtpError", None),
    "AlreadyRegistered": ("OtpError", None),
    "RestartIntensityExceeded": ("OtpError", None),
    "SystemDown": ("OtpError", None),
}
ALSO = {"CallTimeout": trio.TooSlowError, "UnknownMember": KeyError}

# Errors of ours that the API does not name, and why they are.
OURS: dict[str, str] = {
    "BudgetSpent": "ends a run with status budget, and is never seen outside of it",
    "CodecError": "from_json: data that to_json did not make; a ValueError as well",
}


def classes() -> Iterator[type[AlloyError]]:
    """Yield every error class of alloy that exists, each once."""
    for module in pkgutil.walk_packages([str(Path(alloy.__file__).parent)], "alloy."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    seen: set[type[AlloyError]] = set()
    todo = AlloyError.__subclasses__()
    while todo:
        cls = todo.pop()
        if cls not in seen and cls.__module__.startswith("alloy."):
            seen.add(cls)
            yield cls
        todo += cls.__subclasses__()


CLASSES = {cls.__name__: cls for cls in classes()}


def test_every_error_is_in_the_table() -> None:
    assert set(CLASSES) - set(TREE) == set(OURS)


@pytest.mark.parametrize("name", [name for name in TREE if name in CLASSES])
def test_an_error_stands_where_the_table_says(name: str) -> None:
    parent, retryable = TREE[name]

    assert parent in {base.__name__ for base in CLASSES[name].__bases__}
    assert getattr(CLASSES[name], "retryable", None) is retryable
    assert issubclass(CLASSES[name], ALSO.get(name, AlloyError))


@pytest.mark.parametrize("name", [name for name in TREE if name in CLASSES and TREE[name][0] != "OtpError"])
def test_the_text_of_an_error_is_its_message(name: str) -> None:
    error = CLASSES[name]("what happened")

    assert str(error) == "what happened"
    assert error.result is None
    assert error.others == ()


def test_one_error_of_a_nursery_leaves_as_itself_with_its_cause() -> None:
    cause = KeyError("k")
    error = AlloyError("one")
    error.__cause__ = cause

    with pytest.raises(AlloyError) as caught, sole_error():
        raise ExceptionGroup("nursery", [ExceptionGroup("inner", [error])])

    assert caught.value is error
    assert error.__cause__ is cause
    assert error.others == ()


def test_of_several_errors_the_first_leaves_and_holds_the_others() -> None:
    first, second, third = AlloyError("1"), ValueError("2"), AlloyError("3")

    with pytest.raises(AlloyError) as caught, sole_error():
        raise ExceptionGroup("nursery", [first, ExceptionGroup("inner", [second, third])])

    assert caught.value is first
    assert first.others == (second, third)


def test_a_foreign_first_error_names_the_others_in_a_note() -> None:
    first = unwrap(ExceptionGroup("nursery", [ValueError("1"), AlloyError("2")]))

    assert first.__notes__ == ["at the same time: AlloyError: 2"]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_goes_before_every_error(stop: type[BaseException]) -> None:
    interrupt = stop()
    group = BaseExceptionGroup("nursery", [AlloyError("1"), interrupt])

    assert unwrap(group) is interrupt


async def test_an_error_goes_before_cancellation_and_cancellation_alone_passes() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        try:
            await trio.lowlevel.checkpoint()
        except trio.Cancelled as cancelled:
            error = AlloyError("1")
            mixed = unwrap(BaseExceptionGroup("nursery", [cancelled, error]))
            alone = BaseExceptionGroup("nursery", [cancelled])
            unwrapped = unwrap(alone)
            raise

    assert mixed is error
    assert unwrapped is alone
