"""`personakit models`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from personakit.cli.shared import completing, output
from personakit.cli.shared.groups import Group
from personakit.cli.shared.options import make_runner
from personakit.errors import UsageError, did_you_mean
from personakit.providers import DEFAULT_ALIAS, Provider, alias_fault, write_alias

if TYPE_CHECKING:
    from personakit.backend import ModelList
    from personakit.config import Config
    from personakit.runner import Runner
    from personakit.usage import Quote

UNKNOWN = "unknown"
DEFAULT = "list"
_EXAMPLE = "personakit models default openai/gpt-5-mini"
# The words of other tools, which would be taken for the name of an alias.
_NO_ALIAS = {
    **dict.fromkeys(("remove", "rm", "delete", "unset"), "personakit models alias NAME --remove"),
    **dict.fromkeys(("set", "add"), "personakit models alias NAME MODEL"),
    **dict.fromkeys(("list", "show"), "personakit models alias"),
}
# The words of other tools, which would be searched for.
_NO_SEARCH = {
    "options": "-p NAME=VALUE for a run, or `parameters:` in a persona or in the config file",
    "aliases": "personakit models alias",
    **dict.fromkeys(("set", "use"), "personakit models default MODEL"),
    **dict.fromkeys(("remove", "rm", "delete"), "personakit models alias NAME --remove"),
}


class Row(NamedTuple):
    """A model: its name with its provider, what is known about it, and how it is known."""

    model: str
    quote: Quote
    aliases: list[str]
    source: str


class Models(Group):
    """A group whose command `list` is used for any other first word."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the arguments, with the name of the default command if it is missing."""
        wants_help = bool(args) and args[0] in ("-h", "--help")
        if not ctx.resilient_parsing and not wants_help and (not args or not self._names(args[0])):
            args = [DEFAULT, *args]
        return super().parse_args(ctx, args)

    def _names(self, word: str) -> bool:
        return word in self.commands

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Return the commands, and the arguments of the default one."""
        if incomplete.startswith("-"):
            return self.commands[DEFAULT].shell_complete(ctx, incomplete)
        providers = completing.starting(completing.providers(), incomplete)
        return [*super().shell_complete(ctx, incomplete), *providers]


@click.group("models", cls=Models, invoke_without_command=True)
def command() -> None:
    """List models, with their prices and context windows, and name them by aliases.

    \b
      personakit models                      all models of the providers that have a key
      personakit models groq                 the models of a provider
      personakit models llama 70b            the models whose names contain these words
      personakit models default openai/gpt-5-mini
      personakit models alias fast openai/gpt-5-mini

    `personakit models list --help` lists the options.
    """  # noqa: D301


@command.command(DEFAULT)
@click.argument("words", nargs=-1, metavar="[PROVIDER|TEXT]...", shell_complete=completing.provider)
@click.option("--refresh", is_flag=True, help="Ask the providers again; their lists are kept for "
              "a day.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(words: tuple[str, ...], refresh: bool, as_json: bool) -> None:
    """List the models of the providers that have a key, or need none.

    PROVIDER lists the models of one provider. Any other text lists the models whose names or
    aliases contain it. A price is in US dollars for a million tokens.
    """
    from personakit.backend import list_models  # noqa: PLC0415

    if words and words[0] in _NO_SEARCH:
        raise UsageError(f"`models {words[0]}` is no command; use {_NO_SEARCH[words[0]]}")
    runner = make_runner()
    providers = _providers(runner)
    one = len(words) == 1 and words[0] in providers
    chosen = [providers[words[0]]] if one else list(providers.values())
    lists = list_models(runner.router, chosen, refresh=refresh)
    rows = [
        row
        for listed in lists
        for row in _rows(runner.config, listed, priced=bool(words))
        if one or _matches(row, words)
    ]
    if as_json:
        output.print_json(_json(runner.config, lists, rows))
        return
    titles = ("model", "$/M in", "$/M out", "context", "remarks")
    output.table(titles, map(_cells, rows), whole=4)
    if not words:
        _show_providers(lists)
    else:
        _show_faults(lists, only=one)
        if not rows and not one:
            hint = did_you_mean(words[0], providers) or "; `personakit models` lists all"
            text = f"no model contains {' and '.join(map(repr, words))}"
            output.line(f"{text}{hint}", err=True)


@command.command("default")
@click.argument("model", required=False, shell_complete=completing.model)
@click.option("--remove", is_flag=True, help="Have no default model.")
def default(model: str | None, remove: bool) -> None:
    """Show the model that is used when none is chosen, or make MODEL that one.

    It is the alias `default`. A model is taken from -m, else from the persona, PERSONAKIT_MODEL,
    the config file, and then from here.
    """
    if remove and model is not None:
        raise UsageError("--remove expects no model: personakit models default --remove")
    runner = make_runner()
    config = runner.config
    before = config.aliases.get(DEFAULT_ALIAS)
    if model is not None:
        _set_alias(runner, DEFAULT_ALIAS, model)
    elif remove:
        _remove_alias(config, DEFAULT_ALIAS)
    elif config.model:
        output.line(config.model)
    else:
        output.line(f"no default model is set; `{_EXAMPLE}` sets one", err=True)
    if config.model and config.model != before:
        named = "PERSONAKIT_MODEL" if config.environ.get("PERSONAKIT_MODEL") else config.file
        output.line(f"note: {named} sets {config.model}, which takes precedence", err=True)


@command.command("alias")
@click.argument("name", required=False, shell_complete=completing.alias)
@click.argument("model", required=False, shell_complete=completing.model)
@click.argument("more", nargs=-1, metavar="")
@click.option("--remove", is_flag=True, help="Remove the alias.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def alias(
    name: str | None, model: str | None, more: tuple[str, ...], remove: bool, as_json: bool
) -> None:
    """List the aliases, show one, or let NAME stand for MODEL.

    An alias can be used wherever a model is named: in -m, in a persona, in the config file.
    """
    if name in _NO_ALIAS:
        raise UsageError(f"`models alias {name}` is no command; use {_NO_ALIAS[name]}")
    if more:
        raise UsageError(f"expected an alias and a model, found {len(more) + 2} arguments")
    runner = make_runner()
    config = runner.config
    if remove and (name is None or model is not None):
        raise UsageError("--remove expects the alias alone: personakit models alias NAME --remove")
    if name is None:
        _list_aliases(config.aliases, as_json=as_json)
        return
    if model is not None:
        _set_alias(runner, name, model)
        return
    _check_alias(config, name)
    if remove:
        _remove_alias(config, name)
    elif as_json:
        output.print_json({name: config.aliases[name]})
    else:
        output.line(config.aliases[name])


def _check_alias(config: Config, name: str) -> None:
    if name not in config.aliases:
        hint = did_you_mean(name, config.aliases) or "; `personakit models alias` lists them"
        raise UsageError(f"no alias {name[:80]!r}{hint}")


def _remove_alias(config: Config, name: str) -> None:
    _check_alias(config, name)
    assert config.aliases_file is not None
    write_alias(config.aliases_file, config.providers, name, None)
    output.line(f"removed the alias {name} (it was {config.aliases[name]})")


def _set_alias(runner: Runner, name: str, model: str) -> None:
    config = runner.config
    if fault := alias_fault(name, _providers(runner)):
        raise UsageError(f"{fault}; for example: personakit models alias fast openai/gpt-5-mini")
    provider, rest = runner.router.find_model(model)
    if model == name:
        raise UsageError(f"{name!r} cannot stand for itself; write the model as provider/model")
    target = f"{provider.name}/{rest}"
    before = config.aliases.get(name)
    assert config.aliases_file is not None
    write_alias(config.aliases_file, config.providers, name, target)
    was = f" (it was {before})" if before not in (None, target) else ""
    output.line(f"{name} stands for {target}{was}")
    if name == DEFAULT_ALIAS:
        output.line("it is used where neither -m nor a persona names a model")


def _list_aliases(aliases: Any, *, as_json: bool) -> None:
    if as_json:
        output.print_json(dict(sorted(aliases.items())))
        return
    output.table(("alias", "model"), sorted(aliases.items()))
    if not aliases:
        example = "personakit models alias fast openai/gpt-5-mini"
        output.line(f"no aliases; `{example}` adds one", err=True)


def _providers(runner: Runner) -> dict[str, Provider]:
    """Return all providers by name: built-in, from the config and from plugins."""
    every = {**runner.plugins.every("provider"), **runner.config.providers}
    return {name: every[name] for name in sorted(every)}


def _rows(config: Config, listed: ModelList, *, priced: bool) -> Iterator[Row]:
    """Yield the models of a provider; without a key, those with a known price, if wanted."""
    from personakit.usage import priced_models, quote  # noqa: PLC0415

    provider = listed.provider.name
    names = {model.name: model.context for model in listed.models or ()}
    source = "" if listed.time is None else "kept"
    if listed.has_key is False and priced:
        names, source = dict.fromkeys(priced_models(provider)), "no key"
    for name, context in names.items():
        model = f"{provider}/{name}"
        known = quote(model)
        if context is not None:
            known = known.with_context(context)
        aliases = [alias for alias, named in config.aliases.items() if named == model]
        yield Row(model, known, aliases, source)


def _matches(row: Row, words: Iterable[str]) -> bool:
    text = " ".join((row.model, *row.aliases)).lower()
    return all(word.lower() in text for word in words)


def _cells(row: Row) -> tuple[str, ...]:
    remarks = [f"alias {name}" for name in row.aliases] + ["no key"] * (row.source == "no key")
    known = row.quote
    more = "+" if known.tiered else ""
    return (
        row.model,
        *(
            UNKNOWN if price is None else _dollars(price) + more
            for price in (known.input, known.output)
        ),
        UNKNOWN if known.context is None else f"{known.context:,}",
        ", ".join(remarks),
    )


def _dollars(price: float) -> str:
    """Return a price with two decimals, or with more if it has more."""
    whole, _, rest = f"{price:.6f}".partition(".")
    return f"{whole}.{rest.rstrip('0'):0<2}"


def _show_providers(lists: list[ModelList]) -> None:
    """Print the providers, on standard error, so that the rows of a pipe are models alone."""
    output.echo(err=True)
    rows = [(listed.provider.name, _key(listed), _state(listed)) for listed in lists]
    output.table(("provider", "key", "models"), rows, err=True)
    for listed in lists:
        if listed.fault:
            output.line(f"{listed.provider.name}: {listed.fault}", err=True)
    if any(listed.has_key is False for listed in lists):
        output.line("`personakit keys set PROVIDER` stores a key", err=True)


def _show_faults(lists: list[ModelList], *, only: bool) -> None:
    """Print why providers did not list their models; all reasons if only one was asked."""
    for listed in lists:
        if listed.fault or (only and (listed.models is None or listed.time is not None)):
            text = "; ".join(filter(None, (_state(listed), listed.fault)))
            output.line(f"{listed.provider.name}: {text}", err=True)
        if only and listed.has_key is False:
            output.line(f"{_key(listed)}, or `personakit keys set {listed.provider.name}`; "
                        f"these are the models with a known price", err=True)  # fmt: skip


def _key(listed: ModelList) -> str:
    if listed.has_key is None:
        return "not needed"
    return "yes" if listed.has_key else f"set {listed.provider.key_env}"


def _state(listed: ModelList) -> str:
    if listed.models is None:
        return "not running" if listed.is_silent else "not listed"
    count = str(len(listed.models))
    if listed.time is None:
        return count
    return f"{count} (listed {time.strftime('%Y-%m-%d %H:%M', time.localtime(listed.time))})"


def _json(config: Config, lists: list[ModelList], rows: list[Row]) -> dict[str, Any]:
    return {
        "providers": [
            {
                "provider": listed.provider.name,
                "key": listed.has_key,
                "key_env": listed.provider.key_env or None,
                "models": None if listed.models is None else len(listed.models),
                "listed": listed.time,
                "running": not listed.is_silent,
                "error": listed.fault or None,
            }
            for listed in lists
        ],
        "models": [
            {
                "model": row.model,
                "input_price": row.quote.input,
                "output_price": row.quote.output,
                "tiered": row.quote.tiered,
                "context": row.quote.context,
                "aliases": row.aliases,
                "listed": row.source != "no key",
            }
            for row in rows
        ],
        "aliases": dict(sorted(config.aliases.items())),
    }
