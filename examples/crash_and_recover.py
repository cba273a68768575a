"""A server crashes. Its caller hears why, its supervisor starts a new one, its name leads to that."""

from __future__ import annotations

from typing import Any

import attrs
import trio

from alloy import otp

names = otp.Registry()


@attrs.frozen
class Divide(otp.Request[float]):
    """Divide by a number, and count the divisions."""

    by: float


class Divider(otp.Server):
    """Fragile: it does not check its arguments."""

    done = 0

    async def init(self) -> None:
        """Each incarnation begins with clean state, under the same name."""
        names.register("divider")

    async def handle_call(self, request: Any, reply_to: otp.ReplyTo[Any]) -> float:
        """An error here ends this incarnation, and nothing else."""
        result = 100 / request.by
        self.done += 1
        return result

    def format_status(self) -> object:
        """What the crash report may show."""
        return {"done": self.done}


async def main() -> None:
    """Divide, crash, divide again."""
    divider = names.via("divider")
    async with otp.open_system(otp.Supervisor(children=[otp.ChildSpec(start=Divider)])) as root:
        print("100 / 4 =", await otp.call(divider, Divide(4)))
        try:
            await otp.call(divider, Divide(0))
        except otp.ServerExited as error:
            print(f"the divider is gone: {error.__cause__!r}")
        print("100 / 5 =", await otp.call(divider, Divide(5), wait=True))
        (node,) = otp.tree(root)["children"]  # type: ignore[misc]  # plain data
        print("restarts:", node["restarts"])


if __name__ == "__main__":
    # logging.basicConfig() would show the supervisor's report of the crash.
    trio.run(main)
