"""Search by meaning: each passage is embedded once, and its vector is kept in the index.

A vector belongs to the text of a passage and to a model. So a changed file costs only its new
passages, and another model embeds all of them again.
"""

import functools
import math
import sqlite3
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import personakit
from personakit import Send
from personakit_rag.files import log
from personakit_rag.index import Index
from personakit_rag.vectors import nearest

if TYPE_CHECKING:
    from filelock import FileLock

_PORTION = 200
"""Passages to embed before their vectors are stored; a failure loses no more than these."""
_QUERIES = 64
"""Queries whose vectors are remembered: a run with tools repeats its query in every round."""
_MOST_CHARACTERS = 8_000
"""Of a query. OpenAI's models accept 8,191 tokens, most of more than one character."""
_WAIT = 0.2  # seconds between two looks whether another process has finished
_MISSING = """
select hash, text from passages where not exists (
    select 1 from vectors
    where vectors.model = ? and vectors.size = ? and vectors.hash = passages.hash
) group by hash order by min(id) limit ?
"""


class Meanings:
    """The passages of an index by their meaning, as a model of embeddings has it."""

    def __init__(self, index: Index, model: str) -> None:
        """Search `index` with the vectors of `model`."""
        self.index, self.model = index, model
        self._queries: dict[str, tuple[str, bytes]] = {}

    async def search(
        self, send: Send, text: str, most: int, min_score: float
    ) -> list[tuple[Any, ...]]:
        """Embed what is new; return at most `most` passages that are near to `text`, best first.

        Each is a `Found` as a tuple: plain data, which a suspended run keeps.

        Raises:
            personakit.PersonakitError: The embeddings failed; those before are kept.
            OSError, sqlite3.Error: See `Index.search`.
        """
        text = text.strip()[:_MOST_CHARACTERS]
        if not text:
            return []
        # Through `io`, because a resumed run does what it did, whatever is known here.
        known = await personakit.io(self._queries.get)(text)
        model, vector = known or await self._asked(send, text)
        missing = (model, len(vector), _PORTION)
        if await personakit.io(self.index.updated)(lambda database: _missing(database, *missing)):
            async with self._alone():
                await self._embed(send, missing)

        def near(database: sqlite3.Connection) -> list[tuple[Any, ...]]:
            query = array("f", vector)
            return [tuple(one) for one in nearest(database, model, query, most, min_score)]

        return await personakit.io(self.index.use)(near)

    async def _asked(self, send: Send, text: str) -> tuple[str, bytes]:
        """Return the vector of a query, and the name that its vectors have in the index."""
        result = await send.embed([text], model=self.model)
        # An alias may stand for another model later.
        (vector,) = _units(result.vectors)
        self._queries[text] = known = f"{self.model} {result.model}", vector.tobytes()
        for old in list(self._queries)[:-_QUERIES]:
            self._queries.pop(old, None)
        return known

    async def _embed(self, send: Send, missing: tuple[str, int, int]) -> None:
        """Embed the passages without a vector, some at a time."""
        use = personakit.io(self.index.use)
        while passages := await use(lambda database: _missing(database, *missing)):
            log.info("rag: embedding %d passages with %s", len(passages), self.model)
            result = await send.embed([text for _, text in passages], model=self.model)
            if result.dimensions * array("f").itemsize != missing[1]:
                raise ValueError(
                    f"{self.model} returned vectors of {result.dimensions} numbers for the "
                    f"passages, and of another length for the query; choose another model"
                )
            vectors = _units(result.vectors)
            rows = [
                (*missing[:2], key, vector.tobytes())
                for (key, _), vector in zip(passages, vectors, strict=True)
            ]
            await use(functools.partial(_store, rows))

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Keep other processes and threads from embedding the same passages."""
        from filelock import FileLock  # noqa: PLC0415

        lock = FileLock(self.index.path.with_suffix(".embedding"), thread_local=False)
        while not await personakit.io(_is_acquired)(lock):
            personakit.time_left()
            await personakit.sleep(_WAIT)
        try:
            yield
        finally:
            lock.release()


def _is_acquired(lock: "FileLock") -> bool:
    from filelock import Timeout  # noqa: PLC0415

    try:
        lock.acquire(blocking=False)
    except Timeout:
        return False
    return True


def _missing(
    database: sqlite3.Connection, model: str, size: int, most: int
) -> list[tuple[bytes, str]]:
    """Return passages without a vector of `size` bytes, by their hashes."""
    return database.execute(_MISSING, (model, size, most)).fetchall()


def _store(rows: Iterable[tuple[str, int, bytes, bytes]], database: sqlite3.Connection) -> None:
    database.execute("begin immediate")
    database.executemany("insert or replace into vectors values (?, ?, ?, ?)", rows)
    database.execute("commit")


def _units(vectors: Iterable[Sequence[float]]) -> list["array[float]"]:
    """Return vectors with the length 1, so that a product of two is their cosine similarity."""
    return [_unit(vector) for vector in vectors]


def _unit(vector: Sequence[float]) -> "array[float]":
    length = math.hypot(*vector) or 1.0
    return array("f", [value / length for value in vector])
