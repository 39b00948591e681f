"""The command `personakit mcp`."""

from __future__ import annotations

import functools
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

import click

from personakit import Runner, UsageError
from personakit_mcp.clients import install
from personakit_mcp.names import chosen

if TYPE_CHECKING:
    from personakit_mcp.serving.offer import Serving

_LAST_PORT = 65_535
_TYPED = """\
personakit mcp serves personas to MCP clients on standard input and output: a client starts it.
  personakit mcp install claude-desktop    (or vscode) adds it to a client
  personakit mcp --help                    shows the options
Ctrl-D ends it.
"""


def _port(ctx: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None or (re.fullmatch("[0-9]{1,5}", value) and int(value) <= _LAST_PORT):
        return None if value is None else int(value)
    message = f"expected a port from 0 to {_LAST_PORT:,}, found {value[:80]!r}"
    raise click.BadParameter(message, ctx, parameter)


@click.group("mcp", invoke_without_command=True, short_help="Serve personas to MCP clients.")
@click.option("--tools", metavar="NAMES", help="Also offer these personas as tools, which run them "
              "and costs money: names and patterns, separated by commas, or 'all'.")  # fmt: skip
@click.option("--one-tool", is_flag=True, help="Offer one tool for all of them instead of one "
              "each.")  # fmt: skip
@click.option("--personas", metavar="NAMES", help="Names and patterns of the personas to offer, "
              "separated by commas. Default: all.")  # fmt: skip
@click.option("--http", is_flag=True, help="Serve over HTTP to programs of this machine, instead "
              "of standard input and output.")  # fmt: skip
@click.option("--host", metavar="ADDRESS", help="With --http: default 127.0.0.1.")
@click.option("--port", metavar="PORT", callback=_port, help="With --http: default 8112; 0 for a "
              "free one.")  # fmt: skip
@click.pass_context
def command(
    ctx: click.Context,
    /,
    *,
    http: bool,
    host: str | None,
    port: int | None,
    **offered: Any,
) -> int | None:
    """Serve personas to MCP clients, such as Claude Desktop, VS Code and Cursor.

    \b
      personakit mcp                              personas as prompts and resources, on stdio
      personakit mcp --tools chef,code-reviewer   these also as tools
      personakit mcp --tools all --one-tool       one tool for all, for large libraries
      personakit mcp --http                       http://127.0.0.1:8112/mcp, for this machine

    Nothing is sent for a prompt, and no key is needed: the model of the client answers.
    """  # noqa: D301
    if ctx.invoked_subcommand is not None:
        return None
    if offered["one_tool"] and offered["tools"] is None:
        raise UsageError("--one-tool needs --tools: write --tools all, or the names of personas")
    if http:
        from personakit_mcp.http.alone import serve_http  # noqa: PLC0415

        say = functools.partial(click.echo, err=True)
        serve_http(_serving(**offered), host or "127.0.0.1", 8112 if port is None else port, say)
        return 0
    if host is not None or port is not None:
        raise UsageError("--host and --port are for --http: personakit mcp --http")
    from personakit_mcp.serving.stdio import claimed, serve_stdio  # noqa: PLC0415

    if sys.stdin.isatty():
        click.echo(_TYPED, err=True, nl=False)
    streams = claimed()
    return serve_stdio(_serving(**offered), streams)


def _serving(tools: str | None, one_tool: bool, personas: str | None) -> Serving:
    """Return what is offered."""
    from personakit_mcp.serving.offer import Serving  # noqa: PLC0415

    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="personakit mcp: %(message)s"
    )
    runner = Runner(log=True)
    offered = ("*",) if personas is None else chosen("--personas", personas, runner)
    runs = () if tools is None else chosen("--tools", tools, runner, offered)
    return Serving(runner, offered, runs, one_tool)


command.add_command(install)
