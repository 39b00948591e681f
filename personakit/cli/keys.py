"""`personakit keys`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from personakit.backend import Router
from personakit.cli.shared import completing, output
from personakit.cli.shared.groups import Group
from personakit.cli.shared.keyfile import read_key
from personakit.cli.shared.options import make_runner
from personakit.errors import ConfigError, UsageError, did_you_mean
from personakit.keys import (
    SCHEMES,
    OptionKey,
    Wanted,
    environment,
    keyfile,
    keyring,
    needs_key,
    scheme_of,
)
from personakit.providers import Provider

UNKNOWN = " (no installed plugin provides this scheme)"


class Row(NamedTuple):
    """A place that stores a key of a provider."""

    provider: str
    source: str
    place: str
    used: bool


class Keys(Group):
    """A group that never prints an unknown argument, because it may be a key."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        names = self.list_commands(ctx)
        if args[0] not in names and not did_you_mean(args[0], names):
            raise click.UsageError(
                f"expected one of {', '.join(names)} after {ctx.command_path}", ctx
            )
        return super().resolve_command(ctx, args)


@click.group("keys", cls=Keys)
def command() -> None:
    """Store, list and remove the API keys of providers."""


@command.command("set")
@click.argument("provider", shell_complete=completing.provider)
@click.argument("refused", nargs=-1, metavar="")
@click.option("--key-file", metavar="FILE", default="-", help="Read the key from FILE. Default: "
              "ask on a terminal, otherwise read standard input.")  # fmt: skip
@click.option("--keyring", "place", flag_value="keyring", help="Store the key in the keyring "
              "of the operating system; the default if there is a keyring.")  # fmt: skip
@click.option("--file", "place", flag_value="file", help="Store the key in keys.json, which only "
              "you can read.")  # fmt: skip
def keep(provider: str, refused: tuple[str, ...], key_file: str, place: str | None) -> None:
    """Store the key of PROVIDER, typed at a hidden prompt or piped in.

    \b
      personakit keys set openai
      pass show openai | personakit keys set openai
    """  # noqa: D301
    if refused:
        raise UsageError(
            "a key is not accepted as an argument: the process list and the shell history show "
            "it; omit it, and type it when asked or pipe it in. If this was a real key, replace it "
            "at the provider"
        )
    router = make_runner().router
    found, file = _provider(router, provider), _file(router)
    keyfile.read(file)  # fail for an invalid file before anything is changed
    key = read_key(key_file, found.name)
    problem = "" if place == "file" else keyring.put(found.name, key)
    if place == "keyring" and problem:
        raise ConfigError(
            f"the keyring cannot store the key: {problem}; omit --keyring to store it in {file}"
        )
    if place == "file" or problem:
        keyfile.put(file, found.name, key)
        note = f" ({problem})" if problem else ""
        output.line(f"{found.name}: key stored in {file}, which only you can read{note}")
        _leave_keyring(found)
    else:
        _mark(file, found)
        output.line(f"{found.name}: key stored in the keyring ({keyring.backend()})")
    _note_first(router, found)
    if not router.config.model and not isinstance(found, OptionKey):
        output.line(
            f"next: `personakit models {found.name}` lists its models, and `personakit models "
            f"default {found.name}/MODEL` chooses the one that is used without -m",
            err=True,
        )


def _mark(file: Path, provider: Wanted) -> None:
    """Drop an older key from the file, and add a marker if the keyring would not be read."""
    if not needs_key(provider):
        keyfile.put(file, provider.name, None)
    elif provider.name in keyfile.read(file):
        keyfile.drop(file, provider.name)


def _leave_keyring(provider: Wanted) -> None:
    """Remove an older key from the keyring, which takes precedence over the file."""
    if keyring.installed():
        keyring.remove(provider.name)


def _note_first(router: Router, provider: Wanted) -> None:
    first = "`api_key` of the config file" if provider.api_key else ""
    if not first and environment(router.config, provider):
        first = f"{provider.key_env} is set and"
    if first:
        output.line(f"note: {first} takes precedence", err=True)


