"""The fixtures for users' tests, in a run of pytest of its own."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from alloy.testing import offline

TESTS = """
    import subprocess, socket, threading, time
    import httpx, pytest, trio
    import alloy
    from alloy.testing import ScriptedModel, hangs, says

    async def test_an_hour_costs_nothing(clock):
        with trio.move_on_after(3600):
            await alloy.run("x", model=ScriptedModel(hangs()))
        assert trio.current_time() >= 3600

    async def test_a_run_leaves_nothing(no_leaks):
        await alloy.run("x", model=ScriptedModel(says("hi")))

    def test_a_sync_run_leaves_nothing(no_leaks, offline):
        alloy.run_sync("x", model="scripted:echo")

    def test_thread(no_leaks):
        threading.Thread(target=time.sleep, args=(3,), daemon=True).start()

    def test_child(no_leaks):
        global child
        child = subprocess.Popen(["sleep", "3"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def test_socket(no_leaks):
        global open_socket
        open_socket = socket.socket()

    async def test_system_task(no_leaks):
        async def go_on():
            await trio.sleep_forever()
        trio.lowlevel.spawn_system_task(go_on)

    async def test_foreign_address(offline):
        await alloy.run("x", model=alloy.model("openai-compatible:m", base_url="http://198.51.100.1/v1"))

    async def test_foreign_name(offline):
        await alloy.run("x", model=alloy.model("openai:gpt-5.5", api_key="k"))

    async def test_swallowed(offline):
        try:
            await trio.open_tcp_stream("example.com", 80)
        except BaseException:
            pass

    async def test_loopback(offline):
        async def answer(stream):
            await stream.send_all(b"x")
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, answer, 0)
            port = listeners[0].socket.getsockname()[1]
            stream = await trio.open_tcp_stream("localhost", port)
            assert await stream.receive_some() == b"x"
            nursery.cancel_scope.cancel()
"""


@pytest.mark.works("A pytest plugin for users' tests: `clock`, `no_leaks`, `offline`")
@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="child processes and sockets are seen in /proc")
def test_the_fixtures_pass_what_is_clean_and_name_what_is_not(tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").touch()  # or that of a folder above would count
    (tmp_path / "test_mine.py").write_text(textwrap.dedent(TESTS))
    options = ["-p", "alloy.testing.plugin", "-p", "no:cacheprovider", "-o", "trio_mode=true", "-rfEp"]
    command = [sys.executable, "-m", "pytest", *options, "test_mine.py"]

    environment = {**os.environ, "COLUMNS": "200"}  # or its lines are cut
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)

    clean = ("an_hour_costs_nothing", "a_run_leaves_nothing", "a_sync_run_leaves_nothing", "loopback")
    for name in clean:
        assert f"PASSED test_mine.py::test_{name}" in done.stdout, done.stdout
        assert f"ERROR test_mine.py::test_{name}" not in done.stdout
    for name, left in (
        ("thread", "threads: 1 more"),
        ("child", "child processes: 1 more"),
        ("socket", "sockets: 1 more"),
        ("system_task", "system task"),
    ):
        assert f"ERROR test_mine.py::test_{name} - AssertionError: the test has left behind: {left}" in done.stdout
    assert "somebody connects to 198.51.100.1:80, but this test is offline" in done.stdout
    assert "somebody looks up api.openai.com, but this test is offline" in done.stdout
    assert "ERROR test_mine.py::test_swallowed - AssertionError: the network was used" in done.stdout
    assert "7 errors" in done.stdout  # each of them once, at its end
    assert "2 failed, 9 passed" in done.stdout


def test_the_plugin_imports_nothing_of_alloy_before_a_fixture_is_asked_for() -> None:
    program = "import sys, alloy.testing.plugin; print([m for m in sys.modules if m in ('trio', 'httpx', 'alloy.llm')])"

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert done.stdout == "[]\n", done.stderr


def test_a_block_in_another_fails_both() -> None:
    def inner() -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with offline(), sock, contextlib.suppress(AssertionError):
            sock.sendto(b"", ("198.51.100.1", 53))

    def outer() -> None:
        with offline(), contextlib.suppress(AssertionError):
            inner()

    for block in (inner, outer):
        with pytest.raises(AssertionError, match=r"the network was used .*: somebody sends to 198\.51\.100\.1:53"):
            block()
