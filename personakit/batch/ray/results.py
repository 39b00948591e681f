"""The columns of a result, out of its line in a journal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from personakit.batch.rows import Invalid

_SAME = "error code attempts finish_reason model cost run".split()


def values(line: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return the values of the columns of a result; None if there is none.

    Args:
        line: Its line in a journal.
    """
    if line is None:
        return None
    answer, usage = line.get("text"), line.get("usage")
    if "parsed" in line:
        answer = json.dumps(line["parsed"], ensure_ascii=False)
    tokens = None if usage is None else usage["total_tokens"]
    result = {"": answer, "tokens": tokens, **{name: line.get(name) for name in _SAME}}
    for name, value in result.items():
        if isinstance(value, str):
            # Half of a pair of surrogates has no bytes in UTF-8.
            result[name] = value.encode("utf-8", "replace").decode()
    return result


def invalid(error: Invalid) -> dict[str, Any]:
    """Return the line of a row that does not fit the persona; nothing is sent for it."""
    faults = [f"column {column!r}: {text}" if column else text for column, text in error.faults]
    return {"error": "; ".join(faults), "code": "invalid_row", "attempts": 0}
