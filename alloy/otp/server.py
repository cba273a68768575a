"""What users write: a class whose methods are called one after another, for one message at a time."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Generic

import attrs
import trio

from alloy.otp.address import R_co
from alloy.otp.context import here
from alloy.otp.helpers import Helpers
from alloy.otp.mailbox import ReplyTo
from alloy.otp.policy import check_seconds
from alloy.otp.process import Process
from alloy.otp.reasons import ExitReason

logger: logging.Logger = logging.getLogger("alloy.otp")


class Request(Generic[R_co]):
    """The base of typed requests: with `class Get(Request[int])`, `call(to, Get())` is an int.

    Empty; subclasses may be plain classes, attrs classes or dataclasses.
    """


@attrs.frozen
class Idle:
    """What `handle_info` gets when `idle_after` runs out, unless another message was given."""


class Server:
    """A process with state: the state is `self`, and each callback may change it.

    Every callback may raise `Stop` to end the process with a reason, and any other error to end it with
    `Crash`. Subclasses may be plain, attrs or dataclasses and need no `super().__init__()`.

    Attributes:
        trap_exit: whether exit signals, the supervisor's shutdown among them, wait their turn among the
            messages. Otherwise they cut the running callback at its next checkpoint. Either way
            `terminate` runs.

    Source: Erlang/OTP 25, gen_server(3); Elixir 1.21, GenServer; read 2026-11-24.
    """

    trap_exit: ClassVar[bool] = False
    process_type: ClassVar[type[Process]] = Process

    async def init(self) -> None:
        """Set up; whoever starts the server waits for it. May raise `Ignore`."""

    async def handle_continue(self, arg: Any) -> None:
        """Go on with what `continue_` was given."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_continue, for {arg!r}")

    async def handle_call(self, request: Any, reply_to: ReplyTo[Any]) -> Any:
        """Answer a call: what is returned is the reply, unless it is `NO_REPLY`."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_call, for {request!r}")

    async def handle_cast(self, message: Any) -> None:
        """Act on a cast."""
        raise NotImplementedError(f"{type(self).__name__} has no handle_cast, for {message!r}")

    async def handle_info(self, message: Any) -> None:
        """Act on any other message: of `send`, of a timer, `Down`, `Exit`, `Lagged`, `Idle`."""
        logger.warning("%s has no handle_info: %r is dropped", type(self).__name__, message)

    async def terminate(self, reason: ExitReason) -> None:
        """Clean up; not called when init failed or the process is killed. Its error becomes the reason."""

    def format_status(self) -> object:
        """What logs and observers may see of the state: the place to leave secrets out.

        Without an override nothing but the name of the class.
        """
        return type(self).__name__

    def continue_(self, arg: object) -> None:
        """Have `handle_continue(arg)` run after this callback, before any further message."""
        process = self._process()
        if process.continuations is None:
            process.continuations = deque()
        process.continuations.append(arg)

    def idle_after(self, seconds: float, message: object = Idle()) -> None:
        """Have `handle_info(message)` run if nothing arrives for `seconds`; any message cancels it."""
        check_seconds("seconds", seconds)
        self._process().idle = (trio.current_time() + seconds, message)

    def start_soon(
        self, fn: Callable[..., Awaitable[object]], *args: object, grace: Callable[[], float] | None = None
    ) -> None:
        """Run `fn(*args)` beside this server: its error is the server's, the server's end cancels it.

        Args:
            fn: what to run.
            args: for it.
            grace: asked when the server is stopped in good order: for how many seconds `fn` may go on before it is
                cancelled; the server waits for it. It must neither block nor raise. A crash or a kill, also one
                that comes meanwhile, cancels at once.
        """
        process = self._process()
        if process.helpers is None:
            process.helpers = Helpers(process)
        process.helpers.start(fn, args, grace)

    def _process(self) -> Process:
        process = here("a message to the server")
        if process.server is not self:
            raise RuntimeError(f"only {type(self).__name__} itself may call this, not {process.ref.label!r}")
        return process
