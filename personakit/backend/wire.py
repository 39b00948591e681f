"""A wire: how the requests of one API are written, and its answers read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from personakit.backend.answers.answer import Answer
from personakit.base import Secret
from personakit.errors import ConfigError
from personakit.messages import Message, Request
from personakit.providers import BUILT_IN, Endpoint, Provider, split_model

_HINTS = frozenset({"frequency_penalty", "logit_bias", "presence_penalty", "seed", "verbosity"})
"""What a persona wishes, and an answer without it is still one to the persona."""
_notified: set[tuple[str, str, str]] = set()


class Wire:
    """How the requests of one API are written, and its answers read.

    A subclass implements `path` and `body`, and names its `answers`. One instance serves all
    requests, from all threads, so it keeps nothing about any of them. Connections, keys, retries,
    the deadline, the decoding of events, and the sync and the async API are the backend's.

    Attributes:
        name: Its name in ``api:`` of a provider and of a persona.
        title: The API's name in messages.
        parameters: The names of `Request.parameters` that it can say; None for all.
        features: Fields of `personakit.Provider` that have other values with this wire, such as
            ``{"json_schema": True}``.
        answers: The class of its answers.
    """

    name: str
    title: str = "the provider's API"
    parameters: frozenset[str] | None = None
    features: ClassVar[Mapping[str, Any]] = {}
    answers: type[Answer] = Answer

    def path(self, endpoint: Endpoint, *, stream: bool) -> str:
        """Return what follows the provider's address in the URL, with a query if need be."""
        raise NotImplementedError

    def headers(self, key: Secret | None) -> Mapping[str, str | None]:
        """Return headers besides those of every request; None removes one.

        Args:
            key: The provider's key. Every request has it as ``Authorization: Bearer``.
        """
        return {}

    def body(
        self, request: Request, endpoint: Endpoint, provider: Provider, *, stream: bool
    ) -> dict[str, Any]:
        """Return the JSON body of a request.

        Args:
            request: The request; its parameters are among `parameters`.
            endpoint: The address, and the upstream's name of the model.
            provider: Its provider.
            stream: Whether the answer is to be streamed.

        Raises:
            ConfigError: The API cannot say what the request contains.
        """
        raise NotImplementedError

    def answer(self, request: Request, provider: Provider) -> Answer:
        """Return the parser of one answer, by default one of `answers`."""
        return self.answers(request, provider, self.name)

    def kept(self, message: Message, request: Request, provider: Provider) -> tuple[Any, ...]:
        """Return what `Answer.keep` kept of a message.

        It is empty for a message of another wire, provider or model: signatures and encrypted
        thoughts are valid only where they come from.
        """
        origin = (provider.name, self.name, request.model)
        for item in message.items:
            # A file may contain anything.
            if (
                isinstance(item, Mapping)  # type: ignore[redundant-expr]
                and (item.get("provider"), item.get("wire"), item.get("model")) == origin
                and isinstance(items := item.get("items"), tuple | list)
            ):
                return tuple(entry for entry in items if isinstance(entry, Mapping))
        return ()

    @staticmethod
    def limit(request: Request, endpoint: Endpoint) -> int | None:
        """Return the most tokens of an answer: the request's, at most the endpoint's."""
        parameters = request.parameters
        asked = parameters.get("max_completion_tokens") or parameters.get("max_tokens")
        limits = [limit for limit in (asked, endpoint.max_tokens) if limit is not None]
        return min(limits, default=None)


def supported(request: Request, provider: Provider) -> None:
    """Check that a provider supports the attachments and the tools of a request.

    Raises:
        ConfigError: It does not.
    """
    if not provider.attachments and any(message.parts for message in request.messages):
        raise ConfigError(
            f"provider {provider.name!r} does not accept images, files or audio; choose another "
            f"model with `-m provider/model`, or send text alone"
        )
    if request.tools and not provider.tools:
        names = ", ".join(tool.name for tool in request.tools)
        raise ConfigError(
            f"provider {provider.name!r} does not support tools ({names}); choose another "
            f"model with `-m provider/model`, or run without tools: remove `tools:` from the "
            f"persona, or leave out -T and --functions"
        )


def sayable(request: Request, wire: Wire, notify: Callable[[str], None]) -> Request:
    """Return a request with the parameters that a wire can say.

    Args:
        request: The request.
        wire: The wire.
        notify: Called with one line about a parameter of a persona that is left out, once in a
            process.

    Raises:
        ConfigError: It cannot say one that the caller set, or that changes what an answer is.
    """
    if wire.parameters is None:
        return request
    parameters = request.parameters
    given = {name for name, value in parameters.items() if value is not None}
    unknown = sorted(given - wire.parameters)
    wrong = next((n for n in unknown if n not in _HINTS or n not in request.defaults), None)
    if wrong is not None:
        place = "in the persona or " if wire.name == "responses" else ""
        # A provider that a plugin brings together with its wire has no chat completions.
        instead = (
            f", or write `api: chat` {place}under `providers:` of the config file, as chat "
            f"completions have it"
        )
        has_chat = wire.name == "responses" or split_model(request.model)[0] in BUILT_IN
        raise ConfigError(
            f"{request.model}: {wire.title} has no parameter {wrong!r}; remove it"
            f"{instead if has_chat else ''}"
        )
    for name in unknown:
        if (request.model, wire.name, name) not in _notified:
            _notified.add((request.model, wire.name, name))
            notify(f"personakit: {name} is left out: {wire.title} has no such parameter")
    if not unknown:
        return request
    kept = {name: value for name, value in parameters.items() if name not in unknown}
    return request.replace(parameters=kept)
