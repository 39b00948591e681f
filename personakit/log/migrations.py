"""The tables of the run log, version by version, and conditions on its rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from personakit.base import first_id
from personakit.codec import storable
from personakit.errors import UsageError

MARK = 0x504B4C47  # "PKLG"
SEARCHED = ("persona", "variables", "asked", "text", "tools", "error")
# The statements from each version of the file to the next. Append only; existing files depend on
# the present ones.
MIGRATIONS = (
    (
        # VACUUM keeps the values of an explicit primary key, which the search index refers to.
        "CREATE TABLE runs (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, "
        "time REAL NOT NULL, persona TEXT NOT NULL, version TEXT, hash TEXT, path TEXT, "
        "model TEXT NOT NULL, answered_by TEXT, conversation TEXT, variables TEXT NOT NULL, "
        "request TEXT NOT NULL, sent TEXT, asked TEXT NOT NULL, text TEXT NOT NULL, tools TEXT, "
        "finish_reason TEXT, messages TEXT NOT NULL, prompt_tokens INTEGER, "
        "completion_tokens INTEGER, total_tokens INTEGER, cost REAL, seconds REAL, "
        "first_text REAL, calls INTEGER, trace TEXT NOT NULL, error_type TEXT, error TEXT, "
        "response_id TEXT)",
        "CREATE INDEX conversations ON runs (conversation, id) WHERE conversation IS NOT NULL",
        "CREATE VIRTUAL TABLE texts USING fts5(persona, variables, asked, text, tools, error, "
        "content='runs', content_rowid='number', tokenize='unicode61 remove_diacritics 2')",
        "CREATE TRIGGER added AFTER INSERT ON runs BEGIN INSERT INTO texts(rowid, "
        "persona, variables, asked, text, tools, error) VALUES (new.number, "
        "new.persona, new.variables, new.asked, new.text, new.tools, new.error); END",
        "CREATE TRIGGER removed AFTER DELETE ON runs BEGIN INSERT INTO texts(texts, rowid, "
        "persona, variables, asked, text, tools, error) VALUES ('delete', old.number, "
        "old.persona, old.variables, old.asked, old.text, old.tools, old.error); END",
    ),
    (
        "ALTER TABLE runs ADD COLUMN cached_tokens INTEGER",
        "ALTER TABLE runs ADD COLUMN reasoning_tokens INTEGER",
    ),
    (
        "ALTER TABLE runs ADD COLUMN cache_write_tokens INTEGER",
        "ALTER TABLE runs ADD COLUMN incomplete INTEGER",
    ),
    ("ALTER TABLE runs ADD COLUMN replays TEXT",),
    ("ALTER TABLE runs ADD COLUMN notes TEXT", "ALTER TABLE runs ADD COLUMN history TEXT"),
    (
        # To index a row by itself costs as much as to write it, in a batch a fraction of that.
        "CREATE TABLE unindexed (number INTEGER PRIMARY KEY)",
        "DROP TRIGGER added",
        "CREATE TRIGGER added AFTER INSERT ON runs BEGIN "
        "INSERT INTO unindexed VALUES (new.number); END",
        "DROP TRIGGER removed",
        # The index must not be told of the removal of what it does not have.
        "CREATE TRIGGER removed AFTER DELETE ON runs BEGIN INSERT INTO texts(texts, rowid, "
        "persona, variables, asked, text, tools, error) SELECT 'delete', old.number, "
        "old.persona, old.variables, old.asked, old.text, old.tools, old.error "
        "WHERE NOT EXISTS (SELECT 1 FROM unindexed WHERE number = old.number); "
        "DELETE FROM unindexed WHERE number = old.number; END",
    ),
)


_NOTED = (
    "EXISTS (SELECT 1 FROM json_each(runs.notes, :path{0}) AS note WHERE CASE note.type "
    "WHEN 'true' THEN 'true' WHEN 'false' THEN 'false' WHEN 'null' THEN 'null' "
    "ELSE CAST(note.value AS TEXT) END = :note{0})"
)


# What the path of a note cannot contain in SQLite.
_NEVER = re.compile('["\0\ud800-\udfff]')


@dataclass(frozen=True, slots=True)
class Where:
    """A condition on runs; an attribute that is None matches all.

    Attributes:
        persona: The persona's name.
        model: The model that was asked for or that answered, with or without its provider.
        conversation: The id of a conversation, or of its first run.
        since: Unix time; matches this moment and later.
        before: Unix time; matches earlier moments.
        failed: True for failed runs, False for the others.
        notes: Pairs of a path in `Row.notes`, such as ``budget.run``, and the value there as text;
            of a list, one item is enough.
    """

    persona: str | None = None
    model: str | None = None
    conversation: str | None = None
    since: float | None = None
    before: float | None = None
    failed: bool | None = None
    notes: tuple[tuple[str, str], ...] = ()

    @staticmethod
    def is_path(text: str) -> bool:
        """Return whether a text is the path of a note: names between dots."""
        return all(text.split(".")) and not _NEVER.search(text)

    def sql(self) -> tuple[str, dict[str, Any]]:
        """Return the SQL condition and its values.

        Raises:
            UsageError: `notes` are not pairs of a path and a text.
        """
        model = "substr(runs.model, instr(runs.model, '/') + 1)"
        conditions = {
            "persona": "runs.persona = :persona",
            "model": f":model IN (runs.model, runs.answered_by, {model})",
            "conversation": "(runs.conversation = :conversation OR runs.id = :conversation)",
            "since": "runs.id >= :since",
            "before": "runs.id < :before",
            "failed": "(runs.error IS NOT NULL) = :failed",
        }
        attributes = {name: getattr(self, name) for name in conditions}
        values: dict[str, Any] = {
            name: storable(value) if isinstance(value, str) else value
            for name, value in attributes.items()
        }
        for name in ("since", "before"):
            values[name] = None if values[name] is None else first_id(values[name])
        used = [text for name, text in conditions.items() if values[name] is not None]
        for number, (path, value) in enumerate(_pairs(self.notes)):
            keys = "".join(f'."{key}"' for key in path.split("."))
            values[f"path{number}"], values[f"note{number}"] = f"${keys}", storable(value)
            used.append(_NOTED.format(number))
        return " AND ".join(("1", *used)), values


def _pairs(notes: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(notes, tuple | list):
        raise _unexpected(notes)
    for pair in notes:
        is_pair = isinstance(pair, tuple | list) and len(pair) == 2
        if (
            not is_pair
            or not all(isinstance(one, str) for one in pair)
            or not Where.is_path(pair[0])
        ):
            raise _unexpected(pair)
        yield pair[0], pair[1]


def _unexpected(value: Any) -> UsageError:
    return UsageError(
        f"notes: expected pairs of a path, such as 'budget.run', and a text, found {value!r:.80}"
    )
