"""The parameters that models do not accept.

The parameters of a persona, and of the config, are defaults for many models: one that a model is
known not to accept is left out, and one that it rejects is left out of the next attempt. Those of a
caller are sent as they are, and a rejection is the caller's error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from personakit.errors import BackendError
from personakit.messages import Request
from personakit.providers import Endpoint, Provider

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
    # The page "Thinking" of Anthropic's documentation, and "What's new" of each model from 4.7 on.
    _Family(
        frozenset({"anthropic"}),
        re.compile(r"claude-(instant|\d|\w+-4(?!-[78]))"),
        lambda parameters: parameters.get("reasoning_effort") not in (None, "none"),
    ),
    _Family(frozenset({"anthropic"}), re.compile("claude-"), lambda _: True),
)
# What a model rejected in this process, by its address and name.
_rejected: dict[tuple[str, str], set[str]] = {}
_notified: set[tuple[str, str, str]] = set()


def adapted(
    request: Request,
    provider: Provider,
    endpoint: Endpoint,
    notify: Callable[[str], None],
    without: Iterable[str] = (),
) -> Request:
    """Return a request with the parameters that its model accepts, as far as that is known.

    Args:
        request: The request.
        provider: Its provider.
        endpoint: The address and the upstream's name of the model.
        notify: Called with one line about a parameter that is left out, once in a process.
        without: The parameters that an attempt just showed to be rejected.
    """
    given = request.parameters
    if not given:
        return request
    rejected = {*_rejected.get(_key(endpoint), ()), *without}
    family = _family(provider, endpoint)
    if family is None and not rejected:
        return request
    parameters = dict(given)
    if "max_tokens" in parameters and (family is not None or "max_tokens" in rejected):
        limit = parameters.pop("max_tokens")
        if "max_completion_tokens" not in rejected:
            parameters.setdefault("max_completion_tokens", limit)
    unknown = rejected
    if family is not None and family.reasons(given):
        # 1 is the default of temperature and top_p, which these models accept.
        unknown = unknown | {name for name in _SAMPLING if given.get(name, 1) != 1}
    for name in sorted(unknown & request.defaults & parameters.keys()):
        del parameters[name]
        _note(name, request.model, endpoint, notify)
    return request.replace(parameters=parameters) if parameters != given else request


def rejected(error: BackendError, request: Request, endpoint: Endpoint) -> str:
    """Return the parameter that an error names and that can be left out; empty for none.

    Args:
        error: The error that the upstream sent.
        request: The request as it was sent.
        endpoint: The address and the upstream's name of the model.
    """
    if error.status not in (400, 422) or error.advice or error.partial:
        return ""
    message = error.message.partition(endpoint.shown)[2]
    # `max_tokens` of a persona may have been sent under its new name.
    limits = {"max_tokens", "max_completion_tokens"}
    optional = request.defaults | (limits if request.defaults & limits else set())
    places = {
        name: place.start()
        for name in optional & request.parameters.keys() - {"response_format"}
        if (place := re.search(_named(name), message, re.IGNORECASE)) is not None
    }
    return min(places, key=places.__getitem__, default="")


def remember(names: Iterable[str], error: BackendError, endpoint: Endpoint) -> None:
    """Remember that a model rejects parameters: a request without them was answered.

    An error about the size of one prompt says nothing about other requests.
    """
    if not re.search("too large|context|exceed", error.message, re.IGNORECASE):
        _rejected.setdefault(_key(endpoint), set()).update(names)


def _named(name: str) -> str:
    """Return the pattern of a parameter's name in a message, as APIs spell it."""
    first, *rest = name.split("_")
    camel = first + "".join(part.capitalize() for part in rest)
    spelled = "|".join({name, camel, name.replace("_", "."), name.replace("_", " ")})
    if name in ("seed", "stop"):  # also plain words
        return rf"['\"`](?:{spelled})['\"`]|parameter:? (?:{spelled})\b"
    return rf"\b(?:{spelled})\b"


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
