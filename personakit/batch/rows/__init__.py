"""Where rows come from: files and tables, their columns, and the check before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.batch.rows.columns import Columns as Columns
    from personakit.batch.rows.digests import Digests as Digests
    from personakit.batch.rows.kinds import open_source as open_source
    from personakit.batch.rows.parquet import is_untyped as is_untyped
    from personakit.batch.rows.parquet import records_of as records_of
    from personakit.batch.rows.parquet import write_parquet as write_parquet
    from personakit.batch.rows.reader import Reader as Reader
    from personakit.batch.rows.row import Fault as Fault
    from personakit.batch.rows.row import Invalid as Invalid
    from personakit.batch.rows.row import Row as Row
    from personakit.batch.rows.source import Record as Record
    from personakit.batch.rows.source import Source as Source
    from personakit.batch.rows.source import Stamp as Stamp
    from personakit.batch.rows.spool import open_rows as open_rows
    from personakit.batch.rows.table import MOST_FAULTS as MOST_FAULTS
    from personakit.batch.rows.table import Checked as Checked
    from personakit.batch.rows.table import Table as Table
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "columns": "Columns",
            "digests": "Digests",
            "kinds": "open_source",
            "parquet": "is_untyped records_of write_parquet",
            "reader": "Reader",
            "row": "Fault Invalid Row",
            "source": "Record Source Stamp",
            "spool": "open_rows",
            "table": "Checked MOST_FAULTS Table",
        },
    )
