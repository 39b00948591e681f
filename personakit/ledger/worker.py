"""The slots of this process, and the thread that shows the other processes that it lives."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable

Slot = tuple[int, str, str]
"""The number of a slot, the key and the request."""

BEAT = 5.0
"""Seconds between two beats."""


class Worker:
    """The slots that this process has taken. Threads can share it.

    Args:
        beat: Called in a thread every few seconds while there are slots, with the id of the worker
            and its slots.
    """

    def __init__(self, beat: Callable[[str, list[Slot]], None]) -> None:
        self._beat = beat
        self._begin()

    def _begin(self) -> None:
        """Reset the state: at first, and in a forked process, whose parent owns the slots."""
        self._pid = os.getpid()
        self._id = f"{self._pid}-{secrets.token_hex(8)}"
        self._lock = threading.Lock()
        self._slots: dict[str, list[Slot | None]] = {}
        self._beating = False

    def _mine(self) -> None:
        if self._pid != os.getpid():
            self._begin()

    @property
    def id(self) -> str:
        """The id of this process."""
        self._mine()
        return self._id

    @staticmethod
    def slot(key: str, request: str) -> Slot:
        """Return a slot with a new number."""
        return secrets.randbits(62), key, request

    def took(self, request: str, slot: Slot | None) -> None:
        """Note that a request runs, in a slot or without one."""
        self._mine()
        with self._lock:
            self._slots.setdefault(request, []).append(slot)
            start = slot is not None and not self._beating
            self._beating = self._beating or start
        if start:
            threading.Thread(target=self._run, name="personakit-ledger", daemon=True).start()

    def left(self, request: str) -> Slot | None:
        """Return the slot of a request that has ended; None if it has none here."""
        self._mine()
        with self._lock:
            slots = self._slots.get(request)
            slot = slots.pop() if slots else None
            if not slots:
                self._slots.pop(request, None)
        return slot

    def _run(self) -> None:
        """Beat until there are no slots."""
        while True:
            time.sleep(BEAT)
            with self._lock:
                slots = [slot for many in self._slots.values() for slot in many if slot]
                if not slots:
                    self._beating = False
                    return
            self._beat(self._id, slots)
