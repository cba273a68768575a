"""The one path policy: which files a tool may touch, and how they are opened so that it holds.

A path is resolved – symlinks, `..` and all – and then has to lie below one of the allowed folders, compared
component by component. A `~` is a plain name. That alone would leave a gap: between the check and the opening
somebody (a command the model runs, say) may put a symlink where a folder was. So nothing is opened by its whole
path. From the allowed folder, each component of the *resolved* path is opened relative to the one before, and
never through a symlink (O_NOFOLLOW): a resolved path has none, so one that turns up was put there since, and is
refused. Only regular files are opened, and never so that opening could wait (O_NONBLOCK): no FIFO hangs, no device
is touched.

All of this blocks, and belongs in a thread.

Source: open(2), openat(2) and path_resolution(7) of the Linux man-pages (read 2026-11-24).
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from alloy.tools.errors import ToolError

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a symlink",
}
_CHUNK = 1 << 20


@attrs.frozen
class Place:
    """Where a path leads.

    Attributes:
        asked: the path as it was given, for messages.
        root: the allowed folder that it is in, resolved.
        parts: the components from there, resolved; empty for the folder itself.
    """

    asked: str
    root: str
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The resolved path."""
        return Path(self.root, *self.parts)


@attrs.frozen
class PathPolicy:
    """Allows what lies below these folders; a relative path is relative to the first of them."""

    folders: tuple[Path, ...]

    def locate(self, path: str) -> Place:
        """Resolve a path and check it.

        Raises:
            ToolError: it leads outside all allowed folders, or is no path at all.
        """
        if not path:
            raise ToolError("the path is empty")
        try:
            resolved = Path(os.path.realpath(os.path.join(os.path.realpath(self.folders[0]), path)))
        except (OSError, ValueError) as error:  # a NUL, or what the file system's encoding cannot hold
            raise ToolError(f"{path!r} is no path: {error}") from error
        for folder in self.folders:
            root = os.path.realpath(folder)
            if resolved.is_relative_to(root):
                return Place(path, root, resolved.relative_to(root).parts)
        raise ToolError(f"{path!r} is outside the allowed folders: {', '.join(map(str, self.folders))}")


def open_file(place: Place) -> BinaryIO:
    """Open a file to read it.

    Raises:
        ToolError: there is no such file, it is no regular file, or it may not be read.
    """
    with _errors("read", place), _parent(place) as folder:
        name = place.parts[-1]
        _check_kind(os.stat(name, dir_fd=folder, follow_symlinks=False), place)
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = open(os.open(name, flags, dir_fd=folder), "rb")  # noqa: SIM115  # the caller closes it
        try:
            _check_kind(os.fstat(file.fileno()), place)
        except BaseException:
            file.close()
            raise
        return file


def replace_file(place: Place, data: bytes, check: Callable[[], None]) -> bool:
    """Write a file whole: whatever happens, a reader finds the old content or the new. True if it is a new file.

    Folders that are missing are made. A file that was there keeps its mode, and its owner if we may set that.

    Args:
        place: where.
        data: the new content.
        check: is called every now and then, and may raise to stop; then nothing is changed.

    Raises:
        ToolError: it cannot be written, or is no regular file.
    """
    with _errors("write", place), _parent(place, make=True) as folder:
        name = place.parts[-1]
        old = _stat_of(name, folder)
        if old is not None:
            _check_kind(old, place)
        temporary = f".alloy-{secrets.token_hex(8)}.tmp"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o666, dir_fd=folder)
        try:
            with open(descriptor, "wb") as file:
                if old is not None:
                    _take_over(descriptor, old)
                for start in range(0, len(data), _CHUNK):
                    check()
                    file.write(data[start : start + _CHUNK])
                file.flush()
                os.fsync(descriptor)
            check()
            os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        os.fsync(folder)
        return old is None


def _take_over(descriptor: int, old: os.stat_result) -> None:
    with contextlib.suppress(PermissionError):
        os.fchown(descriptor, old.st_uid, old.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(old.st_mode))  # last: a change of owner clears the set-user-ID bit


def _stat_of(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _parent(place: Place, *, make: bool = False) -> Iterator[int]:
    """Open the folder that holds the file, from the allowed folder down, through no symlink."""
    if not place.parts:
        raise ToolError(f"{place.asked!r} is a directory")
    folder = os.open(place.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in place.parts[:-1]:
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(part, dir_fd=folder)
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _check_kind(status: os.stat_result, place: Place) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "no regular file")
        raise ToolError(f"{place.asked!r} is {kind}, and not a file")


@contextlib.contextmanager
def _errors(verb: str, place: Place) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ToolError(f"cannot {verb} {place.asked!r}: {error.strerror}") from error
