"""The parameters that models do not accept.

The parameters of a persona, and of the config, are defaults for many models: one that a model is
known not to accept is left out, and one that it rejects is left out of the next attempt. Those of a
caller are sent as they are, and a rejection is the caller's error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from personakit.errors import BadRequest
from personakit.messages import Request
from personakit.providers import Endpoint, Provider

MOST_ATTEMPTS = 8
"""The most requests for one answer, each without one more parameter."""
_SAMPLING = frozenset(
    "temperature top_p presence_penalty frequency_penalty logprobs top_logprobs logit_bias".split()
)


class _Family(NamedTuple):
    """Models that take `max_completion_tokens`, and no parameters of sampling while they reason."""

    providers: frozenset[str]
    model: re.Pattern[str]
    reasons: Callable[[Mapping[str, Any]], bool]


_HOSTS = frozenset({"openai", "azure"})
# OpenAI's guide "Reasoning models" and the page "Azure OpenAI reasoning models" of Microsoft list
# what they do not support; OpenAI's guide "Using GPT-5.2" allows it from GPT-5.1 on with the effort
# none, which is the default there.
_FAMILIES = (
    _Family(_HOSTS, re.compile(r"o\d|gpt-5(?!\.|-chat)"), lambda _: True),
    _Family(
        _HOSTS,
        re.compile(r"gpt-5\.\d+(?!\S*-chat)"),
        lambda parameters: parameters.get("reasoning_effort") not in (None, "none"),
    ),
)
# What a model rejected in this process, by its address and name.
_rejected: dict[tuple[str, str], set[str]] = {}
_notified: set[tuple[str, str, str]] = set()


def adapted(
    request: Request, provider: Provider, endpoint: Endpoint, notify: Callable[[str], None]
) -> Request:
    """Return a request with the parameters that its model accepts, as far as that is known.

    Args:
        request: The request.
        provider: Its provider.
        endpoint: The address and the upstream's name of the model.
        notify: Called with one line about a parameter that is left out, once in a process.
    """
    given = request.parameters
    if not given:
        return request
    rejected = _rejected.get(_key(endpoint), ())
    family = _family(provider, endpoint)
    if family is None and not rejected:
        return request
    parameters = dict(given)
    if "max_tokens" in parameters and (family is not None or "max_tokens" in rejected):
        limit = parameters.pop("max_tokens")
        if "max_completion_tokens" not in rejected:
            parameters.setdefault("max_completion_tokens", limit)
    unknown = set(rejected)
    if family is not None and family.reasons(given):
        # 1 is the default of temperature and top_p, which these models accept.
        unknown |= {name for name in _SAMPLING if given.get(name, 1) != 1}
    for name in sorted(unknown & request.defaults & parameters.keys()):
        del parameters[name]
        _note(name, request.model, endpoint, notify)
    return request.replace(parameters=parameters) if parameters != given else request


def is_rejected(error: BadRequest, request: Request, endpoint: Endpoint) -> bool:
    """Return whether an error names a parameter that can be left out, and remember it.

    Args:
        error: The error that the upstream sent.
        request: The request as it was sent.
        endpoint: The address and the upstream's name of the model.
    """
    if error.status not in (400, 422) or error.advice:
        return False
    message = error.message.partition("status")[2]
    renamed = {"max_tokens", "max_completion_tokens"}
    optional = request.defaults | (renamed if request.defaults & renamed else set())
    named = {
        name
        for name in optional & request.parameters.keys() - {"response_format"}
        if re.search(rf"\b{name}\b", message)
    }
    if "max_tokens" in named:
        # The message may name the parameter to use instead.
        named = {"max_tokens"}
    _rejected.setdefault(_key(endpoint), set()).update(named)
    return bool(named)


def _family(provider: Provider, endpoint: Endpoint) -> _Family | None:
    return next(
        (
            family
            for family in _FAMILIES
            if provider.name in family.providers and family.model.match(endpoint.model)
        ),
        None,
    )


def _key(endpoint: Endpoint) -> tuple[str, str]:
    return endpoint.base_url, endpoint.model


def _note(name: str, model: str, endpoint: Endpoint, notify: Callable[[str], None]) -> None:
    told = (*_key(endpoint), name)
    if told not in _notified:
        _notified.add(told)
        notify(f"personakit: {name} is left out: {model} does not accept it")
