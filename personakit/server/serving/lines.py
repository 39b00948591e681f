"""What the server prints: one line for each message, on standard error, without secrets."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterable

from personakit.base import Secret, hide, printable
from personakit.errors import TRACEBACK

Say = Callable[[str], None]
MOST = 2000
"""The most characters of a line: the messages of other libraries can contain a whole request."""
# uvicorn repeats with it that the application gave a reason.
_REPEATED = "Application startup failed. Exiting."
_LEVELS = {
    "uvicorn.error": logging.ERROR,
    "asyncio": logging.ERROR,
    "mcp": logging.ERROR,  # its warnings are of requests of clients
    "personakit": logging.WARNING,
}


def say(text: str) -> None:
    """Write a line to standard error, if somebody still reads it."""
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):
        return


class Lines(logging.Handler):
    """Prints each record as one line: its message, its error and where that was raised.

    Args:
        say: Prints a line.
        secrets: Returns the secrets to hide.
    """

    def __init__(self, say: Say, secrets: Callable[[], Iterable[Secret]]) -> None:
        super().__init__()
        self._say, self._secrets = say, secrets

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        try:
            text = record.getMessage().strip()
            if text == _REPEATED:
                return
            error = record.exc_info[1] if record.exc_info else None
            if error is not None and os.environ.get(TRACEBACK) == "full":
                self._print("".join(traceback.format_exception(error)).rstrip("\n"))
            elif error is not None:
                text = f"{text}: {described(error)}"
            self._print(" ".join(text.split())[:MOST])
        except Exception:
            self.handleError(record)

    def _print(self, text: str) -> None:
        hidden: str = hide(text, self._secrets())
        self._say(printable(hidden))


def described(error: BaseException) -> str:
    """Return the type, the message and the place of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {error}{place}"


def quiet_logs(say: Say, secrets: Callable[[], Iterable[Secret]]) -> None:
    """Let the loggers of the server print errors alone, each as one line."""
    handler = Lines(say, secrets)
    for name, level in _LEVELS.items():
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.setLevel(level)
        logger.propagate = False
