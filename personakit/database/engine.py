"""The names of `sqlite3` that other rooms use. Importing it takes 10 ms, so functions do."""

from __future__ import annotations

from sqlite3 import Connection, connect
from sqlite3 import Error as SQLError
from sqlite3 import Row as SQLRow

__all__ = ["Connection", "SQLError", "SQLRow", "connect"]
