"""Time, chance and I/O that a hook gets by itself, so that a resumed run gets it again."""

from __future__ import annotations

import datetime as dt
import io
import os
import random
import sys
import sysconfig
import time
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from personakit.base import scope

_NOW = "personakit.now()"
_CHANCE = "personakit.rng()"
_IO = "personakit.io(function)(…)"
_INSTANCE: Any = random.seed.__self__  # type: ignore[attr-defined]  # of the module's functions
_CALLS: dict[Any, tuple[str, str]] = {
    time.time: ("the time", _NOW),
    time.time_ns: ("the time", _NOW),
    dt.datetime.now: ("the time", _NOW),
    dt.datetime.utcnow: ("the time", _NOW),
    dt.datetime.today: ("the time", _NOW),
    dt.date.today: ("the time", _NOW),
    _INSTANCE.random: ("chance", _CHANCE),
    _INSTANCE.getrandbits: ("chance", _CHANCE),
    os.urandom: ("chance", _CHANCE),
    io.open: ("a file", _IO),
    os.open: ("a file", _IO),
    os.listdir: ("a folder", _IO),
    os.scandir: ("a folder", _IO),
}
_DATABASE = ("a database", _IO)
_HARMLESS = {"importlib", "linecache", "logging", "warnings", "_frozen_importlib"}
_STANDARD = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib"))


class DirectCalls:
    """Finds such calls in the hooks of plugins, while its block runs in this thread.

    A call is found if the code that makes it, or that calls a module of Python which makes it, is
    in no other library.

    Attributes:
        found: A message for each place in the code, in the order of time.
    """

    def __init__(self) -> None:
        self.found: dict[tuple[str, int], str] = {}
        # A profiler cannot be set again from Python; under one, nothing is found.
        self._is_free = sys.getprofile() is None

    def __enter__(self) -> DirectCalls:
        if self._is_free:
            sys.setprofile(self._called)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._is_free:
            sys.setprofile(None)

    def _called(self, frame: FrameType, event: str, function: Any) -> None:
        if event != "c_call":
            return
        known = _CALLS.get(function)
        if known is None and function.__name__ == "connect":
            known = _DATABASE if getattr(function, "__module__", "") == "_sqlite3" else None
        if known is None:
            return
        place = scope.get()
        if getattr(place, "layer", None) is None or (own := _own(frame)) is None:
            return
        what, instead = known
        file, line = own.f_code.co_filename, own.f_lineno
        text = f"{file}:{line}: {own.f_code.co_qualname} gets {what} by itself; use {instead}"
        self.found.setdefault((file, line), text)


def _own(frame: FrameType) -> FrameType | None:
    """Return the code of a plugin that makes a call; None if other code does, or an observer."""
    own = None
    for each in _frames(frame):
        top, _, rest = each.f_globals.get("__name__", "").partition(".")
        if top in _HARMLESS or each.f_code.co_name == "observe":
            return None
        if top == "personakit":
            if rest.startswith("base"):
                continue  # such as read_file, which a hook can call
            return own
        if own is None:
            code = each.f_code.co_filename
            file = each.f_globals.get("__file__", code)
            if "site-packages" in file:
                return None
            # The code of a dataclass has no file, but its module has.
            if not file.startswith(_STANDARD) and not (code[0] == "<" and code != file):
                own = each
    return None


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back
