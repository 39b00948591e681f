"""The errors of the run log, with what to do."""

from __future__ import annotations

import os
from pathlib import Path

from personakit.database import DatabaseError, Fault

_OTHER = "set PERSONAKIT_LOG to another file, or turn the log off with `log: off` in the config"


class LogError(DatabaseError):
    """The run log cannot be read or written."""


def explained(path: Path, fault: Fault) -> str:
    """Return a message with the fault of a run log, and what to do."""
    text, elsewhere = fault.text, "set PERSONAKIT_LOG to another file"
    messages = {
        "locked": "is locked by another process",
        "thread": "is locked by another thread",
        "damaged": f"is damaged ({text}); `personakit log repair` recovers the readable runs",
        "foreign": f"is another program's database; {elsewhere}",
        "newer": f"was written by a newer personakit ({text}); upgrade personakit, or {elsewhere}",
    }
    if fault.kind in messages:
        return f"{path} {messages[fault.kind]}"
    if fault.kind == "full":
        return f"{path}: no space left ({text}); free some with `personakit log rm --before 30d`"
    if fault.kind != "os" and path.is_dir():
        return f"{path} is a folder: {text}; {_OTHER}"
    if fault.kind != "os" and not os.access(path.parent, os.W_OK):
        return f"{path}: its folder is not writable: {text}; {_OTHER}"
    return f"{path}: {text}; {_OTHER}"
