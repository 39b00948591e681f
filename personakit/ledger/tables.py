"""The tables of the ledger, version by version."""

from __future__ import annotations

MARK = 0x504B4C44  # "PKLD"
# The statements from each version of the file to the next. Append only; existing files depend on
# the present ones.
MIGRATIONS = (
    (
        # What is reserved is part of the totals, so a decision reads one row for each bucket.
        "CREATE TABLE totals (account TEXT NOT NULL, at INTEGER NOT NULL, calls INTEGER NOT NULL, "
        "tokens INTEGER NOT NULL, nanos INTEGER NOT NULL, unpriced INTEGER NOT NULL, "
        "PRIMARY KEY (account, at)) WITHOUT ROWID",
        "CREATE INDEX old_totals ON totals (at)",
        # The accounts are a JSON array of pairs [name, at]; nanos is NULL for an unknown price.
        "CREATE TABLE reservations (expires REAL NOT NULL, id TEXT NOT NULL, "
        "accounts TEXT NOT NULL, tokens INTEGER NOT NULL, nanos INTEGER, "
        "PRIMARY KEY (expires, id)) WITHOUT ROWID",
        # The limits are JSON; a name is that of one key that is not revoked.
        "CREATE TABLE keys (hash BLOB PRIMARY KEY, name TEXT NOT NULL, fields TEXT NOT NULL, "
        "created REAL NOT NULL, revoked REAL) WITHOUT ROWID",
        "CREATE UNIQUE INDEX names ON keys (name) WHERE revoked IS NULL",
        "CREATE TABLE versions (of TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
        "INSERT INTO versions VALUES ('keys', 1)",
        # The theoretical arrival time of the next request, in microseconds of Unix time.
        "CREATE TABLE rates (key TEXT PRIMARY KEY, arrival INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE running (slot INTEGER PRIMARY KEY, key TEXT NOT NULL, request TEXT NOT NULL, "
        "worker TEXT NOT NULL)",
        "CREATE INDEX running_of_keys ON running (key)",
        # Seconds of the clock of the machine since it started, which all processes share.
        "CREATE TABLE workers (id TEXT PRIMARY KEY, beat REAL NOT NULL) WITHOUT ROWID",
        "CREATE TABLE held (id TEXT NOT NULL, owner TEXT NOT NULL, value TEXT NOT NULL, "
        "expires REAL NOT NULL, PRIMARY KEY (id, owner)) WITHOUT ROWID",
        "CREATE INDEX ending_values ON held (expires)",
    ),
)
