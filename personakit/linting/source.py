"""The lines of a file: the positions of problems, and the comments that silence them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from personakit.base import locate, read_file
from personakit.errors import Problem, did_you_mean
from personakit.linting.codes import CODES
from personakit.persona import MAX_BYTES

_COMMENT = re.compile(r"#\s*personakit:\s*ignore(?P<file>-file)?\b(?:\[(?P<codes>[^\]]*)\])?")
_EXAMPLE = "# personakit: ignore[PK024]"


@dataclass(slots=True)
class Source:
    """A file as text.

    Attributes:
        path: The file.
        lines: Its lines; one empty line if it cannot be read.
        ignored: Codes that comments silence, by line; codes for the whole file are under 0.
        faults: The problems of those comments.
    """

    path: str
    lines: list[str]
    ignored: dict[int, set[str]] = field(default_factory=dict)
    faults: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: str) -> Source:
        """Read a file; `Linter` reports a file that cannot be read."""
        try:
            text = read_file(path, MAX_BYTES).decode("utf-8-sig", "replace")
        except OSError:
            text = ""
        source = cls(path, text.split("\n"))
        for number, line in enumerate(source.lines, 1):
            if "personakit:" in line:
                source._comments(number, line)
        return source

    def _comments(self, number: int, line: str) -> None:
        """Add the comments of a line; a comment alone on a line also covers the next line."""
        for match in _COMMENT.finditer(line):
            codes = set(self._codes(match, number))
            alone = not line[: match.start()].strip(" {")
            lines = [0] if match["file"] else [number, number + 1] if alone else [number]
            for at in lines:
                self.ignored.setdefault(at, set()).update(codes)

    def _codes(self, found: re.Match[str], number: int) -> Iterator[str]:
        named = re.finditer(r"[^\s,]+", found["codes"] or "")
        words = [(word[0], found.start("codes") + word.start() + 1) for word in named]
        if not words:
            message = f"the comment ignores nothing; add codes, as in {_EXAMPLE}"
            self.faults.append(Problem(message, self.path, number, found.start() + 1, code="PK090"))
        for word, column in words:
            if word in CODES:
                yield word
                continue
            hint = did_you_mean(word.upper(), CODES) or "; docs/lint.md lists them"
            message = f"unknown code {word!r} in the comment{hint}"
            self.faults.append(Problem(message, self.path, number, column, code="PK090"))

    def silences(self, code: str, line: int) -> bool:
        """Tell whether a comment silences a code on a line."""
        return any(code in self.ignored.get(at, ()) for at in (0, line))

    def place(self, problem: Problem) -> tuple[int, int]:
        """Return the line and column of a problem, both counted from 1."""
        first = problem.line or 1
        if problem.column:
            return first, problem.column
        position = locate(self.lines, first, problem.subject) if problem.subject else None
        if position is not None:
            return position
        line = self.lines[first - 1] if first <= len(self.lines) else ""
        return first, len(line) - len(line.lstrip()) + 1 if line.strip() else 1
