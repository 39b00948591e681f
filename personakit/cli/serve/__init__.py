"""`personakit serve`."""

from __future__ import annotations

import functools
import sys
from typing import Any

import click

from personakit.cli.serve.keys import keys
from personakit.cli.shared import output
from personakit.cli.shared.groups import Group
from personakit.cli.shared.options import make_library
from personakit.config import Config
from personakit.errors import UsageError


@click.group("serve", cls=Group, invoke_without_command=True)
@click.option("--host", metavar="ADDRESS", help="The address to listen on. Default: 127.0.0.1, "
              "which serves this machine; any other needs a key.")  # fmt: skip
@click.option("--port", metavar="PORT", help="Default: 8111; 0 for a free one.")
@click.option("--workers", metavar="NUMBER", help="The number of processes. Default: 1.")
@click.option("--personas", metavar="NAMES", help="Names and patterns of the personas to serve, "
              "separated by commas, such as 'chef,code-*'. Default: all.")  # fmt: skip
@click.option("--log/--no-log", default=None, help="Write runs to the run log (the default).")
@click.option("--grace", metavar="SECONDS", help="How long running requests may take when the "
              "server stops. Default: 30.")  # fmt: skip
@click.option("--cors", metavar="ORIGINS", help="Origins of pages that may call the server from a "
              "browser, such as https://chat.example.com.")  # fmt: skip
@click.option("--strict", is_flag=True, default=None, help="Refuse parameters of clients that "
              "would be ignored.")  # fmt: skip
@click.option("--mcp", is_flag=True, default=None, help="Serve the personas over MCP, too, at "
              "/mcp.")  # fmt: skip
@click.option("--mcp-tools", metavar="NAMES", help="The personas that are tools over MCP: a call "
              "runs one. 'all' for all. Default: none; all are prompts.")  # fmt: skip
@click.option("--mcp-one-tool", is_flag=True, default=None, help="Offer one tool over MCP that "
              "runs each of them, instead of one each.")  # fmt: skip
@click.option("--client-system", metavar="append|user|refuse", help="What happens to the system "
              "message of a client: append it to that of the persona (the default), make it a "
              "message of the user, or refuse it.")  # fmt: skip
@click.option("--ledger", metavar="FILE", help="The file of keys and budgets. Default: one in your "
              "state folder.")  # fmt: skip
@click.pass_context
def command(ctx: click.Context, /, **given: Any) -> int | None:
    """Serve personas as models of an OpenAI-compatible API.

    \b
      personakit serve                            http://127.0.0.1:8111/v1, for this machine
      personakit serve keys new anna              make a key; then every request needs one
      personakit serve --host 0.0.0.0 --workers 4

    SIGTERM and Ctrl-C end the server when the running requests have ended, a second one at once.
    `serve:` of the config file sets the same options and more.
    """  # noqa: D301
    if ctx.invoked_subcommand is not None:
        _check_order(ctx, given)
        return None
    from personakit.server import Settings, check_installed, serve  # noqa: PLC0415

    check_installed()
    settings = Settings.of(Config.read(), **given)
    for name in ("personas", "mcp_tools"):
        is_option = given[name] is not None
        place = f"--{name.replace('_', '-')}" if is_option else f"serve.{name} of the config file"
        for message in make_library().unmatched(getattr(settings, name), settings.personas):
            raise UsageError(f"{place}: {message}")
    return serve(settings, say=functools.partial(output.line, err=True))


@command.command("openapi")
def openapi() -> None:
    """Print the OpenAPI document of the server as JSON."""
    from personakit.server import document  # noqa: PLC0415

    # An import of the package would be a circle.
    output.print_json(document(version=sys.modules["personakit"].__version__))


def _check_order(ctx: click.Context, given: dict[str, Any]) -> None:
    """Raise UsageError for an option of the server before a command, which would not use it."""
    for name, value in given.items():
        if value is not None:
            option = f"--{name.replace('_', '-')}"
            word = ctx.invoked_subcommand
            where = f"`serve {word}` does not use it"
            if name == "ledger" and word == "keys":
                where = "write it at the end, as in `personakit serve keys list --ledger FILE`"
            raise UsageError(f"{option} before {word!r}: {where}")


command.add_command(keys)
