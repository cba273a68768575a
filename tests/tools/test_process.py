"""Child processes: how they end, what is kept of their output, and that nothing is left of them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from alloy.tools.process import Output, child_environment, communicate, process_group
from tools.helpers import alive, wait_none_alive, wait_until


@pytest.fixture
def mark() -> Iterator[str]:
    """A number of seconds to sleep that no other process sleeps."""
    mark = f"{time.time_ns() % 10**9 + 10**9}"
    yield mark
    assert alive(mark) == []


async def bash(command: str, output: Output | None = None) -> tuple[int, str]:
    """Run a command; returns its exit code and its output."""
    output = output or Output(1000, 1000)
    async with process_group(
        ["bash", "-c", command],
        directory="/",
        environment=child_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        code = await communicate(process, stdout=output)
    return code, output.text()


async def cancelled_bash(command: str) -> None:
    """Run a command, and cancel it once it has said something."""
    output = Output(1000, 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(bash, command, output)
        await wait_until(lambda: output.total)
        nursery.cancel_scope.cancel()


async def test_a_command_has_its_exit_code_and_output() -> None:
    assert await bash("echo out; echo err >&2; pwd; exit 3") == (3, "out\nerr\n/\n")
    assert await bash("kill -SEGV $$") == (-11, "")


async def test_there_is_nothing_to_read_and_no_terminal() -> None:
    assert await bash("cat; (: </dev/tty) 2>/dev/null || echo none") == (0, "none\n")


async def test_a_child_can_be_given_what_to_read() -> None:
    output = Output(10**6, 0)
    async with process_group(
        ["cat"], directory="/", environment={}, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert await communicate(process, stdout=output, data=b"x" * 10**6) == 0
    async with process_group(["true"], directory="/", environment={}, stdin=subprocess.PIPE) as process:
        assert await communicate(process, data=b"x" * 10**6) == 0

    assert output.data() == b"x" * 10**6


async def test_what_cannot_be_started_is_told_as_by_shells_or_as_an_os_error() -> None:
    async with process_group(["/no/such/program"], directory="/", environment={}) as process:
        assert await communicate(process) == 127
    with pytest.raises(FileNotFoundError):
        async with process_group(["true"], directory="/no/such/directory", environment={}):
            pass


LEAVES_OTHERS = {
    "in the background": "sleep {mark} & echo done",
    "holding no output": "sleep {mark} >/dev/null 2>&1 & echo done",
    "under nohup": "nohup sleep {mark} >/dev/null 2>&1 & echo done",
    "three levels deep": "(sleep {mark} & (sleep {mark} & (sleep {mark} & sleep {mark}) &) &) & echo done",
    "deaf to SIGTERM": "(trap '' TERM HUP; sleep {mark} & sleep {mark}; sleep {mark}) & echo done",
}


@pytest.mark.parametrize("command", LEAVES_OTHERS.values(), ids=LEAVES_OTHERS)
async def test_what_a_command_leaves_behind_ends_with_it(command: str, mark: str) -> None:
    start = time.monotonic()

    assert await bash(command.format(mark=mark)) == (0, "done\n")

    await wait_none_alive(mark)
    assert time.monotonic() - start < 5


HANGS = {
    "alone": "echo begun; sleep {mark}",
    "with children": "echo begun; sleep {mark} & (sleep {mark} & sleep {mark}) & wait",
    "deaf to SIGTERM": "trap '' TERM; echo begun; sleep {mark} & while :; do sleep {mark}; done",
    "stopped": "echo begun; sleep {mark} & kill -STOP $$",
}


@pytest.mark.parametrize("command", HANGS.values(), ids=HANGS)
async def test_a_command_that_is_cancelled_ends_with_all_it_has_started(command: str, mark: str) -> None:
    start = time.monotonic()

    await cancelled_bash(command.format(mark=mark))

    await wait_none_alive(mark)
    assert time.monotonic() - start < 5


async def test_a_child_may_tidy_up_when_it_is_told_to_end(tmp_path: Path) -> None:
    await cancelled_bash(f"trap 'echo tidy > {tmp_path}/it; exit' TERM; sleep 60 & echo begun; wait")

    assert (tmp_path / "it").read_text() == "tidy\n"


async def test_an_error_in_the_block_ends_the_child(mark: str) -> None:
    with pytest.raises(LookupError):
        async with process_group(["sleep", mark], directory="/", environment=child_environment()):
            raise LookupError

    await wait_none_alive(mark)


async def test_much_output_takes_little_memory_and_keeps_both_ends() -> None:
    output = Output(10, 10)

    code, text = await bash("echo first; head -c 100000000 /dev/zero; echo; echo last", output)

    assert code == 0
    assert text == "first\n\0\0\0\0\n[… 99999992 bytes are left out …]\n\0\0\0\0\nlast\n"
    assert output.total == 100_000_012
    assert len(output._tail) <= 20 + 65536


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6, 9, 10, 11, 100])
@pytest.mark.parametrize("piece", [1, 3, 200])
def test_output_keeps_head_and_tail_however_it_comes(size: int, piece: int) -> None:
    data = bytes(range(65, 65 + 26)) * 4
    output = Output(5, 5)

    for start in range(0, size, piece):
        output.feed(data[:size][start : start + piece])

    assert output.is_whole == (size <= 10)
    assert output.total == size
    assert output.data() == (data[:size] if size <= 10 else data[:5] + data[size - 5 : size])


def test_output_that_is_no_text_is_replaced() -> None:
    output = Output(3, 3)
    output.feed(b"a\xff\xfe")

    assert output.text() == "a��"


SECRETS = {
    *("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "AZURE_OPENAI_KEY", "my_api_key", "APIKEY", "MYAPIKEY", "KEYS"),
    *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "CLIENT_SECRET", "SECRETS"),
    *("GITHUB_TOKEN", "GH_PAT", "HF_TOKEN", "ANTHROPIC_AUTH_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS"),
    *("PGPASSWORD", "DB_PASSWORD", "SSH_KEY_PASSPHRASE"),
}
HARMLESS = {
    *("PATH", "HOME", "LANG", "TERM", "PWD", "OLDPWD", "XDG_SESSION_ID", "SSH_AUTH_SOCK"),
    *("TOKENIZERS_PARALLELISM", "KEYBOARD", "MONKEY", "PATIENCE", "SECRETARY_NAME"),
}


def test_a_child_sees_no_variable_that_looks_like_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*SECRETS, *HARMLESS):
        monkeypatch.setenv(name, "x")

    environment = child_environment({"GITHUB_TOKEN": "given", "MORE": "y"})

    assert SECRETS.intersection(environment) == {"GITHUB_TOKEN"}
    assert HARMLESS.issubset(environment)
    assert (environment["GITHUB_TOKEN"], environment["MORE"]) == ("given", "y")


PROGRAM = """
import trio
from alloy.tools.process import child_environment, process_group

