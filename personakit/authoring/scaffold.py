"""The files of a new plugin package."""

from __future__ import annotations

import os
import re
from pathlib import Path
from string import Template

from personakit.base import NAME
from personakit.errors import UsageError

_FILES = {
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "README.md.txt",
    "personakit_{module}/__init__.py": "__init__.py.txt",
    "personakit_{module}/py.typed": "",
    "tests/test_{module}.py": "test.py.txt",
}


def write_plugin(name: str, folder: Path | None = None) -> Path:
    """Write the package of a new plugin whose tests pass as they are; return its folder.

    Args:
        name: The name of the plugin: lower-case letters, digits, ``-`` and ``_``.
        folder: The folder to create; None for ``personakit-NAME`` in the current folder.

    Raises:
        UsageError: The name is invalid, or the folder exists; it is not changed.
    """
    if not NAME.match(name) or not name[0].isalpha():
        likely = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-0123456789") or "my-plugin"
        raise UsageError(
            f"invalid plugin name {name[:80]!r}: use 1 to 64 of a-z, 0-9, '_' and '-', "
            f"beginning with a letter; did you mean {likely[:64]!r}?"
        )
    target = folder or Path(f"personakit-{name}")
    if os.path.lexists(target):
        raise UsageError(
            f"{target} already exists and was not changed; choose another folder with --folder, "
            f"or another name"
        )
    words = re.split(r"[-_]+", name)
    names = {
        "name": name,
        "module": re.sub(r"[-_]+", "_", name).rstrip("_"),
        "cls": "".join(word.title() for word in words),
    }
    starters = Path(__file__).parent / "starters" / "plugin"
    for path, starter in _FILES.items():
        file = target / path.format(**names)
        file.parent.mkdir(parents=True, exist_ok=True)
        text = (starters / starter).read_text("utf-8") if starter else ""
        file.write_text(Template(text).substitute(names), "utf-8", newline="\n")
    return target
