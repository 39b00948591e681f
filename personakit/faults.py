"""What the openai client raises, as personakit's own family of errors."""

from __future__ import annotations

from personakit import clients
from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    IncompleteAnswer,
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
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: Timeout,
    413: BadRequest,
    422: BadRequest,
    429: RateLimited,
}
_ADVICE: dict[type[BackendError], str] = {
    AuthenticationFailed: "check the key that the provider's environment variable holds",
    ModelNotFound: "check the model's name, given as provider/model",
    QuotaExhausted: "the account has no credit left",
    RateLimited: "wait and try again",
    Timeout: "try again, or give it more time",
    UpstreamUnavailable: "check that the address is right and the server runs",
}


def translate(error: Exception, endpoint: Endpoint, partial: str = "") -> BackendError:
    """Return an error of personakit's family for one of the openai client's.

    Args:
        error: What the client raised.
        endpoint: Where the request went.
        partial: The text that had arrived.
    """
    kind = clients.openai()
    status = getattr(error, "status_code", None)
    family: type[BackendError]
    if isinstance(error, kind.APITimeoutError) or "Timeout" in type(error).__name__:
        family, said = Timeout, "it did not answer in time"
    elif status is not None:
        family = BY_STATUS.get(status, BadRequest if status < 500 else UpstreamUnavailable)
        if status == 429 and getattr(error, "code", None) == "insufficient_quota":
            family = QuotaExhausted
        said = f"status {status}: {_said(error)}"
        if 300 <= status < 400:
            family, said = (
                UpstreamUnavailable,
                f"status {status}: it redirects, which is not followed",
            )
    else:
        family = IncompleteAnswer if partial else UpstreamUnavailable
        cause = error.__cause__ or error
        said = f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__
    if endpoint.api_key:
        said = endpoint.api_key.hide(said)  # some upstreams repeat the key they refuse
    advice = f"; {_ADVICE[family]}" if family in _ADVICE else ""
    return family(
        f"{endpoint.model} at {endpoint.base_url}: {said}{advice}",
        partial=partial,
        status=status,
        request_id=getattr(error, "request_id", None) or "",
    )


def _said(error: Exception) -> str:
    """Return what the upstream said in an error's body."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else None
    text = str(said or getattr(error, "message", error))
    return " ".join(text.split())[:500]
