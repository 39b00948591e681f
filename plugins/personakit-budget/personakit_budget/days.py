"""The bounds of a day, and the default folder of the ledger."""

from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from personakit import data_folder


def zone_of(name: str) -> ZoneInfo:
    """Return the time zone `name`.

    Raises:
        ValueError: No time zone has that name.
    """
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(
            f"unknown timezone {name!r}; use a name such as 'UTC' or 'Europe/Paris'"
        ) from None


def day_around(now: float, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """Return the midnights before and after the Unix time `now`."""
    start = datetime.fromtimestamp(now, zone).replace(hour=0, minute=0, second=0, microsecond=0)
    return start, start + timedelta(days=1)


def default_folder() -> Path:
    """Return the default folder of the ledger, in the user's state folder."""
    return data_folder("budget", "state", create=False)
