"""The path policy: what lies outside is out of reach, also for whoever is quick."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from alloy.tools import ToolError
from alloy.tools.paths import PathPolicy, Place, open_file, replace_file


def unchecked() -> None:
    """Nobody asks to stop."""


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """proj/ is allowed, with links in it; proj-evil/ and the rest are not."""
    proj, evil, root = tmp_path / "proj", tmp_path / "proj-evil", tmp_path / "root"
    for folder in (proj / "sub", proj / "~", evil, root):
        folder.mkdir(parents=True)
    for file in (proj / "a.txt", proj / "sub/b.txt", proj / "~/t.txt", evil / "secret.txt", root / "r.txt"):
        file.write_text(file.name)
    (proj / "inner").symlink_to("sub")
    (proj / "file-link").symlink_to("sub/b.txt")
    (proj / "out").symlink_to("../proj-evil")
    (proj / "out-file").symlink_to(evil / "secret.txt")
    (proj / "chain").symlink_to("out")
    (proj / "loop").symlink_to("loop")
    (proj / "dangling").symlink_to("sub/new.txt")
    (proj / "dangling-out").symlink_to("../proj-evil/new.txt")
    os.mkfifo(proj / "fifo")
    (tmp_path / "entrance").symlink_to("proj")
    return tmp_path


def policy_of(world: Path) -> PathPolicy:
    return PathPolicy((world / "entrance", world / "root"))


INSIDE = {
    "a plain file": ("a.txt", "proj/a.txt"),
    "dots": ("./sub/.././a.txt", "proj/a.txt"),
    "a folder linked inside": ("inner/b.txt", "proj/sub/b.txt"),
    "up from a linked folder": ("inner/../a.txt", "proj/a.txt"),
    "a linked file": ("file-link", "proj/sub/b.txt"),
    "out and in again": ("../proj/a.txt", "proj/a.txt"),
    "out through the link and in again": ("out/../proj/a.txt", "proj/a.txt"),
    "absolute": ("{world}/proj/a.txt", "proj/a.txt"),
    "absolute through the link": ("{world}/entrance/a.txt", "proj/a.txt"),
    "another root": ("{world}/root/r.txt", "root/r.txt"),
    "from here to another root": ("../root/r.txt", "root/r.txt"),
    "a tilde is a name": ("~/t.txt", "proj/~/t.txt"),
}


@pytest.mark.parametrize(("path", "expected"), INSIDE.values(), ids=INSIDE)
def test_what_leads_inside_is_found(path: str, expected: str, world: Path) -> None:
    place = policy_of(world).locate(path.format(world=world))

    assert place.path == world / expected
    with open_file(place) as file:
        assert file.read().decode() == Path(expected).name


OUTSIDE = {
    "up": "../proj-evil/secret.txt",
    "a name that only begins like ours": "{world}/proj-evil/secret.txt",
    "absolute": "/etc/passwd",
    "up to the root": "../" * 50 + "etc/passwd",
    "a linked folder": "out/secret.txt",
    "a linked file": "out-file",
    "a chain of links": "chain/secret.txt",
    "a link to what is not there": "dangling-out",
    "the root of a process": "/proc/self/root/etc/passwd",
    "the working directory of a process": "/proc/self/cwd/pyproject.toml",
    "the parent itself": "..",
}


@pytest.mark.parametrize("path", OUTSIDE.values(), ids=OUTSIDE)
def test_what_leads_outside_is_refused(path: str, world: Path) -> None:
    with pytest.raises(ToolError, match="is outside the allowed folders"):
        policy_of(world).locate(path.format(world=world))


def test_proc_as_a_root_is_no_way_out(world: Path) -> None:
    with pytest.raises(ToolError, match="is outside the allowed folders"):
        PathPolicy((world / "proj", Path("/proc/self"))).locate("/proc/self/root/etc/passwd")


NO_FILE = {
    "empty": ("", "the path is empty"),
    "a NUL": ("a\0.txt", "is no path: "),
    "a surrogate": ("\ud800", "is no path: "),
    "the folder itself": (".", "'.' is a directory"),
    "a folder": ("sub", "'sub' is a directory, and not a file"),
    "a FIFO": ("fifo", "'fifo' is a FIFO, and not a file"),
    "not there": ("none.txt", "cannot read 'none.txt': No such file or directory"),
    "in a folder that is not there": ("none/a.txt", "No such file or directory"),
    "below a file": ("a.txt/b", "Not a directory"),
    "a loop": ("loop", "'loop' is a symlink, and not a file"),
    "a long name": ("x" * 300, "File name too long"),
    "a tilde is nobody's home": ("~root/x", "No such file or directory"),
}


@pytest.mark.parametrize(("path", "message"), NO_FILE.values(), ids=NO_FILE)
def test_what_is_no_file_is_told_apart(path: str, message: str, world: Path) -> None:
    with pytest.raises(ToolError) as caught:
        open_file(policy_of(world).locate(path))

    assert message in str(caught.value)


def test_a_name_that_is_no_utf8_is_a_name(world: Path) -> None:
    (world / "proj" / os.fsdecode(b"\xff")).write_text("odd")

    with open_file(policy_of(world).locate("\udcff")) as file:
        assert file.read() == b"odd"


@pytest.mark.skipif(not os.access("/dev/null", os.R_OK), reason="there is no /dev/null")
def test_devices_and_sockets_are_not_opened(world: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(world / "root/socket"))

        for path, kind in (("/dev/null", "a device"), (str(world / "root/socket"), "a socket")):
            with pytest.raises(ToolError, match=f"is {kind}, and not a file"):
                open_file(PathPolicy((Path("/dev"), world)).locate(path))


# Writing.


def write(place: Place, data: bytes) -> bool:
    return replace_file(place, data, unchecked)


def test_a_new_file_is_made_with_its_folders(world: Path) -> None:
    assert write(policy_of(world).locate("new/deep/a.txt"), b"data")

    assert (world / "proj/new/deep/a.txt").read_bytes() == b"data"


def test_a_file_that_is_replaced_keeps_its_mode_and_a_link_stays_a_link(world: Path) -> None:
    (world / "proj/sub/b.txt").chmod(0o640)

    assert not write(policy_of(world).locate("file-link"), b"new")
    assert write(policy_of(world).locate("dangling"), b"made")

    assert (world / "proj/file-link").is_symlink()
    assert (world / "proj/sub/b.txt").read_bytes() == b"new"
    assert stat.S_IMODE((world / "proj/sub/b.txt").stat().st_mode) == 0o640
    assert (world / "proj/sub/new.txt").read_bytes() == b"made"


@pytest.mark.parametrize("path", ["sub", "fifo", "loop", "a.txt/b", "."])
def test_what_is_no_file_is_not_replaced(path: str, world: Path) -> None:
    before = sorted(world.rglob("*"))

    with pytest.raises(ToolError):
        write(policy_of(world).locate(path), b"x")

    assert sorted(world.rglob("*")) == before


def test_a_write_that_is_told_to_stop_changes_nothing_and_leaves_nothing(world: Path) -> None:
    checks = []

    def stop() -> None:
        checks.append(1)
        if len(checks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace_file(policy_of(world).locate("a.txt"), b"x" * (5 << 20), stop)

    assert (world / "proj/a.txt").read_text() == "a.txt"
    assert [path.name for path in (world / "proj").iterdir() if path.name.startswith(".")] == []


# Between the check and the opening.


def swap_folder(world: Path) -> None:
    (world / "proj/sub").rename(world / "proj/old")
    (world / "proj/sub").symlink_to("../proj-evil")


def swap_file(world: Path) -> None:
    (world / "proj/sub/secret.txt").unlink()
    (world / "proj/sub/secret.txt").symlink_to(world / "proj-evil/secret.txt")


def swap_for_a_fifo(world: Path) -> None:
    (world / "proj/sub/secret.txt").unlink()
    os.mkfifo(world / "proj/sub/secret.txt")


SWAPS = [swap_folder, swap_file, swap_for_a_fifo]


@pytest.mark.parametrize("swap", SWAPS)
def test_a_link_put_there_after_the_check_is_not_followed_to_read(swap: Callable[[Path], None], world: Path) -> None:
    (world / "proj/sub/secret.txt").write_text("ours")
    place = policy_of(world).locate("sub/secret.txt")
    swap(world)

    with pytest.raises(ToolError):
        open_file(place)


@pytest.mark.parametrize("swap", SWAPS)
def test_a_link_put_there_after_the_check_is_not_followed_to_write(swap: Callable[[Path], None], world: Path) -> None:
    (world / "proj/sub/secret.txt").write_text("ours")
    place = policy_of(world).locate("sub/secret.txt")
    swap(world)

    with pytest.raises(ToolError):
        write(place, b"overwritten")

    assert (world / "proj-evil/secret.txt").read_text() == "secret.txt"
    assert len(list((world / "proj-evil").iterdir())) == 1


def test_whoever_swaps_a_folder_for_a_link_all_the_time_gains_nothing(world: Path) -> None:
    policy = policy_of(world)
    folder, aside = world / "proj/sub", world / "proj/aside"
    (folder / "secret.txt").write_text("ours")
    (world / "proj/link").symlink_to("../proj-evil")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            folder.rename(aside)
            (world / "proj/link").rename(folder)
            folder.rename(world / "proj/link")
            aside.rename(folder)

    swapper = threading.Thread(target=swap)
    swapper.start()
    seen = set()
    try:
        for _ in range(400):
            try:
                with open_file(policy.locate("sub/secret.txt")) as file:
                    seen.add(file.read())
            except ToolError:
                seen.add(b"refused")
    finally:
        stop.set()
        swapper.join()

    assert seen <= {b"ours", b"refused"}
    assert b"ours" in seen
