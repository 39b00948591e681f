"""What a shell completes: variables, parameters, models, providers, plugins and conversations.

Nothing here asks a server or starts a plugin: a completion must not take longer than a keystroke.
"""

from __future__ import annotations

from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from personakit.config import Config
from personakit.providers import DEFAULT


def starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return those names that start with the typed text."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def providers() -> list[str]:
    """Return the names of the providers, without those of plugins, which would be imported."""
    return sorted({*Config.read().providers, "local"})


def provider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a provider."""
    return starting(providers(), incomplete)


def alias(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an alias."""
    aliases = Config.read().aliases
    return [CompletionItem(name, help=model) for name, model in sorted(aliases.items())
            if name.startswith(incomplete)]  # fmt: skip


def model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete an alias, a provider, or after a slash the models that it listed last."""
    from personakit.backend import model_cache  # noqa: PLC0415

    config = Config.read()
    kept = model_cache.read(config)
    name, slash, _ = incomplete.partition("/")
    if slash:
        listed = kept[name].models if name in kept else ()
        return starting([f"{name}/{one.name}" for one in listed], incomplete)
    items = alias(ctx, param, incomplete)
    items += starting(["local"], incomplete)
    items += starting([f"{one}/" for one in sorted(config.providers)], incomplete)
    if not items and DEFAULT in kept:
        items = starting([one.name for one in kept[DEFAULT].models], incomplete)
    return items
