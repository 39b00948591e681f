"""Choose the wire of a request."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable

from personakit.backend import api_errors
from personakit.backend.answers.answer import Answer
from personakit.backend.api_errors import NO_RESPONSES
from personakit.backend.chat.wire import Chat
from personakit.backend.retries import Attempt
from personakit.backend.wire import Wire
from personakit.errors import BackendError, ConfigError, PluginError, did_you_mean
from personakit.messages import Request
from personakit.providers import APIS, AUTO, Endpoint, Provider, split_model
from personakit.rate import heard

_OPENAI = re.compile(r"https://([\w-]+\.)*openai\.com(:\d+)?/")
_AZURE = re.compile(r"https://[\w-]+\.(openai|services\.ai|cognitiveservices)\.azure\.com(:\d+)?/")
# Names of models that do not reason, and of models that do; at Azure, the user's own names contain
# them. A new name of OpenAI's counts as one that does; behind another address, it may be any model.
_OTHERS = re.compile(
    r"(^|[-_.:/])(gpt-?[34]|chatgpt|davinci|babbage)|gpt-\S*-(chat|audio|search)", re.IGNORECASE
)
_REASONING = re.compile(r"(^|[-_.:/])(o[1-9]|gpt-?([5-9]|\d\d))", re.IGNORECASE)
# Those that chat completions refuse with tools; earlier ones are asked there if the address is that
# of a proxy or of a fake, which seldom serve another API.
_REFUSED = re.compile(r"(^|[-_.:/])gpt-?(5\.([4-9]|\d\d)|[6-9]|\d\d)", re.IGNORECASE)


def prefers_responses(model: str, provider: Provider, endpoint: Endpoint) -> bool:
    """Return whether a model is asked with tools in the Responses API."""
    name, url = split_model(model)[1], endpoint.base_url
    if _OPENAI.match(url):
        return encrypts(model, provider, endpoint)
    if _AZURE.match(url):
        return not _OTHERS.search(name)
    return encrypts(model, provider, endpoint) and _REFUSED.search(name) is not None


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
        and prefers_responses(request.model, provider, endpoint)
    )


# Addresses without the Responses API, as this process has seen.
_without: set[str] = set()


@functools.cache
def own(name: str) -> Wire:
    """Return the wire of one of OpenAI's APIs.

    Raises:
        ConfigError: It is none of them.
    """
    if name == "chat":
        return Chat()
    if name == "responses":
        # Most runs do not need it.
        from personakit.backend.responses.wire import Responses  # noqa: PLC0415

        return Responses(encrypts)
    hint = did_you_mean(name, APIS) or f" (known: {', '.join(APIS)})"
    raise ConfigError(f"unknown api {name!r} of a request{hint}; correct `Request.api`")


def unknown(provider: Provider, contributed: Iterable[str]) -> ConfigError:
    """Return the error for a provider whose `api` no wire has, of OpenAI's or of a plugin."""
    names = (*APIS, *sorted(contributed))
    hint = did_you_mean(provider.api, names) or f" (known: {', '.join(names)})"
    return ConfigError(
        f"provider {provider.name!r}: unknown api {provider.api!r}{hint}; correct `api:` under "
        f"`providers:` in the config file, or install the plugin that contributes it"
    )


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
        return own(name)
    wished = endpoint.base_url not in _without and is_refused_by_chat(request, provider, endpoint)
    return own("responses" if wished else "chat")


def instead(error: BackendError, request: Request, provider: Provider, wire: Wire) -> Wire | None:
    """Return the wire to try after an error; None if there is none.

    Args:
        error: The error.
        request: The request.
        provider: Its provider.
        wire: The wire that it was sent with.
    """
    if request.api != AUTO or provider.api != AUTO or wire is not own("responses"):
        return None
    return own("chat") if error.advice == NO_RESPONSES else None


def remember(endpoint: Endpoint, notify: Callable[[str], None]) -> None:
    """Remember that an address serves chat completions and no Responses API."""
    _without.add(endpoint.base_url)
    notify(
        f"personakit: {endpoint.shown} has no Responses API, so chat completions are used; "
        f"`api: chat` saves the attempt"
    )


def failure(
    error: Exception, endpoint: Endpoint, wire: Wire, answer: Answer, call: Attempt
) -> BackendError | PluginError:
    """Return the error of a call that failed, with the number of its attempts that may be paid."""
    heard(getattr(error, "response", None))
    result = _translated(error, endpoint, wire, answer, call)
    if isinstance(result, BackendError) and answer.headers and result.response is None:
        # Of a reply that began with success, an error of the upstream can be the whole content.
        result.lost = call.lost + (result is not error or result.is_paid)
    return result


def _translated(
    error: Exception, endpoint: Endpoint, wire: Wire, answer: Answer, call: Attempt
) -> BackendError | PluginError:
    """Return the error of a call that failed: the upstream's, or that of a plugin's wire."""
    if wire.name in APIS:
        return api_errors.translate(error, endpoint, call, answer.text, answer.request_id)
    if isinstance(error, TypeError):  # from the client, which cannot send what the wire wrote
        return mistake(wire, "write the request", error)
    if isinstance(status := getattr(error, "status_code", None), int):
        try:
            own = wire.error(status, getattr(error, "body", None))
        except Exception as broken:
            return mistake(wire, "read an error", broken)
        error = error if own is None else api_errors.like(own, error)
    return api_errors.translate(error, endpoint, call, answer.text, answer.request_id, wire.title)


def mistake(wire: Wire, task: str, error: Exception) -> PluginError:
    """Return the error for a plugin's wire that failed at its task."""
    reason = f"{type(error).__name__}: {error}".removesuffix(": ")
    return PluginError(f"wire {wire.name!r} cannot {task}: {reason}")
