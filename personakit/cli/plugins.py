"""`personakit plugins`."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from personakit.base import install_command
from personakit.cli.shared import completing, output
from personakit.cli.shared.abilities import touching
from personakit.cli.shared.groups import Group
from personakit.cli.shared.options import make_runner
from personakit.errors import UsageError, did_you_mean
from personakit.permissions import allows

if TYPE_CHECKING:
    from personakit.plugins import Plugin, Plugins


@click.group("plugins", cls=Group, invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def command(context: click.Context, as_json: bool) -> None:
    """List the installed plugins, what each provides, and the errors of broken ones."""
    if context.invoked_subcommand is not None:
        return
    plugins = make_runner().plugins
    found = plugins.all()
    if as_json:
        output.print_json([_row(plugins, plugin) for plugin in found])
        return
    cells = [
        (
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            ", ".join(plugin.hooks),
            _short(plugin),
            f"broken: {plugin.error}" if plugin.error else ", ".join(_provided(plugins, plugin)),
        )
        for plugin in found
    ]
    output.table(("name", "package", "hooks", "options", "provides"), cells)
    if not found:
        output.echo("no plugins are installed", err=True)
        return
    config = plugins.config
    listed = ", ".join(sorted(config.allow_plugins or ())) or "none"
    tools = ", ".join(sorted(config.allow_tools)) or "only those that touch nothing"
    # On standard error, so that the rows of a pipe are plugins alone.
    plugins_line = f"allow_plugins: {'all' if config.allow_plugins is None else listed}"
    output.line(f"{plugins_line}; allow_tools: {tools}", err=True)
    for name in config.plugin_options:
        if plugins.find("plugin", name) is None and name not in plugins.installed():
            hint = did_you_mean(name, plugins.installed())
            message = f"plugin_options: no plugin {name!r} is installed{hint}"
            output.line(f"personakit: {config.file}: {message}", err=True)


@command.command("show")
@click.argument("name", shell_complete=completing.plugin)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> int:
    """Show a plugin: its options, and how a persona lists it."""
    plugins = make_runner().plugins
    if name not in plugins.installed() and plugins.find("plugin", name) is None:
        hint = did_you_mean(name, plugins.installed()) or "; `personakit plugins` lists them"
        raise UsageError(f"no plugin {name!r} is installed{hint}")
    # A plugin that another plugin contributes is not among the installed ones.
    plugin = plugins.load(name) if name in plugins.installed() else plugins.usable(name)
    if as_json:
        output.print_json(_row(plugins, plugin))
        return 0
    output.line(f"{plugin.name}  {plugin.distribution} {plugin.version}".rstrip())
    if plugin.error:
        output.echo(f"broken: {plugin.error}")
        return 1
    about = (inspect.getdoc(plugin.target) or "").partition("\n\n")[0]
    if about:
        output.echo(f"\n{about}")
    output.echo(f"\nhooks: {', '.join(plugin.hooks)}")
    provided = _provided(plugins, plugin)
    if provided:
        output.line(f"provides: {', '.join(provided)}")
    for rule, names in _rules(plugins, plugin).items():
        if names:
            output.line(f"{rule.replace('_', ' ')}: {', '.join(names)}")
    options, settings = _options(plugin.name, plugin.target), _settings(plugins, plugin)
    _table("option", options)
    _table("setting", settings)
    if settings:
        output.echo(f"\nIn the config file: plugin_options: {{{name}: {{{', '.join(settings)}}}}}")
    if {*plugin.hooks} - {"setup"}:
        output.echo(f"\nIn a persona:\n\n{_example(plugin, options)}")
    return 0


@command.command("new")
@click.argument("name")
@click.option("--folder", metavar="FOLDER", help="The folder to create. Default: personakit-NAME.")
def new(name: str, folder: str | None) -> None:
    """Write the package of a new plugin: a module, its tests and a README."""
    from personakit.authoring import write_plugin  # noqa: PLC0415

    target = write_plugin(name, Path(folder) if folder else None)
    output.line(f"Wrote {target}. Next:")
    output.line(f"  {install_command('-e', f'{target}[test]')}")
    output.line(f"  pytest {target}")
    output.line(f"  personakit plugins show {name}")


def _table(title: str, found: dict[str, Any]) -> None:
    """Print options or settings; nothing if there are none."""
    if found:
        output.echo()
        rows = [row for name, schema in found.items() for row in _rows(name, schema)]
        output.table((title, "type", "default", "meaning"), rows)


def _row(plugins: Plugins, plugin: Plugin) -> dict[str, Any]:
    config = plugins.config
    return {
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "hooks": list(plugin.hooks),
        "options": _options(plugin.name, plugin.target),
        "settings": _settings(plugins, plugin),
        "provides": plugins.provides(plugin.name),
        **_rules(plugins, plugin),
        "tools": {
            name: {"touches": touches, "allowed": not touches or allows(config.allow_tools, name)}
            for name, touches in _tools(plugins, plugin).items()
        },
        "allowed": config.allow_plugins is None or allows(config.allow_plugins, plugin.name),
        "error": plugin.error or None,
    }


def _provided(plugins: Plugins, plugin: Plugin) -> list[str]:
    """Return what a plugin contributes, and what its tools touch."""
    notes = {
        f"tool:{name}": touching(plugins.config, name, touches)
        for name, touches in _tools(plugins, plugin).items()
    }
    return [f"{item}{notes.get(item, '')}" for item in plugins.provides(plugin.name)]


def _rules(plugins: Plugins, plugin: Plugin) -> dict[str, list[str]]:
    """Return the plugins that one must stand outside of and inside of, whichever says so."""
    from personakit.plugins import order  # noqa: PLC0415

    outside, inside = order.rules(plugin.target).values()
    for other in plugins.all():
        its_outside, its_inside = order.rules(other.target).values()
        outside += (other.name,) * (plugin.name in its_inside)
        inside += (other.name,) * (plugin.name in its_outside)
    return {"outside_of": sorted({*outside}), "inside_of": sorted({*inside})}


def _tools(plugins: Plugins, plugin: Plugin) -> dict[str, list[str]]:
    """Return the tools that a plugin contributes, each with what it touches."""
    items = (item.partition(":") for item in plugins.provides(plugin.name))
    names = [name for kind, _, name in items if kind == "tool"]
    return {name: list(plugins.find("tool", name).touched) for name in names}


def _settings(plugins: Plugins, plugin: Plugin) -> dict[str, Any]:
    """Return the settings of what a plugin's `setup` contributes, each with its JSON Schema."""
    return _options(plugin.name, plugins.settings.class_of(plugin.name))


