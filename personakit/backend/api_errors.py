"""What goes wrong on the model's side, as personakit's own family of errors."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from personakit.backend.retries import Attempt, is_exhausted, retry_after
from personakit.base import deadline
from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    IncompleteAnswer,
    InvalidAnswer,
    ModelNotFound,
    QuotaExhausted,
    RateLimited,
    Timeout,
    UpstreamUnavailable,
)
from personakit.providers import Endpoint

BY_STATUS: dict[int, type[BackendError]] = {
    400: BadRequest,
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: Timeout,
    409: UpstreamUnavailable,
    413: BadRequest,
    422: BadRequest,
    429: RateLimited,
}
# What an error object says beside, or instead of, a status: OpenAI's, and those of servers alike.
_BY_CODE: dict[str, type[BackendError]] = {
    "authentication_error": AuthenticationFailed,
    "context_length_exceeded": BadRequest,
    "exceed_context_size_error": BadRequest,
    "invalid_api_key": AuthenticationFailed,
    "invalid_request_error": BadRequest,
    "model_not_found": ModelNotFound,
    "not_found_error": ModelNotFound,
    "permission_error": AuthenticationFailed,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "tokens": RateLimited,
}
_ADVICE: dict[type[BackendError], str] = {
    AuthenticationFailed: "check the provider's key; `personakit keys list` says where it is from",
    BadRequest: "change what it names; `--dry-run` shows the request",
    IncompleteAnswer: "what had arrived is kept; run it again",
    InvalidAnswer: "check that the address is that of an OpenAI-compatible API",
    ModelNotFound: "check the model's name, given as provider/model",
    QuotaExhausted: "the account has no credit left: add some, or choose another model",
    RateLimited: "wait and try again",
    Timeout: "try again, or give it more time with `timeout` and `deadline`",
    UpstreamUnavailable: "check that the address is right and the server runs",
}


def translate(
    error: Exception, endpoint: Endpoint, call: Attempt, partial: str = "", request_id: str = ""
) -> BackendError:
    """Return an error of personakit's family for whatever ended a call.

    It says what the upstream said; who calls this takes the secrets out of it.

    Args:
        error: What was raised; one of the family is completed and returned.
        endpoint: Where the request went.
        call: The attempts.
        partial: The text that had arrived.
        request_id: The upstream's name for the request, where it has answered.
    """
    found = error if isinstance(error, BackendError) else _of_client(error, partial)
    found.message = f"{endpoint.model} at {endpoint.shown}: {found.message}; {_advice(found)}"
    found.args = (found.message,)
    found.partial = found.partial or partial
    found.request_id = found.request_id or request_id
    found.attempts = call.attempts
    return found


def reported(error: Any) -> BackendError:
    """Return what an error object in a body or an event says."""
    found = error if isinstance(error, dict) else {"message": error}
    codes = [found.get(key) for key in ("code", "status", "type")]
    kinds = [
        BY_STATUS.get(code) if isinstance(code, int) else _BY_CODE.get(str(code)) for code in codes
    ]
    kind = next(filter(None, kinds), UpstreamUnavailable)
    if is_exhausted(None, found):
        kind = QuotaExhausted
    status = next((code for code in codes if isinstance(code, int)), None)
    return kind(f"the upstream reports an error: {_line(_message(found))}", status=status)


def _of_client(error: Exception, partial: str) -> BackendError:
    """Return the error for one of the openai client's or of the HTTP library under it."""
    status = getattr(error, "status_code", None)
    if status is not None:
        return _of_status(error, status)
    causes = list(_causes(error))
    if any(isinstance(cause, UnicodeEncodeError) for cause in causes):
        return BadRequest("the request holds half a surrogate pair, which is no character")
    limit = deadline.current()
    if limit is not None and limit.left <= _NEAR:
        return Timeout(f"no answer within {limit}")
    # The client on aiohttp calls a refused or broken connection a timeout, too.
    late = ["Timeout" in type(cause).__name__ for cause in causes]
    broken = [isinstance(c, ConnectionError) or "Disconnected" in type(c).__name__ for c in causes]
    if any(late) and not any(broken):
        return Timeout("it stayed silent for too long")
    cause = next((cause for cause in reversed(causes) if str(cause)), error)
    said = f"{type(cause).__name__}: {_line(cause)}"
    return (IncompleteAnswer if partial else UpstreamUnavailable)(said)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what led to it."""
    for _ in range(10):
        if error is not None:
            yield error
            error = error.__cause__ or error.__context__


_NEAR = 0.01
"""What is left of a deadline, in seconds, when what waited for it was given up."""


def _of_status(error: Any, status: int) -> BackendError:
    """Return the error for a reply that has a status of failure."""
    family = BY_STATUS.get(status, BadRequest if status < 500 else UpstreamUnavailable)
    body = getattr(error, "body", None)
    text = getattr(getattr(error, "response", None), "text", "")
    said = f"status {status}: {_line(_message(body) or text or getattr(error, 'message', error))}"
    if is_exhausted(status, body):
        family = QuotaExhausted
    if status < 400:
        family, said = UpstreamUnavailable, f"status {status}: it redirects, which is not followed"
    headers = getattr(getattr(error, "response", None), "headers", {})
    return family(
        said,
        status=status,
        request_id=getattr(error, "request_id", None) or "",
        retry_after=retry_after(headers),
    )


def _advice(error: BackendError) -> str:
    if error.retry_after is not None and 0 < error.retry_after < math.inf:
        return f"wait {error.retry_after:.3g} s and try again"
    return _ADVICE.get(type(error), "try again")


def _message(body: Any) -> Any:
    """Return what the upstream said in an error's body, wherever it says it."""
    if not isinstance(body, dict):
        return body if isinstance(body, str) else None
    return next(filter(None, (body.get(key) for key in ("message", "error", "detail"))), None)


def _line(said: Any) -> str:
    """Return what somebody said as one line that can be printed and stored."""
    text = " ".join(str(said).split())[:500]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
