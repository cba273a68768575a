"""Names and groups: a registry finds processes by key, and forgets them when they end.

Source: Elixir 1.21, Registry; Erlang/OTP 25, pg(3); read 2026-11-24.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import attrs
from trio.lowlevel import ParkingLot, checkpoint

from alloy.otp.address import Ref, resolve
from alloy.otp.context import here
from alloy.otp.errors import AlreadyRegistered
from alloy.otp.signals import Notice

if TYPE_CHECKING:
    from alloy.otp.process import Process


@attrs.frozen
class Via:
    """An address by name: whoever owns `key` in `registry` at the moment; it survives restarts."""

    registry: Registry = attrs.field(repr=False)
    key: Hashable
    value: object = attrs.field(default=None, repr=False)

    def whereis(self) -> Ref | None:
        """The owner; of several in a duplicate registry the first that registered."""
        found = self.registry.lookup(self.key)
        return found[0][0] if found else None

    async def wait_registered(self) -> None:
        """Block until somebody owns the key; at once if somebody does."""
        await self.registry.wait_registered(self.key)


@attrs.define(eq=False)
class Entry:
    """One process under one key."""

    key: Hashable
    process: Process = attrs.field(repr=False)
    value: object


@attrs.define(eq=False, repr=False)
class RegistryMonitor:
    """A watch on a key, or on all keys: its owner gets `Joined` and `Left`."""

    registry: Registry
    owner: Process
    key: Hashable

    @property
    def name(self) -> Hashable:
        """What the registry keeps it under."""
        return None if self.key is None else strict(self.key)


@attrs.frozen
class Joined:
    """To `handle_info`: a process was registered under a watched key."""

    monitor: RegistryMonitor
    key: Hashable
    ref: Ref
    value: object


@attrs.frozen
class Left:
    """To `handle_info`: a process is no longer registered under a watched key."""

    monitor: RegistryMonitor
    key: Hashable
    ref: Ref
    value: object


class Registry:
    """Keys and the processes that have them; an object to be handed to whoever needs it, nothing global.

    Keys compare by type and value: 1, 1.0 and True are three. With `unique` a key has one owner at most;
    without, as many entries as were made, also of one process.
    """

    def __init__(self, *, unique: bool = True) -> None:
        self._unique = unique
        # Dicts as ordered sets: in a group of ten thousand, each that ends is struck out at once.
        self._entries: dict[Hashable, dict[Entry, None]] = {}
        self._of: dict[Process, dict[Entry, None]] = {}
        self._monitors: dict[Hashable, dict[RegistryMonitor, None]] = {}  # None is for all keys
        self._monitors_of: dict[Process, list[RegistryMonitor]] = {}
        self._arrivals: dict[Hashable, ParkingLot] = {}  # who waits for a key; no empty ones

    def __repr__(self) -> str:
        return f"<{'unique' if self._unique else 'duplicate'} Registry of {self.count()} entries>"

    def register(self, key: Hashable, value: object = None, *, ref: Ref | None = None) -> None:
        """Enter a process, by default the calling one, under `key`; its end takes it out.

        Raises:
            AlreadyRegistered: a unique key has an owner, be it the same process.
            ServerExited: `ref` is dead.
            RuntimeError: without `ref`, outside of a process.
        """
        process = here("register(key, ref=…)") if ref is None else resolve(ref)
        if process.ref.process is None:
            raise RuntimeError(f"{process.ref.label!r} has ended; it can take no name")
        entries = self._entries.get(strict(key))
        if entries and self._unique:
            raise AlreadyRegistered(key, next(iter(entries)).process.ref)
        entry = Entry(key, process, value)
        self._entries.setdefault(strict(key), {})[entry] = None
        self._of.setdefault(process, {})[entry] = None
        process.enter(self)
        if (waiting := self._arrivals.pop(strict(key), None)) is not None:
            waiting.unpark_all()
        self._tell(Joined, entry)

    def unregister(self, key: Hashable, *, ref: Ref | None = None) -> None:
        """Take out one entry of a process, by default the calling one, under `key`; nothing if there is none."""
        process = here("unregister(key, ref=…)") if ref is None else ref.process
        if process is not None and (entry := self._entry(key, process)) is not None:
            mine = self._of[process]
            del mine[entry]
            if not mine:
                del self._of[process]
            self._drop(entry)

    def lookup(self, key: Hashable) -> tuple[tuple[Ref, object], ...]:
        """The processes under `key` with their values, in the order they came."""
        return tuple((entry.process.ref, entry.value) for entry in self._entries.get(strict(key), ()))

    def keys(self, ref: Ref) -> tuple[Hashable, ...]:
        """The keys of a process, in the order they came, as often as it has them."""
        process = ref.process
        return () if process is None else tuple(entry.key for entry in self._of.get(process, ()))

    def values(self, key: Hashable, ref: Ref) -> tuple[object, ...]:
        """The values of a process under `key`."""
        return tuple(entry.value for entry in self._entries.get(strict(key), ()) if entry.process.ref is ref)

    def count(self) -> int:
        """How many entries there are."""
        return sum(map(len, self._entries.values()))

    def update_value(
        self, key: Hashable, fn: Callable[[Any], object], *, ref: Ref | None = None
    ) -> tuple[object, object]:
        """Replace the value of a process, by default the calling one, under `key`; answers (new, old).

        Raises:
            KeyError: the process does not have the key.
        """
        process = here("update_value(key, fn, ref=…)") if ref is None else ref.process
        entry = None if process is None else self._entry(key, process)
        if entry is None:
            raise KeyError(key)
        old, entry.value = entry.value, fn(entry.value)
        return entry.value, old

    def via(self, key: Hashable, value: object = None) -> Via:
        """The address of whoever has `key`."""
        return Via(self, key, value)

    def monitor(self, key: Hashable | None = None) -> RegistryMonitor:
        """Get `Joined` and `Left` for `key`, or for all keys. Only inside a process, until it ends.

        A `lookup` in the same step is what the first of them changes.
        """
        owner = here("wait_down")
        watch = RegistryMonitor(self, owner, key)
        self._monitors.setdefault(watch.name, {})[watch] = None
        self._monitors_of.setdefault(owner, []).append(watch)
        owner.enter(self)
        return watch

    async def wait_registered(self, key: Hashable) -> None:
        """Block until somebody owns `key`; at once if somebody does."""
        name = strict(key)
        if self._entries.get(name):
            await checkpoint()
            return
        waiting = self._arrivals.setdefault(name, ParkingLot())
        try:
            await waiting.park()
        finally:
            if not waiting and self._arrivals.get(name) is waiting:
                del self._arrivals[name]

    def release(self, process: Process) -> None:
        """Strike out a process that has ended."""
        for entry in self._of.pop(process, ()):
            self._drop(entry)
        for watch in self._monitors_of.pop(process, ()):
            watches = self._monitors[watch.name]
            del watches[watch]
            if not watches:
                del self._monitors[watch.name]

    def _entry(self, key: Hashable, process: Process) -> Entry | None:
        return next((entry for entry in self._entries.get(strict(key), ()) if entry.process is process), None)

    def _drop(self, entry: Entry) -> None:
        entries = self._entries[strict(entry.key)]
        del entries[entry]
        if not entries:
            del self._entries[strict(entry.key)]
        self._tell(Left, entry)

    def _tell(self, kind: type[Joined] | type[Left], entry: Entry) -> None:
        for name in (None, strict(entry.key)):
            for watch in self._monitors.get(name, ()):
                watch.owner.mailbox.signal(Notice(kind(watch, entry.key, entry.process.ref, entry.value)))


def strict(key: Hashable) -> Hashable:
    """A key that is equal only to keys of the same type; inside of tuples too."""
    if type(key) is tuple:
        return (tuple, *map(strict, key))
    return (type(key), key)
