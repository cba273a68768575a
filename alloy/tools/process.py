"""Child processes that leave nothing behind.

A child leads a session of its own, and so a process group that everything it starts belongs to, but for what
starts a session itself (for code that does, there will be the sandbox). However the block ends – the child has
ended, an error, a cancel – the whole group is ended with it: SIGTERM, a little grace, SIGKILL.

If alloy itself is killed, nobody is left to do that. So beside each child there is a watchdog, a `sh` that reads
from a pipe that only we hold: when we die it reads the end, and kills the group. It is there before the child,
and the child itself tells it its number before it becomes the command, so there is no moment at which our death
would go unnoticed. (PR_SET_PDEATHSIG would not do: it is bound to the thread that started the child, and Trio's
threads come and go.)

Source: setsid(2), killpg(2) and prctl(2) of the Linux man-pages (read 2026-11-24).
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import trio

from alloy.errors import sole_error

logger: logging.Logger = logging.getLogger("alloy.tools")

GRACE = 0.5  # seconds between SIGTERM and SIGKILL
LINGER = 0.2  # seconds to go on reading once a child has ended, if others still hold its output
PATIENCE = 5.0  # seconds until a child that not even SIGKILL ends is given up
POLL = 0.01  # seconds

_WATCHDOG = 'read group </dev/fd/"$1" && { read _; kill -s KILL -- "-$group"; }'
_COMMAND = 'echo $$ >/dev/fd/"$1"; shift; exec "$@"'

# A word of the name, or the end of one, says that the value is a secret.
_SECRET = re.compile(
    r"""(?:^|_)(?:
        \w*(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|APIKEY)S? | KEYS? | PAT
    )(?:_|$)""",
    re.VERBOSE | re.IGNORECASE,
)


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return our environment for a child, without what looks like a secret.

    Left out is each variable whose name has a word like KEY, TOKEN, SECRET, PASSWORD or CREDENTIALS in it:
    ANTHROPIC_API_KEY, AWS_SECRET_ACCESS_KEY, GITHUB_TOKEN, PGPASSWORD. Secrets inside other values, such as
    database URLs, are not found.

    Args:
        extra: variables to set, whatever their names.
    """
    return {name: value for name, value in os.environ.items() if not _SECRET.search(name)} | dict(extra or {})


