"""Supervisors of children that come and go: no ids, no order, stopped all at once."""

from __future__ import annotations

from collections.abc import Hashable
from itertools import count
from typing import Any, ClassVar, cast

import attrs
import trio

from alloy.otp.address import Ref
from alloy.otp.child import Child, ChildSpec, check_count
from alloy.otp.errors import ChildError
from alloy.otp.policy import Strategy
from alloy.otp.process import Process
from alloy.otp.reasons import Shutdown
from alloy.otp.server import Server
from alloy.otp.supervision import SupervisorProcess
from alloy.otp.supervisor import Supervisor


class DynamicProcess(SupervisorProcess):
    """The process of a `DynamicSupervisor`: children have keys that nobody sees."""

    __slots__ = ("_keys",)

    keeps_specs: ClassVar[bool] = False

    def __init__(self, server: Server, child: Child, system: Any, parent: Process | None) -> None:
        super().__init__(server, child, system, parent)
        self._keys = count()

    @property
    def flags(self) -> DynamicSupervisor:
        """The server, which is what says how to supervise."""
        return cast("DynamicSupervisor", self.server)

    def admit(self, spec: ChildSpec) -> Child:
        """Make room for a new child; those that restart count."""
        self.flags.check_child(spec)
        if self.flags.max_children is not None and len(self.children) >= self.flags.max_children:
            raise ChildError("max_children")
        key = next(self._keys)
        child = self.children[key] = Child(spec, key=key)
        return child

    def find(self, id: Hashable) -> Child:
        """No child has an id."""
        raise ChildError("not_found", id=id)

    def find_to_stop(self, which: Hashable) -> Child:
        """The child whose last incarnation is this Ref."""
        if isinstance(which, Ref):
            if which.process is not None and which.process.parent is self:
                return which.process.child
            for child in self.children.values():
                if child.last_ref is which:
                    return child
        raise ChildError("not_found", id=which)

    async def stop_all(self) -> None:
        """Stop the children at the same time, each within its own `shutdown`."""
        began = trio.current_time()
        children = list(self.children.values())
        for child in children:
            child.cancel_retry()
        living = [(child.process, child.shutdown) for child in children if child.process is not None]
        self.wait_for(tuple(process.mailbox for process, _ in living))
        patient: list[tuple[float, Process]] = []
        for process, policy in living:
            if isinstance(policy, str):
                process.stopping = "brutal_kill"
                process.kill()
            else:
                process.shut_down(Shutdown(), policy)
                patient.append((policy, process))
        # One task waits for all, by ascending deadline.
        for seconds, process in sorted(patient, key=lambda pair: pair[0]):
            if process.ref.alive and not await process.join(max(0.0, began + seconds - trio.current_time())):
                process.kill()
        for process, _ in living:
            if process.ref.alive:
                await process.join()
        self.wait_over()
        for child in children:
            child.process = None
            self.close_mailbox(child, Shutdown())


@attrs.define(kw_only=True, eq=False)
class DynamicSupervisor(Supervisor):
    """A supervisor whose children are all added by `start_child`, and forgotten once they have ended.

    Ids are ignored and may be equal. `restart_child`, `delete_child` and `get_child_spec` know no child;
    `terminate_child` takes a Ref.

    Attributes:
        max_children: the most at a time, restarting ones included; None is no limit.

    Raises:
        ValueError: it was given `children`, another strategy than one_for_one, or `auto_shutdown`.

    Source: Elixir 1.21, DynamicSupervisor; read 2026-11-24.
    """

    process_type: ClassVar[type[Process]] = DynamicProcess

    max_children: int | None = None

    def validate(self) -> None:
        """As any supervisor, with less allowed."""
        super().validate()
        name = type(self).__name__
        if self.children:
            raise ValueError(f"{name} takes no children; add them with start_child")
        if self.strategy is not Strategy.ONE_FOR_ONE:
            raise ValueError(f"the strategy of {name} is always one_for_one, got {str(self.strategy)!r}")
        if self.auto_shutdown != "never":
            raise ValueError(f"{name} has no auto_shutdown, got {self.auto_shutdown!r}")
        if self.max_children is not None:
            check_count("max_children", self.max_children, 0)
