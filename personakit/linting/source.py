"""The lines of a file: the positions of problems, and the comments that silence them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from personakit.base import locate, read_file
from personakit.errors import Problem, did_you_mean
from personakit.linting.codes import CODES
from personakit.persona import MAX_BYTES

_COMMENT = re.compile(r"#\s*personakit:\s*ignore(?P<file>-file)?\b(?:\[(?P<codes>[^\]]*)\])?")
_EXAMPLE = "# personakit: ignore[PK024]"
_WORD = re.compile(r"[\w-]+|\S")


@dataclass(slots=True)
class Source:
    """A file as text.

    Attributes:
        path: The file.
        data: Its content; empty if it cannot be read.
        fault: The reason why it cannot be read; None if it can.
        lines: Its lines; one empty line if it cannot be read.
        ignored: Codes that comments silence, by line; codes for the whole file are under 0.
        faults: The problems of those comments.
    """

    path: str
    data: bytes
    fault: OSError | None
    lines: list[str]
    ignored: dict[int, set[str]] = field(default_factory=dict)
    faults: list[Problem] = field(default_factory=list)

    @classmethod
    def read(cls, path: str, loaded: bytes | None = None) -> Source:
        """Read a file; `Linter` reports a file that cannot be read.

        Args:
            path: The file.
            loaded: The text, if a plugin loaded it.
        """
        data, fault = b"", None
        try:
            data = read_file(path, MAX_BYTES) if loaded is None else loaded
        except OSError as error:
            fault = error
        source = cls(path, data, fault, data.decode("utf-8-sig", "replace").split("\n"))
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

    def placed(self, problem: Problem) -> Problem:
        """Return a problem with its start and its end.

        Where the end is unknown, it is that of the word; for a problem with a line only, that of
        the line.
        """
        line, column = problem.line or 1, problem.column
        end = problem.end_line, problem.end_column
        text = self._line(line)
        if not column:
            position = locate(self.lines, line, problem.subject) if problem.subject else None
            if position is not None:
                line, column, end = position.line, position.column, (position.line, position.end)
            else:
                column = len(text) - len(text.lstrip()) + 1 if text.strip() else 1
                end = line, max(column, len(text.rstrip()) + 1)
        elif end <= (line, column):
            word = _WORD.match(text, column - 1)
            end = line, word.end() + 1 if word else column
        else:
            end = self._end((line, column), *end)
        return replace(problem, line=line, column=column, end_line=end[0], end_column=end[1])

    def _end(self, start: tuple[int, int], line: int, column: int) -> tuple[int, int]:
        """Return the end of a value; a block scalar ends in YAML where the next token begins."""
        while line > start[0] and not self._line(line)[: column - 1].strip():
            line -= 1
            column = len(self._line(line)) + 1
        text = self._line(line)[: column - 1]
        return max(start, (line, len(text.rstrip()) + 1)) if line > start[0] else (line, column)

    def _line(self, number: int) -> str:
        return self.lines[number - 1] if number <= len(self.lines) else ""
