"""The lines that a batch writes: the answer of a row, or why it has none."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from personakit.batch.rows import Row
from personakit.errors import PersonakitError
from personakit.journal import Suspended
from personakit.messages import Response
from personakit.usage import Usage

_COUNTS = tuple(field.name for field in dataclasses.fields(Usage))
_WORDS = re.compile("(?<=[a-z])(?=[A-Z])")


def answer_line(row: Row, response: Response[Any], run: str) -> dict[str, Any]:
    """Return the line of an answer.

    Args:
        row: The row.
        response: The answer.
        run: The id of the run.
    """
    value = response.to_dict() if response.parsed is not None else {}
    return {
        **_head(row),
        **({"parsed": value["parsed"]} if value else {"text": response.text}),
        "finish_reason": response.finish_reason,
        "model": response.model,
        **_paid(response.spent),
        "run": run,
    }


def failure_line(row: Row, error: PersonakitError, sent: int, run: str) -> dict[str, Any]:
    """Return the line of a failure.

    Args:
        row: The row.
        error: Why it failed.
        sent: The requests that were sent for it.
        run: The id of the run.
    """
    line = {
        **_head(row),
        "error": str(error),
        "code": _WORDS.sub("_", type(error).__name__).lower(),
        "attempts": sent,
        "partial": getattr(error, "partial", ""),
        **_paid(error.spent),
        "run": run,
    }
    if isinstance(error, Suspended):
        line["questions"] = [question.text for question in error.questions]
    return line


def _head(row: Row) -> dict[str, Any]:
    head: dict[str, Any] = {"key": row.key, "index": row.index}
    return {**head, "row": dict(row.kept)} if row.kept else head


def _paid(spent: Any) -> dict[str, Any]:
    """Return tokens and dollars; null if unknown."""
    if spent is None:
        return {"usage": None, "cost": None}
    usage = spent.usage
    counts = None if usage is None else {name: getattr(usage, name) for name in _COUNTS}
    return {"usage": counts, "cost": spent.cost}


def lost_line(row: Row, sent: int) -> dict[str, Any]:
    """Return the failure of a row of which it is not known what became of its request.

    Args:
        row: The row.
        sent: The requests that were sent for it.
    """
    return {
        **_head(row),
        "error": "the batch was killed while the row was under way; it may have been paid",
        "code": "in_flight",
        "attempts": sent,
        "partial": "",
        "usage": None,
        "cost": None,
        "run": None,
    }


def repeated_line(row: Row, line: dict[str, Any]) -> dict[str, Any]:
    """Return the line of a row that has the result of another one, which costs nothing.

    Args:
        row: The row.
        line: The line of the row with the same content.
    """
    rest = {name: value for name, value in line.items() if name not in ("key", "index", "row")}
    free = {"usage": dataclasses.asdict(Usage()), "cost": 0.0, "same_as": line["key"]}
    return {**_head(row), **rest, **free}
