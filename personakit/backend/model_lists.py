"""Ask the providers which models they have, all at once and for a few seconds at most."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

from personakit.backend import api_errors, model_cache, retries
from personakit.backend.clients import Client, Clients, is_loopback, openai
from personakit.backend.endpoint import Router
from personakit.backend.model_cache import Kept, Listed
from personakit.backend.retries import Attempt
from personakit.backend.sse import BodyReader
from personakit.backend.wire import Wire
from personakit.base import deadline, is_type, scrub, sync_mode
from personakit.errors import (
    BackendError,
    ConfigError,
    InvalidAnswer,
    ModelNotFound,
    PersonakitError,
    Timeout,
)
from personakit.providers import BUILT_IN, Endpoint, Provider

LASTS = 86_400.0
"""Seconds for which the list of a provider is kept."""
PATIENCE = 5.0
"""Seconds that a provider has to list its models."""
LOCAL_PATIENCE = 1.0
"""Seconds that a server on this machine has that the user has not set up."""
_LONGEST_NAME = 300
_CONTEXT = (
    "context_length",
    "context_window",
    "max_context_length",
    "max_model_len",
    "max_input_tokens",  # Anthropic
)
# Anthropic lists its models for its own headers only, by default 20 of them:
# https://docs.claude.com/en/api/models-list
_ANTHROPIC = ("anthropic", "limit=1000", {"anthropic-version": "2023-06-01"})


@dataclass(frozen=True, slots=True)
class ModelList:
    """The answer of a provider.

    Attributes:
        provider: The provider.
        has_key: Whether it has a key; None if it needs none.
        models: Its models; None if they are not known.
        time: When it listed them, in seconds since 1970; None for now, or for never.
        fault: Why it did not list them now, on one line; empty if it did, or if it was not asked.
        is_silent: Whether nothing answers at its address on this machine, where it is optional.
    """

    provider: Provider
    has_key: bool | None = None
    models: tuple[Listed, ...] | None = None
    time: float | None = None
    fault: str = ""
    is_silent: bool = False


def list_models(
    router: Router,
    providers: Iterable[Provider],
    *,
    refresh: bool = False,
    patience: float = PATIENCE,
) -> list[ModelList]:
    """Return the models of some providers, in the same order.

    A provider without a key is not asked. The list of a server elsewhere is kept for a day, that
    of a server on this machine is not.

    Args:
        router: Finds the address and the key of a provider.
        providers: The providers.
        refresh: Whether to ask those whose list is kept, too.
        patience: Seconds that a provider has for its answer.
    """
    kept = model_cache.read(router.config)
    results: dict[str, ModelList] = {}
    asked: dict[str, tuple[Endpoint, float]] = {}
    order = list(providers)
    for provider in order:
        name = provider.name
        start, endpoint = _start(router, provider)
        results[name] = start
        if endpoint is None:
            continue
        old = kept.get(name)
        here = is_loopback(endpoint.base_url)
        optional = _is_optional(router, provider)
        if old is not None and not (refresh or here) and old.is_fresh(endpoint.shown, LASTS):
            results[name] = replace(start, models=old.models, time=old.time)
        elif optional and here and not _answers(endpoint.base_url):
            results[name] = replace(start, is_silent=True)
        else:
            asked[name] = endpoint, LOCAL_PATIENCE if optional else patience
    for name, answer in _ask_all({name: results[name] for name in asked}, asked, router):
        old = kept.get(name)
        if answer.fault and old is not None and old.address == asked[name][0].shown:
            answer = replace(answer, models=old.models, time=old.time)  # noqa: PLW2901
        results[name] = answer
    new = {
        name: Kept(endpoint.shown, time.time(), models)
        for name, (endpoint, _) in asked.items()
        if (models := results[name].models) is not None and not results[name].fault
    }
    model_cache.write(router.config, new)
    return [results[provider.name] for provider in order]


def _start(router: Router, provider: Provider) -> tuple[ModelList, Endpoint | None]:
    """Return what is known without asking a provider, and its endpoint; None if it has none."""
    models = (Listed(provider.default_model),) if provider.default_model else None
    if provider.connect is not None:
        return ModelList(provider, models=models), None
    has_key: bool | None = None
    try:
        has_key = True if router.keys.find(provider) else None
        if provider.backend is not None:
            return ModelList(provider, has_key, models=models), None
        return ModelList(provider, has_key), router.endpoint(provider, "the models")
    except ConfigError as error:
        if error._lacks_key:
            return ModelList(provider, has_key=False), None
        return ModelList(provider, has_key, fault=_line(error)), None


def _is_optional(router: Router, provider: Provider) -> bool:
    """Return whether a provider is a built-in one on this machine that the user has not set up."""
    own = provider is not BUILT_IN.get(provider.name)
    environ = router.config.environ
    names = (provider.base_url_env, provider.key_env)
    is_set = any(environ.get(name, "").strip() for name in names if name)
    return not (own or is_set or provider.key_required)


def _answers(url: str) -> bool:
    """Return whether a server on this machine accepts connections."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
        socket.create_connection((parts.hostname or "", port), LOCAL_PATIENCE).close()
    except (OSError, ValueError):
        return False
    return True


