"""What damage is done to: a few sessions, and what they hold."""

from __future__ import annotations

from alloy.llm import UserMessage
from alloy.loop.records import Described, ModelChanged, Record, Said
from alloy.stores import Store

SESSIONS: dict[str, list[list[Record]]] = {
    "first": [
        [Said(run_id="r", message=UserMessage("Hello \u2028 \ud800", id="msg_1")), ModelChanged(model="m")],
        [Described(metadata={"title": "A talk"})],
        [Said(run_id="r", message=UserMessage("And then?", id="msg_2"))],
    ],
    "the/second": [[ModelChanged(model=f"scripted:{number}")] for number in range(4)],
}


async def write(store: Store) -> None:
    """Fill the store with the sessions, a commit for each list of records."""
    for session_id, commits in SESSIONS.items():
        async with store.open(session_id) as journal:
            for records in commits:
                await journal.append(*records)


async def records_of(store: Store, session_id: str) -> list[Record]:
    """What a session holds."""
    return [entry.record for entry in await store.entries(session_id)]


def whole(session_id: str, commits: int | None = None) -> list[Record]:
    """What a session holds after so many commits; by default after all."""
    return [record for records in SESSIONS[session_id][:commits] for record in records]
