"""Files: reading, detecting changes, listing a folder, and locating a word in a file.

Texts can take the place of files, as those of an editor that are not saved: see `overlaid`.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import string
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple

from personakit.errors import PersonaError, Problem

_KEY = re.compile(r"\s*(?:- )?[\w-]+:")
_EXPRESSION = re.compile(r"\{[{%].*?(?:[%}]\}|\Z)")
_OF_PATHS = string.ascii_letters + string.digits + "_.[]'\""

# A shell makes these for `<(command)` and `< file`; only who types a command writes such a path.
_STREAMS = re.compile(r"/dev/(?:stdin|fd/[0-9]+)\Z")
_PIECE = 1 << 16
# Without O_NONBLOCK, opening a FIFO waits for a writer.
_FLAGS = sum(
    getattr(os, name, 0) for name in ("O_RDONLY", "O_BINARY", "O_CLOEXEC", "O_NOCTTY", "O_NONBLOCK")
)
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a FIFO (named pipe)",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}

State = tuple[int, int, int] | None
Texts = Mapping[str, str | bytes] | Mapping[Path, str | bytes]
"""Texts by the path of a file."""

STDIN = "<stdin>"
"""The path of a text from standard input, in errors."""

_texts: ContextVar[Mapping[str, bytes]] = ContextVar("texts", default={})  # noqa: B039


@contextmanager
def overlaid(texts: Texts) -> Iterator[None]:
    """Let texts take the place of files in a block: for `read_file`, `state_of` and `is_file`.

    Other threads and tasks see the files. What a cache of personas keeps of a text, it replaces
    when it is next asked for the file, since their states differ.

    Args:
        texts: The texts by path; a file need not exist. A lone surrogate makes a text invalid.
    """
    real = {
        _real(path): text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
        for path, text in texts.items()
    }
    token = _texts.set({**_texts.get(), **real})
    try:
        yield
    finally:
        _texts.reset(token)


def _overlay(path: str | os.PathLike[str]) -> bytes | None:
    """Return the text that takes the place of a file; None for none."""
    texts = _texts.get()
    return texts.get(_real(path)) if texts else None


def _real(path: str | os.PathLike[str]) -> str:
    try:
        return os.path.realpath(path)
    except ValueError:
        # The path contains a NUL character.
        return os.fspath(path)


def is_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is a file, or a text takes its place."""
    return _overlay(path) is not None or os.path.isfile(path)  # noqa: PTH113


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is `STDIN`, or one that a shell makes for a stream: in no folder."""
    return os.fspath(path) == STDIN or _STREAMS.match(os.fspath(path)) is not None


def read_file(
    path: str | os.PathLike[str],
    limit: int,
    *,
    follow: bool = True,
    examine: Callable[[int], object] | None = None,
) -> bytes:
    """Return the content of a file; never wait for a pipe, and never read more than a limit.

    The file must be a regular file, the null device (which is empty), or one of the paths that a
    shell makes: ``/dev/stdin`` and ``/dev/fd/N``, which are read to their end or to the limit.

    Args:
        path: The path.
        limit: The greatest size in bytes.
        follow: Whether the path may be a symbolic link.
        examine: Called with the handle of the open file before it is read.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: The file cannot be read, is not a regular file, is larger than the limit, or is a
            link to a missing file. `strerror` is the reason, as a clause.
    """
    name = os.fspath(path)
    text = _overlay(name)
    if text is not None:
        if len(text) > limit:
            raise _too_large(name, limit)
        return text
    handle = _open(name, follow=follow)
    try:
        status = os.fstat(handle)
        if not _STREAMS.match(name):
            _check(name, status)
        if stat.S_ISREG(status.st_mode) and status.st_size > limit:
            raise _too_large(name, limit)
        if examine is not None:
            examine(handle)
        pieces, size, most = [], 0, max(_PIECE, status.st_size)
        while piece := os.read(handle, min(most, limit - size) + 1):
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise _too_large(name, limit)
    except OSError as error:
        raise error if error.filename else _error(error.errno, error.strerror, name) from None
    finally:
        os.close(handle)
    return b"".join(pieces)


def _open(name: str, *, follow: bool) -> int:
    if _STREAMS.match(name):
        return os.open(name, _FLAGS & ~getattr(os, "O_NONBLOCK", 0))
    # Opening some devices has effects, so the kind is checked before, too.
    check_file(name, must_exist=True)
    return os.open(name, _FLAGS if follow else _FLAGS | getattr(os, "O_NOFOLLOW", 0))


def check_file(
    path: str | os.PathLike[str], *, must_exist: bool = False, limit: int | None = None
) -> None:
    """Check that a path is a regular file or the null device, without opening it.

    Args:
        path: The path; a link is followed.
        must_exist: Whether a missing file is an error.
        limit: The greatest size in bytes; None for any size.

    Raises:
        FileNotFoundError: The file does not exist.
        OSError: It is something else, a link to a missing file, or larger than the limit.
    """
    name = os.fspath(path)
    try:
        status = os.stat(name)  # noqa: PTH116 - the path may be a text
    except FileNotFoundError:
        if os.path.islink(name):  # noqa: PTH114
            target = os.readlink(name)  # noqa: PTH115
            fault = f"it is a link to {target}, which does not exist"
            raise _error(errno.ENOLINK, fault, name) from None
        if must_exist:
            raise
    except ValueError:
        raise _error(errno.EINVAL, "its path contains a NUL character", name) from None
    else:
        _check(name, status)
        if limit is not None and status.st_size > limit:
            raise _too_large(name, limit)


def _check(name: str, status: os.stat_result) -> None:
    if stat.S_ISREG(status.st_mode) or _is_null(status):
        return
    kind = _KINDS.get(stat.S_IFMT(status.st_mode), "not a file")
    code = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
    raise _error(code, f"it is {kind}; expected a file", name)


def _is_null(status: os.stat_result) -> bool:
    try:
        return os.path.samestat(status, os.stat(os.devnull))  # noqa: PTH116
    except OSError:
        return False


def _too_large(name: str, limit: int) -> OSError:
    return _error(errno.EFBIG, f"it is larger than the limit of {limit:,} bytes", name)


def _error(code: int | None, fault: str | None, name: str) -> OSError:
    return OSError(code or errno.EIO, fault or "it cannot be read", name)


def state_of(file: Path) -> State:
    """Return a value that changes with the file; None if the file does not exist.

    Raises:
        PersonaError: The status of the file cannot be read, or it is a link to no file.
    """
    # A run asks for the state of each of its files, so this costs it no further call.
    if _texts.get() and (text := _overlay(file)) is not None:
        return hash(text), len(text), -1
    try:
        status = os.stat(file)  # noqa: PTH116 - half the time of Path.stat
    except (FileNotFoundError, NotADirectoryError):
        if not file.is_symlink():
            return None
        fault = f"it is a link to {file.readlink()}, which does not exist"
    except (OSError, ValueError) as error:
        fault = getattr(error, "strerror", None) or "its path contains a NUL character"
    else:
        return status.st_mtime_ns, status.st_size, status.st_ino
    raise PersonaError([Problem(f"cannot be read: {fault}", str(file))])


def walk(folder: Path, endings: tuple[str, ...], left_out: Collection[str]) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders in sorted order, except hidden ones.

    Args:
        folder: The folder.
        endings: The file extensions to include.
        left_out: The names of folders to skip.
    """
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name[0] != "." and name not in left_out)
        for name in sorted(names):
            if name.endswith(endings) and name[0] != ".":
                yield Path(here, name)


