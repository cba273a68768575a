"""A key-value store: one server, one supervisor, requests whose replies have types."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from alloy import otp

names = otp.Registry()


@attrs.frozen
class Get(otp.Request[str | None]):
    """Read a key; None if it is not there."""

    key: str


@attrs.frozen
class Put(otp.Request[None]):
    """Write a key."""

    key: str
    value: str


class Store(otp.Server):
    """The state is `self`; one message is handled at a time, so it needs no lock."""

    async def init(self) -> None:
        """Take the name, so that callers need no Ref."""
        self.values: dict[str, str] = {}
        names.register("store")

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> Any:
        """Answer a request: what is returned is the reply."""
        match request:
            case Get(key):
                return self.values.get(key)
            case Put(key, value):
                self.values[key] = value
                return None


async def main() -> None:
    """Start the tree, use it, leave: it stops with the block."""
    store = names.via("store")
    async with otp.open_system(otp.Supervisor(children=[otp.ChildSpec(start=Store)])):
        await otp.call(store, Put("language", "Python"))
        language = await otp.call(store, Get("language"))  # its type is str | None
        print(f"language: {language}, year: {await otp.call(store, Get('year'))}")


if __name__ == "__main__":
    trio.run(main)
