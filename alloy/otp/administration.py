"""What can be asked of a supervisor, from any task: one request class and one function each.

Each call waits as long as it takes: the supervisor answers when it is done with what it does, and a
child's init is part of that. A missing supervisor raises `ServerExited`.

Source: Erlang/OTP 25, supervisor(3); Elixir 1.21, Supervisor and DynamicSupervisor; read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import attrs

from alloy.otp.address import Address, Ref
from alloy.otp.child import Child, ChildInfo, ChildSpec, Counts
from alloy.otp.errors import ChildError
from alloy.otp.mailbox import ReplyTo
from alloy.otp.messages import call
from alloy.otp.reasons import Ignore, Shutdown
from alloy.otp.supervision import Administration, SupervisorProcess


@attrs.frozen
class StartChild(Administration[Ref | None]):
    """Add a child and start it."""

    spec: ChildSpec

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> Ref | None:
        """Known only once it runs; a caller that gives up cancels its init."""
        child = supervisor.admit(self.spec)

        def withdraw() -> None:
            if child.process is not None:
                child.process.interrupt(Shutdown("its start was withdrawn"))

        call.on_withdraw = withdraw
        try:
            ref = await supervisor.start(child)
        except Ignore:
            supervisor.ended_for_good(child)
            return None
        except Exception:
            supervisor.forget(child)
            raise
        if not call.is_live:  # it came up in the very moment the caller gave up
            await supervisor.stop(child)
            supervisor.forget(child)
        return ref


@attrs.frozen
class RestartChild(Administration[Ref | None]):
    """Start a child that is stopped."""

    id: Hashable

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> Ref | None:
        """The spec is kept, whatever happens."""
        child = stopped(supervisor, self.id)
        try:
            return await supervisor.start(child)
        except Ignore:
            return None


@attrs.frozen
class TerminateChild(Administration[None]):
    """Stop a child."""

    child: Hashable | Ref

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> None:
        """Forget it too, if it is temporary or dynamic."""
        child = supervisor.find_to_stop(self.child)
        await supervisor.stop(child)
        supervisor.ended_for_good(child)


@attrs.frozen
class DeleteChild(Administration[None]):
    """Forget a child that is stopped."""

    id: Hashable

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> None:
        """Nothing is left of it."""
        supervisor.forget(stopped(supervisor, self.id))


@attrs.frozen
class WhichChildren(Administration[tuple[ChildInfo, ...]]):
    """Tell about each child."""

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> tuple[ChildInfo, ...]:
        """In start order."""
        return tuple(child.info() for child in supervisor.children.values())


@attrs.frozen
class CountChildren(Administration[Counts]):
    """Count them."""

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> Counts:
        """In one pass."""
        children = supervisor.children.values()
        supervisors = sum(child.is_supervisor for child in children)
        active = sum(child.process is not None for child in children)
        return Counts(len(children), active, supervisors, len(children) - supervisors)


@attrs.frozen
class GetChildSpec(Administration[ChildSpec]):
    """Tell how a child is started."""

    id: Hashable

    async def serve(self, supervisor: SupervisorProcess, call: ReplyTo[Any]) -> ChildSpec:
        """With the defaults filled in."""
        return supervisor.find(self.id).full_spec()


def stopped(supervisor: SupervisorProcess, id: Hashable) -> Child:
    """The child with `id`, which must neither run nor be about to.

    Raises:
        ChildError: it does, or there is none.
    """
    child = supervisor.find(id)
    if child.is_restarting:
        raise ChildError("restarting", id=id)
    if child.process is not None:
        raise ChildError("running", child.process.ref, id=id)
    return child


async def start_child(sup: Address, spec: ChildSpec) -> Ref | None:
    """Add a child to a supervisor and start it; None if its init raised `Ignore`.

    A static supervisor keeps an ignored child as stopped, unless it is temporary; a dynamic one forgets
    it. A caller that is cancelled before the child's init is done cancels that init.

    Raises:
        ChildError: "already_started", "already_present" (stopped or restarting), "max_children".
        StartFailed: `start` or `init` raised its cause, or took too long; nothing is kept.
        ValueError: the spec does not fit this supervisor.
    """
    if not isinstance(spec, ChildSpec):
        raise TypeError(f"start_child takes a ChildSpec, got {spec!r}")
    return await call(sup, StartChild(spec), timeout=None)


async def terminate_child(sup: Address, child: Hashable | Ref) -> None:
    """Stop a child within its `shutdown`: by id, or under a dynamic supervisor by Ref.

    Also when it is stopped already; a pending restart is taken back. A temporary or dynamic child is
    forgotten; another can be brought back by `restart_child`. This never counts as a restart.

    Raises:
        ChildError: "not_found".
    """
    await call(sup, TerminateChild(child), timeout=None)


async def restart_child(sup: Address, id: Hashable) -> Ref | None:
    """Start a child that is stopped; None if its init raised `Ignore`.

    Raises:
        ChildError: "running", "restarting", "not_found".
        StartFailed: as for `start_child`, but the child is kept.
    """
    return await call(sup, RestartChild(id), timeout=None)


async def delete_child(sup: Address, id: Hashable) -> None:
    """Forget a child that is stopped.

    Raises:
        ChildError: "running", "restarting", "not_found".
    """
    await call(sup, DeleteChild(id), timeout=None)


async def which_children(sup: Address) -> tuple[ChildInfo, ...]:
    """All children, in start order."""
    return await call(sup, WhichChildren(), timeout=None)


async def count_children(sup: Address) -> Counts:
    """How many children there are, and of which kind."""
    return await call(sup, CountChildren(), timeout=None)


async def get_child_spec(sup: Address, id: Hashable) -> ChildSpec:
    """The spec of a child, with the defaults filled in.

    Raises:
        ChildError: "not_found".
    """
    return await call(sup, GetChildSpec(id), timeout=None)