@command.command("list", short_help="List the providers that have a key.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """List the providers that have a key, and its source. No key is shown."""
    router = make_runner().router
    fault = ""
    try:
        entries = keyfile.read(_file(router))
    except ConfigError as error:
        entries, fault = {}, str(error)
    rows = [
        Row(provider.name, source, place, index == 0 and not place.endswith(UNKNOWN))
        for provider, kept in _kept(router, entries)
        for index, (source, place) in enumerate(_places(router, provider, kept, entries))
    ]
    if as_json:
        names = ("provider", "from", "place", "used")
        output.print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        cells = [(r.provider, r.source, r.place, "yes" if r.used else "no") for r in rows]
        output.table(("provider", "from", "place", "used"), cells)
        if not rows and not fault:
            output.line(
                "no provider has a key; `personakit keys set PROVIDER` stores one", err=True
            )
    if fault:
        raise ConfigError(fault)


def _kept(router: Router, entries: keyfile.Keys) -> Iterator[tuple[Wanted, bool]]:
    """Yield each provider, and whether the keyring has its key."""
    asks = keyring.installed()
    for name in sorted({*_names(), *entries}):
        kept = None
        if asks:
            kept, problem = keyring.get(name)
            if problem:
                asks = False
            if problem and problem != keyring.NONE:
                output.line(f"the keyring cannot be read: {problem}", err=True)
        provider = router.find_provider(name) or _option(name) or Provider(name, key_required=False)
        yield provider, bool(kept)


def _places(
    router: Router, provider: Wanted, kept: bool, entries: keyfile.Keys
) -> Iterator[tuple[str, str]]:
    """Yield the source and place of each key of a provider; the first one is used.

    A scheme that no plugin provides gives no key, and the next places are not searched then.
    """
    if provider.api_key:
        scheme = scheme_of(provider)
        known = scheme in ("", *SCHEMES) or router.contributed("secret", scheme) is not None
        yield "config", f"{scheme}:{'' if known else UNKNOWN}" if scheme else "api_key"
        return
    if environment(router.config, provider):
        yield "environment", provider.key_env
    if kept:
        yield "keyring", keyring.backend()
    if entries.get(provider.name):
        yield "file", str(_file(router))


@command.command("rm")
@click.argument("provider", shell_complete=completing.provider)
def remove(provider: str) -> None:
    """Remove the key of PROVIDER from the keyring and from keys.json."""
    router = make_runner().router
    file = _file(router)
    in_file = provider in (entries := keyfile.read(file))
    found: Wanted = Provider(provider) if in_file else _provider(router, provider)
    in_keyring, problem = keyring.remove(found.name) if keyring.installed() else (False, "")
    if in_file:
        keyfile.drop(file, found.name)
    was = ["the keyring"] * in_keyring + [str(file)] * bool(entries.get(found.name))
    if was:
        output.line(f"{found.name}: key removed from {' and '.join(was)}")
        return
    note = f"; the keyring: {problem}" if problem else ""
    if environment(router.config, found):
        note += f"; {found.key_env} is set in the environment: unset it there"
    raise UsageError(f"no key of {found.name} is stored{note}; `personakit keys list` lists them")


def _file(router: Router) -> Path:
    assert router.config.keys_file is not None
    return router.config.keys_file


def _names() -> list[str]:
    """Return the names of all providers and secret options of plugins."""
    runner = make_runner()
    names = {*runner.config.providers, *runner.plugins.every("provider")}
    return sorted({*names, *(key.name for key in _options())})


def _options(plugin: str = "") -> list[OptionKey]:
    """Return the secrets among the options of a plugin, or of all."""
    plugins = make_runner().plugins
    named = [name for name in plugins.installed() if plugin in ("", name)]
    loaded = map(plugins.load, named)
    return [key for one in loaded for key in plugins.settings.keys_of(one.name, one.target)]


def _option(name: str) -> OptionKey | None:
    """Return the secret option of a name such as ``weather.api_key``; None if there is none.

    The name of a plugin stands for its only secret.

    Raises:
        UsageError: The plugin has several.
    """
    plugin, dot, _ = name.partition(".")
    keys = _options(plugin) if plugin else []
    found = [key for key in keys if key.name == name or not dot]
    if len(found) > 1:
        names = ", ".join(key.name for key in found)
        raise UsageError(f"plugin {plugin!r} has several: {names}; name one of them")
    return found[0] if found else None


def _provider(router: Router, name: str) -> Wanted:
    """Return a provider or a plugin's option that uses a key.

    Errors omit an unknown name, which may be a key.
    """
    found: Wanted | None = router.find_provider(name)
    if found is None or not found.key_env:
        found = _option(name) or found
    if found is None:
        names = _names()
        hint = did_you_mean(name, names) or f" (known: {', '.join(names)})"
        raise UsageError(f"no provider has that name{hint}")
    if found.connect is not None:
        raise UsageError(f"models of provider {found.name!r} do not use a key")
    return found
