"""The command `personakit mcp install`."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from personakit import ConfigError, UsageError, create_file, did_you_mean, read_file
from personakit_mcp.clients.entry import CLIENTS, Client, entry

_LIMIT = 10_000_000
"""Bytes of a config file."""


@click.command("install", short_help="Add the server to Claude Desktop or VS Code.")
@click.argument("client", metavar="claude-desktop|vscode")
@click.option("--name", default="personakit", metavar="NAME", help="The name of the entry. "
              "Default: personakit.")  # fmt: skip
@click.option("--tools", metavar="NAMES", help="As for `personakit mcp`: also offer these personas "
              "as tools, which costs money.")  # fmt: skip
@click.option("--one-tool", is_flag=True, help="As for `personakit mcp`: one tool for all of them.")
@click.option("--personas", metavar="NAMES", help="As for `personakit mcp`: offer only these "
              "personas.")  # fmt: skip
@click.option("--workspace", is_flag=True, help="Write .vscode/mcp.json in this folder instead of "
              "your own file.")  # fmt: skip
@click.option("--file", type=click.Path(path_type=Path), metavar="FILE", help="Write another file "
              "of the client, such as that of a profile.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Show the change, and write nothing.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@click.pass_context
def install(
    ctx: click.Context, /, client: str, name: str, workspace: bool, file: Path | None,
    dry_run: bool, **options: Any,
) -> None:  # fmt: skip
    """Add `personakit mcp` to the config file of a client.

    It shows the change and asks. The rest of the file, with its comments, stays as it is. The entry
    names this Python and the folders of your personas; it holds no API key.
    """
    _check_place(ctx)
    if not name.strip():
        raise UsageError("--name is empty; write a name for the entry, such as --name personakit")
    chosen = _client(client)
    _check_lasting(Path(sys.executable))
    target, yes = _target(chosen, client, workspace, file), options.pop("yes")
    arguments, lines = _arguments(**options)
    new = entry(chosen, arguments, os.environ)
    before = _content(target)
    text = _changed(target, before, chosen, name, new)
    if text == before:
        click.echo(f"{target} already has this entry {name!r}")
    else:
        _show(target, before, text)
    for line in lines:
        click.echo(line, err=True)
    fault = _fault(target, chosen, must_exist=not (file or workspace))
    if dry_run:
        click.echo(f"note: {fault}" if fault else "nothing was written", err=True)
    if dry_run or text == before:
        return
    if fault:
        raise ConfigError(f"{fault}; the entry is shown above")
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError(f"{target} would be changed as above; confirm with -y")
        click.confirm(f"Change {target}?", abort=True, err=True)
    _write(target, before, text)
    # Another file may be that of another program, such as Cursor, whose entries look the same.
    then = "Start the client again." if file else chosen.next
    click.echo(f"{target} changed. {then}", err=True)


def _client(name: str) -> Client:
    if name in CLIENTS:
        return CLIENTS[name]
    begins = [known for known in CLIENTS if name and known.startswith(name)]
    near = did_you_mean(begins[0] if begins else name, CLIENTS)
    command = json.dumps(entry(CLIENTS["claude-desktop"], [], os.environ), ensure_ascii=False)
    raise UsageError(
        f"cannot write the file of {name[:80]!r}{near or ', only of ' + ' and '.join(CLIENTS)}; "
        f"docs/mcp.md says where other clients keep theirs; the entry is: {command}"
    )


def _check_place(ctx: click.Context) -> None:
    """Raise UsageError for an option before the command: the server would get it, not the entry."""
    above = ctx.parent
    for name in above.params if above is not None else ():
        source = above.get_parameter_source(name) if above is not None else None
        if source is click.core.ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} must follow `install`: personakit mcp install … {option} …")


def _check_lasting(python: Path) -> None:
    """Raise UsageError for an interpreter of `uvx` or `uv run --with`, which uv removes."""
    if any(part.startswith(("archive-v", "builds-v", "environments-v")) for part in python.parts):
        raise UsageError(
            f"{python} is in the cache of uv, which removes it; install personakit for good with "
            f"`uv tool install 'personakit[mcp]'`, and repeat this"
        )


def _target(client: Client, name: str, workspace: bool, file: Path | None) -> Path:
    """Return the file to change.

    Raises:
        UsageError: The options contradict each other.
    """
    if workspace and (name != "vscode" or file):
        raise UsageError(
            "--workspace is for vscode, without --file: it writes .vscode/mcp.json in this folder"
        )
    if workspace:
        return Path(".vscode", "mcp.json").absolute()
    if file:
        try:
            return file.expanduser().absolute()
        except RuntimeError:
            raise UsageError(
                f"--file {str(file)[:80]}: there is no such user; write the whole path"
            ) from None
    return client.file()


def _fault(target: Path, client: Client, *, must_exist: bool) -> str:
    """Return why a file cannot be written, and what to do; empty if it seems to be possible.

    Args:
        target: The file.
        client: Whose file it is.
        must_exist: Whether its folder is made by the client.
    """
    if must_exist and not target.parent.is_dir():
        return (
            f"there is no folder {target.parent}: {client.title} is not installed, or was never "
            f"started; start it once, or name its file with --file"
        )
    try:
        mode = target.stat().st_mode
    except OSError:
        if not target.is_symlink():
            return ""
        return (
            f"{target} is a link to {os.path.realpath(target)}, which does not exist; create that "
            f"file, or remove the link, and repeat this"
        )
    # The system lets root replace any file; whoever made it read-only did not want that.
    if mode & 0o222 and os.access(target, os.W_OK):
        return ""
    allow = f"attrib -r {target}" if os.name == "nt" else f"chmod u+w {target}"
    return f"{target} is read-only and stays as it is; to let it be changed, run `{allow}`"


def _arguments(
    tools: str | None, one_tool: bool, personas: str | None
) -> tuple[list[str], Iterator[str]]:
    """Return the options of the server, whose personas exist, and lines about what it offers.

    Raises:
        PersonakitError: One does not exist, or cannot be read.
    """
    if one_tool and tools is None:
        raise UsageError("--one-tool needs personas: add --tools all, or --tools A,B")
    from personakit import Runner  # noqa: PLC0415
    from personakit_mcp.clients.offered import offered  # noqa: PLC0415
    from personakit_mcp.names import chosen  # noqa: PLC0415

    arguments: list[str] = []
    runner = Runner()
    every: tuple[str, ...] = ("*",)
    for option, given in (("--personas", personas), ("--tools", tools)):
        if given is not None:
            patterns = chosen(option, given, runner, every)
            for name in set(patterns).intersection(runner.library.names()):
                runner.load(name)
            every = patterns if option == "--personas" else every
            arguments += [option, ",".join("all" if each == "*" else each for each in patterns)]
    return [*arguments, *(["--one-tool"] if one_tool else [])], offered(runner, every)


def _content(file: Path) -> str | None:
    """Return the text of a file; None if there is none.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        return read_file(file, limit=_LIMIT).decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{file}: byte {error.start} is not UTF-8; save the file as UTF-8, and repeat this"
        ) from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror}") from error


