"""Entry points of the installed packages, and the command that installs another.

Entry points are read without importlib.metadata if no package has any.

importlib.metadata takes 15 ms to import, as long as Python takes to start, and usually finds
nothing. So this module first searches the files that it would read for the name of the group.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


def entry_points(group: str) -> Iterable[EntryPoint]:
    """Return the entry points of a group from all installed packages."""
    if not may_have(group):
        return ()
    from importlib import metadata  # noqa: PLC0415

    return metadata.entry_points(group=group)


def install_command(*arguments: str) -> str:
    """Return the command that installs packages where this Python finds them.

    Environments of uv contain no pip, and those of pipx are not the shell's.

    Args:
        arguments: What follows ``pip install``: the names of packages, and options.
    """
    import importlib.util  # noqa: PLC0415
    import shlex  # noqa: PLC0415

    given = [part for each in arguments for part in _own(each)]
    packages = " ".join(map(_quoted, given))
    if os.path.exists(os.path.join(sys.prefix, "pipx_metadata.json")):  # noqa: PTH110, PTH118
        return f"pipx runpip {os.path.basename(sys.prefix)} install {packages}"  # noqa: PTH119
    # The shell's commands find an active environment, and uv also the folder .venv.
    found = {os.environ.get("VIRTUAL_ENV", ""), os.path.abspath(".venv")}  # noqa: PTH100
    if importlib.util.find_spec("pip") is None:
        where = "" if sys.prefix in found else f"--python {shlex.quote(sys.executable)} "
        return f"uv pip install {where}{packages}"
    is_active = sys.prefix in (sys.base_prefix, os.environ.get("VIRTUAL_ENV"))
    return f"{'' if is_active else f'{shlex.quote(sys.executable)} -m '}pip install {packages}"


def _own(argument: str) -> tuple[str, ...]:
    """Return an extra of personakit as the clone has it, if it is installed from one."""
    if not argument.startswith("personakit["):
        return (argument,)
    import json  # noqa: PLC0415
    from importlib import metadata  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415
    from urllib.request import url2pathname  # noqa: PLC0415

    try:
        # https://packaging.python.org/en/latest/specifications/direct-url/
        direct = json.loads(metadata.distribution("personakit").read_text("direct_url.json") or "")
        folder = url2pathname(urlsplit(direct["url"]).path)
        if not direct["dir_info"]["editable"]:
            return (argument,)
    except (metadata.PackageNotFoundError, ValueError, KeyError):
        return (argument,)
    where = "." if os.path.realpath(folder) == os.path.realpath(".") else folder
    return "-e", where + argument.removeprefix("personakit")


def _quoted(argument: str) -> str:
    """Return an argument as every shell reads it: cmd.exe knows no single quotes."""
    is_plain = all(letter.isalnum() or letter in "-_./\\:=" for letter in argument)
    return argument if is_plain else f'"{argument}"'


def may_have(group: str, name: str = "") -> bool:
    """Return whether an installed package may have an entry point; False is certain.

    Args:
        group: The group of entry points.
        name: The name of the entry point; empty for any of the group.
    """
    texts = [group.encode(), f"\n{name}".encode()] if name else [group.encode()]
    for finder in sys.meta_path:
        # Python's own finders search the folders of sys.path; others may search anywhere.
        own = getattr(finder, "__module__", "").startswith("_frozen_importlib")
        if not own and hasattr(finder, "find_distributions"):
            return True
    return any(_names(folder, texts) for folder in sys.path)


def _names(folder: str, texts: Iterable[bytes]) -> bool:
    """Return whether a folder of sys.path may contain a package whose entry points have texts."""
    try:
        with os.scandir(folder or ".") as entries:
            paths = [e.path for e in entries if e.name.lower().endswith("-info")]
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):
        # A zip file, or another entry that only importlib.metadata can read.
        return True
    return any(_holds(os.path.join(path, "entry_points.txt"), texts) for path in paths)  # noqa: PTH118


def _holds(file: str, texts: Iterable[bytes]) -> bool:
    try:
        with open(file, "rb") as opened:  # noqa: PTH123
            content = b"\n".join(map(bytes.strip, opened.read().splitlines()))
            return all(text in content for text in texts)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
