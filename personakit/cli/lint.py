"""`personakit lint`."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from personakit.base import LOADED, STDIN
from personakit.cli.shared import output
from personakit.cli.shared.input import stdin_bytes
from personakit.cli.shared.options import PersonaName, make_library, make_runner
from personakit.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from personakit.linting import Finding
    from personakit.runner import Runner

FORMATS = ("text", "json", "github")


@click.command("lint")
@click.argument("paths", nargs=-1, type=PersonaName())
@click.option("--strict", is_flag=True, help="Treat warnings as errors.")
@click.option(
    "--format",
    "form",
    type=click.Choice(FORMATS),
    default="text",
    show_default=True,
    help="github writes annotations for GitHub Actions.",
)
@click.option("--json", "as_json", is_flag=True, help="Short for --format json.")
@click.option(
    "--stdin-filename",
    "filename",
    metavar="FILE",
    help="The path of the text that - reads; the file need not exist.",
)
def command(
    paths: tuple[str, ...], strict: bool, form: str, as_json: bool, filename: str | None
) -> int:
    """Check persona files and report all problems.

    PATHS are files, folders or names of personas, also such as db:chef; - reads one file from
    standard input. Default: the folder personas or, if it does not exist, every folder of the
    library. Nothing is run or sent. Exits with 1 if there are errors.
    """
    form = "json" if as_json else form
    if "-" in paths or filename is not None:
        file = _path_of_stdin(paths, filename)
        return _report([], [file], {file: stdin_bytes()}, strict=strict, form=form)
    targets = [_target(path) for path in paths] or _default()
    return check(targets, strict=strict, form=form)


def _target(path: str) -> Path | str:
    """Return the path of a file or folder; a str for a persona that a plugin loads."""
    if not LOADED.match(path):
        return Path(path)
    is_loaded = make_library().provides(path) or not os.path.lexists(path)
    return path if is_loaded else Path(path)


def check(
    targets: Sequence[Path | str],
    *,
    strict: bool = False,
    form: str = "text",
    without: Collection[str] = (),
) -> int:
    """Print the problems of files and folders; return 1 if there are errors, else 0.

    Args:
        targets: Files, folders and names of personas; a str for one that a plugin loads.
        strict: Whether warnings are errors.
        form: One of `FORMATS`.
        without: Codes of problems to leave out.
    """
    files = list(dict.fromkeys(file for path in targets for file in _files(path)))
    return _report(targets, files, {}, strict=strict, form=form, without=without)


def _report(
    targets: Sequence[Path | str],
    files: Sequence[Path | str],
    texts: dict[Path, bytes],
    *,
    strict: bool,
    form: str,
    without: Collection[str] = (),
) -> int:
    """Print the problems of files, some of which are texts that are not saved; see `check`."""
    from personakit.linting import Linter  # noqa: PLC0415

    with _runner(targets, files) as runner:
        findings = Linter(runner, strict, texts).check(files)
    findings = [finding for finding in findings if finding.code not in without]
    if form == "json":
        output.print_json([dataclasses.asdict(finding) for finding in findings])
    else:
        write = _annotation if form == "github" else _line
        for finding in findings:
            output.line(write(finding))
        output.echo(_summary(findings, len(files)), err=True)
    return int(any(finding.severity == "error" for finding in findings))


def _path_of_stdin(paths: tuple[str, ...], filename: str | None) -> Path:
    """Return the path of the text from standard input.

    Raises:
        UsageError: There are other paths or no `-`, standard input is a terminal, or the path is
            not that of a persona file.
    """
    if "-" not in paths:
        shown = shlex.quote(filename or "")
        raise UsageError(
            f"--stdin-filename names the text that `-` reads, and there is no `-`; write "
            f"`personakit lint --stdin-filename {shown} -`, or `personakit lint {shown}`"
        )
    if len(paths) > 1:
        others = ", ".join(path for path in paths if path != "-") or "another -"
        raise UsageError(
            f"`-` reads one file from standard input and cannot be combined with {others}; lint "
            f"them with two commands"
        )
    if sys.stdin.isatty():
        raise UsageError(
            "`-` reads a persona file from standard input, which is a terminal; pipe one in, as in "
            "`personakit lint - < personas/chef.yaml`, or name the file"
        )
    if filename is None:
        return Path(STDIN)
    path = Path(filename)
    if path.is_dir() or path.suffix not in _endings():
        found = f"the folder {filename}" if filename and path.is_dir() else repr(filename)
        raise UsageError(
            f"--stdin-filename: expected the path of a persona file, such as personas/chef.yaml, "
            f"found {found}"
        )
    return path


def _endings() -> tuple[str, ...]:
    from personakit.linting import ENDINGS  # noqa: PLC0415

    return (*ENDINGS, ".json")


def _default() -> list[Path | str]:
    own = Path("personas")
    if own.is_dir():
        return [own]
    return [folder for folder in make_runner().library.folders() if folder.is_dir()]


def _files(path: Path | str) -> Iterable[Path | str]:
    """Return the files at a path, or the file of a persona.

    Raises:
        UsageError: The path does not exist or is not a persona file.
    """
    from personakit.linting import ENDINGS, files_in  # noqa: PLC0415

    if isinstance(path, str):
        make_library().text(path)  # raises the error of one that cannot be loaded
        return [path]
    if _is_barred(path):
        raise UsageError(
            f"{path} cannot be read: no permission for the folder {path.parent}; change it with "
            f"chmod, or name another file"
        )
    if path.is_dir():
        files = list(files_in(path))
        if not files:
            endings = " or ".join(f"*{ending}" for ending in ENDINGS)
            reason = "" if os.access(path, os.R_OK | os.X_OK) else "; the folder cannot be read"
            raise UsageError(
                f"{path} contains no persona file ({endings}){reason}; name another folder, or "
                f"write a persona with `personakit new`"
            )
        return files
    if os.path.lexists(path):
        if path.suffix not in _endings():
            raise UsageError(
                f"{path} is not a persona file: expected {' or '.join(ENDINGS)}; included files "
                f"are checked with the personas that include them"
            )
        return [path]
    library = make_runner().library
    if str(path) in library.names() and (file := library.file(str(path))) is not None:
        return [file]
    hint = did_you_mean(path.name, [*_neighbours(path), *library.names()])
    raise UsageError(f"no file, folder or persona {str(path)!r}{hint}")


def _is_barred(path: Path) -> bool:
    try:
        path.stat()
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False
    return False


def _neighbours(path: Path) -> list[str]:
    try:
        return [entry.name for entry in path.parent.iterdir() if entry.name != path.name]
    except OSError:
        return []


def _runner(given: Iterable[Path | str], files: Iterable[Path | str]) -> Runner:
    """Return a runner that resolves the references of the files to other personas and files."""
    from personakit.linting import PARTIALS  # noqa: PLC0415
    from personakit.runner import Runner  # noqa: PLC0415

    roots = [path for path in given if isinstance(path, Path) and path.is_dir()]
    for file in files:
        # Personas refer to a partial as partials/…, relative to the parent of that folder.
        folders = file.parents if isinstance(file, Path) else ()
        roots += [folder.parent for folder in folders if folder.name == PARTIALS]
    return Runner(path=dict.fromkeys(roots))


def _line(finding: Finding) -> str:
    """Return a finding in the format of compilers, which editors parse."""
    place = f"{finding.path}:{finding.line}:{finding.column}"
    return f"{place}: {finding.severity}: {finding.message} [{finding.code}]"


def _annotation(finding: Finding) -> str:
    """Return a finding as a workflow command of GitHub Actions."""
    place = f"file={_property(finding.path)},line={finding.line}"
    if finding.end_line == finding.line:
        place += f",col={finding.column},endLine={finding.line},endColumn={finding.end_column}"
    else:
        # Columns are those of a single line: https://docs.github.com/rest/checks/runs
        place += f",endLine={finding.end_line}"
    return f"::{finding.severity} {place},title={finding.code}::{_data(finding.message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _summary(found: list[Finding], files: int) -> str:
    checked = _count(files, "file") + " checked"
    if not found:
        return f"{checked}, nothing found"
    errors = sum(finding.severity == "error" for finding in found)
    counts = [(errors, "error"), (len(found) - errors, "warning")]
    counted = ", ".join(_count(number, word) for number, word in counts if number)
    return f"{counted} in {_count(len({finding.path for finding in found}), 'file')}; {checked}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"
