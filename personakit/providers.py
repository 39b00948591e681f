"""Providers: who runs the models, as data.

A provider is an address that speaks the OpenAI protocol and the environment variable that holds
its key. The addresses are those that each documents for its OpenAI-compatible API.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from personakit.base import Secret

_KEY_HEADER = re.compile("auth|cookie|key|secret|token", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a request goes.

    Attributes:
        base_url: The address of an OpenAI-compatible API, such as ``http://127.0.0.1:8080/v1``.
        api_key: Its key, a `Secret` or a text that becomes one; None when it takes none.
        model: The model's name there.
        max_tokens: The most that an answer may have, whatever the request says; None for no limit.
    """

    base_url: str
    api_key: Secret | None
    model: str
    max_tokens: int | None = None

    if TYPE_CHECKING:

        def __init__(
            self,
            base_url: str,
            api_key: Secret | str | None,
            model: str,
            max_tokens: int | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        if self.api_key is not None:
            object.__setattr__(self, "api_key", Secret(self.api_key))

    def __repr__(self) -> str:
        rest = f"api_key={self.api_key!r}, model={self.model!r}, max_tokens={self.max_tokens!r}"
        return f"Endpoint(base_url={self.shown!r}, {rest})"

    @property
    def shown(self) -> str:
        """The address without what may be secret in it: user, password, query and fragment."""
        return re.sub(r"^(\w+://)[^/]*@", r"\1", re.split("[?#]", self.base_url)[0])


@dataclass(frozen=True, slots=True)
class Provider:
    """Who runs a model: what stands before the slash in ``provider/model``.

    Attributes:
        name: What stands before the slash.
        base_url: The address of its API.
        base_url_env: An environment variable that overrides `base_url`.
        path: Appended to what `base_url_env` gives.
        key_env: The environment variable that holds the key; empty when it takes none.
        key_required: False when it also works without a key.
        api_key: ``scheme:rest`` for a scheme that a plugin contributes, ``literal:key``, or a key
            with nothing like a scheme before a colon; a text becomes a `Secret`.
        connect: Called before each request instead, with the model's name.
        default_model: The model of the bare provider name.
        tools: Whether its models take tools.
        stream_usage: Whether it takes `stream_options`, to report the tokens of a stream.
        finish_reason: Whether its answers always end with a finish reason.
        json_schema: Whether it takes a JSON Schema as `response_format`; where it does not, the
            schema is written into the system message.
        headers: Headers to send along, as name and value pairs; a value becomes a `Secret`.
    """

    name: str
    base_url: str = field(default="", repr=False)  # it can hold a password
    base_url_env: str = ""
    path: str = ""
    key_env: str = ""
    key_required: bool = True
    api_key: str | Secret = field(default=Secret(""), repr=False)
    connect: Callable[[str], Endpoint] | None = None
    default_model: str = ""
    tools: bool = True
    stream_usage: bool = True
    finish_reason: bool = True
    json_schema: bool = True
    headers: tuple[tuple[str, str | Secret], ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "api_key", Secret(self.api_key))
        headers = tuple((name, Secret(value)) for name, value in self.headers)
        object.__setattr__(self, "headers", headers)

    def secrets(self, endpoint: Endpoint | None = None) -> list[Secret]:
        """Return what may stand in nothing that is shown: the key, and headers that hold one."""
        values = [Secret(value) for name, value in self.headers if _KEY_HEADER.search(name)]
        # What follows "Bearer" is the secret of it.
        values += [Secret(value.reveal().rpartition(" ")[2]) for value in values]
        key = endpoint.api_key if endpoint is not None else None
        return [key, *values] if key else values


def _remote(name: str, base_url: str, key_env: str, *, json_schema: bool = True) -> Provider:
    return Provider(name, base_url, key_env=key_env, json_schema=json_schema)


def _here(name: str, port: int, env: str, key_env: str = "") -> Provider:
    url = f"http://localhost:{port}/v1"
    return Provider(name, url, base_url_env=env, key_env=key_env, key_required=False)


_ALL = (
    Provider(
        "openai",
        "https://api.openai.com/v1",
        base_url_env="OPENAI_BASE_URL",
        key_env="OPENAI_API_KEY",
    ),
    Provider(
        "azure",
        base_url_env="AZURE_OPENAI_ENDPOINT",
        path="/openai/v1/",
        key_env="AZURE_OPENAI_API_KEY",
    ),
    # Its page on OpenAI SDK compatibility says that response_format is ignored.
    _remote("anthropic", "https://api.anthropic.com/v1/", "ANTHROPIC_API_KEY", json_schema=False),
    _remote("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    # Its guide on JSON output knows json_object alone.
    _remote("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", json_schema=False),
    _remote("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    _remote("gemini", "https://generativelanguage.googleapis.com/v1beta/openai/", "GEMINI_API_KEY"),
    _remote("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    _remote("huggingface", "https://router.huggingface.co/v1", "HF_TOKEN"),
    _remote("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    # Its language models document a parameter of their own, guided_json.
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
DEFAULT = "openai"


def split_model(model: str) -> tuple[str, str]:
    """Return the provider's name and the model's name; a bare name is a model of openai."""
    provider, slash, name = model.partition("/")
    return (provider, name) if slash else (DEFAULT, model)
