"""What the tests of lint share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from personakit import Runner
from personakit.config import Config
from personakit.linting.check import Finding, Linter

MARK = re.compile(r"«(PK\d{3})»")


Place = tuple[str, int, int, str]


def read(name: str, marked: str) -> tuple[str, list[Place]]:
    """Return the text of a file without its marks, and what they stand for."""
    places, lines = [], []
    for number, line in enumerate(marked.split("\n"), 1):
        text = line
        while found := MARK.search(text):
            places.append((name, number, found.start() + 1, found[1]))
            text = text[: found.start()] + text[found.end() :]
        lines.append(text)
    return "\n".join(lines), places


def lint(files: Mapping[str, str], *, plugins: str = "", strict: bool = False) -> list[Finding]:
    """Write files, lint the YAML among them, and check that it finds what is marked."""
    expected: list[Place] = []
    for name, marked in files.items():
        text, places = read(name, marked)
        expected += places
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text, "utf-8")
    select = frozenset(plugins.split(","))
    linter = Linter(Runner(Config(path=(Path("personas"),), select=select)), strict=strict)
    found = linter.check([Path(name) for name in files if name.endswith((".yaml", ".yml"))])
    places = [(f.path, f.line, f.column, f.code) for f in found]
    assert sorted(places) == sorted(expected), "\n".join(map(str, found))
    assert found == sorted(found)
    return found
