"""SQLite files that many processes share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.database.engine import Connection as Connection
    from personakit.database.engine import SQLError as SQLError
    from personakit.database.engine import SQLRow as SQLRow
    from personakit.database.engine import connect as connect
    from personakit.database.errors import DatabaseError as DatabaseError
    from personakit.database.errors import Fault as Fault
    from personakit.database.file import WAIT as WAIT
    from personakit.database.file import Database as Database
    from personakit.database.file import Format as Format
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "engine": "Connection SQLError SQLRow connect",
            "errors": "DatabaseError Fault",
            "file": "Database Format WAIT",
        },
    )
