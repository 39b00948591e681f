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
from personakit.providers import Endpoint, Provider, split_model

AUTO = "auto"
_OPENAI = re.compile(
    r"https://([\w.-]+\.)?(openai\.com|(openai|services\.ai|cognitiveservices)\.azure\.com)(:\d+)?/"
)
# Names of models that do not reason, and of models that do. At OpenAI and Azure, a new name counts
# as one that does; behind another address, it may be any model.
_OTHERS = re.compile(r"(ft:)?(gpt-3|gpt-4|chatgpt-|davinci|babbage)|\S*-(chat|audio|search)")
_REASONING = re.compile(r"(ft:)?(o\d|gpt-([5-9]|\d\d))(?!\S*-(chat|audio|search))")


def reasons(model: str, provider: Provider, endpoint: Endpoint) -> bool:
    """Return whether a model is one of OpenAI's that reason."""
    if provider.name not in ("openai", "azure"):
        return False
    name = split_model(model)[1]
    if _OPENAI.match(endpoint.base_url):
        return not _OTHERS.match(name)
    return _REASONING.match(name) is not None


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


CHAT, RESPONSES = Chat(), Responses(reasons)
_OWN: dict[str, Wire] = {wire.name: wire for wire in (CHAT, RESPONSES)}


def chosen(
    request: Request,
    provider: Provider,
    endpoint: Endpoint,
    contributed: Callable[[str, str], Any],
) -> Wire:
    """Return the wire of a request.

    Args:
        request: The request; its `api` is the persona's.
        provider: Its provider.
        endpoint: Its address.
        contributed: Returns what a plugin contributes, by kind and name; None for nothing.

    Raises:
        ConfigError: No wire has the name.
    """
    name = provider.api
    if request.api != AUTO and name in (AUTO, *_OWN):
        name = request.api
    if name == AUTO:
        own = contributed("wire", provider.name)
        if own is not None:
            return own  # type: ignore[no-any-return]
        return RESPONSES if is_refused_by_chat(request, provider, endpoint) else CHAT
    wire = _OWN.get(name) or contributed("wire", name)
    if wire is None:
        hint = did_you_mean(name, _OWN) or f" (known: {', '.join((AUTO, *_OWN))})"
        raise ConfigError(
            f"provider {provider.name!r}: unknown api {name!r}{hint}; correct `api:` under "
            f"`providers:` in the config file, or install the plugin that contributes it"
        )
    return wire
