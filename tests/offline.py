"""No network but this machine's own: for the tests, and for one program with `python tests/offline.py FILE`.

A look-up of a foreign name and a connection to a foreign address fail as they would on a machine
without a network, so what passes here passes there.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import runpy
import socket
import sys


def refuse_network() -> None:
    """From here on, and for good, this process reaches only itself and this machine's loopback addresses."""
    sys.addaudithook(_audit)


def is_local(host: object) -> bool:
    """Whether `host`, as given to a socket, is on this machine."""
    if isinstance(host, bytes):
        host = host.decode()
    if host in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _audit(event: str, arguments: tuple[object, ...]) -> None:
    if event == "socket.connect":
        address = arguments[1]
        if isinstance(address, tuple) and not is_local(address[0]):  # a str or bytes is a Unix socket's path
            raise OSError(errno.ENETUNREACH, f"{os.strerror(errno.ENETUNREACH)} (tests are offline)", str(address[0]))
    elif event == "socket.getaddrinfo" and not _needs_no_lookup(arguments[0]):
        raise socket.gaierror(socket.EAI_NONAME, f"no look-up of {arguments[0]!r}: tests are offline")


def _needs_no_lookup(host: object) -> bool:
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return is_local(host)
    return True


if __name__ == "__main__":
    refuse_network()
    del sys.argv[0]
    runpy.run_path(sys.argv[0], run_name="__main__")
