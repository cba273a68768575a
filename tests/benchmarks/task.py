"""The task that both sides are given."""

from __future__ import annotations

PROMPT = "Please go on until it is done."
SYSTEM = "You are a helpful assistant."
TEXT = "This is one earlier message of the conversation, about eighty characters long..."


def history_texts(count: int) -> list[tuple[str, str]]:
    """Return `count` earlier messages as (role, text), user and assistant in turn."""
    return [("assistant" if i % 2 else "user", f"{i}: {TEXT}") for i in range(count)]