def _ask_all(
    starts: Mapping[str, ModelList],
    asked: Mapping[str, tuple[Endpoint, float]],
    router: Router,
) -> Iterator[tuple[str, ModelList]]:
    """Yield the answer of each provider; one that is late has a fault."""
    if not asked:
        return
    openai()  # its first import is not safe in several threads
    answers: queue.SimpleQueue[tuple[str, ModelList]] = queue.SimpleQueue()

    def ask(name: str, endpoint: Endpoint, seconds: float) -> None:
        answers.put((name, _asked(starts[name], endpoint, seconds, router.foreign(name))))

    for name, (endpoint, seconds) in asked.items():
        # Looking up the name of a host cannot be limited, so the process must not wait for it.
        threading.Thread(target=ask, args=(name, endpoint, seconds), daemon=True).start()
    left = dict(asked)
    # The first use of the client takes a while.
    end = time.monotonic() + max(seconds for _, seconds in asked.values()) + 1
    while left:
        try:
            name, answer = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        yield name, answer
        del left[name]
    for name, (endpoint, seconds) in left.items():
        yield name, replace(starts[name], fault=_late(endpoint, seconds))


def _asked(start: ModelList, endpoint: Endpoint, seconds: float, wire: Wire | None) -> ModelList:
    """Ask a provider, in a thread of its own; return its answer."""
    sync_mode.set(True)
    provider = start.provider
    call = Attempt(lambda: provider.secrets(endpoint))
    retries.current.set(call)
    clients = Clients()
    try:
        with deadline.within(seconds):
            body = _body(clients.sync(provider, endpoint), provider, endpoint, seconds, wire)
        return replace(start, models=_models(body, provider))
    except Exception as error:
        scrub(error, provider.secrets(endpoint), None)
        if isinstance(error, PersonakitError) and not isinstance(error, BackendError):
            return replace(start, fault=_line(error))
        failure = api_errors.translate(error, endpoint, call)
        scrub(failure, provider.secrets(endpoint), None)
        if isinstance(failure, ModelNotFound):  # some providers have no list
            return start
        late = isinstance(failure, Timeout)
        return replace(start, fault=_late(endpoint, seconds) if late else _line(failure))
    finally:
        clients.close()


def _body(
    client: Client, provider: Provider, endpoint: Endpoint, seconds: float, wire: Wire | None
) -> bytes:
    name, query, headers = _ANTHROPIC
    is_anthropic = provider.name == name and endpoint.api_key is not None
    own = {} if wire is None else dict(wire.headers(endpoint.api_key))
    if is_anthropic and endpoint.api_key is not None:
        own = {**headers, "x-api-key": endpoint.api_key.reveal(), "Authorization": None, **own}
    omit = openai().omit
    sent = {key: omit if value is None else value for key, value in own.items()}
    response = client.models(query if is_anthropic else "", sent, seconds)
    try:
        reader = BodyReader(response.headers.get("content-encoding", ""))
        parts = [reader.feed(raw) for raw in response.iter_raw()]
        reader.end()
        return b"".join(parts)
    finally:
        response.close()


def _models(body: bytes, provider: Provider) -> tuple[Listed, ...]:
    """Return the models in the body of an answer.

    Most send ``{"data": [{"id": …}]}``; some send the list alone.

    Raises:
        InvalidAnswer: It is something else.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        data = None
    entries = data.get("data", data.get("models")) if isinstance(data, dict) else data
    if not isinstance(entries, list):
        raise InvalidAnswer("the answer is not a list of models")
    models: dict[str, Listed] = {}
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        name = entry.get("id") or entry.get("name")
        if not isinstance(name, str) or len(name) > _LONGEST_NAME or not name.isprintable():
            continue
        if provider.name == "gemini":
            name = name.removeprefix("models/")
        sizes = [size for key in _CONTEXT if is_type(size := entry.get(key), "integer")]
        context = next((int(size) for size in sizes if size and size > 0), None)
        models[name] = Listed(name, context)
    return tuple(models[name] for name in sorted(models))


def _late(endpoint: Endpoint, seconds: float) -> str:
    return f"the models at {endpoint.shown}: no answer within {seconds:g} s"


def _line(error: Any) -> str:
    return " ".join(str(error).split())
