"""Every error that a client can see, as one tree and one closed list of sentences.

    GatewayError              500
    ├── RequestRejected       400   what the client sent cannot be served as it is
    ├── Unauthorized          401
    ├── NotFound              404
    │   └── ModelNotFound     404
    ├── MethodNotAllowed      405
    ├── TooLarge              413
    ├── UnsupportedMedia      415
    ├── Overloaded            503   too much at once, here; carries retry_after
    │   └── RateLimited       429
    ├── GuardUnavailable      503   the policy cannot be enforced now, so nothing leaves
    ├── UpstreamUnreachable   502
    ├── UpstreamTimeout       504
    └── UpstreamFailed        502   it answered, and the answer is of no use
        ├── UpstreamRefusesKey 502  of Lethe's key, which is no client's business
        ├── UpstreamRejected  400   it did not like the request
        │   └── ContextTooLong 400
        └── UpstreamBusy      429   carries retry_after

A withheld answer is no error: it is a ruling and an ordinary answer.  Messages are our own words: neither
the client's text nor the upstream's is ever part of one, and every error is raised `from None` where its
cause quotes either.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import orjson

MAX_RETRY_S = 3600
"""Longest wait, in seconds, that is passed on from an upstream."""


Code = Literal[
    "internal_error",
    "invalid_request",
    "unsupported_parameter",
    "invalid_api_key",
    "not_found",
    "model_not_found",
    "method_not_allowed",
    "request_too_large",
    "unsupported_media_type",
    "overloaded",
    "rate_limit_exceeded",
    "service_unavailable",
    "upstream_unreachable",
    "upstream_timeout",
    "upstream_error",
    "context_length_exceeded",
    "foreign",
]
"""What an error is called, in answers, metrics and the audit."""


class GatewayError(Exception):
    """An answer that says in the client's own protocol why there is no other.

    message: a sentence of ours, safe to send and to log.
    param: the request field it is about, as a path of names that this code knows, or None.
    retry_after: seconds from 1, or None.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "server_error"
    code: ClassVar[Code] = "internal_error"
    sentence: ClassVar[str] = "The server had an error while processing your request."

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after: int | None = None
    ) -> None:
        super().__init__(message or self.sentence)
        self.message = message or self.sentence
        self.param = param
        self.retry_after = retry_after

    @property
    def kind(self) -> str:
        """What the operator's metrics call it: the code, or what a client need not know."""
        return self.code

    def as_object(self) -> dict[str, dict[str, str | None]]:
        """Return the OpenAI error object, `{"error": {message, type, param, code}}`."""
        return {"error": {"message": self.message, "type": self.type, "param": self.param, "code": self.code}}

    def body(self) -> bytes:
        """Return the error object as JSON bytes, for an `application/json` answer."""
        return orjson.dumps(self.as_object())

    def headers(self) -> dict[str, str]:
        """Return the headers that belong to the error: `retry-after`, in seconds, where there is a wait."""
        return {} if self.retry_after is None else {"retry-after": str(self.retry_after)}


class RequestRejected(GatewayError):
    """The request cannot be served as it is; sending it again will not help."""

    status = 400
    type = "invalid_request_error"
    code: ClassVar[Code] = "invalid_request"
    sentence = "The request is invalid."


class FieldDenied(RequestRejected):
    """The request sets a field that Lethe does not let through."""

    code = "unsupported_parameter"
    sentence = "The request sets a field that is not supported."


class Unauthorized(GatewayError):
    """The API key is missing or wrong."""

    status = 401
    type = "authentication_error"
    code = "invalid_api_key"
    sentence = "The API key is missing or wrong."


class NotFound(GatewayError):
    """No such route."""

    status = 404
    type = "invalid_request_error"
    code: ClassVar[Code] = "not_found"
    sentence = "There is nothing at this address."


class ModelNotFound(NotFound):
    """No such model for this key."""

    code = "model_not_found"
    sentence = "The model does not exist, or this key may not use it."


