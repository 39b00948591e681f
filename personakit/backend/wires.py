"""Choose the wire of a request."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from personakit.backend.chat.wire import Chat
from personakit.backend.responses.wire import Responses
from personakit.backend.wire import Wire
from personakit.errors import ConfigError, did_you_mean
from personakit.messages import Request
from personakit.providers import AUTO, Endpoint, Provider, split_model

_OPENAI = re.compile(r"https://([\w-]+\.)*openai\.com(:\d+)?/")
_AZURE = re.compile(
    r"https://[\w-]+\.(openai|services\.ai|cognitiveservices)\.azure\.com(:\d+)?/"
)
# Names of models that do not reason, and of models that do; at Azure, the user's own names contain
# them. A new name of OpenAI's counts as one that does; behind another address, it may be any model.
_OTHERS = re.compile(
    r"(^|[-_.:/])(gpt-?[34]|chatgpt|davinci|babbage)|gpt-\S*-(chat|audio|search)", re.IGNORECASE
)
_REASONING = re.compile(r"(^|[-_.:/])(o[1-9]|gpt-?([5-9]|\d\d))", re.IGNORECASE)


def reasons(model: str, provider: Provider, endpoint: Endpoint) -> bool:
    """Return whether a model is one of OpenAI's that reason, or may be one."""
    return encrypts(model, provider, endpoint) or (
        _AZURE.match(endpoint.base_url) is not None and not _OTHERS.search(split_model(model)[1])
    )


def encrypts(model: str, provider: Provider, endpoint: Endpoint) -> bool:
    """Return whether a model is certainly one of OpenAI's that reason."""
    name, url = split_model(model)[1], endpoint.base_url
    is_openai = _OPENAI.match(url) is not None
    if not (is_openai or _AZURE.match(url) or provider.name in ("openai", "azure")):
        return False
    return not _OTHERS.search(name) and (is_openai or _REASONING.search(name) is not None)


def is_refused_by_chat(request: Request, provider: Provider, endpoint: Endpoint) -> bool:
    """Return whether the API of chat completions refuses a request.

    From GPT-5.4 on, it does so if there are tools and the model reasons:
    https://github.com/openai/openai-openapi/issues/541
    """
    return (
        bool(request.tools)
        and request.parameters.get("reasoning_effort") != "none"
        and reasons(request.model, provider, endpoint)
    )


CHAT, RESPONSES = Chat(), Responses(encrypts)
_OWN: dict[str, Wire] = {wire.name: wire for wire in (CHAT, RESPONSES)}


def named(provider: Provider, contributed: Callable[..., Any]) -> Wire | None:
    """Return the wire that a provider names, or that has its name; None for OpenAI's own APIs.

    Args:
        provider: The provider.
        contributed: Returns what a plugin contributes, by kind and name; None for nothing.

    Raises:
        ConfigError: No wire has the name.
    """
    if provider.api == AUTO:
        wire: Wire | None = contributed("wire", provider.name, alone=True)
        return wire
    if provider.api in _OWN:
        return None
    wire = contributed("wire", provider.api)
    if wire is None:
        hint = did_you_mean(provider.api, _OWN) or f" (known: {', '.join((AUTO, *_OWN))})"
        raise ConfigError(
            f"provider {provider.name!r}: unknown api {provider.api!r}{hint}; correct `api:` under "
            f"`providers:` in the config file, or install the plugin that contributes it"
        )
    return wire


def chosen(request: Request, provider: Provider, endpoint: Endpoint) -> Wire:
    """Return which of OpenAI's APIs a request is sent to.

    The persona's `api` is preferred to that of the provider.

    Args:
        request: The request.
        provider: Its provider.
        endpoint: Its address.
    """
    name = provider.api if request.api == AUTO else request.api
    if name != AUTO:
        return _OWN[name]
    return RESPONSES if is_refused_by_chat(request, provider, endpoint) else CHAT
