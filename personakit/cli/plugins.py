"""`personakit plugins`."""

from __future__ import annotations

import click

from personakit.cli import common


@click.command("plugins")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """List the installed plugins: what each brings, and what is wrong with a broken one."""
    plugins = common.runner().plugins
    found = plugins.all()
    if as_json:
        rows = [
            {
                "name": plugin.name,
                "distribution": plugin.distribution,
                "version": plugin.version,
                "hooks": list(plugin.hooks),
                "provides": plugins.provides(plugin.name),
                "error": plugin.error or None,
            }
            for plugin in found
        ]
        common.print_json(rows)
        return
    cells = [
        (
            plugin.name,
            f"{plugin.distribution} {plugin.version}",
            ", ".join(plugin.hooks),
            f"broken: {plugin.error}" if plugin.error else ", ".join(plugins.provides(plugin.name)),
        )
        for plugin in found
    ]
    common.table(("name", "package", "hooks", "brings"), cells)
    if not found:
        click.echo("no plugins are installed", err=True)