class MethodNotAllowed(GatewayError):
    """The route exists, for another method."""

    status = 405
    type = "invalid_request_error"
    code = "method_not_allowed"
    sentence = "This address does not take that method."


class TooLarge(GatewayError):
    """The request is over a limit of size: refused whole, never checked in part."""

    status = 413
    type = "invalid_request_error"
    code = "request_too_large"
    sentence = "The request is too large."


class UnsupportedMedia(GatewayError):
    """The request's body is not JSON by its own declaration."""

    status = 415
    type = "invalid_request_error"
    code = "unsupported_media_type"
    sentence = "The request must have the content type application/json."


class Overloaded(GatewayError):
    """More is asked at once than this process takes on."""

    status = 503
    code: ClassVar[Code] = "overloaded"
    sentence = "The server is overloaded. Try again shortly."

    def __init__(
        self, message: str | None = None, *, param: str | None = None, retry_after: int | None = 1
    ) -> None:
        super().__init__(message, param=param, retry_after=retry_after)


class RateLimited(Overloaded):
    """This key asks for more than its share."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    sentence = "Too many requests. Try again shortly."


class GuardUnavailable(GatewayError):
    """The policy cannot be enforced now, so that nothing may leave; the same words whatever failed."""

    status = 503
    code = "service_unavailable"
    sentence = "The service is unavailable. Try again shortly."


class UpstreamUnreachable(GatewayError):
    """The model server cannot be reached."""

    status = 502
    code = "upstream_unreachable"
    sentence = "The model server cannot be reached."


class UpstreamTimeout(GatewayError):
    """The model server took too long."""

    status = 504
    code = "upstream_timeout"
    sentence = "The model server took too long."


class UpstreamFailed(GatewayError):
    """The model server answered, and the answer is an error or no answer of this protocol."""

    status = 502
    code: ClassVar[Code] = "upstream_error"
    sentence = "The model server failed."


class UpstreamRefusesKey(UpstreamFailed):
    """The model server does not take Lethe's own key; a client reads what it reads of any failure."""

    kind = "upstream_key_refused"


class UpstreamRejected(UpstreamFailed):
    """The model server does not take this request."""

    status = 400
    type = "invalid_request_error"
    code: ClassVar[Code] = "invalid_request"
    sentence = "The model server did not accept the request."


class ContextTooLong(UpstreamRejected):
    """The conversation does not fit the model."""

    code = "context_length_exceeded"
    sentence = "The messages are longer than the model's context. Shorten them, or ask for fewer tokens."


class UpstreamBusy(UpstreamFailed):
    """The model server asks for a pause."""

    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"
    sentence = "The model server is busy. Try again shortly."


# What marks a 400 as one about length: OpenAI's code, and the phrase that vLLM and its kin put into theirs.
_LENGTH_MARKS = (b"context_length_exceeded", b"maximum context length", b"max_model_len")


KEY_REFUSED = (401, 403)
"""What an upstream says to a key that it does not take."""


def upstream_error(status: int, body: bytes = b"", retry_after: str | None = None) -> GatewayError:
    """Return the error that a client gets for an upstream's HTTP status; nothing of its body passes.

    `body` only tells a prompt that is too long from other bad requests.  401 and 403 become 502: the key is
    ours.  `retry_after` is the upstream's header, of which only a whole number of seconds is kept.
    """
    if status in (400, 413, 422):
        too_long = status == 413 or any(mark in body for mark in _LENGTH_MARKS)
        return ContextTooLong() if too_long else UpstreamRejected()
    if status in KEY_REFUSED:
        return UpstreamRefusesKey()
    if status == 404:
        return ModelNotFound()
    if status == 429:
        return UpstreamBusy(retry_after=_seconds(retry_after))
    if status in (408, 504):
        return UpstreamTimeout()
    return UpstreamFailed()


def _seconds(header: str | None) -> int:
    if header is None or not header.isascii() or not header.isdigit() or len(header) > 9:
        return 1
    return min(max(int(header), 1), MAX_RETRY_S)
