"""Errors of runs as HTTP statuses and errors of OpenAI's shape."""

from __future__ import annotations

import math

from personakit.errors import (
    AuthenticationFailed,
    BackendError,
    BadRequest,
    Blocked,
    ConfigError,
    IncompleteAnswer,
    InvalidAnswer,
    JournalError,
    ModelNotFound,
    PersonaError,
    PersonakitError,
    PersonaNotFound,
    PluginError,
    QuotaExhausted,
    RateLimited,
    RunError,
    Timeout,
    TooManyRounds,
    UsageError,
    VariableError,
)
from personakit.ledger import BudgetExceeded, LedgerError
from personakit.server.callers.access import unusable
from personakit.server.http import Refusal
from personakit.server.wording import told, without_keys

_DONT = {"x-should-retry": "false"}  # https://github.com/openai/openai-python: its retries
_SERVER = "server_error"


def refusal(error: PersonakitError) -> Refusal:
    """Return how the error of a run is told to the client."""
    if isinstance(error, BudgetExceeded):
        return _budget(error)
    if isinstance(error.__cause__, LedgerError):
        return unusable()  # of a budget that cannot be kept
    if isinstance(error, Blocked):
        return Refusal(400, error.reason, type="content_filter", code="content_filter")
    if isinstance(error, LedgerError):
        return unusable()
    if isinstance(error, BackendError):
        return _upstream(error)
    return _usage(error) if isinstance(error, UsageError) else _run(error)


def not_resumable() -> Refusal:
    """Return the refusal of answers to a run that cannot go on now."""
    return Refusal(
        409,
        "the run that these answers continue goes on in another request, or its persona or tools "
        "have changed since it asked; wait for that request, or send the conversation without "
        "the answers",
        param="messages",
        code="run_not_resumable",
    )


def is_servers(found: Refusal) -> bool:
    """Return whether the operator should read of an error."""
    return found.status >= 500


def _run(error: PersonakitError) -> Refusal:
    if isinstance(error, TooManyRounds):
        return Refusal(502, str(error), type=_SERVER, code="too_many_rounds")
    if isinstance(error, PluginError):
        return _failed(f"the plugin {error.plugin!r} failed; the server's log has the cause")
    if isinstance(error, RunError):
        return Refusal(502, told(error), type=_SERVER, code="run_failed")
    return _failed("the run failed; the server's log has the cause")


def _usage(error: UsageError) -> Refusal:
    if isinstance(error, VariableError):
        return Refusal(400, str(error), param="variables", code="invalid_value", reason="invalid")
    if isinstance(error, PersonaError):
        return Refusal(400, told(error), param="model", code="invalid_persona")
    if isinstance(error, PersonaNotFound):
        message = "the persona, or one that it needs, does not exist"
        return Refusal(404, message, param="model", code="model_not_found")
    if isinstance(error, JournalError):
        return not_resumable()
    if isinstance(error, ConfigError):
        return _failed("the server is not configured for this persona; its log has the cause")
    return Refusal(400, told(error), code="invalid_value", reason="invalid")


def _upstream(error: BackendError) -> Refusal:
    if isinstance(error, RateLimited):
        wait = {} if error.retry_after is None else {"retry-after": _seconds(error.retry_after)}
        message = "the model's provider has too many requests; try again later"
        return Refusal(
            429, message, type="requests", code="rate_limit_exceeded", headers=wait,
            reason="upstream_rate_limited",
        )  # fmt: skip
    if isinstance(error, Timeout):
        message = "the model's provider did not answer in time"
        return Refusal(504, message, type=_SERVER, code="upstream_timeout")
    if isinstance(error, BadRequest):
        message = f"the model's provider refused it: {_said(error)}"
        return Refusal(400, message, code="upstream_rejected")
    code, message = "upstream_unavailable", "the model's provider cannot be reached or is failing"
    headers = {}
    if isinstance(error, AuthenticationFailed | QuotaExhausted | ModelNotFound):
        headers = _DONT  # sending it again does not help
        code, message = {
            AuthenticationFailed: ("upstream_rejected_key", "rejected the key of this server"),
            QuotaExhausted: ("upstream_quota", "has no credit left for this server"),
            ModelNotFound: ("upstream_model_not_found", "does not know the persona's model"),
        }[type(error)]
        message = f"the model's provider {message}; its operator has to correct that"
    elif isinstance(error, InvalidAnswer) and error.partial and not error.attempts:
        # Not of a request that was sent, but of the answer as a whole.
        code = "invalid_output"
        message = "the model's answer is whole, but not in the form that the persona's output has"
    elif isinstance(error, InvalidAnswer | IncompleteAnswer):
        code, message = "upstream_incomplete", "the answer of the model's provider is not whole"
    return Refusal(502, message, type=_SERVER, code=code, headers=headers)


def _said(error: BackendError) -> str:
    """Return what a provider said, without its address."""
    where, _, message = str(error).partition(": ")
    address = where.rpartition(" at ")[2]
    if address:
        message = message.replace(address, "its address")
    return without_keys(message) or "bad request"


def _budget(error: BudgetExceeded) -> Refusal:
    wait = getattr(error, "retry_after", None)
    headers = dict(_DONT)
    if wait is not None:
        headers["retry-after"] = _seconds(wait)
    return Refusal(
        429, error.reason, type="insufficient_quota", code="budget_exceeded", headers=headers
    )


def _failed(message: str) -> Refusal:
    return Refusal(500, message, type=_SERVER, code="server_misconfigured")


def _seconds(value: float) -> str:
    return str(max(1, math.ceil(value)))
