"""Translate the errors of an upstream, and of the HTTP client, into `BackendError`s."""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from personakit.backend.clients import is_loopback
from personakit.backend.retries import Attempt, is_exhausted, retry_after
from personakit.base import deadline, shown
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
    UsageError,
    spelled,
)
from personakit.frozen import check_plain
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
# The codes, types and statuses in the error objects of OpenAI, Anthropic
# (https://docs.claude.com/en/api/errors), Google (https://cloud.google.com/apis/design/errors) and
# compatible servers, in lower case. Some servers send them without an HTTP status.
_BY_CODE: dict[str, type[BackendError]] = {
    "authentication_error": AuthenticationFailed,
    "billing_error": QuotaExhausted,
    "context_length_exceeded": BadRequest,
    "deadline_exceeded": Timeout,
    "exceed_context_size_error": BadRequest,
    "failed_precondition": BadRequest,
    "invalid_api_key": AuthenticationFailed,
    "invalid_argument": BadRequest,
    "invalid_request_error": BadRequest,
    "model_not_found": ModelNotFound,
    "not_found": ModelNotFound,
    "not_found_error": ModelNotFound,
    "overloaded_error": UpstreamUnavailable,
    "permission_denied": AuthenticationFailed,
    "permission_error": AuthenticationFailed,
    "rate_limit": RateLimited,
    "rate_limit_error": RateLimited,
    "rate_limit_exceeded": RateLimited,
    "request_too_large": BadRequest,
    "resource_exhausted": RateLimited,
    "timeout_error": Timeout,
    "tokens": RateLimited,
    "too_many_requests": RateLimited,
    "unauthenticated": AuthenticationFailed,
    "unauthorized": AuthenticationFailed,
}
# The codes of a response of the Responses API that failed:
# https://platform.openai.com/docs/api-reference/responses/object#responses/object-error
_BY_CODE |= dict.fromkeys(
    "bio_policy empty_image_file failed_to_download_image image_content_policy_violation "
    "image_file_not_found image_file_too_large image_parse_error image_too_large image_too_small "
    "invalid_base64_image invalid_image invalid_image_format invalid_image_mode invalid_image_url "
    "invalid_prompt misalignment_policy_violation unsupported_image_media_type".split(),
    BadRequest,
)
NO_RESPONSES = (
    "check that the server has the Responses API, or write `api: chat` in the persona or under "
    "`providers:` of the config file"
)
_ADVICE: dict[type[BackendError], str] = {
    AuthenticationFailed: "check the provider's key; `personakit keys list` shows its source",
    BadRequest: "correct what the message names",
    IncompleteAnswer: "the partial answer is kept; run it again",
    InvalidAnswer: "check that the address is that of the provider's API",
    ModelNotFound: "check the model's name; write it as provider/model",
    QuotaExhausted: "the account has no credit left; add credit or choose another model",
    RateLimited: "wait and try again",
    Timeout: "try again, or increase `timeout` or `deadline`",
    UpstreamUnavailable: "check that the address is correct and the server is running",
}
_OF_SERVICES: dict[type[BackendError], str] = {
    BadRequest: "",  # the client reads what the provider names
    AuthenticationFailed: "the operator has to check the provider's key, whose source "
    "`personakit keys list` shows",
    IncompleteAnswer: "try again",
    InvalidAnswer: "the operator has to check the address of the provider's API",
    ModelNotFound: "the operator has to correct the persona's model, as provider/model",
    QuotaExhausted: "the account has no credit left; the operator has to add credit or choose "
    "another model",
    Timeout: "try again; the operator can increase `timeout` or `deadline`",
    UpstreamUnavailable: "try again later; if it stays, the operator has to check the "
    "provider's address",
}


def translate(
    error: Exception,
    endpoint: Endpoint,
    call: Attempt,
    partial: str = "",
    request_id: str = "",
    api: str = "",
) -> BackendError:
    """Return the `BackendError` for an exception that ended a call.

    The message quotes the upstream; the caller must remove the secrets from it.

    Args:
        error: The exception; a `BackendError` is completed and returned.
        endpoint: The address and model of the request.
        call: The attempts.
        partial: The text received so far.
        request_id: The upstream's id of the request; empty if it did not answer.
        api: What the API of a plugin's wire is called; empty for OpenAI's.
    """
    result = error if isinstance(error, BackendError) else of_exception(error, partial)
    if not result.advice:
        if isinstance(result, InvalidAnswer) and api:
            result.advice = f"check that the address belongs to {api}"
        elif type(result) is UpstreamUnavailable and result.status is None:
            # A wire raises it about a reply: the server was reached.
            result.advice = later() if result is error else _through_proxy(endpoint.base_url)
    result.request_id = result.request_id or request_id
    result.attempts, result.lost = call.attempts, call.lost
    return completed(result, f"{endpoint.model} at {endpoint.shown}", partial)


