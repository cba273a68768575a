"""The same server several times over, so that work for one key does not wait for another's.

Source: Elixir 1.21, PartitionSupervisor; read 2026-11-24.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Hashable
from typing import ClassVar, cast

import attrs

from alloy.otp.address import Ref
from alloy.otp.child import ChildSpec, check_count
from alloy.otp.process import Process
from alloy.otp.registry import Registry, Via
from alloy.otp.server import Server
from alloy.otp.supervision import SupervisorProcess
from alloy.otp.supervisor import Supervisor


class PartitionProcess(SupervisorProcess):
    """The process of a `PartitionSupervisor`: it gives each child its number as its name."""

    __slots__ = ()

    def child_started(self, ref: Ref) -> None:
        """Let the number lead to this incarnation."""
        if ref.process is not None:
            cast("PartitionSupervisor", self.server).registry.register(ref.process.child.spec.id, ref=ref)


@attrs.define(kw_only=True, eq=False)
class PartitionSupervisor(Supervisor):
    """A supervisor of `partitions` children with the ids 0, 1, …; `via` finds the one for a key.

    Attributes:
        child: makes the server of a partition, given its number.
        partitions: how many.

    Raises:
        ValueError: `partitions` is less than 1, or it was given `auto_shutdown` or `children`.
    """

    process_type: ClassVar[type[Process]] = PartitionProcess

    child: Callable[[int], Server]
    partitions: int = 8
    registry: Registry = attrs.field(factory=Registry, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        check_count("partitions", self.partitions, 1)
        if self.auto_shutdown != "never":
            raise ValueError(f"a PartitionSupervisor has no auto_shutdown, got {self.auto_shutdown!r}")
        if self.children:
            raise ValueError("a PartitionSupervisor makes its children itself; give it child=")
        self.children = [
            ChildSpec(id=number, start=functools.partial(self.child, number)) for number in range(self.partitions)
        ]
        self.validate()

    def via(self, key: Hashable) -> Via:
        """The address of the partition for `key`.

        An int goes by its remainder, anything else by a stable hash of its repr.
        """
        return self.registry.via(self.partition_of(key))

    def partition_of(self, key: Hashable) -> int:
        """The number of the partition for `key`; the same in every run of the program."""
        if isinstance(key, int):
            return abs(key) % self.partitions
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") % self.partitions
