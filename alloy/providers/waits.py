"""How long a server asks us to wait. Pure but for the clock, where a date is given without another to count from."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from math import isfinite
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"\d+(?:\.\d+)?"
_UNIT = r"ms|milliseconds?|s|sec(?:ond)?s?|m|min(?:ute)?s?|h|hours?|d|days?"
_AGAIN_IN = re.compile(rf"(?:try again|retry) (?:in|after)\s+((?:{_NUMBER}\s*(?:{_UNIT})(?![a-z])\s*)+)", re.IGNORECASE)
_SPAN = re.compile(rf"({_NUMBER})\s*({_UNIT})(?![a-z])", re.IGNORECASE)


def wait_from(headers: Mapping[str, str], message: str = "", *, now: float | None = None) -> float | None:
    """How many seconds the server asks us to wait, from its headers or else its words; None if it does not say.

    Args:
        headers: of the answer; the names are lower case.
        message: the error's text: "try again in 1.2s", "350ms", "2m3s".
        now: UNIX seconds, to count from to a date; by default the answer's own date, or else this machine's.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    if (seconds := _number(given)) is not None:
        return seconds
    if given and (until := _date(given)) is not None:
        if now is None:
            now = _date(headers.get("date", "")) or time.time()
        return until - now if until > now else None
    return _span(message)


def _number(value: str | None) -> float | None:
    """A number of 0 or more; nonsense, as some proxies send, counts as nothing."""
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if isfinite(number) and number >= 0 else None


def _date(value: str) -> float | None:
    try:
        parsed = parsedate_to_datetime(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _span(message: str) -> float | None:
    found = _AGAIN_IN.search(message)
    if not found:
        return None
    return sum(float(number) * _SECONDS[_unit(unit.lower())] for number, unit in _SPAN.findall(found[1]))


def _unit(word: str) -> str:
    return "ms" if word.startswith(("ms", "milli")) else word[0]


def pacific_midnight(now: float | None = None) -> float | None:
    """The next midnight in California, when Google's daily quotas fill up again, in UNIX seconds.

    Args:
        now: UNIX seconds; by default this machine's.

    Returns:
        None where the system knows no time zones.
    """
    try:
        zone = ZoneInfo("America/Los_Angeles")
    except ZoneInfoNotFoundError:
        return None
    day = datetime.fromtimestamp(time.time() if now is None else now, zone).date() + timedelta(days=1)
    return datetime.combine(day, datetime.min.time(), zone).timestamp()


_REGAIN = re.compile(r"regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d))?")


def regained_at(message: str) -> float | None:
    """When the text says a quota is filled up again, in UNIX seconds; None if it does not."""
    found = _REGAIN.search(message)
    if not found:
        return None
    return datetime.fromisoformat(f"{found[1]}T{found[2] or '00:00'}+00:00").timestamp()
