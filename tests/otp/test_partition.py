"""A partition supervisor: many of one kind, and a key that always leads to the same."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from trio.testing import MockClock

from alloy import otp
from otp.servers import Do, Worker, crashes, ends, system


async def name_of(server: Worker) -> str:
    return server.name


def partitioned(partitions: int = 4, **flags: Any) -> otp.PartitionSupervisor:
    return otp.PartitionSupervisor(child=lambda index: Worker(f"worker {index}"), partitions=partitions, **flags)


async def test_each_partition_is_a_child_that_knows_its_number(autojump_clock: MockClock) -> None:
    supervisor = partitioned(3)
    async with system(otp.ChildSpec(start=lambda: supervisor, id="pool")) as root:
        [pool] = [info.ref for info in await otp.which_children(root)]
        infos = await otp.which_children(pool)

        assert [info.id for info in infos] == [0, 1, 2]
        assert [await otp.call(info.ref, Do(name_of)) for info in infos] == ["worker 0", "worker 1", "worker 2"]


@pytest.mark.parametrize(("key", "partition"), [(0, 0), (1, 1), (5, 1), (-5, 1), (-3, 3), (403, 3)])
async def test_a_number_is_its_own_hash(autojump_clock: MockClock, key: int, partition: int) -> None:
    supervisor = partitioned(4)
    async with system(otp.ChildSpec(start=lambda: supervisor, id="pool")):
        assert await otp.call(supervisor.via(key), Do(name_of)) == f"worker {partition}"


async def test_a_key_always_leads_to_the_same_partition(autojump_clock: MockClock) -> None:
    supervisor = partitioned(4)
    async with system(otp.ChildSpec(start=lambda: supervisor, id="pool")):
        names = [await otp.call(supervisor.via(f"key {number}"), Do(name_of)) for number in range(40)]

        assert names == [await otp.call(supervisor.via(f"key {number}"), Do(name_of)) for number in range(40)]
        assert len(set(names)) == 4


async def test_a_key_leads_to_the_next_incarnation_after_a_crash(autojump_clock: MockClock) -> None:
    supervisor = partitioned(2)
    async with system(otp.ChildSpec(start=lambda: supervisor, id="pool")):
        address = supervisor.via("key")
        name, first = await otp.call(address, Do(name_of)), address.whereis()
        other = supervisor.via(1 if name == "worker 0" else 0).whereis()
        assert first is not None
        await ends(first, crashes())

        assert await otp.call(address, Do(name_of)) == name
        assert address.whereis() != first
        assert other is not None
        assert other.alive


PROGRAM = """
import trio
from alloy import otp

class Name(otp.Request):
    pass

class Numbered(otp.Server):
    def __init__(self, number): self.number = number
    async def handle_call(self, request, reply_to): return self.number

async def main():
    pool = otp.PartitionSupervisor(child=Numbered, partitions=16)
    async with otp.open_system(otp.Supervisor(children=[otp.ChildSpec(start=lambda: pool, id="pool")])):
        print([await otp.call(pool.via(key), Name()) for key in ("a", "b", ("c", 1), None, 2.5)])

trio.run(main)
"""


def test_a_key_leads_to_the_same_partition_in_every_run_of_the_program() -> None:
    def run(seed: str) -> str:
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(filter(None, sys.path))}
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True, timeout=60
        ).stdout

    outputs = {run(seed) for seed in ("1", "2")}
    assert len(outputs) == 1
    assert outputs.pop().startswith("[")


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        ({"partitions": 0}, "partitions"),
        ({"partitions": -1}, "partitions"),
        ({"auto_shutdown": "any_significant"}, "auto_shutdown"),
    ],
)
def test_what_does_not_fit_a_partition_supervisor_is_refused(flags: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        otp.PartitionSupervisor(child=lambda index: Worker(str(index)), **flags)