class Output:
    """What a child writes: the head and the tail of it are kept, all of it is counted.

    Attributes:
        total: bytes so far.
    """

    def __init__(self, head: int, tail: int) -> None:
        self.total: int = 0
        self._head_size = head
        self._tail_size = tail
        self._head = bytearray()
        self._tail = bytearray()

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes."""
        self.total += len(data)
        room = self._head_size - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._tail_size:  # not each time: that would copy the tail for each read
            del self._tail[: -self._tail_size]

    @property
    def is_whole(self) -> bool:
        """Nothing is left out."""
        return self.total <= self._head_size + self._tail_size

    def data(self) -> bytes:
        """What is kept."""
        return bytes(self._head + self._kept_tail())

    def text(self) -> str:
        """What is kept, as text, with a marker for what is not. What is no UTF-8 is replaced."""
        if self.is_whole:
            return self.data().decode("utf-8", "replace")
        head, tail = (bytes(part).decode("utf-8", "replace") for part in (self._head, self._kept_tail()))
        missing = self.total - self._head_size - self._tail_size
        return f"{head}\n[… {missing} bytes are left out …]\n{tail}"

    def _kept_tail(self) -> bytearray:
        return self._tail[-self._tail_size :] if len(self._tail) > self._tail_size else self._tail


@asynccontextmanager
async def process_group(
    command: Sequence[str],
    *,
    directory: str | os.PathLike[str],
    environment: Mapping[str, str],
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.DEVNULL,
    stderr: int = subprocess.DEVNULL,
) -> AsyncIterator[trio.Process]:
    """Run a command as the leader of a session. On leaving, nothing of its group is left.

    Args:
        command: the program and its arguments.
        directory: where it runs.
        environment: all of its variables.
        stdin: as for `subprocess.Popen`; nothing by default.
        stdout: as for `subprocess.Popen`; lost by default.
        stderr: the same.

    Raises:
        OSError: there is no such directory. A program that cannot be run is told as by shells: exit code 127.
    """
    async with _watchdog() as number_to:
        process = await trio.lowlevel.open_process(
            ["/bin/sh", "-c", _COMMAND, "sh", str(number_to), *command],
            cwd=directory,
            env=dict(environment),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            pass_fds=[number_to],
        )
        try:
            yield process
        finally:
            await _close(process, command[0])


async def communicate(
    process: trio.Process, *, stdout: Output | None = None, stderr: Output | None = None, data: bytes = b""
) -> int:
    """Wait until a process has ended and its output has been read; return its exit code, negative for a signal.

    Others that hold its output are not waited for.

    Args:
        process: whom to wait for.
        stdout: what collects its standard output, where that is a pipe.
        stderr: the same for its errors.
        data: what it gets to read, if it reads from a pipe.
    """
    with sole_error():
        async with trio.open_nursery() as nursery:
            for stream, output in ((process.stdout, stdout), (process.stderr, stderr)):
                if stream is not None and output is not None:
                    nursery.start_soon(_collect, stream, output)
            if process.stdin is not None:
                nursery.start_soon(_send, process.stdin, data)
            code = await process.wait()
            nursery.cancel_scope.deadline = trio.current_time() + LINGER
    return code


async def _collect(stream: trio.abc.ReceiveStream, output: Output) -> None:
    async for chunk in stream:
        output.feed(chunk)


async def _send(stream: trio.abc.SendStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError):  # it does not want to know
        await stream.send_all(data)
    await stream.aclose()


@asynccontextmanager
async def _watchdog() -> AsyncIterator[int]:
    """Kill a process group if we die inside the block; yields the descriptor that takes the number of the group."""
    number_from, number_to = os.pipe()
    try:
        watchdog = await trio.lowlevel.open_process(
            ["/bin/sh", "-c", _WATCHDOG, "sh", str(number_from)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # ^C in our terminal is not for it
            pass_fds=[number_from],
        )
        try:
            yield number_to
        finally:
            # Not by the end of its pipe: it would kill a group whose number may be another's by then.
            watchdog.kill()
            with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
                await watchdog.wait()
                assert watchdog.stdin is not None
                await watchdog.stdin.aclose()
    finally:
        os.close(number_from)
        os.close(number_to)


async def _close(process: trio.Process, name: str) -> None:
    """End a process and its group, whatever is going on around us, and close its pipes."""
    with trio.CancelScope(shield=True, deadline=trio.current_time() + GRACE + PATIENCE) as scope:
        await _end(process)
    if scope.cancelled_caught:
        logger.error("process %d (%s) cannot be killed", process.pid, name)
    with trio.CancelScope(shield=True, deadline=trio.current_time() + PATIENCE):
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                await pipe.aclose()


async def _end(process: trio.Process) -> None:
    """End a process and its group, and wait until they are gone."""
    if _signal(process.pid, signal.SIGTERM):
        with trio.move_on_after(GRACE):
            await _wait_gone(process)
        _signal(process.pid, signal.SIGKILL)
    await process.wait()


async def _wait_gone(process: trio.Process) -> None:
    """Wait until nobody is left of the group. Only its leader is our child, so there is no event for the others.

    One that has ended counts until its parent, often process 1, has taken note of it.
    """
    while process.poll() is None or _signal(process.pid, 0):  # noqa: ASYNC110
        await trio.sleep(POLL)


def _signal(group: int, number: int) -> bool:
    """Send a signal to a process group; False if there is nobody left in it.

    The number of a group is not given to another while anybody is in it, and numbers are given out in ascending
    order: between its end and our signal it cannot have come round.
    """
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # some of it runs as another user
        return True
    return True
