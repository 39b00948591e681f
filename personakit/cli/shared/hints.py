"""What to write instead of the commands and options of `llm`, and of a prompt without a command.

Source of the names: https://llm.datasette.io/en/stable/help.html
"""

from __future__ import annotations

import click

from personakit.base import install_command
from personakit.cli.shared.groups import is_persona

_SEARCH = "texts are searched by the plugin rag, and logged runs by `personakit log search`"
COMMANDS = {
    "aliases": "`personakit models alias` lists and sets them",
    "collections": _SEARCH,
    "default": "`personakit models default MODEL` sets the default model",
    "embed": _SEARCH,
    "embed-models": _SEARCH,
    "embed-multi": _SEARCH,
    "fragments": "`-f FILE` puts a text before the prompt, as in `personakit ask -f FILE`",
    "help": "`personakit --help` lists the commands",
    "install": "install a plugin with pip or uv into the environment of personakit; `personakit "
    "plugins` lists those that are installed",
    "logs": "`personakit log list` lists the runs, `personakit log show -r` prints the last answer",
    "openai": "`personakit models openai` lists its models",
    "personas": "`personakit list` lists them",
    "prompt": "`personakit ask TEXT` asks without a persona, `personakit run PERSONA TEXT` with",
    "schemas": "`--schema 'name, age int'` of `personakit run` and `personakit ask` describes the "
    "answer",
    "similar": _SEARCH,
    "template": "`personakit new` writes a persona",
    "templates": "templates are personas: `personakit list`, `personakit new`, `personakit edit`",
    "tools": "`personakit plugins` lists them, and `-T NAME` gives one to the model",
    "uninstall": "remove a plugin with pip or uv; `personakit plugins` lists the installed ones",
    "version": "`personakit --version` prints it",
}
OPTIONS = {
    "--async": "every model answers without it",
    "--at": "the type of an attachment is that of its content; use -a FILE",
    "--attachment-type": "the type of an attachment is that of its content; use -a FILE",
    "--chain-limit": "the number of rounds with tools is limited anyway",
    "--cid": "use --conversation ID",
    "--cl": "the number of rounds with tools is limited anyway",
    "--database": "set PERSONAKIT_LOG to the file of the run log",
    "--extract-last": "-x prints the first code block",
    "--key": "use --key-file FILE, a variable such as OPENAI_API_KEY, or `personakit keys set`; if "
    "this was a real key, replace it, because other users can see arguments",
    "--log": "every run is logged, except with -n",
    "--option": "use -p NAME=VALUE, such as -p temperature=0.2",
    "--param": "use -v NAME=VALUE for a variable of the persona",
    "--query": "`personakit models WORDS` finds the name of a model, for -m",
    "--save": "`personakit new NAME --system TEXT` writes a persona",
    "--sf": "use `personakit ask -s @FILE`",
    "--system": "a persona has its own system message; `personakit ask -s TEXT` asks without one",
    "--system-fragment": "use `personakit ask -s @FILE`",
    "--ta": "only the tools of the persona and of -T can be called",
    "--td": "each tool call is shown",
    "--template": "a template is a persona: `personakit run PERSONA`",
    "--tools-approve": "only the tools of the persona and of -T can be called",
    "--tools-debug": "each tool call is shown",
    "--variable": "only a persona has variables; `personakit run PERSONA -v NAME=VALUE`",
    "--xl": "-x prints the first code block",
}
_SHORT = {
    "-d": "--database",
    "-o": "--option",
    "-q": "--query",
    "-s": "--system",
    "-t": "--template",
    "-v": "--variable",
}
_SENDING = ("run", "ask", "chat", "render")


def command_hint(word: str) -> str:
    """Return what to write for an unknown command, as ``; …``; empty if nothing is known of it."""
    if word in COMMANDS:
        return f"; {COMMANDS[word]}"
    if word == "mcp":
        return f"; the plugin mcp has it: {install_command('personakit[mcp]')}"
    if len(word.split()) > 1 or "?" in word:
        return "; `personakit ask TEXT` asks a question"
    if word.endswith((".yaml", ".yml")) or is_persona(word):
        return f"; it is a persona: `personakit run {word}`"
    return ""


def option_error(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return the error for an unknown option, with what to write instead of one of `llm`."""
    name, command = error.option_name, error.ctx and error.ctx.info_name
    hint = OPTIONS.get(_SHORT.get(name, name), "") if command in _SENDING else ""
    if not hint:
        return error
    return click.NoSuchOption(name, f"{error.message.rstrip('.')}; {hint}", ctx=error.ctx)