def _options(plugin: str, target: Any) -> dict[str, Any]:
    """Return the options of a class, each with its JSON Schema."""
    from personakit.plugins import options  # noqa: PLC0415

    if not isinstance(target, type):
        return {}
    found, definitions = options.schema(target, plugin)
    for name, schema in found.items():
        used = {
            key: value for key, value in definitions.items() if key.startswith(f"{plugin}.{name}.")
        }
        schema["required"] = options.parameters(target)[name].default is inspect.Parameter.empty
        if used:
            schema["$defs"] = used
    return found


def _short(plugin: Plugin) -> str:
    """Return the options of a plugin and their defaults on one line."""
    return ", ".join(
        f"{name}={_default(schema)}" if "default" in schema else name
        for name, schema in _options(plugin.name, plugin.target).items()
    )


def _default(schema: dict[str, Any]) -> str:
    if "default" in schema:
        return json.dumps(schema["default"], ensure_ascii=False)
    return "(required)" if schema["required"] else ""


def _rows(name: str, schema: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the table row of an option, followed by those of its nested keys."""
    about = schema.get("description", "").partition("Attributes:")[0].strip()
    rule = _rule(schema)
    about += f" The user's: {rule}." if rule else ""
    rows = [(name, _kind(schema), _default({"required": False, **schema}), about)]
    for key, inner in _nested(schema).items():
        rows += _rows(f"{name}.{key}", inner)
    return rows


def _rule(schema: dict[str, Any]) -> str:
    """Return what a persona may set, for an option that is the user's; else an empty text."""
    parts = [schema, schema.get("items", {}), *schema.get("anyOf", ())]
    return next((part["x-user-option"] for part in parts if "x-user-option" in part), "")


def _nested(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a mapping option, each with its schema."""
    name = schema.get("$ref", "").rpartition("/")[2]
    keys: dict[str, Any] = schema.get("$defs", {}).get(name, schema).get("properties", {})
    return keys


def _kind(schema: dict[str, Any]) -> str:
    """Return a short description of the type in a schema."""
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if "const" in schema:
        return json.dumps(schema["const"])
    if "anyOf" in schema:
        return " | ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return str(schema.get("type", "object" if "$ref" in schema else "any"))


def _example(plugin: Plugin, options: dict[str, Any]) -> str:
    """Return the lines that list a plugin in a persona."""
    users = {name for name, schema in options.items() if _rule(schema).startswith("only the user")}
    values = {
        name: schema.get("default", "…")
        for name, schema in options.items()
        if (schema["required"] or schema.get("default") is not None) and name not in users
    }
    # For a mapping without a default, show one of its lists of strings.
    values |= {
        name: {key: ["…"]}
        for name, schema in options.items()
        for key, inner in reversed(_nested(schema).items())
        if name not in values and _kind(inner) == "list of string"
    }
    needed = ", ".join(f"{name}: …" for name in sorted(users) if options[name]["required"])
    config = f"\n\nIn the config file:\n\nplugin_options:\n  {plugin.name}: {{{needed}}}"
    end = config if needed else ""
    if not values:
        return f"plugins:\n  - {plugin.name}{end}"
    lines = (f"      {name}: {json.dumps(v, ensure_ascii=False)}" for name, v in values.items())
    return "\n".join(["plugins:", f"  - {plugin.name}:", *lines]) + end