class Occurrence(NamedTuple):
    """The position of a word in a file; line and columns count from 1.

    Attributes:
        line: The line.
        column: The column of its first character.
        end: The column after its last character.
        before: The expression before a field.
    """

    line: int
    column: int
    end: int
    before: str


def locate(lines: Sequence[str], first: int, subject: str) -> Occurrence | None:
    """Return the first position of a word in a text of a file; None if it does not occur.

    For the arguments, see `occurrences`.
    """
    return next(occurrences(lines, first, subject), None)


def occurrences(lines: Sequence[str], first: int, subject: str) -> Iterator[Occurrence]:
    """Yield the positions of a word in a text of a file.

    Jinja reports the line of a template but no column; and where YAML folds lines, one line of the
    template is several lines of the file.

    Args:
        lines: The lines of the file.
        first: The first line of the text, counted from 1; the text ends where its indentation does.
        subject: The word. A leading dot stands for a field or an index, also written as
            ``["field"]``, ``[2]`` or ``attribute="field"``.

    Yields:
        The positions. What is outside of ``{{ }}`` and ``{% %}`` counts only in a line without an
        occurrence inside.
    """
    if subject.startswith("."):
        name = re.escape(subject[1:])
        word = re.compile(rf"(?:\.\s*|\[\s*['\"]?|[(=]\s*['\"])({name})(?!\w)")
    else:
        spaced = re.escape(subject).replace(r"\ ", r"\s+").replace(r"\|", r"\s*\|\s*")
        word = re.compile(rf"(?<![\w.])({spaced})(?!\w)")
    for number in _block(lines, first):
        line = lines[number - 1]
        spans = [expression.span() for expression in _EXPRESSION.finditer(line)]
        inside = [match for start, end in spans for match in word.finditer(line, start, end)]
        for match in inside or word.finditer(line):
            before = line[: match.start()]
            owner = before[len(before.rstrip(_OF_PATHS)) :]
            yield Occurrence(number, match.start(1) + 1, match.end(1) + 1, owner)


def _block(lines: Sequence[str], first: int) -> Iterator[int]:
    """Yield the line numbers of a text, beginning with its first line."""
    if first > len(lines):
        return
    yield first
    start = lines[first - 1]
    least = _indent(start) + (1 if _KEY.match(start) else 0)
    for number in range(first + 1, len(lines) + 1):
        line = lines[number - 1]
        if line.strip() and _indent(line) < least:
            return
        yield number


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip(" "))
