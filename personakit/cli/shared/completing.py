"""What a shell completes: variables, parameters, models, providers, plugins and conversations.

Nothing here asks a server or starts a plugin: a completion must not take longer than a keystroke.
Only after the colon of `db:` does a plugin list its personas.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from personakit.base import SCHEME, printable
from personakit.config import Config, user_cache
from personakit.errors import PersonaError
from personakit.frozen import thaw
from personakit.persona import parameters
from personakit.providers import DEFAULT, EMBEDDED

if TYPE_CHECKING:
    from personakit.library import Library
    from personakit.persona import Persona
    from personakit.plugins import Plugins
    from personakit.registry import PersonaSource


def starting(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    """Return those names that start with the typed text."""
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def providers() -> list[str]:
    """Return the names of the providers, without those of plugins, which would be imported."""
    return sorted({*Config.read().providers, EMBEDDED})


def loaders(config: Config) -> Callable[[str], PersonaSource | None]:
    """Return the function that finds the loader of a scheme; it imports plugins when called."""

    @functools.cache
    def plugins() -> Plugins:
        from personakit.plugins import Plugins  # noqa: PLC0415

        return Plugins(config)

    return lambda scheme: plugins().find("loader", scheme)


def persona(library: Library, incomplete: str) -> list[CompletionItem]:
    """Complete a persona: a name or a scheme, or after a colon the names that a plugin lists."""
    scheme, colon, _ = incomplete.partition(":")
    if not colon:
        schemes = [f"{name}:" for name in library.schemes()]
        return starting([*library.names(), *schemes], incomplete)
    return [
        CompletionItem(one.name, help=one.description)
        for one in (library.listed(scheme) if SCHEME.match(scheme) else ())
        if not isinstance(one, PersonaError) and one.name.startswith(incomplete)
    ]


def provider(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a provider."""
    return starting(providers(), incomplete)


def shell(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a shell."""
    from personakit.cli.shared.shells import shells  # noqa: PLC0415

    return starting(shells(), incomplete)


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
    items += starting([EMBEDDED], incomplete)
    items += starting([f"{one}/" for one in sorted(config.providers)], incomplete)
    if not items and DEFAULT in kept:
        items = starting([one.name for one in kept[DEFAULT].models], incomplete)
    return items


def variable(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``NAME=VALUE`` for a variable of the persona that is typed already."""
    name, equals, value = incomplete.partition("=")
    persona = _persona(ctx)
    declared = persona.variables if persona is not None else {}
    if not equals:
        return [
            CompletionItem(f"{one.name}=", help=one.description)
            for one in declared.values()
            if one.name.startswith(name)
        ]
    if value.startswith("@"):
        return [CompletionItem(incomplete, type="file")]
    found = declared.get(name)
    if found is None:
        return []
    values = ("true", "false") if found.type == "boolean" else found.enum or ()
    texts = [one if isinstance(one, str) else json.dumps(thaw(one)) for one in values]
    return starting([f"{name}={text}" for text in texts], incomplete)


def parameter(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a parameter of a model."""
    return starting([f"{name}=" for name in sorted(parameters.ALLOWED)], incomplete)


def plugin(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of an installed plugin."""
    from personakit.plugins import Plugins  # noqa: PLC0415

    return starting(sorted(Plugins(Config.read()).installed()), incomplete)


def conversation(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the id of one of the latest conversations."""
    from personakit.log import RunLog  # noqa: PLC0415

    log = RunLog.of(Config.read())
    ctx.call_on_close(log.close)
    items: dict[str, CompletionItem] = {}
    for row in log.find(limit=100):
        if row.conversation and row.conversation.startswith(incomplete):
            remark = printable(f"{row.persona}: {' '.join(row.asked.split())[:80]}")
            items.setdefault(row.conversation, CompletionItem(row.conversation, help=remark))
    return list(items.values())


def _persona(ctx: click.Context) -> Persona | None:
    """Return the persona that is typed already; None if there is none, or a wrong one."""
    # Without the value of its last option, click does not parse the arguments.
    name = ctx.params.get("persona") or next(iter(ctx.args), None)
    if not isinstance(name, str):
        return None
    from personakit.errors import PersonakitError  # noqa: PLC0415
    from personakit.library import Library  # noqa: PLC0415

    config = Config.read()
    try:
        return Library(config.path, loaders(config), user_cache(config.environ)).load(name)
    except PersonakitError:
        return None
