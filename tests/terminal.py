"""A pseudo-terminal with a program in it, driven as a user would: type, and look what comes."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = str(Path(__file__).parents[1])
PATIENCE = 30.0  # seconds on the real clock until a test gives up; nothing waits for it to pass

CTRL_C, CTRL_D, ENTER, ALT_ENTER, TAB, UP = "\x03", "\x04", "\r", "\x1b\r", "\t", "\x1b[A"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>]|\x1b\][^\x07]*\x07")

# The command line, with scripts that take their time.
SCRIPTS = '''\
import sys, time
import alloy.llm.scripted as scripted
from alloy.llm.message import ToolMessage
from alloy.llm.scripted import Says, call_step

def slow(request):
    """Streams for longer than any test: until it is stopped."""
    def words():
        number = 0
        while True:
            number += 1
            yield f"word{number} " + ("\\n\\n" if number % 10 == 0 else "")
            time.sleep(0.01)
    return Says(text="…", thinking="let me think", chunks=words())

def busy(request):
    """Calls a tool that takes until the file `go` is there, then tells what was said to it meanwhile."""
    if not any(isinstance(message, ToolMessage) for message in request.messages):
        return call_step("bash", {"command": "echo $$ > pid; until test -e go; do sleep 0.05; done; seq 200"})
    return Says(text="heard: " + "; ".join(m.text for m in request.messages if m.id and hasattr(m, "source")))

def stubborn(request):
    return call_step("bash", {"command": "echo $$ > pid; sleep 1000"})

def pretty(request):
    return Says(text="# Title\\n\\nSome *stress* and `code`.\\n\\n1. one\\n2. two\\n\\n```python\\nx = 1\\n```\\n")

scripted.SCRIPTS.update(slow=slow, busy=busy, stubborn=stubborn, pretty=pretty)
from alloy.cli.main import main
sys.exit(main(sys.argv[1:]))
'''


class Terminal:
    """A program in a terminal.

    Attributes:
        seen: all that it has written, as text.
        home: the folder that it works in.
    """

    def __init__(self, process: subprocess.Popen[bytes], fd: int, home: Path) -> None:
        self.process = process
        self.home = home
        self.seen = ""
        self._fd = fd
        self._mark = 0

    @property
    def text(self) -> str:
        """All that it has written, without what moves the cursor and changes colours."""
        return _CONTROL.sub("", self.seen)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._fd, text.encode())

    def paste(self, text: str) -> None:
        """Paste, in a terminal that says so."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def wait_for(self, wanted: str) -> str:
        """Wait until `wanted`, a text, has been written since it was last waited for; returns all since then.

        Raises:
            AssertionError: it was not, in the time of our patience, or before the program ended.
        """
        give_up = time.monotonic() + PATIENCE
        while (place := self.text.find(wanted, self._mark)) < 0:
            assert time.monotonic() < give_up, f"{wanted!r} did not come; there is {self.text[self._mark :]!r}"
            assert self._read(), f"{wanted!r} did not come before the end; there is {self.text[self._mark :]!r}"
        before, self._mark = self._mark, place + len(wanted)
        return self.text[before : self._mark]

    def wait_file(self, name: str) -> str:
        """Wait until the program, or what it has started, has written a file in its folder; returns what is in it."""
        give_up = time.monotonic() + PATIENCE
        while not ((file := self.home / name).exists() and (text := file.read_text().strip())):
            assert time.monotonic() < give_up, f"{name!r} was not written"
            time.sleep(0.01)
        return text

    def wait_end(self) -> int:
        """Wait until the program has ended; returns its exit code."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process.send_signal(signal.SIGWINCH)

    def hang_up(self) -> None:
        """Close the window."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self._fd)
        os.close(nothing)

    def echoes(self) -> bool:
        """Whether the terminal is as a shell wants it."""
        return bool(termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def _read(self) -> bool:
        """Take what there is; false at the end."""
        if not select.select([self._fd], [], [], PATIENCE)[0]:
            return True
        try:
            chunk = os.read(self._fd, 65_536)
        except OSError:  # what Linux says when the last program has left the terminal
            return False
        self.seen += chunk.decode("utf-8", "replace")
        return bool(chunk)


@contextmanager
def terminal(
    *arguments: str, home: Path, size: tuple[int, int] = (80, 24), environment: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """Run `alloy` with these arguments, and the scripts above, in a terminal of (columns, rows)."""
    program = home / "program.py"
    program.write_text(SCRIPTS)
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": ROOT, "TERM": "xterm-256color"}
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", str(program), *arguments],
        cwd=home,
        env={**env, **(environment or {})},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        # Ctrl-C has to reach it through its own terminal.
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # no threads in the test
    )
    os.close(theirs)
    try:
        yield Terminal(process, ours, home)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
