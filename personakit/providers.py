"""The providers of models, as data.

A provider is the base URL of an OpenAI-compatible API and the environment variable that holds its
key. The URLs are those in the documentation of each provider.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from personakit.base import Secret, brief_repr, describe, private_files, read_file
from personakit.errors import ConfigError
from personakit.frozen import freeze

MAX_ALIASES = 1 << 20
"""The largest size of the file of aliases, in bytes."""
AUTO = "auto"
APIS = (AUTO, "chat", "responses")
"""The values of `Request.api`: OpenAI's APIs, and the choice between them."""
_ALIAS = re.compile(r"[A-Za-z0-9][\w.-]{0,79}\Z", re.ASCII)
_KEY_HEADER = re.compile("auth|cookie|key|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The destination of a request.

    Attributes:
        base_url: The URL of an OpenAI-compatible API, such as ``http://127.0.0.1:8080/v1``.
        api_key: The key; a string is converted to a `Secret`. None if no key is needed.
        model: The upstream's name of the model.
        max_tokens: An upper limit for max_tokens of every request; None for no limit.
        defaults: Parameters that the upstream gets from every request that does not set them, by
            name, as the JSON body holds them; None for none.
    """

    base_url: str
    api_key: Secret | None
    model: str
    max_tokens: int | None = None
    defaults: Mapping[str, Any] | None = field(default=None, hash=False)

    if TYPE_CHECKING:

        def __init__(
            self,
            base_url: str,
            api_key: Secret | str | None,
            model: str,
            max_tokens: int | None = None,
            defaults: Mapping[str, Any] | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.api_key is not None:
            object.__setattr__(self, "api_key", Secret(self.api_key))
        if self.defaults is not None:
            object.__setattr__(self, "defaults", freeze(self.defaults))

    __repr__ = brief_repr

    def _shown(self) -> Iterator[tuple[str, Any]]:
        yield from {"base_url": self.shown, "api_key": self.api_key, "model": self.model}.items()
        if self.max_tokens is not None:
            yield "max_tokens", self.max_tokens
        if self.defaults is not None:
            yield "defaults", self.defaults

    @property
    def shown(self) -> str:
        """The URL without parts that may be secret: user, password, query and fragment."""
        return re.sub(r"^(\w+://)[^/]*@", r"\1", re.split("[?#]", self.base_url)[0])


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of models: the part before the slash in ``provider/model``.

    Attributes:
        name: The part before the slash.
        base_url: The URL of its API.
        base_url_env: An environment variable that overrides `base_url`.
        path: Appended to the value of `base_url_env`.
        key_env: The environment variable that holds the key; empty if no key is needed.
        key_required: False if it also works without a key.
        api_key: ``scheme:rest`` for a scheme that a plugin contributes, ``literal:key``, or a key
            without a scheme-like prefix; a string is converted to a `Secret`.
        connect: Called with the model's name before each request; replaces `base_url` and the key.
        backend: Called with an `Endpoint`, once for each different one of a runner; returns the
            object that sends its requests, instead of the HTTP client. `base_url` may be empty.
        names_file: Returns whether a model's name is the path of a file; a persona cannot name
            such a model, only the user.
        default_model: The model used when only the provider's name is given.
        tools: Whether its models support tools.
        attachments: Whether its models accept images, files and audio.
        stream_usage: Whether it accepts `stream_options`, to report the tokens of a stream.
        finish_reason: Whether its answers always end with a finish reason.
        json_schema: Whether it accepts a JSON Schema as `response_format`; if not, the schema is
            written into the system message.
        api: How its models are asked: ``chat``, ``responses``, the name of a plugin's wire, or
            ``auto``.
        embed_batch: The most texts in one request for embeddings; 0 if it has no embeddings.
        headers: Additional headers as (name, value) pairs; values are converted to `Secret`.
        given: The names of the fields that the config file sets. The others are those of a
            plugin's provider with the same name, if there is one.
    """

    name: str
    base_url: str = field(default="", repr=False)  # may contain a password
    base_url_env: str = ""
    path: str = ""
    key_env: str = ""
    key_required: bool = True
    api_key: str | Secret = field(default=Secret(""), repr=False)
    connect: Callable[[str], Endpoint] | None = None
    backend: Callable[[Endpoint], Any] | None = None
    names_file: Callable[[str], bool] | None = None
    default_model: str = ""
    tools: bool = True
    attachments: bool = True
    stream_usage: bool = True
    finish_reason: bool = True
    json_schema: bool = True
    api: str = AUTO
    embed_batch: int = 96
    headers: tuple[tuple[str, str | Secret], ...] = field(default=(), repr=False)
    given: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    __repr__ = brief_repr

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", Secret(self.api_key))
        headers = tuple((name, Secret(value)) for name, value in self.headers)
        object.__setattr__(self, "headers", headers)

    def secrets(self, endpoint: Endpoint | None = None) -> list[Secret]:
        """Return the secrets to redact from all output: the key, and headers that contain one."""
        values = [Secret(value) for name, value in self.headers if _KEY_HEADER.search(name)]
        # The token after "Bearer" is a secret by itself.
        values += [Secret(value.reveal().rpartition(" ")[2]) for value in values]
        key = endpoint.api_key if endpoint is not None else None
        return [key, *values] if key else values


def _remote(name: str, base_url: str, key_env: str, **features: Any) -> Provider:
    return Provider(name, base_url, key_env=key_env, **features)


def _here(name: str, port: int, env: str, key_env: str = "") -> Provider:
    url = f"http://localhost:{port}/v1"
    return Provider(name, url, base_url_env=env, key_env=key_env, key_required=False)


_ALL = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        base_url_env="OPENAI_BASE_URL",
        key_env="OPENAI_API_KEY",
        # It accepts 2048: https://platform.openai.com/docs/api-reference/embeddings/create. The
        # answer to as many is larger than one may be.
        embed_batch=200,
    ),
    Provider(
        "azure",
        base_url_env="AZURE_OPENAI_ENDPOINT",
        path="/openai/v1/",
        key_env="AZURE_OPENAI_API_KEY",
        embed_batch=200,
    ),
    # Its documentation of OpenAI SDK compatibility: response_format is ignored.
    _remote(
        "anthropic",
        "https://api.anthropic.com/v1/",
        "ANTHROPIC_API_KEY",
        json_schema=False,
        embed_batch=0,
    ),
    _remote("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY", embed_batch=0),
    # Its guide to JSON output documents only json_object.
    _remote(
        "deepseek",
        "https://api.deepseek.com/v1",
        "DEEPSEEK_API_KEY",
        json_schema=False,
        embed_batch=0,
    ),
    _remote("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    _remote("gemini", "https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
    _remote("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY", embed_batch=0),
    _remote("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"),
    _remote("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    # Its language models document a different parameter, guided_json.
    _remote("nvidia", "https://integrate.api.nvidia.com/v1", "NVIDIA_API_KEY", json_schema=False),
    _remote("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    _remote("perplexity", "https://api.perplexity.ai", "PERPLEXITY_API_KEY"),
    _remote("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    _remote("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    _here("llamacpp", 8080, "LLAMACPP_BASE_URL", "LLAMACPP_API_KEY"),
    _here("lmstudio", 1234, "LMSTUDIO_BASE_URL"),
    _here("ollama", 11434, "OLLAMA_BASE_URL"),
    _here("vllm", 8000, "VLLM_BASE_URL", "VLLM_API_KEY"),
)
BUILT_IN: dict[str, Provider] = {provider.name: provider for provider in _ALL}
EMBEDDINGS = "embeddings"
"""`Request.api` of a request for embeddings; each of its messages is a text."""
DEFAULT = "openai"
EMBEDDED = "local"
"""The provider to use when no model is chosen, if a plugin provides it."""
DEFAULT_ALIAS = "default"
"""The alias whose model is used where neither the caller, the persona nor the config sets one."""


def split_model(model: str) -> tuple[str, str]:
    """Return the provider's name and the model's name; a bare name is a model of openai."""
    provider, slash, name = model.partition("/")
    return (provider, name) if slash else (DEFAULT, model)


def read_aliases(file: Path, providers: Iterable[str]) -> dict[str, str]:
    """Return the aliases in a JSON file; an empty dict if it does not exist.

    Args:
        file: The file.
        providers: The names that no alias may have.

    Raises:
        ConfigError: The file cannot be read, or is not a mapping of aliases to models.
    """
    try:
        entries = json.loads(read_file(file, MAX_ALIASES).decode("utf-8-sig"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError):
        entries = None
    advice = "expected a JSON object of aliases and models; correct the file, or remove it"
    if not isinstance(entries, dict):
        raise ConfigError(f"{file}: {advice}")
    for name, model in entries.items():
        fault = alias_fault(name, providers)
        if not isinstance(model, str) or not model:
            fault = f"alias {name[:80]!r}: expected a model, found {describe(model)}"
        elif model in entries:
            fault = f"alias {name[:80]!r}: its model {model[:80]!r} is another alias"
        if fault:
            raise ConfigError(f"{file}: {fault}; correct the file, or remove it")
    return entries


def write_alias(file: Path, providers: Iterable[str], name: str, model: str | None) -> None:
    """Set an alias in a file that `read_aliases` reads; the other aliases stay.

    Args:
        file: The file; it is created if it is missing, readable only by its owner.
        providers: The names that no alias may have.
        name: The alias.
        model: Its model as ``provider/model``; None removes the alias.

    Raises:
        ConfigError: The file is invalid or cannot be written; it stays unchanged.
    """
    try:
        with private_files.locked(file.parent):
            aliases = {**read_aliases(file, providers), name: model}
            kept = {alias: found for alias, found in sorted(aliases.items()) if found is not None}
            text = json.dumps(kept, ensure_ascii=False, indent=2)
            private_files.replace(file, [f"{text}\n".encode()])
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from None


def alias_fault(name: str, providers: Iterable[str]) -> str:
    """Return why a text cannot be an alias; empty if it can."""
    if name == EMBEDDED or name in providers:
        return f"{name!r} is the name of a provider, so it cannot be an alias"
    if not _ALIAS.match(name):
        return f"invalid alias {name[:80]!r}: use letters, digits, '_', '.' and '-', but no '/'"
    return ""