def completed(error: BackendError, place: str, partial: str) -> BackendError:
    """Return an error with the place where it happened, advice and the text received so far."""
    texts = f"{place}: {error.message.removesuffix('.')}", _advice(error)
    error.message = "; ".join(filter(None, texts))
    error.args = (error.message,)
    error.partial = error.partial or partial
    return error


def _through_proxy(url: str) -> str:
    """Return the advice for a server that is reached through a proxy; empty without one."""
    if is_loopback(url):
        return ""
    names = ("HTTPS_PROXY" if url.startswith("https:") else "HTTP_PROXY", "ALL_PROXY")
    variables = (spelling for name in names for spelling in (name.lower(), name))
    name = next((name for name in variables if os.environ.get(name)), None)
    if name is None:
        return ""
    return f"check the proxy in {name}, or unset it; check the address and the server"


def later() -> str:
    """Return the advice for a server that fails at present."""
    return f"try again later{another_model()}"


def another_model() -> str:
    """Return how the user chooses another model, as the end of an advice."""
    way = spelled(python="model=", terminal="-m", service="")
    return f", or choose another model with {way}" if way else ""


def reported(error: Any) -> BackendError:
    """Return the error that an error object in a body or an event describes."""
    details = _details(error)
    codes = [_code(details.get(key)) for key in ("code", "status", "type")]
    kinds = (
        BY_STATUS.get(code) if isinstance(code, int) else _BY_CODE.get(code or "") for code in codes
    )
    kind = next(filter(None, kinds), UpstreamUnavailable)
    if is_exhausted(None, details):
        kind = QuotaExhausted
    status = next((code for code in codes if isinstance(code, int)), None)
    message = _message(details) or _as_text(details, functools.partial(json.dumps, default=str))
    result = kind(f"the upstream reports an error: {_line(message)}", status=status)
    if kind is UpstreamUnavailable:
        result.advice = later()
    return result


def _as_text(value: Any, write: Callable[[Any], str]) -> str:
    """Return a value as text: as `write` does, or only its beginning if it is nested too deep."""
    try:
        check_plain(value, "the error")
    except UsageError:
        return shown(value)
    return write(value)


def _details(error: Any) -> Mapping[str, Any]:
    """Return the innermost error object: Google sends a list, some proxies nest one in another."""
    for _ in range(3):
        if isinstance(error, list) and error:
            error = error[0]
        if not isinstance(error, dict):
            return {"message": error}
        inner = error.get("error")
        if not isinstance(inner, dict | list) or error.get("message"):
            break
        error = inner
    return error if isinstance(error, dict) else {"message": error}


def _code(code: Any) -> int | str | None:
    """Return a code as an HTTP status, if it is one, or in lower case."""
    if isinstance(code, str):
        text = code.strip().lower()
        return int(text) if len(text) == 3 and text.isdecimal() else text
    return code if isinstance(code, int) and not isinstance(code, bool) else None


def of_exception(error: BaseException, partial: str, *, innermost: bool = True) -> BackendError:
    """Return the error for an exception of the openai client, of its HTTP library, or another.

    Args:
        error: The exception.
        partial: The text received so far.
        innermost: Whether the first cause explains most, as in an HTTP library; if not, the error
            does.
    """
    status = getattr(error, "status_code", None)
    if status is not None:
        return _of_status(error, status)
    causes = list(_causes(error))
    if any(isinstance(cause, UnicodeEncodeError) for cause in causes):
        return BadRequest("the request contains half a surrogate pair, which is not a character")
    limit = deadline.current()
    if limit is not None and limit.left <= NEAR:
        return Timeout(f"no answer within {limit}")
    # The client on aiohttp reports a refused or broken connection as a timeout, too.
    late = ["Timeout" in type(cause).__name__ for cause in causes]
    broken = [isinstance(c, ConnectionError) or "Disconnected" in type(c).__name__ for c in causes]
    if any(late) and not any(broken):
        return Timeout("timed out waiting for data")
    ordered = reversed(causes) if innermost else causes
    cause = next((cause for cause in ordered if str(cause)), error)
    name = type(cause).__name__
    message = f"{_PLAIN.get(name, name)}: {_line(cause)}"
    result = (IncompleteAnswer if partial else UpstreamUnavailable)(message)
    if "CERTIFICATE_VERIFY_FAILED" in message:
        result.advice = (
            "set SSL_CERT_FILE to a file with the certificates that this network uses, or check "
            "the address"
        )
    return result


