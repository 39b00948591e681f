"""`personakit keys`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click

from personakit.backend import Router
from personakit.cli.shared import output
from personakit.cli.shared.groups import Group
from personakit.cli.shared.keyfile import read_key
from personakit.cli.shared.options import make_runner
from personakit.errors import ConfigError, UsageError, did_you_mean
from personakit.keys import environment, keyfile, keyring, needs_key, scheme_of
from personakit.providers import Provider


class Row(NamedTuple):
    """One place that has a key of a provider."""

    provider: str
    source: str
    place: str
    used: bool


class Keys(Group):
    """A group that does not repeat what it does not know: it may be a key."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that the arguments name."""
        known = self.list_commands(ctx)
        if args[0] not in known and not did_you_mean(args[0], known):
            raise click.UsageError(f"write one of {', '.join(known)} after {ctx.command_path}", ctx)
        return super().resolve_command(ctx, args)


@click.group("keys", cls=Keys)
def command() -> None:
    """Keep the keys of providers, show where they come from, or remove them."""


@command.command("set")
@click.argument("provider")
@click.argument("refused", nargs=-1, metavar="")
@click.option("--key-file", metavar="FILE", default="-", help="Take the key from FILE. Default: "
              "ask on a terminal, else standard input.")  # fmt: skip
@click.option("--keyring", "place", flag_value="keyring", help="Keep it in the keyring of the "
              "operating system. Default, where there is one.")  # fmt: skip
@click.option("--file", "place", flag_value="file", help="Keep it in keys.json, which nobody but "
              "you can read.")  # fmt: skip
def keep(provider: str, refused: tuple[str, ...], key_file: str, place: str | None) -> None:
    """Keep the key of PROVIDER, typed without an echo or piped in.

    \b
      personakit keys set openai
      pass show openai | personakit keys set openai
    """  # noqa: D301
    if refused:
        raise UsageError(
            "a key is not taken as an argument, where the list of processes and the shell's "
            "history show it; leave it out, and type it when you are asked, or pipe it in. "
            "Better take one that was typed there for a new one"
        )
    router = make_runner().router
    found, file = _provider(router, provider), _file(router)
    keyfile.read(file)  # one that is broken stops it here, before anything is changed
    key = read_key(key_file, found.name)
    problem = "" if place == "file" else keyring.put(found.name, key)
    if place == "keyring" and problem:
        raise ConfigError(
            f"the keyring cannot keep the key: {problem}; without --keyring, {file} keeps it"
        )
    if place == "file" or problem:
        keyfile.put(file, found.name, key)
        note = f" ({problem})" if problem else ""
        click.echo(f"{found.name}: key kept in {file}, which only you can read{note}")
        _leave_keyring(found)
    else:
        _mark(file, found)
        click.echo(f"{found.name}: key kept in the keyring ({keyring.backend()})")
    _note_first(router, found)


def _mark(file: Path, provider: Provider) -> None:
    """Leave no older key in the file, and a note where the keyring would not be asked."""
    if not needs_key(provider):
        keyfile.put(file, provider.name, None)
    elif provider.name in keyfile.read(file):
        keyfile.drop(file, provider.name)


def _leave_keyring(provider: Provider) -> None:
    """Leave no older key in the keyring, which goes before the file."""
    if keyring.installed():
        keyring.remove(provider.name)


def _note_first(router: Router, provider: Provider) -> None:
    first = "`api_key` of the config file" if provider.api_key else ""
    if not first and environment(router.config, provider):
        first = f"{provider.key_env} is set and"
    if first:
        click.echo(f"note: {first} goes first", err=True)


@command.command("list", short_help="List who has a key, and from where.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(as_json: bool) -> None:
    """List the providers that have a key, and where it comes from; no key is shown."""
    router = make_runner().router
    fault = ""
    try:
        entries = keyfile.read(_file(router))
    except ConfigError as error:
        entries, fault = {}, str(error)
    rows = [
        Row(provider.name, source, place, index == 0)
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
            click.echo("no provider has a key; `personakit keys set PROVIDER` keeps one", err=True)
    if fault:
        raise ConfigError(fault)


def _kept(router: Router, entries: keyfile.Keys) -> Iterator[tuple[Provider, bool]]:
    """Yield the providers, each with whether the keyring has a key of it."""
    asks = keyring.installed()
    for name in sorted({*_names(), *entries}):
        kept = None
        if asks:
            kept, problem = keyring.get(name)
            if problem:
                asks = False
                click.echo(f"the keyring is not looked into: {problem}", err=True)
        known = router.find_provider(name) or Provider(name, key_required=False)
        yield known, bool(kept)


def _places(
    router: Router, provider: Provider, kept: bool, entries: keyfile.Keys
) -> Iterator[tuple[str, str]]:
    """Yield the places that have a key of a provider, that which is used first."""
    if provider.api_key:
        scheme = scheme_of(provider)
        yield "config", f"{scheme}:" if scheme else "api_key"
        return
    if environment(router.config, provider):
        yield "environment", provider.key_env
    if kept:
        yield "keyring", keyring.backend()
    if entries.get(provider.name):
        yield "file", str(_file(router))


@command.command("rm")
@click.argument("provider")
def remove(provider: str) -> None:
    """Remove the key of PROVIDER from the keyring and from keys.json."""
    router = make_runner().router
    file = _file(router)
    in_file = provider in (entries := keyfile.read(file))
    found = Provider(provider) if in_file else _provider(router, provider)
    in_keyring, problem = keyring.remove(found.name) if keyring.installed() else (False, "")
    if in_file:
        keyfile.drop(file, found.name)
    was = ["the keyring"] * in_keyring + [str(file)] * bool(entries.get(found.name))
    if was:
        click.echo(f"{found.name}: key removed from {' and '.join(was)}")
        return
    note = f"; the keyring: {problem}" if problem else ""
    if environment(router.config, found):
        note += f"; {found.key_env} is set: unset it where you set it"
    raise UsageError(f"no key of {found.name} is kept{note}; `personakit keys list` lists them")


def _file(router: Router) -> Path:
    assert router.config.keys_file is not None
    return router.config.keys_file


def _names() -> list[str]:
    """Return the names of all providers: built in, the config's and those that plugins bring."""
    runner = make_runner()
    return sorted({*runner.config.providers, *runner.plugins.every("provider")})


def _provider(router: Router, name: str) -> Provider:
    """Return a provider that takes a key; an error does not repeat the name: it may be the key."""
    found = router.find_provider(name)
    if found is None:
        known = _names()
        hint = did_you_mean(name, known) or f" (known: {', '.join(known)})"
        raise UsageError(f"no provider has that name{hint}")
    if found.connect is not None:
        raise UsageError(f"models of provider {found.name!r} take no key")
    return found
