"""One member of a team: its handle, and how it is started and stopped under the team's supervisor."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import attrs
import trio

from alloy import otp
from alloy.agents import AgentRef
from alloy.agents.live import leave, session_of
from alloy.agents.server import TIDY_SECONDS

REMOVED = otp.Shutdown("it is no member of the team any more")


@attrs.define(eq=False)
class Member:
    """An agent of a team. Whoever starts or stops it holds its `turn`.

    Attributes:
        ref: its handle.
        spec: of its server.
        child: what the team's supervisor has for it: the server itself, or a small supervisor above it.
    """

    ref: AgentRef[Any]
    spec: otp.ChildSpec
    child: otp.ChildSpec
    turn: trio.Lock = attrs.field(factory=trio.Lock)

    async def start(self, root: otp.Ref) -> None:
        """Start it for the first time. If that fails nothing is left of it, and whoever waits for it is told."""
        try:
            await otp.start_child(root, self.child)
        except BaseException:
            await self._dismiss(root)
            raise

    async def restart(self, root: otp.Ref) -> None:
        """Start it anew, in its old place, whether it is up or down. Whoever waits for it goes on waiting."""
        state = session_of(self.spec)
        state.returns = True
        try:
            with suppress(otp.ChildError):  # it was down, and is forgotten
                await otp.terminate_child(root, self.child.id)
            try:
                await otp.restart_child(root, self.child.id)
            except otp.ChildError as error:
                if error.code == "not_found":
                    await otp.start_child(root, self.child)
                # Else it is up, or about to be: it was restarted together with others.
        except BaseException:
            state.close(otp.NoProcess())
            raise
        finally:
            state.returns = False

    async def remove(self, root: otp.Ref) -> None:
        """Let its run end within its time, then stop it for good."""
        try:
            with suppress(otp.ServerExited):  # by a crash, which is no matter any more
                await self.ref.stop()
        finally:
            await self._dismiss(root)

    async def _dismiss(self, root: otp.Ref) -> None:
        """Stop what there is of it, at once, and have the supervisor forget it."""
        leave([self.spec], in_order=False)
        with trio.move_on_after(2 * TIDY_SECONDS, shield=True):
            for act in (otp.terminate_child, otp.delete_child):
                with suppress(otp.ChildError, otp.ServerExited):  # it is forgotten already, or the team is down
                    await act(root, self.child.id)
        session_of(self.spec).close(REMOVED)