def like(own: BackendError, error: BaseException) -> BackendError:
    """Return the error that a wire made of an error status, with what the reply says besides."""
    default = of_exception(error, "")
    own.status = own.status or default.status
    own.request_id = own.request_id or default.request_id
    own.retry_after = default.retry_after if own.retry_after is None else own.retry_after
    own.advice = own.advice or (default.advice if type(own) is type(default) else "")
    return own


_PLAIN = {
    "gaierror": "the host was not found",
    "ConnectionRefusedError": "the connection was refused",
    "ConnectionResetError": "the connection was closed",
    "ConnectError": "the connection failed",
    "ClientConnectorError": "the connection failed",
    "ClientConnectorDNSError": "the host was not found",
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and up to nine errors that caused it."""
    for _ in range(10):
        if error is not None:
            yield error
            error = error.__cause__ or error.__context__


_THING = re.compile("model|deployment|engine|item", re.IGNORECASE)
"""What an error 404 of a server that has the path is about."""
NEAR = 0.01
"""Seconds before the deadline from which on a failure counts as a timeout."""


def _of_status(error: Any, status: int) -> BackendError:
    """Return the error for a reply with an error status."""
    family = BY_STATUS.get(status, BadRequest if status < 500 else UpstreamUnavailable)
    body = getattr(error, "body", None)
    if status == 400:
        # Some servers tell the kind of the error in its code only.
        codes = (_code(_details(body).get(key)) for key in ("code", "type"))
        families = [_BY_CODE[code] for code in codes if isinstance(code, str) and code in _BY_CODE]
        family = families[0] if families else family
    text = getattr(getattr(error, "response", None), "text", "")
    details = _details(body)
    reason = _line(_message(details) or text or getattr(error, "message", error))
    parameter = details.get("param")
    if isinstance(parameter, str) and parameter not in reason:
        reason += f" (parameter {_line(parameter)})"
    message = f"status {status}: {reason}"
    if is_exhausted(status, details):
        family = QuotaExhausted
    if status < 400:
        family, message = UpstreamUnavailable, f"status {status}: redirects are not followed"
    headers = getattr(getattr(error, "response", None), "headers", {})
    result = family(
        message,
        status=status,
        request_id=getattr(error, "request_id", None) or headers.get("request-id", ""),
        retry_after=retry_after(headers),
    )
    if status >= 500:
        result.advice = later()
    path = str(getattr(getattr(error, "request", None), "url", "")).partition("?")[0]
    if status in (404, 405) and path.endswith("/responses") and not _THING.search(reason):
        result.advice = NO_RESPONSES
    if status == 400 and "/v1/responses" in reason and "tools" in reason.lower():
        # From GPT-5.4 on: https://github.com/openai/openai-openapi/issues/541
        result.advice = (
            "write `api: responses` in the persona or under `providers:` of the config file: with "
            "tools, this model reasons only in the Responses API"
        )
    return result


def _advice(error: BackendError) -> str:
    if error.advice:
        return error.advice
    if error.retry_after is not None and 0 < error.retry_after < math.inf:
        return f"wait {error.retry_after:.3g} s and try again"
    usual = _ADVICE.get(type(error), "try again")
    usual = spelled(python=usual, terminal=usual, service=_OF_SERVICES.get(type(error), usual))
    if isinstance(error, BadRequest):
        usual += spelled(
            python="; `Runner.render` returns the request",
            terminal="; `--dry-run` shows the request",
            service="",
        )
    return usual


def _message(body: Mapping[str, Any]) -> Any:
    """Return the message in the body of an error; None if it has none."""
    keys = ("message", "error", "detail", "errors", "error_message")
    message = next(filter(None, (body.get(key) for key in keys)), None)
    if isinstance(message, list) and isinstance(message[0], dict):
        message = message[0].get("message") or message
    return message


def _line(message: Any) -> str:
    """Return a message as one printable line of at most 500 characters."""
    text = " ".join(_as_text(message, str).split())[:500]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
