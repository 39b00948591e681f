"""Find the nearest vectors: with numpy, if it is installed, else without."""

import heapq
import sqlite3
from array import array
from operator import mul

from personakit import time_left
from personakit_rag.index import Found

_SELECT = """
select passages.id, vector from passages join vectors using (hash)
where vectors.model = ? and vectors.size = ?
"""
_FEW = 500
"""Vectors for which the import of numpy takes longer than the search without it."""
_STEP = 1000  # vectors between two looks at the deadline


def nearest(
    database: sqlite3.Connection, model: str, query: "array[float]", most: int, min_score: float
) -> list[Found]:
    """Return at most `most` passages near to `query`, the best first.

    The score is the cosine similarity: the vectors have the length 1.
    """
    size = len(query) * query.itemsize
    database.execute("begin")  # another process must not remove a passage before its text is read
    rows = database.execute(_SELECT, (model, size)).fetchall()
    best = _best(rows, query, most)
    found = []
    for score, number in best:
        if score >= min_score:
            sql = "select file, first, last, text from passages where id = ?"
            name, first, last, text = database.execute(sql, (number,)).fetchone()
            found.append(Found(name, (first, last), score, text))
    return sorted(found, key=lambda one: (-one.score, one.source, one.lines))


def _best(
    rows: list[tuple[int, bytes]], query: "array[float]", most: int
) -> list[tuple[float, int]]:
    """Return the scores and the numbers of the nearest rows."""
    if len(rows) > _FEW:
        try:
            import numpy as np  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
        except ImportError:
            pass
        else:
            data = np.frombuffer(b"".join(blob for _, blob in rows), dtype=np.float32)
            scores = (data.reshape(len(rows), len(query)) @ np.array(query)).tolist()
            return heapq.nlargest(most, zip(scores, (key for key, _ in rows), strict=True))
    wanted = query.tolist()
    scored = []
    for count, (key, blob) in enumerate(rows):
        if count % _STEP == 0:
            time_left()
        scored.append((sum(map(mul, wanted, array("f", blob))), key))
    return heapq.nlargest(most, scored)
