"""A call of the magic that ends with a question mark, which would be a request for help."""

from __future__ import annotations

import re
from tokenize import DEDENT, INDENT, TokenInfo

from IPython.core.inputtransformer2 import TokenTransformBase

_CALL = re.compile(r"%persona[ \t]+(.*?\?)[ \t]*$", re.MULTILINE)


class Question(TokenTransformBase):
    """Writes the call as Python; IPython looks for it in tokens, so strings are not changed."""

    priority = 1  # before the help of IPython, which has 5

    def __init__(self, start: tuple[int, int], prompt: str) -> None:
        super().__init__(start)  # type: ignore[no-untyped-call]
        self._prompt = prompt

    @classmethod
    def find(cls, tokens_by_line: list[list[TokenInfo]]) -> Question | None:
        """Return the first call in the tokens of a cell."""
        for line in tokens_by_line:
            first = next((it for it in line if it.type not in (INDENT, DEDENT)), None)
            if first is None or first.string != "%":
                continue
            call = _CALL.match(first.line, first.start[1])
            if call is not None:
                return cls(first.start, call[1])
        return None

    def transform(self, lines: list[str]) -> list[str]:
        """Return the lines of the cell with the call as Python."""
        at = self.start_line
        indent = lines[at][: self.start_col]
        call = f"{indent}get_ipython().run_line_magic('persona', {self._prompt!r})\n"
        return [*lines[:at], call, *lines[at + 1 :]]
