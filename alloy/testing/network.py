"""No network: whoever tries to reach another machine is stopped, and the test fails."""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Iterator
from contextlib import contextmanager


class _Guard:
    """Watches this process's sockets. There is one, because what Python audits cannot be left unaudited again."""

    def __init__(self) -> None:
        self.blocks: list[list[str]] = []  # the attempts of each block that is open, outermost first
        self._is_hooked = False

    def hook(self) -> None:
        if not self._is_hooked:
            sys.addaudithook(self._audit)
            self._is_hooked = True

    def _audit(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.blocks or not event.startswith("socket."):
            return
        if (attempt := _attempt(event, arguments)) is not None:
            for attempts in self.blocks:
                attempts.append(attempt)
            raise AssertionError(f"{attempt}, but this test is offline; use a scripted model, or loopback")


_guard = _Guard()


@contextmanager
def offline() -> Iterator[None]:
    """Within the block this process reaches nothing but itself and this machine's loopback addresses.

    Whoever tries, in whatever thread, gets an AssertionError that says whom it wanted; and because somebody may
    swallow that, leaving the block raises it again. Names are not looked up either, but those of this machine.
    Other processes, such as those that `bash` starts, are not held to it.

    Raises:
        AssertionError: on leaving: there was an attempt.
    """
    attempts: list[str] = []
    _guard.hook()
    _guard.blocks.append(attempts)
    try:
        yield
    finally:
        _guard.blocks.remove(attempts)
    if attempts:
        raise AssertionError(f"the network was used in a test that is offline: {'; '.join(dict.fromkeys(attempts))}")


def _attempt(event: str, arguments: tuple[object, ...]) -> str | None:
    """What an audited event would do to the network; None if it keeps to this machine."""
    match event, arguments:
        case "socket.connect", (_, (host, port, *_)) if not _is_local(host):
            return f"somebody connects to {_shown(host)}:{port}"
        case (("socket.sendto" | "socket.sendmsg"), (_, (host, port, *_))) if not _is_local(host):
            return f"somebody sends to {_shown(host)}:{port}"
        case ("socket.getaddrinfo" | "socket.gethostbyname", (host, *_)) if _address(host) is None:
            return None if _is_local(host) else f"somebody looks up {_shown(host)}"
    return None  # a str or bytes instead of a pair is the path of a Unix socket


def _is_local(host: object) -> bool:
    if (address := _address(host)) is not None:
        return address.is_loopback or address.is_unspecified
    return host is None or _shown(host) in ("", "localhost")


def _address(host: object) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(_shown(host))
    except ValueError:
        return None


def _shown(host: object) -> str:
    return host.decode("utf-8", "replace") if isinstance(host, bytes) else str(host)
