"""What a server says went wrong, in whatever shape it says it. Pure, for all dialects.

Source: the vendors' error pages and SDKs (read 2026-11-22), and recorded errors.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping

import attrs

from alloy.llm.content import JSON

_MESSAGE_LIMIT = 500  # characters


@attrs.frozen(kw_only=True)
class Problem:
    """What a server says went wrong, whatever shape it said it in.

    Attributes:
        message: its text, for a human.
        code, type: its words for a program; numbers as text.
        status: the HTTP status that it names in the body.
        transient: it says that waiting helps.
        wait: seconds that it asks us to wait, None if it does not say in a field.
        resets_at: when a quota is filled up again, in UNIX seconds; None if it does not say in a field.
    """

    message: str = ""
    code: str = ""
    type: str = ""
    status: int | None = None
    request_id: str | None = None
    transient: bool = False
    wait: float | None = None
    resets_at: float | None = None

    @property
    def word(self) -> str:
        """The most telling of its words; empty if it has none."""
        return next((word for word in (self.code, self.type) if word and not word.isdigit()), "")


def problem_in(body: bytes) -> Problem:
    """Read an error's body: JSON of any of the shapes in use, HTML, plain text, or nothing."""
    text = body.decode("utf-8", "replace").strip()
    try:
        return problem_from(json.loads(text))
    except (ValueError, RecursionError):
        return Problem(message=_plain(text))


def problem_from(value: JSON) -> Problem:
    """Read an error from its JSON."""
    match value:
        case [first, *_]:  # Gemini wraps it in a list
            return problem_from(first)
        case {"error": dict() as error}:
            found = _from_fields(error)
            return attrs.evolve(found, request_id=found.request_id or _text(value.get("request_id")) or None)
        case {"error": str() as message}:  # xAI, Ollama
            return Problem(message=message, code=_text(value.get("code")))
        case {"detail": list() as details}:  # FastAPI: Mistral, vLLM
            return Problem(message="; ".join(_detail(item) for item in details))
        case {"detail": str() as message}:
            return Problem(message=message)
        case {"message": _}:
            return _from_fields(value)
        case _:
            return Problem(message=_text(value or None))


def _from_fields(error: Mapping[str, JSON]) -> Problem:
    message = _text(error.get("message"))
    match error.get("metadata"):
        case {"raw": str() as raw} if raw.strip():  # OpenRouter: what the server behind it said
            message = f"{message}: {problem_in(raw.encode('utf-8', 'replace')).message}"
        case {"limit_source": "openrouter_in_flight_budget"}:
            return Problem(message=message, code=_text(error.get("code")), transient=True)
    code, wait = _text(error.get("code")), None
    match error.get("details"):
        case {"error_code": str() as code}:  # Anthropic: stable, where there is one
            pass
        case list() as details:
            named, wait = _of_google(details)
            code = named or code
    number = str(error.get("status_code", error.get("code")))
    status = int(number) if re.fullmatch("[45][0-9][0-9]", number) else None
    word = error.get("status") if isinstance(error.get("status"), str) else None  # Gemini
    resets_at = error.get("resets_at")  # Codex
    return Problem(
        message=message,
        code=code,
        type=_text(error.get("type") or word),
        status=status,
        wait=wait,
        resets_at=resets_at if isinstance(resets_at, int | float) else None,
    )


def _of_google(details: Iterable[JSON]) -> tuple[str, float | None]:
    """The word that tells most, and the seconds to wait, in Google's details of an error.

    Source: Google, `google.rpc` error details (read 2026-11-22).
    """
    code, wait = "", None
    for detail in details:
        match detail:
            case {"reason": str() as reason}:
                code = code or reason
            case {"violations": list() as violations}:
                names = [str(one.get("quotaId")) for one in violations if isinstance(one, dict)]
                code = next((name for name in names if "PerDay" in name), code)
            case {"retryDelay": str() as delay} if re.fullmatch(r"[0-9]+(\.[0-9]+)?s", delay):
                wait = float(delay[:-1])
    return code, wait


def _text(value: JSON) -> str:
    return value if isinstance(value, str) else "" if value is None else _shorten(json.dumps(value))


def _detail(item: JSON) -> str:
    match item:
        case {"loc": list() as place, "msg": str() as message}:
            return f"{'.'.join(map(str, place))}: {message}"
        case _:
            return _text(item)


def _plain(text: str) -> str:
    """The title of an HTML page, or the text as it is."""
    if title := re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL):
        text = title[1]
    elif text.startswith("<"):
        text = re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", text, flags=re.IGNORECASE | re.DOTALL)
    return _shorten(" ".join(text.split()))


def _shorten(text: str) -> str:
    """Cut a long text, between words, so that no part of a key is left that would not be known as one."""
    return text if len(text) <= _MESSAGE_LIMIT else text[: _MESSAGE_LIMIT - 1].rsplit(None, 1)[0] + "…"