def _changed(file: Path, before: str | None, client: Client, name: str, new: Any) -> str:
    """Return the new text of a file.

    Raises:
        ConfigError: It is invalid, or cannot be changed without a loss.
    """
    from personakit_mcp.clients import jsonc  # noqa: PLC0415

    text = before or ""
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    paste = f"{json.dumps(name)}: {json.dumps(new, ensure_ascii=False)}"
    try:
        value = jsonc.read(text.removeprefix(mark))
        servers = value.get(client.section) if isinstance(value, dict) else None
        old = servers.get(name) if isinstance(servers, dict) else None
        if old == new:
            return text
        _check_own(file, client, name, old)
        return mark + jsonc.put(text.removeprefix(mark), client.section, name, new)
    except jsonc.Invalid as error:
        raise ConfigError(
            f"{file}:{error.line}:{error.column}: {error}; correct the file and repeat this, or "
            f"put this into {client.section!r} yourself: {paste}"
        ) from None
    except jsonc.Unsafe:
        raise ConfigError(
            f"{file}: the entry {name!r} has comments in it, which would be lost; add another one "
            f"with --name, or put this into {client.section!r} yourself: {paste}"
        ) from None


def _check_own(file: Path, client: Client, name: str, old: Any) -> None:
    """Raise ConfigError if an entry of the name starts another program than personakit."""
    words = [old.get("command"), *_listed(old.get("args"))] if isinstance(old, dict) else []
    if old is None or any("personakit" in str(word) for word in words):
        return
    what = next((f"starts {word!r}"[:90] for word in words if word), "is not one of personakit")
    raise ConfigError(
        f"{file}: the entry {name!r} below {client.section!r} {what}; add another one with --name "
        f"NAME, or remove that one and repeat this"
    )


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _show(file: Path, before: str | None, after: str) -> None:
    import difflib  # noqa: PLC0415

    old = (before or "").splitlines()
    # One line around the change: the entries of other servers may hold keys.
    lines = difflib.unified_diff(
        old, after.splitlines(), "/dev/null" if before is None else str(file), str(file),
        n=1, lineterm="",
    )  # fmt: skip
    for line in lines:
        click.echo(line)


def _write(file: Path, before: str | None, text: str) -> None:
    """Replace a file at once; a link stays a link, and the file keeps its mode.

    Raises:
        ConfigError: It cannot be written, or has changed meanwhile.
    """
    if _content(file) != before:
        raise ConfigError(f"{file} has changed meanwhile; repeat this command")
    target = Path(os.path.realpath(file))
    beside = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        create_file(beside)
        try:
            if before is not None:
                shutil.copymode(target, beside)
                if hasattr(os, "chown") and os.geteuid() == 0:  # else it is root's with sudo
                    os.chown(beside, target.stat().st_uid, target.stat().st_gid)
            with beside.open("w", encoding="utf-8", newline="") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            beside.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be written: {error.strerror}; correct that, or put the entry that is "
            f"shown above into the file yourself"
        ) from error
