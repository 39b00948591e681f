"""The index: an SQLite file with full-text search (FTS5) for each folder, in the user's cache.

One transaction updates the list of files and their passages, so that other processes see either the
old state or the new one, and a crash leaves the old one.
"""

import hashlib
import json
import re
import sqlite3
import unicodedata
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

from personakit import check_file
from personakit_rag.files import File, log, read, scan, settled
from personakit_rag.split import split

T = TypeVar("T")
_FORMAT = 2
"""Part of an index's name; increase it when the tables or the passages change."""
_TIMEOUT = 60.0  # seconds to wait while another process writes
_TABLES = """
create table if not exists files (name text primary key, stamp text not null);
create table if not exists passages (
    id integer primary key, file text not null, first integer, last integer, text text, hash blob
);
create index if not exists passages_of on passages (file);
create index if not exists passages_with on passages (hash);
create table if not exists vectors (
    model text not null, size integer not null, hash blob not null, vector blob not null,
    primary key (model, size, hash)
);
create virtual table if not exists words
    using fts5(text, tokenize = 'porter unicode61 remove_diacritics 2');
"""
_SEARCH = """
select file, first, last, passages.text, -bm25(words) as score
from words join passages on passages.id = words.rowid
where words match ? order by bm25(words), passages.file, passages.first limit ?
"""
_MOST_WORDS = 200
_MOST_CHARACTERS = 20_000
_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
}
"""Error codes that do not mean that the index is damaged."""
_IDEOGRAPH = re.compile(
    "([\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff])"
)


class Found(NamedTuple):
    """A search result; its fields are the keys of an entry in the sources."""

    source: str
    lines: tuple[int, int]
    score: float
    text: str


class Index:
    """The passages of a folder. It keeps no connection, so threads and forks may share it."""

    def __init__(self, root: Path, size: int, patterns: Sequence[str]) -> None:
        """Index the files of `root` that match `patterns`, in passages of `size` characters."""
        self.root, self.size, self.patterns = root, size, patterns

    @property
    def path(self) -> Path:
        """The path of the index file, which can be deleted at any time."""
        import platformdirs  # noqa: PLC0415

        key = json.dumps([_FORMAT, str(self.root), self.size, self.patterns])
        name = hashlib.sha256(key.encode()).hexdigest()[:32]
        return platformdirs.user_cache_path("personakit", appauthor=False) / "rag" / f"{name}.db"

    def search(self, text: str, most: int, min_score: float) -> list[Found]:
        """Update the index and return at most `most` passages that match `text`, the best first.

        Raises:
            OSError: The folder is missing, or the cache cannot be written.
            sqlite3.Error: The index can neither be used nor rebuilt.
        """
        wanted = query(text)
        if not wanted:
            return []

        def matching(database: sqlite3.Connection) -> list[Found]:
            rows = database.execute(_SEARCH, (wanted, most)).fetchall()
            found = [
                Found(name, (first, last), score, cut) for name, first, last, cut, score in rows
            ]
            return [one for one in found if one.score >= min_score]

        return self.updated(matching)

    def updated(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Update the index to the files; return the result of `work`. Errors: see `search`."""
        files = scan(self.root, self.patterns)

        def fresh(database: sqlite3.Connection) -> T:
            self._update(database, files)
            return work(database)

        return self.use(fresh)

    def use(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Return the result of `work`; if the index is damaged, rebuild it and try once more."""
        from filelock import FileLock  # noqa: PLC0415

        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            return self._try(work)
        except sqlite3.DatabaseError as error:
            if _is_passing(error):
                raise
            log.warning("rag: rebuilding the index %s: %s", self.path, error)
        # The lock and the second try protect an index that another process has just rebuilt.
        with FileLock(self.path.with_suffix(".lock")):
            try:
                return self._try(work)
            except sqlite3.DatabaseError as error:
                if _is_passing(error):
                    raise
            for suffix in (".db", ".db-journal"):
                self.path.with_suffix(suffix).unlink(missing_ok=True)
            return self._try(work)

    def _try(self, work: Callable[[sqlite3.Connection], T]) -> T:
        check_file(self.path)
        database = sqlite3.connect(self.path, timeout=_TIMEOUT, isolation_level=None)
        with closing(database):  # closing rolls back what was not committed
            if not database.execute("select 1 from sqlite_master where name = 'words'").fetchone():
                database.executescript(f"begin immediate; {_TABLES} commit;")
            return work(database)

    def _update(self, database: sqlite3.Connection, files: dict[str, File]) -> None:
        """Update the index to `files`: add, replace and delete."""
        if _known(database) == {name: file.stamp for name, file in files.items()}:
            return
        database.execute("begin immediate")
        stamps = _known(database)  # another process may have updated it meanwhile
        for name in stamps.keys() - files.keys():
            _forget(database, name)
        for name, file in files.items():
            if stamps.get(name) != file.stamp:
                _forget(database, name)
                self._add(database, file)
        database.execute("delete from vectors where hash not in (select hash from passages)")
        database.execute("commit")

    def _add(self, database: sqlite3.Connection, file: File) -> None:
        text = read(file)
        # A file that may still change without a new stamp is read again by the next search.
        stamp = file.stamp if text is None or settled(file) else ""
        database.execute("insert into files values (?, ?)", (file.name, stamp))
        for first, last, cut in split(text or "", self.size):
            values = (file.name, first, last, cut, hashlib.sha256(cut.encode()).digest())
            row = database.execute(
                "insert into passages (file, first, last, text, hash) values (?, ?, ?, ?, ?)",
                values,
            )
            words = (row.lastrowid, _spaced(cut))
            database.execute("insert into words (rowid, text) values (?, ?)", words)


def _is_passing(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _PASSING


def _known(database: sqlite3.Connection) -> dict[str, str]:
    return dict(database.execute("select name, stamp from files").fetchall())


def _forget(database: sqlite3.Connection, name: str) -> None:
    of_file = "delete from words where rowid in (select id from passages where file = ?)"
    database.execute(of_file, (name,))
    database.execute("delete from passages where file = ?", (name,))
    database.execute("delete from files where name = ?", (name,))


def query(text: str) -> str:
    """Return an FTS5 query for any word of `text`, "" without words."""
    text = unicodedata.normalize("NFKC", text[:_MOST_CHARACTERS]).casefold()
    plain = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in text)
    words: dict[str, None] = {}
    for word in plain.split():
        # Chinese and Japanese do not separate words: search for pairs of characters.
        pieces = _spaced(word).split()
        pairs = [f"{a} {b}" for a, b in pairwise(pieces)]
        words.update(dict.fromkeys(pairs or pieces))
    return " OR ".join(f'"{word}"' for word in list(words)[:_MOST_WORDS])


def _spaced(text: str) -> str:
    """Return `text` as it is indexed: with spaces around each CJK character."""
    return _IDEOGRAPH.sub(r" \1 ", unicodedata.normalize("NFKC", text))