async def main():
    command = "trap '' TERM HUP; sleep {mark} & (sleep {mark} & sleep {mark}) & echo up; sleep {mark}"
    print("begun", flush=True)
    async with process_group(["bash", "-c", command], directory="/", environment=child_environment(), stdout=1):
        await trio.sleep_forever()

trio.run(main)
"""


async def killed_with_us(mark: str, *, wait_for: bytes, delay: float) -> None:
    """Start a program that starts others, kill it `delay` seconds after a word of its, and wait for all to end."""
    with subprocess.Popen(  # noqa: ASYNC220  # it is killed before we would wait for it
        [sys.executable, "-c", PROGRAM.format(mark=mark)],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    ) as program:
        assert program.stdout is not None
        while program.stdout.readline() != wait_for + b"\n":
            pass
        await trio.sleep(delay)
        program.kill()

        await wait_none_alive(mark)


async def test_when_we_are_killed_nothing_survives_us(mark: str) -> None:
    await killed_with_us(mark, wait_for=b"up", delay=0.05)


async def check_early_deaths(mark: str, times: int) -> None:
    for number in range(times):
        await killed_with_us(mark, wait_for=b"begun", delay=0.02 * number / times)


async def test_when_we_are_killed_while_a_child_starts_it_does_not_survive_us(mark: str) -> None:
    await check_early_deaths(mark, 4)


@pytest.mark.slow
async def test_when_we_are_killed_at_any_moment_no_child_survives_us(mark: str) -> None:
    await check_early_deaths(mark, 200)
