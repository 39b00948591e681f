"""The result of a row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from personakit.batch.rows import Row
from personakit.errors import PersonakitError
from personakit.messages import Response


@dataclass(frozen=True, slots=True)
class Result:
    """A row that has ended.

    Attributes:
        row: The row.
        line: What was written, as JSON types.
        response: The answer; None if there is none.
        error: Why there is none; None if there is one.
    """

    row: Row
    line: Mapping[str, Any]
    response: Response[Any] | None = None
    error: PersonakitError | None = None

    @property
    def ok(self) -> bool:
        """Whether the row has an answer."""
        return self.error is None

    @property
    def tokens(self) -> int | None:
        """The tokens that the row took; None if unknown."""
        usage = self.line["usage"]
        return None if usage is None else usage["total_tokens"]

    @property
    def cost(self) -> float | None:
        """US dollars; None if unknown."""
        cost: float | None = self.line["cost"]
        return cost
