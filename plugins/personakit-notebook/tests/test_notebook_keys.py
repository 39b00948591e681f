"""Keys from the secrets of hosted notebooks, whose modules are stand-ins."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import personakit
from personakit import Config, ConfigError, Runner
from personakit.testing import Server


def module(monkeypatch: pytest.MonkeyPatch, name: str, **values: Any) -> ModuleType:
    """Make a module importable."""
    made = ModuleType(name)
    made.__dict__.update(values)
    # Looked up as an installed one is, so that it has a spec.
    made.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec(name, None)
    monkeypatch.setitem(sys.modules, name, made)
    return made


def colab(monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str], locked: bool = False) -> None:
    class SecretNotFoundError(Exception): ...

    class NotebookAccessError(Exception): ...

    def get(name: str) -> str:
        if locked:
            raise NotebookAccessError(name)
        if name not in secrets:
            raise SecretNotFoundError(name)
        return secrets[name]

    userdata = module(
        monkeypatch, "google.colab.userdata", get=get, SecretNotFoundError=SecretNotFoundError,
        NotebookAccessError=NotebookAccessError,
    )  # fmt: skip
    lab = module(monkeypatch, "google.colab", userdata=userdata)
    google = sys.modules.get("google") or module(monkeypatch, "google", __path__=[])
    monkeypatch.setattr(google, "colab", lab, raising=False)


def kaggle(monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
    class UserSecretsClient:
        def get_secret(self, name: str) -> str:
            return secrets[name]

    module(monkeypatch, "kaggle_secrets", UserSecretsClient=UserSecretsClient)


def naas(monkeypatch: pytest.MonkeyPatch, secrets: dict[str, str]) -> None:
    class Secret:
        @staticmethod
        def get(name: str, default_value: Any = None) -> Any:
            return secrets.get(name, default_value)

    module(monkeypatch, "naas", secret=Secret)


SERVICES = {"colab": colab, "kaggle": kaggle, "naas": naas}


def config(server: Server, folder: Path, key: str = "") -> Config:
    file = folder / "config.yaml"
    lines = f"\n    api_key: {key}" if key else ""
    file.write_text(
        f"providers:\n  lab:\n    base_url: {server.base_url}\n    key_env: LAB_KEY{lines}\n"
    )
    environ = {
        "PERSONAKIT_CONFIG": str(file),
        "HOME": str(folder),
        "PERSONAKIT_PLUGINS": "notebook",
    }
    return Config.read(environ)


def asked_with(server: Server, settings: Config) -> str:
    """Return the key that a run is sent with."""
    with Runner(settings) as runner:
        runner.run(personakit.Persona.parse("system: x", "x.yaml"), "Hi!", model="lab/m")
    return server.requests[-1].headers["authorization"]


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        yield running


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process is a kernel."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setattr(InteractiveShell, "initialized", classmethod(lambda cls: True))
    monkeypatch.setattr(InteractiveShell, "instance", classmethod(lambda cls: object()))


@pytest.mark.parametrize("name", SERVICES)
def test_a_scheme_reads_the_secret(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SERVICES[name](monkeypatch, {"OTHER": " the-key\n"})
    assert asked_with(server, config(server, tmp_path, f"{name}:OTHER")) == "Bearer the-key"
    with pytest.raises(ConfigError, match=r"secret 'NONE'.*; (add|.*add)") as caught:
        asked_with(server, config(server, tmp_path, f"{name}:NONE"))
    assert "the-key" not in str(caught.value)


@pytest.mark.parametrize("name", SERVICES)
def test_in_a_kernel_the_name_of_the_variable_is_enough(
    name: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: None
) -> None:
    SERVICES[name](monkeypatch, {"LAB_KEY": "the-key"})
    assert asked_with(server, config(server, tmp_path)) == "Bearer the-key"


def test_what_a_service_lacks_is_looked_for_elsewhere(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: None
) -> None:
    colab(monkeypatch, {}, locked=True)
    naas(monkeypatch, {})
    with pytest.raises(ConfigError) as caught:
        asked_with(server, config(server, tmp_path))
    message = str(caught.value)
    assert "`%persona keys lab`" in message
    assert "may not read the secret 'LAB_KEY'; switch on its access" in message
    assert "naas has no secret 'LAB_KEY'" in message


def test_outside_a_kernel_no_service_is_asked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naas(monkeypatch, {"LAB_KEY": "the-key"})
    with pytest.raises(ConfigError, match="personakit keys set lab"):
        asked_with(server, config(server, tmp_path))


def test_a_service_that_is_not_there_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'kaggle_secrets' cannot be imported; it is there in"):
        asked_with(server, config(server, tmp_path, "kaggle:LAB_KEY"))
