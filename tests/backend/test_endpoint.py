"""Routing: from a model's name to the address and the key of who runs it."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from personakit import Config, ConfigError, Endpoint, Provider
from personakit.backend.endpoint import Router
from personakit.base import install_command
from personakit.providers import BUILT_IN, split_model

MINE = Provider("mine", "http://mine/v1", key_env="MINE_KEY", default_model="small")
LOCAL = Provider(
    "local", connect=lambda model: Endpoint("http://x", None, model), default_model="tiny"
)


def router(environ: Mapping[str, str] | None = None, **contributed: Any) -> Router:
    """Return a router that sees an environment, a provider of the config and contributions."""
    config = Config(environ=environ or {}, providers={**BUILT_IN, "mine": MINE})
    return Router(
        config, lambda kind, name, **_: contributed.get(f"{kind}_{name}"), notify=lambda _: None
    )


@pytest.mark.parametrize(
    ("model", "provider", "name"),
    [
        ("openai/gpt-5-mini", "openai", "gpt-5-mini"),
        ("gpt-5-mini", "openai", "gpt-5-mini"),
        ("openrouter/meta/llama-4:free", "openrouter", "meta/llama-4:free"),
        ("ollama/qwen3:4b", "ollama", "qwen3:4b"),
        ("mine/large", "mine", "large"),
        ("mine/", "mine", "small"),
        ("local", "local", "tiny"),
        ("local/other", "local", "other"),
    ],
)
def test_a_model_is_provider_slash_name(model: str, provider: str, name: str) -> None:
    found, rest = router(provider_local=LOCAL).find_model(model)
    assert (found.name, rest) == (provider, name)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("opnai/x", "unknown provider 'opnai'; did you mean 'openai'"),
        (
            "zzz/x",
            r"unknown provider 'zzz' \(known: openai, azure, .*\); write a model as provider/model",
        ),
        ("nope/x", r"unknown provider 'nope' \(known: openai, azure, "),
        ("/x", "unknown provider ''"),
        ("openai/", "'openai/' has no model name after the provider; write openai/model"),
        ("local", re.escape(install_command("personakit-local"))),
        (
            "anthropic",
            "'anthropic' is the name of a provider, not a model; write anthropic/model",
        ),
    ],
)
def test_a_model_that_nobody_runs(model: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        router().find_model(model)


def test_the_name_of_a_plugins_provider_is_no_model_of_openai() -> None:
    with_default = Provider("mine2", "http://x", default_model="small")
    found = router(provider_mine2=with_default, provider_mine3=Provider("mine3", "http://x"))
    with pytest.raises(ConfigError, match=r"'mine2' is the name of a provider.*write mine2/small"):
        found.find_model("mine2")
    with pytest.raises(ConfigError, match=r"'mine3' is the name of a provider.*write mine3/model"):
        found.find_model("mine3")


def test_a_mistyped_alias_is_no_model_of_openai() -> None:
    config = Config(environ={}, aliases={"fast": "ollama/qwen3", "gpt-5": "ollama/gpt-oss"})
    found = Router(config, lambda kind, name, **_: None)
    with pytest.raises(ConfigError, match=r"no alias 'fsat'; did you mean 'fast'\? For the model "):
        found.find_model("fsat")
    assert found.find_model("openai/fsat")[1] == "fsat"
    assert found.find_model("fast")[1] == "qwen3"
    assert found.find_model("gpt-5-mini")[1] == "gpt-5-mini"
    assert found.find_model("my-model")[1] == "my-model"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://example.com/v1", "https://example.com/v1"),
        ("https://ann:pass@example.com:8/v1?key=x#y", "https://example.com:8/v1"),
        ("https://a@b:pass@example.com/@cf/v1", "https://example.com/@cf/v1"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(address: str, shown: str) -> None:
    assert Endpoint(address, None, "m").shown == shown


def endpoint(name: str, environ: Mapping[str, str], **contributed: Any) -> Endpoint:
    made = router(environ, **contributed)
    return made.endpoint(made.provider(name), "m")


@pytest.mark.parametrize(
    ("name", "environ", "url", "key"),
    [
        ("openai", {"OPENAI_API_KEY": "k"}, "https://api.openai.com/v1", "k"),
        (
            "openai",
            {"OPENAI_API_KEY": " k\n", "OPENAI_BASE_URL": " http://x/v1/ "},
            "http://x/v1",
            "k",
        ),
        (
            "azure",
            {"AZURE_OPENAI_ENDPOINT": "https://a.azure.com/", "AZURE_OPENAI_API_KEY": "k"},
            "https://a.azure.com/openai/v1/",
            "k",
        ),
        ("ollama", {}, "http://localhost:11434/v1", None),
        ("ollama", {"OLLAMA_BASE_URL": "http://box:1/v1"}, "http://box:1/v1", None),
        ("llamacpp", {"LLAMACPP_API_KEY": "k"}, "http://localhost:8080/v1", "k"),
        ("vllm", {"VLLM_API_KEY": "", "OPENAI_API_KEY": "k"}, "http://localhost:8000/v1", None),
        ("mine", {"MINE_KEY": "k"}, "http://mine/v1", "k"),
    ],
)
def test_the_address_and_the_key_come_from_the_environment(
    name: str, environ: Mapping[str, str], url: str, key: str | None
) -> None:
    assert endpoint(name, environ) == Endpoint(url, key, "m")


@pytest.mark.parametrize(
    ("name", "environ", "message"),
    [
        ("openai", {}, "no key for provider 'openai': set OPENAI_API_KEY, run `personakit keys "),
        ("openai", {"OPENAI_API_KEY": " "}, "set OPENAI_API_KEY"),
        ("mine", {"OPENAI_API_KEY": "k"}, "set MINE_KEY"),
        ("azure", {"AZURE_OPENAI_API_KEY": "k"}, "ENDPOINT must be an address .*not set"),
        (
            "openai",
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "example.com/v1"},
            "OPENAI_BASE_URL must be an address such as https.*found 'example.com/v1'",
        ),
    ],
)
def test_what_is_missing_is_named(name: str, environ: Mapping[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        endpoint(name, environ)
    assert caught.type is ConfigError  # a name that users can import


@pytest.mark.parametrize("key", ["k\nx", "k\u2026", "k\x00", "Bearer k"])
def test_a_key_that_cannot_be_sent_is_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match=r"OPENAI_API_KEY.*space or a character") as caught:
        endpoint("openai", {"OPENAI_API_KEY": key})
    assert key not in str(caught.value)
    assert repr(key)[1:-1] not in str(caught.value)


def test_a_key_of_the_config_goes_first_and_may_be_a_secret_s_name() -> None:
    def of_vault(rest: str) -> str:
        return f"opened {rest}".replace(" ", "-")

    for given, key in [("sk-1", "sk-1"), ("vault:a/b:c", "opened-a/b:c"), ("literal:o:x", "o:x")]:
        config = Config(
            environ={"MINE_KEY": "k"}, providers={"mine": dataclasses.replace(MINE, api_key=given)}
        )
        found = Router(
            config,
            lambda kind, name, **_: of_vault if (kind, name) == ("secret", "vault") else None,
        )
        assert found.endpoint(found.provider("mine"), "m") == Endpoint("http://mine/v1", key, "m")


def test_the_user_s_provider_goes_before_a_contributed_one() -> None:
    other = Provider("mine", "http://other/v1")
    assert router(provider_mine=other).provider("mine") is MINE
    assert router(provider_more=other).provider("more") is other


def test_without_a_model_the_embedded_one_answers_and_says_so_once() -> None:
    said: list[str] = []
    made = router(provider_local=LOCAL)
    made.notify = said.append
    assert made.default_model() == made.default_model() == "local/tiny"
    assert said == [
        "personakit: no model chosen, using the embedded local/tiny (model= chooses one)"
    ]


def test_with_a_key_the_notice_names_how_to_choose_a_model_for_all_runs(tmp_path: Path) -> None:
    said: list[str] = []
    named = Config(environ={"GROQ_API_KEY": "gsk-x"})
    (tmp_path / "keys.json").write_text("{}")
    stored = Config(keys_file=tmp_path / "keys.json")
    for config in (named, stored):
        made = Router(config, lambda kind, name, **_: LOCAL)
        made.notify = said.append
        made.default_model()
    assert "; `personakit models default groq/MODEL` for all runs)" in said[0]
    assert "; `personakit models default openai/MODEL` for all runs)" in said[1]


def test_without_any_model_the_error_names_three_ways() -> None:
    with pytest.raises(ConfigError) as caught:
        router().default_model()
    for way in ('model="openai/', "PERSONAKIT_MODEL", install_command("personakit-local")):
        assert way in str(caught.value)


def test_no_key_is_ever_in_a_repr() -> None:
    config = Config(environ={"OPENAI_API_KEY": "sk-secret"}, providers={"mine": MINE})
    provider = dataclasses.replace(MINE, api_key="sk-secret")
    shown = [
        endpoint("openai", config.environ),
        config,
        provider,
        Router(config, lambda k, n, **_: None),
    ]
    for value in (*shown, Config(providers={"mine": provider})):
        assert "sk-secret" not in repr(value)
        assert "sk-secret" not in str(value)
    assert "api_key=Secret('***')" in repr(shown[0])
    assert "api_key=None" in repr(endpoint("ollama", {}))


@pytest.mark.parametrize("provider", BUILT_IN.values(), ids=lambda provider: provider.name)
def test_the_built_in_providers_are_complete(provider: Provider) -> None:
    assert BUILT_IN[provider.name] is provider
    assert provider.base_url.startswith(("https://", "http://localhost:")) or provider.base_url_env
    # What runs here needs no key; whoever runs elsewhere gets theirs over TLS alone.
    here = provider.base_url.startswith("http://localhost")
    assert here is not provider.key_required
    assert here or provider.key_env


def test_no_two_providers_share_a_key_or_an_address() -> None:
    for name in ("key_env", "base_url", "base_url_env"):
        given = [
            getattr(provider, name) for provider in BUILT_IN.values() if getattr(provider, name)
        ]
        assert len(given) == len(set(given)), name


def test_split_model() -> None:
    assert split_model("a/b/c") == ("a", "b/c")
    assert split_model("b") == ("openai", "b")
