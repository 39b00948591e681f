"""A personakit plugin that finds keys in the secrets of hosted notebooks: Colab, Kaggle and naas.

Sources of the calls: https://colab.research.google.com/notebooks/secrets.ipynb,
https://www.kaggle.com/docs/notebooks#secrets and https://github.com/jupyter-naas/naas.
"""

from __future__ import annotations

import importlib
from typing import Any

from personakit import ConfigError, Registry, hookimpl

__all__ = ["Notebook"]


class Notebook:
    """The plugin that contributes the schemes `colab`, `kaggle` and `naas`."""

    @staticmethod
    @hookimpl
    def setup(registry: Registry) -> None:
        """Contribute the schemes; the modules of the services are imported when a key is read."""
        registry.secret("colab", _colab)
        registry.secret("kaggle", _kaggle)
        registry.secret("naas", _naas)


def _module(name: str, service: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        raise ConfigError(
            f"the module {name!r} cannot be imported; it is there in a notebook of {service}"
        ) from None


def _colab(name: str) -> str:
    """Return a secret of Colab.

    Raises:
        ConfigError: It is missing, or the notebook may not read it.
    """
    userdata = _module("google.colab", "Colab").userdata
    try:
        key = userdata.get(name)
    except userdata.SecretNotFoundError:
        raise _missing(name, "Colab", "add it under the key icon") from None
    except userdata.NotebookAccessError:
        raise ConfigError(
            f"Colab: this notebook may not read the secret {name!r}; switch on its access under "
            f"the key icon"
        ) from None
    return _given(key, name, "Colab", "add it under the key icon")


def _kaggle(name: str) -> str:
    """Return a secret of Kaggle.

    Raises:
        ConfigError: It cannot be read.
    """
    client = _module("kaggle_secrets", "Kaggle").UserSecretsClient()
    advice = "add it, and attach it to the notebook, under Add-ons > Secrets"
    try:
        key = client.get_secret(name)
    except Exception as error:  # the errors of the service have no common type
        raise ConfigError(
            f"Kaggle: the secret {name!r} cannot be read ({type(error).__name__}); {advice}"
        ) from None
    return _given(key, name, "Kaggle", advice)


def _naas(name: str) -> str:
    """Return a secret of naas.

    Raises:
        ConfigError: It is missing.
    """
    key = _module("naas", "naas").secret.get(name)
    return _given(key, name, "naas", f"add it with naas.secret.add({name!r}, …), not in a notebook")


def _given(key: Any, name: str, service: str, advice: str) -> str:
    if not isinstance(key, str) or not key.strip():
        raise _missing(name, service, advice)
    return key


def _missing(name: str, service: str, advice: str) -> ConfigError:
    return ConfigError(f"{service} has no secret {name!r}; {advice}")
