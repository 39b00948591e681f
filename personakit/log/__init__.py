"""The run log: one row for each run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from personakit.base import door

if TYPE_CHECKING:
    from personakit.log import repair as repair
    from personakit.log.faults import LogError as LogError
    from personakit.log.migrations import Where as Where
    from personakit.log.recorder import Recorder as Recorder
    from personakit.log.row import Row as Row
    from personakit.log.run_log import MARKS as MARKS
    from personakit.log.run_log import Found as Found
    from personakit.log.run_log import RunLog as RunLog
    from personakit.log.run_log import Sum as Sum
else:
    __getattr__, __dir__, __all__ = door(
        __name__,
        {
            "faults": "LogError",
            "migrations": "Where",
            "recorder": "Recorder",
            "row": "Row",
            "run_log": "Found MARKS RunLog Sum",
        },
        modules="repair",
    )
