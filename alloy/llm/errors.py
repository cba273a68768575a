"""What can go wrong between us and a model.

AlloyError
└─ ProviderError
   ├─ AuthError                   401, 403
   │  └─ MissingKey               no key was given; raised before anything is sent
   ├─ NotFound                    404: no such model, no such path
   ├─ BadRequest                  400, 422
   ├─ ContextTooLong              the prompt does not fit the model's window
   ├─ RequestTooLarge             413: too many bytes
   ├─ ContentRejected             the vendor's policy refuses the prompt
   ├─ StaleReasoning              reasoning was sent back that the vendor does not accept any more
   ├─ RateLimited *               429: wait
   ├─ QuotaExhausted              out of money or plan; waiting does not help
   ├─ Overloaded *                503, 529
   ├─ ServerError *               408, 409, 5xx
   ├─ ConnectFailed *             no connection was made
   ├─ ReadTimeout *               one of the stream's time limits passed
   ├─ StreamTruncated *           the answer ended before its end
   ├─ ProtocolError               the answer cannot be read
   └─ UnsupportedFeature          the model cannot do what was asked; raised before anything is sent

* retryable

Source: the vendors' error pages and SDKs (read 2026-11-22).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from alloy.errors import AlloyError

if TYPE_CHECKING:
    from alloy.llm.message import AssistantMessage


class ProviderError(AlloyError):
    """A model could not be asked, or its answer is an error.

    Attributes:
        vendor, model: who was asked.
        status: the HTTP status, or for an error inside a stream the one that means the same; None without one.
        code, type: the vendor's own words for the error.
        request_id: the vendor's id of the request, for its support.
        body: the start of what the server sent, secrets removed.
        retry_after: seconds that the server asks us to wait; None if it says nothing.
        in_stream: the error came after the answer had begun.
        sent: the request may have reached the server, and may be billed.
        partial: what had come of the answer; None if nothing.
        delivered: some of the answer had been handed on to whoever watches.
        retryable: the same request may succeed later; fixed by class.
    """

    retryable: ClassVar[bool] = False

    def __init__(
        self,
        message: str = "",
        *,
        vendor: str = "",
        model: str = "",
        status: int | None = None,
        code: str | None = None,
        type: str | None = None,
        request_id: str | None = None,
        body: str = "",
        retry_after: float | None = None,
        in_stream: bool = False,
        sent: bool = True,
        partial: AssistantMessage | None = None,
        result: Any = None,
    ) -> None:
        super().__init__(message, result=result)
        self.vendor = vendor
        self.model = model
        self.status = status
        self.code = code
        self.type = type
        self.request_id = request_id
        self.body = body
        self.retry_after = retry_after
        self.in_stream = in_stream
        self.sent = sent
        self.partial = partial
        self.delivered: bool = False


class AuthError(ProviderError):
    """The key is refused, or may not do this."""


class MissingKey(AuthError):
    """No key was given for the vendor. `variable` is the environment variable that is looked at."""

    def __init__(self, message: str = "", *, variable: str = "", **fields: Any) -> None:
        super().__init__(message, **{"sent": False, **fields})
        self.variable = variable


class NotFound(ProviderError):
    """The vendor has no such model, or the base URL is wrong."""


class BadRequest(ProviderError):
    """The vendor does not accept the request as it stands."""


class ContextTooLong(ProviderError):
    """The prompt does not fit. `limit` and `used` are tokens, None where the vendor does not say."""

    def __init__(self, message: str = "", *, limit: int | None = None, used: int | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.limit = limit
        self.used = used


class RequestTooLarge(ProviderError):
    """The request has too many bytes."""


class ContentRejected(ProviderError):
    """The vendor's policy refuses the prompt."""


class StaleReasoning(ProviderError):
    """Reasoning that was sent back is not accepted any more."""


class RateLimited(ProviderError):
    """Too many requests or tokens in too short a time."""

    retryable = True


class QuotaExhausted(ProviderError):
    """The account is out of money or of its plan's share. `resets_at` is UNIX seconds, None if unknown."""

    def __init__(self, message: str = "", *, resets_at: float | None = None, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.resets_at = resets_at


class Overloaded(ProviderError):
    """The vendor has no capacity at the moment."""

    retryable = True


class ServerError(ProviderError):
    """The vendor failed."""

    retryable = True


class ConnectFailed(ProviderError):
    """No connection could be made; nothing was sent."""

    retryable = True

    def __init__(self, message: str = "", **fields: Any) -> None:
        super().__init__(message, **{"sent": False, **fields})


class ReadTimeout(ProviderError):
    """The server was silent for too long: before the first byte, between bytes, or it sent no content."""

    retryable = True

    def __init__(
        self, message: str = "", *, phase: Literal["first_byte", "silence", "no_content"] = "silence", **fields: Any
    ) -> None:
        super().__init__(message, **fields)
        self.phase = phase


class StreamTruncated(ProviderError):
    """The answer ended before its end: the connection broke, or the terminal event never came."""

    retryable = True


class ProtocolError(ProviderError):
    """The answer is not what the vendor's API promises, and cannot be read."""


class UnsupportedFeature(ProviderError):
    """This vendor or model cannot do what was asked. `feature` names it; nothing was sent."""

    def __init__(self, message: str = "", *, feature: str = "", **fields: Any) -> None:
        super().__init__(message, **{"sent": False, **fields})
        self.feature = feature
